"""Runs one or two sides to the end: launch, look, ask what is missing, grade; all of it in one event loop."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import ValidationError

from evalkit.config import EndpointConfig, JudgeConfig
from evalkit.endpoint import open_client
from evalkit.endpoint.settings import Client, ClientSettings
from evalkit.errors import EndpointError, EvalkitError, RunError
from evalkit.model import Failure, Reply, Request
from evalkit.run import grade, items, journal, manifest
from evalkit.run.answerers import Answerers, rows
from evalkit.run.judge_pass import judge_sides, needs_judge, with_grades
from evalkit.run.judge_pass import look as look_at_judge
from evalkit.run.manifest import InFlight, Session, Stopped
from evalkit.run.plan import (
    SEED_SPACE,
    Missing,
    SideRun,
    chosen_suites,
    identity_of,
    make_plan,
    new_session,
    order,
    prepare,
    sampling_of,
)
from evalkit.run.readiness import Gate, Seen, look, look_again, possible
from evalkit.run.records import Answerer, packed
from evalkit.run.scheduler import Finder, Pool, PoolSettings, Progress
from evalkit.serve import facts, operators
from evalkit.serve.launch import opened
from evalkit.waits import finished

if TYPE_CHECKING:
    from evalkit.endpoint.images import ImageEncoder


OTHER_FILES: Final = 256  # files that a run may have open beside its connections

Lengths: TypeAlias = dict[tuple[str, str], float]


@dataclass(slots=True)
class Watch:
    """What a display shows while sides run: counts by side and suite, and sentences for people."""

    sides: dict[str, dict[str, Progress]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a side ended: `problem` is what stopped it early, `asked` how many requests were sent to the end."""

    side: SideRun
    asked: int
    failed: int
    problem: EndpointError | None
    stopped: Mapping[str, str]


Examine: TypeAlias = Callable[[SideRun, ClientSettings], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the sides of a run have in common."""

    sides: list[SideRun]
    watch: Watch
    encoder: ImageEncoder | None
    examine: Examine | None
    paces: Mapping[str, Pace]
    gate: Gate


async def run_sides(
    sides: Sequence[SideRun],
    watch: Watch,
    show: Callable[[Watch], Awaitable[None]] | None = None,
    examine: Examine | None = None,
) -> list[Outcome]:
    """Asks what is missing on every side and grades it; a side's trouble is in its outcome, not raised.

    Sides whose `launch` says `sequential` take turns; all others run at the same time, and none is asked before each
    has been looked at. `examine` is called with each side that has something to ask, once its endpoint is up; what it
    raises ends the run of all sides.

    Raises `StorageError`: where the disk refuses; `UsageError`: where an endpoint does not serve the model, or a run
    folder is in use.
    """
    _allow_connections(sum(side.config.limits.connections for side in sides))
    for side in sides:
        watch.sides[side.config.name] = _progress(side)
        watch.notices.extend(f"{side.config.name}: {note}" for note in (*side.plan.notes, *side.damage))
    display = asyncio.create_task(_forever(show, watch)) if show is not None else None
    turns = any(side.config.launch is not None and side.config.launch.sequential for side in sides)
    gate = Gate(() if turns else (side.config.name for side in sides if side.missing))
    shared = _Shared(list(sides), watch, _encoder(sides), examine, paces(sides), gate)
    try:
        with _seldom_collected():
            if turns:
                outcomes = [await _in_turn(number, shared) for number in range(len(sides))]
            else:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(_run_side(side, shared)) for side in sides]
                outcomes = [task.result() for task in tasks]
        await grade_sides(sides, watch)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    else:
        return outcomes
    finally:
        if shared.encoder is not None:
            shared.encoder.close()
        if display is not None:
            display.cancel()
            await asyncio.gather(display, return_exceptions=True)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Python looks for cycles less often while requests are in flight.

    Nothing of a request is part of one, and with its usual settings it goes through the plan and through all that is in
    flight again and again: an eighth of the processor time of asking, more with more in flight.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _allow_connections(count: int) -> None:
    """Raises the number of open files that this process allows itself, where so many connections need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


async def _forever(show: Callable[[Watch], Awaitable[None]], watch: Watch) -> None:
    while True:
        await show(watch)


def _progress(side: SideRun) -> dict[str, Progress]:
    progress = {suite.name: Progress() for suite in side.plan.suites}
    for key, suite, _item, _repeat in side.due():
        progress[suite.name].planned += 1
        if key in side.answered:
            progress[suite.name].done += 1
            progress[suite.name].stored += 1
    return progress


async def _in_turn(number: int, shared: _Shared) -> Outcome:
    """Runs one side; those that come after it know how long its answers are."""
    side = shared.sides[number]
    outcome = await _run_side(side, shared)
    shared.sides[number] = replace(side, answered=journal.index(side.folder).replies)
    return outcome


async def _run_side(side: SideRun, shared: _Shared) -> Outcome:
    progress = shared.watch.sides[side.config.name]
    problem: EndpointError | None = None
    missing = order(side.due(), side.answered, _known_lengths(side, shared.sides))
    session = begin(side)
    shared.watch.notices.extend(moved(side, session))
    with journal.Journal(side.folder) as out:
        last = manifest.earlier(side.folder)
        same = () if last is None or last.plan != side.plan.digest else last.suites
        known = {record.suite: record.items_digest for record in same}
        session = manifest.with_items(session, items.write_suites(side.folder, side.plan.loaded, known))
        if missing:
            began = time.time()
            try:
                async with opened(side.config, side.folder / "server.log") as settings:
                    seen = await look(side.config, side.plan, settings)
                    if shared.examine is not None:
                        await shared.examine(side, settings)
                    await shared.gate.through(side.config.name)
                    same_names, open_names = sorted(seen.names.same), sorted(seen.names.open)
                    told = {**seen.identity, **operators.switches(side.config)}
                    session = replace(session, endpoint=told, same_names=same_names, open_names=open_names)
                    shared.watch.notices.extend(manifest.append(side.folder, session))
                    missing = await possible(side.config, settings, missing, progress)
                    answerers = Answerers(side.config.name, seen.names, _stored_by(side))
                    asking = _Asking(side, session, settings, seen, answerers)
                    try:
                        await _ask(asking, missing, out, shared)
                        told |= await operators.proof(side.config, began)
                        if program := facts.program_of(side.config):
                            told |= {f"facts.{name}": text for name, text in (await facts.facts(program)).items()}
                        asking.session = replace(asking.session, endpoint={**asking.session.endpoint, **told})
                    finally:
                        session = _ended(asking, shared)
                        manifest.append(side.folder, session)
            except EndpointError as error:
                problem = error
                shared.gate.shut(side.config.name)
        stopped = _stopped(side.config.name, problem, progress)
        if stopped is not None or not missing:
            ended = replace(unasked(side, session), stopped=stopped)
            shared.watch.notices.extend(manifest.append(side.folder, ended))
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

    Raises `EndpointError`: where the judge is gone or changes.
    """
    problem: EvalkitError | None = None
    for config, judged in _by_judge(sides):
        progress = watch.sides.setdefault("judge", {}).setdefault(config.model, Progress())
        book = await judge_sides(config, judged, judged[0].config.runs, progress if ask else None)
        watch.notices.extend(book.notes)
        problem = problem or book.problem
        for side in judged:
            plan, tags = with_grades(side.plan, book), side.config.thinking.closing_tags
            grade.grade(side.folder, plan, tags, again=again, grades=book.digest)
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


async def look_at_judges(sides: Sequence[SideRun]) -> list[str]:
    """What would keep a judge from grading what is still to be answered: to be said before hours go into answers.

    Raises `ConfigError`: where a judge's key is not there, or it does not serve the model.
    """
    judges = _by_judge([side for side in sides if side.missing])
    found = [await look_at_judge(config) for config, _judged in judges]
    return [f"{one}; answers are asked for and kept, and graded when it does" for one in found if one is not None]


def moved(side: SideRun, session: Session) -> list[str]:
    """Says that stored answers came from another address than the configuration names now.

    An address is no part of what identifies a model: a server moves. Whether it is another server, only a person knows.
    """
    if side.rechecked is not None:  # then it is known whether it is the same
        return []
    stored = sum(key in side.answered for key, *_sample in side.due())
    last = manifest.earlier(side.folder) if stored else None
    before = _addresses(last.config) if last is not None else []
    now = _addresses(session.config)
    if not before or not now or before == now:
        return []
    asked = "only the rest is asked of" if side.missing else "nothing was asked of"
    told = f"{side.config.name}: {stored} stored answers came from {', '.join(before)}"
    advice = "where that serves another model or build, say so with `build:` or another `name:`"
    return [f"{told}; {asked} {', '.join(now)}: {advice}"]


_ADDRESS: Final = ("base_url", "base_urls")


def _addresses(config: Mapping[str, Any]) -> list[str]:
    """Where a stored configuration says that its endpoint is; empty where evalkit starts it itself."""
    if config.get("launch"):
        return []
    found = [config["base_url"]] if config.get("base_url") else list(config.get("base_urls") or ())
    return sorted(map(str, found))


def unasked(side: SideRun, session: Session) -> Session:
    """A session that asked nothing: what is known of who answered the same plan stays."""
    last = manifest.earlier(side.folder)
    if last is None:
        return session
    if last.model == session.model:
        session = replace(session, same_names=last.same_names, open_names=last.open_names)
    if side.answered:
        where = {name: value for name, value in last.config.items() if name in _ADDRESS}
        config = {name: value for name, value in session.config.items() if name not in _ADDRESS} | where
        session = replace(session, config=config)
    if last.plan != session.plan:
        return session
    session = as_before(session, last)
    stopped = last.stopped if side.missing else None
    session = replace(session, part=session.part or (last.part if side.missing else None), stopped=stopped)
    endpoint = last.endpoint or session.endpoint
    return replace(session, endpoint=endpoint, started=last.started, nonce=last.nonce)


def _known_lengths(side: SideRun, sides: Sequence[SideRun]) -> Lengths:
    """Mean completion tokens by (suite, item) of what any side has stored: long answers are asked first."""
    sums: dict[tuple[str, str], list[float]] = {}
    for other in (side, *sides):
        for key, suite, item, _repeat in other.plan.keyed() if other.answered else ():
            place = other.answered.get(key)
            if place is not None and place.completion_tokens is not None:
                sums.setdefault((suite.name, item.id), []).append(place.completion_tokens)
    return {place: sum(values) / len(values) for place, values in sums.items()}


def _stopped(name: str, problem: EndpointError | None, progress: Mapping[str, Progress]) -> Stopped | None:
    """Why a side was not asked to the end, if it was not."""
    why, advice = "", ""
    if problem is not None:
        why, advice = str(problem).removeprefix(f"{name}: ") if problem.why is None else problem.why, problem.advice
    suites = {suite: one.stopped for suite, one in progress.items() if one.stopped}
    return Stopped(why, advice, suites) if problem is not None or suites else None


def begin(side: SideRun) -> Session:
    """The session that begins now, with who gave the answers that are stored."""
    session = new_session(side.config, side.plan)
    return replace(session, answered=rows(_stored_by(side)), rechecked=side.rechecked, part=side.part)


def _stored_by(side: SideRun) -> Counter[Answerer]:
    """Who gave the answers to the plan that are stored."""
    places = (side.answered.get(key) for key, *_sample in (side.plan.keyed() if side.answered else ()))
    return Counter(place.by for place in places if place is not None)


@dataclass(slots=True)
class _Asking:
    """A side that is being asked: its session, how it is reached, what a look at it found, and who has answered."""

    side: SideRun
    session: Session
    settings: ClientSettings
    seen: Seen
    answerers: Answerers

    async def look_again(self) -> Failure | None:
        """A look at the endpoint after an outage; what is new about it is kept as a session of its own."""
        side = self.side
        now = await look_again(side.config, side.plan, self.settings, self.seen)
        if isinstance(now, Failure):
            return now
        if now.identity != self.seen.identity:
            self.session = replace(self.session, endpoint=now.identity)
            manifest.append(side.folder, self.session)
        self.seen = replace(now, weights={**self.seen.weights, **now.weights})
        self.answerers.names = self.answerers.names.joined(now.names)
        return None


def _ended(asking: _Asking, shared: _Shared) -> Session:
    """The session at its end: who answered, and how many requests in flight were found to be right, if any were."""
    session, pace = replace(asking.session, answered=rows(asking.answerers.counts)), shared.paces[asking.session.name]
    if pace.finder is None:
        return session
    found = InFlight(pace.finder.number, pace.finder.settled, pace.finder.sentence)
    shared.watch.notices.append(f"{session.name}: {found.why}")
    return with_number(session, found)


async def _ask(asking: _Asking, missing: Missing, out: journal.Journal, shared: _Shared) -> None:
    side, settings = asking.side, asking.settings

    def keep(request: Request, outcome: Reply | Failure) -> None:
        if isinstance(outcome, Reply):
            asking.answerers.take(outcome)
        out.append(packed(request, outcome, time.time()))

    encoder, pace = shared.encoder, shared.paces[side.config.name]
    client: Client = open_client(settings, side.config.client, encoder.messages if encoder is not None else None)
    pool = Pool(
        client=client,
        settings=PoolSettings.of(side.config.limits),
        sink=keep,
        progress=shared.watch.sides[side.config.name],
        name=side.config.name,
        finder=pace.finder,
        leads=pace.leads,
        look_again=asking.look_again,
        addresses=len(settings.base_urls),
        gated={suite.name for suite in side.plan.suites if suite.loaded.suite.gated},
    )
    try:
        await pool.run(side.plan.request(*sample) for sample in missing)
    finally:
        shared.watch.notices.extend(pool.left_out)
        await client.close()


def _encoder(sides: Sequence[SideRun]) -> ImageEncoder | None:
    """What turns pictures into data URLs, where a suite has any: one for all sides, with one bounded cache."""
    if not any(item.prompt.images for side in sides for suite in side.plan.suites for item in suite.loaded.items):
        return None
    from evalkit.endpoint.images import DEFAULT_CACHE_BYTES, ImageEncoder

    repeated = len(sides) > 1 or any(suite.repeats > 1 for side in sides for suite in side.plan.suites)
    return ImageEncoder(cache_bytes=DEFAULT_CACHE_BYTES if repeated else 0)


@dataclass(frozen=True, slots=True)
class Pace:
    """A side's way to its number of requests in flight: no finder where the configuration says a number."""

    finder: Finder | None = None
    leads: bool = True


def paces(sides: Sequence[SideRun]) -> dict[str, Pace]:
    """The pace of every side, by its name.

    The number decides how a server batches, and so what it computes: the first side that leaves it open leads, the
    others take its number, and a run that goes on takes the number that it was begun with.
    """
    found: dict[str, Pace] = {}
    lead: Finder | None = None
    for side in sides:
        if side.config.limits.concurrency != "auto":
            found[side.config.name] = Pace()
        elif lead is None:
            lead = _begun(side) or Finder()
            found[side.config.name] = Pace(lead)
        else:
            found[side.config.name] = Pace(lead, leads=False)
    return found


def with_number(session: Session, found: InFlight) -> Session:
    """The session with what was found; as a part of the configuration, so that a comparison sees it differ."""
    limits = {**session.config["limits"], "concurrency": found.number}
    return replace(session, config={**session.config, "limits": limits}, in_flight=found)


def as_before(session: Session, earlier: Session) -> Session:
    """The session with what an earlier one says was found, where that is left open still."""
    if earlier.in_flight is None or session.config["limits"]["concurrency"] != "auto":
        return session
    return with_number(session, earlier.in_flight)


def _begun(side: SideRun) -> Finder | None:
    """The number that the run was begun with, where it was found."""
    try:
        found = manifest.latest(side.folder, side.plan.digest).in_flight
    except RunError:
        return None
    if found is None or not found.settled:
        return None
    return Finder(found.number, settled=True, why="found when the run was begun")


# Other seeds, other keys: nothing is shared with the first run but the questions.


AA_SEEDS: Final = 2_000_003  # added to every base seed for the second run of `evalkit aa`


def second_config(
    config: EndpointConfig, suites: Sequence[str] | None, seeds: int, name: str | None = None
) -> EndpointConfig:
    """The configuration for an independent second run: base seeds moved, other suites left out, perhaps another name.

    A greedy endpoint answers by the seed no differently, but it is asked again, so its own noise shows.
    """
    choices = []
    for chosen in chosen_suites(config):
        choice = chosen.choice
        if suites is not None and choice.name not in suites:
            continue
        seed = (sampling_of(config, chosen).seed + seeds) % SEED_SPACE
        choices.append(choice.model_copy(update={"sampling": choice.sampling.model_copy(update={"seed": seed})}))
    changes = {"pack": None, "suites": tuple(choices), **({} if name is None else {"name": name})}
    return config.model_copy(update=changes)


def restore(config: EndpointConfig) -> None:
    """Makes the configuration's own plan the present meaning of its run folder again, after a run with other seeds.

    Raises `StorageError`: where the folder cannot be written.
    """
    finished(regrade(prepare(config)))


async def regrade(side: SideRun) -> tuple[str, ...]:
    """Grades the stored replies of a side again, and makes anew what belongs to it; asks nothing. What was damaged.

    Raises `RunError`: where the run folder is in use; `StorageError`: where the disk refuses.
    """
    with journal.Journal(side.folder):
        session = manifest.with_items(begin(side), items.write_suites(side.folder, side.plan.loaded))
        said = manifest.append(side.folder, unasked(side, session))
        await grade_sides([side], Watch(), ask=False, again=True)
    return *side.damage, *said


def remake(folder: Path, session: Session) -> tuple[str, ...]:
    """Makes anew what a run folder derives from its journals, by the configuration that a session holds.

    Nothing is asked. Says what was damaged.

    Raises `EvalkitError`: where that needs what is not here (the data of a suite, a secret that decides the answers),
    or what nobody but the owner of the run should have run.
    """
    said = {**session.config, "name": session.name, "runs": str(folder.parent)}
    if said.get("suite_folders") or said.get("allow_code_execution"):
        # The folder may be a stranger's: what it names may not run anything on this machine.
        raise RunError("its suites are not evalkit's own, or it runs programs that the model wrote")
    try:
        config = EndpointConfig.model_validate(said)
    except ValidationError as error:
        raise RunError(f"its configuration cannot be read from {manifest.NAME}: {error.errors()[0]['msg']}") from None
    plan = make_plan(config)
    if plan.digest != session.plan:
        raise RunError("its suites, data or scorers are others on this machine")
    found = journal.index(folder)
    side = SideRun(config, plan, folder, found.replies, journal.damage_sentences(found.damage))
    return finished(regrade(side))
