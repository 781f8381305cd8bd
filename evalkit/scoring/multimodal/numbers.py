"""Numbers in free text: found with their signs, scales and percent signs, and compared at the precision they state.

Exact arithmetic throughout: "1/64" is 0.015625, "2 million" is 2000000, and 0.1 is a tenth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

_LONGEST_DIGITS: Final = 40
_LARGEST_EXPONENT: Final = 60
_RELATIVE: Final = Fraction(1, 1_000_000)
_FEWEST_DECIMALS: Final = 2

_PLAIN: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER: Final = re.compile(
    # No digit of a name (CO2, x_1, v1.2) and no minus of a range (12-20) or a hyphen (sub-2).
    r"(?<![A-Za-z0-9_.^\\])(?P<sign>(?<![A-Za-z0-9)\]}%])[-+](?:\s?(?=[$\d.])))?\$?\s?"
    rf"(?:\\[dt]?frac\s?\{{\s?(?P<above>[-+]?\d{{1,40}})\s?\}}\s?\{{\s?(?P<below>\d{{1,40}})\s?\}}|(?P<plain>{_PLAIN})(?:\^\s?\{{?\s?(?P<raised>[-+]?\d{{1,2}})\s?\}}?(?!\d))?)"
    r"(?:\s?/\s?(?P<divisor>\d{1,40})(?![\d.,]*\d|/))?"
    r"(?:\s?(?:[x×*]|\\times|\\cdot)\s?10\s?\^\s?\{?\s?(?P<power>[-+]?\d{1,3})\s?\}?|[eE](?P<exponent>[-+]?\d{1,3})(?![A-Za-z0-9]))?"
    r"(?P<percent>\s?\\?%|\s?percent(?![A-Za-z]))?"
    r"(?:\s?(?P<scale>thousand|million|billion|trillion)(?![A-Za-z])|\s?(?P<chinese>[百千万亿]))?",
    re.IGNORECASE,
)
_UNIT_WORD: Final = (
    r"(?:(?!(?:pi|sqrt|frac|or|and|to|plus|minus|times|over|choose|mod|sin|cos|tan|log|ln|hundred|dozen)(?![A-Za-z]))"
    r"[A-Za-z\u00b5\u03bc]{2,20}|[mshgLlNJWVAKCFTHΩ€£¥$]|[\u3400-\u9fff\u2103\u2126]{1,8}|°\s?[CF]?|\^\s?\{?\\circ\s?\}?|\\degree|\\?%)"
)
_UNIT: Final = re.compile(
    # A word or symbol, up to three more of them, each with an exponent: cm, square inches, metres per second squared.
    rf"[-\s]*{_UNIT_WORD}\.?(?:\s?\^\s?\{{?-?[1-3]\}}?|[²³])?"
    rf"(?:[\s·/.-]{{1,3}}{_UNIT_WORD}\.?(?:\s?\^\s?\{{?-?[1-3]\}}?|[²³])?){{0,3}}"
)
_SCALES: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_CHINESE_SCALES: Final = {"百": 10**2, "千": 10**3, "万": 10**4, "亿": 10**8}


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands at [start, end) of a text.

    `readings` are the values that it may have: with a Chinese scale word (237万元) or a percent sign also the bare
    number, which a question may have asked for. `decimals` is how many it is written with; None for a fraction.
    """

    readings: tuple[Fraction, ...]
    decimals: int | None
    start: int
    end: int


def numbers(text: str) -> list[Number]:
    """All numbers in `text` (normalised by `for_maths` or `for_matching`), in order."""
    return [number for found in _NUMBER.finditer(text) if (number := _number(found)) is not None]


def whole_number(text: str) -> Number | None:
    r"""The number that is all of `text`, a unit or currency aside; None for anything else ("2\pi", "3x", "1 or 2")."""
    found = numbers(text)
    if not found or not re.fullmatch(r"[(\[$€£¥￥\s]{0,4}", text[: found[0].start]):
        return None
    rest = text[found[0].end :].strip(" \t$.。)]")
    return found[0] if not rest or _UNIT.fullmatch(rest) else None


def equal(answer: Number, truth: Number, *, round_fraction: bool = True) -> bool:
    """Whether an answer is the truth, at the precision that both are written with.

    Equal to one part in a million; or, where both are decimals of at least two places, equal when rounded to the
    fewer of them: 8.44 is not 8.4, 6.33 is 6.333. With `round_fraction` a true fraction may be given as such a
    decimal (3.43 is 24/7); a fraction as the answer to a decimal must be exact.
    """
    places = _places(answer.decimals, truth.decimals, round_fraction=round_fraction)
    return any(
        abs(given - wanted) <= max(_RELATIVE * abs(wanted), Fraction(1, 2 * 10**places) if places else Fraction())
        for given in answer.readings
        for wanted in truth.readings
    )


def _places(given: int | None, wanted: int | None, *, round_fraction: bool) -> int:
    """To how many decimals the two are compared; 0 where they must be equal."""
    if given is None or (wanted is None and not round_fraction):
        return 0
    places = given if wanted is None else min(given, wanted)
    return places if places >= _FEWEST_DECIMALS else 0


def _number(found: re.Match[str]) -> Number | None:
    mantissa = _mantissa(found)
    power = int(found["power"] or found["exponent"] or 0)
    divisor = int(found["divisor"] or 1)
    if mantissa is None or abs(power) > _LARGEST_EXPONENT or not divisor:
        return None
    value, decimals = mantissa
    value *= Fraction(10) ** power / divisor
    if (found["sign"] or "").strip() == "-":
        value = -value
    readings = [value]
    if found["percent"]:
        readings.append(value / 100)
    if found["scale"]:
        readings = [reading * _SCALES[found["scale"].lower()] for reading in readings]
    if found["chinese"]:
        readings.append(value * _CHINESE_SCALES[found["chinese"]])
    if found["divisor"]:
        decimals = None
    elif decimals and (power or found["scale"]):
        decimals = 0  # 1.53 million is no statement about hundredths
    return Number(tuple(readings), decimals, found.start(), found.end())


def _mantissa(found: re.Match[str]) -> tuple[Fraction, int | None] | None:
    """(the value before scale and sign, the decimals that it is written with)."""
    if found["above"]:
        below = int(found["below"])
        return (Fraction(int(found["above"]), below), None) if below else None
    digits = found["plain"].replace(",", "")
    if len(digits) > _LONGEST_DIGITS:
        return None
    value = Fraction(Decimal(digits))
    if not found["raised"]:
        return value, len(digits.partition(".")[2])
    exponent = int(found["raised"])
    if (not value and exponent < 0) or len(digits) * abs(exponent) > _LONGEST_DIGITS * _LONGEST_DIGITS:
        return None
    return value**exponent, None
