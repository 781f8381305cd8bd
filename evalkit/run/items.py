"""The items of a suite as it was loaded: what is compared by, and the questions that people read.

A file holds one suite, and is named by the digest of what is in it: `items-DIGEST.parquet`. It lies once in the folder
`store` beside the runs, and every run that asked these items has a hard link to it (a copy, where the disk has no
links): all sides and nights share it, and a run folder that is copied elsewhere is whole. `ITEMS` says what its columns
are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import orjson

from evalkit.compare.columns import ItemTable, ItemText
from evalkit.errors import RunError, StorageError
from evalkit.files import digest64, write_whole
from evalkit.model import Item
from evalkit.run.parquet import AGAIN, Table, columns_of, encoded

if TYPE_CHECKING:
    from evalkit.tasks.items import LoadedSuite

STORE: Final = "store"
_DIGITS: Final = 32
_ROWS_A_GROUP: Final = 1 << 12  # a text is read with those beside it

ITEMS: Final = columns_of("items")

_ITEM_NUMBERS: Final[Mapping[str, str]] = {"weight": "f8", "document": "u8", "prompt": "u8"}


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A row of a table of items."""

    suite: str
    item: str
    task: str = ""
    stratum: Sequence[str] = ()
    cluster: str | None = None
    weight: float = 1.0
    document: int = 0
    prompt: int = 0
    tags: Sequence[tuple[str, str]] = ()
    question: str = ""
    target: str = ""
    doc: str = "{}"

    @classmethod
    def of(cls, item: Item, tags: Mapping[str, str]) -> ItemRow:
        """The row of an item, whose document holds the words of `tags` (field by heading)."""
        document, prompt = digest64(item.doc_hash), digest64(item.prompt.digest)
        words = [(heading, str(word)) for heading, name in tags.items() for word in _several(item.doc[name])]
        doc = orjson.dumps(item.doc, option=orjson.OPT_SERIALIZE_NUMPY, default=str).decode()
        traits = item.stratum, item.cluster, item.weight
        texts = question_of(item), item.target, doc
        return cls(item.suite, item.id, item.task, *traits, document, prompt, words, *texts)


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def question_of(item: Item) -> str:
    """The text of the last user turn: what a person needs to see to judge a reply."""
    for message in reversed(item.prompt.messages):
        if message.get("role") == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            return "\n".join(str(part.get("text", "[picture]")) for part in content)
    return item.prompt.text or ""


def items_path(folder: Path, digest: str) -> Path:
    """Where a run folder has the items of this digest."""
    return folder / f"items-{digest}.parquet"


def write_suites(folder: Path, suites: Iterable[LoadedSuite], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Sees to it that the folder has the items of these suites, whole; their digests by suite.

    `known` are the digests that an earlier session of the same plan had: what is there is not made once more.

    Raises `StorageError`: where the disk refuses.
    """
    digests = {}
    for loaded in suites:
        digest = (known or {}).get(loaded.suite.name, "")
        if not _is_whole(items_path(folder, digest), digest):
            rows = (ItemRow.of(item, loaded.suite.tags) for item in loaded.items)
            digest = write_items(folder, rows)
        digests[loaded.suite.name] = digest
    return digests


def write_items(folder: Path, rows: Iterable[ItemRow]) -> str:
    """Sees to it that the folder has these items of one suite, whole; their digest, which is their name.

    Raises `StorageError`: where the disk refuses.
    """
    content = encoded(ITEMS, rows, {}, rows_a_group=_ROWS_A_GROUP)
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    own = items_path(folder, digest)
    if _is_whole(own, digest):
        return digest
    shared = items_path(folder.parent / STORE, digest)
    if not _is_whole(shared, digest):
        write_whole(shared, content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own.unlink(missing_ok=True)
        with suppress(OSError):
            os.link(shared, own)
    except OSError as error:
        raise StorageError(f"{own}: cannot be written: {error.strerror}") from error
    if not own.exists():  # a file system without links
        write_whole(own, content)
    return digest


def _is_whole(path: Path, digest: str) -> bool:
    try:
        return bool(digest) and hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest)
    except OSError:
        return False


# Both sides of a comparison have the same items as a rule: they are held once.
_HELD: Final[WeakValueDictionary[str, ItemTable]] = WeakValueDictionary()


def forget() -> None:
    """Has files read again that are held."""
    _HELD.clear()


def read_items(folder: Path, digest: str) -> ItemTable:
    """The items of this digest. Raises `RunError`: where they are absent or damaged."""
    path = items_path(folder, digest)
    if (held := _HELD.get(digest)) is not None:
        return held
    table = Table(path, ITEMS, digest)
    name = tuple(table.values("item"))
    if len(set(name)) < len(name):
        raise RunError(f"{path}: is damaged (an item is listed twice): {AGAIN}")
    paths: dict[tuple[str, ...], tuple[str, ...]] = {}
    tags = tuple(tuple(said or ()) for said in table.values("tags"))
    items = ItemTable(
        name=name,
        stratum=tuple(paths.setdefault(path, path) for path in map(tuple, table.values("stratum"))),
        cluster=tuple(table.labels("cluster")),
        tags=tags if any(tags) else (),
        **{of: table.numbers(of, kind) for of, kind in _ITEM_NUMBERS.items()},
    )
    return _HELD.setdefault(digest, items)


class Questions:
    """The questions of the items of a suite, read from its file as they are wanted, with those beside them."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Opens the file. Raises `RunError`: where it is absent or damaged."""
        self._table = Table(items_path(folder, digest), ITEMS, digest)
        self._rows = {name: row for row, name in enumerate(self._table.values("item"))}

    def of(self, item: str) -> ItemText | None:
        """Question and target of an item; None where there is no such item."""
        if (row := self._rows.get(item)) is None:
            return None
        said = self._table.row(row, "question", "target")
        return ItemText(said["question"] or "", said["target"] or "")
