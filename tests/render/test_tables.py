"""Tables in every format: golden files, widths, no colour needed, numbers that are the same everywhere."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from evalkit.model import Reason, Verdict, said
from evalkit.options import ReportOptions
from evalkit.render.report import rendered
from evalkit.render.rows import table_of
from evalkit.render.tables import TerminalTable, table_text
from evalkit.render.words import LANGUAGES, SYMBOLS, word_of, words_of


def terminal(comparison, *, width=100, language="en", behaviour=False, **console):
    output = (
        io.StringIO() if "encoding" not in console else io.TextIOWrapper(io.BytesIO(), encoding=console.pop("encoding"))
    )
    made = Console(file=output, width=width, **console)
    made.print(TerminalTable(comparison, language, behaviour))
    output.seek(0)
    return output.read()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [100, 80])
def test_terminal_golden(comparison, golden, width, language):
    golden(f"terminal-{width}.{language}.txt", terminal(comparison, width=width, language=language, behaviour=True))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [140, 100, 80, 66, 60, 50, 40])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_cut(comparison, width, language):
    text = terminal(comparison, width=width, language=language, behaviour=True)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for row in table_of(comparison).rows:
        assert f"{SYMBOLS[row.verdict]} {word_of('verdict', row.verdict.value, language)}" in text
        if row.change:
            assert f"{row.change.interval.low:+f}, {row.change.interval.high:+f}]" in text
        # Each reason whole, however its lines break.
        told = "".join(f"{row.label}{words_of(language)['colon']}".split())
        assert told in "".join(text.split())
    assert "…" not in re.sub(r"\d\s*…\s*[-+]", "", text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [60, 40])
def test_a_narrow_terminal_golden(comparison, golden, width, language):
    golden(f"terminal-{width}.{language}.txt", terminal(comparison, width=width, language=language, behaviour=True))


@pytest.mark.parametrize("behaviour", [True, False])
@pytest.mark.parametrize("width", range(40, 141))
def test_every_suite_keeps_its_name_and_numbers_at_every_width(comparison, width, behaviour):
    text = terminal(comparison, width=width, behaviour=behaviour)
    table, _, below = text.partition("\n\n")
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in table
    for row in table_of(comparison).rows:
        # A word is broken only where it is longer than a name's least room.
        assert all(word in table for word in row.label.split() if word.isascii() and len(word) <= 12), table
        assert f"{row.n}×{row.k}" in table
        assert f"{row.reference.score:f}" in table
    words = {"answer", "candidate", "refusals"} if behaviour else set()
    assert words <= set(below.split()), text


def test_a_label_that_is_short_leaves_the_table_as_it_is(comparison):
    from dataclasses import replace

    small = replace(comparison, suites=(replace(comparison.suites[0], label="q"),), macro=None)
    wide = terminal(small, width=64).splitlines()[1]
    assert wide.split()[:4] == ["Suite", "n×k", "Ref.", "Cand."]


def test_colour_is_never_alone(comparison, monkeypatch):
    coloured = terminal(comparison, force_terminal=True, color_system="truecolor")
    assert "\x1b[" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == terminal(comparison)
    monkeypatch.setenv("NO_COLOR", "1")
    without = terminal(comparison, force_terminal=True, color_system="truecolor")
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", without)


def test_hostile_text_moves_no_cursor_and_styles_nothing(example):
    from dataclasses import replace

    whole = example.comparison()
    evil = replace(
        whole.suites[0], label="[red]x[/red] \x1b[2J\x9b2J\u202eabc", reasons=(said("a\rb\x08\nEQUIVALENT"),)
    )
    text = terminal(replace(whole, suites=(evil,), macro=None), width=120)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "[red]x[/red]" in text


def test_a_terminal_without_unicode_gets_ascii(comparison):
    text = terminal(comparison, encoding="ascii", width=100)
    text.encode("ascii")
    assert "= EQUIVALENT" in text
    assert "+/-2.0" in text
    assert "-1.5 ... +0.9" in text
    chinese = terminal(comparison, encoding="ascii", width=100, language="zh", behaviour=True)
    chinese.encode("ascii")
    assert "= ??" in chinese


@pytest.mark.parametrize("language", LANGUAGES)
def test_markdown_and_latex_golden(comparison, golden, language):
    golden(f"table.{language}.md", table_text(comparison, "markdown", language=language, behaviour=True))
    golden(f"table.{language}.tex", table_text(comparison, "latex", language=language, behaviour=True))


def test_csv_and_json_golden(comparison, golden):
    golden("table.csv", table_text(comparison, "csv"))
    golden("table.json", table_text(comparison, "json"))


def test_csv_and_json_say_the_same_as_the_rows(comparison):
    rows = table_of(comparison).rows
    read = list(csv.DictReader(io.StringIO(table_text(comparison, "csv"), newline=""), strict=True))
    document = json.loads(table_text(comparison, "json"))
    overall = read.pop()
    assert len(read) == len(rows) == len(document["rows"])
    macro = document["macro"]
    assert (overall["suite"], overall["verdict"], overall["n"]) == ("overall", macro["verdict"], "")
    assert (overall["difference_pt"], overall["margin_pt"]) == ("6.5", "1.5")
    assert (macro["change"]["difference"], macro["margin"]) == (6.5, 1.5)
    assert overall["reasons"] == "; ".join(macro["reasons"])
    for row, line, entry in zip(rows, read, document["rows"], strict=True):
        assert line["suite"] == entry["suite"] == row.suite
        assert line["verdict"] == entry["verdict"] == row.verdict.value
        assert line["reference_percent"] == ("" if row.reference.score is None else str(row.reference.score))
        assert line["interval_low_pt"] == ("" if row.change is None else str(row.change.interval.low))
        assert (
            entry["change"] is None
            if row.change is None
            else entry["change"]["difference"] == float(line["difference_pt"])
        )


def test_a_table_without_noise_floor_reasons_or_macro(comparison, golden):
    from dataclasses import replace

    bare = replace(comparison.suites[1], reasons=())
    small = replace(comparison, suites=(bare,), macro=None, reasons=(), verdict=Verdict.EQUIVALENT)
    text = table_text(small, "markdown")
    header, ruler, line = text.splitlines()[:3]
    assert header.count("|") == ruler.count("|") == line.count("|") == 9
    assert "Noise" not in text
    assert "\n- " not in text
    assert "itemize" not in table_text(small, "latex")
    assert terminal(small).rstrip().endswith("✓ EQUIVALENT")


def test_both_languages_have_every_word():
    assert set(words_of("en")) == set(words_of("zh"))
    assert {f"verdict_{verdict.value}" for verdict in Verdict} <= set(words_of("en"))
    assert set(SYMBOLS) == set(Verdict)


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "html", "summary"])
@pytest.mark.parametrize(("language", "told"), [("en", "30 of 756 items"), ("zh", "756 道题中的 30 道")])
def test_a_part_of_a_data_set_is_marked_on_the_row_that_is_passed_on(comparison, form, language, told):
    first, *others = comparison.suites
    part = replace(first, notes=(Reason("note.part", {"n": 30, "all": 756}),))
    text = rendered(replace(comparison, suites=(part, *others)), form, ReportOptions(language=language))
    text = text.decode() if isinstance(text, bytes) else text
    rows = [line for line in text.splitlines() if first.label in line and told in line]
    assert rows, text


@pytest.mark.parametrize(("language", "beside"), [("en", " (30 of 756 items): "), ("zh", "（756 道题中的 30 道）：")])
def test_a_part_of_a_data_set_is_marked_beside_the_sentence_of_its_suite(comparison, language, beside):
    first, *others = comparison.suites
    part = replace(first, notes=(Reason("note.part", {"n": 30, "all": 756}),))
    shown = terminal(replace(comparison, suites=(part, *others)), width=140, language=language)
    assert first.label + beside in shown


@pytest.mark.parametrize(
    ("form", "label"), [("markdown", "- **{}**"), ("latex", r"\item \textbf{{{}}}"), ("html", "<h3>{} <")]
)
def test_a_part_of_a_data_set_is_marked_where_its_suite_is_explained(comparison, form, label):
    musr = next(suite for suite in comparison.suites if suite.suite == "musr")
    part = replace(musr, notes=(Reason("note.part", {"n": 30, "all": 756}),))
    text = rendered(replace(comparison, suites=(part,)), form, ReportOptions())
    text = text.decode() if isinstance(text, bytes) else text
    assert label.format(f"{musr.label} (30 of 756 items)") in text
