"""The spine of a comparison with endpoints to ask: planned, admitted, asked what is missing, judged, judged again.

`evalkit.judging` judges; this module brings the two sides about. Where it is wanted, a night that is not EQUIVALENT is
asked and judged once more (`evalkit.nights`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import nights, rounds
from evalkit.compare.columns import Side
from evalkit.compare.judge import not_asked
from evalkit.compare.validity import p_gold_name
from evalkit.config import EndpointConfig
from evalkit.config.redact import redact_url
from evalkit.config.schema import differences
from evalkit.errors import ConfigError, UsageError
from evalkit.examine import comparability, recheck
from evalkit.foreign.sources import kind_of
from evalkit.judging import Case, Judged, StoppedError, check_margins, differences_of, judged, now, policy, stored_notes
from evalkit.model import Comparison, Difference, Reason, RunIdentity
from evalkit.options import CompareOptions
from evalkit.parts import Part
from evalkit.publish.archive import home_of, noise_floors, second_name
from evalkit.run import Observer, answerers, execute, journal, manifest
from evalkit.run.manifest import Rechecked, Session
from evalkit.run.plan import SideRun, new_session, prepare, refreshed
from evalkit.run.repair import read_run
from evalkit.run.sides import beside, load, run_sides
from evalkit.tasks.items import by_logprobs
from evalkit.tasks.suites import find_pack

if TYPE_CHECKING:
    from evalkit.admission import Admission


def compared(paths: tuple[Path, Path], options: CompareOptions, observer: Observer) -> Judged:
    """The comparison of two configurations, or of a stored run and one.

    Raises:
        EvalkitError: for a mistake in what was given, before anything is asked; where endpoints or the disk refuse.
    """
    kinds = kind_of(paths[0]), kind_of(paths[1])
    for option in ("filters", "metrics", "headlines", "dates"):
        if getattr(options, option):
            name = option if option == "dates" else option.removesuffix("s")
            raise UsageError(f"--{name}: has no effect on runs of evalkit's own")
    for path, kind, other in zip(paths, kinds, reversed(paths), strict=True):
        if kind == "table" and other.suffix not in {".yaml", ".yml"}:
            raise UsageError(f"{other}: a score table ends in .csv, .jsonl or .parquet")
        if kind not in {"config", "run"}:
            raise UsageError(f"{path}: only a run folder of evalkit's can stand against a configuration file")
    configs = [
        load(path, options.run, reference=path is paths[0]) if kind == "config" else None
        for path, kind in zip(paths, kinds, strict=True)
    ]
    if options.rerun_on_fail and configs[1] is None:
        raise UsageError(f"--rerun-on-fail: {paths[1]} is a stored run: only what has a YAML file can be asked again")
    planned = _plan(paths, (configs[0], configs[1]), options, observer)
    if options.again:
        recheck.set_aside(planned.sides, observer)
    with journal.held(side.folder for side in planned.sides if side is not None):
        asking = _Asking(planned, options, observer)
        try:
            made = asking.judged()
        except StoppedError as stopped:
            return Judged(_not_asked(planned, stopped, options), planned.home)
        again = planned.configs[1]
        return made if not options.rerun_on_fail or again is None else _confirmed(asking, made, again)


def second_run(path: Path, options: CompareOptions, observer: Observer) -> Judged:
    """An endpoint against itself: asked a second time, with other seeds, as a run of its own.

    Raises `EvalkitError`: as `compared`.
    """
    config = load(path, options.run)
    second = execute.second_config(config, None, execute.AA_SEEDS, second_name(config.name))
    known: dict[str, Any] = {}
    trouble: list[Reason] = []
    sides: list[Side] = []
    runs = [prepare(one, known) for one in (config, second)]
    if options.again:
        recheck.set_aside(runs, observer)
    with journal.held(run.folder for run in runs):
        runs = [refreshed(run) for run in runs]
        checked = [_rechecked(run, options, observer) for run in runs]
        for run, reused in zip(runs, checked, strict=True):  # in turns: both would share the one endpoint's speed
            (outcome,) = run_sides([replace(run, rechecked=reused.found)], observer)
            sides.append(read_run(run.folder, run.plan.digest))
            trouble += (*beside(outcome), *reused.notes(sides[-1]))
    sides[1], notes = _of_one_model(sides[1], *(manifest.latest(run.folder, run.plan.digest) for run in runs))
    trouble += notes
    return judged(
        Case((sides[0], sides[1]), (), home_of(config.runs, config.name), tuple(trouble), of_one=True), options
    )


def _of_one_model(again: Side, one: Session, two: Session) -> tuple[Side, tuple[Reason, ...]]:
    """The second run of an endpoint, not to be judged where another model gave it than the first; notes of both."""
    defects, notes = answerers.second_run(one, two)
    return again.with_defects(defects), notes


@dataclass(frozen=True, slots=True)
class _Planned:
    """A comparison with endpoints to ask, before they are; a side that is a stored run has no configuration.

    `plans` are the digests of what is compared: nothing else that a folder holds, or comes to hold, is. `found` are the
    differences of two configurations.
    """

    folders: tuple[Path, Path]
    configs: tuple[EndpointConfig | None, EndpointConfig | None]
    sides: tuple[SideRun | None, SideRun | None]
    plans: tuple[str, str]
    found: tuple[Difference, ...]
    names: tuple[str, str]

    @property
    def home(self) -> Path:
        """The comparison's folder."""
        return self.folders[0].parent / f"{self.names[0]}--{self.names[1]}"


def _plan(
    paths: tuple[Path, Path],
    configs: tuple[EndpointConfig | None, EndpointConfig | None],
    options: CompareOptions,
    observer: Observer,
) -> _Planned:
    """What is to be asked, and where it is stored; says in what two configurations differ."""
    folders = [
        path if config is None else config.runs / config.name for path, config in zip(paths, configs, strict=True)
    ]
    both = [config for config in configs if config is not None]
    if folders[0].resolve() == folders[1].resolve():
        raise ConfigError(f"{paths[1]}: name: both sides are called {both[0].name!r}: give each a name of its own")
    found: tuple[Difference, ...] = ()
    if len(both) == 2:
        found = differences(*both)
        observer.differences(found)
    known: dict[str, Any] = {}
    sides = [None if config is None else prepare(config, known) for config in configs]
    suites = [suite.loaded.suite for side in sides if side is not None for suite in side.plan.suites]
    rows = [p_gold_name(suite.name) for suite in suites if by_logprobs(suite)]
    check_margins(options, [*rows, *(suite.name for suite in suites)])
    if not options.anyway:
        _refuse_unlike(folders, sides, options)
    (name, plan), (other_name, other_plan) = (
        _stored(folder) if side is None else (side.config.name, side.plan.digest)
        for folder, side in zip(folders, sides, strict=True)
    )
    plans, names = (plan, other_plan), (name, other_name)
    return _Planned((folders[0], folders[1]), configs, (sides[0], sides[1]), plans, found, names)


def _stored(folder: Path) -> tuple[str, str]:
    """Name and plan of a stored run."""
    session = manifest.latest(folder)
    return session.name, session.plan


def _refuse_unlike(folders: Sequence[Path], sides: Sequence[SideRun | None], options: CompareOptions) -> None:
    """Refuses a comparison that is INVALID whatever is answered.

    Raises `ConfigError`: naming what differs and where.
    """
    asked = [suite.name for side in sides if side is not None for suite in side.plan.suites]
    said = [
        comparability.stored(manifest.latest(folder), folder, asked)
        if side is None
        else comparability.planned(side.config, side.plan)
        for folder, side in zip(folders, sides, strict=True)
    ]
    comparability.refuse_unlike(said[0], said[1], policy(options))


class _Asking:
    """A comparison that is asked, at once or in rounds; `case` is what was read last, of this `part` of the plans."""

    def __init__(self, planned: _Planned, options: CompareOptions, observer: Observer) -> None:
        self.planned, self.options, self.observer = planned, options, rounds.Once(observer)
        self.case: Case | None = None
        self.part: Part | None = None
        self._sides = [refreshed(side) for side in planned.sides if side is not None]
        self._bank = planned.sides[0] is None or self._sides[0].missing == 0
        self._rechecks: dict[str, _Rechecked] = {}
        self._admission: Admission | None = None
        self._trouble: tuple[Reason, ...] = ()
        self._before: tuple[Reason, ...] = ()
        self._was_asked = False

    def judged(self) -> Judged:
        """Asks what is missing on the sides that have a configuration, and judges both.

        Raises `StoppedError`: what is found before the suites are asked says that they should not be; `UsageError`:
        more is asked for than was fixed at the first look.
        """
        planned, options = self.planned, self.options
        config, plan = self._sides[-1].config, self._sides[-1].plan
        sampled = any(suite.parameters.get("temperature") != 0 for suite in plan.suites)
        # As the candidate's pack says, where its suites are sampled; a file without a pack asks all at once.
        most = find_pack(config.pack, config.suite_folders).rounds if config.pack and sampled else 1
        sessions = self._sessions()
        self._before = rounds.looked(planned.folders[1], sessions[1], night=options.rerun_on_fail)
        fixed = rounds.fixed(planned.home, self._sides, self._asked(sessions), options, most)
        self._rechecks = {side.config.name: _rechecked(side, options, self.observer) for side in self._sides}
        self._sides = [replace(side, rechecked=self._rechecks[side.config.name].found) for side in self._sides]
        self._admission = _admission(self._sides, planned, options, self.observer)
        if fixed is None:
            alpha = nights.alphas(options.alpha)[0] if options.rerun_on_fail else options.alpha
            return judged(self._at(None), replace(options, alpha=alpha))
        rounds.store(planned.home, fixed)
        self._bank = fixed.design.bank
        schedule = rounds.schedule(fixed.design, rounds.sizes_of(self._sides[-1]))
        return rounds.Walk(schedule, options).result(self._at, options.rounds, self.observer.looked)

    def _sessions(self) -> list[Session]:
        both = zip(self.planned.folders, self.planned.sides, strict=True)
        return [manifest.latest(f) if side is None else new_session(side.config, side.plan) for f, side in both]

    def _asked(self, sessions: Sequence[Session]) -> dict[str, rounds.Asked]:
        folder, side = self.planned.folders[1], self.planned.sides[1]
        return rounds.asked(sessions, rounds.sizes_stored(folder) if side is None else rounds.sizes_of(side))

    def _at(self, part: Part | None) -> Case:
        """Asks what is missing of a part, or of all, and reads both sides of it."""
        first = self.case is None
        asked = [refreshed(replace(side, part=self._from(side, part, first=first))) for side in self._sides]
        missing = any(side.missing for side in asked)
        if first or missing:
            examiner = None if self._admission is None or self._was_asked else self._admission.examiner()
            outcomes = run_sides(asked, self.observer, examiner)
            self._was_asked |= missing
            self._trouble = tuple(sentence for outcome in outcomes for sentence in beside(outcome))
        self.part = part
        self.case = self._read()
        return self.case

    def _from(self, side: SideRun, part: Part | None, *, first: bool) -> Part | None:
        """What is asked of a side: all of a bank, and at first what was to be asked when the comparison was left."""
        if part is None or (self._bank and len(self._sides) == 2 and side is self._sides[0]):
            return None
        last = manifest.earlier(side.folder) if first else None
        left = None if last is None or last.plan != side.plan.digest else last.part
        return part if left is None or left.design != part.design else left

    def _read(self) -> Case:
        """Both sides of what was asked."""
        planned, part = self.planned, self.part
        parts = None if part is None else replace(part, whole=self._bank), part
        one, two = (read_run(*of) for of in zip(planned.folders, planned.plans, parts, strict=True))
        sides = one, two
        unasked = _Rechecked(why="a stored run was given")
        notes = tuple(note for side in sides for note in self._rechecks.get(side.identity.name, unasked).notes(side))
        before = () if part else self._before
        trouble, found = (*self._trouble, *notes, *before, *_one_server(planned.configs)), planned.found
        if len(self._sides) == 1:
            # The configuration says what is compared: suites that only the stored run has are left out.
            asked_for = sides[1 if planned.sides[0] is None else 0].suites.keys()
            one, two = (replace(s, suites={k: v for k, v in s.suites.items() if k in asked_for}) for s in sides)
            sides = one, two
            found = differences_of(sides)
        probe = None if self._admission is None else self._admission.probe
        return Case(sides, found, planned.home, trouble, self._bank, noise_floors(sides[0]), probe)


def _one_server(configs: tuple[EndpointConfig | None, EndpointConfig | None]) -> Iterator[Reason]:
    """A note where both sides ask one address for the same: a base_url that was copied makes any port EQUIVALENT."""
    one, two = configs
    if one is None or two is None or (one.model, one.build) != (two.model, two.build):
        return
    if shared := sorted({url.rstrip("/") for url in one.urls} & {url.rstrip("/") for url in two.urls}):
        yield Reason("note.one_server", {"address": redact_url(shared[0]), "model": one.model})


@dataclass(frozen=True, slots=True)
class _Rechecked:
    """What came of asking for a side's stored answers again; else why nothing at all was asked of it, or ""."""

    found: Rechecked | None = None
    why: str = ""

    def notes(self, side: Side) -> Iterator[Reason]:
        if self.found is not None:
            yield recheck.note(side.identity.name, self.found)
        elif self.why:
            yield from stored_notes(side, self.why)


def _rechecked(side: SideRun, options: CompareOptions, observer: Observer) -> _Rechecked:
    """Asks for some of a side's stored answers again. Raises `UsageError`: another server answers."""
    found, why = recheck.reused(side, observer, stored=options.stored)
    return _Rechecked(found, "" if side.missing else why)


def _admission(
    asked: list[SideRun], planned: _Planned, options: CompareOptions, observer: Observer
) -> Admission | None:
    """What looks at the endpoints before they are asked, where that is wanted: the doctor and the probe load much."""
    if not options.doctor and options.probe is False:
        return None
    from evalkit.admission import Admission

    admission = Admission(asked, options, Path(options.out or planned.home), observer)
    admission.ahead()
    return admission


def _not_asked(planned: _Planned, stopped: StoppedError, options: CompareOptions) -> Comparison:
    """The comparison where the suites were not asked: what was found before is its verdict."""
    moment = now()

    def identity(number: int) -> RunIdentity:
        folder, side = planned.folders[number], planned.sides[number]
        if side is None:
            return manifest.latest(folder, planned.plans[number]).identity(str(folder))
        return new_session(side.config, side.plan).identity(str(folder))

    runs = identity(0), identity(1)
    made = not_asked(runs, stopped.verdict, stopped.reasons, policy(options), moment)
    return replace(made, probe=stopped.probe, differences=planned.found)


def _confirmed(asking: _Asking, first: Judged, config: EndpointConfig) -> Judged:
    """A night that was looked at once; one that would be red is asked again, and judged by all its answers."""
    suites, case, alpha = nights.to_confirm(first.comparison), asking.case, asking.options.alpha
    if not suites or case is None:
        return replace(first, comparison=nights.once(first.comparison, alpha))
    verdict = first.comparison.verdict.value
    asking.observer.notice(f"{verdict}: {', '.join(suites)}: asking the candidate again with other seeds")
    second = prepare(execute.second_config(config, suites, nights.RERUN_SEEDS))
    (outcome,) = run_sides([second], asking.observer)
    rerun = read_run(second.folder, second.plan.digest)
    execute.restore(config)
    both = (manifest.latest(second.folder, plan) for plan in (asking.planned.plans[1], second.plan.digest))
    rerun, notes = _of_one_model(rerun, *both)
    sides = (case.sides[0], nights.joined(case.sides[1], rerun))
    case = replace(case, sides=sides, trouble=(*case.trouble, *beside(outcome), *notes))
    made = judged(case, replace(asking.options, alpha=nights.alphas(alpha)[1]))
    return replace(made, comparison=nights.twice(first.comparison, made.comparison, alpha))
