"""Run folders for tests: tables, a journal and a manifest, as `evalkit run` leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from evalkit.model import Prompt, Reply, Request, Usage
from evalkit.run import journal, manifest, tables
from evalkit.run.items import ITEMS, ItemRow, write_items
from evalkit.run.manifest import Session, SuiteRecord
from evalkit.run.parquet import Table
from evalkit.run.records import FailureRecord, ReplyRecord, packed, read_records
from evalkit.run.tables import Graded

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
    """Adds a session to a folder's manifest; its suites have the items that `write_tables` wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = items_of(folder)
    records = [replace(one, items_digest=listed.get(one.suite, "")) for one in suites or [suite_record()]]
    said: dict[str, Any] = {
        "name": "ref", "plan": plan, "started": "2026-01-01T00:00:00", "model": "m", "served": {"build": "b7"},
        "versions": {}, "endpoint": {"server": "vLLM"}, "config": {"name": "ref"}, "suites": records, **changed,
    }  # fmt: skip
    session = Session(**said)
    manifest.append(folder, session)
    return session


def items_of(folder: Path) -> dict[str, str]:
    """The digest of the items of each suite that a folder has."""
    found = sorted(folder.glob("items-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    return {Table(path, ITEMS).values("suite")[0]: path.stem.removeprefix("items-") for path in found}


def write_tables(
    folder: Path,
    rows: Iterable[Graded],
    listed: Iterable[ItemRow] | None = None,
    scorers: Mapping[str, str] | None = None,
) -> Path:
    """The tables of these rows, and the path of the scores; where no items are `listed`, all that the rows name.

    They were made from the journals that are in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if listed is None:
        rows = list(rows)
        named = dict.fromkeys((row.suite, row.item) for row in rows)
        listed = [
            ItemRow(suite, item, stratum=("x",), question=f"What is {item}?", target="A") for suite, item in named
        ]
    by_suite: dict[str, list[ItemRow]] = {}
    for item in listed:
        by_suite.setdefault(item.suite, []).append(item)
    for old in folder.glob("items-*.parquet"):
        old.unlink()
    for items in by_suite.values():
        write_items(folder, items)
    path = tables.scores_path(folder, PLAN)
    scorers = dict.fromkeys(by_suite, "") if scorers is None else scorers
    tables.write_scores(path, rows, {"plan": PLAN, "scorers": scorers, "journals": journal.extents(folder)})
    return path


def write_reply(file: Path, text: str, key: str = "1" * 32, item: str = "a") -> int:
    """Appends a reply with this text to a journal; the byte at which it begins."""
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    raw = orjson.dumps({"choices": [choice], "usage": {}})
    reply = Reply(text, "", "stop", Usage(), None, 1.0, raw=raw)
    request = Request(key=key, suite="quiz", item=item, repeat=0, prompt=Prompt("d"), parameters={})
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        offset = out.tell()
        out.write(packed(request, reply, 1.0))
    return offset


def journal_records(folder: Path) -> list[dict[str, Any]]:
    """What the journals of a run folder hold, a dictionary a record, with its kind under `record`."""
    kinds = {ReplyRecord: "reply", FailureRecord: "failure"}
    found = [record for file in journal.files(folder) for _offset, record in read_records(file)]
    return [{"record": kinds[type(record)], **asdict(record)} for record in found]
