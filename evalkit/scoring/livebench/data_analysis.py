"""LiveBench data analysis: naming a column (cta), joining tables (tablejoin), reformatting a table."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.scoring.answers.worker import run_limited
from evalkit.scoring.livebench.extract import Grade, between, boxed, name_of, truth_of, without_marks

_NOT_WORD: Final = re.compile(r"\W+")
_QUOTED_TEXT: Final = re.compile(r"\\text\{['\"]([^{}]{0,1000}?)['\"]\}")
_FENCES: Final = ("```python", "```json", "```")
_LONGEST_LITERAL: Final = 100_000
_MARKS: Final = ("<solution>", "</solution>")


def grade_cta(doc: Mapping[str, Any], text: str) -> Grade:
    """The class name, letters, digits and underscores only; an answer that merely ends with it counts as well.

    Raises:
        DataError: the truth has no such character.
    """
    raw = truth_of(doc)
    truth = _folded(raw)
    if not truth:
        raise DataError(f"{name_of(doc)} has a truth without letters or digits: {raw!r}.")
    content = boxed(text) if "\\boxed{" in text else None
    answer = text if content is None else without_marks(content, "\\text{", "}", "\\")
    # The strict reading wants whole words: "id" at the end of "the class is id", not of "grid".
    words, wanted = [_folded(word) for word in answer.split()], len(raw.split())
    return Grade(
        value=float(_folded(answer).endswith(truth)),
        answer=answer.strip() or None,
        anchored=content is not None,
        strict=float("".join(words[-wanted:]) == truth),
        reason="" if answer.strip() else "no_answer",
    )


def grade_tablejoin(doc: Mapping[str, Any], text: str) -> Grade:
    """F1 over the column mapping, rounded to two decimals; a wrong value counts both as spurious and as missing.

    Raises:
        DataError: the truth is not a mapping.
    """
    truth = _truth_mapping(doc)
    given = _mapping(text)
    hits = spurious = missing = 0
    for key, value in given.items():
        wanted = truth.get(key)
        if wanted and wanted == value:
            hits += 1
        else:
            spurious += 1
            missing += 1 if wanted else 0
    missing += sum(not given.get(key) for key in truth)
    score = 2 * hits / (2 * hits + spurious + missing) if given else 0.0
    return Grade(
        value=round(score * 100) / 100,
        answer=str(given) if given else None,
        anchored=all(mark in text for mark in _MARKS) or text.count("```") > 1,
        reason="" if given else "no_answer",
        metrics={"right": hits, "spurious": spurious, "missing": missing},
    )


def _folded(text: str) -> str:
    return _NOT_WORD.sub("", text.lower())


def _truth_mapping(doc: Mapping[str, Any]) -> Mapping[Any, Any]:
    raw = doc.get("ground_truth")
    if isinstance(raw, dict) and raw:
        return raw
    text = truth_of(doc)
    try:
        truth = json.loads(text)
    except ValueError:
        truth = _literal(text)
    if not isinstance(truth, dict) or not truth:
        raise DataError(f"{name_of(doc)} has a truth that is not a mapping of column names.")
    return truth


def _mapping(text: str) -> dict[Any, Any]:
    """The mapping that the answer gives, without null values; empty where none can be read."""
    if bodies := between(text, *_MARKS):
        return _mapping(bodies[-1].strip())
    found = _literal(text)
    if found is None:
        found = _literal(_marked_literal(text).replace("null", "None"))
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if value is not None}


def _marked_literal(text: str) -> str:
    joined = text.replace("\n", "")
    for fence in _FENCES:
        if bodies := between(joined, fence, "```"):
            return bodies[-1]
    content = boxed(joined)
    return text if content is None else _QUOTED_TEXT.sub(r"'\1'", content).replace("\\", "")


def _literal(text: str) -> object:
    """The Python literal that the text is, None where it is none; data only, nothing is called or looked up."""
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


# ----------------------------------------------------------------
# Reformatting a table: the answer, read as the target format, holds the same table as the truth


SECONDS: Final = 30.0
"""Processor time for reading and comparing two tables."""

FORMATS: Final = ("json", "jsonl", "html", "csv", "tsv", "markdown")

_SAME_TABLE: Final = "evalkit.scoring.livebench.tables:same_table"
_SENTENCE: Final = re.compile(r"Please convert the Input Table from (\w+) format to (\w+) format")
_TARGET_LINE: Final = re.compile(r"^.*Target Format: ?(.*)$", re.MULTILINE)
_INTRODUCTION: Final = re.compile(r"^\s*(?:Here|Input)\b.*?\b(?:format|table)\s*[:)]\s*", re.IGNORECASE)
_FIRST_FENCE: Final = re.compile(r"^```.*\n")


def grade_v1(doc: Mapping[str, Any], text: str) -> Grade:
    """Questions released before 2025-04-25: the prompt names the formats in a sentence."""
    found = _SENTENCE.search(_prompt(doc))
    return _grade(doc, text, found.group(2) if found else "", table_first=False)


def grade_v2(doc: Mapping[str, Any], text: str) -> Grade:
    """Questions released since 2025-04-25: the prompt names the formats on lines of their own."""
    found = _TARGET_LINE.findall(_prompt(doc))
    return _grade(doc, text, found[-1] if found else "", table_first=True)


def _prompt(doc: Mapping[str, Any]) -> str:
    prompt = doc.get("prompt")
    return prompt if isinstance(prompt, str) else ""


def _grade(doc: Mapping[str, Any], text: str, target: str, *, table_first: bool) -> Grade:
    wanted = target.strip().lower()
    if wanted not in FORMATS:
        raise DataError(f"{name_of(doc)}: its prompt names no target format among {', '.join(FORMATS)}.")
    truth, answer = truth_of(doc), clean_answer(text)
    verdict = run_limited(_SAME_TABLE, (wanted, truth, answer, table_first), SECONDS) if answer else "unreadable"
    if verdict == "truth unreadable":
        raise DataError(f"{name_of(doc)}: its truth cannot be read as {wanted}.")
    return Grade(
        value=float(verdict == "same"),
        answer=answer or None,
        anchored="</solution>" in text or text.count("```") > 1,
        reason="no_answer" if verdict == "unreadable" else "",
    )


def clean_answer(text: str) -> str:
    """The table in the answer: the last solution block or fence, else all but the fence marks and introduction."""
    while bodies := between(text, "<solution>", "</solution>"):
        text = bodies[-1].strip()
    for fence in ("```json\n", "```html\n"):
        if bodies := between(text, fence, "```"):
            return _INTRODUCTION.sub("", bodies[-1].strip()).strip()
    text = _FIRST_FENCE.sub("", text).replace("&amp;", "&").replace("```", "").strip()
    return _INTRODUCTION.sub("", text).strip()
