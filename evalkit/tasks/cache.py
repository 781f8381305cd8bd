"""Keeps built suites on this machine: a run whose prompts were built before starts without lm-eval.

Importing lm-eval and rendering every prompt again is most of what a short run costs. What was built is kept under a
key that covers everything the items follow from: the suite's files, the content of its data files, the run's options,
evalkit's code and the versions of lm-eval, Jinja and Python. Nothing is guessed: a suite whose items follow from
something that cannot be told beforehand (functions of the user's, tasks of lm-eval's own, pictures) is built each time,
and what is kept was read back and found equal to what was built. `EVALKIT_CACHE` names another folder than the user's
cache; the folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import orjson

from evalkit import __version__, resources
from evalkit.config.suite import Suite, chain, check_suite, read_task
from evalkit.errors import DataError, StorageError
from evalkit.files import digest, digest_file, write_whole
from evalkit.model import Item, Message, Prompt
from evalkit.tasks.data import source_files

FORMAT: Final = 1
KEPT_SECONDS: Final = 30 * 86400.0
"""An entry that was not used for so long is removed when the next one is written."""
KEPT_BYTES: Final = 1 << 30
"""Above this, the entries that were not used for longest are removed."""

_FUNCTION: Final = re.compile(rb"!function\s+[\"']?([\w.]+)")
_OWN: Final = "evalkit."
_LOADER: Final = "evalkit.tasks.data.load"


@dataclass(frozen=True, slots=True)
class Built:
    """What building a suite's prompts gives: its items, their stop strings, and the digests that name them."""

    items: tuple[Item, ...]
    stop: tuple[str, ...]
    data_digest: str
    prompt_digest: str
    total_items: int
    notes: tuple[str, ...]


def key_of(suite: Suite, files: Sequence[Path], options: Mapping[str, Any], limit: int | None) -> str | None:
    """The key under which a suite made of these task files is kept; None where it must be built each time.

    `options` are what the loader of documents is given: data, partial, suite, settings.
    """
    if suite.scorer is None:  # a task of lm-eval's own
        return None
    described: list[Any] = [[digest_file(path) for path in chain(suite.file)]]
    for file in files:
        texts = [path.read_bytes() for path in chain(file)]
        raw = read_task(file)
        fields = check_suite(file, raw).metadata.evalkit
        functions = [name.decode() for text in texts for name in _FUNCTION.findall(text)]
        prepare = fields.prepare or _OWN
        if "doc_to_image" in raw or not all(one.startswith(_OWN) for one in (*functions, prepare)):
            return None
        if raw.get("custom_dataset") != _LOADER:
            return None
        try:
            data = source_files(fields.source, {**options, "suite_file": str(file)})
        except DataError:
            return None  # the loader says what is wrong
        described.append([[_sha256(text) for text in texts], [digest_file(path) for path in data]])
    settings = options.get("settings") or {}
    return digest([FORMAT, _versions(), _code(), suite.name, limit, bool(options.get("partial")), settings, described])


def read(name: str, key: str) -> Built | None:
    """The built suite that is kept under `key`, None where there is none that is whole."""
    path = _path(name, key)
    try:
        with path.open("rb") as lines:
            built = _read(lines)
        os.utime(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return built


def write(name: str, key: str, built: Built) -> None:
    """Keeps a built suite, where it can be read back as it is and the disk allows."""
    if any(prompt.images for item in built.items for prompt in item.prompts):
        return
    path = _path(name, key)
    try:
        lines = list(_lines(built))
        if _read(lines) != built:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, lines, private=True)
        resources.tidy(path.parent, "*.jsonl", keep=path, seconds=KEPT_SECONDS, most_bytes=KEPT_BYTES)
    except (OSError, StorageError, TypeError, ValueError):
        return  # a cache that cannot be written is none


def _path(name: str, key: str) -> Path:
    return resources.cache_folder() / "suites" / f"{re.sub('[^A-Za-z0-9._-]', '_', name)[:60]}-{key[:32]}.jsonl"


def _lines(built: Built) -> Iterator[bytes]:
    """A header with the digest of all that follows, then each distinct message once, then the items."""
    messages: dict[int, int] = {}
    shared: list[Message] = []
    for item in built.items:
        for prompt in item.prompts:
            for message in prompt.messages:
                if id(message) not in messages:
                    messages[id(message)] = len(shared)
                    shared.append(message)
    body = [_line(message) for message in shared]
    body += [_line(_fields(item, messages)) for item in built.items]
    state = hashlib.sha256()
    for line in body:
        state.update(line)
    header = {
        "sha256": state.hexdigest(),
        "messages": len(shared),
        "items": len(built.items),
        "stop": built.stop,
        "data_digest": built.data_digest,
        "prompt_digest": built.prompt_digest,
        "total_items": built.total_items,
        "notes": built.notes,
    }
    yield _line(header)
    yield from body


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _fields(item: Item, messages: Mapping[int, int]) -> list[Any]:
    return [
        item.suite,
        item.task,
        item.id,
        _prompt_fields(item.prompt, messages),
        item.doc,
        item.target,
        item.doc_hash,
        item.cluster,
        item.stratum,
        item.weight,
        [_part_fields(part, item.prompt.text) for part in item.parts],
    ]


def _prompt_fields(prompt: Prompt, messages: Mapping[int, int]) -> list[Any]:
    return [prompt.digest, [messages[id(message)] for message in prompt.messages], prompt.text]


def _part_fields(part: Prompt, context: str | None) -> list[Any]:
    """A part of an item: its text less the context, which all parts begin with.

    Raises:
        ValueError: for a part of another kind.
    """
    if part.messages or part.text is None or context is None or not part.text.startswith(context):
        raise ValueError("a part is the item's text with something behind it")
    return [part.digest, part.text[len(context) :]]


def _read(lines: Iterable[bytes]) -> Built:
    """What `_lines` gave.

    Raises:
        ValueError: where it is damaged.
    """
    rest = iter(lines)
    header = orjson.loads(next(rest, b""))
    state = hashlib.sha256()
    read_lines = (orjson.loads(line) for line in _hashed(rest, state))
    messages = [next(read_lines) for _ in range(header["messages"])]
    items = tuple(_item(next(read_lines), messages) for _ in range(header["items"]))
    if next(read_lines, None) is not None or state.hexdigest() != header["sha256"]:
        raise ValueError("not what was written")
    return Built(
        items=items,
        stop=tuple(header["stop"]),
        data_digest=header["data_digest"],
        prompt_digest=header["prompt_digest"],
        total_items=header["total_items"],
        notes=tuple(header["notes"]),
    )


def _hashed(lines: Iterable[bytes], state: Any) -> Iterator[bytes]:
    for line in lines:
        state.update(line)
        yield line


def _item(fields: list[Any], messages: list[Message]) -> Item:
    suite, task, identity, prompt, doc, target, doc_hash, cluster, stratum, weight, parts = fields
    prompt_digest, numbers, text = prompt
    return Item(
        suite=suite,
        task=task,
        id=identity,
        prompt=Prompt(digest=prompt_digest, messages=tuple(messages[number] for number in numbers), text=text),
        doc=doc,
        target=target,
        doc_hash=doc_hash,
        cluster=cluster,
        stratum=tuple(stratum),
        weight=weight,
        parts=tuple(Prompt(digest=part_digest, text=text + behind) for part_digest, behind in parts),
    )


@cache
def _versions() -> list[str]:
    return [__version__, platform.python_version(), metadata.version("lm_eval"), metadata.version("jinja2")]


@cache
def _code() -> str:
    """A digest of evalkit's own code that items follow from: readers, preparers, prompts."""
    package = Path(resources.__file__).parent
    files = [package / "files.py", package / "model.py"]
    files += sorted(file for folder in ("tasks", "scoring") for file in (package / folder).rglob("*.py"))
    state = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        state.update(f"{file.relative_to(package)} {len(content)}\n".encode() + content)
    return state.hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
