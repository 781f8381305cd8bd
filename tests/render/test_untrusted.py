"""Every text of a comparison hostile at once: each format keeps the structure that it has with harmless texts.

Escaping by itself is tested in test_escape; here nothing may have been forgotten.
"""

import csv
import io
import json
import re
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from xml.etree import ElementTree as ET

import pytest
import yaml
from lxml import html
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.console import Console

from evalkit.model import Difference, Reason
from evalkit.publish.cards import BEGIN, END, CardSubject, card, into, load_style, style_names
from evalkit.publish.hub import every_eval_ever, model_index
from evalkit.render import report as ci
from evalkit.render.html import report
from evalkit.render.report import explain
from evalkit.render.tables import TerminalTable, table_text
from evalkit.render.words import LANGUAGES, say

HARMLESS = "word"
HOSTILE = [
    "</script></style></svg><img src=x onerror=alert(1)><!-- -->",
    "| a | b |\n| --- | --- |\n\n# heading\n\n- item",
    "`code` ``` *b* _i_ [l](javascript:x) ![p](http://x/y.png) <https://x>",
    "/approve\n/merge @all",
    '=HYPERLINK("http://x")\r\n@SUM(1)\t+1',
    "\\input{/etc/passwd} \\end{tabular} & % $ # _ { } ~ ^",
    "\n::error file=a::b%0A::stop-commands::x\n##[add-mask]y",
    'a"} 1\n# EOF\nb\\',
    "\x00\x1b[2J\x1b]8;;http://x\x07\u202e\ud800\ufffe]]>",
    "{{ 7 * 7 }}{% raw %}{0.__class__}",
    f"{END}\n{BEGIN}\n---\n",
]
# What the code branches on stays; everything else is text that somebody else wrote.
KEPT = {"kind", "created", "started", "unit", "reference_status", "candidate_status", "worst_suite", "headline"}


def poisoned(value, text, name=""):
    """The value with every text in it replaced; suites keep names of their own."""
    if name in KEPT or isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return f"{value}{text}" if name == "suite" else text
    if isinstance(value, tuple):
        return tuple(poisoned(one, text, name) for one in value)
    if isinstance(value, dict):
        return {poisoned(key, text): poisoned(one, text) for key, one in value.items()}
    if isinstance(value, Reason):
        return value.with_texts(lambda _one: text)
    if is_dataclass(value):
        return replace(value, **{f.name: poisoned(getattr(value, f.name), text, f.name) for f in fields(value)})
    return value


@pytest.fixture(params=range(len(HOSTILE)), ids=lambda number: HOSTILE[number].split()[0][:12].encode().hex())
def pair(request, comparison):
    """(harmless, hostile): the same comparison with other texts."""
    whole = replace(comparison, differences=(Difference("key", "one", "two"),))
    return poisoned(whole, HARMLESS), poisoned(whole, HOSTILE[request.param])


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shape(text):
    """What a Markdown text is made of, its texts left out; an escaped character makes no difference."""
    kinds = []
    for token in MARKDOWN.parse(text):
        kinds.append(token.type)
        kinds += [child.type for child in token.children or () if child.type not in {"text", "text_special"}]
    return [kind for kind in kinds if kind != "softbreak"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_markdown_keeps_its_structure(pair, language):
    for make in (
        lambda made: table_text(made, "markdown", language=language, behaviour=True),
        lambda made: ci.summary(made, language=language),
        lambda made: ci.summary(made, language=language, brief=True),
    ):
        harmless, hostile = map(make, pair)
        assert shape(hostile) == shape(harmless)
        assert not [line for line in hostile.splitlines() if line.lstrip().startswith(("/", "::"))]


@pytest.mark.parametrize("style", style_names())
def test_cards_keep_their_structure_and_go_into_a_file_once(pair, style):
    house = load_style(style)
    subject = [CardSubject(one.candidate.name, one.candidate.model) for one in pair]
    harmless, hostile = (card(one, house, about, allow=["invalid"]) for one, about in zip(pair, subject, strict=True))
    assert shape(hostile) == shape(harmless)
    file = f"# Title\n\n{BEGIN}\n{END}\n".encode()
    once = into(file, hostile)
    assert into(once, hostile) == once
    assert once.count(BEGIN.encode() + b"\n") == once.count(b"\n" + END.encode()) == 1


def elements(page):
    """The elements of a page in their order, each with the names of its attributes."""
    return [
        (one.tag, *sorted(name for name in one.attrib if name != "lang"))
        for one in html.fromstring(page).iter()
        if isinstance(one.tag, str)
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_html_has_the_same_elements(pair, language):
    harmless, hostile = (report(one, language=language, include_questions=True) for one in pair)
    assert elements(hostile) == elements(harmless)
    assert hostile.count("<script") == harmless.count("<script")
    assert hostile.count("<!--") == harmless.count("<!--")


def test_csv_has_the_same_cells_and_none_computes(pair):
    harmless, hostile = (list(csv.reader(io.StringIO(table_text(one, "csv"), newline=""), strict=True)) for one in pair)
    assert [len(row) for row in hostile] == [len(row) for row in harmless]
    texts = [cell for row in hostile[1:] for cell in (row[0], row[1], row[-1])]
    assert not [cell for cell in texts if cell.lstrip().startswith(("=", "+", "-", "@"))]


def test_latex_has_the_same_commands(pair):
    words = "text(backslash|asciicircum|asciitilde|less|greater|bar|quotesingle|asciigrave)|char34"
    escaped = rf"\\({words})\{{\}}|\\[{{}}$&#%_]|\{{[\[\]]\}}|(?<=-)\{{\}}"
    harmless, hostile = (re.sub(escaped, "", table_text(one, "latex", behaviour=True)) for one in pair)
    for mark in (r"\\[a-zA-Z]+", r"\\\\", "&", r"\{", r"\}", r"\$", "%", "#", "_", r"\^", "~", r"\n"):
        assert re.findall(mark, hostile) == re.findall(mark, harmless)


def test_junit_has_the_same_elements_and_is_xml(pair):
    harmless, hostile = (ET.fromstring(ci.junit(one)) for one in pair)
    assert [one.tag for one in hostile.iter()] == [one.tag for one in harmless.iter()]
    assert [sorted(one.attrib) for one in hostile.iter()] == [sorted(one.attrib) for one in harmless.iter()]


def test_annotations_are_one_command_a_suite(pair):
    harmless, hostile = map(ci.github_annotations, pair)
    assert [line.split(" ")[0] for line in hostile.splitlines()] == [
        line.split(" ")[0] for line in harmless.splitlines()
    ]
    for line in hostile.split("\n")[:-1]:
        assert re.fullmatch(r"::(error|warning|notice) title=[^:,\r\n]+::[^\r\n]*", line)
        assert not re.search("%(?!25|0A|0D|3A|2C)", line)


def test_openmetrics_has_the_same_samples(pair):
    harmless, hostile = (list(text_string_to_metric_families(ci.openmetrics(one))) for one in pair)
    assert [(one.name, len(one.samples)) for one in hostile] == [(one.name, len(one.samples)) for one in harmless]
    assert [s.value for one in hostile for s in one.samples] == [s.value for one in harmless for s in one.samples]


@pytest.mark.parametrize("language", LANGUAGES)
def test_explanations_are_as_many_lines(pair, language):
    harmless, hostile = (explain(one, language=language) for one in pair)
    assert hostile.count("\n") == harmless.count("\n")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", hostile)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hub_files_are_still_one_document(comparison, text):
    # A stored comparison is UTF-8, so that it holds no half of a character.
    hostile = poisoned(comparison, text.replace("\ud800", ""))
    hostile = replace(hostile, suites=tuple(replace(one, row_of="") for one in hostile.suites))  # suites, no rows
    record = json.loads(every_eval_ever(hostile, "candidate").text)
    assert len(record["evaluation_results"]) == len(
        yaml.safe_load(model_index(hostile).text.strip("-\n"))["model-index"][0]["results"]
    )
    assert len(re.findall("^---$", model_index(hostile).text, re.MULTILINE)) == 2


def test_a_github_job_reads_no_command_from_a_table(pair, monkeypatch):
    def shown():
        out = io.StringIO()
        Console(file=out, width=80).print(TerminalTable(pair[1], behaviour=True))
        return out.getvalue()

    before = shown()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert not re.search(r"::|##\[", shown())
    assert ("::" in before) == ("::" in say(pair[1].notes[0]))
