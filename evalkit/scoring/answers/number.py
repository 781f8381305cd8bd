r"""Reads numbers that people and models write, without evaluating anything, in two ways.

`read_number` and `read_list` take an answer field to its value, by a small grammar and a bounded descent. Understood
are signs, decimals, `1.2e-3`, `1.2 \times 10^{-3}`, `1,234,567`, `a/b`, `\frac{a}{b}`, `\dfrac13`, mixed numbers,
powers, `\sqrt[n]{}`, `\ln`, `\exp`, products, sums, brackets, `\pi`, `e`, percent, and scale words; a unit behind the
number is dropped. An expression is read as a whole or not at all. All is computed in floating point: nothing a text
says can take long or grow large.

`numbers` finds the numbers in a text, exactly (`Quantity`: "1/64" is 0.015625, 0.1 is a tenth), with the decimals that
they state, so that `equal` compares them at the precision at which they were written.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final

from evalkit.resources import Patterns
from evalkit.scoring.answers.reply import for_maths, without_wrappers

LONGEST_FIELD: Final = 2_000  # characters; of a longer field only the beginning is read

_DEEPEST: Final = 40

_RE: Final = Patterns("number")
_BRACKETS: Final = {"(": ")", "[": "]", "{": "}"}

_SCALES: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_LONGEST_UNIT: Final = 40
_ALIKE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number. `percent` says that it was written in percent: "12.5%" is 0.125."""

    value: float
    percent: bool = False


class SeveralAnswersError(ValueError):
    """A field gives two answers where one is asked for: "4 or 5", "3 to 4", "2 ± 1"."""


def read_number(field: str) -> Number | None:
    """The number that an answer field states, or None where it states none.

    "x = 4", "about 9.8 m/s^2" and "42, since 6 times 7 is 42" state one.

    Raises `SeveralAnswersError`: the field states more than one.
    """
    text = _plain(field)
    number = _stated(text)
    if number is not None:
        return number
    relations = list(_RE.relation.finditer(text))
    if not relations:
        return None
    if len(relations) > 1 and re.search(r"(?<![A-Za-z])(?:or|and)(?![A-Za-z])|[,;]", text):
        raise SeveralAnswersError(field)
    return _stated(text[relations[-1].end() :])


def read_list(field: str) -> tuple[Number, ...] | None:
    """The numbers of a list, in order: with brackets of any kind or none, separated by commas, semicolons or "and".

    None where an entry is not one number. Commas always separate: there are no thousands in a list.
    """
    text = re.sub(r"\\(?:begin|end)\{\w{1,12}\}", "", field[:LONGEST_FIELD]).replace("\\\\", ",").replace("&", ",")
    text = _plain(text).replace("\\{", "{").replace("\\}", "}").strip().rstrip(".。")
    named = re.match(r"[^=([{]{0,30}=\s*(?=[(\[{<])", text)
    entries = _entries(_inside(text[named.end() :] if named else text))
    try:
        numbers = [number for entry in entries if (number := read_number(entry)) is not None]
    except SeveralAnswersError:
        return None
    return tuple(numbers) if numbers and len(numbers) == len(entries) else None


def last_number(text: str) -> Number | None:
    """The last number written in digits anywhere in a text: a guess, for diagnosis only."""
    literals = _RE.written.findall(text)
    value = float(literals[-1].replace(",", "")) if literals else math.inf
    return Number(value) if math.isfinite(value) else None


def _plain(field: str) -> str:
    return _RE.noise.sub("", without_wrappers(for_maths(field[:LONGEST_FIELD]))).strip()


def _stated(text: str) -> Number | None:
    """The number at the beginning of a text, words such as "about" aside, where what follows is a unit or prose."""
    text = text.strip()
    while (lead := _RE.lead.match(text)) and lead.end():
        text = text[lead.end() :]
    reader = _Reader(text)
    value = reader.number()
    if value is None:
        return None
    rest = text[reader.position :]
    if percent := _RE.percent.match(rest):
        rest, value = rest[percent.end() :], value / 100
    if scale := _RE.scale.match(rest):
        rest, value = rest[scale.end() :], value * _SCALES[scale[1].lower()]
    return (
        Number(value, percent is not None)
        if math.isfinite(value) and _is_tail(rest, value, after_sum=reader.is_sum)
        else None
    )


def _is_tail(rest: str, value: float, *, after_sum: bool) -> bool:
    """True where a number, whose value is `value`, may be followed by `rest`: nothing, a unit, an explanation.

    What may be a part of the expression makes it one that was not read as a whole: "2a", "1 - sin(1)", "2(x + 1)".

    Raises `SeveralAnswersError`: `rest` goes on with another number.
    """
    tail = rest.strip()
    if _RE.relation.match(tail):
        return False  # "2 + 2 = 4" states what follows
    if _RE.another.match(tail):
        raise SeveralAnswersError(rest)
    if _RE.going_on.match(rest):
        return False
    if bracket := _RE.bracket.match(tail):
        return _is_remark(bracket[1], value)
    stop = _RE.explanation.search(tail)
    unit = tail[: stop.start()] if stop else tail
    without_powers = _RE.unit_digits.sub("", unit)
    if re.search(r"(?<![A-Za-z])(?:or|and|to)\s+\S{0,12}\d", without_powers):
        raise SeveralAnswersError(rest)
    is_unit = len(unit) <= _LONGEST_UNIT and not _RE.no_unit.search(without_powers)
    # What stands behind a sum would be a part of it.
    return is_unit and not (after_sum and unit.strip())


def _is_remark(text: str, value: float) -> bool:
    """Whether a bracket behind a number says something of it, "(metres)" or "(= 0.25)", and is no factor."""
    reader = _Reader(_RE.lead.sub("", text.strip(), count=1))
    other = reader.number()
    if other is None:
        return _RE.remark.search(text.partition(")")[0]) is not None
    return math.isclose(other / (100 if _RE.percent.match(reader.text, reader.position) else 1), value, rel_tol=_ALIKE)


def _inside(text: str) -> str:
    """What stands in the bracket with which the text begins, else the text; angle brackets too."""
    text = text.replace("\\langle", "<").replace("\\rangle", ">").strip()
    if text.startswith("<") and ">" in text:
        return text[1 : text.index(">")]
    if text[:1] not in _BRACKETS:
        return text
    end = next((place for place, depth in enumerate(_depths(text)) if depth == 0), None)
    # "(1/3), (1/4)" begins with a bracket that is not the list's.
    return text if end is None or re.match(r"\s*[,;/*^]\s*\S", text[end + 1 :]) else text[1:end]


def _entries(text: str) -> list[str]:
    """The parts between separators outside of all brackets."""
    text = re.sub(r"(?<![A-Za-z])and(?![A-Za-z])", ",", text)
    cuts = [place for place, depth in enumerate(_depths(text)) if depth == 0 and text[place] in ",;，；、"]
    return [entry for start, end in pairwise((-1, *cuts, len(text))) if (entry := text[start + 1 : end]).strip()]


def _depths(text: str) -> Iterator[int]:
    """In how many brackets what follows each character stands."""
    return accumulate((character in _BRACKETS) - (character in _BRACKETS.values()) for character in text)


class _Reader:
    """A recursive descent over one text; every method leaves `position` behind what it has read, or where it was."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.is_sum = False
        self._depth = 0

    def number(self) -> float | None:
        """The value of the longest expression at the beginning, None where there is none or it has no finite value."""
        try:
            value = self._sum()
        except (ArithmeticError, ValueError, RecursionError):
            return None
        return value if value is not None and math.isfinite(value) else None

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        space = _RE.space.match(self.text, self.position)
        found = pattern.match(self.text, space.end() if space else self.position)
        if found:
            self.position = found.end()
        return found

    def _sum(self) -> float | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        value = self._product()
        while value is not None:
            start = self.position
            sign = self._take(_RE.sign)
            term = self._product() if sign else None
            if sign is None or term is None:
                self.position = start
                break
            value += term if sign[0] == "+" else -term
            self.is_sum = self.is_sum or self._depth == 1
        self._depth -= 1
        return value

    def _product(self) -> float | None:
        value = self._signed()
        while value is not None:
            start = self.position
            divide = self._take(_RE.over)
            times = None if divide else self._take(_RE.times)
            factor = self._signed() if divide or times else self._adjacent()
            if factor is None:
                self.position = start
                break
            value = value / factor if divide else value * factor
        return value

    def _signed(self) -> float | None:
        sign = self._take(_RE.sign)
        value = self._powered()
        return -value if sign and sign[0] == "-" and value is not None else value

    def _adjacent(self) -> float | None:
        r"""A factor without a sign between: "2\pi", "3(4)"; numbers side by side, "3 4" and "0.25 (1/4)", are none."""
        space = _RE.space.match(self.text, self.position)
        after = space.end() if space else self.position
        if _RE.literal.match(self.text, after) or (after > self.position and self.text.startswith("(", after)):
            return None
        return self._powered()

    def _powered(self) -> float | None:
        start = self.position
        base = self._atom()
        if base is None:
            self.position = start
            return None
        before = self.position
        if self._take(_RE.power):
            exponent = self._argument()
            if exponent is None:
                self.position = before
            else:
                return math.pow(base, exponent)
        return base

    def _argument(self) -> float | None:
        r"""What a `\frac`, a root or a power takes: a group, one digit after a command, a signed atom after "^"."""
        if (group := self._group()) is not None:
            return group
        return self._signed()  # of a tower the topmost power comes first

    def _atom(self) -> float | None:
        if literal := self._take(_RE.literal):
            return self._mixed(float(literal[0].replace("{,}", "").replace(",", "")), literal[0])
        if self._take(_RE.fraction):
            above, below = self._short_argument(), self._short_argument()
            return None if above is None or below is None else above / below
        if root := self._take(_RE.root):
            index = self._bracketed("[") if root[0].startswith("\\") else None
            radicand = self._short_argument()
            return None if radicand is None else math.pow(radicand, 1 / (2.0 if index is None else index))
        if function := self._take(_RE.function):
            argument = self._short_argument()
            return None if argument is None else (math.log if function["ln"] else math.exp)(argument)
        if constant := self._take(_RE.constant):
            return math.pi if constant["pi"] else math.e
        return self._group()

    def _short_argument(self) -> float | None:
        r"""A group or, as in `\frac12`, one digit."""
        if (group := self._group()) is not None:
            return group
        if digit := self._take(_RE.digit):
            return float(digit[0])
        return self._atom()

    def _group(self) -> float | None:
        value = self._bracketed("(")
        return self._bracketed("{") if value is None else value

    def _bracketed(self, opening: str) -> float | None:
        start = self.position
        if self._take(re.compile(re.escape(opening))):
            value = self._sum()
            if value is not None and self._take(re.compile(re.escape(_BRACKETS[opening]))):
                return value
        self.position = start
        return None

    def _mixed(self, whole: float, literal: str) -> float:
        r"""Three and a half: "3 1/2", `3\frac{1}{2}`; a whole number before a proper fraction of whole numbers."""
        if not literal.isdecimal():
            return whole
        found = self._take(_RE.proper)
        if found is None:
            return whole
        above, below = (int(digits) for digits in found.groups() if digits is not None)
        if above < below:
            return whole + above / below
        self.position = found.start()
        return whole


_LONGEST_DIGITS: Final = 40
_LARGEST_EXPONENT: Final = 60
_RELATIVE: Final = Fraction(1, 1_000_000)
_FEWEST_DECIMALS: Final = 2

_CHINESE_SCALES: Final = {"百": 10**2, "千": 10**3, "万": 10**4, "亿": 10**8}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it stands at [start, end) of a text.

    `readings` are the values that it may have: with a Chinese scale word (237万元) or a percent sign also the bare
    number, which a question may have asked for. `decimals` is how many it is written with; None for a fraction.
    """

    readings: tuple[Fraction, ...]
    decimals: int | None
    start: int
    end: int


def numbers(text: str) -> list[Quantity]:
    """All numbers in `text` (normalised by `for_maths` or `for_matching`), in order."""
    return [number for found in _RE.quantity.finditer(text) if (number := _quantity(found)) is not None]


def whole_number(text: str) -> Quantity | None:
    r"""The number that is all of `text`, a unit or currency aside; None for anything else ("2\pi", "3x", "1 or 2")."""
    found = numbers(text)
    if not found or not re.fullmatch(r"[(\[$€£¥￥\s\\]{0,5}", text[: found[0].start]):
        return None
    rest = text[found[0].end :].strip(" \t$.。)]")
    return found[0] if not rest or _RE.unit.fullmatch(rest) else None


def same_number(truth: str, answer: str) -> bool:
    r"""Whether two texts are one number, exactly: `1{,}204.0` is 1204, `\$35` and `35.0\%` are 35.

    The answer may have a unit or a currency; a truth that has one is not decided here.
    """
    truth = without_wrappers(truth)
    wanted, given = whole_number(truth), whole_number(without_wrappers(answer))
    bare = wanted and not truth[wanted.end :].strip(" $.}")
    return bool(bare and wanted and given and {*wanted.readings} & {*given.readings})


def equal(answer: Quantity, truth: Quantity, *, round_fraction: bool = True) -> bool:
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


def _quantity(found: re.Match[str]) -> Quantity | None:
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
    return Quantity(tuple(readings), decimals, found.start(), found.end())


def _mantissa(found: re.Match[str]) -> tuple[Fraction, int | None] | None:
    """(the value before scale and sign, the decimals that it is written with)."""
    if found["above"]:
        below = int(found["below"])
        return (Fraction(int(found["above"]), below), None) if below else None
    digits = _RE.between_digits.sub("", found["plain"])
    if len(digits) > _LONGEST_DIGITS:
        return None
    value = Fraction(Decimal(digits))
    if not found["raised"]:
        return value, len(digits.partition(".")[2])
    exponent = int(found["raised"])
    if (not value and exponent < 0) or len(digits) * abs(exponent) > _LONGEST_DIGITS * _LONGEST_DIGITS:
        return None
    return value**exponent, None
