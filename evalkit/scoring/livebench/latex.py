"""Are two LaTeX formulas equal? Runs only in a grading worker, which is why sympy is imported at the top.

The rule is LiveBench's: both are parsed with sympy's lark grammar (which returns every reading of an ambiguous text),
and the formulas are equal if for any pair of readings the difference simplifies to zero, or to a number below 1e-3.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import lark
import math_verify
import sympy
from sympy.parsing.latex import parse_latex
from sympy.parsing.latex.errors import LaTeXParsingError
from sympy.polys.polyerrors import BasePolynomialError

TOLERANCE: Final = 1e-3

_AROUND_SIGNS: Final = re.compile(r"\s*([-+*/=^_{}()\[\],])\s*")

# Positive, so that roots and logarithms stay on their principal branch, and unlikely to be a root of anything.
_POINTS: Final = ((3, 7), (61, 29), (17, 5))
_DIGITS: Final = 30
_SURELY_NOT_ZERO: Final = 1e-9

# What the parsers raise on text that is no formula or one they do not know, and sympy on objects without a difference.
_UNREADABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    lark.exceptions.LarkError,
    BasePolynomialError,
    LaTeXParsingError,
)


def equivalent(truth: str, answer: str) -> bool:
    """True where the two formulas are equal in any of their readings; False also where one cannot be read."""
    if _tight(truth) == _tight(answer):
        return True  # what reads the same is the same, and need not be parsed
    answers = read(answer)
    return any(equal(one, other) for one in (read(truth) if answers else ()) for other in answers)


def _tight(formula: str) -> str:
    return _AROUND_SIGNS.sub(r"\1", formula).strip()


@lru_cache(maxsize=1024)
def read(formula: str) -> tuple[Any, ...]:
    """Every reading of a formula, as sympy objects; none where no parser can read it."""
    for text in (formula, formula.replace("\\\\", "\\")):
        try:
            parsed = parse_latex(text, backend="lark")
        except _UNREADABLE:
            continue
        return tuple(parsed.children) if isinstance(parsed, lark.Tree) else (parsed,)
    # The worker's own limit holds; math-verify's timer would need signals of its own.
    found = math_verify.parse(f"${formula}$", parsing_timeout=None)
    return tuple(_plain(reading) for reading in found if not isinstance(reading, str))


def _plain(reading: Any) -> Any:
    """The reading with bare symbols: the x of math-verify carries assumptions and is not the other parser's x."""
    symbols = getattr(reading, "free_symbols", ())
    return reading.xreplace({symbol: sympy.Symbol(str(symbol)) for symbol in symbols}) if symbols else reading


def equal(one: Any, other: Any) -> bool:
    """True where the difference simplifies to zero or to a number below 1e-3."""
    try:
        difference = one - other
        if _differs_somewhere(difference):
            return False
        simple = sympy.simplify(difference)
        return bool(simple == 0) or bool(sympy.Abs(simple) < TOLERANCE)
    except _UNREADABLE:
        return False


def _differs_somewhere(difference: Any) -> bool:
    """True where a value at some point shows that the difference cannot simplify to zero: saves most of the work."""
    symbols = sorted(difference.free_symbols, key=str)
    for numerator, denominator in _POINTS if symbols else ((0, 1),):
        point = {symbol: sympy.Rational(numerator + 2 * i, denominator) for i, symbol in enumerate(symbols)}
        value = difference.evalf(_DIGITS, subs=point)
        if value.is_number and value.is_finite and abs(complex(value)) > (_SURELY_NOT_ZERO if symbols else TOLERANCE):
            return True
    return False
