"""The HTML report: one file that opens from disk, asks for nothing, and shows hostile model output as the text it is.

The content-security policy allows exactly the report's own style and script, by their SHA-256, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final
from xml.etree import ElementTree as ET  # only written here; nothing foreign is parsed

from markupsafe import Markup

from evalkit.model import BreakdownRow, Comparison, Flip, Interval, SuiteResult, Verdict
from evalkit.render import numbers
from evalkit.render.escape import clean
from evalkit.render.jinja import fill
from evalkit.render.private import fit_to_pass_on
from evalkit.render.rows import SuiteRow, overall, probe_sentence, sentences, suite_row, table_of
from evalkit.render.words import Language, words_of
from evalkit.resources import data_folder

# ---------------------------------------------------------------- the changed answers as data, bounded in size
# Both replies are kept from the first word in which they differ, with a little of what went before.


TEXT_BYTES: Final = 24_000_000
"""Bound on what replies and questions take in the file, together."""
_FULL_BYTES: Final = 6_000
"""Bytes of each text of the flips with the most evidence ..."""
_FULL_FLIPS: Final = 800
"""... which are so many."""
_SHORT_BYTES: Final = 120
"""Bytes of an item's name, an answer, a right answer, a heading."""
_CONTEXT: Final = 160
"""Characters kept of what both replies have in common."""
_MOST_BYTES_A_CHARACTER: Final = 6
"""As \\u003c."""
_WORD_BEFORE: Final = re.compile(r"[^\s\u3400-\u9fff\uf900-\ufaff]{1,400}\Z")
_WORD_AFTER: Final = re.compile(r"[^\s\u3400-\u9fff\uf900-\ufaff]")


def flips_json(comparison: Comparison, *, include_questions: bool) -> str:
    """The flips, largest evidence first, as JSON that may stand inside a script element.

    Of gated suites only scores and statuses are shown unless `include_questions`: a reply can quote the question, and
    answers by item are the key to it.
    """
    labels = {suite.suite: suite.label or suite.suite for suite in comparison.suites}
    gated = {suite.suite for suite in comparison.suites if suite.gated}
    ordered = sorted(comparison.flips, key=lambda flip: -flip.evidence)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(flip.suite for flip in ordered))}
    rest = max(1, len(ordered) - _FULL_FLIPS)
    share = min(_FULL_BYTES, (TEXT_BYTES - 3 * _FULL_FLIPS * _FULL_BYTES) // (3 * rest))
    rows = []
    for place, flip in enumerate(ordered):
        shown = flip if include_questions or flip.suite not in gated else _withheld(flip)
        row = _row(shown, numbers[flip.suite], _FULL_BYTES if place < _FULL_FLIPS else share)
        rows.append(row if shown is flip else {**row, "z": 1})
    return script_json({"suites": [clean(labels.get(name, name)) for name in numbers], "flips": rows})


def script_json(data: object) -> str:
    """JSON that cannot end the element it stands in, nor be taken for markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def first_difference(left: str, right: str) -> int:
    """How many characters two texts share, up to the beginning of the first word that differs.

    A Chinese character is a word of its own; all else between white space is one.
    """
    same, limit = 0, min(len(left), len(right))
    while same < limit:  # halving: slices are compared at the speed of memory
        middle = (same + limit + 1) // 2
        if left[same:middle] == right[same:middle]:
            same = middle
        else:
            limit = middle - 1
    goes_on = any(_WORD_AFTER.match(text, same) for text in (left, right))
    before = _WORD_BEFORE.search(left[max(0, same - 400) : same]) if goes_on else None
    return same - len(before.group()) if before else same


def fitted(text: str, most_bytes: int) -> str:
    """The longest beginning of a text, roughly, that takes no more than so many bytes in `script_json`; cleaned."""
    cut = clean(text[:most_bytes])
    if _MOST_BYTES_A_CHARACTER * len(cut) <= most_bytes:
        return cut
    while (size := len(script_json(cut).encode()) - 2) > most_bytes:
        cut = cut[: min(len(cut) - 1, len(cut) * most_bytes // size)]
    return cut


def _withheld(flip: Flip) -> Flip:
    """The flip without anything that the data set or a reply says."""
    return replace(
        flip,
        question=None,
        target="",
        reference_answer=None,
        candidate_answer=None,
        reference_text="",
        candidate_text="",
    )


def _row(flip: Flip, suite: int, most_bytes: int) -> dict[str, Any]:
    """One flip with short keys, since there may be twenty thousand."""
    texts = (flip.reference_text, flip.candidate_text)
    at = first_difference(*texts)
    start = max(0, at - _CONTEXT)
    kept = [fitted(text[at:], most_bytes) for text in texts]
    return {
        "s": suite,
        "i": fitted(flip.item, _SHORT_BYTES),
        "k": flip.kind,
        "v": [flip.reference_score, flip.candidate_score],
        "t": [flip.reference_status, flip.candidate_status],
        "a": [_short(flip.reference_answer), _short(flip.candidate_answer)],
        "g": _short(flip.target),
        "n": flip.repeat,
        "h": fitted(" / ".join(flip.stratum), _SHORT_BYTES),
        "q": None if flip.question is None else fitted(flip.question, most_bytes),
        "w": start,
        "c": clean(texts[0][start:at]),
        "r": kept,
        "x": [max(0, len(text) - at - len(shown)) for text, shown in zip(texts, kept, strict=True)],
    }


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    cut = fitted(text, _SHORT_BYTES)
    return cut if len(cut) >= len(clean(text)) else cut + "…"


# ---------------------------------------------------------------- the forest plot: an SVG a suite, and one for the axis
# Positions are percentages of the width, so the plot fits any screen; colours come from the page's classes.


ROW_HEIGHT: Final = 34
_MIDDLE: Final = ROW_HEIGHT / 2
_WIDEST_MARGINS: Final = 3.0
"""The scale ends at this many of the largest margin, so that one outlier does not flatten all the others."""
_WIDEST_ALONE: Final = 15.0
_EDGE_PERCENT: Final = 2.5
_MOST_TICKS: Final = 7
SHAPES: Final = {
    Verdict.EQUIVALENT: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    Verdict.DEGRADED: "M-6,-5h12L0,6Z",
    Verdict.ELEVATED: "M-6,5h12L0,-6Z",
    Verdict.INCONCLUSIVE: "M0,-6L6,0L0,6L-6,0Z",
    Verdict.INVALID: "M-5,-5h10v10h-10Z",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps fractions in [-reach, reach] to percentages of the width."""

    reach: float

    def at(self, fraction: float) -> float:
        """The position of a fraction, held within the plot."""
        held = min(max(fraction, -self.reach), self.reach)
        return 50 + held / self.reach * (50 - _EDGE_PERCENT)


def scale_of(suites: Sequence[SuiteResult]) -> Scale:
    """The common scale of some suites; one alone flattens no other, and has all the room that it needs."""
    widest = _WIDEST_MARGINS if len(suites) > 1 else _WIDEST_ALONE
    return scale_to([suite.margin for suite in suites], [suite.ci90 for suite in suites if suite.ci90], widest)


def scale_to(margins: Sequence[float], intervals: Sequence[Interval], widest: float = _WIDEST_MARGINS) -> Scale:
    """A scale wide enough for every margin with room, no wider than `widest` times the largest."""
    margin = max(margins, default=0.0) or 0.01
    ends = [abs(end) for interval in intervals for end in (interval.low, interval.high)]
    return Scale(min(max([1.25 * margin, *(1.05 * end for end in ends)]), widest * margin))


def row_svg(suite: SuiteResult, scale: Scale) -> str:
    """The plot of one suite; its meaning is also in the text beside it, so it is hidden from screen readers."""
    svg = _svg()
    _rectangle(svg, "band", scale, Interval(-suite.margin, suite.margin, 0), (3, ROW_HEIGHT - 6))
    _line(svg, "zero", 50, (0, ROW_HEIGHT))
    if suite.noise_floor:
        _rectangle(svg, "noise", scale, suite.noise_floor, (ROW_HEIGHT - 9, 4))
    if suite.ci90 and suite.difference is not None:
        group = ET.SubElement(svg, "g", {"class": f"mark {suite.verdict.value}"})
        left, right = (f"{scale.at(end):.3f}%" for end in (suite.ci90.low, suite.ci90.high))
        ET.SubElement(group, "line", {"x1": left, "x2": right, "y1": f"{_MIDDLE:g}", "y2": f"{_MIDDLE:g}"})
        for end, direction in ((suite.ci90.low, -1), (suite.ci90.high, 1)):
            _whisker(group, scale, end, direction)
        if abs(suite.difference) <= scale.reach:
            place_shape(group, (scale.at(suite.difference), _MIDDLE), SHAPES[suite.verdict])
    return _text(svg)


def axis_svg(scale: Scale) -> str:
    """The axis in points."""
    svg = _svg()
    for tick in ticks(scale.reach * 100):
        x = scale.at(tick / 100)
        _line(svg, "tick", x, (0, 5))
        label = ET.SubElement(svg, "text", {"x": f"{x:.3f}%", "y": "20", "text-anchor": "middle"})
        label.text = f"{tick:+g}" if tick else "0"
    return _text(svg)


def marker_svg(verdict: Verdict) -> str:
    """The marker of a verdict, for the legend."""
    svg = ET.Element("svg", {"class": "marker", "width": "16", "height": "16", "aria-hidden": "true"})
    group = ET.SubElement(svg, "g", {"class": f"mark {verdict.value}", "transform": "translate(8,8)"})
    ET.SubElement(group, "path", {"d": SHAPES[verdict]})
    return _text(svg)


def ticks(reach: float) -> list[float]:
    """Round numbers in [-reach, reach], symmetric, at most seven."""
    step = next(
        base * 10.0**power
        for power in range(-6, 6)
        for base in (1, 2, 5)
        if 2 * int(reach / (base * 10.0**power) + 1e-9) + 1 <= _MOST_TICKS
    )
    count = int(reach / step + 1e-9)
    return [round(i * step, 9) for i in range(-count, count + 1)]


def _svg() -> ET.Element:
    return ET.Element("svg", {"class": "plot", "width": "100%", "height": str(ROW_HEIGHT), "aria-hidden": "true"})


def _rectangle(svg: ET.Element, name: str, scale: Scale, interval: Interval, vertical: tuple[float, float]) -> None:
    left, right = scale.at(interval.low), scale.at(interval.high)
    top, height = vertical
    box = {"x": f"{left:.3f}%", "width": f"{right - left:.3f}%", "y": f"{top:g}", "height": f"{height:g}"}
    ET.SubElement(svg, "rect", {"class": name, **box})


def _line(svg: ET.Element, name: str, x: float, vertical: tuple[float, float]) -> None:
    at = f"{x:.3f}%"
    ends = {"x1": at, "x2": at, "y1": f"{vertical[0]:g}", "y2": f"{vertical[1]:g}"}
    ET.SubElement(svg, "line", {"class": name, **ends})


def _whisker(group: ET.Element, scale: Scale, end: float, direction: int) -> None:
    """The end of an interval: a short upright, or an arrow where it lies beyond the scale."""
    beyond = abs(end) > scale.reach
    forward = 1 if end > 0 else -1
    path = (
        f"M{-6 * forward:g},-5L0,0L{-6 * forward:g},5"
        if beyond
        else f"M{-2 * direction:g},-5h{2 * direction:g}v10h{-2 * direction:g}"
    )
    place_shape(group, (scale.at(end), _MIDDLE), path, "open")


def place_shape(group: ET.Element, at: tuple[float, float], path: str, name: str = "full") -> None:
    """A path in pixels around a point: x in percent of the width, y in pixels."""
    x, y = at
    place = ET.SubElement(group, "svg", {"x": f"{x:.3f}%", "y": f"{y:g}", "overflow": "visible", "class": "at"})
    ET.SubElement(place, "path", {"d": path, "class": name})


def _text(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")


# ---------------------------------------------------------------- the page
# The content-security policy allows exactly the report's own style and script, by their SHA-256, and no request at all.


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
    comparison = comparison if include_hosts else fit_to_pass_on(comparison)
    folder = data_folder("reports")
    style = (folder / "html" / "report.css").read_text(encoding="utf-8")
    script = (folder / "html" / "report.js").read_text(encoding="utf-8")
    words = words_of(language)
    scale = scale_of(comparison.suites)
    context: dict[str, Any] = {
        "comparison": comparison,
        "table": table_of(comparison, language),
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
        "axis": Markup(axis_svg(scale)),  # noqa: S704
        "markers": {verdict.value: Markup(marker_svg(verdict)) for verdict in Verdict},  # noqa: S704
        "changed_items": sum(suite.flips.regressed + suite.flips.improved for suite in comparison.suites),
        "shown_items": sum(flip.reference_score != flip.candidate_score for flip in comparison.flips),
        "questions_left_out": not include_questions and any(suite.gated for suite in comparison.suites),
    }
    return fill(folder / "report.html.j2", context)


def _view(suite: SuiteResult, scale: Scale, language: Language) -> _SuiteView:
    return _SuiteView(
        row=suite_row(suite, language),
        result=suite,
        sentences=sentences(suite, language),
        plot=Markup(row_svg(suite, scale)),  # noqa: S704 - numbers and fixed words only
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
    words = words_of(language)
    return {key: word for key, word in words.items() if key in _SCRIPT_WORDS or key.startswith("status_")}
