"""Reads the rows of a data set from files on this machine: jsonl, json, csv, tsv and parquet, in any usual layout."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evalkit.errors import DataError

FORMATS = (".jsonl", ".parquet", ".csv", ".tsv", ".json")


@dataclass(frozen=True, slots=True)
class Part:
    """One table of a data set: `config` and `split` as the publisher calls them, `name` as evalkit does."""

    name: str
    config: str | None
    split: str


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
    stems = [part.name, *([part.config] if part.config and part.config != "default" else [])]
    if part.config:
        stems += [f"{part.config}_{part.split}", f"{part.config}-{part.split}"]
    stems += [part.split, f"{folder.name}_{part.split}"]
    for stem in stems:
        if named := [path for path in files if path.stem.lower() == stem.lower()]:
            return [min(named, key=lambda path: (len(path.parts), path.parent.name != "data"))]
    homes = {part.config, "data", folder.name, "default"}
    sharded = [path for path in files if path.stem.startswith(f"{part.split}-") and path.parent.name in homes]
    in_config = [path for path in sharded if path.parent.name == part.config]
    if sharded:
        return in_config or sharded
    inside = [path for path in files if path.parent.name == part.config and path.stem == part.split]
    if inside:
        return inside
    return files if sole and len(files) == 1 else []


def _by_subject(folder: Path, files: Sequence[Path], part: Part) -> list[Path]:
    """The split's files where several folders side by side have some, and the usual places none."""
    if part.config or (part.name != part.split and any(path.stem == part.name for path in files)):
        return []
    found = [path for path in files if path.stem == part.split or path.stem.startswith(f"{part.split}-")]
    homes = {path.parent for path in found}
    usual = homes & {folder, folder / "data", folder / "default", folder / folder.name}
    below = all(home.parent in {folder, folder / "data"} for home in homes)
    return found if len(homes) > 1 and below and not usual else []


def read_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of one file.

    Raises:
        DataError: naming file and line, where it cannot be read.
    """
    try:
        yield from _READERS[path.suffix](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _row(path, number, line)


def _row(path: Path, number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: a row is a JSON object, not {type(row).__name__}")
    return row


def _json(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        loaded = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: is no JSON: {error}") from error
    rows = loaded.get("data", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: a JSON data set is a list of objects")
    yield from rows


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 1 << 30))
    with path.open(encoding="utf-8-sig", newline="") as text:
        yield from csv.DictReader(text, delimiter="\t" if path.suffix == ".tsv" else ",")


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import ArrowInvalid

    from evalkit.tasks.pictures import parquet_rows

    try:
        yield from parquet_rows(path)
    except ArrowInvalid as error:
        raise DataError(f"{path}: is no parquet file: {error}") from error


_READERS = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
