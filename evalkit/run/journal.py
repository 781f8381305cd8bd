"""The journal: an append-only file of everything that came back, keyed by what decides an answer.

Records (`evalkit.run.records`) are written within some 2 ms by a thread of its own and forced to disk once a second by
another, so `kill -9` loses what was in flight and those 2 ms, and a power cut about a second more. Nothing is ever
rewritten; a record that a crash left unfinished at the end is cut off before more are appended. Further
`journal*.records` files in the folder (shards of other machines) are read as well.
"""

import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import google_crc32c

from evalkit.endpoint.body import completion_tokens
from evalkit.errors import RunError, StorageError
from evalkit.run.records import Answerer, Damage, FailureRecord, read_records, torn_at

WRITE_EVERY_SECONDS = 0.002
SYNC_EVERY_SECONDS = 1.0
# Where the disk is so slow that this much waits for it, the run waits too.
MOST_WAITING_BYTES = 32 << 20
NAME: Final = "journal.records"
_END_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reply's record is, and who gave it."""

    file: Path
    offset: int
    completion_tokens: int | None
    by: Answerer


def files(folder: Path) -> list[Path]:
    """The journal files of a run folder, in the order in which they are read; never one outside of it."""
    return sorted(path for path in folder.glob("journal*.records") if path.is_file() and not path.is_symlink())


@dataclass(frozen=True, slots=True)
class Index:
    """What a run folder holds: replies by key (the first one counts) and, for keys without one, the last failure.

    `damage` is what could not be read.
    """

    replies: dict[str, Place]
    failures: dict[str, FailureRecord]
    damage: tuple[Damage, ...] = ()


def index(folder: Path) -> Index:
    """Reads the journals of a run folder. Raises `RunError`: where one cannot be read."""
    replies: dict[str, Place] = {}
    known: dict[Answerer, Answerer] = {}  # one value for all replies of one answerer
    failures: dict[str, FailureRecord] = {}
    damage: list[Damage] = []
    for file in files(folder):
        for offset, record in read_records(file):
            if isinstance(record, Damage):
                damage.append(record)
            elif isinstance(record, FailureRecord):
                failures[record.key] = record
            elif record.key not in replies:
                by = record.answerer
                replies[record.key] = Place(file, offset, completion_tokens(record.body), known.setdefault(by, by))
    left = {key: record for key, record in failures.items() if key not in replies}
    return Index(replies, left, tuple(damage))


def damage_sentences(damage: Sequence[Damage]) -> tuple[str, ...]:
    """What is damaged in a run's journals, a sentence a file; what a crash left unfinished at an end is no damage."""
    by_file: dict[Path, list[Damage]] = {}
    for one in damage:
        if not one.torn:
            by_file.setdefault(one.file, []).append(one)
    said = []
    for file, found in by_file.items():
        more = f" and in {len(found) - 1} more place{'s' * (len(found) > 2)}" if len(found) > 1 else ""
        size = sum(one.length for one in found)
        told = f"{file}: is damaged at byte {found[0].offset}{more} ({found[0].why}; {size} bytes in all)"
        said.append(f"{told}: what was answered there is asked again")
    return tuple(said)


def extents(folder: Path) -> list[list[Any]]:
    """Which journals a run folder has, as far as they were written: of each its name, its bytes, its end's CRC32C.

    Raises `RunError`: where one cannot be read.
    """
    found: list[list[Any]] = []
    for file in files(folder):
        try:
            with file.open("rb") as data:
                size = os.fstat(data.fileno()).st_size
                data.seek(max(0, size - _END_BYTES))
                found.append([file.name, size, google_crc32c.value(data.read(_END_BYTES))])
        except OSError as error:
            raise RunError(f"{file}: cannot be read: {error.strerror}") from error
    return found


class Lock:
    """Keeps a second process out of a run folder for as long as this one lives."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock.

        Raises `RunError`: naming the process that has it; `StorageError`: where the folder cannot be written.
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
        self._file.write(f"process {os.getpid()} on {os.uname().nodename}\n".encode())
        self._file.flush()

    def release(self) -> None:
        """Lets others in; the lock file stays, empty of meaning."""
        self._file.close()


_HELD: Final[set[Path]] = set()  # run folders that a call of this process keeps to itself


@contextmanager
def held(folders: Iterable[Path]) -> Iterator[None]:
    """Keeps run folders for this call alone, from before it asks until it has read what was answered.

    Journals of this process are then opened in them without a lock of their own.

    Raises `RunError`: where another process, or another call, has one; `StorageError`: where a folder cannot be
    written.
    """
    with ExitStack() as stack:
        for folder in sorted({folder.resolve() for folder in folders}):
            stack.callback(Lock(folder).release)
            _HELD.add(folder)
            stack.callback(_HELD.remove, folder)
        yield


def set_aside(folder: Path) -> str:
    """Gives a run folder that holds something another name beside it, the time's; that name, "" without such a folder.

    Raises `RunError`: where another process has it; `StorageError`: where it cannot be renamed.
    """
    if not files(folder):
        return ""
    with held([folder]):
        name = f"{folder.name}.before-{datetime.now(UTC):%Y-%m-%dT%H%M%S}"
        try:
            folder.rename(folder.with_name(name))
        except OSError as error:
            raise StorageError(f"{folder}: cannot be renamed to {name}: {error.strerror}") from error
    return name


class Journal:
    """The writing end of a run folder's journal: `append` hands over, a thread writes, another forces to disk."""

    def __init__(self, folder: Path) -> None:
        """Opens (or starts) the journal for appending.

        Raises `RunError`: where another process has the run; `StorageError`: where the disk refuses.
        """
        self._lock = None if folder.resolve() in _HELD else Lock(folder)
        self.path = folder / NAME
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._problem: OSError | None = None
        self._unsynced = False
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            with self.path.open("rb") as data:
                torn = torn_at(data, os.fstat(self._descriptor).st_size)
            if torn is not None:
                os.ftruncate(self._descriptor, torn)
        except OSError as error:
            self._release()
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
        """Hands over one record, to be in the file a few milliseconds later; waits only where the disk is far behind.

        Raises `StorageError`: where an earlier one could not be written.
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

        Raises `StorageError`: where the disk refuses.
        """
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._sync()
        os.close(self._descriptor)
        self._release()
        self._raise_problem()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise StorageError(
                f"{self.path}: the disk does not take more ({self._problem.strerror}): all answers written before are "
                "kept; free some space and run again, which asks only what is missing"
            ) from self._problem

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
