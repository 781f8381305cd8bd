"""Keeps large runs by column on this machine: a million samples are read in a second, not parsed again in six.

A copy is kept under a name that covers every byte of the items and the scores that it was made from, and the code that
made it: files that were appended to, graded again, cut or edited have none, and are parsed. It lies in the user's cache
and not in the run folder, so that a folder from elsewhere brings numbers only in the files that a person can read and
`evalkit score` can make again. A copy that is damaged, or that another user wrote, is made anew. `EVALKIT_CACHE` names
another folder than the user's cache; the folder may be removed at any time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final
from weakref import WeakValueDictionary

import numpy as np
import orjson
from numpy.typing import NDArray

from evalkit import model as sample
from evalkit import resources
from evalkit.compare.columns import ItemTable, Labels, Samples
from evalkit.run.rows import Files, Stored, StoredSuite, parse

# ----------------------------------------------------------------
# A file of named columns, each with its SHA-256; nothing in it is ever run, and only what is asked for is read
# In this order:
#
#     columns     numbers, little-endian, or JSON, one column after another
#     index       JSON: by name [kind, count, byte, SHA-256] of every column
#     last line   the byte at which the index begins, in 20 digits, and the index's SHA-256


MOST_BYTES: Final = 1 << 30
"""No file becomes larger: about ten million samples."""

_JSON: Final = "|u1"
_LAST_LINE: Final = 20 + 1 + 64 + 1

Place = tuple[str, int, int, str]


class ColumnWriter:
    """Writes columns one after another."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.index: dict[str, Place] = {}

    def array(self, name: str, values: NDArray[Any], kind: str) -> None:
        """A column of numbers.

        Raises:
            ValueError: where the file becomes too large.
        """
        column = np.ascontiguousarray(values, dtype=kind)
        offset = self._out.tell()
        if offset + column.nbytes > MOST_BYTES:
            raise ValueError("too large to be kept")
        self._out.write(column.data)
        self.index[name] = kind, column.size, offset, _sha256(column)

    def json(self, name: str, value: Any) -> None:
        """Anything else.

        Raises:
            TypeError: for what JSON cannot say.
        """
        self.array(name, np.frombuffer(orjson.dumps(value), dtype=_JSON), _JSON)

    def labels(self, name: str, labels: Labels) -> None:
        """A column of words that repeat."""
        self.json(f"{name} names", labels.names)
        self.array(name, labels.codes, "<i4")

    def repeated(self, name: str, values: Sequence[Hashable]) -> None:
        """A column of other values that repeat."""
        codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
        self.json(f"{name} names", list(codes))
        self.array(name, np.fromiter(map(codes.__getitem__, values), np.int32, len(values)), "<i4")

    def finish(self) -> None:
        """Writes the index; without it there is no file of columns."""
        offset, index = self._out.tell(), orjson.dumps(self.index)
        self._out.write(index + f"{offset:020d} {_sha256(index)}\n".encode())


class ColumnReader:
    """Gives columns back by name; each is checked when it is read.

    Raises:
        OSError: where the file cannot be read, or is too short to be one of columns.
        ValueError: where it is not what was written; from its methods also where a column is not the expected one.
        KeyError: from its methods, where there is no such column.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = file.seek(-_LAST_LINE, os.SEEK_END)
        offset, _space, digest = file.read(_LAST_LINE).decode().partition(" ")
        start = int(offset)
        if not 0 <= start <= self._end:
            raise ValueError("there is no index")
        file.seek(start)
        index = file.read(self._end - start)
        if f"{_sha256(index)}\n" != digest:
            raise ValueError("the index is not what was written")
        self.index: dict[str, Place] = {name: tuple(place) for name, place in dict(orjson.loads(index)).items()}

    def array(self, name: str, kind: str, size: int | None = None) -> NDArray[Any]:
        """A column of numbers."""
        found, count, offset, digest = self.index[name]
        room = (self._end - offset) // np.dtype(kind).itemsize
        if found != kind or offset < 0 or not 0 <= count <= room or (size is not None and size != count):
            raise ValueError(f"{name} is another column")
        column = np.empty(count, dtype=kind)
        self._file.seek(offset)
        if self._file.readinto(column) != column.nbytes or _sha256(column) != digest:  # type: ignore[attr-defined]
            raise ValueError(f"{name} is not what was written")
        return column

    def json(self, name: str) -> Any:
        """Anything else."""
        return orjson.loads(self.array(name, _JSON).data)

    def codes(self, name: str, size: int, below: int) -> NDArray[np.int32]:
        """A column of numbers from 0 to less than `below`."""
        column = self.array(name, "<i4", size)
        if size and not 0 <= int(column.min()) <= int(column.max()) < below:
            raise ValueError(f"{name} points nowhere")
        return column

    def labels(self, name: str, size: int) -> Labels:
        """A column of words that repeat."""
        names = tuple(self.json(f"{name} names"))
        return Labels(self.codes(name, size, len(names)), names)

    def repeated(self, name: str, size: int, made: Callable[[Any], Any] | None = None) -> tuple[Any, ...]:
        """A column of other values that repeat, each as JSON says or made from that."""
        said = self.json(f"{name} names")
        names = tuple(said if made is None else map(made, said))
        return tuple(map(names.__getitem__, self.codes(name, size, len(names)).tolist()))


def content_of(index: dict[str, Place], start: str) -> tuple[tuple[str, str], ...]:
    """What the columns hold whose names begin so: equal where their content is, in whatever file."""
    found = ((name.removeprefix(start), place[3]) for name, place in index.items() if name.startswith(start))
    return tuple(sorted(found))


def _sha256(content: Any) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


# ----------------------------------------------------------------
# Keeps large runs by column on this machine: a million samples are read in a second, not parsed again in six
# A copy is kept under a name that covers every byte of the items and the scores that it was made from, and the code
# that
# made it: files that were appended to, graded again, cut or edited have none, and are parsed. It lies in the user's
# cache
# and not in the run folder, so that a folder from elsewhere brings numbers only in the files that a person can read and
# `evalkit score` can make again. A copy that is damaged, or that another user wrote, is made anew. `EVALKIT_CACHE`
# names
# another folder than the user's cache; the folder may be removed at any time.


LEAST_BYTES: Final = 4_000_000
"""Files smaller than this together are parsed each time, in a tenth of a second."""
KEPT_SECONDS: Final = 30 * 86400.0
"""A copy that was not used for so long is removed when the next one is written."""
KEPT_BYTES: Final = 2 * MOST_BYTES
"""Above this, the copies that were not used for longest are removed."""

_NUMBERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "repeat": "<i4",
        "value": "<f8",
        "text": "<u8",
        "prompt_tokens": "<f8",
        "completion_tokens": "<f8",
        "characters": "<f8",
        "seconds": "<f8",
        "lenient": "<f8",
        "truncated": "|b1",
        "loops": "|b1",
    }
)
_LABELS: Final = ("status", "reason", "answer", "failure")
# Both sides of a comparison have the same items as a rule: they are held once.
_TABLES: Final[WeakValueDictionary[Any, ItemTable]] = WeakValueDictionary()


def load(files: Files) -> Stored:
    """What the items and the scores of a plan hold, from the copy of just these files where there is one.

    Raises:
        RunError: where a file is absent or damaged, or the scores were made by another version of evalkit.
    """
    sizes = _sizes(files)
    if sum(sizes) < LEAST_BYTES:
        return parse(files)
    import hashlib

    folder, start = resources.cache_folder() / "columns", "-".join(map(str, sizes))
    if (kept := _find(folder, start, files)) is not None:
        return kept
    # What is parsed here and now names the copy, whatever became of the files since they were looked at.
    seen = hashlib.sha256(), hashlib.sha256()
    stored = parse(files, seen)
    _keep(stored, folder, start, [state.digest() for state in seen])
    return stored


def _sizes(files: Files) -> tuple[int, ...]:
    try:
        return tuple(file.stat().st_size for file in (files.items, files.scores))
    except OSError:
        return ()  # who parses it says why


def _find(folder: Path, start: str, files: Files) -> Stored | None:
    """The copy of these files, None where there is none that is whole and this user's (or the machine's)."""
    try:
        # Most files without a copy are known by their sizes, and not read twice.
        if not any(folder.glob(f"{start}-*")):
            return None
        path = folder / _name(start, [_digest_of_file(files.items), _digest_of_file(files.scores)])
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid not in {0, os.geteuid()}:
                return None
            stored = _decoded(ColumnReader(file))
        with suppress(OSError):
            os.utime(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return stored


def _keep(stored: Stored, folder: Path, start: str, digests: Sequence[bytes]) -> None:
    """Writes the copy of files with these SHA-256, where the disk allows, and only then gives it its name."""
    temporary = None
    try:
        path = folder / _name(start, digests)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".")
        with os.fdopen(descriptor, "wb") as out:
            _encode(stored, ColumnWriter(out))
        os.replace(temporary, path)  # noqa: PTH105 - the path is a string
        temporary = None
        # Whatever lies there: a process that was killed leaves its unfinished copy behind.
        resources.tidy(folder, "*", keep=path, seconds=KEPT_SECONDS, most_bytes=KEPT_BYTES)
    except (OSError, TypeError, ValueError):
        return  # a copy that cannot be written is none
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _name(start: str, digests: Sequence[bytes]) -> str:
    """The name of the copy of files with these SHA-256; it covers the code that a copy follows from, too.

    Raises:
        OSError: where that code cannot be read.
    """
    import hashlib

    from evalkit.compare import columns
    from evalkit.run import rows

    own = [Path(str(module.__file__)) for module in (sample, columns, rows)]
    state = hashlib.sha256(b"".join(digests))
    for path in (Path(__file__), *own):
        state.update(_digest_of_file(path))
    return f"{start}-{state.hexdigest()[:40]}"


def _digest_of_file(path: Path) -> bytes:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _encode(stored: Stored, out: ColumnWriter) -> None:
    out.json("run", [stored.journals, list(stored.suites)])
    for number, suite in enumerate(stored.suites.values()):
        samples = suite.samples
        counts = suite.unanswered, suite.unjudged, suite.gradings, float(suite.judge_variance).hex()
        out.json(f"{number} counts", [len(samples.items), len(samples), *counts])
        _encode_items(samples.items, out, f"{number} items ")
        out.array(f"{number} item", samples.item, "<i4")
        for name, kind in _NUMBERS.items():
            out.array(f"{number} {name}", getattr(samples, name), kind)
        for name in _LABELS:
            out.labels(f"{number} {name}", getattr(samples, name))
        out.array(f"{number} offset", suite.offset, "<i8")
        out.array(f"{number} file", suite.file, "<i2")
        out.json(f"{number} options", [[*cell, values] for cell, values in suite.options.items()])
        out.json(f"{number} second", [[*cell, value] for cell, value in suite.second.items()])
    out.finish()


def _encode_items(items: ItemTable, out: ColumnWriter, start: str) -> None:
    for name in ("name", "document", "prompt"):
        out.json(start + name, getattr(items, name))
    for name in ("stratum", "cluster", "tags"):
        out.repeated(start + name, getattr(items, name))
    out.array(f"{start}weight", items.weight, "<f8")
    _TABLES.setdefault(content_of(out.index, start), items)


def _decoded(read: ColumnReader) -> Stored:
    journals, names = read.json("run")
    return Stored(tuple(journals), {name: _decoded_suite(read, number) for number, name in enumerate(names)})


def _decoded_suite(read: ColumnReader, number: int) -> StoredSuite:
    n_items, size, unanswered, unjudged, gradings, judge_variance = read.json(f"{number} counts")
    items = _decoded_items(read, f"{number} items ", n_items)  # first: it takes the most memory while it is made
    numbers = {name: read.array(f"{number} {name}", kind, size) for name, kind in _NUMBERS.items()}
    words = {name: read.labels(f"{number} {name}", size) for name in _LABELS}
    of_samples: dict[str, Any] = {"item": read.codes(f"{number} item", size, n_items), **numbers, **words}
    file = read.array(f"{number} file", "<i2")
    if file.size not in {0, size}:
        raise ValueError("another number of rows")
    return StoredSuite(
        samples=Samples(items=items, **of_samples),
        offset=read.array(f"{number} offset", "<i8", size),
        file=file,
        options={(item, repeat): tuple(values) for item, repeat, values in read.json(f"{number} options")},
        second={(item, repeat): value for item, repeat, value in read.json(f"{number} second")},
        unanswered=unanswered,
        unjudged=unjudged,
        gradings=gradings,
        judge_variance=float.fromhex(judge_variance),
    )


def _decoded_items(read: ColumnReader, start: str, size: int) -> ItemTable:
    content = content_of(read.index, start)
    held = _TABLES.get(content)
    if held is not None and len(held) == size:
        return held
    name, document, prompt = (tuple(read.json(start + column)) for column in ("name", "document", "prompt"))
    if not len(name) == len(document) == len(prompt) == size:
        raise ValueError("another number of items")
    table = ItemTable(
        name=name,
        stratum=read.repeated(f"{start}stratum", size, tuple),
        cluster=read.repeated(f"{start}cluster", size),
        weight=read.array(f"{start}weight", "<f8", size),
        document=document,
        prompt=prompt,
        tags=read.repeated(f"{start}tags", size, _pairs),
    )
    return _TABLES.setdefault(content, table)


def _pairs(tags: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, tags))
