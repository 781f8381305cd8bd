"""A comparison in rounds: ask, look, and go on only where it is undecided.

What a round asks of either side follows from the comparison's design alone, which is fixed and stored before the first
answer; what a look says follows from the answers. So a comparison that was interrupted takes its looks again, from the
first one on, and goes on where it was.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson
from numpy.typing import ArrayLike

from evalkit import codec
from evalkit.compare.pair import align
from evalkit.compare.tiers import ALARMS, Tiers, overall_reasons
from evalkit.compare.verdict import Judged as JudgedSuite
from evalkit.errors import UsageError
from evalkit.files import digest, write_whole
from evalkit.judging import Case, Judged, judged, stored_case
from evalkit.model import Comparison, Macro, Reason, Rounds, Status, SuiteResult, Verdict
from evalkit.nights import RERUN_SEEDS
from evalkit.parts import Design, Items, Look, Part, Size
from evalkit.run import Observer, manifest
from evalkit.run.read import is_run
from evalkit.run.repair import read_run
from evalkit.stats.looks import LookAlphas, comparison_alphas, spent_late
from evalkit.stats.methods import check_margin
from evalkit.stats.paired import IntArray

if TYPE_CHECKING:
    from evalkit.foreign.tables import Frame
    from evalkit.options import CompareOptions, JudgeOptions
    from evalkit.run.manifest import Session
    from evalkit.run.plan import SideRun

NAME: Final = "rounds.json"
_WHY: Final = "answers that were looked at are judged by that design alone; ask for new ones with --again"
FAST_ALPHA: Final = 0.01
"""So much of an alarm's error is kept for the look before the first round, where there is one: the others spend the
rest."""
_FAST_WORTH: Final = 4  # the first items are looked at by themselves where the first round asks as many times more
_BETS: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a suite: `answers` names the candidate's, `samples` of them; the reference's seed and number."""

    answers: str
    seed: int
    reference: int
    samples: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """A comparison's design as it is stored, with what it was made for; `before` names what earlier ones looked at."""

    design: Design
    suites: Mapping[str, Asked]
    before: Sequence[str] = ()


def fixed(
    home: Path, sides: Sequence[SideRun], suites: Mapping[str, Asked], options: CompareOptions, most: int
) -> Fixed | None:
    """The design of a comparison: the stored one, or one for at most so many rounds; None where all is asked at once.

    `sides` are those with a configuration, the candidate last.

    Raises `UsageError`: what was looked at would be judged otherwise than was fixed at the first look.
    """
    if options.again:
        (home / NAME).unlink(missing_ok=True)
    stored = _read(home)
    if stored is not None and _replays(home, stored, suites):
        if options.rerun_on_fail or (options.rounds or 0) > stored.design.rounds:
            option = "--rerun-on-fail" if options.rerun_on_fail else f"--rounds {options.rounds}"
            told = f"{home / NAME} fixed {stored.design.rounds} rounds before the first look"
            raise UsageError(f"{option}: {told}: {_WHY}")
        return stored
    rounds = options.rounds or most
    if rounds < 2 or options.limit is not None or options.rerun_on_fail or not any(side.missing for side in sides):
        return None
    bank = len(sides) == 1 or (sides[0].missing == 0 and not options.again)
    design = Design(rounds, secrets.randbelow(2**32), bank)
    steps = schedule(design, sizes_of(sides[-1]))
    if len(steps.rounds) < 2:
        return None
    design = replace(design, fast=len(steps.suites) > 1 and steps.fast * _FAST_WORTH <= int(steps.samples[0].sum()))
    before = () if stored is None else (*stored.before, *(one.answers for one in stored.suites.values()))
    return Fixed(design, suites, before)


def asked(sessions: Sequence[Session], sizes: Mapping[str, Size]) -> dict[str, Asked]:
    """What both sides are asked, by suite; `sizes` are the candidate's."""
    first, second = ({suite.suite: suite for suite in session.suites} for session in sessions)
    served, made = [dict(session.served) for session in sessions], {}
    for name in [name for name in second if name in first and name in sizes]:
        one, two = first[name], second[name]
        answers = digest([name, *served, dict(one.parameters), dict(two.parameters), two.seed])
        made[name] = Asked(answers, one.seed, one.items * one.repeats, int(sizes[name][1].sum()))
    return made


def _replays(home: Path, stored: Fixed, suites: Mapping[str, Asked]) -> bool:
    """Whether this is the comparison that was fixed; false where it is one of other answers.

    Raises `UsageError`: it is one of answers that were looked at, and not of them all or not of them alone.
    """
    if suites == stored.suites:
        return True
    looked = {*stored.before, *(one.answers for one in stored.suites.values())}
    if not any(one.answers in looked for one in suites.values()):
        return False
    both = stored.suites, suites
    name = next(name for name in (*both[0], *both[1]) if both[0].get(name) != both[1].get(name))
    was, now = (f"{of[name].reference:,} and {of[name].samples:,}" if name in of else "none" for of in both)
    told = f"{home / NAME} fixed the answers of both sides before the first look"
    raise UsageError(f"{told}: {name} {was}, now {now}: {_WHY}")


def looked(folder: Path, now: Session, *, night: bool = False) -> tuple[Reason, ...]:
    """A note where answers of `now` were looked at in rounds.

    Raises:
        UsageError: they were looked at in a night that was confirmed, and this is no `night`: both looks share alpha.
    """
    before = manifest.known(folder)

    def answers(of: Session, on: int = 0) -> set[str]:
        return {digest([dict(of.served), one.suite, dict(one.parameters), one.seed + on]) for one in of.suites}

    rounds, twice = answers(now), answers(now, RERUN_SEEDS)
    if not night and any(answers(one) & twice for one in before):
        told = "its answers were looked at in a night that was confirmed, and are judged with those of its second run"
        raise UsageError(f"{folder}: {told}: compare the YAML files with --rerun-on-fail, or ask anew with --again")
    return (Reason("note.looked", {"name": now.name}),) * any(one.part and answers(one) & rounds for one in before)


def _read(home: Path) -> Fixed | None:
    """The stored design; None where there is none.

    Raises `UsageError`: it cannot be read: which answers were looked at is unknown then.
    """
    try:
        return codec.made_of(Fixed, orjson.loads((home / NAME).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, UsageError) as error:
        raise UsageError(f"{home / NAME}: cannot be read ({error}): {_WHY}") from error


def store(home: Path, made: Fixed) -> None:
    """Stores a design beside its comparison. Raises `StorageError`: where the disk refuses."""
    home.mkdir(parents=True, exist_ok=True)
    write_whole(home / NAME, orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def sizes_of(side: SideRun) -> dict[str, Size]:
    """What a side plans, by suite."""
    return {suite.name: suite.size for suite in side.plan.suites}


def sizes_stored(folder: Path) -> dict[str, Size]:
    """What the last session of a stored run planned, by suite."""
    made = {}
    for name, one in read_run(folder, None, Part(Design(1, 0), {})).suites.items():
        its = one.samples.items
        made[name] = Items(its.name, its.stratum, its.cluster), np.bincount(one.samples.item, minlength=len(its))
    return made


@dataclass(frozen=True, slots=True)
class Schedule:
    """The looks of a design: the round of each, and each suite's `samples` by then (looks, suites).

    A round that asks nothing new has no look. `fast` counts what is asked before the first round.
    """

    design: Design
    suites: tuple[str, ...]
    rounds: tuple[int, ...]
    samples: IntArray
    fast: int

    def part(self, look: int, decided: Mapping[str, int]) -> Part:
        """What has been asked at a look (from 0), suites that are decided only up to theirs."""
        return Part(self.design, {name: self.rounds[decided.get(name, look)] for name in self.suites})

    def levels(self, alpha: float) -> LookAlphas:
        """What each look may spend."""
        return comparison_alphas(self.samples, alpha, min(alpha / 2, FAST_ALPHA) if self.design.fast else 0.0)

    def spent(self, look: int, alpha: float) -> float:
        """What the overall row has spent of alpha by a look (from 0)."""
        noise = np.sum(1.0 / self.samples, axis=1)
        return spent_late(float(noise[-1] / noise[look]), alpha)


def schedule(design: Design, sizes: Mapping[str, Size]) -> Schedule:
    """The looks of a design for suites of these sizes."""
    names = tuple(sizes)

    def counts(number: int) -> list[int]:
        part = Part(design, dict.fromkeys(names, number))
        return [int(part.repeats(name, *sizes[name]).sum()) for name in names]

    every = [counts(number) for number in range(1, design.rounds + 1)]
    new = [number for number, one in enumerate(every) if number == 0 or one != every[number - 1]]
    rounds = tuple(number + 1 for number in new)
    return Schedule(design, names, rounds, np.array([every[number] for number in new]), sum(counts(0)))


At = Callable[[Part], Case | None]
"""Asks what is missing of a part, and gives both sides of it; None where that cannot be."""


@dataclass(slots=True)
class Walk:
    """The looks at one comparison: what has been decided so far, and at which look (from 0)."""

    schedule: Schedule
    options: JudgeOptions
    _kept: Macro | None = None
    _kept_at: int = 0
    _invalid: bool = False
    _decided: dict[str, int] = field(default_factory=dict)

    def result(self, at: At, most: int | None = None, heard: Callable[[Comparison], None] | None = None) -> Judged:
        """Asks and looks until the comparison is decided, or `most` looks are taken.

        Raises `UsageError`: not even the first look can be taken.
        """
        made = self._fast(at) if self.schedule.design.fast else None
        if made is not None:
            return made
        last = len(self.schedule.rounds) if most is None else min(most, len(self.schedule.rounds))
        for look in range(last):
            case = at(self.schedule.part(look, self._decided))
            if case is None:
                break
            made = judged(case, self.options, self._look(look), partial(self._told, look))
            if heard is not None:
                heard(made.comparison)
            if self._ended(made.comparison, look) or any(side.stopped is not None for side in case.sides):
                break
        if made is None:
            raise UsageError("the first round of the comparison was not asked to its end: compare the YAML files")
        return made

    def _look(self, look: int) -> Look:
        names, levels = self.schedule.suites, self.schedule.levels(self.options.alpha)
        places = {name: (self._decided.get(name, look), column) for column, name in enumerate(names)}
        places[""] = (look if self._kept is None else self._kept_at, -1)
        return Look(
            alphas={name: float(levels.alphas[place]) for name, place in places.items()},
            scales={name: float(levels.scale[place]) for name, place in places.items()},
            alarm=levels.alarm,
            number=look + 1,
            most=len(self.schedule.rounds),
            kept=self._kept,
        )

    def _told(self, look: int, found: Comparison) -> Comparison:
        """The comparison with where its looks stand."""
        spent = self.schedule.spent(look, found.alpha)
        decided = {name: at + 1 for name, at in self._decided.items()}
        suites = [one for one in found.suites if not one.row_of and one.suite not in decided]
        mean_open = found.macro is not None and found.macro.verdict is Verdict.INCONCLUSIVE
        enough = ALARMS if mean_open else (Verdict.EQUIVALENT, *ALARMS)
        decided |= {one.suite: look + 1 for one in suites if one.verdict in enough}
        rounds = Rounds(look + 1, len(self.schedule.rounds), spent, max(0.0, found.alpha - spent), decided)
        return replace(found, rounds=rounds, reasons=(*found.reasons, _line(rounds)))

    def _ended(self, found: Comparison, look: int) -> bool:
        """Keeps what a look decided; true where that is all.

        INVALID ends it where two looks in a row find it: its rules are no test that looks could spend for, and what is
        missing at one look may have come at the next.
        """
        before, self._invalid = self._invalid, found.verdict is Verdict.INVALID
        if found.verdict in {Verdict.EQUIVALENT, *ALARMS} or (before and self._invalid):
            return True
        if self._kept is None and found.macro is not None and found.macro.verdict is Verdict.EQUIVALENT:
            self._kept, self._kept_at = found.macro, look
        if self._kept is not None:
            waiting = {one.row_of or one.suite for one in found.suites if one.verdict is not Verdict.EQUIVALENT}
            for name in self.schedule.suites:
                if name not in waiting:
                    self._decided.setdefault(name, look)
        return False

    # ------------------------------------------------------------ before the first round

    def _fast(self, at: At) -> Judged | None:
        """The comparison where its first items show that a suite is DEGRADED; None where they do not."""
        case = at(Part(self.schedule.design, dict.fromkeys(self.schedule.suites, 0)))
        if case is None:
            return None
        made = judged(case, self.options, self._look(0), partial(self._failed_fast, case))
        return made if made.comparison.rounds is not None and made.comparison.verdict is Verdict.DEGRADED else None

    def _failed_fast(self, case: Case, found: Comparison) -> Comparison:
        limit = len(self.schedule.suites) / min(FAST_ALPHA, self.options.alpha / 2)
        evidence = {suite.suite: _evidence(suite, case) for suite in found.suites}
        suites = tuple(_fast_row(suite, evidence[suite.suite], limit) for suite in found.suites)
        macro = found.macro
        if macro is not None and macro.verdict is not Verdict.INVALID:
            macro = replace(macro, verdict=Verdict.INCONCLUSIVE, reasons=(Reason("inconclusive.fast"),))
        deciding = [suite for suite in suites if suite.waiver is None]  # an advisory one does not
        verdict = Verdict.over(suite.verdict for suite in deciding)
        tiers = Tiers(tuple(JudgedSuite(suite, None, None) for suite in deciding), macro, verdict)
        rounds = Rounds(0, len(self.schedule.rounds), 0.0, found.alpha, {})
        reasons = (*overall_reasons(tiers), _line(rounds))
        found = replace(found, verdict=verdict, exit_code=verdict.exit_code, reasons=reasons, rounds=rounds)
        return replace(found, suites=suites, macro=macro)


def _line(rounds: Rounds) -> Reason:
    """Where the looks stand, as the last of the reasons."""
    told = {"look": rounds.look, "most": rounds.most, "spent": rounds.alpha_spent, "left": rounds.alpha_left}
    return Reason("overall.rounds", told) if rounds.look else Reason("overall.fast", {"most": rounds.most})


def _fast_row(suite: SuiteResult, evidence: float, limit: float) -> SuiteResult:
    if suite.verdict is Verdict.INVALID or suite.waiver is not None:
        return suite
    if evidence < limit:
        return replace(suite, verdict=Verdict.INCONCLUSIVE, reasons=(Reason("inconclusive.fast"),))
    told = Reason("degraded.fast", {"n": suite.n_items, "evidence": evidence, "limit": limit, "margin": suite.margin})
    return replace(suite, verdict=Verdict.DEGRADED, reasons=(told,))


def _evidence(suite: SuiteResult, case: Case) -> float:
    """What a suite's first items say against it; 0 where they do not all weigh the same."""
    if any(suite.suite not in side.suites for side in case.sides):
        return 0.0
    one, two = (side.suites[suite.suite] for side in case.sides)
    paired = align(one, two).paired
    if paired is None or paired.share.max() > paired.share.min() * (1 + 1e-9):
        return 0.0
    return fast_evidence(paired.difference, suite.margin)


def fast_evidence(differences: ArrayLike, margin: float) -> float:
    """An e-value against "the mean difference is not below -margin", from items drawn without replacement.

    A mixture of constant bets, the mean over lambda of prod(1 + lambda * (-margin - X)), X in [-1, 1]. The expected
    product of numbers that are drawn without replacement is at most that of numbers drawn with it (Maclaurin), so at
    most 1 under the claim: one look after a number of items that was fixed before finds 1 / alpha with a chance of at
    most alpha. The martingale for draws without replacement (I. Waudby-Smith and A. Ramdas, JRSS B 86 (2024) 1-27)
    bounds the mean of the answers that all items would give once, which chance may put far from the truth.
    """
    check_margin(margin, 0.05)
    x = np.asarray(differences, dtype=np.float64)
    if np.any(np.abs(x) > 1.0):
        raise ValueError("differences of scores lie in [-1, 1]")
    bets = [bet for bet in _BETS if bet < 1.0 / (1.0 + margin)]
    logs = [float(np.log1p(bet * (-margin - x)).sum()) for bet in bets]
    return math.exp(min(700.0, float(np.logaddexp.reduce(logs)) - math.log(len(bets))))


def judged_stored(scores: tuple[Path | Frame, Path | Frame], options: JudgeOptions) -> Judged:
    """The comparison of two scored things of one kind; nothing is asked. What was asked in rounds is looked at so.

    Raises `UsageError`: for a mistake in what was given.
    """
    case = stored_case(scores, options)
    if not all(isinstance(one, Path) and is_run(one) for one in scores):
        return judged(case, options)
    folders, found = [Path(side.identity.path) for side in case.sides], _read(case.home)
    sizes = {} if found is None else sizes_stored(folders[1])
    if found is None or not _replays(case.home, found, asked([*map(manifest.latest, folders)], sizes)):
        return judged(replace(case, trouble=(*case.trouble, *looked(folders[1], manifest.latest(folders[1])))), options)
    design, seen = found.design, False

    def at(part: Part) -> Case | None:
        nonlocal seen
        parts = replace(part, whole=design.bank), part
        one, two = (read_run(folder, None, of) for folder, of in zip(folders, parts, strict=True))
        lacks = any(suite.samples.status.mask(Status.NOT_ASKED).any() for suite in two.suites.values())
        seen, before = True, seen
        return None if before and lacks else replace(case, sides=(one, two), bank=design.bank)

    return Walk(schedule(design, sizes), options).result(at)


class Once(Observer):
    """An observer that hears each sentence once, however many rounds say it."""

    def __init__(self, observer: Observer) -> None:
        self._observer, self._said = observer, set[str]()
        for name in ("step", "looked", "differences", "display"):
            setattr(self, name, getattr(observer, name))

    def notice(self, sentence: str) -> None:
        """Something that whoever asked should know."""
        if sentence not in self._said:
            self._said.add(sentence)
            self._observer.notice(sentence)
