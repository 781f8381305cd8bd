"""The derived files of a run: items, documents and scores of one plan, written whole and then moved in place.

They follow from the journal and the suites and can be made again at any time (`evalkit score`); a comparison reads
only these. Names carry the plan's digest, so another plan never overwrites them.

    items-PLAN.jsonl    suite, item, task, stratum, tags, cluster, weight
    docs-PLAN.jsonl     suite, item, target, question, document (what a scorer reads)
    scores-PLAN.jsonl   a header, then one row a planned (item, repeat): "s" suite, "i" item, "r" repeat, "v" value,
                        "st" status, "why" its reason, "a" answer, "f" kind of failure, "h" digest of the reply, "n" its
                        characters, "p" and "c" prompt and completion tokens, "sec" seconds, "l" lenient value, "cut"
                        stopped at the token limit, "loop" ends in a loop, "k" key, "j" byte of the journal, "jf" its
                        number in the header's `journals` where that is not 0, "flags" and "m" as the scorer gave them
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from evalkit.errors import RunError, StorageError
from evalkit.model import Item

if TYPE_CHECKING:
    from evalkit.run.plan import Plan

SCORES_FORMAT = 2
_BLOCK_BYTES = 1 << 17  # more rows at a time fall out of the processor's cache


def items_path(folder: Path, plan_digest: str) -> Path:
    """Where the items of a plan are listed."""
    return folder / f"items-{plan_digest[:12]}.jsonl"


def docs_path(folder: Path, plan_digest: str) -> Path:
    """Where the documents of a plan are kept."""
    return folder / f"docs-{plan_digest[:12]}.jsonl"


def scores_path(folder: Path, plan_digest: str) -> Path:
    """Where the scores of a plan are kept."""
    return folder / f"scores-{plan_digest[:12]}.jsonl"


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the rows and only then gives the file its name: readers see all of it or nothing.

    Raises:
        StorageError: where the disk refuses.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            for row in rows:
                out.write(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY, default=str))
                out.write(b"\n")
        os.chmod(temporary, 0o644)  # noqa: PTH101 - mkstemp makes files private, a run is to be shared
        os.replace(temporary, path)  # noqa: PTH105 - the path is a string
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_items(folder: Path, plan: Plan) -> None:
    """Writes items and documents of the plan, where they are not there yet."""
    if not items_path(folder, plan.digest).exists():
        write_lines(items_path(folder, plan.digest), (_item_row(item, tags) for item, tags in _items(plan)))
    if not docs_path(folder, plan.digest).exists():
        write_lines(docs_path(folder, plan.digest), (_doc_row(item) for item, _tags in _items(plan)))


def _items(plan: Plan) -> Iterator[tuple[Item, Mapping[str, str]]]:
    """Every item of the plan, with what its suite counts it under."""
    for suite in plan.suites:
        for item in suite.loaded.items:
            yield item, suite.loaded.suite.tags


def _item_row(item: Item, tags: Mapping[str, str]) -> dict[str, Any]:
    row = {
        "s": item.suite,
        "i": item.id,
        "task": item.task,
        "stratum": item.stratum,
        "cluster": item.cluster or "",
        "weight": item.weight,
        "doc_hash": item.doc_hash,
        "prompt": item.prompt.digest,
    }
    return {**row, "tags": _words(item, tags)} if tags else row


def _words(item: Item, tags: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every (heading, word) under which the item is counted."""
    found = []
    for heading, name in tags.items():
        words = item.doc[name]
        found += [(heading, str(word)) for word in (words if isinstance(words, (list, tuple)) else [words])]
    return found


def _doc_row(item: Item) -> dict[str, Any]:
    return {"s": item.suite, "i": item.id, "target": item.target, "question": question_of(item), "doc": item.doc}


def question_of(item: Item) -> str:
    """The text of the last user turn: what a person needs to see to judge a reply."""
    for message in reversed(item.prompt.messages):
        if message.get("role") == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            return "\n".join(str(part.get("text", "[picture]")) for part in content)
    return item.prompt.text or ""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a derived file.

    Raises:
        RunError: where it is absent or damaged.
    """
    return (row for _offset, row in read_places(path))


def read_places(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a derived file, each with the byte at which it begins.

    Raises:
        RunError: where it is absent or damaged.
    """
    offset = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield offset, orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise RunError(f"{path}:{number}: is damaged: `evalkit score` makes it again") from error
                offset += len(line)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}): `evalkit score` makes it again") from error


class Seen(Protocol):
    """What is told of every byte that is read, such as a digest in the making."""

    def update(self, content: bytes, /) -> None:
        """Takes the next bytes."""


def read_blocks(path: Path, seen: Seen | None = None) -> Iterator[list[dict[str, Any]]]:
    """The rows of a derived file, some thousands at a time: five times as fast as row by row.

    Raises:
        RunError: where it is absent or damaged.
    """
    rest = b""
    try:
        with path.open("rb") as content:
            while block := content.read(_BLOCK_BYTES):
                if seen is not None:
                    seen.update(block)
                whole, newline, tail = (rest + block).rpartition(b"\n")
                rest = tail
                if newline:
                    yield _parsed(whole, path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}): `evalkit score` makes it again") from error
    if rest:
        yield _parsed(rest, path)


def _parsed(lines: bytes, path: Path) -> list[dict[str, Any]]:
    """The rows of some whole lines, parsed as one list: no JSON text holds a line feed but between two values."""
    try:
        rows: list[dict[str, Any]] = orjson.loads(b"[%b]" % lines.replace(b"\n", b","))
    except orjson.JSONDecodeError:
        list(read_lines(path))  # says which line
        raise
    return rows


def read_at(path: Path, offset: int) -> dict[str, Any]:
    """The row that begins at a byte.

    Raises:
        RunError: where there is none any more.
    """
    try:
        with path.open("rb") as lines:
            lines.seek(offset)
            row: dict[str, Any] = orjson.loads(lines.readline())
    except (OSError, orjson.JSONDecodeError) as error:
        raise RunError(f"{path}: cannot be read at byte {offset}: `evalkit score` makes it again") from error
    return row
