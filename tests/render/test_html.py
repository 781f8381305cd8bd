"""The HTML report as text: self-contained, its policy exact, hostile output escaped, golden in both languages."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evalkit.render.html import report
from evalkit.render.words import LANGUAGES
from evalkit.resources import data_folder


class Reader(HTMLParser):
    """Collects tags, attributes and the text of style and script elements."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.inline, self._open = [], [], {}, None

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open = (tag, dict(attrs).get("type", "")) if tag in {"style", "script"} else None

    def handle_data(self, data):
        if self._open:
            self.inline.setdefault(self._open, []).append(data)

    def handle_endtag(self, tag):
        self._open = None


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden(comparison, golden, language):
    text = report(comparison, language=language)
    for name in ("report.css", "report.js"):
        text = text.replace((data_folder("reports") / "html" / name).read_text(), f"[{name}]")
    golden(f"report.{language}.html", re.sub(r"sha256-[A-Za-z0-9+/=]+", "sha256-…", text))


def test_the_policy_allows_exactly_what_is_inline(comparison):
    text = report(comparison)
    reader = read(text)
    policy = next(
        value
        for tag, name, value in reader.attributes
        if tag == "meta" and name == "content" and "default-src" in value
    )
    digests = {kind: re.search(rf"{kind} 'sha256-([^']+)'", policy)[1] for kind in ("style-src", "script-src")}
    (style,) = reader.inline["style", ""]
    (script,) = reader.inline["script", ""]
    for kind, content in (("style-src", style), ("script-src", script)):
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() == digests[kind]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_nothing_points_outside_and_nothing_is_inline_but_the_two(comparison):
    reader = read(report(comparison))
    outward = [
        item
        for item in reader.attributes
        if item[1] in {"src", "href", "action", "srcset", "data", "poster", "style"} or item[1].startswith("on")
    ]
    assert outward == [("link", "href", "data:,")]
    assert set(reader.tags).isdisjoint({"img", "iframe", "object", "embed", "base", "form", "b"})
    assert reader.tags.count("script") == 3
    css = (data_folder("reports") / "html" / "report.css").read_text()
    assert "url(" not in css
    assert "@import" not in css


def test_hostile_text_is_escaped(comparison, example):
    text = report(comparison)
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in text
    assert "\\u003c/script\\u003e\\u003cimg src=x onerror=alert(1)\\u003e" in text
    assert "onerror=alert(1)>" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text)


def test_every_suite_has_its_sentences_row_plot_and_reasons(comparison):
    text = report(comparison)
    assert text.count('<svg class="plot"') == len(comparison.suites) + 1
    assert text.count('<article class="suite') == len(comparison.suites)
    for words in (
        "between 5.2 and 9.0 points worse",
        "rose from 1.2 to 4.9 % of 1584 samples",
        "USE_FLAGGEMS",
        "910 without an answer",
        "Chemistry / Organic",
    ):
        assert words in text
    assert ">-1.0 [-3.1, +1.2]<" in text, "a heading with an interval"
    assert "+1.0<" not in text, "a heading without one shows no difference"


def test_questions_of_gated_data_sets(comparison):
    left_out, included = report(comparison), report(comparison, include_questions=True)
    assert "SECRET-GATED-QUESTION" not in left_out
    notice = "Questions, answers and replies of gated data sets are left out."
    assert notice in left_out
    assert "Angular" not in left_out
    assert "SECRET-GATED-QUESTION" in included
    assert "Angular" in included
    assert notice not in included


def test_a_report_without_flips_or_suites(comparison):
    unchanged = report(replace(comparison, flips=(), macro=None, differences=(), notes=(), reasons=()))
    assert "No stored answer changed." in unchanged
    empty = report(replace(comparison, flips=(), suites=(), macro=None, differences=(), notes=(), reasons=()))
    assert "The suites were not asked, for what was found before." in empty
    assert 'id="flips-data"' not in empty


@pytest.mark.slow
def test_twenty_thousand_flips_fit(example):
    base = example.with_flips(20_000, suites=8)
    long = "the same words again and again " * 120
    flips = tuple(
        replace(flip, reference_text=long + flip.reference_text, candidate_text=long + flip.candidate_text + long)
        for flip in base.flips
    )
    text = report(replace(base, flips=flips), include_questions=True)
    assert len(text.encode()) < 40_000_000
    assert "item-19999" in text
