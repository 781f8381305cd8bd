"""AMPS_Hard: a formula in a box, equal to the true one by computer algebra; no language model is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.scoring.livebench.extract import boxed
from evalkit.scoring.livebench.grade import Grade, truth_of
from evalkit.scoring.worker import run_limited

SECONDS: Final = 20.0
"""Processor time for one comparison; a formula that needs more has no verdict."""

_EQUIVALENT: Final = "evalkit.scoring.livebench.latex:equivalent"
_LONGEST_FORMULA: Final = 2_000
_CONSTANT: Final = re.compile(r"\+ ?[Cc]")
_FRACTIONS: Final = re.compile(r"\\[dt]frac")
_SIZES: Final = re.compile(r"\\(?:left|right|bigl|bigr|Bigl|Bigr)|\\[,;]|\n")
_WRAPPED: Final = tuple(re.compile(rf"\\{name}\{{([^}}]*)\}}") for name in ("text", "textbf", "overline"))
_BOX: Final = re.compile(r"\\boxed\{(.*)\}")
_SHORT_FRACTION: Final = re.compile(r"frac([^{])(.)")
_SHORT_ROOT: Final = re.compile(r"sqrt([^{\[])")
_OR: Final = "\\quad \\text{or} \\quad"


def grade(doc: Mapping[str, Any], text: str) -> Grade:
    r"""Right if the formula in the last box, else in the last `$...$`, equals the truth; else if the text ends with it.

    Raises:
        DataError: the truth is missing.
        GradeTimeout: the comparison does not come to an end.
    """
    truth = _plain_truth(doc)
    answer, anchored = read_formula(text)
    if answer is None:
        value = _plain_answer(text).removesuffix(".").endswith(truth)
    else:
        value = len(answer) <= _LONGEST_FORMULA and bool(run_limited(_EQUIVALENT, (truth, answer), SECONDS))
    return Grade(
        value=float(value),
        answer=answer or (truth if value else None),
        anchored=anchored,
        reason="" if value or answer else "no_answer",
    )


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
    text = _FRACTIONS.sub(r"\\frac", _CONSTANT.sub("", text))
    return _SIZES.sub("", text).replace("\\cdot", "*")


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
    formula = _BOX.sub(r"\1", formula)
    formula = _SHORT_FRACTION.sub(r"frac{\1}{\2}", formula)
    formula = _SHORT_ROOT.sub(r"sqrt{\1}", formula).replace("$", "")
    digits = formula.replace(",", "")
    return digits if digits.isdigit() else formula
