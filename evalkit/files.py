"""Files: digests that give things an identity, the one way to write a whole file, the one reader of rows."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from evalkit.errors import DataError, StorageError

MOST_LINE_BYTES: Final = 1 << 28  # no line of JSON and no cell of a CSV file is longer


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; equal values give equal bytes.

    Raises `TypeError`: for a value that is no JSON.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_lines(lines: Iterable[str]) -> str:
    """SHA-256 over many short strings, each ended by a line feed; the order counts."""
    state = hashlib.sha256()
    for line in lines:
        state.update(line.encode())
        state.update(b"\n")
    return state.hexdigest()


def digest64(text: str) -> int:
    """64 bits of the SHA-256 of a text, 0 for "": equal where two texts are, small enough to be held by the million."""
    if not text:
        return 0
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big")


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits. Raises `OSError`: where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_place(path: Path, whose: str) -> None:
    """Refuses a file that cannot come to lie where it is wanted, before there is anything to write.

    Raises `StorageError`: the nearest folder above it is none, or may not be written; `whose` names the option.
    """
    near = next(folder for folder in path.absolute().parents if folder.exists())
    if not (near.is_dir() and os.access(near, os.W_OK | os.X_OK)):
        raise StorageError(f"{whose}: {path}: cannot be written: {near} is no folder that may be written")


def write_whole(path: Path, content: bytes | Iterable[bytes], *, private: bool = False) -> None:
    """Writes a file so that a reader, or one who comes after a power cut, finds all of it or what was there before.

    Raises `StorageError`: as `whole_file`.
    """
    with whole_file(path, private=private) as out:
        out.writelines([content] if isinstance(content, bytes) else content)


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` when the body has ended without an error, and else never was.

    Folders that are missing are made. A file that was there keeps its permissions, a new one may be read by others
    unless it is `private`; a link stays a link; what is no plain file (`/dev/stdout`, a pipe) is written to as it is.

    Raises `StorageError`: where the disk refuses, or the body met an OSError.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as out:
                yield out
            return
        with _renamed_at_end(path.resolve(), 0o600 if private else 0o666) as out:
            yield out
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _renamed_at_end(path: Path, mode: int) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".evalkit-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            yield out
            out.flush()
            if path.exists():
                draft.chmod(path.stat().st_mode & 0o7777)
            os.fsync(out.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):  # a file system that refuses to write refuses to remove, too
            draft.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Forces the new name to disk; a file system that cannot do that for folders keeps the file all the same."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def numbered_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, row) of a jsonl, csv or tsv file, (row from 1, row) of a list in JSON; of a Parquet file its `columns`.

    Raises `DataError`: naming file and line, where it cannot be read.
    """
    if path.suffix in {".csv", ".tsv"}:
        return _csv_rows(path)
    if path.suffix == ".parquet":
        return enumerate(_parquet_rows(path, columns), 1)
    if path.suffix == ".json":
        return enumerate(_json_rows(path), 1)
    return ((number, row) for number, _offset, row in json_lines(path))


def column_names(path: Path) -> list[str] | None:
    """What the columns of a file are called; of JSON, the keys of its first row, and None where there is no row.

    Raises `DataError`: naming the file, where it cannot be read.
    """
    if path.suffix in {".csv", ".tsv"}:
        return next(([name.strip() for name in cells] for _line, cells in _csv_lines(path)), [])
    if path.suffix == ".parquet":
        with parquet_file(path) as file:
            return list(file.schema_arrow.names)
    first = next(numbered_rows(path), None)
    return None if first is None else list(first[1])


def json_lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(line, byte at which it begins, row) of a file with a JSON object a line; empty lines are no rows.

    Raises `DataError`: naming file and line, where it cannot be read.
    """
    offset = 0
    try:
        with path.open("rb") as lines:
            number = 0
            while line := lines.readline(MOST_LINE_BYTES + 1):
                number += 1
                if len(line) > MOST_LINE_BYTES:
                    raise DataError(f"{path}:{number}: is longer than {MOST_LINE_BYTES} bytes: this is no row")
                if line.strip():
                    yield number, offset, _json_row(line, f"{path}:{number}")
                offset += len(line)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _json_row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{where}: is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: a row is a JSON object, not {type(row).__name__}")
    return row


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        loaded = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: is no JSON: {error}") from error
    rows = loaded.get("data", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: a JSON data set is a list of objects")
    yield from rows


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells), from the header on."""
    import csv  # most commands read none

    csv.field_size_limit(MOST_LINE_BYTES)
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter="\t" if path.suffix == ".tsv" else ",")
            for cells in reader:
                line = reader.line_num
                yield line, cells
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}{f':{line + 1}' if line else ''}: is no CSV in UTF-8: {error}") from error


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    lines = _csv_lines(path)
    names = [name.strip() for name in next(lines, (0, []))[1]]
    for line, cells in lines:
        if cells and len(cells) != len(names):
            raise DataError(f"{path}:{line}: has {len(cells)} cells, the header {len(names)}")
        if cells:
            yield line, dict(zip(names, cells, strict=True))


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """A Parquet file that is open, as pyarrow's `ParquetFile`.

    Raises `DataError`: naming the file, where it cannot be read, now or in the body.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {os.strerror(error.errno) if error.errno else error}") from error
    except pa.ArrowException as error:
        raise DataError(f"{path}: is no Parquet file: {error}") from error


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    with parquet_file(path) as file:
        for batch in file.iter_batches(columns=None if columns is None else list(columns)):
            yield from batch.to_pylist()
