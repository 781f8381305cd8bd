"""The judge pass: after both sides have answered, one judge grades all free-text answers, mixed and unmarked.

Grades are kept in a journal of their own, `RUNS/judge-IDENTITY/`, by a digest of judge, question, truth and answer: the
same answer on both sides, or on another night, is one judgment. A reply that cannot be read is asked again, and after
`MAX_ASKS` the answer stays unjudged: it has no score, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.config import JudgeConfig
from evalkit.digest import digest
from evalkit.endpoint.client import ClientSettings, open_client
from evalkit.errors import EndpointError
from evalkit.model import Failure, FinalText, Prompt, Reply, Request, Score
from evalkit.run import journal
from evalkit.run.plan import Plan
from evalkit.run.scheduler import Pool, PoolSettings, Progress
from evalkit.scoring import judge
from evalkit.scoring.final import final_text

MAX_ASKS = 5
JUDGE_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Side:
    """What the judge pass needs of one side: its plan, where its replies are, what ends a thinking trace."""

    name: str
    plan: Plan
    folder: Path
    closing_tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Book:
    """All grades of a judge, by cache key; `score` is the scorer of the suites that it grades."""

    identity: judge.JudgeIdentity
    repeats: int
    grades: Mapping[str, float | None]
    notes: tuple[str, ...] = ()

    def score(self, doc: Mapping[str, Any], final: FinalText) -> Score:
        """The score of one answer from its grades."""
        case = _case(doc, final.text)
        keys = [judge.cache_key(self.identity, case, repeat) for repeat in range(self.repeats)]
        return judge.judged_score(final, [self.grades.get(key) for key in keys])


def identity_of(config: JudgeConfig) -> judge.JudgeIdentity:
    """What decides this judge's grades."""
    parameters = {"max_tokens": JUDGE_TOKENS, **config.sampling.parameters()}
    return judge.JudgeIdentity(config.model, {**parameters, "base_seed": config.sampling.seed})


def _case(doc: Mapping[str, Any], text: str) -> judge.Case:
    return judge.Case(question=doc["judge_question"], truth=doc["truth"], answer=text)


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


async def judge_sides(config: JudgeConfig, sides: Sequence[Side], runs: Path, progress: Progress | None) -> Book:
    """Grades what the sides answered and is not graded yet; reads the rest from the judge's journal.

    Without `progress` nothing is asked: what is not in the journal stays unjudged.

    Raises:
        EndpointError: where the judge is gone, or its replies name two models: a judge that changes is no judge.
        StorageError: where the disk refuses.
    """
    identity = identity_of(config)
    answers = [answer for side in sides for answer in _answers(side)]
    asks = judge.plan(answers, identity, repeats=config.repeats, seed=config.sampling.seed)
    folder = runs / f"judge-{digest([identity.digest, config.base_url])[:12]}"
    if progress is not None:
        progress.planned = len(asks)
    grades: dict[str, float | None] = {}
    models: set[str] = set()
    for attempt in range(MAX_ASKS):
        open_asks = [ask for ask in asks if grades.get(ask.key) is None]
        if not open_asks:
            break
        replies = _stored(folder)
        unasked = [ask for ask in open_asks if _key(ask, attempt) not in replies]
        if unasked and progress is not None:
            await _ask(config, folder, unasked, attempt, progress)
            replies = _stored(folder)
        for ask in open_asks:
            place = replies.get(_key(ask, attempt))
            if place is not None:
                reply = journal.stored_reply(journal.read_at(place))
                grades[ask.key] = judge.grade(reply.content)
                models.add(reply.model or config.model)
    if len(models) > 1:
        raise EndpointError(f"judge: its replies name several models ({', '.join(sorted(models))}): grade with one")
    return Book(identity, config.repeats, grades, _notes(answers, identity, grades, config.repeats))


def _notes(
    answers: Sequence[judge.Answer], identity: judge.JudgeIdentity, grades: Mapping[str, float | None], repeats: int
) -> tuple[str, ...]:
    if len({answer.side for answer in answers}) < 2:
        return ()
    first = answers[0].side
    named = [
        judge.Answer("reference" if answer.side == first else "candidate", answer.item, answer.repeat, answer.case)
        for answer in answers
    ]
    found = judge.noise(named, identity, grades, repeats=repeats)
    spread = "unknown with one repeat" if found.difference_sd is None else f"{found.difference_sd * 100:.2f} points"
    sentence = (
        f"judge {identity.model}: {repeats} grading(s) an answer, its own noise in the difference (SD): {spread}; "
        f"{found.identical} answers identical on both sides, {found.unjudged} unjudged"
    )
    return (sentence,)


def _answers(side: Side) -> Iterator[judge.Answer]:
    """What the judge is to see of a side: the final texts of its judged suites."""
    wanted = {}
    for suite, item, repeat in side.plan.samples():
        if "judge" in suite.loaded.suite.needs:
            wanted[side.plan.request(suite, item, repeat).key] = (item, repeat)
    for file in sorted(side.folder.glob("journal*.jsonl")):
        for _offset, record in journal.read_lines(file):
            if record["t"] != "reply" or record["key"] not in wanted:
                continue
            item, repeat = wanted.pop(record["key"])
            final = final_text(journal.stored_reply(record), side.closing_tags)
            if final.status is None:
                yield judge.Answer(side.name, f"{item.suite}/{item.id}", repeat, _case(item.doc, final.text))


def _key(ask: judge.Ask, attempt: int) -> str:
    return ask.key if attempt == 0 else f"{ask.key}-{attempt}"


def _stored(folder: Path) -> dict[str, journal.Place]:
    return journal.index(folder)[0] if folder.is_dir() else {}


async def _ask(config: JudgeConfig, folder: Path, asks: Sequence[judge.Ask], attempt: int, progress: Progress) -> None:
    limits = config.limits
    parameters = {key: value for key, value in identity_of(config).parameters.items() if key != "base_seed"}
    client = open_client(_settings(config), config.client)
    with journal.Journal(folder) as out:

        def keep(request: Request, outcome: Reply | Failure) -> None:
            record = journal.reply_record if isinstance(outcome, Reply) else journal.failure_record
            out.append(record(request, outcome, time.time()))  # type: ignore[arg-type]

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
            for ask in asks
        )
        settings = PoolSettings(
            concurrency=limits.concurrency, retries=limits.retries, outage_seconds=limits.outage_seconds
        )
        try:
            await Pool(client, settings, keep, {"judge": progress}, name="judge").run(requests)
        finally:
            await client.close()


def _settings(config: JudgeConfig) -> ClientSettings:
    limits = config.limits
    return ClientSettings(
        base_urls=config.urls,
        model=config.model,
        api_key=config.api_key(),
        headers=config.request_headers(),
        connect_seconds=limits.connect_seconds,
        stall_seconds=limits.stall_seconds,
        total_seconds=limits.total_seconds,
        max_body_bytes=int(limits.max_body_mb * 1_000_000),
        tls_verify=config.tls.verify,
        ca_file=config.tls.ca_file,
        concurrency=limits.concurrency,
    )
