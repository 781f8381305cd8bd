"""Typed uses of the Python API, read by mypy and pyright in `make check`; nothing runs them."""

from pathlib import Path
from typing import Any, assert_type

import evalkit
from evalkit import CompareOptions, JudgeOptions, Observer, Verdict
from evalkit.testing import assert_equivalent


class Printing(Observer):
    def notice(self, sentence: str) -> None:
        print(sentence)


def compares(frames: tuple[Any, Any]) -> None:
    options = CompareOptions(limit=50, margin_pt=2.0, margins_pt={"gpqa_diamond": 3.0}, on_inconclusive="warn")
    made = evalkit.compare("reference.yaml", Path("candidate.yaml"), options, Printing())
    assert_type(made, evalkit.Comparison)
    assert_type(made.verdict, Verdict)
    assert_type(made.exit_code, int)
    assert_type(made.file, Path | None)
    assert_type(made.report("html"), str | bytes)
    assert_type(made.explain("gpqa_diamond", language="zh"), str)
    assert_type(made.value.suites[0].ci90, evalkit.Interval | None)
    assert_type(made.changed(kinds=("regressed",), most=5), tuple[list[evalkit.Flip], bool])
    made.suites().to_csv("suites.csv")
    made.items().groupby("stratum")
    made.flips("gpqa_diamond", most=10).head()
    assert_type(evalkit.aa("reference.yaml"), evalkit.Comparison)
    assert_type(evalkit.judge(*frames, JudgeOptions(alpha=0.01)), evalkit.Comparison)
    assert_type(evalkit.load_comparison("runs/reference--candidate"), evalkit.Comparison)
    assert_type(assert_equivalent("scores/old.csv", "scores/new.csv"), evalkit.Comparison)


def runs() -> None:
    done = evalkit.run("endpoint.yaml", evalkit.RunOptions(overrides=("sampling.temperature=0.6",), limit=10))
    assert_type(done, evalkit.Run)
    assert_type(done.problems, tuple[str, ...])
    done.samples().query("status == 'failed'")
    done.to_dataset().push_to_hub("somebody/scores")
    assert_type(evalkit.score("endpoint.yaml").whole, bool)
    assert_type(evalkit.load_run(Path("runs/reference")).name, str)


def examines() -> None:
    found = evalkit.probe("reference.yaml", "candidate.yaml", evalkit.ProbeOptions(prompts=32))
    assert_type(found.verdict, Verdict)
    assert_type(found.folder, Path)
    assert_type(evalkit.doctor("reference.yaml", data=False), evalkit.Diagnosis)
    assert_type(evalkit.plan("reference.yaml", "candidate.yaml"), evalkit.Forecast)
    options = evalkit.BisectOptions(operators=["softmax", "rope"], on="launch.env.OPERATORS")
    assert_type(evalkit.bisect("reference.yaml", "candidate.yaml", options), evalkit.Bisection)
    assert_type(evalkit.judge_tables(["README.md"]), list[evalkit.JudgedTable])
    try:
        evalkit.load_run("nowhere")
    except evalkit.UsageError as error:
        assert_type(error.exit_code, int)


def mistakes() -> None:
    """What a type checker must refuse."""
    CompareOptions(margin=2)  # type: ignore[call-arg]
    CompareOptions(limit="50")  # type: ignore[arg-type]
    JudgeOptions(on_inconclusive="ignore")  # type: ignore[arg-type]
    evalkit.compare("reference.yaml")  # type: ignore[call-arg]
    evalkit.load_comparison("runs/a--b").explain(language="fr")  # type: ignore[arg-type]
