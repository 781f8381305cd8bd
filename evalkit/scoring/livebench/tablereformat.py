"""Reformatting a table: the answer, read as the target format, holds the same table as the truth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.scoring.livebench.extract import between
from evalkit.scoring.livebench.grade import Grade, name_of, truth_of
from evalkit.scoring.worker import run_limited

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
