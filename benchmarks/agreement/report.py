"""What an agreement run finds: counts per file, every disagreement with its class, and the page made from them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import orjson

from evalkit.model import Score

UNCLASSED = "unclassed"
TABLES: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("classes.toml").read_text(encoding="utf-8"))
CLASSES = TABLES["multimodal"]

_ROW = "| {} | {} | {} | {:g} | {:g} | {} | {} | {} | {} |"


def making(item: str) -> bool:
    """Whether the rules of extraction may be made on an item: half of them, told by a hash of the id."""
    return sha256(item.encode()).digest()[0] % 2 == 0


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One item on which the two differ: in the verdict, or (`gain` 0) only in the answer read."""

    item: str
    cls: str
    official: float
    ours: float | None
    official_answer: str
    our_answer: str | None

    @property
    def gain(self) -> float:
        """How much more it is worth here."""
        return (self.ours or 0) - self.official

    @property
    def same_verdict(self) -> bool:
        """True where both give the same value and only the answers read differ."""
        return self.official == self.ours

    @property
    def shown(self) -> str:
        """The item, in brackets where both give the same value."""
        return f"({self.item})" if self.same_verdict else self.item


@dataclass(slots=True)
class Agreement:
    """One file of outputs under both scorers, item by item."""

    data_set: str
    file: str
    items: int = 0
    official_right: float = 0.0
    ours_right: float = 0.0
    made_on: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)

    def add(self, item: str, official: float, official_answer: str, score: Score, cls: str | None) -> None:
        """Count one item; `cls` is None where both agree."""
        self.items += 1
        self.made_on += making(item)
        self.official_right += official
        self.ours_right += score.value or 0.0
        if cls is not None:
            self.disagreements.append(Disagreement(item, cls, official, score.value, official_answer, score.answer))

    def by_class(self) -> dict[str, list[Disagreement]]:
        """The disagreements of each class, by its name."""
        names = sorted({found.cls for found in self.disagreements})
        return {name: [found for found in self.disagreements if found.cls == name] for name in names}

    @property
    def unclassed(self) -> tuple[Disagreement, ...]:
        """What no class explains: a defect here until shown otherwise."""
        return tuple(found for found in self.disagreements if found.cls not in CLASSES)

    @property
    def row(self) -> str:
        """The counts as a row of the table."""
        differ = [making(found.item) for found in self.disagreements if not found.same_verdict]
        halves = ((self.made_on, sum(differ)), (self.items - self.made_on, len(differ) - sum(differ)))
        same = [f"{1 - apart / items:.2%}" if items else "" for items, apart in halves]
        counts = (self.items, self.official_right, self.ours_right, *same, len(differ))
        return _ROW.format(self.data_set, self.file, *counts, len(self.unclassed))


def table(results: Iterable[Agreement]) -> str:
    """Markdown: how often both agree, and what each of them gives."""
    names = "data set | outputs | items | official | evalkit | same, making | same, held | differ | no class"
    return "\n".join((f"| {names} |", "| --- | --- |" + " ---: |" * 7, *(found.row for found in results)))


def page(results: Sequence[Agreement]) -> str:
    """The whole document: the table, what the classes mean, and the ids in each, without any text of an item."""
    used = {found.cls for result in results for found in result.disagreements}
    source = Path(__file__).with_name("page.md.j2").read_text(encoding="utf-8")
    classes = {name: meaning for name, meaning in CLASSES.items() if name in used}
    template = jinja2.Template(source, trim_blocks=True)
    return template.render(table=table(results), classes=classes, results=results).rstrip() + "\n"


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
