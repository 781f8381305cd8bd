"""The tables of the validation note are what its stored runs give; the examples that it names parse."""

import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.config import load_config
from evalkit.examine.bisect import most_tests
from evalkit.examine.probe_report import assess, enough
from evalkit.run.repair import read_run
from evalkit.run.tables import Graded
from tests.support.stored_run import add_session, suite_record, write_tables
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
        ("flaggems", "EQUIVALENT", 822),
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


def test_a_beginning_has_the_items_that_a_larger_limit_only_adds_to(tmp_path):
    prefixes = load("prefixes")
    run = tmp_path / "run"
    rows = [Graded(f"i{n}", r, 1.0, "scored", completion_tokens=2, suite="a") for n in range(9) for r in range(2)]
    write_tables(run, rows)
    add_session(run, suites=[suite_record("a", items=9, items_in_data=9, rows=18, repeats=2, strata=[], notes=[])])
    whole = read_run(run)
    parts = [prefixes.beginning(whole, size).suites["a"] for size in (2, 5, 9)]
    names = [set(part.samples.items.name) for part in parts]
    assert [len(one) for one in names] == [2, 5, 9]
    assert names[0] < names[1] < names[2]
    for part, kept in zip(parts, names, strict=True):
        samples = part.samples
        cells = {(samples.items.name[item], repeat) for item, repeat in zip(samples.item, samples.repeat, strict=True)}
        assert cells == {(name, repeat) for name in kept for repeat in range(2)}
        assert prefixes.generated(part) == 4 * len(kept)


def test_a_stripped_run_is_judged_as_before_and_a_second_time_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(VALIDATION)
    strip = load("strip").strip
    run = tmp_path / "run"
    write_tables(run, [Graded(f"i{n}", 0, n % 2, "scored", suite="a") for n in range(9)])
    add_session(run, suites=[suite_record("a", items=9, items_in_data=9, rows=9, strata=[], notes=[])])
    strip(run, tmp_path / "once" / "run")
    strip(tmp_path / "once" / "run", tmp_path / "twice" / "run")
    once, twice = ({p.name: p.read_bytes() for p in (tmp_path / n / "run").iterdir()} for n in ("once", "twice"))
    assert once == twice
    before, after = (read_run(folder).suites["a"].samples for folder in (run, tmp_path / "once" / "run"))
    assert (after.items.name, after.value.tolist()) == (before.items.name, before.value.tolist())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_parse_and_take_turns(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.launch.chooses_port
    assert config.launch.sequential
