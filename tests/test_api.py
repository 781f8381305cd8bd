"""The Python API: what it is made of, what its calls give, in a running event loop too, and that it prints nothing."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import Model

import evalkit
from evalkit.errors import DataError, RunError, UsageError
from evalkit.model import Verdict
from evalkit.testing import assert_equivalent
from evalkit.waits import finished

CALLS = {
    *(
        "aa",
        "bisect",
        "compare",
        "contract",
        "doctor",
        "judge",
        "judge_tables",
        "load_comparison",
        "load_run",
        "plan",
        "probe",
    ),
    *("records", "run", "score", "stored_runs", "sweep"),
}
VALUES = {
    *("Bisection", "Diagnosis", "Forecast", "JudgedTable"),
    "Comparison",
    "Contract",
    "Fidelity",
    "Flip",
    "Interval",
    "Map",
    "Observer",
    "Run",
    "StoredRun",
    "SuiteResult",
    "Verdict",
    "__version__",
}
OPTIONS = {
    f"{name}Options"
    for name in ("Bisect", "Compare", "Contract", "Judge", "Plan", "Probe", "Report", "Run", "Sweep", "Table")
}  # one a call
ERRORS = {f"{name}Error" for name in ("Config", "Data", "Endpoint", "Evalkit", "Launch", "Run", "Storage", "Suite")}
ERRORS.add("UsageError")


def test_the_names_are_these_and_each_is_there():
    assert set(evalkit.__all__) == CALLS | VALUES | OPTIONS | ERRORS
    assert sorted(evalkit.__all__) == evalkit.__all__
    for name in evalkit.__all__:
        assert getattr(evalkit, name).__doc__, name
    assert set(evalkit.__all__) <= set(dir(evalkit))
    with pytest.raises(AttributeError, match="no attribute 'compair'"):
        _ = evalkit.compair


def test_a_call_stays_a_call_where_the_room_of_its_name_is_imported():
    code = (
        "import evalkit, evalkit.run.plan, evalkit.compare.pair\n"
        "from evalkit import compare, run\n"
        "from evalkit.run import plan\n"
        "print(evalkit.run is run, callable(run), callable(compare), plan.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True True True evalkit.run.plan\n", done.stderr


def test_importing_it_is_light():
    code = "import evalkit, sys; evalkit.CompareOptions(); evalkit.compare; evalkit.UsageError; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert "evalkit.api" in loaded
    assert not loaded & {
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic",
        "aiohttp",
        "rich",
        "click",
        "scipy",
        "lm_eval",
        "yaml",
    }


# ---------------------------------------------------------------- two frames


def frame(scores, suite="quiz"):
    """A frame with one row a (item, repeat): `scores` by item."""
    rows = [(suite, f"q{item}", repeat, one) for item, them in enumerate(scores) for repeat, one in enumerate(them)]
    return pd.DataFrame(rows, columns=["suite", "item", "repeat", "score"])


GOOD, WORSE = [[1.0]] * 150 + [[0.0]] * 150, [[1.0]] * 100 + [[0.0]] * 200


@pytest.mark.parametrize("kind", [lambda one: one, pa.Table.from_pandas])
def test_two_frames_are_judged_and_nothing_is_stored_or_printed(kind, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    made = evalkit.judge(kind(frame(GOOD)), kind(frame(WORSE)))
    assert (made.verdict, made.exit_code) == (Verdict.DEGRADED, 1)
    assert (made.value.reference.name, made.value.candidate.name) == ("reference", "candidate")
    assert made.value.reference.run_id != made.value.candidate.run_id
    suites = made.suites()
    assert suites.loc[0, ["suite", "verdict", "n_items", "regressed"]].tolist() == ["quiz", "DEGRADED", 300, 50]
    assert suites.loc[0, "difference"] == pytest.approx(-1 / 6)
    assert suites.loc[0, "ci90_low"] < suites.loc[0, "difference"] < suites.loc[0, "ci90_high"] < 0
    flips = made.flips(kinds=["regressed"], most=3)
    assert flips[["kind", "reference_score", "candidate_score"]].to_numpy().tolist() == [["regressed", 1.0, 0.0]] * 3
    assert len(made.flips()) == 50
    assert len(made.flips(item="q120")) == 1
    assert (made.folder, made.file, list(tmp_path.iterdir()), capfd.readouterr()) == (None, None, [], ("", ""))


def test_a_frame_is_judged_as_the_table_of_its_rows(tmp_path):
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    for path, scores in zip(paths, (GOOD, WORSE), strict=True):
        frame(scores).to_csv(path, index=False)
    options = evalkit.JudgeOptions(margin_pt=3, out=str(tmp_path / "made"))
    frames, tables = evalkit.judge(frame(GOOD), frame(WORSE), options), evalkit.judge(*paths, options)
    pd.testing.assert_frame_equal(frames.suites(), tables.suites())
    pd.testing.assert_frame_equal(frames.items(), tables.items())
    assert tables.file == tmp_path / "made" / "comparison.json"
    mixed = evalkit.judge(frame(GOOD), paths[1], evalkit.JudgeOptions(margin_pt=3))
    pd.testing.assert_frame_equal(frames.suites(), mixed.suites())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (frame([[1.0], [2.0]]), "reference:2: score: 2 does not lie between 0 and 1"),
        (frame(GOOD).drop(columns="item"), "reference: has no column 'item'"),
        (frame(GOOD).rename(columns={"score": "Score"}), "reference: has no column 'score'"),
        (frame([]), "reference: holds no row"),
        (pd.concat([frame([[1.0]])] * 2), "item 'q0', repeat 0 is listed twice"),
        ({"suite": 7}, "reference: is no table of scores"),
        (frame(GOOD).assign(score=["right", *[1] * 299]), "reference: is no table of scores"),
    ],
)
def test_a_frame_that_is_none_names_side_row_and_column(content, sentence):
    with pytest.raises(DataError, match="^" + sentence if sentence.startswith("reference") else sentence):
        evalkit.judge(content, frame(GOOD))


def test_one_frame_against_itself_is_a_mistake():
    same = frame(GOOD)
    with pytest.raises(UsageError, match="both sides are the same"):
        evalkit.judge(same, same)


@given(st.lists(st.tuples(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0, 1)), min_size=3, max_size=20))
@settings(max_examples=25, deadline=None)
def test_items_add_up_to_their_suite(scores):
    made = evalkit.judge(frame([both for both, _one in scores]), frame([[one] for _both, one in scores]))
    items, suite = made.items(), made.suites().loc[0]
    assert items["share"].sum() == pytest.approx(1)
    for name in ("reference", "candidate", "difference"):
        assert (items[name] * items["share"]).sum() == pytest.approx(suite[name], abs=1e-12)
    assert (items["k_reference"].unique().tolist(), items["k_candidate"].unique().tolist()) == ([2], [1])


def test_a_kind_of_flip_that_there_is_not_is_said():
    with pytest.raises(UsageError, match="kinds: 'regresed' is not known: did you mean 'regressed'"):
        evalkit.judge(frame(GOOD), frame(WORSE)).flips(kinds=["regresed"])


def test_a_run_that_is_not_there_is_said_to_be_absent(tmp_path):
    with pytest.raises(UsageError, match="absent: there is no such file or folder"):
        evalkit.load_run(tmp_path / "absent")


def test_options_are_checked_where_they_are_made():
    for wrong in ({"margin_pt": 0}, {"margins_pt": {"quiz": 100}}, {"alpha": 0.5}):
        with pytest.raises(UsageError, match=" is not between 0 and "):
            evalkit.JudgeOptions(**wrong)
    with pytest.raises(UsageError, match="on_inconclusive: 'wran' is not known: did you mean 'warn'"):
        evalkit.CompareOptions(on_inconclusive="wran")
    with pytest.raises(UsageError, match="dates: 'newest' is not known: there are latest, repeats"):
        evalkit.JudgeOptions(dates="newest")
    for kind, wrong, words in (
        (evalkit.ProbeOptions, {"prompts": 0}, "prompts: must be from 8 to 4096, not 0"),
        (evalkit.ProbeOptions, {"greedy": -1}, "greedy: must be at least 0, not -1"),
        (evalkit.BisectOptions, {"operators": "a", "at_once": 0}, "at_once: must be from 1 to 64, not 0"),
        (evalkit.PlanOptions, {"power": 1}, "power: must lie between 0 and 1, not 1"),
        (evalkit.PlanOptions, {"tokens_per_second": 0}, "tokens_per_second: must be above 0, not 0"),
        (evalkit.JudgeOptions, {"flips": -1}, "flips: must be at least 0, not -1"),
        (evalkit.ReportOptions, {"language": "fr"}, "language: 'fr' is not known: there are en, zh"),
    ):
        with pytest.raises(UsageError, match=words):
            kind(**wrong)
    with pytest.raises(UsageError, match="limit: 0 is fewer than one item"):
        evalkit.RunOptions(limit=0)
    with pytest.raises(UsageError, match="no such suite is compared: did you mean 'quiz'"):
        evalkit.judge(frame(GOOD), frame(WORSE), evalkit.JudgeOptions(margins_pt={"quizz": 2}))


# ---------------------------------------------------------------- what is shown of a comparison


def test_a_notebook_shows_the_table_with_foreign_words_escaped():
    made = evalkit.judge(frame(GOOD, "<script>alert(1)</script>"), frame(WORSE, "<script>alert(1)</script>"))
    shown = made._repr_html_()
    assert "<table>" in shown
    assert repr(made) == "<Comparison DEGRADED: reference and candidate>"
    assert "DEGRADED" in shown
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_reports_and_explanations_are_those_of_the_commands(tmp_path, invoke):
    made = evalkit.judge(frame(GOOD), frame(WORSE), evalkit.JudgeOptions(out=tmp_path))
    assert made.report("json") == invoke("report", tmp_path, "--format", "json").out
    assert made.report("junit").decode().strip() == invoke("report", tmp_path, "--format", "junit").out.strip()
    assert made.explain(language="zh") == invoke("explain", tmp_path, "--language", "zh").out
    assert "DEGRADED" in str(made)
    told = ("--style", "evalkit", "--chip", "K3", "--allow-invalid")
    assert made.card("evalkit", chip="K3", allow=["invalid"]) == invoke("card", tmp_path, *told).out
    with pytest.raises(UsageError, match="--chip is missing: the style evalkit names the chip"):
        made.card("evalkit")
    with pytest.raises(UsageError, match="'htm' is not known: did you mean 'html'"):
        made.report("htm")


def test_a_stored_comparison_is_loaded_and_finds_its_runs(tmp_path):
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    for path, scores in zip(paths, (GOOD, WORSE), strict=True):
        frame(scores).to_csv(path, index=False)
    made = evalkit.compare(*paths)
    assert made.file == tmp_path / "a--b" / "comparison.json"
    for place in (made.folder, made.file):
        loaded = evalkit.load_comparison(place)
        assert loaded.value == made.value
        pd.testing.assert_frame_equal(loaded.items(), made.items())
    paths[1].write_text("suite,item,repeat,score\nquiz,q1,0,1\n")
    with pytest.raises(RunError, match=r"the run .* that was compared is not there any more"):
        loaded.items()
    assert len(loaded.flips()) == 40, "those that the comparison holds"


# ---------------------------------------------------------------- endpoints


@pytest.fixture
def files(tmp_path):
    """Writes an endpoint's YAML for a toy server with a suite of 30 invented items."""
    data = tmp_path / "data" / "aime2024"
    data.mkdir(parents=True)
    rows = [{"id": f"2099-I-{n}", "problem": f"What is {n}+{n}?", "answer": f"{2 * n:03d}"} for n in range(30)]
    (data / "aime2024.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write(name, server, **more):
        suite = {"name": "aime24", "partial_data": True, "repeats": 2, "sampling": {"max_tokens": 32}}
        fixed = {"name": name, "base_url": server.url, "model": "toy", "runs": str(tmp_path / "runs")}
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps({**fixed, "suites": [suite], "data": str(data.parent), **more}))
        return path

    return write


class Ear(evalkit.Observer):
    def __init__(self):
        self.heard = []

    def notice(self, sentence):
        self.heard.append(sentence)

    def differences(self, found):
        self.heard.append([one.key for one in found])


async def test_a_comparison_is_made_inside_a_running_event_loop_and_prints_nothing(toy, files, capfd, tmp_path):
    ear = Ear()
    made = evalkit.compare(files("ref", toy("vllm")), files("cand", toy("vllm")), evalkit.CompareOptions(limit=20), ear)
    assert made.folder == tmp_path / "runs" / "ref--cand"
    assert made.file is not None
    assert ["base_url", "name"] in [sorted(one) for one in ear.heard if isinstance(one, list)]
    assert made.suites()["n_items"].tolist() == [20]
    assert len(made.items()) == 20
    run = evalkit.load_run(tmp_path / "runs" / "ref")
    samples = run.samples()
    assert (run.name, len(samples), sorted(samples["repeat"].unique())) == ("ref", 40, [0, 1])
    assert samples["score"].between(0, 1).all()
    assert (samples["completion_tokens"] > 0).all()
    assert set(samples["status"]) <= {"scored", "no_answer", "truncated"}
    rows = run.to_dataset()
    assert rows.column_names == list(samples.columns)
    assert rows[0]["item"] == samples.loc[0, "item"]
    assert capfd.readouterr() == ("", "")


def test_a_run_says_what_it_asked_and_what_kept_it_from_being_whole(toy, files):
    server = toy("vllm")
    path = files("ref", server)
    done = evalkit.run(path, evalkit.RunOptions(limit=5, overrides=("limits.outage_seconds=1",)))
    assert (done.whole, done.asked, done.problems) == (True, 10, ())
    assert done.summary()["suites"][0]["valued"] == 10
    assert evalkit.score(path, evalkit.RunOptions(limit=5)).summary()["suites"] == done.summary()["suites"]
    server.close()
    later = evalkit.run(path, evalkit.RunOptions(limit=6, overrides=("limits.outage_seconds=1",)))
    assert not later.whole
    assert str(later.problem) in later.problems[0]
    assert later.samples()["score"].isna().sum() == 2


def test_the_probe_and_the_doctor_are_calls(toy, files):
    one, other = files("ref", toy("vllm")), files("cand", toy("vllm", model=Model(noise=0.4)))
    found = evalkit.probe(one, other, evalkit.ProbeOptions(prompts=14, tokens=30, greedy=3, neutral=True))
    assert found.verdict is Verdict.DEGRADED
    stored = json.loads((found.folder / "probe.json").read_bytes())
    assert (stored["verdict"], stored["comparisons"]) == ("DEGRADED", found.document["comparisons"])
    seen = evalkit.doctor(one, other, data=False)
    assert (seen.exit_code, [report.name for report in seen.reports]) == (0, ["ref", "cand"])
    planned = evalkit.plan(one, other, evalkit.PlanOptions(margin_pt=20, comparisons=20))
    assert [one.suite for one in planned.suites] == ["aime24"]


def test_what_nobody_hears_is_logged(toy, files, caplog):
    with caplog.at_level(logging.INFO, logger="evalkit"):
        evalkit.compare(
            files("ref", toy("vllm")), files("cand", toy("transformers")), evalkit.CompareOptions(probe=True)
        )
    assert "probe: asking both endpoints 64 built-in prompts first" in caplog.messages
    assert any("not supported by" in message for message in caplog.messages)


# ---------------------------------------------------------------- in tests


def test_assert_equivalent_gives_the_comparison_or_fails_with_table_and_reasons(tmp_path):
    assert assert_equivalent(frame(GOOD), frame(GOOD)).verdict is Verdict.EQUIVALENT
    with pytest.raises(AssertionError) as failed:
        assert_equivalent(frame(GOOD), frame(WORSE))
    told = str(failed.value)
    assert told.startswith("the candidate is DEGRADED, not EQUIVALENT\n")
    assert "quiz" in told
    assert "-16.7" in told
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    for path, scores in zip(paths, (GOOD, WORSE), strict=True):
        frame(scores).to_csv(path, index=False)
    with pytest.raises(AssertionError, match=r"stored in .*comparison\.json$"):
        assert_equivalent(*paths)


def test_assert_equivalent_lets_an_open_verdict_pass_where_told_to():
    open_ = [[1.0]] * 144 + [[0.0]] * 156
    with pytest.raises(AssertionError, match="INCONCLUSIVE, not EQUIVALENT"):
        assert_equivalent(frame(GOOD), frame(open_))
    made = assert_equivalent(frame(GOOD), frame(open_), evalkit.CompareOptions(on_inconclusive="warn"))
    assert made.verdict is Verdict.INCONCLUSIVE


# ---------------------------------------------------------------- waiting


async def work(value):
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value, threading.current_thread() is threading.main_thread()


def test_without_a_loop_the_work_stays_in_its_thread():
    assert finished(work(7)) == (7, True)


async def test_in_a_loop_the_work_has_a_thread_of_its_own_and_its_error_comes_back():
    assert finished(work(7)) == (7, False)
    with pytest.raises(RunError, match="gone"):
        finished(work(RunError("gone")))


async def test_ctrl_c_in_a_loop_cancels_the_work_and_waits_for_its_end():
    ended = []

    async def long():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(600)
        finally:
            ended.append("cleaned up")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            finished(long())
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["cleaned up"]


def test_numbers_of_frames_are_numbers():
    suites = evalkit.judge(frame(GOOD), frame(WORSE)).suites()
    numeric = suites.select_dtypes(np.number).columns
    assert {"reference", "candidate", "difference", "margin", "coverage", "k_reference", "churn"} <= set(numeric)
