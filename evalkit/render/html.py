"""The HTML report: one file that opens from disk, asks for nothing, and shows hostile model output as the text it is.

The content-security policy allows exactly the report's own style and script, by their SHA-256, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from markupsafe import Markup

from evalkit.model import BreakdownRow, Comparison, SuiteResult, Verdict
from evalkit.render import forest, numbers
from evalkit.render.explain import overall, probe_sentence, sentences
from evalkit.render.flips import flips_json, script_json
from evalkit.render.jinja import fill
from evalkit.render.private import fit_to_pass_on
from evalkit.render.reasons import localised
from evalkit.render.rows import SuiteRow, suite_row, table_of
from evalkit.render.words import WORDS, Language
from evalkit.resources import data_folder

_SCRIPT_WORDS: Final = (
    "all_suites", "all_kinds", "all_reasons", "shown", "regressed", "improved", "changed", "other_answer", "question",
    "target", "answer", "score", "repeat", "none", "alike", "cut", "same_text", "empty_reply", "reference", "candidate",
    "heading", "withheld",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _SuiteView:
    """One suite as the template shows it."""

    row: SuiteRow
    result: SuiteResult
    sentences: tuple[str, str, str]
    plot: Markup
    breakdown: tuple[dict[str, Any], ...]
    churn: Decimal


def report(
    comparison: Comparison,
    *,
    language: Language = "en",
    include_questions: bool = False,
    include_hosts: bool = False,
) -> str:
    """The whole report as one HTML document, fit to be passed on unless told otherwise.

    Args:
        comparison: what is reported.
        language: of everything but names and what other programs said.
        include_questions: print questions, answers and replies of gated data sets too, where the comparison holds them.
        include_hosts: print where the endpoints are, and whole paths.
    """
    comparison = localised(comparison if include_hosts else fit_to_pass_on(comparison), language)
    folder = data_folder("reports")
    style = (folder / "html" / "report.css").read_text(encoding="utf-8")
    script = (folder / "html" / "report.js").read_text(encoding="utf-8")
    words = WORDS[language]
    scale = forest.scale_of(comparison.suites)
    context: dict[str, Any] = {
        "comparison": comparison,
        "table": table_of(comparison),
        "words": words,
        "language": language,
        "html_language": {"en": "en", "zh": "zh-CN"}[language],
        "policy": policy(style, script),
        # The three parts below are evalkit's own files and numbers, or JSON that `script_json` made safe.
        "style": Markup(style),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "flips_data": Markup(flips_json(comparison, include_questions=include_questions)),  # noqa: S704
        "script_words": Markup(script_json(_script_words(language))),  # noqa: S704
        "overall": overall(comparison, language),
        "probe": probe_sentence(comparison.probe, language),
        "suites": [_view(suite, scale, language) for suite in comparison.suites],
        "axis": Markup(forest.axis_svg(scale)),  # noqa: S704
        "markers": {verdict.value: Markup(forest.marker_svg(verdict)) for verdict in Verdict},  # noqa: S704
        "changed_items": sum(suite.flips.regressed + suite.flips.improved for suite in comparison.suites),
        "shown_items": sum(flip.reference_score != flip.candidate_score for flip in comparison.flips),
        "questions_left_out": not include_questions and any(suite.gated for suite in comparison.suites),
    }
    return fill(folder / "report.html.j2", context)


def _view(suite: SuiteResult, scale: forest.Scale, language: Language) -> _SuiteView:
    return _SuiteView(
        row=suite_row(suite),
        result=suite,
        sentences=sentences(suite, language),
        plot=Markup(forest.row_svg(suite, scale)),  # noqa: S704 - numbers and fixed words only
        churn=numbers.rounded(numbers.points(suite.flips.churn), 1),
        breakdown=tuple(_breakdown_line(row, suite.margin) for row in suite.breakdown),
    )


def _breakdown_line(row: BreakdownRow, margin: float) -> dict[str, Any]:
    """One heading; its difference only with an interval."""
    return {
        "heading": " / ".join(row.heading),
        "n": row.n_items,
        "reference": numbers.rounded(numbers.points(row.reference), 1),
        "candidate": numbers.rounded(numbers.points(row.candidate), 1),
        "change": numbers.change(row.difference, row.ci90, margin) if row.ci90 else None,
    }


def policy(style: str, script: str = "") -> str:
    """A page's content-security policy: nothing from anywhere, but for the inline blocks whose digests are given."""
    scripts = f" script-src '{_digest(script)}';" if script else ""
    return (
        f"default-src 'none'; style-src '{_digest(style)}';{scripts} img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _script_words(language: Language) -> dict[str, str]:
    words = WORDS[language]
    return {key: word for key, word in words.items() if key in _SCRIPT_WORDS or key.startswith("status_")}
