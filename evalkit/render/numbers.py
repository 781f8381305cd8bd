"""Rounding, done once and for all reports: fractions become points, intervals are rounded outward, never inward."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from evalkit.model import Interval

_MOST_DECIMALS: Final = 6
_MOST_DIGITS: Final = 6
_FLOAT_NOISE: Final = Decimal("1e-9")
"""Points below which a digit is an artefact of binary arithmetic, not a reason to round an interval further out."""
_EXACT: Final = Context(prec=400)  # room for every finite float in points


@dataclass(frozen=True, slots=True)
class Range:
    """An interval as printed, in points, rounded outward; `level_percent` is its confidence."""

    low: Decimal
    high: Decimal
    level_percent: Decimal


@dataclass(frozen=True, slots=True)
class Change:
    """A difference in points with the interval it is never printed without."""

    difference: Decimal
    interval: Range


def points(fraction: float) -> Decimal:
    """A fraction in points (0.012 gives 1.2), free of the last digits' binary noise."""
    return _quantised(Decimal(repr(float(fraction))) * 100, _FLOAT_NOISE, ROUND_HALF_EVEN)


def rounded(value: Decimal, decimals: int) -> Decimal:
    """`value` to `decimals` places, half to even, never -0."""
    return _quantised(value, _step(decimals), ROUND_HALF_EVEN)


def outward(interval: Interval, decimals: int) -> Range:
    """The interval in points, its low end rounded down and its high end up."""
    low = _quantised(points(interval.low), _step(decimals), ROUND_FLOOR)
    high = _quantised(points(interval.high), _step(decimals), ROUND_CEILING)
    return Range(low, high, shortest(points(interval.level), 0, 2))


def places(number: Decimal) -> int:
    """How many decimals are written."""
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def shown(interval: Interval, margin: float) -> Range:
    """The interval as every table, sentence and page shows it: outward, with the digits that its margin asks for."""
    return outward(interval, decimals_for(interval, margin))


def shortest(value: Decimal, least_decimals: int, most_decimals: int = 4) -> Decimal:
    """`value` with as few decimals as say it, between the two limits (2.0 and 1.25, never 2.0000)."""
    for decimals in range(least_decimals, most_decimals):
        if rounded(value, decimals) == value:
            return rounded(value, decimals)
    return rounded(value, most_decimals)


def significant(value: float, rounding: str = ROUND_HALF_EVEN, digits: int = 4) -> Decimal:
    """A number of any size to `digits` significant digits; `format(number, "f")` prints it without an exponent."""
    exact = Decimal(repr(float(value)))
    if exact == 0:
        return Decimal(0)
    return exact.quantize(_step(digits - 1 - exact.adjusted()), rounding).normalize()


def decimals_for(interval: Interval, margin: float) -> int:
    """How many decimals an interval needs so that rounding it outward changes no conclusion.

    Two where it is narrower than a point, else one; more where a rounded end would fall on, or over, the margin
    or zero while the exact end does not.
    """
    decimals = 2 if interval.high - interval.low < 0.01 else 1
    limits = (-points(margin), Decimal(0), points(margin))
    while decimals < _MOST_DECIMALS:
        ends = outward(interval, decimals)
        pairs = ((points(interval.low), ends.low), (points(interval.high), ends.high))
        if all(_side(exact, limit) == _side(end, limit) for exact, end in pairs for limit in limits):
            break
        decimals += 1
    return decimals


def beside(interval: Interval, limit: float) -> tuple[Decimal, Decimal, Decimal]:
    """An interval of any size, outward, and a limit beside it: low, high, limit in their own unit.

    Two significant digits; more (up to six) where an end would come to lie on another side of ±limit as printed.
    """
    low = high = at = Decimal(0)
    for digits in range(2, _MOST_DIGITS + 1):
        low = significant(interval.low, ROUND_FLOOR, digits)
        high = significant(interval.high, ROUND_CEILING, digits)
        at = significant(limit, digits=digits)
        pairs = ((interval.low, low), (interval.high, high))
        if all(_side(exact, side * limit) == _side(end, side * at) for exact, end in pairs for side in (-1, 1)):
            break
    return low, high, at


def change(difference: float, interval: Interval, margin: float) -> Change:
    """A difference and its interval, rounded to the same number of decimals."""
    decimals = decimals_for(interval, margin)
    return Change(rounded(points(difference), decimals), outward(interval, decimals))


def signed(value: Decimal) -> str:
    """+1.2, -0.3, and 0.0 without a sign."""
    return f"{value:+f}" if value else f"{value:f}"


def bounds(interval: Range) -> str:
    """[-0.4, +2.8]."""
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def change_text(shown: Change | None) -> str:
    """+1.2 [-0.4, +2.8]; a dash for none."""
    return "—" if shown is None else f"{signed(shown.difference)} {bounds(shown.interval)}"


def plain(value: Decimal | None) -> str:
    """1.2; a dash for none."""
    return "—" if value is None else f"{value:f}"


def _side(value: Decimal | float, limit: Decimal | float) -> int:
    return (value > limit) - (value < limit)


def _step(decimals: int) -> Decimal:
    return Decimal(1).scaleb(-decimals)


def _quantised(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Never -0."""
    made = value.quantize(step, rounding, _EXACT)
    return abs(made) if made == 0 else made
