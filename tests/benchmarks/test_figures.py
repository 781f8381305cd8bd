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


def test_an_unknown_part_is_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["figures.py", "decied"])
    with pytest.raises(SystemExit, match="2"):
        figures.main()
    assert "'decied' is none of p_gold" in capsys.readouterr().err
