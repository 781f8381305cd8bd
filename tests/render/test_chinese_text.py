"""Chinese on a terminal: full lines, no line that begins with a closing mark, nothing lost."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table

from evalkit.render import terminal
from evalkit.render.chinese_text import ChineseText

SENTENCE = "90% 区间 -7.56 … +3.52 个百分点，既不完全在 ±5 之内，也不完全在其外；请增加题目（温度大于 0）、放宽容差。"


def lines(text, width):
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(Group(text))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 33, 40, 79])
def test_lines_are_full_and_begin_with_no_closing_mark(width):
    made = lines(terminal.text(SENTENCE, ascii_only=False), width)
    assert len(made) > 1
    assert all(cell_len(line) <= width for line in made)
    assert all(cell_len(line) >= width - 10 for line in made[:-1])
    assert not any(line[0] in "，。；：、）" for line in made)
    assert not any(line.rstrip()[-1] in "（“" for line in made)
    assert "".join("".join(made).split()) == "".join(SENTENCE.split())


@given(st.text(st.sampled_from("ab 1区间，。（）”x-")), st.integers(2, 30))
def test_nothing_is_lost_and_nothing_is_too_wide(text, width):
    made = lines(ChineseText(text), width)
    assert "".join("".join(made).split()) == "".join(text.split())
    assert all(cell_len(line) <= width for line in made)


def test_in_a_table_cell_and_right_aligned():
    table = Table(box=None, padding=0, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", overflow="fold")
    table.add_row(terminal.text(SENTENCE, ascii_only=False), terminal.text("回答长度", ascii_only=False))
    made = lines(table, 48)
    assert made[0].endswith("回答长度")
    assert all(cell_len(line) <= 48 for line in made)


def test_text_without_wide_characters_is_as_before_and_ascii_stays_ascii():
    assert not isinstance(terminal.text("the 90 % interval ±5", ascii_only=False), ChineseText)
    assert not isinstance(terminal.text(SENTENCE, ascii_only=True), ChineseText)
