"""Nights in a row: what one comparison leaves in the history, and what the history shows of each suite.

A night is bad for a suite when it is DEGRADED, ELEVATED or INVALID, good when it is EQUIVALENT; an INCONCLUSIVE night
decides nothing. Known differences are marked, never hidden.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from evalkit import codec
from evalkit.errors import StorageError, UsageError
from evalkit.model import Comparison, Interval, Macro, Reason, Rounds, RunIdentity, SuiteResult, Value, Verdict
from evalkit.publish.known import OVERALL, Known, known_of, read_day, unknown, without_known
from evalkit.render.private import is_address_key, without_hosts
from evalkit.render.rows import stopped_by
from evalkit.render.words import ReasonError, check

FORMAT: Final = 1
BAD: Final = frozenset({Verdict.DEGRADED, Verdict.ELEVATED, Verdict.INVALID})
_LONGEST_FACT: Final = 300
_PAIR: Final = re.compile(r"([A-Za-z][\w.-]{0,60})=([^\s,;=]+)")
_DATED: Final = frozenset({"night", "date", "time"})
"""Parts of a build's name that are another every night and explain nothing."""
_TOLD_ELSEWHERE: Final = frozenset({"build", "name"})
_GRAVEST: Final = (3, 1, 4, 0)


@dataclass(frozen=True, slots=True)
class SuiteNight:
    """One suite on one night, or the overall row (its items are suites, its k 0); numbers as in `model.SuiteResult`."""

    suite: str
    label: str
    verdict: Verdict
    n_items: int
    k_reference: float
    k_candidate: float
    reference: float | None
    candidate: float | None
    difference: float | None
    interval: Interval | None
    margin: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Night:
    """One line of the history. `night` is a date (YYYY-MM-DD), `created` the comparison's moment.

    `overall` is the verdict of the mean over suites, `mean` its row; None where there is none.
    `facts` say what was served and how it was asked, by dotted name: versions, builds, sampling, digests; `stopped`
    says why the suites were not asked, or not to the end, where they were not; `rounds` how far, where in rounds.
    """

    series: str
    night: str
    created: str
    reference_run: str
    candidate_run: str
    verdict: Verdict
    overall: Verdict | None
    exit_code: int
    suites: tuple[SuiteNight, ...]
    facts: Mapping[str, str]
    stopped: tuple[Reason, ...] = ()
    rounds: Rounds | None = None
    mean: SuiteNight | None = None
    format: int = FORMAT

    @property
    def order(self) -> tuple[str, ...]:
        """Sorts nights in time; those of one second by their runs."""
        return (self.night, self.created, self.reference_run, self.candidate_run)


@dataclass(frozen=True, slots=True)
class FactChange:
    """A fact with two values; None where a night does not have it."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Episode:
    """Bad nights of a suite in a row, with what changed between the last good night and the first bad one.

    `recovered` is the good night that ended it, None while it lasts.
    """

    first_bad: Night
    last_bad: Night
    last_good: Night | None
    recovered: Night | None
    changed: tuple[FactChange, ...]


@dataclass(frozen=True, slots=True)
class SuiteTrend:
    """One suite over the nights of a series, oldest first."""

    suite: str
    label: str
    points: tuple[tuple[Night, SuiteNight], ...]
    episodes: tuple[Episode, ...]

    @property
    def lasting(self) -> Episode | None:
        """The episode that has not ended."""
        return self.episodes[-1] if self.episodes and self.episodes[-1].recovered is None else None


@dataclass(frozen=True, slots=True)
class Series:
    """The nights of one candidate against one reference, oldest first; suites as on the last, then the overall row."""

    name: str
    nights: tuple[Night, ...]
    suites: tuple[SuiteTrend, ...]

    def without(self, trend: SuiteTrend) -> tuple[Night, ...]:
        """The nights since a suite's first that have nothing of it, oldest first."""
        there = {night.order for night, _result in trend.points}
        since = trend.points[0][0].order
        return tuple(night for night in self.nights if night.order > since and night.order not in there)


def night_of(
    comparison: Comparison, night: str = "", series: str = "", facts: Mapping[str, str] | None = None
) -> Night:
    """What a comparison leaves in the history.

    Args:
        comparison: the night's comparison.
        night: its date; default: the day on which it was made.
        series: default: the names of candidate and reference.
        facts: what the user knows beside what the runs say.

    Raises `UsageError`: the night is no date.
    """
    day = night or comparison.created[:10]
    read_day(day, "the night")
    comparison = without_hosts(comparison)
    return Night(
        series=series or f"{comparison.candidate.name} against {comparison.reference.name}",
        night=day,
        created=comparison.created,
        reference_run=comparison.reference.run_id,
        candidate_run=comparison.candidate.run_id,
        verdict=comparison.verdict,
        overall=None if comparison.macro is None else comparison.macro.verdict,
        exit_code=comparison.exit_code,
        suites=tuple(_suite_night(suite) for suite in comparison.suites),
        facts={**_facts(comparison), **(facts or {})},
        stopped=stopped_by(comparison) if comparison.suites else comparison.reasons,
        rounds=comparison.rounds,
        mean=None if comparison.macro is None else _mean_night(comparison.macro),
    )


def _suite_night(suite: SuiteResult) -> SuiteNight:
    same = ("suite", "verdict", "n_items", "k_reference", "k_candidate", "difference", "margin", "reasons")
    return SuiteNight(
        **{name: getattr(suite, name) for name in same},
        label=suite.label or suite.suite,
        reference=suite.reference.mean,
        candidate=suite.candidate.mean,
        interval=suite.ci90,
    )


def _mean_night(mean: Macro) -> SuiteNight:
    about = (OVERALL, OVERALL, mean.verdict, mean.suites, 0.0, 0.0, mean.reference, mean.candidate)
    return SuiteNight(*about, mean.difference, mean.ci90, mean.margin, mean.reasons)


def _facts(comparison: Comparison) -> dict[str, str]:
    facts = {"reference.run": comparison.reference.run_id}
    for side, run in (("reference", comparison.reference), ("candidate", comparison.candidate)):
        facts |= {f"{side}.{name}": value for name, value in _of_run(run)}
    for one in (one for one in comparison.differences if one.key not in _TOLD_ELSEWHERE):
        facts[f"candidate.config.{one.key}"] = one.candidate
    for suite in comparison.suites:
        facts |= {f"{suite.suite}.data": suite.data_digest, f"{suite.suite}.prompts": suite.protocol_digest}
    return {name: value[:_LONGEST_FACT] for name, value in facts.items() if value and not is_address_key(name)}


def _of_run(run: RunIdentity) -> Iterable[tuple[str, str]]:
    yield "model", run.model
    for name, value in run.versions.items():
        yield f"versions.{name}", value
    for name, value in run.endpoint.items():
        yield from _build(value) if name == "build" else [(f"endpoint.{name}", value)]
    for name, given in run.sampling.items():
        yield f"sampling.{name}", given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _build(text: str) -> Iterable[tuple[str, str]]:
    """A build that is written as NAME=VALUE pairs is as many facts; any other is one."""
    pairs = _PAIR.findall(text)
    if not pairs or _PAIR.sub("", text).strip(" ,;\t"):
        yield "build", text
        return
    yield from ((f"build.{name}", value) for name, value in pairs if name.lower() not in _DATED)


def to_line(night: Night) -> bytes:
    """The night as one line of JSON."""
    return codec.encode(codec.dump(night) + "\n")


def from_line(line: bytes, place: str) -> Night:
    """Read a line back; nothing is guessed.

    Raises `UsageError`: no line of a history, or one of a newer evalkit; `place` names the file and the line.
    """
    try:
        version = json.loads(line).get("format")
    except (ValueError, RecursionError, AttributeError):
        raise UsageError(f"{place}: is no line of a history: mend or delete it") from None
    if isinstance(version, int) and version > FORMAT:
        raise UsageError(f"{place}: was written by a newer evalkit (format {version}): upgrade flagos-evalkit")
    try:
        night = codec.read(Night, line)
        for reason in (
            *night.stopped,
            *(one for row in filter(None, (*night.suites, night.mean)) for one in row.reasons),
        ):
            check(reason)
        read_day(night.night, "night:")
    except (UsageError, ReasonError) as error:
        raise UsageError(f"{place}: {error}: mend or delete the line") from None
    return night


def series_of(nights: Iterable[Night]) -> tuple[Series, ...]:
    """The nights by series, each in time; a night that was added again replaces the earlier one."""
    latest = {(night.series, night.created, night.reference_run, night.candidate_run): night for night in nights}
    named: dict[str, list[Night]] = {}
    for night in sorted(latest.values(), key=lambda night: night.order):
        named.setdefault(night.series, []).append(night)
    return tuple(Series(name, tuple(some), _suites(some)) for name, some in named.items())


def _suites(nights: Sequence[Night]) -> tuple[SuiteTrend, ...]:
    names = dict.fromkeys(result.suite for night in reversed(nights) for result in night.suites)
    rows = [tuple((night, one) for night in nights for one in night.suites if one.suite == name) for name in names]
    means = tuple((night, night.mean) for night in nights if night.mean is not None)
    rows += [means] if means else []
    return tuple(SuiteTrend(some[-1][1].suite, some[-1][1].label, some, tuple(_episodes(some))) for some in rows)


def _episodes(points: Sequence[tuple[Night, SuiteNight]]) -> Iterable[Episode]:
    good: Night | None = None
    bad: list[Night] = []

    def episode(recovered: Night | None) -> Episode:
        return Episode(bad[0], bad[-1], good, recovered, changes(good, bad[0]) if good else ())

    for night, result in points:
        if result.verdict in BAD:
            bad.append(night)
        elif result.verdict is Verdict.EQUIVALENT:
            if bad:
                yield episode(night)
            good, bad = night, []
    if bad:
        yield episode(None)


def changes(before: Night, after: Night) -> tuple[FactChange, ...]:
    """The facts in which two nights differ, by name."""
    names = sorted(before.facts.keys() | after.facts.keys())
    # What nobody was there to say has not changed.
    names = [name for name in names if all(name in night.facts or not night.stopped for night in (before, after))]
    pairs = [FactChange(name, before.facts.get(name), after.facts.get(name)) for name in names]
    return tuple(pair for pair in pairs if pair.before != pair.after)


def known_for(known: Sequence[Known], night: Night, result: SuiteNight) -> Known | None:
    """The known difference that a night's result is, if it is one."""
    return known_of(known, date.fromisoformat(night.night), result.suite, result.verdict)


def gate(series: Sequence[Series], known: Sequence[Known], *, lenient: bool = False) -> int:
    """The exit code of the last nights, known differences aside: the gravest of all series.

    INCONCLUSIVE is 4, or with `lenient` 0.
    """
    advisory, codes = Reason("policy.advisory"), set()
    for night in (one.nights[-1] for one in series):
        rows = [(result.suite, result.verdict) for result in night.suites if advisory not in result.reasons]
        rows += [] if night.overall is None else [(OVERALL, night.overall)]
        codes.add(without_known(rows, known, date.fromisoformat(night.night), night.verdict).exit_code)
    allowed = {Verdict.INCONCLUSIVE.exit_code} if lenient else set()
    return next((code for code in _GRAVEST if code in codes - allowed), 0)


NAME: Final = "history.jsonl"


def read(path: Path) -> list[Night]:
    """The nights of a file in the order in which they were added; a torn last line is dropped.

    Raises `UsageError`: the file cannot be read, holds something else, or a night that lies in the future.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no history yet: `evalkit history add CMP` begins one") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    lines = data.split(b"\n")
    torn = lines.pop()
    nights = [from_line(line, f"{path} line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if torn.strip() and _is_whole(torn, path):
        nights.append(from_line(torn, str(path)))
    for night in nights:
        _check_past(night, f"{path}: {night.series}")
    return nights


def _check_past(night: Night, place: str) -> None:
    """Raises `UsageError` for a night that is yet to come: it would stand last, and hide those that follow."""
    if max(night.night, night.created[:10]) > (datetime.now(UTC).date() + timedelta(days=1)).isoformat():
        told = f"the night {night.night} (made on {night.created[:10]}) lies in the future and would hide later ones"
        raise UsageError(f"{place}: {told}: mend its date, or delete the line")


def add(path: Path, night: Night) -> bool:
    """Adds a night, whole or not at all; False where the file holds exactly this one already.

    Raises `UsageError`: the file holds something else than a history, or the night lies in the future; `StorageError`:
    the disk refuses.
    """
    _check_past(night, night.series)
    if path.exists() and night in read(path):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            _end_whole(out, path)
            out.write(to_line(night))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    return True


def _end_whole(out: BinaryIO, path: Path) -> None:
    """Makes the file end with a whole line: what a crash tore is cut off, a line end that is missing is added."""
    out.seek(0)
    data = out.read()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return
    if _is_whole(data[end:], path):
        out.write(b"\n")
    else:
        out.truncate(end)


def _is_whole(line: bytes, path: Path) -> bool:
    try:
        from_line(line, str(path))
    except UsageError:
        return False
    return True


def document(
    series: Sequence[Series], known: Sequence[Known], *, suite: str | None = None, last: int = 60
) -> dict[str, Any]:
    """All series, or one suite of each: points oldest first, episodes of bad nights, known differences; for `codec`."""
    return {
        "format": FORMAT,
        "series": [
            {
                "name": one.name,
                "nights": len(one.nights),
                "suites": [_trend(trend, known, last) for trend in one.suites if suite in {None, trend.suite}],
            }
            for one in series
        ],
        "known": list(known),
    }


def _trend(trend: SuiteTrend, known: Sequence[Known], last: int) -> dict[str, Any]:
    points = []
    for night, result in trend.points[-last:]:
        about = {name: getattr(night, name) for name in ("night", "created", "candidate_run", "rounds")}
        figures = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in {"suite", "label"}}
        points.append({**about, "known": known_for(known, night, result), **figures})
    episodes = []
    for one in trend.episodes:
        ends = {name: getattr(one, name) for name in ("first_bad", "last_bad", "last_good", "recovered")}
        episodes.append({**{name: night and night.night for name, night in ends.items()}, "changed": one.changed})
    return {"suite": trend.suite, "label": trend.label, "points": points, "episodes": episodes}


def remarks(known: Sequence[Known], series: Sequence[Series]) -> Iterable[Reason]:
    """A remark for each entry that names a suite nobody ran, or that expired while the suite is still bad."""
    trends = [trend for one in series for trend in one.suites]
    yield from unknown(known, [trend.suite for trend in trends])
    for entry in known:
        about: dict[str, Value] = {"line": entry.line, "suite": entry.suite}
        renewed = any(other.suite == entry.suite and other.until > entry.until for other in known)
        for lasting in [trend.lasting for trend in trends if trend.suite == entry.suite and not renewed]:
            if lasting and date.fromisoformat(lasting.last_bad.night) > entry.until:
                yield Reason("known.expired", {**about, "until": entry.until.isoformat()})
