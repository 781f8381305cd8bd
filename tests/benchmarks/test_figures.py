"""The one command for the figures of docs/statistics.md: it knows each program that the page names, and runs them."""

import re
from pathlib import Path

import failures
import figures
import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_every_program_that_the_page_names_is_a_part_under_its_heading():
    body = PAGE.partition("\n## ")[2]
    sections = re.split(r"^#{2,3} ", "## " + body, flags=re.MULTILINE)
    named = {name: set() for name in figures.PARTS}
    for section in sections:
        for name in re.findall(r"benchmarks/(\w+)\.py", section):
            named[name].add(section.partition("\n")[0])
    for name, (heading, _option) in figures.PARTS.items():
        assert heading in named[name], name
    assert "benchmarks/figures.py" in PAGE.partition("\n## ")[0]


def test_parts_are_printed_under_their_headings(monkeypatch, capsys):
    monkeypatch.setattr(failures, "CELLS", dict([*failures.CELLS.items()][:1]))
    monkeypatch.setattr("sys.argv", ["figures.py", "alerts", "failures", "--comparisons", "3"])
    figures.main()
    told = capsys.readouterr().out
    assert told.index("## Beside accuracy") < told.index("of 3 comparisons") < told.index("## What has no score")
    assert told.count("| 3 |") == 1


def rows_under(heading):
    """The rows of the first table under a heading of the page, heads first, each a list of cells."""
    lines = PAGE.partition(f"\n### {heading}\n")[2].partition("\n#")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


@pytest.mark.parametrize(("part", "rows"), [("decide", figures.PACKS), ("decide_rounds", figures.ROUNDS)])
def test_the_page_has_the_rows_that_are_printed_and_no_other(part, rows):
    heads, *named = rows_under(figures.PARTS[part][0])
    assert heads == list(figures.HEADS[part])
    assert {row[0]: row[-1] for row in named} == {label: f"{n:,}" for label, (_cell, n) in rows.items()}
    assert all(len(row) == len(heads) for row in named)


def test_every_table_of_numbers_stands_under_the_heading_of_a_part():
    headings = {heading for heading, _option in figures.PARTS.values()}
    sections = re.split(r"^#{2,3} ", PAGE, flags=re.MULTILINE)
    tabled = {one.partition("\n")[0] for one in sections if re.search(r"^\|.*\| *[0-9.,]+ *\|$", one, re.MULTILINE)}
    assert tabled
    assert tabled <= headings
    assert f"Of {figures.CUT[1]} equal ones with 17 % of answers cut" in PAGE


@pytest.mark.slow
def test_a_row_is_printed_as_the_page_has_it(monkeypatch, capsys):
    monkeypatch.setattr(figures, "PACKS", dict([*figures.PACKS.items()][8:9]))
    monkeypatch.setattr(figures, "CUT", (figures.CUT[0], 1))
    figures.packs(None)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| nightly"))
    assert row in PAGE


def test_an_unknown_part_is_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["figures.py", "decied"])
    with pytest.raises(SystemExit, match="2"):
        figures.main()
    assert "'decied' is none of p_gold" in capsys.readouterr().err
