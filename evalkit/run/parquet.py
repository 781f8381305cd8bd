"""Parquet files as evalkit writes and reads them: columns by name and kind, a header, a column at a time.

pandas, polars and duckdb open them as well. Parquet's own checksums leave out what says where the pages are, so a file
is verified whole before anything is read, by a CRC32C in its metadata.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
import numpy as np
import orjson
from numpy.typing import NDArray

from evalkit.compare.columns import WORDS, Labels
from evalkit.errors import RunError
from evalkit.resources import toml_file

if TYPE_CHECKING:
    import pyarrow.parquet as pq

FORMAT: Final = 1
LEVEL: Final = 9  # of zstd
ROWS: Final = 1 << 14  # so many are written, and read, at a time
AGAIN: Final = "`evalkit score` with its configuration file makes it again"
_WORDS: Final = frozenset({"suite", "task", "item", "cluster", *WORDS})
_SEAL: Final = b"crc32c\x18\x08"  # the key in the file's metadata, and how Parquet says that eight bytes follow
_UNSEALED: Final = b"00000000"
_BLOCK_BYTES: Final = 1 << 20


def columns_of(table: str) -> Mapping[str, str]:
    """The columns of "scores" or "items", as columns.toml says what they are; `?` marks those that may be null."""
    columns: dict[str, str] = toml_file("run/columns.toml")[table]
    return columns


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


def encoded(
    columns: Mapping[str, str],
    rows: Iterable[Any],
    header: Mapping[str, Any],
    *,
    rows_a_group: int = ROWS,
    compression: str = "zstd",
) -> bytes:
    """The file of these rows, objects with an attribute a column; `header` may hold anything that JSON can."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(tuple(columns.items())).with_metadata({"evalkit": orjson.dumps({**header, "format": FORMAT})})
    row_of = attrgetter(*columns)
    left = iter(rows)
    words = [name for name in columns if name in _WORDS]
    out = pa.BufferOutputStream()
    how: dict[str, Any] = {"compression": compression, "use_dictionary": words}
    if compression == "zstd":
        how["compression_level"] = LEVEL
    with pq.ParquetWriter(out, schema, **how) as table:
        while block := list(islice(left, rows_a_group)):
            values = zip(*map(row_of, block), strict=True)
            arrays = [_array(column, of) for column, of in zip(values, schema, strict=True)]
            table.write_batch(pa.record_batch(arrays, schema=schema))
        table.add_key_value_metadata({"crc32c": _UNSEALED.decode()})
    return sealed(out.getvalue().to_pybytes())


def sealed(data: bytes) -> bytes:
    """The file with the CRC32C over all of it, taken with zeros in its own place, in its metadata."""
    place = data.rindex(_SEAL) + len(_SEAL)
    return data[:place] + b"%08x" % _crc(data, place) + data[place + len(_UNSEALED) :]


def _crc(data: bytes, place: int) -> int:
    before = google_crc32c.extend(google_crc32c.value(data[:place]), _UNSEALED)
    return int(google_crc32c.extend(before, data[place + len(_UNSEALED) :]))


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


class Table:
    """A table that is open: its columns are read one by one, and stay those of the file that was there."""

    def __init__(self, path: Path, columns: Mapping[str, str], digest: str = "") -> None:
        """Reads the file and opens the table; `digest` is how the SHA-256 of the file must begin.

        Raises `RunError`: where it is absent, damaged, or was made by another version of evalkit.
        """
        with _readable(path):
            import pyarrow as pa
            import pyarrow.parquet as pq

            source = pa.PythonFile(path.open("rb"), "r")  # the one that is verified is the one that is read
            if not _verified(source).startswith(digest):
                raise ValueError("it is another file than its name says")
            schema = pq.read_schema(source)
            said = orjson.loads((schema.metadata or {}).get(b"evalkit", b"{}"))
            self.header: dict[str, Any] = said if isinstance(said, dict) else {}
            if self.header.get("format") != FORMAT or not schema.equals(_schema(tuple(columns.items()))):
                raise RunError(f"{path}: was made by another version of evalkit: {AGAIN}")
            words = [name for name in columns if name in _WORDS]
            self._file: pq.ParquetFile = pq.ParquetFile(source, read_dictionary=words)
        self.path = path
        self._group = lru_cache(maxsize=4)(self._read_group)

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    def pieces(self, name: str) -> Iterator[tuple[int, Any]]:
        """A column in pieces, as Arrow holds them, each with the number of its first row.

        Raises `RunError`: where it is damaged.
        """
        start = 0
        with _readable(self.path):
            for batch in self._file.iter_batches(ROWS, columns=[name], use_threads=False):
                yield start, batch.column(0)
                start += len(batch)

    def values(self, name: str) -> list[Any]:
        """A column as Python's own values. Raises `RunError`: where it is damaged."""
        return [value for _start, piece in self.pieces(name) for value in piece.to_pylist()]

    def row(self, row: int, *names: str) -> dict[str, Any]:
        """Some columns of a row; those that are stored with it are kept for the next, for all would fill memory.

        Raises `RunError`: where they are damaged.
        """
        groups, start, number = self._file.metadata, 0, 0
        while row >= start + groups.row_group(number).num_rows:
            start, number = start + groups.row_group(number).num_rows, number + 1
        found: list[dict[str, Any]] = self._group(number, names).slice(row - start, 1).to_pylist()
        return found[0]

    def _read_group(self, number: int, names: tuple[str, ...]) -> Any:
        with _readable(self.path):
            return self._file.read_row_group(number, columns=list(names))

    def numbers(self, name: str, kind: type[np.generic] | str) -> NDArray[Any]:
        """A column of numbers; NaN where there is none. Raises `RunError`: where it is damaged."""
        column = np.empty(len(self), dtype=kind)
        for start, piece in self.pieces(name):
            column[start : start + len(piece)] = _plain(piece)
        return column

    def labels(self, name: str, first: Iterable[str] = ()) -> Labels:
        """A column of words, "" where there is none; the words of `first` are numbered first, and held as they are.

        Raises `RunError`: where it is damaged.
        """
        codes = np.empty(len(self), dtype=np.int32)
        known = {word: number for number, word in enumerate(first)}
        for start, piece in self.pieces(name):
            places, words = _coded(piece)
            numbers = np.asarray([known.setdefault(word, len(known)) for word in words], dtype=np.int32)
            codes[start : start + len(piece)] = numbers[places]
        return Labels(codes, tuple(known))


def _verified(source: Any) -> str:
    """The SHA-256 of an open file, read in blocks, for it may be large; a `ValueError` where its checksum is wrong."""
    size = source.size()
    source.seek(max(0, size - _BLOCK_BYTES))
    end = source.read()
    place = size - len(end) + end.rfind(_SEAL) + len(_SEAL)
    written = end[place - size + len(end) :][: len(_UNSEALED)]
    source.seek(0)
    crc, whole = 0, hashlib.sha256()
    for start in range(0, size, _BLOCK_BYTES):
        block = source.read(_BLOCK_BYTES)
        whole.update(block)
        zeros = slice(max(0, place - start), max(0, place + len(_UNSEALED) - start))
        crc = google_crc32c.extend(crc, block[: zeros.start] + _UNSEALED[: len(block[zeros])] + block[zeros.stop :])
    if written != b"%08x" % crc:
        raise ValueError("its checksum does not fit")
    return whole.hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Says which file cannot be read, and what makes it again."""
    import pyarrow as pa

    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise RunError(f"{path}: cannot be read ({os.strerror(error.errno or 0)}): {AGAIN}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({str(error)[:200]}): {AGAIN}") from error


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
