"""What an agreement run finds: every item under both scorers, the table of counts, and the page made from them."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import orjson

from evalkit.model import Score

UNCLASSED = "unclassed"
TABLES: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("classes.toml").read_text(encoding="utf-8"))
CLASSES = TABLES["multimodal"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One item of a file of outputs under both scorers; `cls` says why they differ, None where they do not."""

    data_set: str
    file: str
    item: str
    official: float
    official_answer: str
    score: Score
    cls: str | None

    @property
    def gain(self) -> float:
        """How much more it is worth here."""
        return (self.score.value or 0) - self.official

    @property
    def differs(self) -> bool:
        """Whether the verdicts differ; of those with a class that do not, only the answers read do."""
        return self.cls is not None and self.official != self.score.value

    @property
    def unclassed(self) -> bool:
        """No class explains the difference: a defect here until shown otherwise."""
        return self.cls is not None and self.cls not in CLASSES

    @property
    def making(self) -> bool:
        """Whether the rules of extraction may be made on the item: half of them, told by a hash of the id."""
        return sha256(self.item.encode()).digest()[0] % 2 == 0


def by_file(found: Sequence[Compared]) -> dict[tuple[str, str], list[Compared]]:
    """The items of each data set's files."""
    files = defaultdict(list)
    for one in found:
        files[one.data_set, one.file].append(one)
    return files


def table(found: Sequence[Compared]) -> str:
    """Markdown: how often both agree, and what each of them gives."""
    names = "data set | outputs | items | official | evalkit | same, making | same, held | differ | no class"
    lines = [f"| {names} |", "| --- | --- |" + " ---: |" * 7]
    for name, items in by_file(found).items():
        halves = [[one.differs for one in items if one.making is making] for making in (True, False)]
        same = [f"{1 - sum(half) / len(half):.2%}" if half else "" for half in halves]
        right = [f"{sum(one.official for one in items):g}", f"{sum(one.score.value or 0 for one in items):g}"]
        apart = [sum(one.differs for one in items), sum(one.unclassed for one in items)]
        lines.append(f"| {' | '.join(map(str, (*name, len(items), *right, *same, *apart)))} |")
    return "\n".join(lines)


def page(found: Sequence[Compared]) -> str:
    """The whole document: the table, what the classes mean, and the ids in each, without any text of an item."""
    used = {one.cls for one in found}
    source = Path(__file__).with_name("page.md.j2").read_text(encoding="utf-8")
    classes = {name: meaning for name, meaning in CLASSES.items() if name in used}
    template = jinja2.Template(source, trim_blocks=True)
    apart = by_file([one for one in found if one.cls is not None])
    return template.render(table=table(found), classes=classes, files=apart).rstrip() + "\n"


def outputs(folder: Path, pattern: str) -> Iterator[tuple[str, Any]]:
    """Each line of the files of a pattern, with what stands in the file's name for the star."""
    before, _, behind = pattern.partition("*")
    for path in sorted(folder.glob(pattern)):
        name = path.name.removeprefix(before).removesuffix(behind)
        yield from ((name, row) for row in json_lines(path))


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
