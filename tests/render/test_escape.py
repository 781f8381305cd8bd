"""Foreign text: harmless in each format, and what a reader sees is unchanged."""

import csv
import html
import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evalkit.render import words as escape

SPECIAL = st.text(st.sampled_from("ab1 _*`[]()<>|~&#$!{}\\-+=.:/\"'%^@\n\r\t\x1b\x07\u202e\ud800答案，"), max_size=24)
TEXT = SPECIAL | st.text(max_size=24)
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def visible(rendered: str) -> str:
    return html.unescape(re.sub(r"</?(p|ul|li|table|thead|tbody|tr|th|td)>\n?", "", rendered)).strip()


def expected(text: str) -> str:
    return " ".join(escape.clean(text).split())


@settings(max_examples=400)
@given(TEXT)
def test_markdown_shows_the_text_and_nothing_else(text):
    escaped = escape.markdown(text)
    assert "\n" not in escaped
    assert visible(MARKDOWN.render(escaped)).split() == expected(text).split()
    assert visible(MARKDOWN.render("- x: " + escaped)).split() == ["x:", *expected(text).split()]


@given(TEXT, TEXT)
def test_markdown_stays_in_its_cell(left, right):
    rendered = MARKDOWN.render(f"| h | i |\n| - | - |\n| {escape.markdown(left)} | {escape.markdown(right)} |\n")
    cells = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", rendered)]
    assert [cell.split() for cell in cells] == [expected(left).split(), expected(right).split()]


def test_house_labels_stay_readable():
    for label in ("AIME_0fewshot_@avg1", "MMLU-Pro (Acc.)", "MM-Vet v2", "musr_generative", "GPQA-Diamond (Pass@1)"):
        assert escape.markdown(label) == label
    assert (
        escape.markdown("see https://evil.example and www.evil.example")
        == r"see https\://evil.example and www\.evil.example"
    )


@given(TEXT)
def test_csv_cells_come_back_and_never_compute(text):
    rows = list(csv.reader(io.StringIO(f"1,{escape.csv_cell(text)},2\n", newline=""), strict=True))
    assert len(rows) == 1
    cell = rows[0][1]
    assert cell.removeprefix("'") == escape.clean(text).removeprefix("'")
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))


@given(TEXT)
def test_latex_has_no_live_special_left(text):
    escaped = escape.latex(text)
    rest = re.sub(
        r"\\(textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|char34|textquotesingle|textasciigrave)\{\}",
        "",
        escaped,
    )
    rest = re.sub(r"\\[{}$&#%_]|\{[][]\}|(?<=-)\{\}(?=-)", "", rest)
    assert not re.search(r"[\\{}$&#%_^~]", rest)
    assert "--" not in escaped


@given(TEXT)
def test_clean_text_has_no_character_that_xml_or_a_terminal_minds(text):
    cleaned = escape.clean(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]", cleaned)
    assert escape.clean(cleaned) == cleaned
    assert "\n" not in escape.one_line(text)
