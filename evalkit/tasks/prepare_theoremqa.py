"""TheoremQA's rows as documents; which of them are asked (pictures or not) is the loader's choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.tasks.pictures import Picture
from evalkit.tasks.prepare import Rows, clean, content_id, each, number_repeats

FORMS = {
    "integer": "an integer",
    "float": "a decimal number without a unit",
    "bool": "True or False",
    "option": "the letter of the option in brackets, for example (b)",
    "list of integer": "a list of integers in brackets, for example [1, 2]",
    "list of float": "a list of decimal numbers in brackets, for example [0.5, 2.25]",
}


def theoremqa(rows: Rows, _options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """TheoremQA: `id, question, answer (text), answer_type, type, form, has_picture, images`."""

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        question = clean(row.get("Question"))
        kind = clean(row.get("Answer_type"))
        if not question or kind not in FORMS:
            raise ValueError(f"has no question, or the answer type {kind!r}")
        answer = row.get("Answer")
        if answer is None or answer == "":
            raise ValueError("has no answer")
        picture = row.get("Picture")
        return {
            "id": content_id(question, str(answer)),
            "question": question,
            "answer": str(answer),
            "answer_type": kind,
            "type": kind,
            "form": FORMS[kind],
            "has_picture": bool(picture),
            "images": ["Picture"] if isinstance(picture, str | Picture | Mapping) and picture else [],
        }

    return number_repeats(each(one, rows))
