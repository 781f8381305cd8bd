r"""AIME and MATH-500: their rows as documents, and the scorer of AIME's integer answers (MATH-500's is `expression`).

An integer is read from the last `\boxed{}`, else from a marker and a number; it is never just the last number.
Numbers are compared digit by digit (a model may write a million of them); only a box that holds a formula goes to
math-verify.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score
from evalkit.resources import Patterns
from evalkit.scoring.answers import reply
from evalkit.scoring.answers.expression import LONGEST, by_value
from evalkit.scoring.answers.short import number_given
from evalkit.scoring.registry import name_of, required
from evalkit.scoring.rows import Document, Row, Settings, by_row, clean, content_id, field, text_of

VERSION: Final = 1

# TeX commands whose backslash a careless JSON or Python string turned into a control character.
_EATEN: Final = {"\x07": r"\a", "\x08": r"\b", "\t": r"\t", "\x0b": r"\v", "\x0c": r"\f", "\r": r"\r"}

_RE: Final = Patterns("aime")
_UNIT_LETTERS: Final = frozenset("mshgLlNJWVAKCF")


@by_row
def aime(row: Row, settings: Settings) -> Document:
    """AIME: `id, problem, answer (int 0 to 999), year, part`; eaten TeX backslashes are put back."""
    year = int(settings["year"])
    problem = restore_tex(text_of(row, "problem", "Problem", "question").strip())
    answer = int(str(field(row, "answer", "Answer")))
    if not 0 <= answer <= 999:
        raise ValueError(f"has the answer {answer}, which is not from 0 to 999")
    given = clean(row.get("id", row.get("ID", "")))
    matched = re.fullmatch(r"(\d{4})-(II?)-(\d+)", given)
    part = matched.group(2) if matched else ""
    identity = given if matched else f"{year}-{given or content_id(problem)}"
    return {"id": identity, "problem": problem, "answer": answer, "year": year, "part": part}


def restore_tex(text: str) -> str:
    r"""Text in which control characters before a letter are TeX commands again ("\x0crac" is "\frac").

    Raises `ValueError`: where a control character other than line feed remains.
    """
    repaired = re.sub(r"[\x07\x08\t\x0b\x0c\r](?=[A-Za-z])", lambda match: _EATEN[match.group()], text)
    if bad := re.search(r"[\x00-\x09\x0b-\x1f]", repaired):
        raise ValueError(f"holds the control character U+{ord(bad.group()):04X}")
    return repaired


@by_row
def math_500(row: Row, _settings: Settings) -> Document:
    """MATH-500: `id, problem, answer (LaTeX), subject, level`."""
    problem = text_of(row, "problem").strip()
    return {
        "id": clean(row.get("unique_id")) or content_id(problem),
        "problem": problem,
        "answer": text_of(row, "answer").strip(),
        "subject": clean(row.get("subject")) or "unknown",
        "level": str(row.get("level", "")),
    }


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply whose answer is an integer: 1 where it is `doc["answer"]` (an int, or a string such as "033").

    A box that holds a formula is compared by value (see `evalkit.scoring.answers.expression`) and may have no verdict.
    `lenient` also takes the last number of a reply that gives none as its answer (flag "lenient_only").

    Raises `DataError`: the document has no answer, or one that is no integer.
    """
    truth = _truth(doc)
    text = reply.for_maths(final.text)
    boxed = reply.filled_boxes(text, midway=final.midway)
    if boxed:
        return _score_box(boxed[-1], truth, final)
    answer = _marked(reply.without_markup(text), midway=final.midway)
    if answer is not None:
        return reply.scored(answer == truth, answer[:LONGEST], final)
    numbers = _RE.last_number.findall(text)
    flags = ("lenient_only",) if numbers else ()
    lenient = float(bool(numbers) and _canonical(numbers[-1]) == truth)
    return reply.without_answer(final, lenient=lenient, flags=flags)


def _truth(doc: Mapping[str, Any]) -> str:
    answer = required(doc, "answer")
    digits = None if isinstance(answer, bool) else _integer(str(answer))
    if digits is None:
        raise DataError(f"{name_of(doc)}: 'answer' must be an integer, not {answer!r:.80}")
    return digits


def _score_box(content: str, truth: str, final: FinalText) -> Score:
    plain = _RE.noise.sub("", reply.without_wrappers(content).replace("{,}", ",")).strip().rstrip(".").strip()
    plain = _RE.remark.sub("", plain)  # "33 (thirty-three)"
    if plain.count("=") == 1:
        plain = plain.partition("=")[2].strip()
    integer = _integer(plain)
    if integer is None and _RE.prose.search(plain) and (stated := number_given(plain)):
        integer = _integer(plain[stated.start : stated.end])
    decimal = re.fullmatch(r"[+-]?\d*\.\d+", plain)
    if (
        integer is None
        and not (len(plain) > LONGEST or decimal or _RE.several.search(plain))
        and re.search(r"\d", plain)
    ):
        return by_value(truth, plain, final)
    answer = (plain if integer is None else integer)[:LONGEST]
    return reply.scored(answer == truth, answer, final)


def _integer(text: str) -> str | None:
    """The digits of the integer that all of `text` is, a unit aside; None where it is something else."""
    found = _RE.number.fullmatch(text.strip())
    if found is None or (found["decimals"] or "").strip(".0"):
        return None
    if found["unit"] and not _is_unit(found["unit"], spaced=bool(found["space"])):
        return None
    return _canonical(found["digits"])


def _is_unit(text: str, *, spaced: bool) -> bool:
    r"""Whether `text` after a number is a unit and not a factor: "33 cm" is 33, "33x" and "33 thousand" are not.

    A font command leaves a space behind, so `33\text{m}` has one and `33m` has none.
    """
    if len(text) > 40 or not _RE.unit.fullmatch(text) or _RE.no_unit.search(text):
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
    found, last = None, 0
    for place in reply.places(text):
        if place.firm:
            found = _number_at(text, place.start, said=place.said, midway=midway) or found
            last = place.start
    for start in reply.corrections(text, last) if found else ():
        found = _number_at(text, start, said=False, midway=midway) or found
    return found


def _number_at(text: str, start: int, *, said: bool, midway: bool) -> str | None:
    """The number that an answer at `start` is: an integer's digits, or a decimal as it stands."""
    number = _RE.marked.match(text, start)
    if number is None or not (said or _RE.alone.match(text, number.end())) or (midway and number.end() == len(text)):
        return None
    return _integer(re.sub(r"[{}\\!]", "", number["number"])) or number["number"]
