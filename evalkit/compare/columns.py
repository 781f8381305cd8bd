"""Fills the columns of a suite row by row: the one way in which samples of any origin become `Samples`."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evalkit.compare.inputs import NO_TEXT, ItemTable, Samples
from evalkit.compare.labels import LabelsBuilder
from evalkit.model import Status

_NAN = math.nan


def _floats() -> array[float]:
    return array("d")


@dataclass(slots=True)
class ItemsBuilder:
    """The items of one suite while they are read."""

    codes: dict[str, int] = field(default_factory=dict)
    stratum: list[tuple[str, ...]] = field(default_factory=list)
    cluster: list[str] = field(default_factory=list)
    weight: array[float] = field(default_factory=_floats)
    document: list[str] = field(default_factory=list)
    prompt: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends an item: "i" its name; "stratum", "cluster", "weight", "doc_hash", "prompt" where known.

        Raises:
            ValueError: where the name is taken.
        """
        if self.codes.setdefault(row["i"], len(self.stratum)) != len(self.stratum):
            raise ValueError(f"item {row['i']!r} is listed twice")
        self.stratum.append(tuple(row.get("stratum", ())))
        self.cluster.append(row.get("cluster", ""))
        self.weight.append(row.get("weight", 1.0))
        self.document.append(row.get("doc_hash", ""))
        self.prompt.append(row.get("prompt", ""))

    def table(self) -> ItemTable:
        """The finished table."""
        return ItemTable(
            name=tuple(self.codes),
            stratum=tuple(self.stratum),
            cluster=tuple(self.cluster),
            weight=np.asarray(self.weight, dtype=np.float64),
            document=tuple(self.document),
            prompt=tuple(self.prompt),
        )


@dataclass(slots=True)
class SamplesBuilder:
    """The samples of one suite while they are read; `items` must know an item before its samples come."""

    items: ItemsBuilder = field(default_factory=ItemsBuilder)
    item: array[int] = field(default_factory=lambda: array("i"))
    repeat: array[int] = field(default_factory=lambda: array("i"))
    value: array[float] = field(default_factory=_floats)
    status: LabelsBuilder = field(default_factory=LabelsBuilder)
    reason: LabelsBuilder = field(default_factory=LabelsBuilder)
    answer: LabelsBuilder = field(default_factory=LabelsBuilder)
    failure: LabelsBuilder = field(default_factory=LabelsBuilder)
    text: array[int] = field(default_factory=lambda: array("Q"))
    prompt: array[float] = field(default_factory=_floats)
    completion: array[float] = field(default_factory=_floats)
    characters: array[float] = field(default_factory=_floats)
    seconds: array[float] = field(default_factory=_floats)
    lenient: array[float] = field(default_factory=_floats)
    cut: array[int] = field(default_factory=lambda: array("b"))
    loops: array[int] = field(default_factory=lambda: array("b"))

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a sample: a row of a scores file (see `evalkit.run.store`); "i", "r", "v" and "st" must be there.

        Raises:
            KeyError: for an item that is not listed.
        """
        get = row.get
        status = row["st"]
        digest = get("h")
        self.item.append(self.items.codes[row["i"]])
        self.repeat.append(row["r"])
        self.value.append(_number(row["v"]))
        self.status.add(status)
        self.reason.add(get("why") or "")
        self.answer.add(get("a") or "")
        self.failure.add(get("f") or "")
        self.text.append(int(digest, 16) if digest else NO_TEXT)
        self.prompt.append(_number(get("p")))
        self.completion.append(_number(get("c")))
        self.characters.append(_number(get("n")))
        self.seconds.append(_number(get("sec")))
        self.lenient.append(_number(get("l")))
        self.cut.append(bool(get("cut")) or status == Status.TRUNCATED)
        self.loops.append(bool(get("loop")))

    def samples(self) -> Samples:
        """The finished columns."""
        return Samples(
            items=self.items.table(),
            item=np.asarray(self.item, dtype=np.int32),
            repeat=np.asarray(self.repeat, dtype=np.int32),
            value=np.asarray(self.value, dtype=np.float64),
            status=self.status.labels(),
            reason=self.reason.labels(),
            answer=self.answer.labels(),
            failure=self.failure.labels(),
            text=np.asarray(self.text, dtype=np.uint64),
            prompt_tokens=np.asarray(self.prompt, dtype=np.float64),
            completion_tokens=np.asarray(self.completion, dtype=np.float64),
            characters=np.asarray(self.characters, dtype=np.float64),
            seconds=np.asarray(self.seconds, dtype=np.float64),
            lenient=np.asarray(self.lenient, dtype=np.float64),
            truncated=np.asarray(self.cut, dtype=np.bool_),
            loops=np.asarray(self.loops, dtype=np.bool_),
        )


def _number(value: Any) -> float:
    return _NAN if value is None else float(value)
