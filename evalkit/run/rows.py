"""The derived files of a run (items, documents, scores): written whole, read back into columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from evalkit.compare.columns import Columns, Samples, SamplesBuilder, turned
from evalkit.errors import RunError
from evalkit.files import write_whole
from evalkit.model import Item, Status

if TYPE_CHECKING:
    from evalkit.run.plan import Plan


SCORES_FORMAT = 2
_ROW = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_BLOCK_BYTES = 1 << 17  # more rows at a time fall out of the processor's cache


def items_path(folder: Path, plan_digest: str) -> Path:
    """Where the items of a plan are listed."""
    return folder / f"items-{plan_digest[:12]}.jsonl"


def docs_path(folder: Path, plan_digest: str) -> Path:
    """Where the documents of a plan are kept."""
    return folder / f"docs-{plan_digest[:12]}.jsonl"


def scores_path(folder: Path, plan_digest: str) -> Path:
    """Where the scores of a plan are kept."""
    return folder / f"scores-{plan_digest[:12]}.jsonl"


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the rows and only then gives the file its name: readers see all of it or nothing.

    Raises:
        StorageError: where the disk refuses.
    """
    write_whole(path, (orjson.dumps(row, option=_ROW, default=str) for row in rows))


def write_items(folder: Path, plan: Plan) -> None:
    """Writes items and documents of the plan, where they are not there yet."""
    if not items_path(folder, plan.digest).exists():
        write_lines(items_path(folder, plan.digest), (_item_row(item, tags) for item, tags in _items(plan)))
    if not docs_path(folder, plan.digest).exists():
        write_lines(docs_path(folder, plan.digest), (_doc_row(item) for item, _tags in _items(plan)))


def _items(plan: Plan) -> Iterator[tuple[Item, Mapping[str, str]]]:
    """Every item of the plan, with what its suite counts it under."""
    for suite in plan.suites:
        for item in suite.loaded.items:
            yield item, suite.loaded.suite.tags


def _item_row(item: Item, tags: Mapping[str, str]) -> dict[str, Any]:
    row = {
        "s": item.suite,
        "i": item.id,
        "task": item.task,
        "stratum": item.stratum,
        "cluster": item.cluster or "",
        "weight": item.weight,
        "doc_hash": item.doc_hash,
        "prompt": item.prompt.digest,
    }
    return {**row, "tags": _words(item, tags)} if tags else row


def _words(item: Item, tags: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every (heading, word) under which the item is counted."""
    found = []
    for heading, name in tags.items():
        words = item.doc[name]
        found += [(heading, str(word)) for word in (words if isinstance(words, (list, tuple)) else [words])]
    return found


def _doc_row(item: Item) -> dict[str, Any]:
    return {"s": item.suite, "i": item.id, "target": item.target, "question": question_of(item), "doc": item.doc}


def question_of(item: Item) -> str:
    """The text of the last user turn: what a person needs to see to judge a reply."""
    for message in reversed(item.prompt.messages):
        if message.get("role") == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            return "\n".join(str(part.get("text", "[picture]")) for part in content)
    return item.prompt.text or ""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a derived file.

    Raises:
        RunError: where it is absent or damaged.
    """
    return (row for _offset, row in read_places(path))


def read_places(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a derived file, each with the byte at which it begins.

    Raises:
        RunError: where it is absent or damaged.
    """
    offset = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield offset, orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise RunError(f"{path}:{number}: is damaged: `evalkit score` makes it again") from error
                offset += len(line)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}): `evalkit score` makes it again") from error


class Seen(Protocol):
    """What is told of every byte that is read, such as a digest in the making."""

    def update(self, content: bytes, /) -> None:
        """Takes the next bytes."""


def read_blocks(path: Path, seen: Seen | None = None) -> Iterator[list[dict[str, Any]]]:
    """The rows of a derived file, some thousands at a time: five times as fast as row by row.

    Raises:
        RunError: where it is absent or damaged.
    """
    rest = b""
    try:
        with path.open("rb") as content:
            while block := content.read(_BLOCK_BYTES):
                if seen is not None:
                    seen.update(block)
                whole, newline, tail = (rest + block).rpartition(b"\n")
                rest = tail
                if newline:
                    yield _parsed(whole, path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}): `evalkit score` makes it again") from error
    if rest:
        yield _parsed(rest, path)


def _parsed(lines: bytes, path: Path) -> list[dict[str, Any]]:
    """The rows of some whole lines, parsed as one list: no JSON text holds a line feed but between two values."""
    try:
        rows: list[dict[str, Any]] = orjson.loads(b"[%b]" % lines.replace(b"\n", b","))
    except orjson.JSONDecodeError:
        list(read_lines(path))  # says which line
        raise
    return rows


def read_at(path: Path, offset: int) -> dict[str, Any]:
    """The row that begins at a byte.

    Raises:
        RunError: where there is none any more.
    """
    try:
        with path.open("rb") as lines:
            lines.seek(offset)
            row: dict[str, Any] = orjson.loads(lines.readline())
    except (OSError, orjson.JSONDecodeError) as error:
        raise RunError(f"{path}: cannot be read at byte {offset}: `evalkit score` makes it again") from error
    return row


# ----------------------------------------------------------------
# Parses the items and the scores of a run into columns: all that a comparison needs of a sample, and no text


_UNANSWERED = frozenset({Status.FAILED.value, Status.NOT_ASKED.value})
_NOWHERE, _FIRST_FILE = array("q", (-1,)), array("h", (0,))

Cell = tuple[str, int]
"""Item and repeat."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredSuite:
    """What the rows of one suite say.

    `offset` is the byte at which each sample's reply begins, -1 where there is none, and `file` the number of its
    journal, empty where there is one journal only. `options` and `second` are those of `SuiteSide`. `unanswered` and
    `unjudged` count samples; `gradings` is how often the judge graded an answer at most, and `judge_variance` the sum
    over the samples of the variance of their graded mean.
    """

    samples: Samples
    offset: NDArray[np.int64]
    file: NDArray[np.int16]
    options: Mapping[Cell, tuple[float, ...]]
    second: Mapping[Cell, float]
    unanswered: int
    unjudged: int
    gradings: int
    judge_variance: float


@dataclass(frozen=True, slots=True)
class Stored:
    """What the items and the scores of a plan say: the names of the journals that they refer to, and the suites."""

    journals: tuple[str, ...]
    suites: Mapping[str, StoredSuite]


@dataclass(frozen=True, slots=True)
class Files:
    """The two files that a comparison reads of a plan."""

    items: Path
    scores: Path


SeenBoth = tuple[Seen, Seen]


@dataclass(slots=True)
class _Suite:
    """One suite while it is read."""

    samples: SamplesBuilder = field(default_factory=SamplesBuilder)
    offset: array[int] = field(default_factory=lambda: array("q"))
    file: array[int] = field(default_factory=lambda: array("h"))
    options: dict[Cell, tuple[float, ...]] = field(default_factory=dict)
    second: dict[Cell, float] = field(default_factory=dict)
    unanswered: int = 0
    unjudged: int = 0
    gradings: int = 0
    judge_variance: float = 0.0

    def extend(self, rows: Sequence[dict[str, Any]], *, several_journals: bool) -> None:
        """Rows of a scores file."""
        for columns in turned(rows):
            self.samples.extend_columns(columns)
            size = len(columns["i"])
            self.offset.extend(columns.get("j", _NOWHERE * size))
            if several_journals:
                self.file.extend(columns.get("jf", _FIRST_FILE * size))
            if None in columns["v"]:
                self._count_missing(columns)
            if "m" in columns:
                self._read_metrics(columns)

    def _count_missing(self, columns: Columns) -> None:
        reasons = columns.get("why", ("",) * len(columns["v"]))
        for value, status, reason in zip(columns["v"], columns["st"], reasons, strict=True):
            if value is None:
                self.unanswered += status in _UNANSWERED
                self.unjudged += status == Status.GRADE_ERROR.value and reason == "unjudged"

    def _read_metrics(self, columns: Columns) -> None:
        for item, repeat, metrics in zip(columns["i"], columns["r"], columns["m"], strict=True):
            if "logprob_A" in metrics:
                names = sorted(name for name in metrics if name.startswith("logprob_"))
                self.options[item, repeat] = tuple(metrics[name] for name in names)
            if "judge_second" in metrics:
                self.second[item, repeat] = metrics["judge_second"]
            self.gradings = max(self.gradings, int(metrics.get("judge_repeats", 0)))
            self.judge_variance += metrics.get("judge_variance", 0.0)

    def finished(self) -> StoredSuite:
        return StoredSuite(
            samples=self.samples.samples(),
            offset=np.asarray(self.offset, dtype=np.int64),
            file=np.asarray(self.file, dtype=np.int16),
            options=self.options,
            second=self.second,
            unanswered=self.unanswered,
            unjudged=self.unjudged,
            gradings=self.gradings,
            judge_variance=self.judge_variance,
        )


def parse(files: Files, seen: SeenBoth | None = None) -> Stored:
    """What both files hold; `seen` are told every byte that was parsed, of the items and of the scores.

    Raises:
        RunError: where one is absent or damaged, or the scores were made by another version of evalkit.
    """
    items_seen, scores_seen = (None, None) if seen is None else seen
    read: dict[str, _Suite] = {}
    for block in read_blocks(files.items, items_seen):
        for name, rows in _by_suite(block):
            (read.get(name) or read.setdefault(name, _Suite())).samples.items.extend(rows)
    header: dict[str, Any] | None = None
    try:
        for block in read_blocks(files.scores, scores_seen):
            if header is None:
                header = _checked(block.pop(0), files.scores)
            for name, rows in _by_suite(block):
                read[name].extend(rows, several_journals=len(header["journals"]) > 1)
    except KeyError as error:
        raise RunError(
            f"{files.scores}: names {error}, which the items do not: `evalkit score` makes both again"
        ) from error
    journals = (header or _checked({}, files.scores))["journals"]
    return Stored(tuple(journals), {name: suite.finished() for name, suite in read.items()})


def _checked(header: dict[str, Any], scores: Path) -> dict[str, Any]:
    if header.get("format") != SCORES_FORMAT:
        raise RunError(f"{scores}: was made by another version of evalkit: `evalkit score` makes it again")
    return header


def _by_suite(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows by suite, each suite's in their order."""
    names = dict.fromkeys(map(itemgetter("s"), rows))
    for name in names:
        yield name, rows if len(names) == 1 else [row for row in rows if row["s"] == name]
