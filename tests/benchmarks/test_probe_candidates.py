"""The benchmark of the probe: its table, its page, and in small the real thing: a faithful and a broken candidate."""

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import weights
from standin import Refused

from evalkit.examine.probe import neutral_prompts
from evalkit.examine.probe_report import FORWARD
from evalkit.model import Verdict

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "probe.md"
# As the user has it; other tests point it elsewhere for the rest of the session.
USERS_CACHE = os.environ.get("EVALKIT_CACHE", "")


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("probe_candidates", ROOT / "benchmarks" / "probe_candidates.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def row(benchmark):
    one = SimpleNamespace(
        nll_shift=SimpleNamespace(point=0.098), k3=SimpleNamespace(point=0.1), mean_abs=0.29, p99_abs=1.7,
        agreement=SimpleNamespace(share=0.863),
    )  # fmt: skip
    greedy = SimpleNamespace(identical=0, compared=8)
    report = SimpleNamespace(verdict=Verdict.DEGRADED, comparisons={FORWARD: one}, greedy=greedy)
    about = benchmark.Candidate("rope-10k", "broken", "RoPE")
    return benchmark.Row(about, report, tokens=1672, found_after=672, cpu_seconds=34.2, wall_seconds=121.0)


def test_a_row_tells_everything(benchmark, row):
    line = str(row)
    assert line.count("|") == benchmark.HEADER.splitlines()[1].count("|")
    for cell in ("rope-10k", "broken", "DEGRADED", "0.098", "0.29", "86.3%", "0 of 8", "672", "1,672", "34", "121"):
        assert f"| {cell} |" in line


@pytest.mark.parametrize(
    ("kind", "verdict", "right"),
    [
        ("faithful", "EQUIVALENT", True),
        ("faithful", "INCONCLUSIVE", False),
        ("faithful", "DEGRADED", False),
        ("broken", "DEGRADED", True),
        ("broken", "EQUIVALENT", False),
        ("broken", "INCONCLUSIVE", False),
        ("borderline", "INCONCLUSIVE", True),
        ("borderline", "DEGRADED", True),
    ],
)
def test_what_each_kind_must_be(row, kind, verdict, right):
    report = SimpleNamespace(verdict=Verdict(verdict))
    assert replace(row, candidate=replace(row.candidate, kind=kind), report=report).as_it_should_be is right


def test_the_page_is_written_between_its_marks(benchmark, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{benchmark.BEGIN}\nold\n{benchmark.END}\nafter\n")
    benchmark.write(page, "new\n")
    benchmark.write(page, "newer\n")
    assert page.read_text() == f"before\n{benchmark.BEGIN}\n\nnewer\n\n{benchmark.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(SystemExit):
        benchmark.write(page, "new\n")


def test_the_page_has_every_candidate_as_it_should_be(benchmark):
    page = PAGE.read_text(encoding="utf-8")
    text, after = page.partition(benchmark.BEGIN)[2].split(benchmark.END)
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    told = {cells[0].removeprefix("| "): (cells[2], cells[3]) for cells in lines}
    assert set(told) == {one.name for one in benchmark.CANDIDATES}
    for name, (kind, verdict) in told.items():
        if kind == "broken":
            assert verdict == "DEGRADED", name
        elif kind == "faithful":
            assert verdict == "EQUIVALENT", name
        else:
            assert f"**{name}**" in after, "borderline ones are named with their size"


@pytest.mark.llama
async def test_a_faithful_server_passes_and_a_broken_one_is_flagged(benchmark, monkeypatch, tmp_path):
    """Real servers, as few tokens as can be judged: 8 texts of 26."""
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    monkeypatch.setenv("EVALKIT_CACHE", USERS_CACHE)
    try:
        weights.fetch("F16")
    except Refused as error:
        pytest.skip(f"no weights: {error}")
    chosen = [one for one in benchmark.CANDIDATES if one.name in {"restart", "rope-10k"}]
    plan = benchmark.Plan(neutral_prompts(8), tokens=26, greedy=1, at_once=4)
    monkeypatch.chdir(tmp_path)
    faithful, broken = await benchmark.measure_all(chosen, plan, (benchmark.Stage(8, 26),), tmp_path, None)
    assert (faithful.report.verdict, faithful.found_after) == (Verdict.EQUIVALENT, None)
    assert broken.report.verdict is Verdict.DEGRADED
    assert broken.found_after is not None
    assert broken.report.comparisons[FORWARD].mean_abs > 20 * faithful.report.comparisons[FORWARD].mean_abs
