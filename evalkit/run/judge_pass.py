"""The judge pass: after both sides have answered, one judge grades all free-text answers, mixed and unmarked.

Grades are kept in a journal of their own, `RUNS/judge-IDENTITY/`, by a digest of judge, question, truth and answer: the
same answer on both sides, or on another night, is one judgment. Some answers of the first side are graded a second
time, which shows the judge's own noise. A reply that cannot be read is asked again, and after `MAX_ASKS` the answer
stays unjudged: it has no score, never 0.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.config import JudgeConfig
from evalkit.config.redact import redact_url
from evalkit.endpoint import open_client
from evalkit.endpoint.identity import served_models
from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import ConfigError, EndpointError
from evalkit.files import digest
from evalkit.model import Failure, FailureKind, FinalText, Prompt, Reply, Request, Score
from evalkit.run import journal
from evalkit.run.plan import Plan, SideRun, identity_of
from evalkit.run.records import ReplyRecord, packed, read_at, read_records
from evalkit.run.scheduler import Finder, Pool, PoolSettings, Progress
from evalkit.scoring.answers import judge
from evalkit.scoring.answers.reply import final_text

MAX_ASKS = 5


@dataclass(frozen=True, slots=True)
class Book:
    """All grades of a judge, by cache key; `score` is the scorer of the suites that it grades.

    `problem` is what kept the judge from grading everything; what it graded before is in the book.
    """

    identity: judge.JudgeIdentity
    repeats: int
    grades: Mapping[str, float | None]
    notes: tuple[str, ...] = ()
    problem: EndpointError | None = None

    def score(self, doc: Mapping[str, Any], final: FinalText) -> Score:
        """The score of one answer from its grades."""
        case = judge.case_of(doc, final)
        keys = [judge.cache_key(self.identity, case, repeat) for repeat in range(2 * self.repeats)]
        grades = [self.grades.get(key) for key in keys]
        return judge.judged_score(final, grades[: self.repeats], grades[self.repeats :])

    @property
    def digest(self) -> str:
        """What scores follow from: the judge, and every grade."""
        return digest([self.identity.digest, self.repeats, sorted(self.grades.items())])


@dataclass(frozen=True, slots=True)
class _Graded:
    """What a judge's journal says of the asks: grades by key, the next attempt of each ask, who answered."""

    grades: Mapping[str, float | None]
    attempts: Mapping[str, int]
    models: frozenset[str]
    fingerprints: frozenset[str]


def with_grades(plan: Plan, book: Book) -> Plan:
    """The plan with the judge's grades as the scorer of its judged suites."""
    suites = (
        replace(suite, loaded=replace(suite.loaded, score=book.score)) if "judge" in suite.loaded.suite.needs else suite
        for suite in plan.suites
    )
    return replace(plan, suites=tuple(suites), _bases={})


def needs_judge(plan: Plan) -> bool:
    """True where a suite of the plan is graded by a judge."""
    return any("judge" in suite.loaded.suite.needs for suite in plan.suites)


async def look(config: JudgeConfig) -> str | None:
    """A look at the judge before hours are spent on answers: None, or a sentence where it does not answer now.

    Raises `ConfigError`: its key is not in the environment, or it does not serve the model.
    """
    found = await served_models(ClientSettings.of(config, config.urls))
    if isinstance(found, Failure):
        unlisted = found.kind is FailureKind.NOT_FOUND
        return None if unlisted else f"judge: {redact_url(config.base_url)} does not answer yet ({found.detail})"
    if found.ids and config.model not in found.ids:
        served = ", ".join(repr(name) for name in sorted(found.ids)[:5])
        raise ConfigError(
            f"judge.model: {config.model!r} is not served at {redact_url(config.base_url)}, which serves {served}"
        )
    return None


async def judge_sides(config: JudgeConfig, sides: Sequence[SideRun], runs: Path, progress: Progress | None) -> Book:
    """Grades what the sides answered and is not graded yet; reads the rest from the judge's journal.

    Without `progress` nothing is asked: what is not in the journal stays unjudged. A judge that is gone, refuses, or
    answers under another model's name is the book's `problem`.

    Raises `StorageError`: where the disk refuses; `ConfigError`: where the judge's key is not in the environment.
    """
    identity = identity_of(config)
    answers = [answer for side in sides for answer in _answers(side)]
    asks = _plan(config, answers, sides[0].config.name)
    folder = runs / f"judge-{digest([identity.digest, config.base_url])[:12]}"
    stored = _stored(folder, asks)
    problem: EndpointError | None = None
    todo = _open(asks, stored) if progress is not None else []
    if progress is not None:
        progress.planned, progress.done, progress.stored = len(asks), len(asks) - len(todo), len(asks) - len(todo)
    while todo and progress is not None:
        try:
            await _ask(config, folder, [(ask, stored.attempts[ask.key]) for ask in todo], stored, progress)
        except EndpointError as error:
            problem = error
        before, stored = stored, _stored(folder, asks)
        # An ask without any reply failed as a request: it is left for another run, which asks it in the same words.
        answered = [ask for ask in todo if stored.attempts[ask.key] > before.attempts[ask.key]]
        todo = [] if problem is not None else _open(answered, stored)
        progress.planned += len(todo)
    if problem is None:
        problem = _change(config, folder, stored.models, stored.fingerprints)
    notes = _notes(answers, identity, stored, config.repeats)
    return Book(identity, config.repeats, stored.grades, notes, problem)


def _plan(config: JudgeConfig, answers: Sequence[judge.Answer], reference: str) -> tuple[judge.Ask, ...]:
    """What to ask for: every answer's grades, and a second grading of some of the reference's, all in one order."""
    identity, seed, repeats = identity_of(config), config.sampling.seed, config.repeats
    asks = judge.plan(answers, identity, repeats=repeats, seed=seed)
    again = judge.sample((one for one in answers if one.side == reference), config.noise_items, seed)
    second = judge.plan(again, identity, repeats=repeats, seed=seed, first_repeat=repeats)
    return tuple(sorted((*asks, *second), key=lambda ask: digest([seed, ask.key])))


def _open(asks: Sequence[judge.Ask], stored: _Graded) -> list[judge.Ask]:
    """The asks that have no grade and may be asked (again)."""
    return [ask for ask in asks if stored.grades[ask.key] is None and stored.attempts[ask.key] < MAX_ASKS]


def _stored(folder: Path, asks: Sequence[judge.Ask]) -> _Graded:
    """The first readable reply of every ask is its grade."""
    replies = journal.index(folder).replies if folder.is_dir() else {}
    grades: dict[str, float | None] = {}
    attempts: dict[str, int] = {}
    models, fingerprints = set(), set()
    for ask in asks:
        grades[ask.key], attempts[ask.key] = None, MAX_ASKS
        for attempt in range(MAX_ASKS):
            place = replies.get(_key(ask, attempt))
            if place is None:
                attempts[ask.key] = attempt
                break
            record = read_at(place.file, place.offset, _key(ask, attempt))
            reply = record.reply()
            models.add(reply.model or "")
            fingerprints.add(reply.fingerprint)
            grades[ask.key] = judge.grade(reply.content, cut_off=reply.finish_reason == "length")
            if grades[ask.key] is not None:
                break
    return _Graded(grades, attempts, frozenset(models - {""}), frozenset(fingerprints - {""}))


def _change(
    config: JudgeConfig, folder: Path, models: Collection[str], fingerprints: Collection[str]
) -> EndpointError | None:
    """What is wrong with a judge whose replies name these models and builds; None where it is one judge."""
    cure = f"pin its version, and move {folder} away to have everything graded by one"
    if len(models) > 1:
        return EndpointError(
            f"judge: its replies name several models ({', '.join(sorted(models))}): a judge that changes is no judge; "
            f"{cure}"
        )
    if len(fingerprints) > 1 and not config.allow_new_fingerprint:
        return EndpointError(
            f"judge: its replies carry several system fingerprints ({', '.join(sorted(fingerprints))}): what serves it "
            f"changed between grades; {cure}, or set judge.allow_new_fingerprint: true"
        )
    return None


def _notes(
    answers: Sequence[judge.Answer], identity: judge.JudgeIdentity, stored: _Graded, repeats: int
) -> tuple[str, ...]:
    notes = []
    if len(stored.fingerprints) > 1:
        notes.append(
            f"judge {identity.model}: its replies carry {len(stored.fingerprints)} system fingerprints: what serves it "
            "changed between grades"
        )
    if len({answer.side for answer in answers}) < 2:
        return tuple(notes)
    first = answers[0].side
    named = [
        judge.Answer("reference" if answer.side == first else "candidate", answer.item, answer.repeat, answer.case)
        for answer in answers
    ]
    found = judge.noise(named, identity, stored.grades, repeats=repeats)
    spread = "unknown with one repeat" if found.difference_sd is None else f"{found.difference_sd * 100:.2f} points"
    notes.append(
        f"judge {identity.model}: {repeats} grading(s) an answer, its own noise in the difference (SD): {spread}; "
        f"{found.identical} answers identical on both sides, {found.unjudged} unjudged"
    )
    return tuple(notes)


def _answers(side: SideRun) -> Iterator[judge.Answer]:
    """What the judge is to see of a side: the final texts of its judged suites."""
    wanted = {}
    for key, suite, item, repeat in side.plan.keyed():
        if "judge" in suite.loaded.suite.needs:
            wanted[key] = (item, repeat)
    for file in journal.files(side.folder):
        for _offset, record in read_records(file):
            if not isinstance(record, ReplyRecord) or record.key not in wanted:
                continue
            item, repeat = wanted.pop(record.key)
            final = final_text(record.reply(), side.config.thinking.closing_tags)
            if final.status is None:
                yield judge.Answer(side.config.name, f"{item.suite}/{item.id}", repeat, judge.case_of(item.doc, final))


def _key(ask: judge.Ask, attempt: int) -> str:
    """The key of an attempt in the journal."""
    return ask.key[:32] if attempt == 0 else digest([ask.key, attempt])[:32]


async def _ask(
    config: JudgeConfig, folder: Path, asks: Sequence[tuple[judge.Ask, int]], stored: _Graded, progress: Progress
) -> None:
    """Asks for grades, each with the number of earlier replies that could not be read.

    An `EndpointError` where the judge is gone, refuses, or a reply is of another model or build than those before it.
    """
    limits = config.limits
    parameters = {key: value for key, value in identity_of(config).parameters.items() if key != "base_seed"}
    models, fingerprints = set(stored.models), set(stored.fingerprints)
    client = open_client(ClientSettings.of(config, config.urls), config.client)
    with journal.Journal(folder) as out:

        def keep(request: Request, outcome: Reply | Failure) -> None:
            if isinstance(outcome, Reply):
                models.update({outcome.model} if outcome.model else ())
                fingerprints.update({outcome.fingerprint} if outcome.fingerprint else ())
                if (problem := _change(config, folder, models, fingerprints)) is not None:
                    raise problem  # not kept: the grades of one judge are worth more than the first grade of the next
            out.append(packed(request, outcome, time.time()))

        requests = (
            Request(
                key=_key(ask, attempt),
                suite="judge",
                item=ask.key,
                repeat=ask.repeat,
                prompt=Prompt(ask.key, judge.judge_messages(ask.case, attempt)),
                parameters=parameters,
                seed=ask.seed,
            )
            for ask, attempt in asks
        )
        settings = PoolSettings.of(limits)
        try:
            finder = Finder() if limits.concurrency == "auto" else None
            await Pool(client, settings, keep, {"judge": progress}, name="judge", finder=finder).run(requests)
        finally:
            await client.close()
    if progress.stopped:
        raise EndpointError(f"judge: {progress.stopped}; what it graded is kept, run again to go on")
