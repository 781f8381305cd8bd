"""LiveBench mathematics: AMPS_Hard formulas, contest questions (AMC, SMC, AIME), olympiad proofs with gaps."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import dropwhile, takewhile
from typing import Any, Final

from evalkit.errors import UNREADABLE, DataError
from evalkit.resources import Patterns
from evalkit.scoring.answers.worker import run_limited
from evalkit.scoring.livebench.extract import Grade, boxed, distance, solutions, truth_of, without_marks
from evalkit.scoring.registry import name_of

SECONDS: Final = 20.0  # processor time for one comparison; a formula that needs more has no verdict

_LIBRARIES: Final = ("lark", "math_verify", "sympy.parsing.latex")
_LONGEST_FORMULA: Final = 2_000
_RE: Final = Patterns("mathematics")
_WRAPPED: Final = tuple(re.compile(rf"\\{name}\{{([^}}]*)\}}") for name in ("text", "textbf", "overline"))
_OR: Final = "\\quad \\text{or} \\quad"


def grade_amps(doc: Mapping[str, Any], text: str) -> Grade:
    r"""Right if the formula in the last box, else in the last `$...$`, equals the truth; else if the text ends with it.

    Raises `DataError`: the truth is missing; `GradeTimeout`: the comparison does not come to an end.
    """
    truth = _plain_truth(doc)
    answer, anchored = read_formula(text)
    if answer is None:
        value = _plain_answer(text).removesuffix(".").endswith(truth)
    else:
        value = len(answer) <= _LONGEST_FORMULA and bool(
            run_limited(f"{__name__}:equivalent", (truth, answer), SECONDS, _LIBRARIES)
        )
    return Grade(value=float(value), answer=answer or (truth if value else None), anchored=anchored)


def read_formula(text: str) -> tuple[str | None, bool]:
    """The formula that the answer settles on, cleaned for the parser, and whether it stood in a box."""
    plain = _plain_answer(text)
    if content := boxed(plain):
        return _clean(content), True
    if plain.count("$") < 2:
        return None, False
    close = plain.rfind("$")
    if plain[close - 1] == "$":
        close -= 1
    formula = plain[plain.rfind("$", 0, close) + 1 : close]
    separator = "=" if "=" in formula else _OR
    return _clean(formula.rsplit(separator, 1)[-1].strip()), False


def _plain_answer(text: str) -> str:
    """The text as one line, without integration constants, spacing commands and sizes of brackets."""
    text = _RE.fractions.sub(r"\\frac", _RE.constant.sub("", text))
    return _RE.sizes.sub("", text).replace("\\cdot", "*")


def _plain_truth(doc: Mapping[str, Any]) -> str:
    truths = doc.get("ground_truth")
    truth = truth_of({**doc, "ground_truth": truths[-1]} if isinstance(truths, list) and truths else doc)
    for command in ("\\left", "\\right"):
        truth = truth.replace(command, "")
    return truth.replace(" ^", "^").replace("\\ ", "*")


def _clean(formula: str) -> str:
    """After the last "=", unwrapped, shorthand completed: Lewkowycz et al. 2022 (Minerva), appendix D."""
    formula = formula[: _LONGEST_FORMULA * 2].rsplit("=", 1)[-1]
    if formula.count("$") >= 2:
        formula = formula.split("$")[1]
    for wrapper in _WRAPPED:
        formula = wrapper.sub(r"\1", formula)
    formula = _RE.box.sub(r"\1", formula)
    formula = _RE.short_fraction.sub(r"frac{\1}{\2}", formula)
    formula = _RE.short_root.sub(r"sqrt{\1}", formula).replace("$", "")
    digits = formula.replace(",", "")
    return digits if digits.isdigit() else formula


# The official rules are loose by design: they look for the letter or the digits in several places and take any hit.
# evalkit keeps their verdict and reads the answer a second time, more strictly, to mark what they missed or gave away.
TWO_QUADRUPLES: Final = "two_quadruples"
"""More than one letter is repeated four times: the official rule takes whichever is right."""

_LETTERS: Final = "ABCDE"
_TAIL: Final = 20
_AIME_TAIL: Final = 50


def grade_letter(doc: Mapping[str, Any], text: str) -> Grade:
    """An AMC or SMC answer: the letter in tags, repeated, boxed, as option text at the end, or alone on the last line.

    Raises `DataError`: the truth is not one letter from A to E.
    """
    truth = truth_of(doc).strip()
    if len(truth) != 1 or truth not in _LETTERS:
        raise DataError(f"{name_of(doc)} has the truth {truth!r} where one letter from A to E is expected.")
    in_box = without_marks(boxed(text) or "", "\\text{", "{", "}", " ", "\\").lower()
    anchored = _same_character(solutions(text), truth) or truth * 4 in text or in_box == truth.lower()
    value = anchored or _ends_with_option(doc, text, truth) or _last_line_letter(text, truth)
    letter = read_letter(text)
    quadruples = [other for other in _LETTERS if other * 4 in text]
    return Grade(
        value=float(value),
        answer=letter,
        anchored=anchored or letter is not None,
        strict=float(letter == truth),
        flags=(TWO_QUADRUPLES,) if len(quadruples) > 1 else (),
    )


def grade_digits(doc: Mapping[str, Any], text: str) -> Grade:
    """An AIME answer: the three digits of the truth stand somewhere in the last 50 characters."""
    truth = truth_of(doc).strip()
    if not truth.isdecimal():
        raise DataError(f"{name_of(doc)} has the truth {truth!r} where digits are expected.")
    value = _same_character(solutions(text), truth) or truth in text[-_AIME_TAIL:]
    number, anchored = _read_integer(text)
    return Grade(
        value=float(value),
        answer=number,
        anchored=anchored,
        strict=float(number is not None and number.lstrip("0") == truth.lstrip("0")),
    )


def read_letter(text: str) -> str | None:
    """The letter that the answer settles on, by evalkit's own reading; None where it settles on none."""
    if found := solutions(text):
        return _single_letter(found[-1])
    if repeated := _RE.repeated.findall(text):
        return str(repeated[-1])
    if (box := boxed(text)) is not None and (letter := _single_letter(box)):
        return letter
    if marked := _RE.answer_letter.findall(text):
        return str(marked[-1])
    return _single_letter(text.strip().rsplit("\n", 1)[-1])


def _single_letter(text: str) -> str | None:
    bare = re.sub(r"[\W_]+", "", _RE.wrappers.sub("", text)).upper()
    return bare[0] if bare and set(bare) == {bare[0]} and bare[0] in _LETTERS else None


def _same_character(bodies: list[str], truth: str) -> bool:
    characters = set(bodies[-1]) if bodies else set()
    return len(characters) == 1 and characters.pop().lower() == truth.lower()


def _ends_with_option(doc: Mapping[str, Any], text: str, truth: str) -> bool:
    prompt = doc.get("prompt")
    options = (
        {letter: option.strip() for letter, option in _RE.option.findall(prompt)} if isinstance(prompt, str) else {}
    )
    option = options.get(truth, "").strip("$").strip("~")
    return option != "" and option in text[-_TAIL - len(option) :]


def _last_line_letter(text: str, truth: str) -> bool:
    line = text.strip().rsplit("\n", 1)[-1]
    if line.replace("*", "").strip().lower() == truth.lower():
        return True
    inside = line.split("(", 1)[1].split(")", 1)[0] if "(" in line and ")" in line else ""
    return inside.lower() == truth.lower()


def _read_integer(text: str) -> tuple[str | None, bool]:
    for body in (solutions(text)[-1:], [boxed(text) or ""]):
        numbers = _RE.integer.findall(body[0]) if body else []
        if numbers:
            return numbers[-1], True
    numbers = _RE.integer.findall(text)
    return (numbers[-1], False) if numbers else (None, False)


_MARK: Final = "answer:"


def grade_olympiad(doc: Mapping[str, Any], text: str) -> Grade:
    """One minus the edit distance between the two lists of numbers, relative to the longer one.

    Raises `DataError`: the truth is not a comma-separated list of integers.
    """
    truth = [_integer(part) for part in truth_of(doc).split(",")]
    if None in truth:
        raise DataError(f"{name_of(doc)} has a truth that is not a list of integers separated by commas.")
    numbers = read_numbers(text)
    value = 1 - distance(numbers, truth) / max(len(numbers), len(truth))
    return Grade(
        value=value,
        answer=",".join("?" if number is None else str(number) for number in numbers) or None,
        anchored=_MARK in text.lower(),
    )


def read_numbers(text: str) -> list[int | None]:
    """The list that the answer gives; None stands for an entry that is no number.

    Tried in turn: the last line with "answer:" in it, the last box, the last line, the digits after "answer:".
    A place that holds no number at all is passed over.
    """
    content = boxed(text)
    in_box = without_marks(text if content is None else content, "\\text{", "}", "\\").strip().split(",")
    last_line = map(_first_digits, text.strip().lower().rsplit("\n", 1)[-1].split(","))
    tried = (
        _after_mark(text),
        [_integer(part) for part in in_box] if "\\boxed" in text else [],
        [_integer(digits) for digits in last_line if digits],
    )
    found = next((numbers for numbers in tried if any(number is not None for number in numbers)), None)
    return list(_leading_digits(text)) if found is None else found


def _after_mark(text: str) -> list[int | None]:
    lines = text.lower().strip().split("\n")
    marked = [index for index, line in enumerate(lines) if _MARK in line]
    if not marked:
        return []
    listed = without_marks(lines[marked[-1]].split(_MARK)[1], "**", ".").strip()
    if not listed and marked[-1] + 1 < len(lines):
        listed = without_marks(lines[marked[-1] + 1], "**", ".").strip()
    entries = (part.strip().split(" ")[-1] for part in listed.split(","))
    return [_integer(without_marks(entry, "$", "{", "}", "\\", "boxed", "<", ">")) for entry in entries]


def _leading_digits(text: str) -> list[int]:
    # The list may be followed by prose: it ends with the first entry, after the first one, that is not bare digits.
    numbers: list[int] = []
    for index, part in enumerate(text.lower().rsplit(_MARK, 1)[-1].split(",")):
        entry = part.strip()
        digits = _first_digits(entry)
        if (number := _integer(digits)) is not None:
            numbers.append(number)
        if index > 0 and digits != entry:
            break
    return numbers


def _first_digits(text: str) -> str:
    found = dropwhile(lambda character: not character.isdigit(), text)
    return "".join(takewhile(str.isdigit, found))


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


# The rule is LiveBench's: both are parsed with sympy's lark grammar (which returns every reading of an ambiguous text),
# and the formulas are equal if for any pair of readings the difference simplifies to zero, or to a number below 1e-3.
TOLERANCE: Final = 1e-3

# Positive, so that roots and logarithms stay on their principal branch, and unlikely to be a root of anything.
_POINTS: Final = ((3, 7), (61, 29), (17, 5))
_DIGITS: Final = 30
_SURELY_NOT_ZERO: Final = 1e-9


@cache
def _unreadable() -> tuple[type[Exception], ...]:
    """What the parsers raise on text that is no formula, or one they do not know; and sympy without a difference."""
    from lark.exceptions import LarkError
    from sympy.parsing.latex.errors import LaTeXParsingError
    from sympy.polys.polyerrors import BasePolynomialError

    return (*UNREADABLE, LarkError, BasePolynomialError, LaTeXParsingError)


def equivalent(truth: str, answer: str) -> bool:
    """True where the two formulas are equal in any of their readings; False also where one cannot be read."""
    if _tight(truth) == _tight(answer):
        return True  # what reads the same is the same, and need not be parsed
    answers = readings(answer)
    return any(equal(one, other) for one in (readings(truth) if answers else ()) for other in answers)


def _tight(formula: str) -> str:
    return _RE.around_signs.sub(r"\1", formula).strip()


@lru_cache(maxsize=1024)
def readings(formula: str) -> tuple[Any, ...]:
    """Every reading of a formula, as sympy objects; none where no parser can read it."""
    import lark
    import math_verify
    from sympy.parsing.latex import parse_latex

    for text in (formula, formula.replace("\\\\", "\\")):
        try:
            parsed = parse_latex(text, backend="lark")
        except _unreadable():
            continue
        return tuple(parsed.children) if isinstance(parsed, lark.Tree) else (parsed,)
    # The worker's own limit holds; math-verify's timer would need signals of its own.
    found = math_verify.parse(f"${formula}$", parsing_timeout=None)
    return tuple(_bare(reading) for reading in found if not isinstance(reading, str))


def _bare(reading: Any) -> Any:
    """The reading with bare symbols: the x of math-verify carries assumptions and is not the other parser's x."""
    import sympy

    symbols = getattr(reading, "free_symbols", ())
    return reading.xreplace({symbol: sympy.Symbol(str(symbol)) for symbol in symbols}) if symbols else reading


def equal(one: Any, other: Any) -> bool:
    """True where the difference simplifies to zero or to a number below 1e-3."""
    import sympy

    try:
        difference = one - other
        if _differs_somewhere(difference):
            return False
        simple = sympy.simplify(difference)
        return bool(simple == 0) or bool(sympy.Abs(simple) < TOLERANCE)
    except _unreadable():
        return False


def _differs_somewhere(difference: Any) -> bool:
    """True where a value at some point shows that the difference cannot simplify to zero: saves most of the work."""
    import sympy

    symbols = sorted(difference.free_symbols, key=str)
    for numerator, denominator in _POINTS if symbols else ((0, 1),):
        point = {symbol: sympy.Rational(numerator + 2 * i, denominator) for i, symbol in enumerate(symbols)}
        value = difference.evalf(_DIGITS, subs=point)
        if value.is_number and value.is_finite and abs(complex(value)) > (_SURELY_NOT_ZERO if symbols else TOLERANCE):
            return True
    return False
