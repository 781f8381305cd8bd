"""Reads a stored run into the columns that a comparison takes; needs no data set, no lm-eval and no network."""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.compare.columns import ItemText, ReplyText, Side, SuiteFacts, SuiteSide
from evalkit.errors import RunError
from evalkit.model import Reason, Status, Value, fraction
from evalkit.parts import Part
from evalkit.run import journal, manifest, tables
from evalkit.run.answerers import blend, remarks
from evalkit.run.items import Questions, read_items
from evalkit.run.manifest import Session, SuiteRecord
from evalkit.run.parquet import AGAIN, Table
from evalkit.run.tables import RunTables, SuiteRows

# What is sent and decides no answer.
_NO_SAMPLING = frozenset({"model", "logprobs", "top_logprobs"})
UNJUDGED_SHARE = 0.01  # above this share of answers that the judge could not grade there is no verdict


class LostError(RunError):
    """Answers that were graded are gone: scores that cannot be proven, and must not be made again from less."""


def is_run(path: Path) -> bool:
    """True where a folder is a run of evalkit's."""
    return (path / manifest.NAME).is_file()


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keeps Python from looking for garbage in cycles among millions of rows that hold none: a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_collector()
def stored_side(folder: Path, plan: str | None = None, part: Part | None = None) -> Side:
    """The side that a run folder holds, as of its last session, or of the last one with the plan of that digest.

    Of the `part` of the plan, where all repeats are meant or no part is given of what the session was to ask.

    Raises `RunError`: where the folder is no run, was never scored, or is damaged.
    """
    session = manifest.latest(folder, plan)
    stored = verified(folder, session, part)
    notes: list[Reason] = []
    texts = _Texts(folder, session, stored)
    unproven = () if journal.files(folder) else (Reason("run.no_journal", {"run": session.name}),)
    suites = {
        record.suite: SuiteSide(
            _facts(record, rows, session, unproven), rows.samples, rows.options, rows.second, rows.p_gold
        )
        for record in session.suites
        if (rows := stored.suites.get(record.suite)) is not None
    }
    sessions = manifest.sessions(folder)
    notes += [*remarks(session, sessions), *_narrower(session, sessions)]
    overall = None if session.overall_margin_pt is None else fraction(session.overall_margin_pt)
    stopped = _stopped(session, suites.values())
    given = session.identity(str(folder)), session.config, suites, texts.reply, texts.item, tuple(notes)
    return Side(*given, overall_margin=overall, stopped=stopped)


_NO_ANSWER = (Status.FAILED.value, Status.NOT_ASKED.value)


def _stopped(session: Session, suites: Iterable[SuiteSide]) -> Reason | None:
    """What kept the side from being asked to the end, and how much of it was answered."""
    if session.stopped is None or not session.stopped.why:
        return None
    counts = sum((Counter(suite.samples.status.counts()) for suite in suites), Counter())
    answered = counts.total() - sum(counts[status] for status in _NO_ANSWER)
    told: dict[str, Value] = {"name": session.name, "why": session.stopped.why, "n": answered, "all": counts.total()}
    return Reason("side.stopped", {**told, **({"advice": session.stopped.advice} if session.stopped.advice else {})})


def _lacking(record: SuiteRecord, rows: SuiteRows, session: Session) -> str:
    """Why samples of a suite have no answer: what stopped it, or what most of its failures say."""
    if session.stopped is not None and record.suite in session.stopped.suites:
        return session.stopped.suites[record.suite]
    if session.stopped is not None and session.stopped.why:
        return ""
    failed = np.flatnonzero(rows.samples.status.mask(Status.FAILED.value))
    said = rows.samples.reason.rows(failed).counts()
    return max(said, key=lambda detail: said[detail], default="")


def verified(folder: Path, session: Session, part: Part | None = None) -> RunTables:
    """The scores of a session's plan with their items, where they were made from what the folder holds.

    Raises `LostError`: where a journal that they were made from is gone or shorter now, while the folder holds any;
    `RunError`: where they are absent or damaged, or were made from something else.
    """
    path = tables.scores_path(folder, session.plan)
    if not path.exists():
        raise RunError(f"{folder}: is not graded yet (there is no {path.name}): {AGAIN}")
    table = Table(path, tables.SCORES)
    scorers = {record.suite: record.digests.get("scorer", "") for record in session.suites}
    if (table.header.get("plan"), table.header.get("scorers")) != (session.plan, scorers):
        raise RunError(f"{table.path}: was made by other scorers, or of another plan: {AGAIN}")
    journals = journal.extents(folder)
    if journals and table.header.get("journals") != journals:
        now = {name: size for name, size, _end in journals}
        for name, size in graded_bytes(table).items():
            if now.get(name, 0) < size:
                lost = f"{folder / name}: holds {now.get(name, 0):,} of the {size:,} bytes that were graded"
                raise LostError(f"{lost}: put it back, or run it again with its file, which asks for what is lost")
        raise RunError(f"{table.path}: was made from other journals than lie beside it: {AGAIN}")
    listed = {record.suite: read_items(folder, record.items_digest) for record in session.suites}
    parts = [one for one in ((part, session.part) if part is None or part.whole else (part,)) if one is not None]
    return tables.load(listed, table, parts)


def graded_bytes(table: Table) -> dict[str, int]:
    """The journals that scores were made from, by name, and how many bytes they then had."""
    said = table.header.get("journals")
    ends = [one for one in said if isinstance(one, list)] if isinstance(said, list) else []
    return {one[0]: one[1] for one in ends if [type(value) for value in one[:2]] == [str, int]}


def facts_of(record: SuiteRecord) -> SuiteFacts:
    """What a session says of a suite, before and after it is asked."""
    whole = record.rows or record.items_in_data
    part = [Reason("note.part", {"n": record.items, "all": whole})] if record.items < whole else []
    return SuiteFacts(
        suite=record.suite,
        label=record.label,
        margin=fraction(record.margin_pt),
        p_gold_margin=fraction(record.p_gold_margin_pt),
        headline=record.headline,
        chance=record.chance,
        gated=record.gated,
        licence=record.licence,
        greedy=record.parameters.get("temperature") == 0,
        repeats=record.repeats,
        notes=(*record.notes, *part),
        digests={**record.digests, **sampled(record.parameters)},
        step=1.0 if record.right_or_wrong else None,
    )


def sampled(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a request body that decide its answer, by the names that a comparison has for them."""
    return {f"sampling.{key}": str(value) for key, value in parameters.items() if key not in _NO_SAMPLING}


def _facts(record: SuiteRecord, rows: SuiteRows, session: Session, unproven: tuple[Reason, ...]) -> SuiteFacts:
    facts = facts_of(record)
    notes = (*facts.notes, *_judge_noise(rows, session.name))
    defects = (*unproven, *blend(session), *_defects(record, rows, session.name))
    return replace(facts, notes=notes, lacking=_lacking(record, rows, session), defects=defects)


def _narrower(session: Session, sessions: Sequence[Session]) -> Iterator[Reason]:
    """What an earlier session of the run asked and the one that is read did not: a folder means its last session."""
    asked = {record.suite: record for record in session.suites}
    most: dict[str, tuple[int, int]] = {}
    for other in sessions:
        for record in other.suites if other.plan != session.plan else ():
            size = record.items, record.repeats
            most[record.suite] = max(size, most.get(record.suite, size), key=prod)
    less = []
    for suite, (items, repeats) in most.items():
        now = asked.get(suite)
        if now is None:
            less.append(Reason("less.none", {"suite": suite}))
        elif now.items * now.repeats < items * repeats:
            asked_now = {"items": now.items, "repeats": now.repeats}
            less.append(Reason("less.part", {"suite": suite, **asked_now, "all_items": items, "all_repeats": repeats}))
    if less:
        yield Reason("note.less", {"name": session.name, "suites": tuple(less)})


def _judge_noise(rows: SuiteRows, name: str) -> Iterator[Reason]:
    """How much of a judged mean is the judge's own: the SD over its repeats; the interval holds it in any case."""
    if rows.gradings > 1:
        deviation = rows.judge_variance**0.5 / len(rows.samples)
        yield Reason("note.judged_often", {"name": name, "n": rows.gradings, "deviation": deviation})
    elif rows.gradings and not rows.second:
        yield Reason("note.judged_once", {"name": name})


def _defects(record: SuiteRecord, rows: SuiteRows, name: str) -> Iterator[Reason]:
    """Why a suite that must be whole is not; without any answer at all another rule speaks."""
    size = len(rows.samples)
    if record.complete and 0 < rows.unanswered < size:
        yield Reason("run.unanswered", {"run": name, "n": rows.unanswered, "all": size})
    if rows.unjudged > UNJUDGED_SHARE * size:
        yield Reason("run.unjudged", {"run": name, "n": rows.unjudged, "all": size, "most": UNJUDGED_SHARE})


class _Texts:
    """Fetches stored texts when they are needed: replies by their place in the journal, questions from the items."""

    def __init__(self, folder: Path, session: Session, stored: RunTables) -> None:
        self._folder = folder
        self._places, self._key = cache(stored.places), stored.key
        self._journals = journal.files(folder)  # those that the scores were made from, if there are any
        self._items = {record.suite: record.items_digest for record in session.suites}

    def reply(self, suite: str, row: int) -> ReplyText | None:
        """The stored reply of one sample; None where there is none, or no journal any more."""
        from evalkit.endpoint.body import generated_logprobs  # most comparisons read scores and few replies
        from evalkit.run.records import read_at

        number, offset, place = self._places()[suite][:, row].tolist()
        if offset < 0 or not 0 <= number < len(self._journals):
            return None
        record = read_at(self._journals[number], offset, self._key(place))
        reply = record.reply()
        return ReplyText(
            reply.content, reply.reasoning, generated_logprobs(record.body), str(record.body.get("id") or "")
        )

    def item(self, suite: str, item: str) -> ItemText | None:
        """Question and target of one item."""
        return self._questions(suite).of(item)

    @cache  # noqa: B019 - one object a run, for the life of the process
    def _questions(self, suite: str) -> Questions:
        return Questions(self._folder, self._items[suite])
