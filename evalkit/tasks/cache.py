"""Keeps built suites on this machine: a run whose prompts were built before starts without lm-eval.

Importing lm-eval and rendering every prompt again is most of what a short run costs. What was built is kept under a
key that covers everything the items follow from: the suite's files, the content of its data files, the run's options,
evalkit's code and the versions of lm-eval, Jinja and Python. Nothing is guessed: a suite whose items follow from
something that cannot be told beforehand (functions of the user's, tasks of lm-eval's own, pictures) is built each time,
and what is kept was read back and found equal to what was built. `EVALKIT_CACHE` names another folder than the user's
cache; the folder may be removed at any time.
"""

import hashlib
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import orjson

from evalkit import codec, resources
from evalkit.config.suite import Suite, chain, check_suite, read_task
from evalkit.errors import DataError, StorageError
from evalkit.files import digest, digest_file, write_whole
from evalkit.model import Item, Message, Prompt, Reason
from evalkit.resources import __version__
from evalkit.tasks.data import source_files

FORMAT: Final = 1
KEPT_SECONDS: Final = 30 * 86400.0  # an entry that was not used for so long is removed when the next one is written
KEPT_BYTES: Final = 1 << 30  # above this, the entries that were not used for longest are removed

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
    notes: tuple[Reason, ...]


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
        said = check_suite(file, raw).metadata.evalkit
        functions = [name.decode() for text in texts for name in _FUNCTION.findall(text)]
        prepare = said.prepare or _OWN
        if "doc_to_image" in raw or not all(one.startswith(_OWN) for one in (*functions, prepare)):
            return None
        if raw.get("custom_dataset") != _LOADER:
            return None
        try:
            data = source_files(said.source, {**options, "suite_file": str(file)})
        except DataError:
            return None  # the loader says what is wrong
        described.append([[hashlib.sha256(text).hexdigest() for text in texts], [digest_file(path) for path in data]])
    settings = options.get("settings") or {}
    return digest([FORMAT, _versions(), _code(), suite.name, limit, bool(options.get("partial")), settings, described])


def read(name: str, key: str) -> Built | None:
    """The built suite that is kept under `key`, None where there is none that is whole."""
    path = _path(name, key)
    try:
        built = _decoded(path.read_bytes())
        os.utime(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return built


def write(name: str, key: str, built: Built) -> None:
    """Keeps a built suite, where it can be read back as it is and the disk allows."""
    path = _path(name, key)
    try:
        encoded = _encoded(built)
        if _decoded(encoded) != built:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, encoded, private=True)
        resources.tidy(path.parent, "*.json", keep=path, seconds=KEPT_SECONDS, most_bytes=KEPT_BYTES)
    except (OSError, StorageError, TypeError, ValueError):
        return  # a cache that cannot be written is none


def _path(name: str, key: str) -> Path:
    return resources.cache_folder() / "suites" / f"{re.sub('[^A-Za-z0-9._-]', '_', name)[:60]}-{key[:32]}.json"


_OF_ITEM: Final = tuple(one.name for one in fields(Item) if one.name not in {"prompt", "parts"})
_OF_BUILT: Final = tuple(one.name for one in fields(Built) if one.name != "items")


def _encoded(built: Built) -> bytes:
    """A line with the digest of all that follows, then one JSON document, in which each distinct message stands once.

    A `ValueError` for an item with pictures, or a part that is not the item's text with something behind it.
    """
    numbers: dict[int, int] = {}
    messages: list[Message] = []
    for item in built.items:
        for message in item.prompt.messages:
            if numbers.setdefault(id(message), len(messages)) == len(messages):
                messages.append(message)
    items = []
    for item in built.items:
        prompt, context = item.prompt, item.prompt.text or ""
        if prompt.images or any(part.messages or not (part.text or "").startswith(context) for part in item.parts):
            raise ValueError("an item with pictures, or with parts of another kind")
        said = [prompt.digest, prompt.text, [numbers[id(message)] for message in prompt.messages]]
        parts = [[part.digest, (part.text or "")[len(context) :]] for part in item.parts]
        items.append([said, parts, *(getattr(item, name) for name in _OF_ITEM)])
    document = {"messages": messages, "items": items, **{name: getattr(built, name) for name in _OF_BUILT}}
    body = orjson.dumps(document)
    return f"{hashlib.sha256(body).hexdigest()}\n".encode() + body


def _decoded(data: bytes) -> Built:
    """What `_encoded` gave; a `ValueError` where it is damaged."""
    found, _, body = data.partition(b"\n")
    if found != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("not what was written")
    document = orjson.loads(body)
    messages = document["messages"]
    items = []
    for (prompt_digest, text, numbers), parts, *values in document["items"]:
        said = {name: _tuple(value) for name, value in zip(_OF_ITEM, values, strict=True)}
        prompt = Prompt(digest=prompt_digest, messages=tuple(messages[number] for number in numbers), text=text)
        whole = tuple(Prompt(digest=part, text=(text or "") + behind) for part, behind in parts)
        items.append(Item(prompt=prompt, parts=whole, **said))
    notes = tuple(codec.read(Reason, orjson.dumps(note)) for note in document["notes"])
    return Built(**{"items": tuple(items), **{name: _tuple(document[name]) for name in _OF_BUILT}, "notes": notes})


def _tuple(value: Any) -> Any:
    """JSON has lists only; a document is a mapping, within which nothing changes."""
    return tuple(value) if isinstance(value, list) else value


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
