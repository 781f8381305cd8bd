"""The tables of the validation note are what its stored runs give; the examples that it names parse."""

import json
import lzma
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.config import load_config
from evalkit.examine.bisect import most_tests
from evalkit.examine.probe_report import assess, enough
from evalkit.run import manifest
from evalkit.run.parquet import Table
from evalkit.run.read import read_run
from evalkit.run.tables import SCORES, Graded
from tests.support.stored_run import PLAN, add_session, suite_record, write_tables
from tests.support.validation import VALIDATION, load

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "validation.md"
EXAMPLES = sorted(path for path in (ROOT / "examples" / "vllm-flaggems").glob("*.yaml") if path.stem != "common")


@pytest.mark.slow
def test_the_tables_regenerate():
    done = subprocess.run(
        [ROOT / "docs" / "validation" / "regenerate.sh"],
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (ROOT / "docs" / "validation.md").read_text()


@pytest.mark.parametrize(
    ("name", "verdict", "tokens"),
    [
        ("damaged", "DEGRADED", 822),
        ("rope", "DEGRADED", 822),
        ("template", "DEGRADED", 822),
        ("flaggems", "EQUIVALENT", 4760),
    ],
)
def test_the_stored_probes_say_after_how_many_tokens(name, verdict, tokens):
    with lzma.open(VALIDATION / "probes" / f"{name}.jsonl.xz", "rt") as lines:
        findings = load("stored_probes").read_findings(map(json.loads, lines))
    assert assess(findings).verdict.value == verdict
    assert json.loads((VALIDATION / "probes" / f"{name}.json").read_text())["verdict"] == verdict
    assert enough(findings).tokens == tokens


def test_the_stored_bisect_is_within_the_bound_and_names_what_the_page_names():
    with lzma.open(VALIDATION / "bisect.jsonl.xz", "rt") as lines:
        names, *rows = map(json.loads, lines)
    names = names["operators"]
    alone = {names[row["on"][0]]: row["verdict"] for row in rows if len(row["on"]) == 1}
    assert {name for name, verdict in alone.items() if verdict == "DEGRADED"} == {"mm", "mul"}
    page = PAGE.read_text()
    assert f"Guilty of {len(names)}: mm; mul; 22 sets asked for, {len(rows)} measured." in page
    assert most_tests(len(names), 2) == 24 >= 22


def test_what_was_printed_on_the_card_is_on_the_page():
    page = PAGE.read_text()
    for name in ("doctor.txt", "mul.txt", "stage0.txt"):
        assert (VALIDATION / name).read_text().strip() in page


def test_a_run_is_cut_to_the_items_that_a_larger_limit_only_adds_to(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(VALIDATION)
    prefixes = load("prefixes")
    run = tmp_path / "run"
    rows = [Graded(f"i{n}", r, 1.0, "scored", completion_tokens=2, suite="a") for n in range(9) for r in range(2)]
    scores = write_tables(run, rows)
    suite = suite_record("a", items=9, items_in_data=9, rows=18, repeats=2, strata=[], notes=[])
    add_session(run, suites=[suite])
    sets = [prefixes.kept(run, size)["a"] for size in (2, 5, 9)]
    assert [len(one) for one in sets] == [2, 5, 9]
    assert sets[0] < sets[1] < sets[2]
    out = prefixes.cut(run, tmp_path / "out", 5)
    table = Table(out / scores.name, SCORES)
    assert table.header["plan"] == PLAN
    assert set(table.labels("item").names) == sets[1]
    (cut,) = manifest.latest(out).suites
    assert cut == replace(suite, items=5, items_in_data=5, rows=10, items_digest=cut.items_digest)
    assert len(read_run(out).suites["a"].samples) == 10
    assert prefixes.generated(run, "a", 5) == 20


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_parse_and_take_turns(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.launch.chooses_port
    assert config.launch.sequential
