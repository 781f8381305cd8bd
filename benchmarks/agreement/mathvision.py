"""MathVision: published replies with the answer that the official script extracted and its verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agreement.report import UNCLASSED, Compared, json_lines, outputs
from evalkit.model import Score
from evalkit.scoring import mathvision
from evalkit.scoring.answers.reply import boxes, final_text_of, for_maths

LETTERS = "ABCDE"


def replies(folder: Path) -> Iterator[Compared]:
    """`test.jsonl` (the questions) and `out_MODEL.jsonl`: id, response, model_answer, correct."""
    documents = {doc["id"]: doc for doc in mathvision.mathvision(json_lines(folder / "test.jsonl"), {})}
    for model, row in outputs(folder, "out_*.jsonl"):
        item, reply, extracted = str(row["id"]), str(row["response"]), str(row["model_answer"])
        doc, official, cls = documents[item], float(bool(row["correct"])), None
        score = mathvision.score(doc, final_text_of(reply))
        if score.value != official:
            cls = _officially_right(doc, extracted) if official else _right_here(doc, reply, score)
        yield Compared("MathVision", model, item, official, extracted, score, cls)


def _officially_right(doc: dict[str, Any], extracted: str) -> str:
    """Why the official rule calls right what is wrong here."""
    truth = doc["choices"][LETTERS.index(doc["answer"])] if doc["choices"] else doc["answer"]
    if extracted.upper() == truth.upper() and extracted.upper() in LETTERS:
        return "label_or_text"
    given, wanted = _worth(extracted), _worth(truth)
    close = given is not None and wanted is not None and abs(given - wanted) <= 0.01
    return "two_decimals" if close else UNCLASSED


def _right_here(doc: dict[str, Any], reply: str, score: Score) -> str:
    """Why the official rule calls wrong what is right here; the letters and digits must bear it out."""
    boxed = boxes(for_maths(reply))
    answer = boxed[-1].content if boxed else (score.answer or "") if doc["type"] == "open" else reply
    truth = doc["choices"][LETTERS.index(doc["answer"])] if doc["choices"] else doc["answer"]
    bare = re.sub(r"\\(?:text|mathrm|textbf|bf)\b|[{}\s~]", "", answer)
    if boxed and doc["choices"] and re.match(rf"\\?[(\[]?{doc['answer']}[)\].:]?(?![a-z])", bare):
        return "letter_and_value"
    if (
        doc["choices"]
        and re.search(rf"(?<![A-Za-z]){doc['answer']}(?![A-Za-z])", reply)
        and score.answer == doc["answer"]
    ):
        return "bracket_left_on"
    if _squashed(answer) == _squashed(truth):
        return "equal_spelling" if not _MARKS.search(answer + truth) else "unit_left_on"
    given, wanted = _first_number(answer), _first_number(truth)
    return "unit_left_on" if given is not None and given == wanted else UNCLASSED


_MARKS = re.compile(r"[°%$\\]|(?<=\d)\s?[A-Za-z]|\^")


def _squashed(text: str) -> str:
    """Letters, digits and operators alone, without commands, units and degree signs."""
    text = re.sub(r"\\(?:mathrm|text|operatorname|textbf)\s*", "", text)
    text = re.sub(r"\\[dt]?frac\s*\{?([^{}]+)\}?\s*\{([^{}]+)\}", r"\1/\2", text).replace("\\pi", "π")
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|°|\\degree", "", text)
    text = re.sub(
        r"(?<=\d)[\s~{}]*(?:cm|mm|dm|km|m|g|kg|degrees?|square units?|units?)\b[\s~{}^\d]*",
        "",
        text,
        flags=re.IGNORECASE,
    )
    return re.sub(r"[^\w+*/=<>().,:π√-]|_", "", text).rstrip(".").lower()


def _first_number(text: str) -> str | None:
    found = re.search(r"-?\d+(?:\.\d+)?", text.replace(",", ""))
    return found[0].rstrip("0").rstrip(".") if found and "." in found[0] else found[0] if found else None


def _worth(text: str) -> float | None:
    """The value of an expression as a float, by math-verify's reading."""
    import math_verify
    import sympy

    for value in math_verify.parse(rf"\boxed{{{text.strip('$')}}}", parsing_timeout=5):
        try:
            return float(sympy.N(value))
        except (TypeError, ValueError, AttributeError):
            continue
    return None
