"""What a comparison says, in the reader's language: verdicts' reasons, notes, the rows beside accuracy.

A comparison says them in English; `reports/reasons.zh.yaml` knows each of its sentences in Chinese. What is not known
(a sentence of another program, of an older evalkit) stays as it is, and pages mark it as English.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Final

from evalkit.model import BehaviourRow, Comparison, SuiteResult, Verdict
from evalkit.render.rows import SHARE_UNITS
from evalkit.render.words import WORDS, Language
from evalkit.resources import data_folder

_PLACE: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_SIDES: Final = ("reference", "candidate")
# A place in a sentence by its kind; a place without one is a number, with its magnitude where it has one.
_KINDS: Final = {
    "": r"[-+]?(?:\d[\d.,]*(?:e[-+]?\d+)?|inf|nan)(?: [kMG](?![A-Za-z]))?",
    "text": r".+?",
    "part": r".+?",
    "list": r".+?",
    "side": "|".join(_SIDES),
    "verdict": "|".join(Verdict),
}
_LONGEST: Final = 2000
_CHINESE: Final = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One entry of the list: what it fits, the kind of each of its places, what it becomes."""

    pattern: re.Pattern[str]
    kinds: dict[str, str]
    chinese: str

    def translate(self, text: str) -> str | None:
        """The text in Chinese where it is this sentence."""
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        return self.chinese.format(**{name: _value(self.kinds[name], one) for name, one in match.groupdict().items()})


def localised(comparison: Comparison, language: Language) -> Comparison:
    """The comparison with its sentences in the reader's language, as far as they are known."""
    if language == "en":
        return comparison
    return replace(
        comparison,
        reasons=tuple(map(chinese_reason, comparison.reasons)),
        notes=tuple(map(chinese_reason, comparison.notes)),
        suites=tuple(map(_chinese_suite, comparison.suites)),
        probe=comparison.probe
        and replace(comparison.probe, reasons=tuple(map(chinese_reason, comparison.probe.reasons))),
    )


def _chinese_suite(suite: SuiteResult) -> SuiteResult:
    needed = suite.needed_repeats
    return replace(
        suite,
        reasons=tuple(map(chinese_reason, suite.reasons)),
        notes=tuple(map(chinese_reason, suite.notes)),
        behaviour=tuple(map(_chinese_row, suite.behaviour)),
        needed_repeats=needed and replace(needed, note=chinese_reason(needed.note)),
    )


def _chinese_row(row: BehaviourRow) -> BehaviourRow:
    # How a share is printed hangs on its unit, and it is printed in percent.
    unit = row.unit if row.unit in SHARE_UNITS else chinese_reason(row.unit)
    return replace(row, name=chinese_reason(row.name), unit=unit, alert=chinese_reason(row.alert))


def chinese_reason(sentence: str) -> str:
    """The sentence in Chinese, part by part; a part that is not known stays English."""
    if len(sentence) > _LONGEST:
        return sentence
    whole = _known(sentence)
    return _chinese_list(sentence) if whole is None else whole


def _chinese_list(sentence: str) -> str:
    parts = [(_known(part), part) for part in sentence.split("; ")]
    if all(chinese is None for chinese, _part in parts):
        return sentence
    return "；".join(chinese or part for chinese, part in parts)


def is_english(text: str) -> bool:
    """True where a page in Chinese should mark a text as English."""
    return bool(text) and not _CHINESE.search(text)


def _known(text: str) -> str | None:
    return next((chinese for one in sentences() if (chinese := one.translate(text)) is not None), None)


def _value(kind: str, text: str) -> str:
    """What stands in a place of the Chinese sentence."""
    if kind == "part":
        return chinese_reason(text)
    if kind == "list":
        return _chinese_list(text)
    if kind in {"side", "verdict"}:
        return WORDS["zh"][text]
    digits, space, magnitude = text.rpartition(" ")
    return text if kind or not space else _chinese_number(digits, magnitude)


def _chinese_number(digits: str, magnitude: str) -> str:
    """3.4 M as Chinese counts: in steps of ten thousand."""
    scale, unit = {"k": ("0.1", "万"), "M": ("100", "万"), "G": ("10", "亿")}[magnitude]
    return f"{(Decimal(digits) * Decimal(scale)).normalize():f} {unit}"


@cache
def sentences() -> tuple[Sentence, ...]:
    """The entries of `reports/reasons.zh.yaml`, in their order."""
    import yaml

    entries = yaml.safe_load((data_folder("reports") / "reasons.zh.yaml").read_text(encoding="utf-8"))
    return tuple(_sentence(entry["en"], entry["zh"]) for entry in entries)


def _sentence(english: str, chinese: str) -> Sentence:
    kinds = {name: kind or "" for name, kind in _PLACE.findall(english)}
    literal = _PLACE.split(english)
    pattern = re.escape(literal[0])
    for name, kind, then in zip(literal[1::3], literal[2::3], literal[3::3], strict=True):
        pattern += f"(?P<{name}>{_KINDS[kind or '']})" + re.escape(then)
    return Sentence(re.compile(pattern, re.DOTALL), kinds, chinese)
