"""Rounding: outward, never onto or over a limit that the exact number does not reach, without binary noise."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.model import Interval
from evalkit.render import numbers

fraction = st.floats(-1, 1)
margins = st.sampled_from([0.0, 0.005, 0.01, 0.0125, 0.015, 0.02, 0.03, 0.05])


def interval_of(a, b):
    return Interval(min(a, b), max(a, b), 0.9)


@given(fraction, fraction, st.integers(0, 4))
def test_a_rounded_interval_contains_the_exact_one(a, b, decimals):
    exact = interval_of(a, b)
    shown = numbers.outward(exact, decimals)
    noise = Fraction(1, 10**9)
    assert Fraction(shown.low) <= Fraction(exact.low) * 100 + noise
    assert Fraction(shown.high) >= Fraction(exact.high) * 100 - noise
    assert shown.high - shown.low <= Decimal(exact.high - exact.low) * 100 + 2 * Decimal(1).scaleb(-decimals) + Decimal(
        "1e-8"
    )


@given(fraction, fraction, margins)
def test_rounding_changes_no_conclusion(a, b, margin):
    exact = interval_of(a, b)
    shown = numbers.outward(exact, numbers.decimals_for(exact, margin))
    low, high, limit = numbers.points(exact.low), numbers.points(exact.high), numbers.points(margin)
    close = min(abs(abs(end) - at) for end in (low, high) for at in (limit, 0))
    if close == 0 or close > Decimal("1e-6"):
        assert (-limit < shown.low and shown.high < limit) == (-limit < low and high < limit)
        assert (shown.low > 0 or shown.high < 0) == (low > 0 or high < 0)
        assert (shown.high < -limit, shown.low > limit) == (high < -limit, low > limit)


@given(fraction, st.floats(0, 0.2), st.floats(0, 0.2), margins)
def test_a_difference_lies_in_its_interval(difference, below, above, margin):
    exact = Interval(difference - below, difference + above, 0.9)
    change = numbers.change(difference, exact, margin)
    assert change.interval.low <= change.difference <= change.interval.high


@pytest.mark.parametrize(
    ("low", "high", "margin", "text"),
    [
        (-0.0042, 0.0281, 0.05, "[-0.5, +2.9]"),
        (-0.0196, 0.014, 0.02, "[-1.96, +1.40]"),  # one decimal would touch the margin
        (0.0004, 0.02, 0.03, "[+0.04, +2.00]"),  # and here it would touch zero
        (-0.0021, 0.0035, 0.01, "[-0.21, +0.35]"),  # narrower than a point
        (-0.072, 0.02, 0.02, "[-7.2, +2.0]"),  # on the margin is on the margin
        (0.07200000000000001, 0.28, 0.02, "[+7.2, +28.0]"),  # binary noise is no reason for 28.1 or 7.1
        (0.0, 0.0, 0.02, "[0.00, 0.00]"),
        (-1e-12, 1e-12, 0.02, "[0.00, 0.00]"),
    ],
)
def test_what_is_printed(low, high, margin, text):
    exact = Interval(low, high, 0.9)
    assert numbers.bounds(numbers.outward(exact, numbers.decimals_for(exact, margin))) == text


def test_shortest_and_significant():
    assert str(numbers.shortest(Decimal(2), 1)) == "2.0"
    assert str(numbers.shortest(Decimal("1.25"), 1)) == "1.25"
    assert str(numbers.shortest(Decimal("1.666666"), 1)) == "1.6667"
    assert f"{numbers.significant(24_400_000.0):f}" == "24400000"
    assert f"{numbers.significant(0.000123456):f}" == "0.0001235"
    assert f"{numbers.significant(-0.0):f}" == "0"
    assert numbers.signed(Decimal("-0.3")) == "-0.3"
    assert numbers.signed(Decimal("0.0")) == "0.0"
    assert str(numbers.points(-0.0)) == "0E-9"
