"""Agreement with the judged answers beside the checkout: the quick tasks always, all of them as a slow test."""

import importlib.util
import sys
from pathlib import Path

import pytest

from evalkit.model import Score, Status

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "agreement_livebench.py"


@pytest.fixture(scope="module")
def agreement():
    spec = importlib.util.spec_from_file_location("agreement_livebench", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# Graded without a worker process: all of them together take less than a second.
QUICK = ("cta", "tablejoin", "math_comp", "olympiad", "spatial", "web_of_lies_v2", "zebra_puzzle")


def test_every_quick_task_agrees_in_full(agreement, shared_data):
    checkable, _ = agreement.load(shared_data / "livebench")
    answers = [answer for name, found in checkable.items() if name.endswith(QUICK) for answer in found]
    assert len(answers) > 200
    assert [outcome for outcome in answers if not outcome.agrees] == []


@pytest.mark.slow
@pytest.mark.usefixtures("punkt")
def test_all_agree_but_for_what_is_explained(agreement, shared_data):
    assert agreement.main([str(shared_data / "livebench")]) == 0


def test_a_difference_is_listed_and_fails_until_it_is_explained(agreement, tmp_path, capsys, monkeypatch):
    _write(
        tmp_path,
        "questions",
        '{"question_id": "q1", "category": "data_analysis", "task": "cta", "turns": ["Name it."], "ground_truth": "id", "livebench_release_date": "2024-06-24", "livebench_removal_date": ""}',
    )
    _write(
        tmp_path,
        "judged_answers",
        '{"question_id": "q1", "model": "m", "answer": "name", "score": 1}\n{"question_id": "q2", "model": "m", "answer": "x", "score": 1}',
    )
    monkeypatch.setattr(agreement, "EXPLANATIONS", tmp_path / "explained.md")
    assert agreement.main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "q1 m: official 1, evalkit 0 (wrong), not explained yet" in out
    assert "not checkable: data_analysis.cta 1" in out
    monkeypatch.setattr(agreement, "ENOUGH", 0.0)
    (tmp_path / "explained.md").write_text("q1: the official run was mistaken")
    assert agreement.main([str(tmp_path)]) == 0


def test_the_time_limit_of_the_official_run_explains_a_derivative(agreement, monkeypatch):
    doc = {"question_id": "q9", "subtask": "amps_hard_derivatives"}
    for official, ours in ((0.0, 1.0), (1.0, 0.0)):
        monkeypatch.setattr(agreement.livebench, "score", lambda _doc, _final, ours=ours: Score(ours, Status.SCORED))
        outcome = agreement.Outcome(doc, {"model": "m", "answer": "x", "score": official})
        assert bool(agreement.explanation(outcome, "")) == (official == 0)


def test_a_folder_without_answers_is_a_sentence(agreement, tmp_path, capsys):
    assert agreement.main([str(tmp_path)]) == 2
    assert "judged_answers/" in capsys.readouterr().out


def _write(folder, kind, text):
    (folder / kind).mkdir()
    (folder / kind / "data_analysis.cta.jsonl").write_text(text + "\n")
