"""From a raw LiveBench row to the document that the graders read, and which rows belong to a release.

Raw rows come in two forms: as on the Hub (dates as timestamps) and as JSON lines (dates as text).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from evalkit.errors import DataError, SuiteError

RELEASES: Final = ("2024-06-24", "2024-07-26", "2024-08-31", "2024-11-25")
"""The public releases; of later ones only parts are."""

CATEGORIES: Final = ("coding", "data_analysis", "instruction_following", "language", "math", "reasoning")

_KEPT: Final = ("question_id", "category", "task")
_OPTIONAL: Final = (
    "subtask",
    "ground_truth",
    "instruction_id_list",
    "task_prompt",
    "question_title",
    "partial_solution",
    "public_test_cases",
    "private_test_cases",
)


def normalise(row: Mapping[str, Any]) -> dict[str, Any]:
    """The grading document of one raw row.

    Keys: question_id, category, task, prompt (the one turn), release_date and removal_date (ISO dates; "" where
    active), and, where the row has them, subtask, ground_truth, instruction_id_list, kwargs (nulls dropped),
    task_prompt, question_title, partial_solution, public_test_cases, private_test_cases, func_name.
    The column `release_date` of the source, an article's date, is not taken over.

    Raises:
        DataError: a column that every row must have is missing, or a date is none.
    """
    if missing := [name for name in (*_KEPT, "turns", "livebench_release_date") if not row.get(name)]:
        raise DataError(f"LiveBench row {row.get('question_id', '?')} has no {missing[0]}.")
    doc = {name: row[name] for name in _KEPT}
    doc["prompt"] = row["turns"][0]
    doc["release_date"] = _iso_date(row, "livebench_release_date")
    doc["removal_date"] = _iso_date(row, "livebench_removal_date")
    doc |= {name: row[name] for name in _OPTIONAL if row.get(name) not in (None, "")}
    if row.get("kwargs") is not None:
        doc["kwargs"] = [
            {name: value for name, value in (kwargs or {}).items() if value is not None} for kwargs in row["kwargs"]
        ]
    if function := _function_name(row):
        doc["func_name"] = function
    return doc


def active_in(row: Mapping[str, Any], release: str) -> bool:
    """True where a raw row belongs to a release: published by then and not yet removed.

    A removal date after the release takes no row out of it: web_of_lies_v2 carries one and belongs to 2024-11-25.

    Raises:
        SuiteError: the release is not one of the public ones.
    """
    if release not in RELEASES:
        raise SuiteError(f"LiveBench has no public release {release!r}: choose one of {', '.join(RELEASES)}.")
    removed = _iso_date(row, "livebench_removal_date")
    return _iso_date(row, "livebench_release_date") <= release and (removed == "" or removed > release)


def select(rows: Iterable[Mapping[str, Any]], release: str) -> list[dict[str, Any]]:
    """The normalised documents of the rows that are active in a release, in the rows' order."""
    return [normalise(row) for row in rows if active_in(row, release)]


def _iso_date(row: Mapping[str, Any], column: str) -> str:
    """The date as "YYYY-MM-DD", "" where the column is empty."""
    value = row.get(column)
    if value is None or value == "":
        return ""
    if isinstance(value, dt.date):  # datetime and pandas' Timestamp are dates
        return value.strftime("%Y-%m-%d")
    if isinstance(value, int | float):  # seconds since 1970, or milliseconds as pandas writes them
        seconds = value / 1000 if value > 1e11 else value
        return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%d")
    try:
        return dt.datetime.fromisoformat(str(value).strip()).strftime("%Y-%m-%d")
    except ValueError:
        raise DataError(f"LiveBench row {row.get('question_id', '?')}: {column} {value!r} is not a date.") from None


def _function_name(row: Mapping[str, Any]) -> str | None:
    """The function that a coding question asks for, None where it asks for a program."""
    original = row.get("original_json")
    try:
        original = json.loads(original) if isinstance(original, str) else original
        metadata = original.get("metadata") if isinstance(original, Mapping) else None
        metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
    except ValueError as error:
        raise DataError(f"LiveBench row {row.get('question_id', '?')}: original_json is not JSON ({error}).") from None
    name = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) and name else None


# ----------------------------------------------------------------
# LiveBench's rows as documents: the questions of one task that are active in one release


DEFAULT_RELEASE = "2024-11-25"


def livebench(rows: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The documents of `options["task"]` in `options["release"]`, with `id`, `target` and the permission to run code.

    Raises:
        DataError: where the release has no question of the task.
    """
    release = str(options.get("release") or DEFAULT_RELEASE)
    documents = []
    for row in rows:
        if row.get("task") != options["task"] or not active_in(row, release):
            continue
        document = normalise(row)
        document["id"] = f"{document['task']}/{document['question_id']}"
        document["target"] = str(document.get("ground_truth", ""))
        document["allow_code_execution"] = bool(options.get("allow_code_execution"))
        documents.append(document)
    if not documents:
        raise DataError(f"LiveBench {options['task']}: no question is active in release {release}")
    return documents
