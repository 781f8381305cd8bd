r"""Integer answers, as of AIME: the last `\boxed{}`, else a marker and a number; never just the last number.

Numbers are compared digit by digit (a model may write a million of them); only a box that holds a formula goes to
math-verify.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.scoring.answers.expression import LONGEST, by_value, filled_boxes
from evalkit.scoring.answers.reply import ends_midway, for_maths, places, unanswered, without_markup, without_wrappers
from evalkit.scoring.registry import name_of, required

VERSION: Final = 1

_NOISE: Final = re.compile(
    r"\$|\\[,!;:]|\\ |~|\\left(?![a-z])|\\right(?![a-z])|\\displaystyle|\^\s?\{?\\circ\}?|\\degree|°|\\?%"
)
_DIGITS: Final = r"[+-]?(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d+)"
_NUMBER: Final = re.compile(rf"(?P<digits>{_DIGITS})(?P<decimals>\.\d*)?(?P<space>\s*)(?P<unit>.*)", re.DOTALL)
_UNIT: Final = re.compile(r"[A-Za-z][A-Za-z ·/.-]*(?:\^\{?-?\d\}?)?[²³.]?")
_UNIT_LETTERS: Final = frozenset("mshgLlNJWVAKCF")
_NO_UNIT: Final = re.compile(
    r"\b(?:or|and|to|pi|sqrt|mod|plus|minus|times|over|choose|factorial|hundred|thousand|million|billion|dozen)\b",
    re.IGNORECASE,
)
_SEVERAL: Final = re.compile(r"\d\D*(?:(?<![A-Za-z])(?:or|and)(?![A-Za-z])|[,;])\D*\d|\\pm|±")
_MARKED: Final = re.compile(
    r"""[(\[{"']{0,3}\s{0,3}(?:[A-Za-z]{1,3}\s{0,2}=\s{0,2})?"""
    r"(?P<number>[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?:\s?(?:\^\{?\\circ\}?|°|\\?%))?"
    r"(?![\w/^*+({=\\-]|[.,]\d|\s{0,3}(?:[*/^+=×·;]|-\s?\d|,\s?\d|(?:or|and|to)\s{1,3}\W{0,3}\d))"
)
_ALONE: Final = re.compile(r"""[)\]}"']*[ \t]*[.!。]?[ \t]*(?:\n|\Z)""")
_LAST_NUMBER: Final = re.compile(r"(?<![\w.,])[+-]?\d[\d,]*(?!\w)")


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply whose answer is an integer: 1 where it is `doc["answer"]` (an int, or a string such as "033").

    A box that holds a formula is compared by value (see `evalkit.scoring.answers.expression`) and may have no verdict.
    `lenient` also takes the last number of a reply that gives none as its answer (flag "lenient_only").

    Raises:
        DataError: the document has no answer, or one that is no integer.
    """
    truth = _truth(doc)
    if (nothing := unanswered(final)) is not None:
        return nothing
    text = for_maths(final.text)
    boxed = filled_boxes(text, midway=ends_midway(final))
    if boxed:
        return _score_box(boxed[-1], truth, truncated=final.truncated)
    answer = _marked(without_markup(text), midway=ends_midway(final))
    if answer is not None:
        return _scored(answer, truth, truncated=final.truncated)
    status = Status.TRUNCATED if final.truncated else Status.NO_ANSWER
    numbers = _LAST_NUMBER.findall(text)
    flags = ("lenient_only",) if numbers else ()
    lenient = float(bool(numbers) and _canonical(numbers[-1]) == truth)
    return Score(0.0, status, str(status), lenient=lenient, flags=flags)


def _truth(doc: Mapping[str, Any]) -> str:
    answer = required(doc, "answer")
    digits = None if isinstance(answer, bool) else _integer(str(answer))
    if digits is None:
        raise DataError(f"{name_of(doc)}: 'answer' must be an integer, not {answer!r:.80}")
    return digits


def _score_box(content: str, truth: str, *, truncated: bool) -> Score:
    plain = _NOISE.sub("", without_wrappers(content).replace("{,}", ",")).strip().rstrip(".").strip()
    if plain.count("=") == 1:
        plain = plain.partition("=")[2].strip()
    integer = _integer(plain)
    if integer is not None:
        return _scored(integer, truth, truncated=truncated)
    if len(plain) > LONGEST or _is_decimal(plain) or _SEVERAL.search(plain) or not re.search(r"\d", plain):
        return _scored(plain[:LONGEST], truth, truncated=truncated)
    return by_value(truth, plain, truncated=truncated)


def _scored(answer: str, truth: str, *, truncated: bool) -> Score:
    value = float(answer == truth)
    reason = "right" if value else "wrong"
    return Score(value, Status.SCORED, "truncated_with_answer" if truncated else reason, answer[:LONGEST], value)


def _integer(text: str) -> str | None:
    """The digits of the integer that all of `text` is, a unit aside; None where it is something else."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or (found["decimals"] or "").strip(".0"):
        return None
    if found["unit"] and not _is_unit(found["unit"], spaced=bool(found["space"])):
        return None
    return _canonical(found["digits"])


def _is_decimal(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d*\.\d+", text) is not None


def _is_unit(text: str, *, spaced: bool) -> bool:
    r"""Whether `text` after a number is a unit and not a factor: "33 cm" is 33, "33x" and "33 thousand" are not.

    A font command leaves a space behind, so `33\text{m}` has one and `33m` has none.
    """
    if len(text) > 40 or not _UNIT.fullmatch(text) or _NO_UNIT.search(text):
        return False
    first_word = re.split(r"[^A-Za-z]", text, maxsplit=1)[0]
    return len(first_word) > 1 or (spaced and first_word in _UNIT_LETTERS)


def _canonical(digits: str) -> str:
    """An integer's digits without separators, plus sign and leading zeros."""
    sign = "-" if digits.startswith("-") else ""
    bare = re.sub(r"[^0-9]", "", digits).lstrip("0")
    return sign + bare if bare else "0"


def _marked(text: str, *, midway: bool) -> str | None:
    """The last number that a marker announces: an integer's digits, or a decimal as it stands."""
    found: str | None = None
    for place in places(text):
        number = _MARKED.match(text, place.start) if place.firm else None
        if number is None or not (place.said or _ALONE.match(text, number.end())):
            continue
        if midway and number.end() == len(text):
            continue
        found = _integer(number["number"]) or number["number"]
    return found
