"""How a journal's records lie in its file: each compressed by itself, with a checksum over all of it.

A record is MAGIC, the length of its frame (4 bytes, little-endian), its key (16 bytes), the frame, and the CRC32C of
all before. The frame is zstd, of one JSON object, compressed with a dictionary that ships with evalkit and holds what
such records have in common. A record is read where it is whole and says what a record says; anything else is damage,
and the next record that is whole is looked for behind it.
"""

import os
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self, TypeAlias, get_args, get_type_hints

import google_crc32c
import orjson
import zstandard

from evalkit.endpoint.body import label, stored_reply
from evalkit.endpoint.echo import without_echo
from evalkit.errors import RunError
from evalkit.model import Failure, FailureKind, Reply, Request

MAGIC: Final = b"\xf5EK\x01"
DICTIONARY_ID: Final = 40001  # names the dictionary in every frame: another one is another id, and another file
LEVEL: Final = 9
MOST_BYTES: Final = 1 << 29  # no record is longer, packed or not
_SEARCHED: Final = 1 << 16
_HEAD: Final = struct.Struct("<4sI16s")
_CRC: Final = struct.Struct("<I")


class Answerer(NamedTuple):
    """Who gave an answer, as the reply says: model, build and address, each "" where nothing is said of it."""

    model: str = ""
    fingerprint: str = ""
    address: str = ""

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """Who gave a reply."""
        return cls(reply.model or "", reply.fingerprint, reply.address)


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """One answer: what was asked, by key, and the body as JSON, exactly as the server sent it but for an echoed prompt.

    `at` is when it was kept, in seconds since 1970; `seconds` is the time of the last of its `attempts`,
    `address` the base address that gave it.
    """

    key: str
    body: dict[str, Any]
    seconds: float
    suite: str = ""
    item: str = ""
    repeat: int = 0
    seed: int | None = None
    at: float = 0.0
    attempts: int = 1
    address: str = ""

    @property
    def answerer(self) -> Answerer:
        """Who gave the answer, as far as the body says it."""
        model, build = self.body.get("model"), self.body.get("system_fingerprint")
        return Answerer(label(model) if isinstance(model, str) else "", label(build), self.address)

    def reply(self) -> Reply:
        """The reply, read from the body by the rules that the client reads a fresh one by; its `raw` is empty.

        Raises `RunError`: where the body cannot be read.
        """
        reply = stored_reply(self.body, seconds=float(self.seconds))
        if not isinstance(reply, Reply):
            raise RunError(f"the stored reply {self.key} cannot be read: {reply.detail}")
        return reply


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """One request that was given up: `kind` is a `model.FailureKind`, `status` the HTTP status of its last answer."""

    key: str
    kind: str
    detail: str
    status: int | None = None
    seconds: float = 0.0
    suite: str = ""
    item: str = ""
    repeat: int = 0
    seed: int | None = None
    at: float = 0.0
    attempts: int = 1
    address: str = ""


Record: TypeAlias = ReplyRecord | FailureRecord


def told(failure: Failure | FailureRecord, *, gated: bool) -> str:
    """Why a request failed; of a gated data set without the server's own words, which may quote the question."""
    if gated and failure.status is not None:
        return (
            f"HTTP {failure.status}; what the server said may quote a gated data set, and stands in the journal alone"
        )
    return failure.detail


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a journal that are no record, and why; `torn` where the file ends within a record, as a crash leaves it.

    Whatever was answered there is asked again.
    """

    file: Path
    offset: int
    length: int
    why: str
    torn: bool = False


def packed(request: Request, outcome: Reply | Failure, at: float) -> bytes:
    """The record of what became of a request, as it is appended to a journal; `at`, now, is in seconds since 1970.

    A failure is dated by its first attempt: after all its attempts it would stand behind what was asked with it.
    """
    if isinstance(outcome, Failure):
        at -= outcome.since_seconds
    said: dict[str, Any] = {
        "record": "reply" if isinstance(outcome, Reply) else "failure",
        "suite": request.suite,
        "item": request.item,
        "repeat": request.repeat,
        "seed": request.seed,
        "at": round(at, 6),
        "seconds": round(outcome.seconds, 4),
        "attempts": outcome.attempts,
        "address": outcome.address,
    }
    if isinstance(outcome, Failure):
        said |= {"kind": outcome.kind.value, "status": outcome.status, "detail": outcome.detail}
    elif request.continuation:
        said["body"] = without_echo(orjson.loads(outcome.raw), request.continuation)
    else:
        said["body"] = orjson.Fragment(outcome.raw)
    return framed(request.key, orjson.dumps(said))


def framed(key: str, document: bytes) -> bytes:
    """A record of this JSON object; `key` has 32 hexadecimal digits."""
    frame = _codec().pack(document)
    whole = _HEAD.pack(MAGIC, len(frame), bytes.fromhex(key)) + frame
    return whole + _CRC.pack(google_crc32c.value(whole))


def unpacked(data: bytes) -> Record | str:
    """The record that these bytes are, or a word on why they are none."""
    if len(data) < _HEAD.size + _CRC.size or data[:4] != MAGIC:
        return "no record begins there"
    if google_crc32c.value(data[: -_CRC.size]) != _CRC.unpack_from(data, len(data) - _CRC.size)[0]:
        return "its checksum does not fit"
    frame = data[_HEAD.size : -_CRC.size]
    try:
        about = zstandard.get_frame_parameters(frame)
        if about.dict_id != DICTIONARY_ID:
            return f"it was compressed with the dictionary {about.dict_id}, of another version of evalkit"
        if about.content_size > MOST_BYTES:
            return "it claims to be longer than a record can be"
        said = orjson.loads(_codec().unpack(frame))
    except (zstandard.ZstdError, orjson.JSONDecodeError):
        return "it cannot be unpacked"
    return _record(data[8:24].hex(), said) or "it does not say what a record says"


def _record(key: str, said: Any) -> Record | None:
    """The record of a JSON object; None where the object is no record."""
    if not isinstance(said, dict):
        return None
    kind = str(said.pop("record", None))
    if kind not in _KINDS or not _fits(kind, tuple(said), tuple(map(type, said.values()))):
        return None
    record = _KINDS[kind](key, **said)
    if isinstance(record, FailureRecord):
        return record if record.kind in _FAILURES else None
    return record if isinstance(stored_reply(record.body, seconds=0.0), Reply) else None


_KINDS: Final[Mapping[str, type[Record]]] = {"reply": ReplyRecord, "failure": FailureRecord}
_FAILURES: Final = frozenset(kind.value for kind in FailureKind)


@lru_cache(256)
def _fits(kind: str, names: tuple[str, ...], types: tuple[type, ...]) -> bool:
    """True where these keys with values of these types make a record; the same few shapes come again and again."""
    allowed = {**get_type_hints(_KINDS[kind]), "at": int | float, "seconds": int | float}
    del allowed["key"]
    if "body" in allowed:
        allowed["body"] = dict
    if sorted(names) != sorted(allowed):
        return False
    return all(of in (get_args(allowed[name]) or (allowed[name],)) for name, of in zip(names, types, strict=True))


@cache
def _dictionary() -> zstandard.ZstdCompressionDict:
    file = Path(__file__).with_name(f"journal-{DICTIONARY_ID}.zdict")
    dictionary = zstandard.ZstdCompressionDict(file.read_bytes(), dict_type=zstandard.DICT_TYPE_FULLDICT)
    dictionary.precompute_compress(level=LEVEL)
    return dictionary


class _Codec(threading.local):
    """Packs and unpacks frames; zstandard's objects serve one thread at a time."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(dict_data=_dictionary()).compress
        self.unpack = zstandard.ZstdDecompressor(dict_data=_dictionary()).decompress


@cache
def _codec() -> _Codec:
    return _Codec()


def read_records(file: Path) -> Iterator[tuple[int, Record | Damage]]:
    """(offset in bytes, record) of a journal file, and what is damaged in between.

    Raises `RunError`: where the file cannot be read.
    """
    with _opened(file) as (data, size):
        offset = 0
        while offset < size:
            end, found = _at(data, offset, size)
            if isinstance(found, str):
                damaged = _damaged(file, data, offset, size, found)
                yield offset, damaged
                offset += damaged.length
            else:
                yield offset, found
                offset = end


def read_at(file: Path, offset: int, key: str) -> ReplyRecord:
    """The reply with this key, whose record begins at a byte. Raises `RunError`: where it is not there any more."""
    with _opened(file) as (data, size):
        _end, found = _at(data, offset, size)
    if isinstance(found, ReplyRecord) and found.key == key:
        return found
    why = found if isinstance(found, str) else "another record is there"
    raise RunError(f"{file}: the reply at byte {offset} is gone ({why}): `evalkit run` asks again what is lost")


def torn_at(data: BinaryIO, size: int) -> int | None:
    """Where the record begins that a crash left unfinished at the end of a file; None where the last one is whole."""
    offset = 0
    while offset < size:
        end = _end_of(data, offset)
        if end is None:
            return None
        if end > size:
            return offset if _next(data, offset + 1, size) is None else None
        offset = end
    return None


@contextmanager
def _opened(file: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A journal file, and how many bytes it has now; a `RunError` where it cannot be read, now or in the body."""
    try:
        with file.open("rb", buffering=1 << 18) as data:
            yield data, os.fstat(data.fileno()).st_size
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}") from error


def _end_of(data: BinaryIO, offset: int) -> int | None:
    """Where a record that begins at a byte says that it ends, which may be behind the file; None where none begins."""
    data.seek(offset)
    head = data.read(_HEAD.size)
    if head[:4] != MAGIC[: len(head)]:
        return None
    length = _HEAD.unpack(head)[1] if len(head) == _HEAD.size else 0
    return int(offset + _HEAD.size + length + _CRC.size)


def _at(data: BinaryIO, offset: int, size: int) -> tuple[int, Record | str]:
    """Where a record ends that begins at a byte, and the record; or a word on why there is none."""
    end = _end_of(data, offset)
    if end is None or end > size:
        return offset, "no record begins there" if end is None else "the file ends within it"
    data.seek(offset)
    return end, unpacked(data.read(end - offset))


def _next(data: BinaryIO, offset: int, size: int) -> int | None:
    """Where the next whole record begins."""
    while offset < size:
        data.seek(offset)
        found = data.read(_SEARCHED).find(MAGIC)
        if found < 0:
            offset += _SEARCHED - len(MAGIC) + 1
        elif isinstance(_at(data, offset + found, size)[1], str):
            offset += found + 1
        else:
            return offset + found
    return None


def _damaged(file: Path, data: BinaryIO, offset: int, size: int, why: str) -> Damage:
    """What is damaged from a byte on, up to the next whole record or the end of the file."""
    following = _next(data, offset + 1, size)
    end = _end_of(data, offset)
    torn = following is None and end is not None and end > size
    return Damage(file, offset, (size if following is None else following) - offset, why, torn)
