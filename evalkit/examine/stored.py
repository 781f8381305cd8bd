"""What lies under a folder of runs: which runs, how large they are, if they are whole, and records in the clear."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from evalkit.errors import RunError
from evalkit.model import Message
from evalkit.run import journal, manifest
from evalkit.run.read import verified
from evalkit.run.records import Damage, ReplyRecord, read_records

# Measured by benchmarks/storage.py: journal and scores, by answer; items are stored once for all sides.
_ANSWER_BYTES: Final = 125.0
_TOKEN_BYTES: Final = 1.05
_LOGPROB_BYTES: Final = 20.0
SCORED_REQUEST_BYTES: Final = 260.0
"""What a request by log-likelihood takes on disk, whatever the length of its prompt."""
ITEM_BYTES: Final = 200.0
"""What an item takes, once for all sides: its question, target, headings and digests."""


def answer_bytes(completion_tokens: float, *, logprobs: bool = False) -> float:
    """What an answer of so many tokens takes on disk; with `logprobs`, each token's log-probability too."""
    return _ANSWER_BYTES + completion_tokens * (_TOKEN_BYTES + (_LOGPROB_BYTES if logprobs else 0.0))


def size_of(folders: Iterable[Path]) -> int:
    """Bytes of all that lies in some folders; what several of them share by hard links counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            about = path.lstat()
            if not path.is_dir():
                sizes[about.st_dev, about.st_ino] = about.st_size
    return sum(sizes.values())


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run folder: what it holds, how large it is, and what in it is damaged or does not fit, in sentences.

    `started` is ISO 8601, of the last session; "" where no manifest says it, as for the folder of a judge.
    """

    folder: Path
    started: str
    suites: tuple[str, ...]
    answers: int
    failures: int
    disk_bytes: int
    problems: tuple[str, ...]


def stored_runs(runs: Path | str = "runs") -> list[StoredRun]:
    """The runs under a folder, the oldest first; all that they hold is read and verified.

    Raises `RunError`: where there is no such folder.
    """
    root = Path(runs)
    if not root.is_dir():
        raise RunError(f"{root}: there is no such folder: name the one that your files call `runs:`")
    folders = [path for path in sorted(root.iterdir()) if (path / manifest.NAME).is_file() or journal.files(path)]
    return sorted(map(_stored_run, folders), key=lambda run: run.started)


def _stored_run(folder: Path) -> StoredRun:
    found = journal.index(folder)
    problems = [*journal.damage_sentences(found.damage)]
    session = None
    try:
        if (folder / manifest.NAME).is_file():
            session = manifest.latest(folder)
            verified(folder, session)
            if not journal.files(folder):
                problems.append(f"{folder}: its {journal.NAME} is gone: nothing shows what its scores were made from")
    except RunError as error:
        problems.append(str(error))
    return StoredRun(
        folder=folder,
        started="" if session is None else session.started,
        suites=() if session is None else tuple(record.suite for record in session.suites),
        answers=len(found.replies),
        failures=len(found.failures),
        disk_bytes=size_of([folder]),
        problems=tuple(problems),
    )


def records(folder: Path | str) -> Iterator[dict[str, Any]]:
    """Everything that came back in a run, in the clear: a dictionary a reply (with its `body`) or failure.

    Raises `RunError`: where the folder holds none, or a file is damaged, which is said after the last record.
    """
    files = journal.files(Path(folder))
    if not files:
        raise RunError(f"{folder}: holds no {journal.NAME}: give the folder of a run")
    damage = []
    for file in files:
        for _offset, record in read_records(file):
            if isinstance(record, Damage):
                damage.append(record)
            else:
                yield asdict(record)
    if said := journal.damage_sentences(damage):
        raise RunError("; ".join(said))


LONG_TOKENS: Final = 1_024
LOOKED_AT: Final = 2_000


def long_answers(runs: Path, most: int = 4) -> tuple[tuple[Message, ...], ...]:
    """Conversations that end with the longest answers of the runs in a folder, of 1,024 tokens and more.

    So many records of each file are looked at; questions are left out, since only their digests are kept.
    """
    found: list[tuple[int, str]] = []
    for file in (file for folder in sorted(runs.glob("*")) for file in journal.files(folder)):
        for _, record in islice(read_records(file), LOOKED_AT):
            if isinstance(record, ReplyRecord):
                reply = record.reply()
                found.append((reply.usage.completion_tokens or 0, f"{reply.reasoning}{reply.content}"))
    longest = [text for tokens, text in sorted(found, reverse=True)[:most] if tokens >= LONG_TOKENS]
    asked: Message = {"role": "user", "content": "Think it through, step by step."}
    return tuple((asked, {"role": "assistant", "content": text}) for text in longest)
