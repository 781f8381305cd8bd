"""The journal: an append-only JSONL file of everything that came back, keyed by what decides an answer.

A record (`ReplyRecord`, `FailureRecord`) is one line; a line that a crash tore is skipped. Records are
written within some 2 ms by a thread of its own and forced to disk once a second by another, so `kill -9` loses what was
in flight and those 2 ms, and a power cut about a second more. Nothing is ever rewritten. Further `journal*.jsonl` files
in the folder (shards of other machines) are read as well.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, TypeAlias

import orjson

from evalkit.errors import RunError, StorageError
from evalkit.model import Failure, Reply, Request
from evalkit.run.answerers import Answerer

WRITE_EVERY_SECONDS = 0.002
SYNC_EVERY_SECONDS = 1.0
# Where the disk is so slow that this much waits for it, the run waits too.
MOST_WAITING_BYTES = 32 << 20
NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """One answer: what was asked, by key, and the body as JSON, exactly as the server sent it.

    `at` is when it was kept, in seconds since 1970; `seconds` is the time of the last of its `attempts`, `address` the
    base address that gave it.
    """

    key: str
    body: Any
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
        told = self.body if isinstance(self.body, dict) else {}
        model = told.get("model")
        build = str(told.get("system_fingerprint") or "")
        return Answerer(model if isinstance(model, str) else "", build, self.address)

    def reply(self) -> Reply:
        """The reply, read from the body by the rules that the client reads a fresh one by; its `raw` is empty.

        Raises:
            RunError: where the body cannot be read any more.
        """
        from evalkit.endpoint.body import stored_reply  # most comparisons read scores and few replies

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
_RECORDS: Final[Mapping[str, type[Record]]] = {"reply": ReplyRecord, "failure": FailureRecord}


def journal_line(request: Request, outcome: Reply | Failure, at: float) -> bytes:
    """The journal's line for what became of a request."""
    line: dict[str, Any] = {
        "record": "reply" if isinstance(outcome, Reply) else "failure",
        "key": request.key,
        "suite": request.suite,
        "item": request.item,
        "repeat": request.repeat,
        "seed": request.seed,
        "at": round(at, 3),
        "seconds": round(outcome.seconds, 4),
        "attempts": outcome.attempts,
        "address": outcome.address,
    }
    if isinstance(outcome, Reply):
        line["body"] = orjson.Fragment(outcome.raw)
    else:
        line |= {"kind": outcome.kind.value, "status": outcome.status, "detail": outcome.detail}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def journal_record(line: bytes) -> Record | None:
    """The record of a journal's line; None for a line that a crash tore, and for what is no record.

    A record is one JSON object: a line that was cut anywhere but after its last brace does not parse.
    """
    try:
        found = orjson.loads(line)
        return _RECORDS[found.pop("record")](**found)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reply's line is, and who gave it."""

    file: Path
    offset: int
    completion_tokens: int | None
    by: Answerer


def read_lines(file: Path) -> Iterator[tuple[int, Record]]:
    """(offset, record) for every whole line of a journal file; torn lines are skipped.

    Raises:
        RunError: where the file cannot be read.
    """
    offset = 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                start, offset = offset, offset + len(line)
                record = journal_record(line)
                if record is not None:
                    yield start, record
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}") from error


def read_at(file: Path, offset: int) -> ReplyRecord:
    """The reply whose line begins at a byte.

    Raises:
        RunError: where it is not there any more.
    """
    try:
        with file.open("rb") as lines:
            lines.seek(offset)
            record = journal_record(lines.readline())
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}") from error
    if not isinstance(record, ReplyRecord):
        gone = f"the reply at byte {offset} is gone: the file was cut or edited"
        raise RunError(f"{file}: {gone}; `evalkit run` asks again what it lost")
    return record


def files(folder: Path) -> list[Path]:
    """The journal files of a run folder, in the order in which they are read."""
    return sorted(folder.glob("journal*.jsonl"))


def index(folder: Path) -> tuple[dict[str, Place], dict[str, FailureRecord]]:
    """What a run folder holds: replies by key (the first one counts) and, for keys without one, the last failure."""
    from evalkit.endpoint.body import completion_tokens  # a comparison of stored runs needs none of it

    replies: dict[str, Place] = {}
    known: dict[Answerer, Answerer] = {}  # one value for all replies of one answerer
    failures: dict[str, FailureRecord] = {}
    for file in files(folder):
        for offset, record in read_lines(file):
            if isinstance(record, FailureRecord):
                failures[record.key] = record
            elif record.key not in replies:
                by = record.answerer
                replies[record.key] = Place(file, offset, completion_tokens(record.body), known.setdefault(by, by))
    return replies, {key: record for key, record in failures.items() if key not in replies}


class Lock:
    """Keeps a second process out of a run folder for as long as this one lives."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock.

        Raises:
            RunError: naming the process that has it.
            StorageError: where the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = (folder / "lock").open("a+b")
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written: {error.strerror}: give another `runs:`") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            owner = self._file.read(200).decode(errors="replace").strip() or "another process"
            self._file.close()
            raise RunError(f"{folder}: is in use by {owner}: wait for it, or give this run another name") from error
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._file.flush()

    def release(self) -> None:
        """Lets others in; the lock file stays, empty of meaning."""
        self._file.close()


class Journal:
    """The writing end of a run folder's journal: `append` hands over, a thread writes, another forces to disk."""

    def __init__(self, folder: Path) -> None:
        """Opens (or starts) the journal for appending.

        Raises:
            RunError: where another process has the run.
            StorageError: where the disk refuses.
        """
        self._lock = Lock(folder)
        self.path = folder / NAME
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._problem: OSError | None = None
        self._unsynced = False
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._end_torn_line()
        except OSError as error:
            self._lock.release()
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._threads = [
            threading.Thread(target=work, name="journal", daemon=True) for work in (self._write_on, self._sync_on)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def append(self, record: bytes) -> None:
        """Hands over one line, to be in the file a few milliseconds later; waits only where the disk is far behind.

        Raises:
            StorageError: where an earlier line could not be written.
        """
        self._raise_problem()
        with self._changed:
            self._waiting.append(record)
            self._waiting_bytes += len(record)
            if len(self._waiting) == 1:
                self._changed.notify_all()
            while self._waiting_bytes > MOST_WAITING_BYTES and self._problem is None:
                self._changed.wait()

    def close(self) -> None:
        """Writes what is waiting, forces it to disk and gives the run free.

        Raises:
            StorageError: where the disk refuses.
        """
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._sync()
        os.close(self._descriptor)
        self._lock.release()
        self._raise_problem()

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise StorageError(
                f"{self.path}: the disk does not take more ({self._problem.strerror}): all answers written before are "
                "kept; free some space and run again, which asks only what is missing"
            ) from self._problem

    def _end_torn_line(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def _write_on(self) -> None:
        """Writes what waits, a little after the first of it has come, so that what comes with it goes along."""
        while self._wait_for_records():
            self._stop.wait(WRITE_EVERY_SECONDS)
            with self._changed:
                batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
                self._changed.notify_all()
            try:
                if self._problem is None:
                    self._write(b"".join(batch))
            except OSError as error:
                self._problem = error

    def _wait_for_records(self) -> bool:
        """True once records wait, False where none do and none will."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stop.is_set())
            return bool(self._waiting)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            view = view[written:]
        self._unsynced = True

    def _sync_on(self) -> None:
        # A thread of its own: a disk may take its time over this, and what comes meanwhile is to be written.
        while not self._stop.wait(SYNC_EVERY_SECONDS):
            self._sync()

    def _sync(self) -> None:
        if not self._unsynced:
            return
        self._unsynced = False
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._problem = error
