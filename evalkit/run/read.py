"""Reads a stored run into the columns that a comparison takes; needs no data set, no lm-eval and no network."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.compare.inputs import ItemText, ReplyText, Samples, Side, SuiteFacts, SuiteSide
from evalkit.errors import RunError
from evalkit.model import RunIdentity
from evalkit.run import journal, manifest, store

_NAN = math.nan


@dataclass(slots=True)
class _Columns:
    """The columns of one suite while they are read."""

    item: list[str] = field(default_factory=list)
    repeat: array[int] = field(default_factory=lambda: array("i"))
    value: array[float] = field(default_factory=lambda: array("d"))
    status: list[str] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    answer: list[str | None] = field(default_factory=list)
    failure: list[str] = field(default_factory=list)
    digest: list[str] = field(default_factory=list)
    prompt: array[float] = field(default_factory=lambda: array("d"))
    completion: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    lenient: array[float] = field(default_factory=lambda: array("d"))
    cut: list[bool] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        """One row of a scores file."""
        get = row.get
        self.item.append(row["i"])
        self.repeat.append(row["r"])
        self.value.append(_number(row["v"]))
        self.status.append(row["st"])
        self.reason.append(get("why", ""))
        self.answer.append(get("a"))
        self.failure.append(get("f", ""))
        self.digest.append(get("h", ""))
        self.prompt.append(_number(get("p")))
        self.completion.append(_number(get("c")))
        self.seconds.append(_number(get("sec")))
        self.lenient.append(_number(get("l")))
        self.cut.append(get("cut", False))

    def samples(self, about: Mapping[str, Mapping[str, Any]]) -> Samples:
        """The columns, with what the items file says of each item."""
        known = [about[item] for item in self.item]
        return Samples(
            item=tuple(self.item),
            repeat=np.asarray(self.repeat, dtype=np.int32),
            value=np.asarray(self.value, dtype=np.float64),
            status=tuple(self.status),
            reason=tuple(self.reason),
            answer=tuple(self.answer),
            failure=tuple(self.failure),
            text_digest=tuple(self.digest),
            prompt_tokens=np.asarray(self.prompt, dtype=np.float64),
            completion_tokens=np.asarray(self.completion, dtype=np.float64),
            seconds=np.asarray(self.seconds, dtype=np.float64),
            lenient=np.asarray(self.lenient, dtype=np.float64),
            truncated=np.asarray(self.cut, dtype=np.bool_),
            stratum=tuple(one["stratum"] for one in known),
            cluster=tuple(one["cluster"] for one in known),
            weight=np.asarray([one["weight"] for one in known], dtype=np.float64),
        )


def _number(value: Any) -> float:
    return _NAN if value is None else float(value)


def is_run(path: Path) -> bool:
    """True where a folder is a run of evalkit's."""
    return (path / manifest.NAME).is_file()


def read_run(folder: Path) -> Side:
    """The side that a run folder holds, as of its last session.

    Raises:
        RunError: where the folder is no run, was never scored, or is damaged.
    """
    about = manifest.latest(folder)
    scores = store.scores_path(folder, about["plan"])
    if not scores.exists():
        raise RunError(f"{folder}: has no scores yet: run `evalkit score {folder}`")
    items: dict[str, dict[str, dict[str, Any]]] = {}
    for row in store.read_lines(store.items_path(folder, about["plan"])):
        row["stratum"] = tuple(row["stratum"])
        items.setdefault(row["s"], {})[row["i"]] = row
    columns: dict[str, _Columns] = {}
    rows = store.read_lines(scores)
    next(rows, None)
    for row in rows:
        (columns.get(row["s"]) or columns.setdefault(row["s"], _Columns())).add(row)
    texts = _Texts(folder, about)
    suites = {
        block["suite"]: SuiteSide(_facts(block), columns[block["suite"]].samples(items[block["suite"]]))
        for block in about["suites"]
        if block["suite"] in columns
    }
    return Side(_identity(folder, about), about["config"], suites, texts.reply, texts.item)


def _identity(folder: Path, about: Mapping[str, Any]) -> RunIdentity:
    return RunIdentity(
        name=about["name"],
        run_id=about["run_id"],
        model=about["model"],
        path=str(folder),
        started=about["started"],
        versions=about["versions"],
        endpoint=about["endpoint"],
        sampling=about["suites"][0]["parameters"] if about["suites"] else {},
    )


def _facts(block: Mapping[str, Any]) -> SuiteFacts:
    parameters = {f"sampling.{key}": str(value) for key, value in block["parameters"].items() if key != "model"}
    notes = list(block["notes"])
    if block["items"] < (block["rows"] or block["items_in_data"]):
        notes.append(f"{block['items']} of {block['rows'] or block['items_in_data']} items")
    return SuiteFacts(
        suite=block["suite"],
        label=block["label"],
        margin=block["margin_pt"] / 100,
        headline=block["headline"],
        chance=block["chance"],
        gated=block["gated"],
        licence=block["licence"],
        greedy=block["parameters"].get("temperature") == 0,
        repeats=block["repeats"],
        notes=tuple(notes),
        digests={**block["digests"], **parameters},
    )


class _Texts:
    """Fetches stored texts when a flip is shown; the journal is indexed at the first call."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._about = about

    def reply(self, suite: str, item: str, repeat: int) -> ReplyText | None:
        """The stored reply of one sample."""
        place = self._places().get((suite, item, repeat))
        if place is None:
            return None
        record = journal.read_at(place)
        reply = journal.stored_reply(record)
        return ReplyText(reply.content, reply.reasoning, _logprobs(record["body"]))

    def item(self, suite: str, item: str) -> ItemText | None:
        """Question and target of one item."""
        return self._documents().get((suite, item))

    @cache  # noqa: B019 - one object a run, for the life of the process
    def _places(self) -> dict[tuple[str, str, int], journal.Place]:
        wanted = {
            (row["s"], row["i"], row["r"]): row["k"]
            for row in store.read_lines(store.scores_path(self._folder, self._about["plan"]))
            if "k" in row
        }
        places, _failures = journal.index(self._folder)
        return {sample: places[key] for sample, key in wanted.items() if key in places}

    @cache  # noqa: B019 - one object a run, for the life of the process
    def _documents(self) -> dict[tuple[str, str], ItemText]:
        rows = store.read_lines(store.docs_path(self._folder, self._about["plan"]))
        return {(row["s"], row["i"]): ItemText(row["question"], row["target"]) for row in rows}


def _logprobs(body: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    choices = body.get("choices") or [{}]
    content = ((choices[0] or {}).get("logprobs") or {}).get("content") or []
    return tuple(
        (str(entry.get("token")), float(entry["logprob"])) for entry in content if entry.get("logprob") is not None
    )
