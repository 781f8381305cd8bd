"""What every command that judges shares: the options of the judgment, the printed table, the stored comparison."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from evalkit.cli import stored

if TYPE_CHECKING:
    from evalkit.compare.columns import Side
    from evalkit.compare.policy import NoiseFloor, Policy
    from evalkit.model import Comparison, Difference, Probe, RunIdentity

EARLIER: Final = 30
"""How many earlier comparisons a folder keeps: a month of nights."""

_KEPT_NAME: Final = re.compile(r"comparison-(?P<date>\d{8}T\d{6}|earlier)(?:-(?P<number>[1-9]\d*))?\.json")
"""A name that `_keep_earlier` gives; a file of any other name is somebody's own."""

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--margin",
        "margins",
        multiple=True,
        metavar="[SUITE=]POINTS",
        help="Tolerance in percentage points, for all suites or for one; it stands over the files' and packs' own.",
    ),
    click.option("--pack", metavar="NAME", help="Take the tolerances of this pack's suites (`evalkit suites`)."),
    click.option(
        "--alpha",
        type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
        default=0.05,
        show_default=True,
        help="Level of each one-sided test; intervals are at 1 - 2 alpha.",
    ),
    click.option(
        "--on-inconclusive",
        type=click.Choice(["fail", "warn", "pass"]),
        default="fail",
        show_default=True,
        help="What an INCONCLUSIVE comparison ends with: exit code 4, or 0 with or without a warning.",
    ),
    click.option("--behaviour", is_flag=True, help="Print all rows beside accuracy, not only those with an alert."),
    click.option(
        "--flips",
        default="40",
        show_default=True,
        metavar="N|all",
        help="Changed items of a suite that the stored comparison holds with both replies.",
    ),
    click.option(
        "--include-questions", is_flag=True, help="Store the questions of gated data sets with the changed items."
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for the comparison (default: beside what is compared).",
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """Two sides, ready to be judged.

    `home` is where the comparison is stored; `trouble` are sentences on what kept a run from being whole; `bank` says
    that the reference was stored before; `noise` holds what the reference against itself showed, by suite; `probe` is
    what the fidelity probe found before the suites were asked.
    """

    sides: tuple[Side, Side]
    differences: tuple[Difference, ...]
    home: Path
    trouble: tuple[str, ...] = ()
    bank: bool = False
    noise: Mapping[str, NoiseFloor] = field(default_factory=dict)
    probe: Probe | None = None


def judging_options(function: Function) -> Function:
    """The options that say how strictly to judge and what to keep."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def policy(given: Mapping[str, Any], case: Case | None = None) -> Policy:
    """The policy that the options say.

    Raises:
        click.BadParameter: for a value that means nothing.
        UsageError: for an option that nothing in the case heeds.
    """
    from evalkit.compare.columns import no_item
    from evalkit.compare.policy import Policy
    from evalkit.errors import UsageError

    if given["include_questions"] and case is not None and all(side.item is no_item for side in case.sides):
        raise UsageError("--include-questions: has no effect here: neither side holds questions")

    margins, default = read_margins(given["margins"])
    if given["pack"] is not None and default is None:
        margins = {**_pack_margins(given["pack"]), **margins}
    return Policy(
        alpha=given["alpha"],
        margins=margins,
        default_margin=default,
        pack=given["pack"] or "",
        on_inconclusive=given["on_inconclusive"],
        bank=case is not None and case.bank,
        noise={} if case is None else case.noise,
        flips=_flips(given["flips"]),
        questions=given["include_questions"],
    )


def _pack_margins(name: str) -> dict[str, float]:
    from evalkit.tasks.suites import find_pack

    return {one.name: one.margin_pt / 100 for one in find_pack(name).suites if one.margin_pt is not None}


def read_margins(texts: tuple[str, ...]) -> tuple[dict[str, float], float | None]:
    """The tolerances by name and the one for all others (fractions) that `[NAME=]POINTS` texts say."""
    margins: dict[str, float] = {}
    default: float | None = None
    for text in texts:
        suite, named, points = text.rpartition("=")
        if named and not suite.strip():
            raise click.BadParameter(f"{text!r} names no suite before the =", param_hint="--margin")
        try:
            margin = float(points) / 100
        except ValueError:
            raise click.BadParameter(f"{text!r} is not POINTS or SUITE=POINTS", param_hint="--margin") from None
        if not 0 < margin < 1:
            raise click.BadParameter(f"{points} is not between 0 and 100 percentage points", param_hint="--margin")
        if suite:
            margins[suite] = margin
        else:
            default = margin
    return margins, default


def _flips(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is neither a number nor `all`", param_hint="--flips")
    return int(text)


def judge(case: Case, chosen: Policy) -> Comparison:
    """The comparison of a case, made now."""
    from datetime import UTC, datetime

    from evalkit.compare.judge import compare

    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = compare(*case.sides, chosen, now, case.differences)
    beyond = chosen.beyond_pack({suite.suite: suite.margin for suite in made.suites})
    return replace(made, notes=(*made.notes, *beyond, *case.trouble), probe=case.probe)


def check_margins(given: Mapping[str, Any], suites: Iterable[str]) -> None:
    """Raises `UsageError` where --margin or --pack names no suite that is compared: it would silently not hold."""
    from evalkit.errors import UsageError, did_you_mean

    known = sorted(set(suites))
    margins, default = read_margins(given["margins"])
    for name in margins:
        if name not in known:
            raise UsageError(f"--margin {name}=...: no such suite is compared{did_you_mean(name, known)}")
    if given.get("pack") is not None and default is None:
        listed = _pack_margins(given["pack"])
        if not listed.keys() & set(known):
            raise UsageError(
                f"--pack {given['pack']}: has no effect here: it gives no tolerance for {', '.join(known)} "
                f"(only for {', '.join(listed)}); say --margin"
            )


def show(comparison: Comparison, home: Path, given: Mapping[str, Any]) -> int:
    """Stores the comparison (in `home` where `given` names no folder), prints it, and gives the exit code."""
    from evalkit.render.document import to_json

    document = to_json(comparison)
    file = _store(document, given["out"], home)
    if given["as_json"]:
        click.echo(document.decode(), nl=False)
    else:
        _print(comparison, given)
        if file is not None:
            click.echo(f"stored in {file}", err=True)
            if comparison.suites:
                one, two = (f"{run.name} (run {run.run_id}, {run.started[:16]})" for run in _runs(comparison))
                click.echo(f"it compares {one} with {two}", err=True)
    for sentence in comparison.notes:
        click.echo(f"evalkit: {sentence}", err=True)
    if comparison.verdict.exit_code != comparison.exit_code and given["on_inconclusive"] == "warn":
        click.echo(f"evalkit: warning: {comparison.verdict.value} is no pass: {comparison.reasons[0]}", err=True)
    return comparison.exit_code


def _runs(comparison: Comparison) -> tuple[RunIdentity, RunIdentity]:
    return comparison.reference, comparison.candidate


def _print(comparison: Comparison, given: Mapping[str, Any]) -> None:
    from rich.console import Console

    from evalkit.render.tables import TerminalTable

    if given["behaviour"]:
        Console().print(TerminalTable(comparison, behaviour=True))
        return
    alerts = [tuple(row for row in suite.behaviour if row.alert) for suite in comparison.suites]
    suites = tuple(replace(suite, behaviour=rows) for suite, rows in zip(comparison.suites, alerts, strict=True))
    Console().print(TerminalTable(replace(comparison, suites=suites), behaviour=any(alerts)))


def _store(document: bytes, out: Path | None, home: Path) -> Path | None:
    """Writes the document; where nobody named a folder and the usual one refuses, that is said and no failure.

    Raises:
        StorageError: where the named folder cannot be written.
    """
    from evalkit.errors import StorageError

    file = (out or home) / stored.NAME
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = _keep_earlier(file, document)
        _write_whole(file, document)
        if kept is not None:
            click.echo(f"evalkit: the earlier comparison in this folder is kept as {kept.name}", err=True)
            _drop_oldest(file.parent)
    except OSError as error:
        if out is not None:
            raise StorageError(f"{file}: cannot be written: {error.strerror}") from error
        click.echo(f"evalkit: {file}: cannot be written ({error.strerror}): name a folder with --out", err=True)
        return None
    return file


def _keep_earlier(file: Path, document: bytes) -> Path | None:
    """Gives an earlier comparison a name with its date, unless the new one says the same; the name, if there was one.

    A nightly job compares under the same two names every night: no night's evidence is written over.
    """
    if not file.exists():
        return None
    earlier = file.read_bytes()
    if _but_for_the_date(earlier) == _but_for_the_date(document):
        return None
    found = re.search(rb'^"created": "([^"]*)"', earlier, re.MULTILINE)
    date = re.sub(r"[-:]", "", found[1].decode(errors="replace"))[:15] if found else ""
    name = f"{file.stem}-{date if re.fullmatch(r'[0-9]{8}T[0-9]{6}', date) else 'earlier'}"
    number = 1
    while (kept := file.with_name(f"{name}{f'-{number}' if number > 1 else ''}{file.suffix}")).exists():
        number += 1
    file.rename(kept)
    return kept


def _drop_oldest(folder: Path) -> None:
    """Removes the oldest of the earlier comparisons that evalkit kept here, so that a nightly job fills no disk."""
    found = [
        (match, path) for path in folder.iterdir() if (match := _KEPT_NAME.fullmatch(path.name)) and _is_plain(path)
    ]
    # One without a date is of an evalkit that wrote none, and older than all that have one.
    found.sort(key=lambda one: (one[0]["date"].replace("earlier", ""), int(one[0]["number"] or 1)))
    oldest = [path for _match, path in found[:-EARLIER]]
    for path in oldest:
        with contextlib.suppress(OSError):  # what cannot be removed stays
            path.unlink()
    if oldest:
        names = ", ".join(path.name for path in oldest)
        click.echo(f"evalkit: removed {names}: a folder keeps {EARLIER} earlier comparisons", err=True)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _but_for_the_date(document: bytes) -> list[bytes]:
    return [line for line in document.splitlines() if not line.startswith(b'"created": ')]


def _write_whole(file: Path, document: bytes) -> None:
    """Writes under another name first: a reader sees the whole document or the earlier one."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_bytes(document)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
