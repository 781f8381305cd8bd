"""Digests that give things an identity, and the one way in which whole files are written."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from evalkit.errors import StorageError

# ---------------------------------------------------------------- digests


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; equal values give equal bytes.

    Raises:
        TypeError: for a value that is no JSON.
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
    """SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        OSError: where it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- whole files


def write_whole(path: Path, content: bytes | Iterable[bytes], *, private: bool = False) -> None:
    """Writes a file so that a reader, or one who comes after a power cut, finds all of it or what was there before.

    Raises:
        StorageError: as `whole_file`.
    """
    with whole_file(path, private=private) as out:
        out.writelines([content] if isinstance(content, bytes) else content)


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` when the body has ended without an error, and else never was.

    Folders that are missing are made. A file that was there keeps its permissions, a new one may be read by others
    unless it is `private`; a link stays a link; what is no plain file (`/dev/stdout`, a pipe) is written to as it is.

    Raises:
        StorageError: where the disk refuses, or the body met an OSError.
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
    draft = path.with_name(f".evalkit-{os.getpid()}-{secrets.token_hex(4)}")
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
