"""`evalkit gate`: what pipelines' files say, with their keys, and what they decide."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from decide_gate import cell
from decide_gate import gate as program


def native(score, n=50, **more):
    return {"_producer": "fast_gpqa.py", "model": "/m", "benchmark": "gpqa_diamond", "mode": "standard"} | {
        "score": score, "total_questions": n, "temperature": 0.0, "max_tokens": 32_768, **more,
    }  # fmt: skip


def report(score, n=198):
    metric = {"name": "mean_acc", "num": n, "score": score, "macro_score": score, "categories": []}
    return {"name": "m@gpqa_diamond", "dataset_name": "gpqa_diamond", "model_name": "m", "metrics": [metric]}


def review(question, score, **more):
    value = {"value": {"acc": score}, "extracted_prediction": "A", "main_score_name": None}
    about = {"score": value, "sample_id": question, "group_id": question, **more}
    return {"index": question, "target": "D", "messages": [], "sample_score": about}


@pytest.fixture
def run_gate(monkeypatch, capsys):
    """Runs the program in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gate.py", *map(str, arguments)])
        code = program.main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


@pytest.fixture
def gate(tmp_path, run_gate):
    """Writes both sides and gives how the command ended and its document; a list is a run's reviews, text stands as it is."""

    def run(one, two, *options):
        paths = []
        for name, said in (("v1", one), ("v2", two)):
            path = tmp_path / f"{name}.json"
            if isinstance(said, list):
                path = tmp_path / name
                file = path / "reviews" / "m" / "gpqa_diamond_default.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(json.dumps(row) + "\n" for row in said))
            else:
                path.write_text(said if isinstance(said, str) else json.dumps(said))
            paths.append(path)
        done = run_gate(*paths, "--json", *options)
        return done, json.loads(done.out) if done.out else {}

    return run


def test_fifty_questions_decide_little_and_say_how_many_would(gate):
    done, told = gate(native(60.0), native(52.0))
    assert (done.code, told["verdict"], told["aligned"]) == (4, "INCONCLUSIVE", None)
    assert (told["drop"], told["diff"], told["v2_vs_v1"], told["threshold"]) == (8.0, 8.0, -8.0, 5.0)
    assert told["v1"] == {"path": told["v1"]["path"], "model": "/m", "score": 60.0, "mode": "standard"}
    assert told["more_questions"] == told["n_to_decide"] - 50 > 1_000
    assert gate(native(60.0), native(52.0), "--their-codes")[0].code == 2


def test_what_is_decided_has_their_exit_codes(gate, tmp_path):
    done, told = gate(native(79.8, 198), native(40.4, 198), "--their-codes")
    assert (done.code, told["verdict"], told["aligned"], told["more_questions"]) == (1, "DEGRADED", False, 0)
    assert gate(native(79.8, 198), native(40.4, 198))[0].code == 1
    out = tmp_path / "out.json"
    done, told = gate(native(60.0, 5000), native(60.1, 5000), "--their-codes", "--output", out)
    assert (done.code, told["verdict"], told["aligned"]) == (0, "EQUIVALENT", True)
    assert json.loads(out.read_text())["aligned"] is True
    done, told = gate(native(60.0, 50), native(60.0, 50), "--threshold", "40")
    assert (done.code, told["verdict"], told["threshold"]) == (0, "EQUIVALENT", 40.0)


def test_reviews_pair_questions_and_need_fewer(gate):
    rng = np.random.default_rng(1)
    right = (rng.random(198) < 0.6).astype(float)
    changed = np.where(np.arange(198) % 66 == 0, 1 - right, right)
    one, two = ([review(n, score) for n, score in enumerate(scores.tolist())] for scores in (right, changed))
    done, told = gate(one, list(reversed(two)))
    assert (told["paired"], told["n_items"], told["verdict"], done.code) == (True, 198, "EQUIVALENT", 0)
    means = [round(100 * scores.mean(), 2) for scores in (right, changed)]
    assert gate(native(means[0], 198), native(means[1], 198))[1]["verdict"] == "INCONCLUSIVE"


def test_repeats_of_a_question_are_one_question(gate):
    rows = [review(n // 4, float(n % 2), generation_index=n % 4) for n in range(200)]
    told = gate(rows, rows)[1]
    assert (told["n_items"], told["v1"]["score"]) == (50, 50.0)


def test_evalscopes_reports_are_read(gate):
    told = gate(report(0.6212), report(0.404))[1]
    assert (told["v1"]["score"], told["n_items"], told["verdict"]) == (62.12, 198, "DEGRADED")
    assert gate(report(0.6212), native(40.0, 50))[1]["drop"] == 22.12


def test_questions_that_one_side_lost_are_not_left_out_in_silence(gate):
    told = gate(native(50.0, 20_000), native(50.0, 19_000))[1]
    assert told["verdict"] == "INVALID"
    assert "20,000" in told["message"]
    assert "19,000" in told["message"]
    assert gate(native(50.0, 20_000), native(50.0, 19_800))[1]["verdict"] == "EQUIVALENT"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"service_crashed": True}, "says that its server crashed"),
        ({"error": "no"}, "says that its server crashed"),
        ({"max_tokens": 8192}, "the two sides differ in max_tokens: 32768 against 8192"),
        ({"mode": "thinking"}, "differ in mode"),
        ({"score": None}, "score"),
    ],
)
def test_what_may_not_be_compared_is_invalid(gate, changed, sentence):
    done, told = gate(native(60.0), {**native(60.0), **changed}, "--their-codes")
    assert (done.code, told["verdict"], told["aligned"]) == (2, "INVALID", None)
    assert sentence in told["message"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("{", "is no result"),
        ("[]", "is no result"),
        ({"score": 60.0}, "is no result: it needs score"),
        ({"score": 160.0, "total_questions": 50}, "is no result"),
        ({"score": "many", "total_questions": 50}, "is no result"),
        ({"score": 60.0, "total_questions": 0}, "is no result"),
        ({"metrics": [{}]}, "is no result"),
        ([{"index": 0}], "gpqa_diamond_default.jsonl:1: is no review"),
        ([], "holds no review"),
    ],
)
def test_a_file_that_is_no_result_is_said(gate, wrong, sentence):
    done, _told = gate(native(60.0), wrong)
    assert done.code == 2
    assert sentence in done.err


def test_a_missing_file_is_said(run_gate, tmp_path):
    done = run_gate(tmp_path / "a.json", tmp_path / "b.json")
    assert done.code == 2
    assert "there is no such file" in done.err


def test_a_gate_of_few_questions_errs_seldom_and_says_what_decides():
    one = cell(np.random.default_rng(2026), "reviews", 50, 60, (0.6, 5.0))
    assert max(one.alarms, one.passes) <= 0.05
    assert one.alarms_before > 0.1, "a gate of two numbers fails equal ports"
    assert min(one.equal_decided, one.worse_decided) >= 0.8
    assert 200 < one.asked < 2_000


def test_the_command_runs_the_program_and_passes_its_code_on(run_evalkit, tmp_path):
    for name, score in (("v1", 79.8), ("v2", 40.4)):
        (tmp_path / f"{name}.json").write_text(json.dumps(native(score, 198)))
    done = run_evalkit(
        "gate", tmp_path / "v1.json", tmp_path / "v2.json", "--their-codes", "--output", tmp_path / "o.json"
    )
    assert done.returncode == 1
    assert json.loads((tmp_path / "o.json").read_text())["aligned"] is False
