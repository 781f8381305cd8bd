"""The tables of a run: its items and its scores, each a Parquet file that pandas, polars and duckdb open as well.

`scores-PLAN.parquet` has a row for every planned (item, repeat), `items-PLAN.parquet` one for every item; `SCORES` and
`ITEMS` say what their columns are. `evalkit run` makes them and `evalkit score` makes them again: they are written
whole, each page with a checksum, and read a column at a time, so that a million samples load in a second. The questions
are lines of JSON in `docs-PLAN.jsonl`, for a document may be anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import orjson
from numpy.typing import NDArray

from evalkit.compare.columns import ItemTable, Labels, Sample, Samples
from evalkit.errors import RunError
from evalkit.files import digest64, digest_file, whole_file, write_whole
from evalkit.model import Item, Status

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from evalkit.run.plan import Plan

FORMAT: Final = 1
_ROWS: Final = 1 << 14  # so many are written, and read, at a time
_AGAIN: Final = "`evalkit score` makes it again"

# ---------------------------------------------------------------- what the columns are

SCORES: Final[Mapping[str, str]] = {
    "suite": "string",
    "item": "string",
    "repeat": "int32",
    "value": "double?",  # the score in [0, 1]; null where there is none, which is no score of 0
    "status": "string",  # what became of the sample (`model.Status`)
    "reason": "string?",  # the scorer's own word, or why a request failed
    "answer": "string?",  # what was read from the reply
    "failure": "string?",  # why there is no reply (`model.FailureKind`)
    "lenient": "double?",  # the score if the answer had been looked for less strictly; a diagnosis only
    "truncated": "bool",  # the server stopped at the token limit
    "loops": "bool",  # the reply ends in a loop
    "characters": "int64?",  # of thinking and answer
    "prompt_tokens": "int64?",  # as the server counts them
    "completion_tokens": "int64?",
    "seconds": "double?",  # from request to whole reply, the last attempt's
    "text": "uint64",  # 64 bits of the SHA-256 of thinking and answer, 0 without
    "flags": "list<string>?",  # known oddities of the reply
    "metrics": "map<string, double>?",  # further numbers of the scorer
    "key": "string?",  # names the reply in the journal
    "journal": "int16",  # which of the files that the table's metadata name holds it
    "offset": "int64",  # the byte at which its line begins there, -1 where there is none
}
"""The columns of a table of scores; `?` marks those that may be null."""

ITEMS: Final[Mapping[str, str]] = {
    "suite": "string",
    "item": "string",
    "task": "string",
    "stratum": "list<string>",  # the headings under the suite, outermost first
    "cluster": "string?",  # the passage or question that several items share
    "weight": "double",  # relative
    "document": "uint64",  # 64 bits of a digest of the question's data
    "prompt": "uint64",  # 64 bits of a digest of what was sent
    "tags": "map<string, string>?",  # (heading, word) under which the item is counted beside its stratum
}
"""The columns of a table of items."""

_WORDS: Final = frozenset({"suite", "task", "item", "status", "reason", "answer", "failure", "cluster"})
_NUMBERS: Final[Mapping[str, str]] = {
    "repeat": "i4",
    "value": "f8",
    "text": "u8",
    "prompt_tokens": "f8",
    "completion_tokens": "f8",
    "characters": "f8",
    "seconds": "f8",
    "lenient": "f8",
    "truncated": "?",
    "loops": "?",
}
_ITEM_NUMBERS: Final[Mapping[str, str]] = {"weight": "f8", "document": "u8", "prompt": "u8"}
_LABELS: Final = ("status", "reason", "answer", "failure")


@dataclass(frozen=True, slots=True)
class Document:
    """One item's question and target, for people, and the document that its scorer reads."""

    suite: str
    item: str
    target: str
    question: str
    doc: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graded(Sample):
    """A row of a table of scores."""

    suite: str = ""
    flags: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    key: str = ""
    journal: int = 0
    offset: int = -1


@cache
def _schema(columns: tuple[tuple[str, str], ...]) -> Any:
    import pyarrow as pa

    kinds = {
        "list<string>": pa.list_(pa.string()),
        "map<string, double>": pa.map_(pa.string(), pa.float64()),
        "map<string, string>": pa.map_(pa.string(), pa.string()),
    }
    return pa.schema(
        pa.field(
            name, kinds.get(kind.removesuffix("?")) or pa.type_for_alias(kind.removesuffix("?")), kind.endswith("?")
        )
        for name, kind in columns
    )


def items_path(folder: Path, plan_digest: str) -> Path:
    """Where the items of a plan are listed."""
    return folder / f"items-{plan_digest[:12]}.parquet"


def docs_path(folder: Path, plan_digest: str) -> Path:
    """Where the documents of a plan are kept."""
    return folder / f"docs-{plan_digest[:12]}.jsonl"


def scores_path(folder: Path, plan_digest: str) -> Path:
    """Where the scores of a plan are kept."""
    return folder / f"scores-{plan_digest[:12]}.parquet"


# ---------------------------------------------------------------- written


def write_scores(path: Path, rows: Iterable[Graded], header: Mapping[str, Any]) -> None:
    """Writes a table of scores; `header` says what they were made from, and names the journals under `journals`.

    Raises:
        StorageError: where the disk refuses.
    """
    _write(path, SCORES, rows, {**header, "format": FORMAT})


def write_items(path: Path, rows: Iterable[ItemRow]) -> None:
    """Writes a table of items.

    Raises:
        StorageError: where the disk refuses.
    """
    _write(path, ITEMS, rows, {"format": FORMAT})


def write_plan(folder: Path, plan: Plan) -> None:
    """Writes items and documents of the plan, where they are not there yet.

    Raises:
        StorageError: where the disk refuses.
    """
    items, docs = items_path(folder, plan.digest), docs_path(folder, plan.digest)
    if not items.exists():
        listed = ((item, suite.loaded.suite.tags) for suite in plan.suites for item in suite.loaded.items)
        write_items(items, (ItemRow.of(item, tags) for item, tags in listed))
    if not docs.exists():
        every = (item for suite in plan.suites for item in suite.loaded.items)
        write_docs(docs, (Document(one.suite, one.id, one.target, question_of(one), one.doc) for one in every))


def write_docs(path: Path, documents: Iterable[Document]) -> None:
    """Writes documents, one a line.

    Raises:
        StorageError: where the disk refuses.
    """
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    write_whole(path, (orjson.dumps(document, option=option, default=str) for document in documents))


def document_places(path: Path) -> dict[tuple[str, str], int]:
    """Where the document of each (suite, item) of a plan begins, in bytes.

    Raises:
        RunError: where the file is absent or damaged.
    """
    places, offset = {}, 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                row = orjson.loads(line)
                places[row["suite"], row["item"]] = offset
                offset += len(line)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}): {_AGAIN}") from error
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise RunError(f"{path}:{len(places) + 1}: is damaged: {_AGAIN}") from error
    return places


def read_document(path: Path, offset: int) -> Document:
    """The document whose line begins at a byte.

    Raises:
        RunError: where there is none any more.
    """
    try:
        with path.open("rb") as lines:
            lines.seek(offset)
            return _document_of(lines.readline(), f"{path}: byte {offset}")
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}): {_AGAIN}") from error


def _document_of(line: bytes, where: str) -> Document:
    try:
        return Document(**orjson.loads(line))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise RunError(f"{where}: is damaged: {_AGAIN}") from error


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A row of a table of items."""

    suite: str
    item: str
    task: str = ""
    stratum: Sequence[str] = ()
    cluster: str | None = None
    weight: float = 1.0
    document: int = 0
    prompt: int = 0
    tags: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, item: Item, tags: Mapping[str, str]) -> ItemRow:
        """The row of an item, whose document holds the words of `tags` (field by heading)."""
        document, prompt = digest64(item.doc_hash), digest64(item.prompt.digest)
        words = [(heading, str(word)) for heading, name in tags.items() for word in _several(item.doc[name])]
        traits = item.stratum, item.cluster, item.weight
        return cls(item.suite, item.id, item.task, *traits, document, prompt, words)


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def question_of(item: Item) -> str:
    """The text of the last user turn: what a person needs to see to judge a reply."""
    for message in reversed(item.prompt.messages):
        if message.get("role") == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            return "\n".join(str(part.get("text", "[picture]")) for part in content)
    return item.prompt.text or ""


def _write(path: Path, columns: Mapping[str, str], rows: Iterable[Any], header: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(tuple(columns.items())).with_metadata({"evalkit": orjson.dumps(header)})
    row_of = attrgetter(*columns)
    left = iter(rows)
    words = [name for name in columns if name in _WORDS]
    with (
        whole_file(path) as out,
        pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=words, write_page_checksum=True) as table,
    ):
        while block := list(islice(left, _ROWS)):
            values = zip(*map(row_of, block), strict=True)
            arrays = [_array(column, of) for column, of in zip(values, schema, strict=True)]
            table.write_batch(pa.record_batch(arrays, schema=schema))


def _array(values: Sequence[Any], of: Any) -> Any:
    """A column of a block; what is empty and may be null is null."""
    import pyarrow as pa

    if pa.types.is_map(of.type):
        values = [list(value.items() if isinstance(value, Mapping) else value or ()) or None for value in values]
    elif of.nullable and not pa.types.is_primitive(of.type):
        values = [value or None for value in values]
    try:
        return pa.array(values, of.type)
    except UnicodeEncodeError:  # half a surrogate pair, which a model may write and no file can hold
        whole = (value.encode(errors="replace").decode() if isinstance(value, str) else value for value in values)
        return pa.array(list(whole), of.type)


# ---------------------------------------------------------------- read


class Table:
    """A table that is open: its columns are read one by one, and stay those of the file that was there."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        """Opens the table.

        Raises:
            RunError: where it is absent, damaged, or was made by another version of evalkit.
        """
        with _readable(path):
            import pyarrow.parquet as pq

            words = [name for name in columns if name in _WORDS]
            self._file: pq.ParquetFile = pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=words)
            schema = self._file.schema_arrow
            self.header: dict[str, Any] = orjson.loads((schema.metadata or {}).get(b"evalkit", b"{}"))
            plain = pq.read_schema(path)
        if self.header.get("format") != FORMAT or not plain.equals(_schema(tuple(columns.items()))):
            raise RunError(f"{path}: was made by another version of evalkit: {_AGAIN}")
        self.path = path

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    def pieces(self, name: str) -> Iterator[tuple[int, Any]]:
        """A column in pieces, as Arrow holds them, each with the number of its first row.

        Raises:
            RunError: where it is damaged.
        """
        start = 0
        with _readable(self.path):
            for batch in self._file.iter_batches(_ROWS, columns=[name], use_threads=False):
                yield start, batch.column(0)
                start += len(batch)

    def numbers(self, name: str, kind: str) -> NDArray[Any]:
        """A column of numbers; NaN where there is none.

        Raises:
            RunError: where it is damaged.
        """
        column = np.empty(len(self), dtype=kind)
        for start, piece in self.pieces(name):
            column[start : start + len(piece)] = _plain(piece)
        return column

    def labels(self, name: str, first: Iterable[str] = ()) -> Labels:
        """A column of words, "" where there is none; the words of `first` are numbered first, and held as they are.

        Raises:
            RunError: where it is damaged.
        """
        codes = np.empty(len(self), dtype=np.int32)
        known = {word: number for number, word in enumerate(first)}
        for start, piece in self.pieces(name):
            places, words = _coded(piece)
            numbers = np.asarray([known.setdefault(word, len(known)) for word in words], dtype=np.int32)
            codes[start : start + len(piece)] = numbers[places]
        return Labels(codes, tuple(known))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says which file cannot be read, and what makes it again."""
    import pyarrow as pa

    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise RunError(f"{path}: cannot be read ({os.strerror(error.errno or 0)}): {_AGAIN}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({str(error)[:200]}): {_AGAIN}") from error


def _plain(piece: Any) -> NDArray[Any]:
    """The numbers of a piece, NaN where there is none; Arrow's own way to NumPy loads pandas, 50 MB."""
    valid, held = piece.buffers()
    kind = str(piece.type)
    if kind == "bool":
        return _bits(held, piece)
    numbers = np.frombuffer(held, dtype=kind)[piece.offset : piece.offset + len(piece)]
    return np.where(_bits(valid, piece), numbers, np.nan) if piece.null_count else numbers


def _bits(held: Any, piece: Any) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(held, dtype=np.uint8), bitorder="little")
    return bits[piece.offset : piece.offset + len(piece)].astype(np.bool_)


def _coded(piece: Any) -> tuple[NDArray[np.int64], list[str]]:
    """The place of each row's word among the words of a piece; "" is the word of a row without one."""
    words = piece.dictionary.to_pylist()
    places = _plain(piece.indices)
    if piece.indices.null_count:
        places = np.where(np.isnan(places), len(words), places)
        words.append("")
    return places.astype(np.int64), words


@dataclass(frozen=True, slots=True, eq=False)
class SuiteRows:
    """What the tables of a run say of one suite.

    `options` and `second` are those of `compare.columns.SuiteSide`. `unanswered` and `unjudged` count samples;
    `gradings` is how often the judge graded an answer at most, and `judge_variance` the sum over the samples of the
    variance of their graded mean.
    """

    samples: Samples
    options: Mapping[tuple[str, int], tuple[float, ...]]
    second: Mapping[tuple[str, int], float]
    unanswered: int
    unjudged: int
    gradings: int
    judge_variance: float


@dataclass(frozen=True, slots=True)
class RunTables:
    """The items and the scores of a plan: what a comparison needs of every sample, and where its reply is."""

    scores: Table
    suites: Mapping[str, SuiteRows]

    def places(self) -> dict[str, tuple[NDArray[np.int16], NDArray[np.int64]]]:
        """By suite the number of each sample's journal, and the byte at which its reply begins (-1: there is none).

        Raises:
            RunError: where they are damaged.
        """
        files, offsets = self.scores.numbers("journal", "i2"), self.scores.numbers("offset", "i8")
        return {name: (files[rows], offsets[rows]) for name, rows in _rows_by_suite(self.scores).items()}


def load(items: Path, scores: Path) -> RunTables:
    """What both tables of a plan hold.

    Raises:
        RunError: where one is absent or damaged, or was made by another version of evalkit.
    """
    listed = _item_tables(items)
    table = Table(scores, SCORES)
    rows = _rows_by_suite(table)
    if unknown := sorted(rows.keys() - listed.keys()):
        raise RunError(f"{scores}: names {unknown[0]!r}, which the items do not: `evalkit score` makes both again")
    chosen = {name: rows.get(name, slice(0)) for name in listed}
    columns: dict[str, dict[str, Any]] = {
        name: {"item": codes} for name, codes in _item_codes(table, chosen, listed).items()
    }
    for name, kind in _NUMBERS.items():
        whole = table.numbers(name, kind)
        if name == "value" and ((whole < 0) | (whole > 1)).any():
            raise RunError(f"{scores}: is damaged (a score does not lie between 0 and 1): {_AGAIN}")
        for suite, places in chosen.items():
            columns[suite][name] = whole[places]
    for name in _LABELS:
        labels = table.labels(name)
        for suite, places in chosen.items():
            columns[suite][name] = Labels(labels.codes[places], labels.names)
    metrics = _metrics(table)
    suites = {
        name: _suite_rows(Samples(items=listed[name], **columns[name]), metrics, places)
        for name, places in chosen.items()
    }
    return RunTables(table, suites)


Rows: TypeAlias = NDArray[np.int64] | slice
"""The rows of a suite: their numbers, or all."""


def _rows_by_suite(table: Table) -> dict[str, Rows]:
    suite = table.labels("suite")
    if len(suite.names) == 1:
        return {suite.names[0]: slice(None)}
    return {name: np.flatnonzero(suite.codes == code) for code, name in enumerate(suite.names)}


def _item_codes(
    table: Table, rows: Mapping[str, Rows], listed: Mapping[str, ItemTable]
) -> dict[str, NDArray[np.int32]]:
    """By suite the row of each sample's item in the suite's table."""
    names = {name: None for items in listed.values() for name in items.name}
    labels = table.labels("item", names)
    known = {name: number for number, name in enumerate(labels.names)}
    found = {}
    for suite, places in rows.items():
        homes = np.full(len(known), -1, dtype=np.int32)
        homes[[known[name] for name in listed[suite].name]] = np.arange(len(listed[suite]))
        codes = homes[labels.codes[places]]
        if (codes < 0).any():
            absent = labels.names[labels.codes[places][int(codes.argmin())]]
            told = f"{table.path}: names {absent!r}, which the items do not"
            raise RunError(f"{told}: `evalkit score` makes both again")
        found[suite] = codes
    return found


def _metrics(table: Table) -> dict[int, dict[str, float]]:
    """The metrics of the rows that have some."""
    found: dict[int, dict[str, float]] = {}
    for start, piece in table.pieces("metrics"):
        if piece.null_count < len(piece):
            found |= {row: dict(said) for row, said in enumerate(piece.to_pylist(), start) if said}
    return found


def _suite_rows(samples: Samples, metrics: Mapping[int, Mapping[str, float]], rows: Rows) -> SuiteRows:
    options: dict[tuple[str, int], tuple[float, ...]] = {}
    second: dict[tuple[str, int], float] = {}
    gradings, variance = 0, 0.0
    numbers = range(len(samples)) if isinstance(rows, slice) else rows.tolist()
    for place, number in enumerate(numbers) if metrics else ():
        said = metrics.get(number, {})
        cell = samples.items.name[samples.item[place]], int(samples.repeat[place])
        if "logprob_A" in said:
            options[cell] = tuple(said[name] for name in sorted(said) if name.startswith("logprob_"))
        if "judge_second" in said:
            second[cell] = said["judge_second"]
        gradings = max(gradings, int(said.get("judge_repeats", 0)))
        variance += said.get("judge_variance", 0.0)
    valued = ~np.isnan(samples.value)
    unanswered = samples.status.mask(Status.FAILED, Status.NOT_ASKED) & ~valued
    unjudged = samples.status.mask(Status.GRADE_ERROR) & samples.reason.mask("unjudged") & ~valued
    return SuiteRows(samples, options, second, int(unanswered.sum()), int(unjudged.sum()), gradings, variance)


# Both sides of a comparison have the same items as a rule: they are held once.
_HELD: Final[WeakValueDictionary[tuple[str, str], ItemTable]] = WeakValueDictionary()


def _item_tables(path: Path) -> dict[str, ItemTable]:
    """The items of each suite."""
    with _readable(path):
        content = digest_file(path)
    table = Table(path, ITEMS)
    rows = _rows_by_suite(table)
    held = {suite: _HELD.get((content, suite)) for suite in rows}
    found = {suite: items for suite, items in held.items() if items is not None}
    if len(found) == len(rows):
        return found
    names = _values(table, "item")
    clusters = list(table.labels("cluster"))
    paths: dict[tuple[str, ...], tuple[str, ...]] = {}
    strata = [paths.setdefault(path, path) for path in map(tuple, _values(table, "stratum"))]
    tags = [tuple(said or ()) for said in _values(table, "tags")]
    numbers = {name: table.numbers(name, kind) for name, kind in _ITEM_NUMBERS.items()}
    for suite, places in rows.items():
        name = _chosen(names, places)
        if len(set(name)) < len(name):
            raise RunError(f"{path}: is damaged (an item of {suite} is listed twice): `evalkit run` makes it again")
        named = _chosen(tags, places)
        items = ItemTable(
            name=name,
            stratum=_chosen(strata, places),
            cluster=_chosen(clusters, places),
            tags=named if any(named) else (),
            **{of: column[places] for of, column in numbers.items()},
        )
        found[suite] = _HELD.setdefault((content, suite), items)
    return found


def _values(table: Table, name: str) -> list[Any]:
    return [value for _start, piece in table.pieces(name) for value in piece.to_pylist()]


def _chosen(values: list[Any], rows: Rows) -> tuple[Any, ...]:
    return tuple(values if isinstance(rows, slice) else map(values.__getitem__, rows.tolist()))
