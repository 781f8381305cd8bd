"""Why two runs may not be compared: every rule that makes a suite's verdict INVALID, each with its reason.

The rules are those of a gate that must not fail open: what is missing, what differs in kind, what cannot show a
difference. A rule gives a reason that names numbers, or nothing.
Whoever asks for a comparison sets the limits (`Rules`) and the tolerances (`Policy`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import ItemTable, Samples, SuiteFacts, SuiteSide
from evalkit.compare.pair import Aligned, Cells, asked_twice
from evalkit.errors import UsageError, did_you_mean
from evalkit.model import DEFAULT_MARGIN_PT, Interval, Reason, SideSummary, Status, Value, Verdict, fraction
from evalkit.parts import Look
from evalkit.stats.methods import SAME, DifferenceTest, exact_mcnemar, judge_difference
from evalkit.stats.multiplicity import holm
from evalkit.stats.paired import ItemTraits, Scores, pair_scores
from evalkit.stats.tails import fisher_exact, normal_quantile, wilson

_SHOWN: Final = 3  # items that a reason names


def unlike_suites(
    reference: Mapping[str, SuiteFacts], candidate: Mapping[str, SuiteFacts], policy: Policy
) -> Iterator[tuple[str, Reason]]:
    """What makes suites INVALID whatever is answered, known before anything is asked: (suite, reason)."""
    for name in dict.fromkeys([*reference, *candidate]):
        one, two = reference.get(name), candidate.get(name)
        if one is None or two is None:
            yield name, Reason("differ.suite", {"side": "candidate" if one is None else "reference"})
            continue
        found = [*policy.margin_conflict(name, one, two), *_unlike_facts(one, two)]
        for key in ("data", "prompts"):
            left, right = one.digests.get(key, ""), two.digests.get(key, "")
            if left and right and left != right:
                parts = (Reason("differ.digests", {"reference": _short(left), "candidate": _short(right)}),)
                found.append(Reason("differ.data" if key == "data" else "differ.prompts", {"parts": parts}))
                break  # other items have other prompts
        yield from ((name, reason) for reason in found)


def _unlike_facts(reference: SuiteFacts, candidate: SuiteFacts) -> Iterator[Reason]:
    """A reason for each setting that had to be equal and is not, data and prompts aside."""
    left, right = reference.digests, candidate.digests
    for key in sorted(set(left) | set(right)):
        one, two = left.get(key, "(not sent)"), right.get(key, "(not sent)")
        if one and two and one != two and key not in {"data", "prompts"}:
            yield Reason("differ.setting", {"key": key, "reference": _short(one), "candidate": _short(two)})
    rules = {"reference": reference.headline, "candidate": candidate.headline}
    if rules["reference"] != rules["candidate"]:
        yield Reason("differ.headline", rules)


def differing_settings(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned) -> Iterator[Reason]:
    """A reason for each thing that had to be equal and is not; data and prompts name the items."""
    yield from _unlike_facts(reference.facts, candidate.facts)
    if data := _differing_items(reference, candidate, aligned, "data"):
        yield Reason("differ.data", {"parts": data})
    if prompts := _differing_items(reference, candidate, aligned, "prompts"):
        yield Reason("differ.prompts", {"parts": prompts})
    if aligned.contradictions:
        yield Reason("differ.grouping", {"n": aligned.contradictions, "all": len(aligned.layout.items)})


def _differing_items(
    reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, key: Literal["data", "prompts"]
) -> tuple[Reason, ...]:
    one, two = (side.facts.digests.get(key, "") for side in (reference, candidate))
    column = "document" if key == "data" else "prompt"
    changed = _changed(reference.samples.items, candidate.samples.items, column)
    if (not one or not two or one == two) and not changed:
        return ()
    parts = []
    if changed:
        named = tuple(changed[:_SHOWN])
        parts.append(Reason("differ.items", {"n": len(changed), "all": len(aligned.layout.items), "items": named}))
    for alone, side in ((aligned.only_reference, "reference"), (aligned.only_candidate, "candidate")):
        if alone:
            parts.append(Reason("differ.only", {"n": len(alone), "side": side, "items": tuple(alone[:_SHOWN])}))
    return tuple(parts) or (Reason("differ.digests", {"reference": _short(one), "candidate": _short(two)}),)


def _changed(left: ItemTable, right: ItemTable, column: str) -> list[str]:
    one, two = getattr(left, column), getattr(right, column)
    if left.name == right.name and np.array_equal(one, two):
        return []
    known = dict(zip(left.name, one.tolist(), strict=True))
    pairs = zip(right.name, two.tolist(), strict=True)
    return sorted(name for name, digest in pairs if digest and known.get(name) and known[name] != digest)


def differing_prompt_lengths(left: Samples, right: Samples, aligned: Aligned) -> Iterator[Reason]:
    """A reason where the servers count other prompt lengths for any item that both report."""
    n_items = len(aligned.layout.items)
    one, two = (_token_range(s, codes, n_items) for s, codes in zip((left, right), aligned.codes, strict=True))
    known = np.isfinite(one[0]) & np.isfinite(two[0])
    differing = np.flatnonzero(known & ((one[0] != two[0]) | (one[1] != two[1])))
    if differing.size:
        first = int(differing[0])
        end = 0 if one[0][first] != two[0][first] else 1
        yield Reason(
            "differ.prompt_lengths",
            {
                "n": differing.size,
                "all": int(known.sum()),
                "item": aligned.layout.items[first],
                "reference": int(one[end][first]),
                "candidate": int(two[end][first]),
            },
        )


def _token_range(
    samples: Samples, own: NDArray[np.int64], n_items: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest prompt length by item code; infinite where none is known."""
    low, high = np.full(n_items, np.inf), np.full(n_items, -np.inf)
    known = ~np.isnan(samples.prompt_tokens)
    np.minimum.at(low, own[samples.item[known]], samples.prompt_tokens[known])
    np.maximum.at(high, own[samples.item[known]], samples.prompt_tokens[known])
    return low, high


def _short(value: str) -> str:
    return f"{value[:12]}…" if len(value) > 40 else value


Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RateChange:
    """Hits among the cells that were looked at, on either side.

    `ci95` is the interval of candidate minus reference rate over the items that both sides have, each item weighing
    the same, and `p` the exact two-sided p-value of no difference: whether more items rose than fell. None and 1 where
    there is no such item.
    """

    hits: tuple[int, int]
    cells: tuple[int, int]
    ci95: Interval | None = None
    p: float = 1.0

    @property
    def rates(self) -> tuple[float, float]:
        """Reference and candidate rate; 0 where there is no cell."""
        one, two = (hits / cells if cells else 0.0 for hits, cells in zip(self.hits, self.cells, strict=True))
        return one, two

    @property
    def gap(self) -> float:
        """Candidate minus reference rate."""
        one, two = self.rates
        return two - one


def rate_change(
    aligned: Aligned, reference: Mask, candidate: Mask, looked_at: tuple[Mask, Mask] | None = None
) -> RateChange:
    """The rates of an event that either side's samples show (masks by row of the samples).

    Only cells that both sides planned count. `looked_at` says which samples of either side can show it; without it a
    cell that a side planned and does not list has no such event and counts among the cells.
    """
    if not (reference.any() or candidate.any()):
        return RateChange((0, 0), (len(aligned.both[0]), len(aligned.both[1])))
    n_items, sides = len(aligned.layout.items), aligned.shared
    flags = []
    for side, mask, seen in zip(sides, (reference, candidate), looked_at or (None, None), strict=True):
        flag = side.column(mask.astype(np.float64) if seen is None else np.where(seen, mask, np.nan))
        flags.append(np.nan_to_num(flag, nan=0.0) if seen is None else flag)
    one, two = (Scores(cells.item, cells.repeat, flag) for cells, flag in zip(sides, flags, strict=True))
    hits = int(np.nansum(one.score)), int(np.nansum(two.score))
    cells = int((~np.isnan(one.score)).sum()), int((~np.isnan(two.score)).sum())
    if not any(hits) or not asked_twice(((one.item, one.score), (two.item, two.score)), n_items).any():
        return RateChange(hits, cells)
    plain = ItemTraits(np.ones(n_items), aligned.layout.cluster, np.zeros(n_items, dtype=np.int64))
    paired = pair_scores(one, two, plain)
    # Equal stacks may be exchanged within a cluster: its sum is then as likely above 0 as below, whatever its spread.
    sums = np.bincount(paired.cluster, weights=paired.difference)
    p = exact_mcnemar(int(np.sum(sums < -SAME)), int(np.sum(sums > SAME))).two_sided
    return RateChange(hits, cells, judge_difference(paired, 0.0).ci95, p)


_BETWEEN: Final = 1e-6  # of a step: further from the grid is no rounding
_ALERTS: Final = 13
"""Rules of a suite that a rate or a length may break: two here, and the eleven rows of `behaviour.py`."""

NO_JOURNAL: Final = "run.no_journal"  # the defect of a run with scores and nothing that they were made from


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of the rules; shares are fractions of planned samples.

    A gap in truncated or reasoning-only answers counts where it exceeds its limit and its p-value is at most
    `alert_alpha`, as for what is told beside accuracy; equal stacks break any such rule with that chance at most.
    Defects whose codes are `accepted` count for nothing.
    """

    coverage: float = 0.98
    failure_alpha: float = 0.01
    alert_alpha: float = 0.01
    truncation_gap: float = 0.02
    reasoning_only_gap: float = 0.005
    items: int = 20
    largest_share: float = 0.1
    accepted: frozenset[str] = frozenset()

    def among(self, suites: int) -> Rules:
        """The rules for each of so many suites, so that `alert_alpha` holds over all of them together."""
        return replace(self, alert_alpha=self.alert_alpha / (_ALERTS * max(suites, 1)))


def invalid_reasons(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, rules: Rules) -> list[Reason]:
    """The reasons of all rules that are broken; an empty list means that the suite may be judged."""
    one, two, lacking = aligned.reference, aligned.candidate, list[Reason]()
    own = reference.facts.defects
    defects = (*own, *(defect for defect in candidate.facts.defects if defect not in own))
    if aligned.coverage < rules.coverage:
        counts = {"one": one.missing, "ones": len(one), "two": two.missing, "twos": len(two)}
        lacking = [Reason("coverage", {"share": aligned.coverage, "least": rules.coverage, **counts})]
    return [
        *(defect for defect in defects if defect.code not in rules.accepted),
        *differing_settings(reference, candidate, aligned),
        *_granularity(reference, candidate),
        *_items(aligned, rules),
        *lacking,
        *_answers(reference.samples, candidate.samples, aligned, rules),
        *differing_prompt_lengths(reference.samples, candidate.samples, aligned),
        *_level(reference, candidate),
    ]


def _granularity(reference: SuiteSide, candidate: SuiteSide) -> Iterator[Reason]:
    """A mean of n samples is k/n only where each score is one that the scorer can give: 0.37 is not right or wrong."""
    for name, side in (("reference", reference), ("candidate", candidate)):
        step, values = side.facts.step, side.samples.value
        if not step:
            continue
        known = values[~np.isnan(values)]
        between = known[np.abs(known / step - np.round(known / step)) > _BETWEEN]
        if between.size:
            counts = {"n": between.size, "all": known.size}
            yield Reason("scores.between", {"side": name, **counts, "step": step, "value": float(between[0])})


def _items(aligned: Aligned, rules: Rules) -> Iterator[Reason]:
    if aligned.paired is None:
        yield Reason("items.none", {"all": len(aligned.layout.items)})
        return
    n_items = aligned.paired.n_items
    if n_items < rules.items:
        yield Reason("items.few", {"n": n_items, "least": rules.items})
    elif n_items - aligned.duplicates < rules.items:
        yield Reason("items.repeated", {"n": n_items, "same": aligned.duplicates, "least": rules.items})
    else:
        heaviest = int(np.argmax(aligned.paired.weight))
        if (share := float(aligned.paired.share[heaviest])) > rules.largest_share:
            name = aligned.layout.items[aligned.paired.item[heaviest]]
            yield Reason("items.heavy", {"item": name, "share": share, "most": rules.largest_share})


_APART: Final = 8
"""Requests that may be answered between two failures of one burst: an outage does not meet all that are in flight."""


def _events(cells: Cells, samples: Samples) -> tuple[int, int]:
    """How many items lack a score, and as how many events: what failed in a row, in the order of sending, is one.

    What is missing without a time counts by itself, and an item once, however many of its repeats failed.
    """
    lacking, at = np.isnan(cells.value), cells.column(samples.at)
    items = int(np.count_nonzero(np.bincount(cells.item[lacking])))
    seconds = np.nan_to_num(cells.column(samples.seconds))
    order = np.argsort(np.where(lacking, at, at - seconds), kind="stable")
    places = np.flatnonzero((lacking & ~np.isnan(at))[order])
    bursts = int(places.size > 0) + int(np.count_nonzero(np.diff(places) > _APART + 1))
    return items, min(items, int(np.count_nonzero(lacking & np.isnan(at))) + bursts)


def _failure_test(aligned: Aligned, samples: tuple[Samples, Samples]) -> tuple[dict[str, Value], float]:
    """The items that lack a score on either side, and the p-value of equal chances (Fisher's exact test on events)."""
    sides = aligned.shared
    # np.unique loads numpy.ma, for which a comparison has no use.
    asked = [int(np.count_nonzero(np.bincount(cells.item))) for cells in sides]
    (one, ones), (two, twos) = (_events(*side) for side in zip(sides, samples, strict=True))
    told = _counts(RateChange((one, two), (asked[0], asked[1])))
    if (one, two) != (ones, twos):
        told |= {"one_events": ones, "two_events": twos}
    return told, fisher_exact((ones, twos), (asked[0], asked[1]))


def unequal_failures(
    aligned: Mapping[str, Aligned], sides: tuple[Mapping[str, SuiteSide], Mapping[str, SuiteSide]], alpha: float
) -> dict[str, Reason]:
    """The suites in which other shares of items lack a score on either side, by Holm over all of them.

    What fails more often on one side fails for a reason, and then what is left is no chance sample.
    """
    found = {
        name: _failure_test(one, (sides[0][name].samples, sides[1][name].samples))
        for name, one in aligned.items()
        if len(one.reference) and len(one.candidate)
    }
    adjusted = holm([p for _told, p in found.values()])
    return {
        name: Reason("unequal.failures", {**told, "p": float(p)})
        for (name, (told, _alone)), p in zip(found.items(), adjusted, strict=True)
        if p <= alpha
    }


def _answers(left: Samples, right: Samples, aligned: Aligned, rules: Rules) -> Iterator[Reason]:
    change = rate_change(aligned, left.status.mask(Status.REASONING_ONLY), right.status.mask(Status.REASONING_ONLY))
    if abs(change.gap) > rules.reasoning_only_gap and change.p <= rules.alert_alpha:
        yield Reason("unequal.reasoning_only", _counts(change))
    change = rate_change(aligned, left.truncated, right.truncated)
    if abs(change.gap) > rules.truncation_gap and change.p <= rules.alert_alpha:
        yield Reason("unequal.cut", _counts(change))


def _counts(change: RateChange) -> dict[str, Value]:
    """Hits of cells with their rate, on either side."""
    (one, two), (ones, twos), rates = change.hits, change.cells, change.rates
    return {"one": one, "ones": ones, "one_rate": rates[0], "two": two, "twos": twos, "two_rate": rates[1]}


def _level(reference: SuiteSide, candidate: SuiteSide) -> Iterator[Reason]:
    perfect = 0
    for name, side in (("reference", reference), ("candidate", candidate)):
        values = side.samples.value[~np.isnan(side.samples.value)]
        if not values.size:
            return
        mean, chance = float(values.mean()), side.facts.chance
        perfect += bool(np.all(values == 1.0))
        if not values.any():
            yield Reason("scores.zero", {"side": name, "n": values.size})
        elif chance is not None and chance > 0:
            items = len(side.samples.items)
            upper = wilson(min(mean, 1.0) * items, items).high
            if upper <= chance:
                yield Reason("scores.below_chance", {"side": name, "mean": mean, "chance": chance, "upper": upper})
    if perfect == 2:
        total = len(reference.samples) + len(candidate.samples)
        yield Reason("scores.perfect", {"n": total})


def blind_reason(test: DifferenceTest, reference: SideSummary, chance: float | None) -> Reason | None:
    """Why EQUIVALENT must not be said: the reference is not shown to know what a candidate that guesses does not.

    Where chance lies within the 95 % interval of its mean, or within the margin of it, one that lost all could pass.
    """
    if test.decision is not Verdict.EQUIVALENT or not chance or reference.mean is None:
        return None
    lower = reference.mean - normal_quantile(0.975) * (reference.standard_error or 0.0)
    if min(lower, reference.mean - test.margin) > chance:
        return None
    numbers = {"mean": reference.mean, "lower": max(0.0, lower), "chance": chance, "margin": test.margin}
    return Reason("scores.at_chance", numbers)


def worst_cases(aligned: Aligned, test: DifferenceTest) -> tuple[DifferenceTest, ...]:
    """The test were all that has no score against the candidate, and were it all for it; empty where nothing lacks."""
    if not (aligned.reference.missing or aligned.candidate.missing):
        return ()
    cases = []
    for reference_value, candidate_value in ((1.0, 0.0), (0.0, 1.0)):
        filled = aligned.with_values(
            np.nan_to_num(aligned.reference.value, nan=reference_value),
            np.nan_to_num(aligned.candidate.value, nan=candidate_value),
        )
        cases.append(test if filled is None else judge_difference(filled, test.margin, test.alpha))
    return tuple(cases)


def open_reason(aligned: Aligned, test: DifferenceTest, cases: Sequence[DifferenceTest]) -> Reason | None:
    """Why a verdict on what was answered must wait for what was not: its worst case says otherwise."""
    other = next((case for case in cases if case.decision is not test.decision), None)
    if other is None or test.decision is Verdict.INCONCLUSIVE:
        return None
    names = dict.fromkeys(
        name for cells in (aligned.reference, aligned.candidate) for name in _unscored(aligned, cells)
    )
    values: dict[str, Value] = {"one": aligned.reference.missing, "two": aligned.candidate.missing}
    values |= {"n": len(names), "items": tuple(names)[:_SHOWN]}
    values |= {"verdict": test.decision.name, "other": other.decision.name}
    return Reason("missing.decide", {**values, "interval": other.ci90, "margin": test.margin})


def _unscored(aligned: Aligned, cells: Cells) -> Iterator[str]:
    places = np.flatnonzero(np.isnan(cells.value))
    for item, repeat in zip(cells.item[places].tolist(), cells.repeat[places].tolist(), strict=True):
        yield f"{aligned.layout.items[item]}, repeat {repeat}"


def counts_of(counts: Mapping[str, int], failures: Mapping[str, int], statuses: Iterable[Status] = Status) -> Reason:
    """The samples by status and kind of failure: "scored 190, failed 3 (timeout 2, connection 1), not asked 5".

    `counts` maps statuses, `failures` kinds of failure to numbers of samples; only those of `statuses` are told.
    """
    return Reason("counts", {"kinds": _by_kind(counts, failures, statuses)})


_WITHOUT: Final = [status for status in Status if not status.has_value]
# What says of missing scores no more than how many there are.
_OF_MISSING: Final = frozenset({"items.none", "items.few", "coverage", "unequal.failures"})
# Says beside it why a few are too many, where those rules would let them pass.
_NONE_MAY_MISS: Final = "run.unanswered"


def lacking_reasons(reference: SideSummary, candidate: SideSummary) -> Iterator[Reason]:
    """A reason for each side that lacks scores."""
    for side, summary in (("reference", reference), ("candidate", candidate)):
        if kinds := _by_kind(summary.counts, summary.failures, _WITHOUT):
            yield Reason("missing.side", {"side": side, "kinds": kinds})


def invalid_for(
    broken: Sequence[Reason], sides: tuple[SideSummary, SideSummary], lacking: tuple[str | None, str | None]
) -> tuple[Reason, ...]:
    """The reasons of an INVALID suite: the rules that are `broken`, and what either side lacks.

    Where it is known why scores are missing (`lacking`, as `SuiteFacts` has it), that is said first and once, in the
    place of the rules that count them.
    """
    without = tuple(lacking_reasons(*sides))
    codes = {reason.code for reason in broken}
    counted = _OF_MISSING | {_NONE_MAY_MISS} if codes & _OF_MISSING else frozenset[str]()
    left = [reason for reason in broken if reason.code not in counted]
    told = []
    for side, summary, why in zip(("reference", "candidate"), sides, lacking, strict=True):
        if kinds := _by_kind(summary.counts, summary.failures, _WITHOUT):
            if why is None:
                return (*broken, *without)
            counts: dict[str, Value] = {"n": summary.valued, "all": summary.planned}
            because = {"why": why} if why else {}
            told.append(Reason("missing.why", {"side": side, **counts, "kinds": kinds, **because}))
    return (*told, *left) if told and codes & {*_OF_MISSING, _NONE_MAY_MISS} else (*broken, *without)


def _by_kind(counts: Mapping[str, int], failures: Mapping[str, int], statuses: Iterable[Status]) -> tuple[Reason, ...]:
    kinds = sorted(failures.items(), key=lambda entry: (-entry[1], entry[0]))
    because = {"kinds": tuple(Reason("count.failure", {"kind": kind, "n": n}) for kind, n in kinds)}
    told = []
    for status in (one for one in statuses if counts.get(one)):
        why = because if failures and status is Status.FAILED else {}
        told.append(Reason("count.status", {"status": status.value, "n": counts[status], **why}))
    return tuple(told)


DEFAULT_MARGIN: Final = fraction(DEFAULT_MARGIN_PT)  # the tolerance of a suite for which nobody names one (a fraction)

OnInconclusive: TypeAlias = Literal["fail", "warn", "pass"]


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """What the reference against itself showed for one suite: the interval of its difference, and from what.

    `interval` is None where there was none to be had; `text_agreement` is the share of identical replies.
    """

    interval: Interval | None
    verdict: Verdict
    source: Reason
    text_agreement: float | None = None


_P_GOLD: Final = ":p_gold"


def p_gold_name(suite: str) -> str:
    """What the p(gold) row of a suite goes by, in documents and in `--margin`."""
    return f"{suite}{_P_GOLD}"


def suite_of(row: str) -> str:
    """The suite that a row is of: itself, or the one whose p(gold) it is."""
    return row.removesuffix(_P_GOLD)


@dataclass(frozen=True, slots=True)
class Policy:
    """`margins` are fractions by suite and stand over `default_margin`, which stands over the runs' own.

    `overall_margin`, a fraction, is that of the mean over suites; without it the runs' own counts.
    `pack` names the pack that margins were taken from. `alpha` is the level of each one-sided test, `power` that of
    the needed repeats. `bank` says that the reference is a stored run that will not be asked again. `noise` holds
    noise floors by suite; `look` is there where this is one look of several. `flips` bounds how many flips of a suite
    the comparison holds with their texts (None: all), `questions` lets it hold the texts of gated suites. `advisory`
    suites are judged and decide nothing.
    """

    alpha: float = 0.05
    power: float = 0.80
    margins: Mapping[str, float] = field(default_factory=dict)
    default_margin: float | None = None
    overall_margin: float | None = None
    pack: str = ""
    rules: Rules = field(default_factory=Rules)
    on_inconclusive: OnInconclusive = "fail"
    bank: bool = False
    noise: Mapping[str, NoiseFloor] = field(default_factory=dict)
    flips: int | None = 40
    questions: bool = False
    advisory: frozenset[str] = frozenset()
    look: Look | None = None

    def level(self, name: str) -> float:
        """The level of a suite's one-sided tests, of its further row's, and of the mean's, whose name is ""."""
        return self.alpha if self.look is None else self.look.alphas[suite_of(name)]

    def margin(self, name: str, side: SuiteSide) -> float:
        """The tolerance of a suite, a fraction; that for all suites is none for a p(gold) row."""
        if name in self.margins:
            return self.margins[name]
        if self.default_margin is not None and side.facts.step != 0:
            return self.default_margin
        return DEFAULT_MARGIN if side.facts.margin is None else side.facts.margin

    def overall(self, *own: float | None) -> float:
        """The tolerance of the mean over suites, a fraction; `own` are those that the sides name."""
        named = (margin for margin in (self.overall_margin, *own) if margin is not None)
        return next(named, DEFAULT_MARGIN)

    def overall_conflict(self, one: float | None, two: float | None) -> Reason | None:
        """A reason where the two sides name different tolerances for the mean over suites and nobody chose."""
        if self.overall_margin is not None or one is None or two is None or one == two:
            return None
        return Reason("differ.overall", {"reference": one, "candidate": two})

    def beyond_pack(self, margins: Mapping[str, float]) -> list[Reason]:
        """What to say of suites that the pack gives no tolerance for; `margins` are those they were judged by."""
        if not self.pack or self.default_margin is not None:
            return []
        return [
            Reason("note.pack", {"pack": self.pack, "suite": name, "margin": margin})
            for name, margin in margins.items()
            if name not in self.margins
        ]

    def margin_conflict(self, name: str, reference: SuiteFacts, candidate: SuiteFacts) -> list[Reason]:
        """A reason where the two sides name different tolerances and nobody chose."""
        one, two = reference.margin, candidate.margin
        chosen = name in self.margins or self.default_margin is not None
        if chosen or one is None or two is None or one == two:
            return []
        return [Reason("differ.margins", {"reference": one, "candidate": two})]


def check_names(margins: Iterable[str], compared: Iterable[str]) -> None:
    """Raises `UsageError` where a margin is for a suite that is not compared: it would silently not hold."""
    known = list(compared)
    for name in margins:
        if name not in known:
            raise UsageError(f"--margin {name}=...: no such suite is compared{did_you_mean(name, known)}")
