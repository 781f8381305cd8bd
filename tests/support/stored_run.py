"""Run folders for tests: tables, documents, a journal and a manifest, as `evalkit run` leaves them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.run import manifest, tables
from evalkit.run.manifest import Session, SuiteRecord
from evalkit.run.tables import Document, Graded, ItemRow

PLAN = "a" * 64


def suite_record(suite: str = "quiz", **changed: Any) -> SuiteRecord:
    """What a session says of a suite of five items."""
    said: dict[str, Any] = {
        "suite": suite, "label": suite.title(), "margin_pt": 1.5, "chance": 0.25, "licence": "none", "repeats": 1,
        "items": 5, "items_in_data": 5, "parameters": {"model": "m", "temperature": 0.0, "max_tokens": 64},
        "digests": {"data": "d", "prompts": "p"}, **changed,
    }  # fmt: skip
    return SuiteRecord(**said)


def add_session(folder: Path, plan: str = PLAN, suites: Sequence[SuiteRecord] | None = None, **changed: Any) -> Session:
    """Adds a session to a folder's manifest."""
    said: dict[str, Any] = {
        "name": "ref", "plan": plan, "started": "2026-01-01T00:00:00", "model": "m", "served": {"build": "b7"},
        "versions": {}, "endpoint": {"server": "vLLM"}, "config": {"name": "ref"}, "suites": suites or [suite_record()],
        **changed,
    }  # fmt: skip
    session = Session(**said)
    manifest.append(folder, session)
    return session


def write_tables(
    folder: Path,
    rows: Iterable[Graded],
    items: Iterable[ItemRow] | None = None,
    journals: Sequence[str] = ("journal.jsonl",),
) -> tuple[Path, Path]:
    """The tables of these rows; where no `items` are given, all that the rows name."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    named = dict.fromkeys((row.suite, row.item) for row in rows)
    listed = [ItemRow(suite, item, stratum=("x",)) for suite, item in named] if items is None else list(items)
    paths = tables.items_path(folder, PLAN), tables.scores_path(folder, PLAN)
    tables.write_items(paths[0], listed)
    tables.write_scores(paths[1], rows, {"journals": list(journals)})
    docs = (Document(item.suite, item.item, "A", f"What is {item.item}?", {}) for item in listed)
    tables.write_docs(tables.docs_path(folder, PLAN), docs)
    return paths


def reply_line(text: str, key: str = "1") -> str:
    """A journal's line of a reply with this text."""
    choice: Mapping[str, Any] = {"message": {"content": text}, "finish_reason": "stop"}
    record = {"record": "reply", "key": key, "seconds": 1.0, "body": {"choices": [choice], "usage": {}}}
    return json.dumps(record) + "\n"
