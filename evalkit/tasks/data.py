"""Where the items come from: a local folder, the Hub or a mirror of it at a pinned revision, or ModelScope.

Every way ends in files on this machine that `local.py` reads, so all give the same rows, item ids and digests. When
the files are there, no network call is made. `load` is the `custom_dataset:` function of every suite file, so the
suites run unchanged under plain lm-eval, which knows `EVALKIT_DATA` only.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit import resources
from evalkit.errors import DataError
from evalkit.tasks.files import FORMATS, Part, find_files, find_folder, read_rows
from evalkit.tasks.pictures import pictures_of
from evalkit.waits import announce

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Documents(list[dict[str, Any]]):
    """A split as lm-eval reads it: a list with `features`. Shots stay shared objects, where a table would copy them."""

    @property
    def features(self) -> dict[str, Any]:
        """The fields of the documents (the values mean nothing)."""
        return dict.fromkeys(self[0] if self else ())


def load(evalkit: Mapping[str, Any], **metadata: Any) -> dict[str, Documents]:
    """The suite's documents by split; called by lm-eval with the suite's `metadata`.

    Raises:
        DataError: where the data set is absent, gated, or has not the rows that the suite expects.
    """
    documents = load_documents(evalkit, metadata.get("evalkit_options") or {})
    return {split: Documents(rows) for split, rows in documents.items()}


def load_documents(fields: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The normalised documents of every split, checked against `rows`; few-shot examples attached where asked.

    `options` come from a run: `data` (folder, or mapping of suite or data set to folder), `partial` (accept fewer
    rows than the suite has).
    """
    source = dict(fields.get("source") or {})
    prepare = _function(str(fields.get("prepare") or "evalkit.scoring.rows:plain"))
    settings = dict(fields.get("options") or {})
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, parts in _parts(source).items():
        rows = _raw_rows(source, parts, options)
        try:
            documents = prepare(rows, {**settings, **(options.get("settings") or {}), "_split": split})
            splits[split] = _with_pictures(documents, rows)
        except ValueError as error:
            raise DataError(f"{_title(source)}, split {split!r}: {error}") from error
    _check_rows(fields, source, splits, partial=bool(options.get("partial")))
    shots = source.get("shots")
    if shots:
        _attach_shots(splits, split=shots["from"], field=shots["by"], count=int(shots["count"]))
    return splits


def _function(reference: str) -> Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], list[dict[str, Any]]]:
    module, _, name = reference.partition(":")
    function: Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], list[dict[str, Any]]]
    function = getattr(importlib.import_module(module), name)
    return function


def _parts(source: Mapping[str, Any]) -> dict[str, list[Part]]:
    config = source.get("config")
    parts: dict[str, list[Part]] = {}
    for split, given in (source.get("splits") or {"test": "test"}).items():
        entries = given if isinstance(given, list) else [{"split": given}]
        parts[split] = [
            Part(
                name=str(entry.get("name", entry.get("split", split))),
                config=entry.get("config", config),
                split=str(entry.get("split", "train")),
            )
            for entry in entries
        ]
    return parts


def _with_pictures(documents: list[dict[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents with the pictures that they name, taken from the rows: as many, in the same order."""
    if not any(document.get("images") for document in documents):
        return documents
    if len(documents) != len(rows):
        raise ValueError(f"gives {len(documents)} documents for {len(rows)} rows; with pictures they must be as many")
    for document, row in zip(documents, rows, strict=True):
        document["pictures"] = pictures_of(document, row)
    return documents


def _title(source: Mapping[str, Any]) -> str:
    return str(source.get("hub") or source.get("file") or (source.get("folder") or ["data set"])[0])


def names_of(source: Mapping[str, Any]) -> list[str]:
    """The names that a data set goes by: as folders on this machine, and as keys of a `data:` mapping."""
    return [*(source.get("folder") or ()), *([str(source["hub"]).split("/")[-1]] if source.get("hub") else ())]


def source_files(fields: Mapping[str, Any], options: Mapping[str, Any]) -> list[Path]:
    """Every file that `load_documents` reads for the same fields and options, in the order in which it reads them.

    Raises:
        DataError: where the data set is absent.
    """
    source = dict(fields.get("source") or {})
    return [file for parts in _parts(source).values() for _part, file in _part_files(source, parts, options)]


def commit_note(source: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """Where a suite's revision may move (a branch, not a commit): which commit the fetched data set is of."""
    revision = str(source.get("revision"))
    if not source.get("hub") or _COMMIT.fullmatch(revision):
        return None
    folder = _folder(source, options)
    if folder.parent.name != "snapshots" or not _COMMIT.fullmatch(folder.name):
        return None  # not from the Hub: the user's own copy
    return f"data of {source['hub']} at commit {folder.name}; the suite's revision {revision!r} may move"


def _part_files(
    source: Mapping[str, Any], parts: list[Part], options: Mapping[str, Any]
) -> Iterator[tuple[Part, Path]]:
    folder = _folder(source, options)
    several_splits = len(source.get("splits") or {}) > 1
    for part in parts:
        files = [folder] if folder.is_file() else find_files(folder, part, sole=len(parts) == 1 and not several_splits)
        if not files:
            found = ", ".join(sorted(p.name for p in folder.rglob("*") if p.suffix in FORMATS)[:8]) or "no data files"
            raise DataError(
                f"{_title(source)}: no file for {part.name!r} in {folder} (found: {found}); "
                f"name it {part.name}.jsonl, .csv or .parquet"
            )
        yield from ((part, file) for file in files)


def _raw_rows(source: Mapping[str, Any], parts: list[Part], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**row, "_part": part.name, "_file": file}
        for part, file in _part_files(source, parts, options)
        for row in read_rows(file)
    ]


def _folder(source: Mapping[str, Any], options: Mapping[str, Any]) -> Path:
    """The folder (or single file) that holds the data set, fetched when it is not on this machine."""
    names = names_of(source)
    for where, root in _roots(names, options):
        if where != "mapped" and not names and source.get("file"):
            continue  # a folder for all data sets says nothing of one that comes with its suite
        if root.is_file():
            return root
        if folder := find_folder(root, names):
            return folder
        if where == "mapped":
            raise DataError(
                f"data: {root} holds no data files (jsonl, csv, parquet) and no folder {' or '.join(names)}"
            )
    if file := source.get("file"):
        return _shipped(str(file), options)
    if not source.get("hub"):
        raise DataError(f"{_title(source)}: has no place on a hub; give its folder as `data:` or EVALKIT_DATA")

    return fetch(source)


def _roots(names: Sequence[str], options: Mapping[str, Any]) -> list[tuple[str, Path]]:
    given = options.get("data")
    roots: list[tuple[str, Path]] = []
    if isinstance(given, Mapping):
        keys = [str(options.get("suite")), *names]
        roots += [("mapped", Path(str(given[key])).expanduser()) for key in keys if key in given]
    elif given:
        roots.append(("data", Path(str(given)).expanduser()))
    if environment := os.environ.get("EVALKIT_DATA"):
        roots.append(("EVALKIT_DATA", Path(environment).expanduser()))
    for where, root in roots:
        if not root.exists():
            raise DataError(f"{where if where == 'EVALKIT_DATA' else 'data'}: {root} does not exist")
    return roots


def _shipped(name: str, options: Mapping[str, Any]) -> Path:
    beside = options.get("suite_file")
    near = Path(str(beside)).parent / name if beside else Path(name)
    if near.is_file():
        return near
    if not Path(name).is_absolute():
        for _origin, folder in resources.suite_folders():
            for found in sorted(folder.rglob(Path(name).name)):
                if found.is_file() and found.parts[-len(Path(name).parts) :] == Path(name).parts:
                    return found
    raise DataError(f"source.file: {name} lies neither beside its suite file nor in any folder of suites")


def _check_rows(
    fields: Mapping[str, Any], source: Mapping[str, Any], splits: Mapping[str, list[dict[str, Any]]], *, partial: bool
) -> None:
    expected = fields.get("rows")
    for split, documents in splits.items():
        ids = [document["id"] for document in documents]
        if len(set(ids)) != len(ids):
            repeated = next(identity for identity in ids if ids.count(identity) > 1)
            raise DataError(f"{_title(source)}, split {split!r}: the id {repeated!r} stands twice")
        if not documents:
            raise DataError(f"{_title(source)}, split {split!r}: has no rows")
    found = len(splits["test"])
    if expected is not None and found != expected and not partial:
        raise DataError(
            f"{_title(source)}: has {found} items here, the suite has {expected}: use the whole data set, "
            "or set `partial_data: true` for this suite to run on a part that is not comparable with published numbers"
        )


def _attach_shots(splits: dict[str, list[dict[str, Any]]], *, split: str, field: str, count: int) -> None:
    pool: dict[str, list[dict[str, Any]]] = {}
    for document in splits[split]:
        pool.setdefault(document[field], []).append(document)
    for document in splits["test"]:
        shots = pool.get(document[field], [])[:count]
        if len(shots) < count:
            raise DataError(f"{document[field]!r} has {len(shots)} rows in split {split!r}, {count} shots are needed")
        document["header"] = False
        document["shots"] = shots


# ----------------------------------------------------------------
# Fetches a data set's files once, at a pinned revision, from the Hub, a mirror (`HF_ENDPOINT`) or ModelScope
# A copy that is already in the hub's cache on this machine is used without any network call.


ANSWER_SECONDS = 10.0
_DATA_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.tsv"]


def fetch(source: Mapping[str, Any]) -> Path:
    """The folder with the data set's files; `EVALKIT_HUB=modelscope` takes them from ModelScope.

    Raises:
        DataError: saying how to get access or the files, where they cannot be had.
    """
    if os.environ.get("EVALKIT_HUB", "huggingface") == "modelscope":
        return _modelscope(source)
    return _huggingface(source)


def _huggingface(source: Mapping[str, Any]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = str(source["hub"]), str(source["revision"])
    wanted: dict[str, Any] = {
        "repo_id": name,
        "repo_type": "dataset",
        "revision": revision,
        "allow_patterns": list(source.get("files") or _DATA_FILES),
    }
    try:
        return _whole(Path(snapshot_download(**wanted, local_files_only=True)), name)
    except LocalEntryNotFoundError:
        pass
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        # One quick question first: the download itself tries again and again where nobody answers.
        HfApi().dataset_info(name, revision=revision, timeout=ANSWER_SECONDS)
        announce(f"fetching the data set {name} from {_endpoint()} (once)")
        return Path(snapshot_download(**wanted))
    except GatedRepoError as error:
        raise DataError(
            f"{name} is gated: accept its terms on its page on the Hub, then set HF_TOKEN to a token of yours; "
            "or give a folder that has its files as `data:`"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise DataError(f"{name} at revision {revision[:12]}: not found at {_endpoint()}") from error
    except _unreachable(HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise DataError(
            f"{name} is not on this machine and {_endpoint()} cannot be reached: fetch it where there is a network "
            f"with `hf download --repo-type dataset {name} --revision {revision}`, or give its folder as `data:`"
        ) from error


def _unreachable(own: type[Exception], absent: type[Exception]) -> tuple[type[Exception], ...]:
    """What a download fails with; the HTTP library under the hub's client is another one from release to release."""
    library = (kind for kind in own.__mro__ if kind.__name__.endswith("HTTPError") and issubclass(kind, Exception))
    return (absent, OSError, *library)


def _whole(folder: Path, name: str) -> Path:
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not any(path.is_file() for path in folder.rglob("*")):
        raise LocalEntryNotFoundError(f"{name}: the cached snapshot is empty")
    return folder


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "the Hub")


def _modelscope(source: Mapping[str, Any]) -> Path:
    name = source.get("modelscope")
    if not name:
        raise DataError(
            f"{source['hub']}: no copy on ModelScope is known; unset EVALKIT_HUB or give a folder as `data:`"
        )
    try:
        from modelscope.hub.snapshot_download import dataset_snapshot_download
    except ModuleNotFoundError as error:
        raise DataError("EVALKIT_HUB=modelscope needs a package: pip install 'flagos-evalkit[modelscope]'") from error
    announce(f"looking for the data set {name} on ModelScope, and fetching it where it is not here yet")
    try:
        return Path(dataset_snapshot_download(str(name)))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be fetched from ModelScope: {error}") from error
