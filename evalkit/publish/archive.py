"""Stored comparisons: one is read, one is stored with the earlier ones of its folder kept, noise floors are found."""

from __future__ import annotations

import contextlib
import glob
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalkit.errors import StorageError, UsageError
from evalkit.files import write_whole
from evalkit.model import Comparison, Reason, RunIdentity, SuiteResult
from evalkit.render.document import from_json, to_json

if TYPE_CHECKING:  # a stored comparison is read without the rooms that make one
    from evalkit.compare.columns import Side
    from evalkit.compare.validity import NoiseFloor

NAME: Final = "comparison.json"
EARLIER: Final = 30  # how many earlier comparisons a folder keeps: a month of nights

_KEPT_NAME: Final = re.compile(r"comparison-(?P<date>\d{8}T\d{6}|earlier)(?:-(?P<number>[1-9]\d*))?\.json")
"""A name that `_keep_earlier` gives; a file of any other name is somebody's own."""
_CREATED: Final = re.compile(rb'^"created": "([^"\n]*)".*$', re.MULTILINE)


def read(path: Path) -> Comparison:
    """The comparison of a file, or of the folder that `evalkit compare` stored it in.

    Raises `UsageError`: there is none, or it cannot be read.
    """
    file = path / NAME if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        hint = "give the folder or the file that `evalkit compare` said it stored"
        raise UsageError(f"{file}: cannot be read ({error.strerror}): {hint}") from error
    return from_json(data, str(file))


def store(comparison: Comparison, folder: Path, say: Callable[[str], None]) -> Path:
    """Writes the comparison into its folder; says where an earlier one went, and which of those were removed.

    Raises `StorageError`: the folder cannot be written.
    """
    file, document = folder / NAME, to_json(comparison)
    try:
        kept = _keep_earlier(file, document)
        try:
            write_whole(file, document)
        except StorageError:
            if kept is not None:  # it still stands under its own name
                kept.unlink()
            raise
        if kept is not None:
            say(f"the earlier comparison in this folder is kept as {kept.name}")
            _drop_oldest(folder, say)
    except OSError as error:
        raise StorageError(f"{file}: cannot be written: {error.strerror}") from error
    return file


def _keep_earlier(file: Path, document: bytes) -> Path | None:
    """Copies an earlier comparison to a name with its date, unless the new one says the same; the copy, if any.

    A nightly job compares under the same two names every night: no night's evidence is written over.
    """
    if not file.exists():
        return None
    earlier = file.read_bytes()
    if _CREATED.sub(b"", earlier) == _CREATED.sub(b"", document):
        return None
    found = _CREATED.search(earlier)
    date = re.sub(r"[-:]", "", found[1].decode(errors="replace"))[:15] if found else ""
    name = f"{file.stem}-{date if re.fullmatch(r'[0-9]{8}T[0-9]{6}', date) else 'earlier'}"
    number = 1
    while (kept := file.with_name(f"{name}{f'-{number}' if number > 1 else ''}{file.suffix}")).exists():
        number += 1
    write_whole(kept, earlier)
    return kept


def _drop_oldest(folder: Path, say: Callable[[str], None]) -> None:
    """Removes the oldest of the earlier comparisons that evalkit kept here, so that a nightly job fills no disk."""
    found = [
        (match, path)
        for path in folder.iterdir()
        if (match := _KEPT_NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink()
    ]
    # One without a date is of an evalkit that wrote none, and older than all that have one.
    found.sort(key=lambda one: (one[0]["date"].replace("earlier", ""), int(one[0]["number"] or 1)))
    oldest = [path for _match, path in found[:-EARLIER]]
    for path in oldest:
        with contextlib.suppress(OSError):  # what cannot be removed stays
            path.unlink()
    if oldest:
        say(f"removed {', '.join(path.name for path in oldest)}: a folder keeps {EARLIER} earlier comparisons")


_SIDE: Final = re.compile(rb'^"(reference|candidate)": \{"name": "[^"\n]*", "run_id": "([^"\n]*)"', re.MULTILINE)
_HEAD_BYTES: Final = 1 << 16  # a document begins with its two sides


def candidates_of(bank: RunIdentity) -> set[str]:
    """The run ids of the candidates that a stored reference has judged, by the comparisons beside it."""
    run, found = Path(bank.path), set[str]()
    for file in run.parent.glob(f"{glob.escape(bank.name)}--*/comparison*.json"):
        with file.open("rb") as document:
            sides = dict(_SIDE.findall(document.read(_HEAD_BYTES)))
        if file.parent != home_of(run.parent, bank.name) and sides.get(b"reference") == bank.run_id.encode():
            found.add(sides.get(b"candidate", b"").decode(errors="replace"))
    return found


def second_name(name: str) -> str:
    """The name of the second run of an endpoint, made by `evalkit aa`."""
    return f"{name}-aa"


def home_of(runs: Path, name: str) -> Path:
    """Where the comparison of an endpoint with itself is stored."""
    return runs / f"{name}--{second_name(name)}"


def noise_floors(reference: Side) -> dict[str, NoiseFloor]:
    """The floors by suite of the stored comparison of this very run with itself; empty where there is none.

    One of other answers, asked before or under other settings, says nothing of these.

    Raises `UsageError`: where there is one that cannot be read.
    """
    run = Path(reference.identity.path)
    file = home_of(run.parent, reference.identity.name) / NAME
    if not reference.identity.path or not file.is_file():
        return {}
    made = read(file)
    same = made.reference.run_id == reference.identity.run_id
    return {suite.suite: floor_of(suite, made) for suite in made.suites if same}


def floor_of(suite: SuiteResult, made: Comparison) -> NoiseFloor:
    """What a suite of a comparison of an endpoint with itself says."""
    from evalkit.compare.validity import NoiseFloor

    shares = [row.candidate for row in suite.behaviour if row.name == "identical_texts"]
    source = Reason("noise.again", {"date": made.created[:10], "n": suite.n_items, "k": suite.k_candidate})
    return NoiseFloor(suite.ci90, suite.verdict, source, shares[0] if shares else None)
