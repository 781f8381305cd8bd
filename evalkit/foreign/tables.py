"""Plain score tables (CSV, JSONL, Parquet, a frame) as one side of a comparison: the way in for every other harness.

One row a sample: `suite`, `item`, `repeat` (a whole number; a table that counts from 1 is read as if it did from 0, as
everything of evalkit's does), `score` (from 0 to 1, empty where there is none); optional `cluster` (items that change
together), `stratum` (headings of a mean of means), `status` (one of `evalkit.model.Status`). A sample without a score
and without a status counts as failed.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from evalkit.compare.columns import Sample, Samples, Side, SuiteFacts, SuiteSide
from evalkit.errors import DataError, nearest
from evalkit.files import column_names, digest_file, numbered_rows
from evalkit.foreign import Choices
from evalkit.foreign.columns import ItemFacts, SamplesBuilder
from evalkit.model import Reason, RunIdentity, Status

SUFFIXES: Final = frozenset({".csv", ".jsonl", ".ndjson", ".parquet"})
REQUIRED: Final = ("suite", "item", "repeat", "score")
OPTIONAL: Final = ("cluster", "stratum", "status")
_STATUSES: Final = {status.value: status for status in Status}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A score table in memory, by the name of its side; `content` is a pandas or polars frame, or an Arrow table."""

    name: str
    content: Any = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def arrow(self) -> Any:
        """The table as Arrow's. Raises `DataError`: where it is no frame, or a column holds values of several kinds."""
        import pyarrow as pa

        try:
            if type(self.content).__module__.partition(".")[0] == "pandas":
                return pa.Table.from_pandas(self.content, preserve_index=False)
            return self.content if isinstance(self.content, pa.Table) else pa.table(self.content)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"{self.name}: is no table of scores: {error}") from error


def read_table(path: Path | Frame, choices: Choices) -> Side:
    """The side that a score table holds.

    Raises `DataError`: naming file (or side), line (of a frame: row, from 1) and column of the first row that is none.
    """
    suites: defaultdict[str, SamplesBuilder] = defaultdict(SamplesBuilder)
    unused: list[str] = []
    for line, row in _rows(path, unused):
        _add(suites, row, f"{path}:{line}")
    if not suites:
        raise DataError(f"{path}: holds no row: a score table has one a sample")
    samples = {name: suite.samples() for name, suite in suites.items()}
    _no_twins(path, samples)
    # Repeats as evalkit counts them; whether a table counts from 1 shows over all its suites, not in one of them.
    if min(int(one.repeat.min()) for one in samples.values()) == 1:
        samples = {name: replace(one, repeat=one.repeat - 1) for name, one in samples.items()}
    notes = (Reason("note.columns", {"file": path.name, "columns": tuple(unused)}),) if unused else ()
    sides = {name: SuiteSide(_facts(name, suite, choices), samples[name]) for name, suite in suites.items()}
    return Side(_identity(path), {"table": path.name}, sides, notes=notes)


def _facts(name: str, suite: SamplesBuilder, choices: Choices) -> SuiteFacts:
    chosen = choices.headlines.of(name)
    strata = {item.stratum for item in suite.items.values()}
    depth = max(map(len, strata), default=0)
    headline = chosen or ("micro" if depth == 0 else "macro" if depth == 1 else "nested")
    notes = (Reason("note.headline", {"n": len(strata)}),) if headline == "macro" else ()
    return SuiteFacts(suite=name, label=name, margin=None, headline=headline, notes=notes)


def _identity(path: Path | Frame) -> RunIdentity:
    if isinstance(path, Frame):
        import pyarrow as pa

        written, table = pa.BufferOutputStream(), path.arrow().replace_schema_metadata(None)
        with pa.ipc.new_stream(written, table.schema) as out:
            out.write_table(table)
        name, place, made = path.name, "", datetime.now(UTC)
        digest = hashlib.sha256(written.getvalue()).hexdigest()
    else:
        name, place, made = path.stem, str(path), datetime.fromtimestamp(path.stat().st_mtime, UTC)
        digest = digest_file(path)
    return RunIdentity(name, digest[:12], "", place, made.isoformat(timespec="seconds"), {}, {}, {})


def _rows(path: Path | Frame, unused: list[str]) -> Iterator[tuple[int, Row]]:
    """(line, row) with the columns that mean something here; the names of the others are added to `unused`."""
    names = column_names(path) if isinstance(path, Path) else list(path.arrow().column_names)
    if names is None:
        return
    unused += _unused(path, names)
    known = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
    if isinstance(path, Path):
        rows = numbered_rows(path, known)
    else:
        rows = enumerate((row for part in path.arrow().select(known).to_batches() for row in part.to_pylist()), 1)
    for number, row in rows:
        missing = [name for name in REQUIRED if name not in row]
        if missing:
            raise DataError(f"{path}:{number}: has no {missing[0]!r}: say null for a sample without a score")
        yield number, row


def _unused(path: Path | Frame, names: Sequence[str]) -> list[str]:
    """The names of the columns that are not known."""
    for name in REQUIRED:
        if name not in names:
            there = ", ".join(names) or "none"
            columns = f"a score table has {', '.join(REQUIRED)} and may have {', '.join(OPTIONAL)}"
            raise DataError(f"{path}: has no column {name!r} (there are: {there}); {columns}")
    unused = [name for name in names if name not in (*REQUIRED, *OPTIONAL)]
    for name in unused:
        near = nearest(name.lower(), OPTIONAL, cutoff=0.8)
        if near is not None and near not in names:
            raise DataError(f"{path}: has a column {name!r}: did you mean {near!r}?")
    return unused


def _add(suites: defaultdict[str, SamplesBuilder], row: Row, where: str) -> None:
    name, item, cluster = row["suite"], row["item"], row.get("cluster")
    if _is_empty(name) or _is_empty(item):
        raise DataError(f"{where}: {'suite' if _is_empty(name) else 'item'}: is empty: every sample names both")
    item = _name(item)
    suite = suites[_name(name)]
    about = ItemFacts(item, _stratum(row.get("stratum")), "" if _is_empty(cluster) else _name(cluster))
    known = suite.items.get(item)
    if known is None:
        suite.add_item(about)
    elif known != about:
        raise DataError(f"{where}: item {item!r} has another cluster or stratum here than before")
    value = _score(row["score"], where)
    suite.add(Sample(item, _repeat(row["repeat"], where), value, _status(row.get("status"), value, where)))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _name(value: Any) -> str:
    """Names that are numbers are the same whichever format wrote them: 7, 7.0 and "7"; blanks around are no part."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _repeat(repeat: Any, where: str) -> int:
    try:
        number = float(repeat)
    except (TypeError, ValueError):
        number = math.nan
    if not number.is_integer() or not 0 <= number < 2**31:
        raise DataError(f"{where}: repeat: {repeat!r} is no whole number from 0")
    return int(number)


def _score(score: Any, where: str) -> float | None:
    if _is_empty(score):
        return None
    try:
        value = float(score)
    except (TypeError, ValueError):
        raise DataError(f"{where}: score: {score!r} is no number; leave it empty where there is none") from None
    if math.isnan(value):
        return None
    if not 0.0 <= value <= 1.0:
        raise DataError(f"{where}: score: {value:g} does not lie between 0 and 1; divide percentages by 100")
    return value


def _stratum(stratum: Any) -> tuple[str, ...]:
    if isinstance(stratum, (list, tuple)):
        return tuple(_name(part) for part in stratum)
    return () if _is_empty(stratum) else (_name(stratum),)


def _status(status: Any, value: float | None, where: str) -> Status:
    if _is_empty(status):
        return Status.FAILED if value is None else Status.SCORED
    known = _STATUSES.get(str(status).strip())
    if known is None:
        raise DataError(f"{where}: status: {status!r} is none of {', '.join(_STATUSES)}")
    if value is not None and not known.has_value:
        raise DataError(f"{where}: status: {known.value} has no score, but {value:g} is given: leave the score empty")
    if value is None and known is Status.SCORED:
        raise DataError(f"{where}: score: is empty, but the status is scored")
    return known


def _no_twins(path: Path | Frame, suites: dict[str, Samples]) -> None:
    """Raises where an (item, repeat) of a suite is listed twice."""
    for name, samples in suites.items():
        cells = np.sort(samples.item.astype(np.int64) << 31 | samples.repeat)
        if np.all(cells[1:] != cells[:-1]):
            continue
        seen: dict[tuple[str, int], tuple[str, str]] = {}
        for line, row in _rows(path, []):
            if _name(row["suite"]) != name:
                continue
            cell, written = (_name(row["item"]), _repeat(row["repeat"], "")), (str(row["suite"]), str(row["item"]))
            if seen.setdefault(cell, written) is not written:
                padded = [text for text in (*seen[cell], *written) if text != text.strip()]
                blanks = " (blanks around a name are no part of it)" if padded else ""
                raise DataError(
                    f"{path}:{line}: suite {name!r}, item {cell[0]!r}, repeat {cell[1]} is listed twice{blanks}"
                )
