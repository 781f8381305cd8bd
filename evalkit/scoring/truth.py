"""What a scorer may demand of a document: an absent or empty truth is an error of the data, never a match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.errors import DataError

_NAMES = ("id", "ID", "item_id", "question_id", "Record ID", "index", "idx")


def required(doc: Mapping[str, Any], key: str) -> Any:
    """The value of `key` in `doc`.

    Raises:
        DataError: it is absent, None, blank or an empty collection.
    """
    value = doc.get(key)
    if (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (hasattr(value, "__len__") and not len(value))
    ):
        raise DataError(f"{name_of(doc)} has no {key!r}: check the data set, for an empty truth would match anything")
    return value


def name_of(doc: Mapping[str, Any]) -> str:
    """How an error message names the document: its id where it has one, else the start of its question."""
    for key in _NAMES:
        if doc.get(key) not in (None, ""):
            return f"item {str(doc[key])[:80]!r}"
    question = str(doc.get("question", doc.get("problem", "")))[:60]
    return f"the item that begins {question!r}" if question else "an item without an id"
