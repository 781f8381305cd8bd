"""The multimodal demonstration: the copy that loses pixels is found, and the suite's pictures are all there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "suites" / "demo_multimodal"


def test_the_pictures_are_there_and_small():
    rows = [json.loads(line) for line in (SUITE / "demo_multimodal.jsonl").read_text().splitlines()]
    files = {SUITE / row["image"] for row in rows}
    assert len(rows) == len(files) == 60
    assert files == set((SUITE / "pictures").iterdir())
    assert sum(file.stat().st_size for file in files) < 300_000


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_a_copy_that_loses_pixels_is_found(tmp_path):
    files = [ROOT / "examples" / "demo-multimodal" / f"{name}.yaml" for name in ("reference", "degraded")]
    command = [
        sys.executable,
        "-m",
        "evalkit",
        "compare",
        *map(str, files),
        "--set",
        f"runs={tmp_path}",
        "--json",
        "--quiet",
    ]
    done = subprocess.run([*command, "--limit", "30"], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    (suite,) = json.loads(done.stdout)["suites"]
    assert suite["verdict"] == "DEGRADED"
    assert suite["difference"] < -0.3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_a_second_engine_answers_in_its_own_words(tmp_path):
    pytest.importorskip("rapidocr_onnxruntime", reason="the extra `ocr` is not installed")
    files = [str(ROOT / "examples" / "demo-multimodal" / f"{name}.yaml") for name in ("reference", "rapidocr")]
    command = [sys.executable, "-m", "evalkit", "compare", *files, "--set", f"runs={tmp_path}", "--json", "--quiet"]
    done = subprocess.run([*command, "--limit", "30"], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode in {0, 1, 4}, done.stderr
    document = json.loads(done.stdout)
    (suite,) = document["suites"]
    assert (suite["n_items"], suite["candidate"] > 0.6) == (30, True)
    (texts,) = [row["candidate"] for row in suite["behaviour"] if row["name"] == "identical_texts"]
    assert 0.2 < texts < 0.9, "another engine: mostly right, in other words"
    assert {"key": "launch.engine", "reference": "tesseract", "candidate": "rapidocr"} in document["differences"]
    assert "chat template" not in done.stderr, "nothing is suspected of a server that has none"
