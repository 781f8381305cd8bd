"""Two sides are judged as somebody's options say; what is stored is read first. Nothing here asks an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from evalkit.compare.columns import NO_TEXT, Side, no_item
from evalkit.compare.judge import compare
from evalkit.compare.operators import with_operators
from evalkit.compare.validity import NO_JOURNAL, NoiseFloor, Policy, Rules, check_names, p_gold_name
from evalkit.compare.verdict import half
from evalkit.errors import EvalkitError, UsageError
from evalkit.foreign import HEADLINES, Choices, Named
from evalkit.foreign.sources import kind_of, read_pair, read_side
from evalkit.foreign.tables import Frame
from evalkit.model import Comparison, Difference, Probe, Reason, Value, Verdict, fraction
from evalkit.options import CompareOptions, JudgeOptions
from evalkit.parts import Look
from evalkit.publish.archive import candidates_of, noise_floors
from evalkit.run import journal

if TYPE_CHECKING:
    from evalkit.config.suite import Pack


@dataclass(frozen=True, slots=True)
class Case:
    """Two sides, ready to be judged.

    `home` is where the comparison is stored; `trouble` says what kept a run from being whole; `bank` says
    that the reference was stored before; `noise` holds what the reference against itself showed, by suite; `probe` is
    what the fidelity probe found before the suites were asked; `of_one` says that both are one endpoint's.
    """

    sides: tuple[Side, Side]
    differences: tuple[Difference, ...]
    home: Path
    trouble: tuple[Reason, ...] = ()
    bank: bool = False
    noise: Mapping[str, NoiseFloor] = field(default_factory=dict)
    probe: Probe | None = None
    of_one: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison as it was made, and its usual folder; `sides` is None where the suites were not asked."""

    comparison: Comparison
    home: Path
    sides: tuple[Side, Side] | None = None


Settle: TypeAlias = Callable[[Comparison], Comparison]


class StoppedError(EvalkitError):
    """What was found before the suites were asked makes the comparison not worth its cost: its verdict, and why."""

    def __init__(self, verdict: Verdict, reasons: tuple[Reason, ...], probe: Probe | None = None) -> None:
        super().__init__(f"{verdict.value} before the suites: {', '.join(reason.code for reason in reasons)}")
        self.verdict = verdict
        self.reasons = reasons
        self.probe = probe
        self.exit_code = verdict.exit_code


def stored_case(scores: tuple[Path | Frame, Path | Frame], options: JudgeOptions) -> Case:
    """Two scored things of one kind, as they are stored; nothing is asked."""
    if _same(*scores):
        raise UsageError(
            f"{scores[1]}: both sides are the same: nothing can differ (`evalkit aa` shows a side's own noise)"
        )
    sides = read_pair(*scores, choices_of(options))
    folder = Path() if isinstance(scores[0], Frame) else scores[0].parent
    home = folder / f"{sides[0].identity.name}--{sides[1].identity.name}"
    notes = tuple(note for side in sides for note in stored_notes(side))
    return Case(sides, differences_of(sides), home, notes, noise=noise_floors(sides[0]))


def stored_notes(side: Side, why: str = "") -> Iterator[Reason]:
    """A note that no new answer of a side counts, with when and by what it was answered, where that is known."""
    addresses = {word for suite in side.suites.values() for word in suite.samples.address.names if word}
    if addresses:
        told: dict[str, Value] = {"name": side.identity.name, "started": side.identity.started[:16].replace("T", " ")}
        told |= {"addresses": tuple(sorted(addresses)), **({"why": why} if why else {})}
        yield Reason("note.stored", told)


_GONE: Final = 1e-6  # the chance that an address that is still there is asked for none of the last answers


def gone(side: Side) -> Iterator[Reason]:
    """A note for each of a side's several addresses that answered and was silent at the end, while others went on."""
    urls = sorted({str(url).rstrip("/") for url in side.config.get("base_urls") or ()})
    told = [suite.samples for suite in side.suites.values()] if len(urls) > 1 else []
    for url in urls if told else ():
        at = np.concatenate([np.where(samples.text == NO_TEXT, np.nan, samples.at) for samples in told])
        own = np.concatenate([samples.address.mask(url, f"{url}/") for samples in told]) & ~np.isnan(at)
        last = at[own].max() if own.any() else np.inf
        # What was asked before is a straggler of a slower one, and could not go to this address any more.
        began = at - np.concatenate([np.nan_to_num(samples.seconds) for samples in told])
        after, n = int((began > last).sum()), int(own.sum())
        if n and (1.0 - n / int((at <= last).sum())) ** after <= _GONE:
            when = datetime.fromtimestamp(int(last), UTC).strftime("%Y-%m-%d %H:%M:%S")
            yield Reason("note.gone", {"name": side.identity.name, "address": url, "n": n, "at": when, "after": after})


def _same(one: Path | Frame, other: Path | Frame) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return isinstance(one, Frame) and isinstance(other, Frame) and one.content is other.content


def judged(case: Case, options: JudgeOptions, look: Look | None = None, settle: Settle | None = None) -> Judged:
    """A case, judged now; at one look of several `settle` may change what it found, before differences are accepted."""
    rows = [p_gold_name(name) for side in case.sides for name, suite in side.suites.items() if suite.p_gold]
    check_margins(options, [*rows, *(name for side in case.sides for name in side.suites)])
    chosen = replace(policy(options, case), look=look)
    _refuse_copy(*case.sides)
    candidate = case.sides[1] if case.of_one else with_operators(*case.sides)
    made = compare(case.sides[0], candidate, chosen, now(), case.differences)
    made = made if settle is None else settle(made)
    left = [note for side in case.sides for note in gone(side)]
    beyond = chosen.beyond_pack({suite.suite: suite.margin for suite in made.suites if not suite.row_of})
    asked = (one for one in made.suites if not one.row_of)
    parts = tuple(one.label for one in asked if any(note.code in _OF_A_PART for note in one.notes))
    claims = (*([Reason("claims.part", {"labels": parts})] if parts else []), *_bank_claimed(made, case))
    made = replace(made, notes=(*made.notes, *beyond, *case.trouble, *left, *claims), probe=case.probe)
    if options.known is not None:
        from evalkit.publish.known import read_known, waived

        made = waived(made, read_known(Path(options.known)), lenient=options.on_inconclusive != "fail")
    if options.policy is not None:
        from evalkit.publish.policies import read_policy, ruled

        said, _places = read_policy(options.policy)
        made = made if said.rule is None else ruled(made, str(options.policy), said.rule)
    return Judged(made, case.home, case.sides)


_LOOKED_AT: Final = 1_000
_COPIED: Final = 0.1


def _refuse_copy(*sides: Side) -> None:
    """Raises `UsageError` where one side's answers are the other's: no two come at the same moments, as fast."""
    one, two = (set(_moments(side)) for side in sides)
    if len(one & two) > _COPIED * max(len(one), len(two)):
        places = [side.identity.path or side.identity.name for side in reversed(sides)]
        raise UsageError(
            "{}: is a copy of {}: nothing can differ (`evalkit aa` shows a side's own noise)".format(*places)
        )


def _moments(side: Side) -> Iterator[tuple[object, ...]]:
    """What tells the first answers of each suite from all others: the item, when (to 1 us) and how fast."""
    for name, suite in side.suites.items():
        few = suite.samples.rows(np.flatnonzero(~np.isnan(suite.samples.at))[:_LOOKED_AT])
        items = (few.items.name[place] for place in few.item.tolist())
        yield from zip(repeat(name), items, few.at.tolist(), few.seconds.tolist(), few.text.tolist(), strict=False)


_OF_A_PART: Final = frozenset({"note.part", "note.categories", "note.without_task", "note.share"})


def _bank_claimed(made: Comparison, case: Case) -> Iterator[Reason]:
    """How many candidates a stored reference has judged, and what that does to the errors."""
    runs = candidates_of(case.sides[0].identity) | {made.candidate.run_id} if case.bank else set[str]()
    if (n := len(runs)) > 1:
        chance = 1 - (1 - made.alpha) ** n
        yield Reason("claims.bank", {"n": n, "chance": chance, "alpha": made.alpha / n, "level": made.alpha})


def judged_halves(path: Path, options: JudgeOptions) -> Judged:
    """A stored run against itself: its odd repeats against its even ones.

    Raises `UsageError`: where it was asked every item once.
    """
    whole = read_side(path)
    sides = (half(whole, odd=False), half(whole, odd=True))
    if not sides[1].suites:
        raise UsageError(f"{path}: asked every item once: there are no halves; give the YAML file to ask a second time")
    home = path.parent / f"{sides[0].identity.name}--{sides[1].identity.name}"
    return judged(Case(sides, (), home, of_one=True), options)


def differences_of(sides: tuple[Side, Side]) -> tuple[Difference, ...]:
    """In what the configurations of two stored sides differ."""
    if not sides[0].config and not sides[1].config:
        return ()
    from evalkit.codec import stored_differences

    return stored_differences(sides[0].config, sides[1].config)


def now() -> str:
    """The present moment as ISO 8601 text, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def choices_of(options: JudgeOptions) -> Choices:
    """What the options say of other programs' files."""
    return Choices(
        filters=Named.parse("--filter", options.filters),
        metrics=Named.parse("--metric", options.metrics),
        headlines=Named.parse("--headline", options.headlines, HEADLINES),
        dates=options.dates,
    )


def policy(options: JudgeOptions, case: Case | None = None) -> Policy:
    """The policy that the options say. Raises `UsageError`: for an option that nothing in the case heeds."""
    if options.include_questions and case is not None and all(side.item is no_item for side in case.sides):
        raise UsageError("--include-questions: has no effect here: neither side holds questions")
    advisory: tuple[str, ...] = ()
    if options.policy is not None:
        options, advisory = _with_policy(options, options.policy)
    margins = {name: fraction(points) for name, points in options.margins_pt.items()}
    default = None if options.margin_pt is None else fraction(options.margin_pt)
    overall = default if options.overall_margin_pt is None else fraction(options.overall_margin_pt)
    if options.pack is not None and default is None:
        pack = _pack(options.pack)
        margins = {**_pack_margins(pack), **margins}
        if overall is None and pack.overall is not None:
            overall = fraction(pack.overall.margin_pt)
    return Policy(
        alpha=options.alpha,
        margins=margins,
        default_margin=default,
        overall_margin=overall,
        pack=options.pack or "",
        rules=Rules(accepted=frozenset({NO_JOURNAL} if options.stored else ())),
        on_inconclusive=options.on_inconclusive,
        bank=case is not None and case.bank,
        noise={} if case is None else case.noise,
        flips=options.flips,
        questions=options.include_questions,
        advisory=frozenset(advisory),
    )


def _with_policy(options: JudgeOptions, name: str | Path) -> tuple[JudgeOptions, tuple[str, ...]]:
    """The options with what a policy says where they say nothing, and its advisory suites."""
    from evalkit.publish.policies import read_policy

    said, _places = read_policy(name)
    if options.margin_pt is None:
        overall = said.overall_margin_pt if options.overall_margin_pt is None else options.overall_margin_pt
        margins = {**said.margins_pt, **options.margins_pt}
        options = replace(options, margin_pt=said.margin_pt, margins_pt=margins, overall_margin_pt=overall)
    return options, said.advisory


def _pack(name: str) -> Pack:
    from evalkit.tasks.suites import find_pack  # a comparison of stored sides needs no YAML otherwise

    return find_pack(name)


def _pack_margins(pack: Pack) -> dict[str, float]:
    return {one.name: fraction(one.margin_pt) for one in pack.suites if one.margin_pt is not None}


def check_margins(options: JudgeOptions, suites: Iterable[str]) -> None:
    """Raises `UsageError` where a margin or the pack names no suite that is compared: it would silently not hold."""
    known = sorted(set(suites))
    check_names(options.margins_pt, known)
    if options.policy is not None:
        from evalkit.publish.policies import check_suites, read_policy

        check_suites(*read_policy(options.policy), known)
    if options.pack is not None and options.margin_pt is None:
        listed = _pack_margins(_pack(options.pack))
        if not listed.keys() & set(known):
            raise UsageError(
                f"--pack {options.pack}: has no effect here: it gives no tolerance for {', '.join(known)} "
                f"(only for {', '.join(listed)}); say --margin"
            )


def nothing_is_asked(options: CompareOptions, *paths: Path) -> None:
    """An option that has no effect on stored sides is a mistake, not a wish."""
    proven = all(kind_of(path) != "run" or journal.files(path) for path in paths)
    given = {
        "--set": options.overrides,
        "--limit": options.limit,
        "--rerun-on-fail": options.rerun_on_fail,
        "--probe": options.probe,
        "--anyway": options.anyway,
        "--stored": options.stored and proven,
        "--again": options.again,
        "--rounds": options.rounds,
    }
    for option, value in given.items():
        if value:
            raise UsageError(f"{option}: has no effect here: nothing is asked of an endpoint")
