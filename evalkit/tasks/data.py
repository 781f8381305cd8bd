"""Where the items come from: a local folder, the Hub or a mirror of it at a pinned revision, or ModelScope.

Every way ends in files on this machine, so all give the same rows, item ids and digests. When the files are there, no
network call is made. `load` is the `custom_dataset:` function of every suite file, so the suites run unchanged under
plain lm-eval, which knows `EVALKIT_DATA` only.
"""

import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evalkit import resources
from evalkit.config.suite import Part, Shots, Source, SuiteFields, check_fields, where
from evalkit.errors import DataError, EvalkitError, did_you_mean
from evalkit.files import numbered_rows, parquet_file
from evalkit.model import Reason
from evalkit.scoring.registry import CodeError, called, preparer
from evalkit.tasks.pictures import parquet_rows, pictures_of
from evalkit.waits import announce

PLAIN = "evalkit.scoring.rows:plain"  # what prepares the rows of a suite that names nothing: they are the documents
FORMATS = (".jsonl", ".parquet", ".csv", ".tsv", ".json")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Documents(list[dict[str, Any]]):
    """A split as lm-eval reads it: a list with `features`. Shots stay shared objects, where a table would copy them."""

    @property
    def features(self) -> dict[str, Any]:
        """The fields of the documents (the values mean nothing)."""
        return dict.fromkeys(self[0] if self else ())


def load(evalkit: Mapping[str, Any], **metadata: Any) -> dict[str, Documents]:
    """The suite's documents by split; called by lm-eval with the suite's `metadata`.

    Raises `SuiteError`: where what stands under `metadata: evalkit:` is wrong, or there is no such preparer;
    `DataError`: where the data set is absent, gated, or has not the rows that the suite expects.
    """
    fields, options = check_fields(evalkit), metadata.get("evalkit_options") or {}
    by_run = "suite_file" in options
    documents = load_documents(fields, options if by_run else {**options, "suite_file": _file_in_lm_eval()})
    if not by_run and "optional_pictures" in fields.needs:  # a run counts those that it leaves out
        documents = {split: [row for row in rows if not row.get("images")] for split, rows in documents.items()}
    return {split: Documents(rows) for split, rows in documents.items()}


def _file_in_lm_eval() -> str | None:
    """The task file that plain lm-eval is at, beside which code and data of the suite may lie.

    lm-eval tells a `custom_dataset` everything but that, so it is looked for in its own frame.
    """
    frame = sys._getframe()  # noqa: SLF001
    while (caller := frame.f_back) is not None:
        frame = caller
        if frame.f_globals.get("__name__") == "lm_eval.tasks._factory" and "entry" in frame.f_locals:
            return str(frame.f_locals["entry"].yaml_path)
    return None


def load_documents(fields: SuiteFields, options: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The normalised documents of every split, checked against `rows`; few-shot examples attached where asked.

    `options` come from a run: `data` (folder, or mapping of suite or data set to folder), `partial` (accept fewer
    rows than the suite has), `settings`, `suite_file`. Plain lm-eval gives the last alone.
    """
    source = fields.source
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, parts in source.splits.items():
        files = _part_files(source, parts, options)
        rows = [{**row, "_part": part.called, "_file": file} for part, file in files for row in read_rows(file)]
        splits[split] = _prepared(fields, rows, split, options)
    _check_rows(fields, splits, partial=bool(options.get("partial")))
    if source.shots is not None:
        _attach_shots(splits, source.shots)
    return splits


def _prepared(
    fields: SuiteFields, rows: list[dict[str, Any]], split: str, options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What the suite's preparer makes of the rows of a split.

    Raises `DataError`: where it refuses the rows, raises, or gives anything but documents with an `id`.
    """
    name = fields.prepare or PLAIN
    function = preparer(name, Path(options["suite_file"]) if options.get("suite_file") else None)
    given = {**fields.options, **(options.get("settings") or {}), "_split": split}
    try:
        documents = called(function, rows, given)
    except CodeError as error:
        cause = error.__cause__
        if isinstance(cause, EvalkitError):
            raise cause from error
        # What a preparer of evalkit's own refuses is a row of the data; anything else is a mistake in the code.
        told = str(cause) if isinstance(cause, ValueError) and name.startswith("evalkit.") else f"{name} raised {error}"
        raise DataError(f"{fields.source.title}, split {split!r}: {told}") from error
    _check_documents(f"{fields.source.title}, split {split!r}: {name}", documents)
    # What evalkit adds to a row (`_file` is a path of this machine) is no part of an item.
    documents = [{key: value for key, value in one.items() if not str(key).startswith("_")} for one in documents]
    try:
        return _with_pictures(documents, rows)
    except ValueError as error:
        raise DataError(f"{fields.source.title}, split {split!r}: {error}") from error


def _check_documents(whose: str, given: object) -> None:
    """Refuses what a preparer gave where that is no list of documents with an `id` each."""
    if not isinstance(given, list):
        raise DataError(f"{whose} gave {type(given).__name__}: a preparer gives a list of documents")
    for number, document in enumerate(given):
        if not isinstance(document, dict):
            raise DataError(f"{whose} gave {type(document).__name__} as document {number}: it must be a mapping")
        if not isinstance(document.get("id"), str) or not document["id"]:
            raise DataError(f"{whose} gave a document {number} without an 'id': every item needs one, as text")


def _with_pictures(documents: list[dict[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents with the pictures that they name, taken from the rows: as many, in the same order."""
    if not any(document.get("images") for document in documents):
        return documents
    if len(documents) != len(rows):
        raise ValueError(f"gives {len(documents)} documents for {len(rows)} rows; with pictures they must be as many")
    for document, row in zip(documents, rows, strict=True):
        document["pictures"] = pictures_of(document, row)
    return documents


def source_files(source: Source, options: Mapping[str, Any]) -> list[Path]:
    """Every file that `load_documents` reads for the same source and options, in the order in which it reads them.

    Raises `DataError`: where the data set is absent.
    """
    return [file for parts in source.splits.values() for _part, file in _part_files(source, parts, options)]


def commit_note(source: Source, options: Mapping[str, Any]) -> Reason | None:
    """Where a suite's revision may move (a branch, not a commit): which commit the fetched data set is of."""
    if source.hub is None or _COMMIT.fullmatch(str(source.revision)):
        return None
    folder = _folder(source, options)
    if folder.parent.name != "snapshots" or not _COMMIT.fullmatch(folder.name):
        return None  # not from the Hub: the user's own copy
    return Reason("note.moving", {"hub": source.hub, "commit": folder.name, "revision": str(source.revision)})


def _part_files(source: Source, parts: Sequence[Part], options: Mapping[str, Any]) -> Iterator[tuple[Part, Path]]:
    folder = _folder(source, options)
    several_splits = len(source.splits) > 1
    for part in parts:
        files = [folder] if folder.is_file() else find_files(folder, part, sole=len(parts) == 1 and not several_splits)
        if not files:
            found = ", ".join(sorted(p.name for p in folder.rglob("*") if p.suffix in FORMATS)[:8]) or "no data files"
            raise DataError(
                f"{source.title}: no file for {part.called!r} in {folder} (found: {found}); "
                f"name it {part.called}.jsonl, .csv or .parquet"
            )
        yield from ((part, file) for file in files)


def _folder(source: Source, options: Mapping[str, Any]) -> Path:
    """The folder (or single file) that holds the data set, fetched when it is not on this machine."""
    names = source.names
    for origin, root in _roots(names, options):
        if origin != "mapped" and not names and source.file:
            continue  # a folder for all data sets says nothing of one that comes with its suite
        if root.is_file():
            return root
        if folder := find_folder(root, names):
            return folder
        if origin == "mapped":
            raise DataError(
                f"data: {root} holds no data files (jsonl, csv, parquet) and no folder {' or '.join(names)}"
            )
    if source.file:
        return _shipped(source.file, options)
    if not source.hub:
        whose = source.title if source.names else _in_suite("source", options)
        raise DataError(f"{whose}: has no place on a hub: give its folder as `data:` or EVALKIT_DATA")
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
    for origin, root in roots:
        if not root.exists():
            raise DataError(f"{origin if origin == 'EVALKIT_DATA' else 'data'}: {root} does not exist")
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
    raise DataError(
        f"{_in_suite('source.file', options)}: {name} lies neither beside its suite file nor in any folder of suites"
    )


def _in_suite(key: str, options: Mapping[str, Any]) -> str:
    """File, line and key of something that a suite's file says, as messages begin with."""
    file = options.get("suite_file")
    return where(Path(str(file)), key) if file else f"metadata.evalkit.{key}"


def _check_rows(fields: SuiteFields, splits: Mapping[str, list[dict[str, Any]]], *, partial: bool) -> None:
    title, expected = fields.source.title, fields.rows
    for split, documents in splits.items():
        repeated = next((i for i, count in Counter(one["id"] for one in documents).items() if count > 1), None)
        if repeated is not None:
            raise DataError(f"{title}, split {split!r}: the id {repeated!r} stands twice: every item needs its own")
        if not documents:
            raise DataError(f"{title}, split {split!r}: has no rows")
    found = len(splits["test"])
    if expected is not None and found != expected and not partial:
        raise DataError(
            f"{title}: has {found} items here, the suite has {expected}: use the whole data set, "
            "or set `partial_data: true` for this suite to run on a part that is not comparable with published numbers"
        )


def _attach_shots(splits: dict[str, list[dict[str, Any]]], wanted: Shots) -> None:
    pool: dict[str, list[dict[str, Any]]] = {}
    for name in ("test", wanted.split):
        for document in splits[name]:
            if wanted.by not in document:
                meant = did_you_mean(wanted.by, document)
                raise DataError(f"source.shots.by: document {document['id']!r} has no field {wanted.by!r}{meant}")
    for document in splits[wanted.split]:
        pool.setdefault(str(document[wanted.by]), []).append(document)
    for document in splits["test"]:
        value = str(document[wanted.by])
        shots = pool.get(value, [])[: wanted.count]
        if len(shots) < wanted.count:
            raise DataError(
                f"{value!r} has {len(shots)} rows in split {wanted.split!r}, {wanted.count} shots are needed"
            )
        document["header"] = False
        document["shots"] = shots


# Fetching: once, at a pinned revision, from the Hub, a mirror (`HF_ENDPOINT`) or ModelScope. A copy that is already in
# the hub's cache on this machine is used without any network call.


ANSWER_SECONDS = 10.0
_DATA_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.tsv"]


def fetch(source: Source) -> Path:
    """The folder with the data set's files; `EVALKIT_HUB=modelscope` takes them from ModelScope.

    Raises `DataError`: saying how to get access or the files, where they cannot be had.
    """
    return _modelscope(source) if os.environ.get("EVALKIT_HUB") == "modelscope" else _huggingface(source)


def _huggingface(source: Source) -> Path:
    from huggingface_hub import HfApi, errors, snapshot_download

    name, revision, home = str(source.hub), str(source.revision), os.environ.get("HF_ENDPOINT", "the Hub")
    files = list(source.files or _DATA_FILES)
    download = partial(snapshot_download, name, repo_type="dataset", revision=revision, allow_patterns=files)
    try:
        kept = Path(download(local_files_only=True))
        if any(path.is_file() for path in kept.rglob("*")):
            return kept
    except errors.LocalEntryNotFoundError:
        pass
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        # One quick question first: the download itself tries again and again where nobody answers.
        HfApi().dataset_info(name, revision=revision, timeout=ANSWER_SECONDS)
        announce(f"fetching the data set {name} from {home} (once)")
        return Path(download())
    except errors.GatedRepoError as error:
        raise DataError(
            f"{name} is gated: accept its terms on its page on the Hub, then set HF_TOKEN to a token of yours; "
            "or give a folder that has its files as `data:`"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise DataError(f"{name} at revision {revision[:12]}: not found at {home}") from error
    except _unreachable(errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        raise DataError(
            f"{name} is not on this machine and {home} cannot be reached: fetch it where there is a network "
            f"with `hf download --repo-type dataset {name} --revision {revision}`, or give its folder as `data:`"
        ) from error


def _unreachable(own: type[Exception], absent: type[Exception]) -> tuple[type[Exception], ...]:
    """What a download fails with; the HTTP library under the hub's client is another one from release to release."""
    library = (kind for kind in own.__mro__ if kind.__name__.endswith("HTTPError") and issubclass(kind, Exception))
    return (absent, OSError, *library)


def _modelscope(source: Source) -> Path:
    name = source.modelscope
    if not name:
        raise DataError(f"{source.hub}: no copy on ModelScope is known; unset EVALKIT_HUB or give a folder as `data:`")
    try:
        from modelscope.hub.snapshot_download import dataset_snapshot_download
    except ModuleNotFoundError as error:
        raise DataError("EVALKIT_HUB=modelscope needs a package: pip install 'flagos-evalkit[modelscope]'") from error
    announce(f"looking for the data set {name} on ModelScope, and fetching it where it is not here yet")
    try:
        return Path(dataset_snapshot_download(name))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be fetched from ModelScope: {error}") from error


# The rows of files on this machine: jsonl, json, csv, tsv and parquet, in any usual layout


def find_folder(root: Path, names: Sequence[str]) -> Path | None:
    """`root` itself where it holds data files, else its first sub-folder called one of `names`."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    if root.is_dir() and any(path.suffix in FORMATS for path in root.iterdir()):
        return root
    return None


def find_files(folder: Path, part: Part, *, sole: bool) -> list[Path]:
    """The files of `part` below `folder`, shards in order; `sole` lets the only file there stand for it.

    Looked for, first match wins: a file named after the part, config or split (or config and split); the Hub's
    layout `CONFIG/SPLIT-00000-of-00001.parquet` or `data/SPLIT-...`; for a part without a config, the split's files in
    sub-folders side by side (a folder a subject, as MMMU has them); the only data file of the folder.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in FORMATS and path.is_file())
    if subjects := _by_subject(folder, files, part):
        return subjects
    stems = [part.called, *([part.config] if part.config and part.config != "default" else [])]
    if part.config:
        stems += [f"{part.config}_{part.split}", f"{part.config}-{part.split}"]
    stems += [part.split, f"{folder.name}_{part.split}"]
    for stem in stems:
        if named := [path for path in files if path.stem.lower() == stem.lower()]:
            return [min(named, key=lambda path: (len(path.parts), path.parent.name != "data"))]
    homes = {part.config, "data", folder.name, "default"}
    sharded = [path for path in files if path.stem.startswith(f"{part.split}-") and path.parent.name in homes]
    in_config = [path for path in sharded if path.parent.name == part.config]
    return in_config or sharded or (files if sole and len(files) == 1 else [])


def _by_subject(folder: Path, files: Sequence[Path], part: Part) -> list[Path]:
    """The split's files where several folders side by side have some, and the usual places none."""
    if part.config or (part.called != part.split and any(path.stem == part.name for path in files)):
        return []
    found = [path for path in files if path.stem == part.split or path.stem.startswith(f"{part.split}-")]
    homes = {path.parent for path in found}
    usual = homes & {folder, folder / "data", folder / "default", folder / folder.name}
    below = all(home.parent in {folder, folder / "data"} for home in homes)
    return found if len(homes) > 1 and below and not usual else []


def read_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of one file; the pictures of a Parquet file are `pictures.Picture` values.

    Raises `DataError`: naming file and line, where it cannot be read.
    """
    if path.suffix == ".parquet":
        with parquet_file(path) as file:
            yield from parquet_rows(file, path)
    else:
        yield from (row for _number, row in numbered_rows(path))
