"""The history's file: JSON lines that are only ever added to, one a night."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Final

from evalkit.errors import StorageError, UsageError
from evalkit.render.history import Night, from_line, to_line

NAME: Final = "history.jsonl"


def read(path: Path) -> list[Night]:
    """The nights of a file in the order in which they were added; a torn last line is dropped.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no history yet: `evalkit history add CMP` begins one") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    lines = data.split(b"\n")
    torn = lines.pop()
    nights = [from_line(line, f"{path} line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if torn.strip() and _is_whole(torn, path):
        nights.append(from_line(torn, str(path)))
    return nights


def add(path: Path, night: Night) -> bool:
    """Adds a night, whole or not at all; False where the file holds exactly this one already.

    Raises:
        UsageError: the file holds something else than a history.
        StorageError: the disk refuses.
    """
    if path.exists() and night in read(path):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            _end_whole(out, path)
            out.write(to_line(night))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    return True


def _end_whole(out: BinaryIO, path: Path) -> None:
    """Makes the file end with a whole line: what a crash tore is cut off, a line end that is missing is added."""
    out.seek(0)
    data = out.read()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return
    if _is_whole(data[end:], path):
        out.write(b"\n")
    else:
        out.truncate(end)


def _is_whole(line: bytes, path: Path) -> bool:
    try:
        from_line(line, str(path))
    except UsageError:
        return False
    return True
