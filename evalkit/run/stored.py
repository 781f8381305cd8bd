"""What lies under a folder of runs: its records in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit.errors import RunError
from evalkit.run import journal
from evalkit.run.records import Damage, Record, read_records


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
