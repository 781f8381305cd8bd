"""A file of named columns, each with its SHA-256; nothing in it is ever run, and only what is asked for is read.

In this order:

    columns     numbers, little-endian, or JSON, one column after another
    index       JSON: by name [kind, count, byte, SHA-256] of every column
    last line   the byte at which the index begins, in 20 digits, and the index's SHA-256
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from evalkit.compare.labels import Labels

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
