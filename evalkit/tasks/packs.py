"""Packs: named lists of suites with tolerances, one YAML file each under `suites/packs/`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit import resources
from evalkit.errors import SuiteError
from evalkit.tasks.suite import read_yaml


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as its file gives it: every entry of `suites` is a mapping with at least `name`."""

    name: str
    about: str
    file: Path
    suites: tuple[dict[str, Any], ...]


def all_packs(folders: Sequence[Path] = ()) -> dict[str, Pack]:
    """All packs by name; the first in search order is taken.

    Raises:
        SuiteError: naming the file that is no pack.
    """
    packs: dict[str, Pack] = {}
    for path in _files(folders):
        if path.stem not in packs:
            packs[path.stem] = _parse(path)
    return packs


def find_pack(name: str, folders: Sequence[Path] = ()) -> Pack:
    """The pack of that name.

    Raises:
        SuiteError: with the nearest name, where there is none.
    """
    packs = all_packs(folders)
    if name not in packs:
        close = difflib.get_close_matches(name, list(packs), n=1)
        hint = f": did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(packs))}"
        raise SuiteError(f"no pack is called {name!r}{hint}")
    return packs[name]


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in (*folders, *(place for _origin, place in resources.suite_folders())):
        yield from sorted((folder / "packs").glob("*.yaml"))


def _parse(path: Path) -> Pack:
    raw = read_yaml(path)
    suites = raw.get("suites")
    if not isinstance(suites, list) or not suites:
        raise SuiteError(f"{path}: suites: a pack lists at least one suite here")
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in suites]
    if not all(isinstance(entry, dict) and entry.get("name") for entry in entries):
        raise SuiteError(f"{path}: suites: every entry is a name, or a mapping with a name")
    return Pack(path.stem, " ".join(str(raw.get("about", "")).split()), path, tuple(entries))
