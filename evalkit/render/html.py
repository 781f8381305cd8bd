"""The HTML report: one file that opens from disk, asks for nothing, and shows hostile model output as the text it is.

The content-security policy allows exactly the report's own style and script, by their SHA-256, and no request at all.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from evalkit import codec
from evalkit.model import Comparison, Flip, Interval, SuiteResult
from evalkit.render import numbers
from evalkit.render.jinja import own
from evalkit.render.private import fit_to_pass_on
from evalkit.render.rows import overall, probe_sentence, suite_row, table_of
from evalkit.render.words import Language, clean, words_of
from evalkit.resources import data_folder

# Both replies are kept from the first word in which they differ, with a little of what went before.


TEXT_BYTES: Final = 24_000_000  # bound on what replies and questions take in the file, together
_FULL_BYTES: Final = 6_000  # bytes of each text of the flips with the most evidence ...
_FULL_FLIPS: Final = 800  # ... which are so many
_SHORT_BYTES: Final = 120  # bytes of an item's name, an answer, a right answer, a heading
_CONTEXT: Final = 160  # characters kept of what both replies have in common
_MOST_BYTES_A_CHARACTER: Final = 6  # as \u003c
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
        shown = flip if include_questions or flip.suite not in gated else flip.withheld()
        row = _row(shown, numbers[flip.suite], _FULL_BYTES if place < _FULL_FLIPS else share)
        rows.append(row if shown is flip else {**row, "z": 1})
    return script_json({"suites": [clean(labels.get(name, name)) for name in numbers], "flips": rows})


def script_json(data: object) -> str:
    """JSON that cannot end the element it stands in, nor be taken for markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def first_difference(left: str, right: str) -> int:
    """How many characters two texts share, up to the beginning of the first word that differs.

    A Chinese character is a word of its own; all else between white space is one.
    """
    parting = codec.first_difference(left, right)
    same = len(left) if parting is None else parting
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


_WIDEST_MARGINS: Final = 3.0
"""The scale ends at this many of the largest margin, so that one outlier does not flatten all the others."""
_WIDEST_ALONE: Final = 15.0
_EDGE_PERCENT: Final = 2.5
_MOST_TICKS: Final = 7


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps fractions in [-reach, reach] to positions; what lies beyond is held at the edge."""

    reach: float

    def _share(self, fraction: float) -> float:
        return min(max(fraction, -self.reach), self.reach) / self.reach

    def at(self, fraction: float) -> float:
        """The position of a fraction, in percent of the width."""
        return 50 + self._share(fraction) * (50 - _EDGE_PERCENT)

    def down(self, fraction: float, top: float, height: float) -> float:
        """The position in pixels from above, in a plot that begins at `top`."""
        return round(top + (1 - self._share(fraction)) / 2 * height, 2)

    def hides(self, fraction: float) -> bool:
        """True where a fraction lies beyond the scale."""
        return abs(fraction) > self.reach

    def ticks(self) -> list[float]:
        """Round numbers of points within the reach, symmetric, at most seven."""
        reach = self.reach * 100
        step = next(
            base * 10.0**power
            for power in range(-6, 6)
            for base in (1, 2, 5)
            if 2 * int(reach / (base * 10.0**power) + 1e-9) + 1 <= _MOST_TICKS
        )
        count = int(reach / step + 1e-9)
        return [round(i * step, 9) for i in range(-count, count + 1)]


def scale_of(suites: Sequence[SuiteResult]) -> Scale:
    """The common scale of some suites; one alone flattens no other, and has all the room that it needs."""
    widest = _WIDEST_MARGINS if len(suites) > 1 else _WIDEST_ALONE
    return scale_to([suite.margin for suite in suites], [suite.ci90 for suite in suites], widest)


def scale_to(margins: Sequence[float], intervals: Sequence[Interval | None], widest: float) -> Scale:
    """A scale wide enough for every margin with room, no wider than `widest` times the largest."""
    margin = max(margins, default=0.0) or 0.01
    ends = [abs(end) for interval in intervals if interval for end in (interval.low, interval.high)]
    return Scale(min(max([1.25 * margin, *(1.05 * end for end in ends)]), widest * margin))


# The content-security policy allows exactly the report's own style and script, by their SHA-256, and no request at all.


_SCRIPT_WORD: Final = re.compile(r"\bwords\.(\w+)")


def report(
    comparison: Comparison, *, language: Language = "en", include_questions: bool = False, include_hosts: bool = False
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
    used = {*_SCRIPT_WORD.findall(script), "regressed", "improved", "changed"}
    script_words = {key: word for key, word in words_of(language).items() if key in used or key.startswith("status_")}
    context: dict[str, Any] = {
        "comparison": comparison,
        "table": table_of(comparison, language),
        **page_context(style, language, script),
        # The parts below are JSON that `script_json` made safe.
        "flips_data": Markup(flips_json(comparison, include_questions=include_questions)),  # noqa: S704
        "script_words": Markup(script_json(script_words)),  # noqa: S704
        "overall": overall(comparison, language),
        "probe": probe_sentence(comparison.probe, language),
        "suites": [_view(suite, language) for suite in comparison.suites],
        "scale": scale_of(comparison.suites),
        "changed_items": sum(suite.flips.regressed + suite.flips.improved for suite in comparison.suites),
        "shown_items": sum(flip.reference_score != flip.candidate_score for flip in comparison.flips),
        "questions_left_out": not include_questions and any(suite.gated for suite in comparison.suites),
    }
    return own("report.html.j2", language, **context)


def _view(suite: SuiteResult, language: Language) -> dict[str, Any]:
    """One suite as the template shows it; the difference of a heading only where it has an interval."""
    changes = [row.ci90 and numbers.change(row.difference, row.ci90, suite.margin) for row in suite.breakdown]
    return {
        "row": suite_row(suite, language),
        "result": suite,
        "breakdown": [*zip(suite.breakdown, changes, strict=True)],
    }


def page_context(style: str, language: Language, script: str = "") -> dict[str, Any]:
    """What every page's template is told: words, style, script, and a policy that allows these two and nothing else."""
    scripts = f" script-src '{_digest(script)}';" if script else ""
    allowed = f"default-src 'none'; style-src '{_digest(style)}';{scripts} img-src data:"
    return {
        "html_language": {"en": "en", "zh": "zh-CN"}[language],
        "policy": f"{allowed}; base-uri 'none'; form-action 'none'",
        # Both are evalkit's own files.
        "style": Markup(style),  # noqa: S704
        "script": Markup(script),  # noqa: S704
    }


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
