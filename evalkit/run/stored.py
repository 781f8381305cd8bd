"""What lies under a folder of runs: which runs, how large they are, if they are whole, and records in the clear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from evalkit.errors import RunError
from evalkit.run import journal
from evalkit.run.records import Damage, Record, read_records

# ---------------------------------------------------------------- how much there will be

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


# ---------------------------------------------------------------- what came back


def read_clear(folder: Path) -> Iterator[Record]:
    """The records of a run's journals, in the order in which they came.

    Raises:
        RunError: where there are none, or a file is damaged, which is said after the last record.
    """
    files = journal.files(folder)
    if not files:
        raise RunError(f"{folder}: holds no {journal.NAME}: give the folder of a run")
    damage = []
    for file in files:
        for _offset, record in read_records(file):
            if isinstance(record, Damage):
                damage.append(record)
            else:
                yield record
    if said := journal.damage_sentences(damage):
        raise RunError("; ".join(said))
