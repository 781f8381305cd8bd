"""The agreement command on an invented folder: it classes what the official rule did, and fails on what it cannot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "benchmarks" / "agreement_multimodal.py"


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(COMMAND), *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT
    )


def pro(item, response, letter, right):
    return {"id": item, "question": "q", "options": "['red', 'green', 'blue']", "answer": "B", "subject": "Art",
            "response": response, "pred_indexs": letter, "if_right": right}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    rows = [
        pro("test_Art_1", "Answer: B", "B", True),
        pro("test_Art_2", "Sorry, nothing to see here.", "B", True),
        pro("test_Art_3", "Answer: A, B", "B", True),
        pro("test_Art_4", "Sorry, A thing of beauty.", "A", False),
    ]
    write_lines(tmp_path / "mm_mmmu_pro_outputs" / "model_standard.jsonl", rows)
    blink = [
        {"idx": "val_Counting_1", "answer": "(A)", "full_prediction": "(A)", "prediction": "(A)"},
        {"idx": "val_Counting_2", "answer": "(A)", "full_prediction": "One boat, I should say.", "prediction": "(A)"},
    ]
    write_lines(tmp_path / "mm_blink_outputs" / "full_model.jsonl", blink)
    question = {
        "id": "1",
        "question": "q",
        "options": [],
        "answer": "1/3",
        "level": 1,
        "subject": "s",
        "image": "1.jpg",
    }
    write_lines(tmp_path / "mm_mathvision" / "test.jsonl", [question])
    outputs = [{"id": "1", "response": "0.33", "model_answer": "0.33", "correct": True}]
    write_lines(tmp_path / "mm_mathvision" / "out_model.jsonl", outputs)
    return tmp_path


def test_disagreements_are_classed_and_written_without_text(folder):
    page = folder / "page.md"
    done = run(folder, "--write", page)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| MMMU-Pro | model_standard | 4 | 3 | 1 | 50.00% | 50.00% | 2 | 0 |" in done.stdout
    text = page.read_text()
    for line in (
        "**random** (1; right only here 0, right only officially 1): test_Art_2",
        "**one_of_several** (1; right only here 0, right only officially 1): test_Art_3",
        "**symbol** (1; right only here 0, right only officially 0): (test_Art_4)",
        "**prose** (1; right only here 0, right only officially 1): val_Counting_2",
        "**two_decimals** (1; right only here 0, right only officially 1): 1",
    ):
        assert line in text
    assert "boat" not in text


def test_what_no_class_explains_fails_the_command(folder):
    rows = [pro("test_Art_9", "Answer: B", "C", False)]
    rows[0]["response"] = "It is (C)."
    rows[0]["pred_indexs"], rows[0]["if_right"] = "C", True
    write_lines(folder / "mm_mmmu_pro_outputs" / "model_standard.jsonl", rows)
    done = run(folder)
    assert done.returncode == 1
    assert "unclassed: MMMU-Pro model_standard test_Art_9" in done.stdout


def test_an_empty_folder_is_a_usage_error(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 2
    assert "has none of the folders" in done.stderr
