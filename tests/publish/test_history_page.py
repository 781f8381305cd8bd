"""The history's page and tables: golden, self-contained, nothing outside the plot, hostile text escaped."""

import io
import re
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree as ET

import pytest
from rich.cells import cell_len
from rich.console import Console

from evalkit import codec
from evalkit.model import Reason
from evalkit.publish.history import Known, document, night_of, series_of
from evalkit.publish.history_page import HistoryTable, page
from evalkit.render.words import LANGUAGES
from evalkit.resources import data_folder

KNOWN = (Known("musr", date(2026, 11, 9), date(2026, 11, 30), "Ann", "softmax in bf16", 1),)


@pytest.fixture(scope="module")
def series(story):
    return series_of([night_of(one) for one in story])


def plots(series, last):
    lines = page(series, KNOWN, last=last).splitlines()
    return [ET.fromstring(line) for line in lines if line.startswith('<svg class="plot trend"')]


def terminal(table, width=110, **console):
    output = io.StringIO()
    Console(file=output, width=width, **console).print(table)
    return output.getvalue()


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden_page(series, golden, language):
    text = page(series, KNOWN, language=language)
    css = "".join((data_folder("reports") / "html" / name).read_text() for name in ("report.css", "history.css"))
    text = text.replace(css, "[report.css][history.css]")
    text = re.sub(r"sha256-[A-Za-z0-9+/=]{20,}", "sha256-…", text)
    golden(f"history.{language}.html", re.sub(r"(evalkit) \d+\.\d+\S*?([ .<]| 生成)", r"\1 VERSION\2", text))


def test_the_page_shows_which_weights_changed_and_not_where_they_lie(story):
    def night(number):
        one = story[number]
        endpoint = {"model_path": f"/home/alice/night-{number}/acme.gguf", "mmproj": f"/home/alice/{number}.mmproj"}
        return night_of(replace(one, candidate=replace(one.candidate, endpoint=endpoint)))

    made = series_of([night(3), night(5)])
    text = page(made, ())
    assert "alice" not in text
    assert "night-" not in text
    for words in ("…(1)/acme.gguf", "…(2)/acme.gguf", "…/3.mmproj", "…/5.mmproj"):
        assert f"<td>{words}</td>" in text
    # The history itself is the user's own: there it shows what moved.
    assert "/home/alice/night-5/acme.gguf" in codec.dump(document(made, ()))


def test_a_night_that_stopped_in_the_middle_says_why_beside_its_suites(story):
    values = {"name": "cand", "why": "connection refused at http://10.0.0.7/v1", "n": 30, "all": 100}
    stopped = replace(story[5], reasons=(Reason("side.stopped", values), *story[5].reasons))
    made = series_of([night_of(story[3]), night_of(stopped)])
    words = "cand: connection refused at http://…/v1, 30 of 100 answered"
    assert " ".join(terminal(HistoryTable(made)).split()).count(words) == page(made, ()).count(words) == 1


def test_nights_that_lack_a_suite_are_said(story):
    nights = [night_of(one) for one in story]
    for place in (4, 10, 11):
        left = tuple(one for one in nights[place].suites if one.suite != "musr")
        nights[place] = replace(nights[place], suites=left)
    made = series_of(nights)
    words = "nights without it since its first: 3 (2026-11-05, 2026-11-11, 2026-11-12); what is shown as its last night"
    for text in (" ".join(terminal(HistoryTable(made)).split()), page(made, ())):
        assert text.count(f"MuSR 多步推理: {words} is that of 2026-11-10") == 1
        assert text.count("nights without it") == 1
    assert "没有它的夜间运行：3 次" in page(made, (), language="zh")
    assert "nights without it" not in page(series_of(nights[:4]), ())


def test_the_overall_row_has_a_trend_like_a_suites(story):
    nights = [night_of(one) for one in story]
    assert [night.mean is None for night in nights] == [True] * 2 + [False] * 10
    made = series_of([*nights[:5], replace(nights[5], mean=None), *nights[6:]])
    known = (Known("overall", date(2026, 11, 9), date(2026, 11, 30), "Ann", "softmax in bf16", 1),)
    text = " ".join(terminal(HistoryTable(made, known)).split())
    assert "Overall ✓✓✓?✗✓▼▼? -1.2 [-1.8, -0.5] ±1.5 ? INCONCLUSIVE " in text
    assert "Overall: bad since 2026-11-10, last good night 2026-11-09" in text
    assert "Overall: nights without it since its first: 1 (2026-11-06)" in text
    one = terminal(HistoryTable(made, known, 2, "overall"))
    assert "2026-11-11    3  70.4   67.8  -2.6 [-3.2, -1.9]    ±1.5   3/5  ▼ DEGRADED (known)" in one
    assert "<h3>总体 <" in page(made, (), language="zh")
    assert series_of(nights[:2])[0].suites[-1].suite == "aime24", "no night has an overall row"


def test_the_look_is_that_of_the_suite_or_of_the_whole_night(story):
    def shown(suite):
        lines = terminal(HistoryTable(made, (), 4, suite)).splitlines()
        return [line.split("±2.0")[1].split()[0] for line in lines if line.startswith("2026")]

    made = series_of(map(night_of, story))
    heads = [terminal(HistoryTable(series_of(map(night_of, story[:n])))).splitlines()[0] for n in (9, 10, 11, 12)]
    assert [head.partition("2026-11-01 to 2026-11-")[2][2:].strip() for head in heads] == [
        "",
        "; before the first of 5 rounds",
        "; look 3 of 5",
        "; look 5 of 5",
    ]
    assert shown("gpqa_diamond") == ["✓", "0/5", "1/5", "2/5"]
    assert shown("musr") == ["▼", "0/5", "3/5", "4/5"]
    assert page(made, KNOWN).count("known, look 3 of 5</td>") == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden_terminal(series, golden, language):
    golden(f"history.{language}.txt", terminal(HistoryTable(series, KNOWN, language=language)))
    golden(f"history-suite.{language}.txt", terminal(HistoryTable(series, KNOWN, 8, "musr", language)))


@pytest.mark.parametrize("width", [70, 90, 140])
def test_no_line_is_wider_than_the_terminal(series, width):
    for suite in (None, "musr"):
        text = terminal(HistoryTable(series, KNOWN, suite=suite), width)
        assert max(cell_len(line) for line in text.splitlines()) <= width


def test_ascii_where_it_must_be(series):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=output, width=100).print(HistoryTable(series, KNOWN))
    output.seek(0)
    assert "5.3.4 -> 5.3.5" in output.read()


def test_golden_json(series, golden):
    golden("history.json", codec.dump(document(series, KNOWN), indent=1) + "\n")
    only = document(series, (), suite="musr", last=2)
    ((suite,),) = [one["suites"] for one in only["series"]]
    assert [point["night"] for point in suite["points"]] == ["2026-11-11", "2026-11-12"]


@pytest.mark.parametrize("last", [1, 2, 5, 60])
def test_everything_is_inside_the_plot(series, last):
    drawn = plots(series, last)
    assert len(drawn) == len(series[0].suites)
    for svg in drawn:
        for node in svg.iter():
            for name in ("x", "x1", "x2"):
                if node.get(name, "").endswith("%"):
                    assert 0 <= float(node.get(name)[:-1]) <= 100
            for name in ("y", "y1", "y2"):
                if node.get(name):
                    assert 0 <= float(node.get(name)) <= float(svg.get("height"))


def test_marks_follow_verdicts_and_known_differences(series):
    svg = plots(series, 60)[[one.suite for one in series[0].suites].index("musr")]
    classes = [node.get("class") for node in svg.iter("g")]
    assert classes[:8] == [
        f"mark {v}" for v in ["EQUIVALENT"] * 4 + ["INCONCLUSIVE", "DEGRADED", "DEGRADED", "INVALID"]
    ]
    assert classes[8:] == ["mark DEGRADED known"] * 4
    assert len([line for line in svg.iter("line") if line.get("class") == "first"]) == 1
    dates = [node.text for node in svg.iter("text") if node.text.startswith("2026")]
    assert dates == ["2026-11-01", "2026-11-12", "2026-11-06"]


def test_the_page_asks_for_nothing_and_runs_nothing(series):
    text = page(series, KNOWN)
    policy = re.search(r'content="(default-src[^"]+)"', text)[1]
    assert "script-src" not in policy
    assert policy.startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "<script" not in text
    assert not re.search(r'(?:src|href|action)="(?!data:,")', text)


def test_hostile_text_is_escaped(story, example):
    bad = replace(story[0].suites[0], label=example.HOSTILE_LABEL, suite="x")
    night = night_of(replace(story[0], suites=(bad,)), series=example.HOSTILE, facts={example.HOSTILE: example.HOSTILE})
    other = replace(night, created="2026-11-09", night="2026-11-09", facts={})
    text = page(series_of([night, other]), [Known("x", date(2026, 1, 1), date(2027, 1, 1), "Ann", example.HOSTILE)])
    assert "<img" not in text
    assert "<b>x" not in text
    shown = terminal(HistoryTable(series_of([night]), (), suite="x"))
    assert "\x07" not in shown


def test_only_the_last_nights_are_drawn_but_every_episode_is_told(series):
    text = page(series, KNOWN, last=3)
    assert "2026-11-03" in text, "the first episode of aime24"
    assert text.count('<th scope="row">2026-11-0') == 0
