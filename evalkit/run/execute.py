"""Runs one or two sides to the end: launch, look, ask what is missing, grade; all of it in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from evalkit.config import EndpointConfig, JudgeConfig, public_dump
from evalkit.endpoint.client import Client, ClientSettings, open_client
from evalkit.endpoint.probe import ServedModels, endpoint_identity, served_models
from evalkit.errors import ConfigError, EndpointError, EvalkitError
from evalkit.model import Failure, FailureKind, Item, Prompt, Reply, Request
from evalkit.run import grade, journal, manifest, preflight, store
from evalkit.run.choose import Loaded, make_plan
from evalkit.run.judging import Side as Judged
from evalkit.run.judging import identity_of, judge_sides, look, needs_judge, with_grades
from evalkit.run.plan import Plan, PlannedSuite, order
from evalkit.run.scheduler import Pool, PoolSettings, Progress
from evalkit.scoring.option_logprobs import has_prompt_logprobs
from evalkit.tasks.load import by_logprobs

if TYPE_CHECKING:
    from evalkit.endpoint.images import ImageEncoder

Lengths: TypeAlias = dict[tuple[str, str], float]
Missing: TypeAlias = list[tuple[PlannedSuite, Item, int]]


@dataclass(slots=True)
class Watch:
    """What a display shows while sides run: counts by side and suite, and sentences for people."""

    sides: dict[str, dict[str, Progress]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SideRun:
    """One side, planned: what to ask, where it is stored, what is there already."""

    config: EndpointConfig
    plan: Plan = field(repr=False)  # asyncio prints what a finished task gave: a plan is megabytes
    folder: Path
    answered: Mapping[str, journal.Place] = field(repr=False)

    @property
    def missing(self) -> int:
        """How many planned samples have no answer."""
        return sum(key not in self.answered for key, *_sample in self.plan.keyed())


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a side ended: `problem` is what stopped it early, `asked` how many requests were sent to the end."""

    side: SideRun
    asked: int
    failed: int
    problem: EvalkitError | None
    stopped: Mapping[str, str]


Examine: TypeAlias = Callable[[SideRun, ClientSettings], Awaitable[None]]


def prepare(config: EndpointConfig, known: Loaded | None = None) -> SideRun:
    """Plans a side and reads what its run folder holds.

    Raises:
        UsageError: for a mistake in the configuration, a suite or its data.
    """
    plan = make_plan(config, known)
    folder = config.runs / config.name
    answered: Mapping[str, journal.Place] = {}
    if folder.is_dir():
        answered, _failures = journal.index(folder)
    return SideRun(config, plan, folder, answered)


async def run_sides(
    sides: Sequence[SideRun],
    watch: Watch,
    show: Callable[[Watch], Awaitable[None]] | None = None,
    examine: Examine | None = None,
) -> list[Outcome]:
    """Asks what is missing on every side and grades it; a side's trouble is in its outcome, not raised.

    Sides whose `launch` says `sequential` take turns; all others run at the same time. `examine` is called with each
    side that has something to ask, once its endpoint is up; what it raises ends the run of all sides.

    Raises:
        StorageError: where the disk refuses.
        UsageError: where an endpoint does not serve the model, or a run folder is in use.
    """
    for side in sides:
        watch.sides[side.config.name] = _progress(side)
        watch.notices.extend(f"{side.config.name}: {note}" for note in side.plan.notes)
    display = asyncio.create_task(_forever(show, watch)) if show is not None else None
    encoder = _encoder(sides)
    turns = any(side.config.launch is not None and side.config.launch.sequential for side in sides)
    try:
        await _look_at_judges(sides, watch)
        if turns:
            outcomes = [await _run_side(side, sides, watch, encoder, examine) for side in sides]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_run_side(side, sides, watch, encoder, examine)) for side in sides]
            outcomes = [task.result() for task in tasks]
        await grade_sides(sides, watch)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    else:
        return outcomes
    finally:
        if encoder is not None:
            encoder.close()
        if display is not None:
            display.cancel()
            await asyncio.gather(display, return_exceptions=True)


async def _forever(show: Callable[[Watch], Awaitable[None]], watch: Watch) -> None:
    while True:
        await show(watch)


def _progress(side: SideRun) -> dict[str, Progress]:
    progress = {suite.name: Progress(planned=suite.planned) for suite in side.plan.suites}
    for key, suite, _item, _repeat in side.plan.keyed() if side.answered else ():
        if key in side.answered:
            progress[suite.name].done += 1
            progress[suite.name].stored += 1
    return progress


async def _run_side(
    side: SideRun,
    sides: Sequence[SideRun],
    watch: Watch,
    encoder: ImageEncoder | None,
    examine: Examine | None,
) -> Outcome:
    progress = watch.sides[side.config.name]
    started = datetime.now(UTC).isoformat(timespec="seconds")
    problem: EvalkitError | None = None
    missing = order(side.plan, side.answered, _known_lengths(side, sides))
    session = manifest.Session(side.config.name, started, side.config.model, public_dump(side.config), {})
    with journal.Journal(side.folder) as out:
        store.write_items(side.folder, side.plan)
        if missing:
            try:
                async with _endpoint(side.config, side.folder) as settings:
                    identity = await _look(side, settings)
                    if examine is not None:
                        await examine(side, settings)
                    session = manifest.Session(session.name, started, session.model, session.config, identity)
                    manifest.append(side.folder, manifest.manifest_line(session, side.plan))
                    possible = await _possible(side, settings, missing, progress)
                    possible = await preflight.with_pictures(side.config, settings, possible, progress)
                    await _ask(side, settings, possible, out, progress, encoder)
            except EndpointError as error:
                problem = error
        if problem is not None or not missing:
            manifest.append(side.folder, unasked(side, session))
    return Outcome(
        side=side,
        asked=sum(p.done - p.stored + p.failed for p in progress.values()),
        failed=sum(p.failed for p in progress.values()),
        problem=problem,
        stopped={name: p.stopped for name, p in progress.items() if p.stopped},
    )


async def grade_sides(sides: Sequence[SideRun], watch: Watch, *, ask: bool = True, again: bool = False) -> None:
    """Grades all sides; free-text answers by the judge first, both sides in one pass.

    Without `ask` the judge's stored grades alone are used; with `again` scores that still hold are made again.

    Raises:
        EndpointError: where the judge is gone or changes.
    """
    problem: EvalkitError | None = None
    for config, judged in _by_judge(sides):
        progress = watch.sides.setdefault("judge", {}).setdefault(config.model, Progress())
        seen = [Judged(s.config.name, s.plan, s.folder, s.config.thinking.closing_tags) for s in judged]
        book = await judge_sides(config, seen, judged[0].config.runs, progress if ask else None)
        watch.notices.extend(book.notes)
        problem = problem or book.problem
        for side in judged:
            grade.grade(side.folder, with_grades(side.plan, book), side.config.thinking.closing_tags, again=again)
    for side in sides:
        if not needs_judge(side.plan):
            grade.grade(side.folder, side.plan, side.config.thinking.closing_tags, again=again)
    if problem is not None and ask:
        raise problem


def _by_judge(sides: Sequence[SideRun]) -> list[tuple[JudgeConfig, list[SideRun]]]:
    """The sides with a judged suite, together where they have the same judge, which then sees both in one pass."""
    groups: dict[tuple[str, str, int], tuple[JudgeConfig, list[SideRun]]] = {}
    for side in sides:
        config = side.config.judge
        if config is not None and needs_judge(side.plan):
            same = identity_of(config).digest, config.base_url, config.repeats
            groups.setdefault(same, (config, []))[1].append(side)
    return list(groups.values())


async def _look_at_judges(sides: Sequence[SideRun], watch: Watch) -> None:
    """What would keep a judge from grading is said before the answers are asked for.

    Raises:
        ConfigError: where a judge's key is not there, or it does not serve the model.
    """
    for config, _judged in _by_judge([side for side in sides if side.missing]):
        if (sentence := await look(config)) is not None:
            watch.notices.append(f"{sentence}; answers are asked for and kept, and graded when it does")


def unasked(side: SideRun, session: manifest.Session) -> dict[str, Any]:
    """The manifest line of a session that asked nothing: what the endpoint said of the same plan stays."""
    line = manifest.manifest_line(session, side.plan)
    if (side.folder / manifest.NAME).exists():
        earlier = manifest.latest(side.folder)
        if earlier["plan"] == line["plan"]:
            return {**line, "endpoint": earlier["endpoint"] or line["endpoint"], "started": earlier["started"]}
    return line


def _known_lengths(side: SideRun, sides: Sequence[SideRun]) -> Lengths:
    """Mean completion tokens by (suite, item) of what any side has stored: long answers are asked first."""
    sums: dict[tuple[str, str], list[float]] = {}
    for other in (side, *sides):
        for key, suite, item, _repeat in other.plan.keyed() if other.answered else ():
            place = other.answered.get(key)
            if place is not None and place.completion_tokens is not None:
                sums.setdefault((suite.name, item.id), []).append(place.completion_tokens)
    return {place: sum(values) / len(values) for place, values in sums.items()}


@asynccontextmanager
async def _endpoint(config: EndpointConfig, folder: Path) -> AsyncIterator[ClientSettings]:
    """The endpoint's client settings, with the endpoint started first where the configuration says so."""
    if config.launch is None:
        yield client_settings(config, config.urls)
        return
    from evalkit.endpoint.launch import launched

    hint = config.urls[0] if config.urls else None
    async with launched(config.launch, hint, folder / "server.log") as server:
        yield client_settings(config, config.urls or (server.base_url,))


def client_settings(config: EndpointConfig, urls: tuple[str, ...]) -> ClientSettings:
    """How the client reaches the endpoint of a configuration."""
    limits = config.limits
    return ClientSettings(
        base_urls=urls,
        model=config.model,
        api_key=config.api_key(),
        headers=config.request_headers(),
        connect_seconds=limits.connect_seconds,
        stall_seconds=limits.stall_seconds,
        total_seconds=limits.total_seconds,
        max_body_bytes=int(limits.max_body_mb * 1_000_000),
        stream=config.stream,
        tls_verify=config.tls.verify,
        ca_file=config.tls.ca_file,
        concurrency=limits.concurrency,
    )


async def _look(side: SideRun, settings: ClientSettings) -> dict[str, str]:
    """A look at the endpoint before anything is asked: it answers, serves the model, and has room for the answers.

    Raises:
        EndpointError: where it does not answer.
        ConfigError: where it does not serve the model, or its context is too small for `max_tokens`.
    """
    found = await served_models(settings)
    if isinstance(found, Failure):
        if found.kind is FailureKind.NOT_FOUND:
            return await endpoint_identity(settings)
        raise EndpointError(f"{side.config.name}: {settings.base_urls[0]}: {found.detail}")
    _check_model(side, settings, found)
    identity = await endpoint_identity(settings)
    return {**identity, "served": ", ".join(sorted(found.ids))}


def _check_model(side: SideRun, settings: ClientSettings, found: ServedModels) -> None:
    config = side.config
    if found.ids and config.model not in found.ids:
        served = ", ".join(repr(name) for name in sorted(found.ids)[:5])
        raise ConfigError(
            f"{config.where('model') or config.name}: model: {config.model!r} is not served at "
            f"{settings.base_urls[0]}, which serves {served}"
        )
    context = found.max_model_len.get(config.model)
    for suite in side.plan.suites:
        limit = suite.parameters.get("max_tokens")
        if context is not None and limit is not None and limit >= context:
            raise ConfigError(
                f"{config.where('sampling.max_tokens') or config.name}: sampling.max_tokens: {suite.name} asks for "
                f"up to {limit} tokens, the whole context is {context}: lower max_tokens, the same on both sides"
            )


async def _possible(
    side: SideRun, settings: ClientSettings, missing: Missing, progress: dict[str, Progress]
) -> Missing:
    """The samples that this endpoint can be asked: a suite that needs what it lacks is stopped with a sentence."""
    needing = {suite.name for suite, _item, _repeat in missing if by_logprobs(suite.loaded.suite)}
    if not needing:
        return missing
    client = open_client(settings, side.config.client)
    try:
        text = "Two and two make four. Three and three make six."
        probe = Prompt(digest="probe", text=text)
        parameters = {"max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0.0}
        outcome = await client.ask(Request("probe", "", "", 0, probe, parameters))
    finally:
        await client.close()
    if isinstance(outcome, Reply) and has_prompt_logprobs(orjson.loads(outcome.raw), text):
        return missing
    why = outcome.detail if isinstance(outcome, Failure) else "its replies have no log-probabilities of the prompt"
    for name in needing:
        progress[name].stopped = (
            f"needs /v1/completions with `echo` and `logprobs`, which this endpoint does not give ({why}): serve the "
            "model with vLLM, or take the suite out"
        )
    return [sample for sample in missing if sample[0].name not in needing]


async def _ask(
    side: SideRun,
    settings: ClientSettings,
    missing: Missing,
    out: journal.Journal,
    progress: dict[str, Progress],
    encoder: ImageEncoder | None,
) -> None:
    def keep(request: Request, outcome: Reply | Failure) -> None:
        record = journal.reply_record if isinstance(outcome, Reply) else journal.failure_record
        out.append(record(request, outcome, time.time()))  # type: ignore[arg-type]

    limits = side.config.limits
    client: Client = open_client(settings, side.config.client, encoder.messages if encoder is not None else None)
    pool = Pool(
        client=client,
        settings=PoolSettings(
            concurrency=limits.concurrency,
            retries=limits.retries,
            outage_seconds=limits.outage_seconds,
            permanent_failures_to_stop=limits.permanent_failures_to_stop,
        ),
        sink=keep,
        progress=progress,
        name=side.config.name,
    )
    try:
        await pool.run(_requests(side.plan, missing))
    finally:
        await client.close()


def _encoder(sides: Sequence[SideRun]) -> ImageEncoder | None:
    """What turns pictures into data URLs, where a suite has any: one for all sides, with one bounded cache."""
    if not any(item.prompt.images for side in sides for suite in side.plan.suites for item in suite.loaded.items):
        return None
    from evalkit.endpoint.images import ImageEncoder

    return ImageEncoder()


def _requests(plan: Plan, missing: Missing) -> Iterator[Request]:
    for suite, item, repeat in missing:
        yield plan.request(suite, item, repeat)
