"""LiveBench's rows as documents: the questions of one task that are active in one release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import DataError
from evalkit.scoring.livebench.rows import active_in, normalise

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
