"""Known differences: a list of who accepts which suite's difference, until when and why, and what it lets pass.

A verdict that is DEGRADED or ELEVATED stays so wherever it is shown; an entry that covers it changes the exit code.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from evalkit.errors import UsageError, did_you_mean, nearest
from evalkit.model import Comparison, Reason, Value, Verdict

OVERALL: Final = "overall"  # the name by which an entry means the mean over suites


@dataclass(frozen=True, slots=True)
class Known:
    """A difference that is known: from and until are dates, both included; `line` is its place in the file."""

    suite: str
    since: date
    until: date
    by: str
    reason: str
    line: int = 0

    def covers(self, day: date, suite: str, verdict: Verdict) -> bool:
        """True where this is what was found; what is INVALID is no difference and is never covered."""
        differs = suite == self.suite and verdict in {Verdict.DEGRADED, Verdict.ELEVATED}
        return differs and self.since <= day <= self.until


def known_of(known: Iterable[Known], day: date, suite: str, verdict: Verdict) -> Known | None:
    """The known difference that a row's verdict is, if it is one."""
    return next((one for one in known if one.covers(day, suite, verdict)), None)


def without_known(rows: Sequence[tuple[str, Verdict]], known: Sequence[Known], day: date, whole: Verdict) -> Verdict:
    """The verdict over the rows that no entry covers; `whole`, that of all, where none is covered."""
    left = [verdict for name, verdict in rows if known_of(known, day, name, verdict) is None]
    if len(left) == len(rows):
        return whole
    return Verdict.over(left) if left else Verdict.EQUIVALENT


def waived(comparison: Comparison, known: Sequence[Known], *, lenient: bool) -> Comparison:
    """The comparison with the rows that are known marked, and the exit code of all others.

    INCONCLUSIVE ends with 0 where `lenient`. An entry that has expired while its row still differs is named in a note,
    and so is one whose suite is not compared.
    """
    day = read_day(comparison.created[:10], "created:")
    suites = tuple(
        replace(one, waiver=_waiver(found), reasons=(*one.reasons, _waiver(found)))
        if one.waiver is None and (found := known_of(known, day, one.suite, one.verdict))
        else one
        for one in comparison.suites
    )
    macro = comparison.macro
    if macro is not None and (found := known_of(known, day, OVERALL, macro.verdict)):
        macro = replace(macro, waiver=_waiver(found), reasons=(*macro.reasons, _waiver(found)))
    rows = [(one.suite, one.verdict) for one in comparison.suites if one.waiver is None]
    rows += [] if macro is None else [(OVERALL, macro.verdict)]
    left = without_known(rows, known, day, comparison.verdict)
    code = 0 if lenient and left is Verdict.INCONCLUSIVE else left.exit_code
    names = [*(one.suite for one in suites), *([] if macro is None else [OVERALL])]
    notes = (*comparison.notes, *_expired(rows, known, day), *unknown(known, names))
    return replace(comparison, suites=suites, macro=macro, exit_code=code, notes=notes)


def _waiver(one: Known) -> Reason:
    return Reason("known.waived", {"by": one.by, "until": one.until.isoformat(), "reason": one.reason})


def _expired(rows: Sequence[tuple[str, Verdict]], known: Sequence[Known], day: date) -> Iterator[Reason]:
    for name, verdict in rows:
        past = [one for one in known if one.until < day and replace(one, until=day).covers(day, name, verdict)]
        if past and known_of(known, day, name, verdict) is None:
            last = max(past, key=lambda one: one.until)
            values: dict[str, Value] = {"line": last.line, "suite": last.suite, "until": last.until.isoformat()}
            yield Reason("known.expired", values)


def unknown(known: Iterable[Known], suites: Iterable[str]) -> Iterator[Reason]:
    """A remark for each entry that names none of the suites."""
    names = set(suites)
    for entry in known:
        if entry.suite not in names | {OVERALL}:
            near = nearest(entry.suite, names)
            told: dict[str, Value] = {"line": entry.line, "suite": entry.suite}
            yield Reason("known.no_suite", told if near is None else {**told, "near": near})


_KEYS: Final = ("suite", "from", "until", "by", "reason")


def read_known(path: Path) -> tuple[Known, ...]:
    """The known differences of a file.

    Raises `UsageError`: the file cannot be read, or an entry is wrong; names the line and the key.
    """
    from evalkit.publish.cards import read_yaml  # and pydantic, which what has no such list does not need

    try:
        node, entries = read_yaml(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise UsageError(f"{path}: a list of known differences begins each entry with `- suite: NAME`")
    lines = [item.start_mark.line + 1 for item in node.value]
    return tuple(_entry(entry, line, f"{path} line {line}") for entry, line in zip(entries, lines, strict=True))


def _entry(entry: Any, line: int, place: str) -> Known:
    if not isinstance(entry, dict):
        raise UsageError(f"{place}: an entry has the keys {', '.join(_KEYS)}")
    for key in entry:
        if key not in _KEYS:
            raise UsageError(f"{place}: the key {key!r} is not known{did_you_mean(str(key), _KEYS)}")
    missing = next((key for key in _KEYS if entry.get(key) in {None, ""}), None)
    if missing:
        raise UsageError(f"{place}: {missing} is missing: a known difference names {', '.join(_KEYS)}")
    since, until = read_day(entry["from"], f"{place}: from:"), read_day(entry["until"], f"{place}: until:")
    if until < since:
        raise UsageError(f"{place}: until: {until} is before {since}")
    return Known(str(entry["suite"]), since, until, str(entry["by"]), str(entry["reason"]), line)


def read_day(value: Any, place: str) -> date:
    """A date, which YAML reads where it is not quoted.

    Raises `UsageError`: it is none; `place` says where it stands.
    """
    with suppress(ValueError):
        day = date.fromisoformat(value) if isinstance(value, str) else value
        if type(day) is date:
            return day
    raise UsageError(f"{place} {value!r} is no date: write it as 2026-11-21")
