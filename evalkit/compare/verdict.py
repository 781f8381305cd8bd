"""The judgment on one suite: may it be judged at all, what does the interval say, and what belongs beside it.

A suite that breaks a rule of `validity.py` is INVALID. Otherwise the 90 % interval of the paired difference decides:
inside the margin EQUIVALENT, wholly below DEGRADED, wholly above ELEVATED, anything else INCONCLUSIVE.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare import validity
from evalkit.compare.columns import NO_TEXT, ReplyText, Samples, Side, SuiteSide
from evalkit.compare.pair import Aligned, asked_twice, headline
from evalkit.compare.validity import NoiseFloor, Policy
from evalkit.model import (
    BreakdownRow,
    Flips,
    Interval,
    NeededRepeats,
    Reason,
    SideSummary,
    Status,
    SuiteResult,
    Value,
    Verdict,
)
from evalkit.stats.methods import DifferenceTest, Evidence, count_flips, difference_test, intervals, judge_difference
from evalkit.stats.paired import (
    FloatArray,
    IntArray,
    PairedItems,
    Scores,
    clustered_mean,
    harmonic_mean,
    median,
    pair_scores,
    quantile,
)
from evalkit.stats.power import repeats_to_decide
from evalkit.stats.variance import item_variance, mean_within, measured_variance


def reason_of(test: DifferenceTest, needed: NeededRepeats | None, *, anew: bool = False) -> Reason:
    """Why a suite that may be judged got its verdict; with `anew` only new answers may still decide it."""
    values: dict[str, Value] = {"interval": test.ci90, "margin": test.margin}
    if test.decision is Verdict.EQUIVALENT:
        excludes_zero = test.ci90.low > 0 or test.ci90.high < 0
        return Reason("equivalent.differs" if excludes_zero else "equivalent", values)
    if test.decision is Verdict.DEGRADED:
        return Reason("degraded", values)
    if test.decision is Verdict.ELEVATED:
        return Reason("elevated", values)
    if needed is not None:
        number = Reason("needed.anew", needed.told) if anew else Reason("needed.repeats", needed.told)
        told = needed.note if needed.repeats is None else number
        values |= {} if told is None else {"needed": told}
    if not test.leans:
        return Reason("inconclusive", values)
    return Reason("inconclusive.worse" if test.point < 0 else "inconclusive.better", values)


def needed_repeats(
    paired: PairedItems,
    test: DifferenceTest,
    facts: tuple[SuiteSide, SuiteSide],
    summaries: tuple[SideSummary, SideSummary],
    policy: Policy,
) -> NeededRepeats:
    """Repeats of every item that would decide with the policy's power, and what they cost on both sides together.

    With a reference bank only the candidate is asked again, and only its samples are counted.
    """
    if all(side.facts.greedy for side in facts):
        return NeededRepeats(None, None, None, policy.power, Reason("needed.greedy"))
    bank = harmonic_mean(paired.reference_k) if policy.bank else None
    found = repeats_to_decide(paired, test, policy.power, bank_repeats=bank)
    if found.repeats is None:
        return NeededRepeats(None, None, None, policy.power, found.note)
    if policy.look is not None and policy.look.number < policy.look.most:
        coming = {"next": policy.look.number + 1, "most": policy.look.most}
        return NeededRepeats(None, None, None, policy.power, Reason("needed.round", coming))
    asked = summaries[1:] if policy.bank else summaries
    samples = found.repeats * paired.n_items
    lengths = [side.completion_tokens_mean for side in asked]
    known = [length for length in lengths if length is not None]
    tokens = round(samples * sum(known)) if len(known) == len(lengths) else None
    note = found.note if bank is None else Reason(found.note.code, {**found.note.values, "bank": bank})
    return NeededRepeats(found.repeats, samples * len(asked), tokens, policy.power, note)


def summarise(side: SuiteSide, absent: int = 0) -> SideSummary:
    """The summary of a side by itself; `absent` planned cells are not in its samples and count as not asked."""
    samples = side.samples
    tokens = _known(samples.completion_tokens)
    prompt = _known(samples.prompt_tokens)
    seconds = _known(samples.seconds)
    lenient = _known(samples.lenient)
    counts = samples.status.counts()
    if absent:
        counts[Status.NOT_ASKED.value] = counts.get(Status.NOT_ASKED.value, 0) + absent
    return SideSummary(
        mean=headline(side),
        standard_error=None,
        planned=len(samples) + absent,
        valued=int((~np.isnan(samples.value)).sum()),
        k=repeats(samples),
        counts=counts,
        failures={kind: number for kind, number in samples.failure.counts().items() if kind},
        prompt_tokens=int(prompt.sum()) if prompt.size else None,
        completion_tokens_mean=float(tokens.mean()) if tokens.size else None,
        completion_tokens_p95=quantile(tokens, 0.95) if tokens.size else None,
        latency_p50_seconds=median(seconds) if seconds.size else None,
        lenient_mean=float(lenient.mean()) if lenient.size else None,
    )


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values[~np.isnan(values)])


def repeats(samples: Samples) -> float:
    """The harmonic mean of the repeats that have a value, over items that have one; 0 where none has."""
    counts = np.bincount(samples.item[~np.isnan(samples.value)])
    return harmonic_mean(counts[counts > 0]) if counts.any() else 0.0


# How far the reference lies from itself, asked or graded twice, and what that means for a suite.


_FLAGRANT: Final = 0.001
"""The one-sided level at which the halves of a bank are held to differ, or a judge to have drifted."""


def _against(floor: NoiseFloor | None, margin: float) -> NoiseFloor | None:
    """A stored floor against the margin of this comparison: it was judged by another, or INVALID for other reasons."""
    if floor is None or floor.interval is None:
        return floor
    low, high = floor.interval.low, floor.interval.high
    beyond = Verdict.DEGRADED if high < -margin else Verdict.ELEVATED if low > margin else Verdict.INCONCLUSIVE
    return replace(floor, verdict=Verdict.EQUIVALENT if -margin < low and high < margin else beyond)


def halves(aligned: Aligned, margin: float, alpha: float) -> NoiseFloor | None:
    """The reference's odd repeats against its even ones; None where no item has both.

    Its interval is wider than that of two whole runs: each half has half the repeats.
    """
    cells = aligned.reference
    if not np.any(cells.repeat > 0):
        return None
    scores = Scores(cells.item, cells.repeat, cells.value)
    even, odd = scores.every_other_repeat(odd=False), scores.every_other_repeat(odd=True)
    asked = np.flatnonzero(asked_twice(((one.item, one.score) for one in (even, odd)), len(aligned.layout.items)))
    if not asked.size:
        return None
    paired = pair_scores(even, odd, aligned.layout.traits(asked))
    return _floor(paired, judge_difference(paired, margin, alpha), Reason("noise.halves"))


def _floor(paired: PairedItems, test: DifferenceTest, source: Reason) -> NoiseFloor:
    """What comes for free with every comparison: only a flagrant difference may stop it."""
    return NoiseFloor(test.ci90, judge_difference(paired, test.margin, _FLAGRANT).decision, source)


def noise_reasons(noise: NoiseFloor | None, margin: float) -> list[Reason]:
    """A reason where the reference differs from itself."""
    if noise is None or noise.verdict in {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}:
        return []
    if noise.interval is None:
        return [Reason("noise.unknown", {"source": noise.source, "verdict": noise.verdict.value})]
    return [Reason("noise.differs", {"interval": noise.interval, "margin": margin, "source": noise.source})]


def half(side: Side, *, odd: bool) -> Side:
    """The even or the odd repeats of a stored run as a side of its own; suites asked once are left out.

    Repeats are numbered anew from 0, so that the two halves pair.
    """
    suites: dict[str, SuiteSide] = {}
    rows: dict[str, NDArray[np.int64]] = {}
    for name, suite in side.suites.items():
        repeat = suite.samples.repeat
        if not np.any(repeat > 0):
            continue
        rows[name] = np.flatnonzero(repeat % 2 == int(odd))
        samples = suite.samples.rows(rows[name])
        suites[name] = replace(suite, samples=replace(samples, repeat=samples.repeat // 2))
    word = "odd" if odd else "even"

    def reply(suite: str, row: int) -> ReplyText | None:
        return side.reply(suite, int(rows[suite][row]))

    identity = replace(side.identity, name=f"{side.identity.name}-{word}")
    return replace(side, identity=identity, suites=suites, reply=reply)


# What the judge says of the same answer twice differs for no reason of the endpoints. Its mean difference is a noise
# floor beside the suite's difference, and the spread of the differences gives the part of the suite's difference that
# is the judge's alone: answers that both sides gave are graded once, so only the others carry any.


def judge_noise(
    reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, test: DifferenceTest
) -> tuple[NoiseFloor | None, tuple[Reason, ...]]:
    """The floor that the reference's second grading shows, and a note on the judge's part of the suite's difference.

    None and no note where fewer than two answers were graded twice.
    """
    cells, samples = aligned.reference, reference.samples
    names = samples.items.name
    second = np.full(len(cells), np.nan)
    for place, row in enumerate(cells.row.tolist()) if reference.second else ():
        if row >= 0:
            key = names[int(samples.item[row])], int(samples.repeat[row])
            second[place] = reference.second.get(key, np.nan)
    twice = ~np.isnan(second) & ~np.isnan(cells.value)
    if np.count_nonzero(twice) < 2:
        return None, ()
    item, repeat = cells.item[twice], cells.repeat[twice]
    one, two = (Scores(item, repeat, column[twice]) for column in (cells.value, second))
    paired = pair_scores(one, two, aligned.layout.traits(np.unique(item)))
    changes = second[twice] - cells.value[twice]
    differing = _differing(reference, candidate, aligned)
    answers = int(np.count_nonzero(~np.isnan(cells.value)))
    own, counts = judge_difference(paired, test.margin, test.alpha), {"n": int(twice.sum()), "all": answers}
    # Twice the variance of one grading is the variance of such a change, and of a difference between two other answers.
    sd = sqrt(differing * float(np.mean(changes**2)) / answers)
    shift = float(paired.share @ paired.difference)
    values: dict[str, Value] = {**counts, "shift": shift, "interval": own.ci90, "margin": test.margin}
    values |= {"deviation": sd, "share": differing}
    if test.point and abs(test.point) <= 2 * sd:
        values |= {"difference": test.point, "of": test.ci90}
    return _floor(paired, own, Reason("noise.judge", counts)), (Reason("note.judge_noise", values),)


def _differing(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned) -> float:
    """The share of cells that both sides answered whose texts differ; an unknown text differs from every other."""
    rows = aligned.reference.row[aligned.both[0]], aligned.candidate.row[aligned.both[1]]
    there = (rows[0] >= 0) & (rows[1] >= 0)
    if not there.any():
        return 1.0
    one, two = reference.samples.text[rows[0][there]], candidate.samples.text[rows[1][there]]
    return float(np.mean((one != two) | (one == NO_TEXT)))


_FEWER = 0.9  # of its items: with fewer that count, it is said how many do
_MOST_HEADINGS = 400  # a breakdown with more rows is no breakdown


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A suite's result with what it was made from, for the statements over all suites; None where there was none.

    `worst` is the test were what lacks a score all against the candidate, and all for it; empty where nothing lacks.
    """

    result: SuiteResult
    test: DifferenceTest | None
    aligned: Aligned | None
    worst: tuple[DifferenceTest, ...] = ()


def judge_suite(
    reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, policy: Policy, unequal: Reason | None
) -> Judged:
    """Judges one suite that both sides ran; `unequal` says where scores lack on one side more often than by chance."""
    name = reference.facts.suite
    margin = policy.margin(name, reference)
    invalid = [*policy.margin_conflict(name, reference.facts, candidate.facts)]
    invalid += validity.invalid_reasons(reference, candidate, aligned, policy.rules)
    invalid += [unequal] if unequal else []
    sides = _summaries(reference, candidate, aligned)
    without, noted = tuple(validity.lacking_reasons(*sides)), (*reference.facts.notes, *candidate.facts.notes)
    lacking = reference.facts.lacking, candidate.facts.lacking
    result = replace(
        _unjudged(name, reference, *sides, margin),
        reasons=validity.invalid_for(invalid, sides, lacking),
        coverage=aligned.coverage,
        gated=reference.facts.gated or candidate.facts.gated,
        data_digest=reference.facts.digests.get("data", ""),
        protocol_digest=reference.facts.digests.get("prompts", ""),
        notes=tuple(dict.fromkeys(noted)),
    )
    paired = aligned.paired
    if paired is None:
        return Judged(result, None, aligned)
    test = judge_difference(paired, margin, policy.level(name))
    own, told = judge_noise(reference, candidate, aligned, test)
    found = _against(policy.noise.get(name), margin), halves(aligned, margin, policy.alpha), own
    noise = next((one for one in found if one is not None), None)
    for one in found:  # each sees what the others cannot: a floor of another day says nothing of this bank
        invalid += noise_reasons(one, margin)
    cases = validity.worst_cases(aligned, test)
    waits = validity.open_reason(aligned, test, cases) or validity.blind_reason(test, sides[0], reference.facts.chance)
    needed = None
    if not invalid and test.decision is Verdict.INCONCLUSIVE:
        needed = needed_repeats(paired, test, (reference, candidate), sides, policy)
    notes = (*noted, *_notes(aligned, paired, noise, policy), *told)
    result = replace(
        _with_difference(result, aligned, paired, test),
        verdict=Verdict.INVALID if invalid else Verdict.INCONCLUSIVE if waits else test.decision,
        reasons=validity.invalid_for(invalid, sides, lacking)
        if invalid
        else (waits or reason_of(test, needed, anew=policy.look is not None),),
        needed_repeats=needed,
        noise_floor=None if noise is None else noise.interval,
        notes=tuple(dict.fromkeys(notes if invalid else (*notes, *without))),
    )
    return Judged(result, test, aligned, cases)


def _with_difference(result: SuiteResult, aligned: Aligned, paired: PairedItems, test: DifferenceTest) -> SuiteResult:
    return replace(
        result,
        n_items=paired.n_items,
        difference=test.point,
        ci90=test.ci90,
        ci95=test.ci95,
        p_tost=test.p_tost,
        p_difference=difference_test(paired)[0].two_sided,
        method=test.method,
        flips=count_flips(paired),
        breakdown=_breakdown(aligned, paired, test.alpha),
        variance_within=mean_within(paired.reference_k, paired.reference_var),
        variance_between=item_variance(paired),
    )


def absent_suite(name: str, side: SuiteSide, missing: str, policy: Policy) -> Judged:
    """The result for a suite that only one side ran; `missing` is "reference" or "candidate"."""
    full = summarise(side)
    empty = SideSummary(None, None, full.planned, 0, 0.0, {"not_asked": full.planned}, {})
    one, two = (empty, full) if missing == "reference" else (full, empty)
    reason = Reason("absent", {"side": missing, "n": len(side.samples.items)})
    return Judged(replace(_unjudged(name, side, one, two, policy.margin(name, side)), reasons=(reason,)), None, None)


def _unjudged(name: str, side: SuiteSide, one: SideSummary, two: SideSummary, margin: float) -> SuiteResult:
    """A result that says nothing yet but what a side says of the suite."""
    return SuiteResult(
        suite=name,
        label=side.facts.label,
        verdict=Verdict.INVALID,
        reasons=(),
        n_items=0,
        k_reference=one.k,
        k_candidate=two.k,
        reference=one,
        candidate=two,
        difference=None,
        ci90=None,
        ci95=None,
        margin=margin,
        p_tost=None,
        p_difference=None,
        method="",
        coverage=0.0,
        flips=Flips(0, 0, 0.0),
        headline=side.facts.headline,
        chance=side.facts.chance,
        gated=side.facts.gated,
        licence=side.facts.licence,
    )


def _summaries(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned) -> tuple[SideSummary, SideSummary]:
    """Both sides' numbers; means, errors and repeats over the paired items, so that they belong to the difference."""
    one = summarise(reference, len(aligned.reference) - len(reference.samples))
    two = summarise(candidate, len(aligned.candidate) - len(candidate.samples))
    paired = aligned.paired
    if paired is None:
        return one, two
    return (
        _over_pairs(one, paired.reference_mean, paired.reference_k, paired),
        _over_pairs(two, paired.candidate_mean, paired.candidate_k, paired),
    )


def _over_pairs(summary: SideSummary, means: FloatArray, k: IntArray, paired: PairedItems) -> SideSummary:
    estimate = clustered_mean(means, paired.traits)
    error = float(np.sqrt(estimate.variance))
    return replace(summary, mean=min(1.0, max(0.0, estimate.point)), standard_error=error, k=harmonic_mean(k))


def _notes(aligned: Aligned, paired: PairedItems, noise: NoiseFloor | None, policy: Policy) -> list[Reason]:
    notes = []
    if aligned.duplicates:
        notes.append(Reason("note.repeated", {"n": aligned.duplicates, "all": len(aligned.layout.items)}))
    alone = len(aligned.only_reference), len(aligned.only_candidate)
    if any(alone):
        notes.append(Reason("note.alone", {"one": alone[0], "two": alone[1]}))
    for name, side in (("reference", aligned.reference), ("candidate", aligned.candidate)):
        planned = np.bincount(side.item)
        if (least := int(planned[planned > 0].min())) < (most := int(planned.max())):
            notes.append(Reason("note.unequal", {"side": name, "least": least, "most": most}))
    alike = 1.0 / float(np.sum(paired.share**2))
    if alike < _FEWER * paired.n_items:
        largest = float(paired.share.max())
        notes.append(Reason("note.weights", {"n": paired.n_items, "alike": round(alike), "largest": largest}))
    if noise is not None:
        notes.append(Reason("note.noise", {"source": noise.source}))
    if policy.bank and np.any(paired.reference_k > 1):
        bank = measured_variance(paired).design
        k = harmonic_mean(paired.reference_k)
        notes.append(Reason("note.bank", {"k": k, "error": float(np.sqrt(bank.reference / k))}))
    return notes


def _breakdown(aligned: Aligned, paired: PairedItems, alpha: float) -> tuple[BreakdownRow, ...]:
    """One row a heading at every level under the suite and one a tag, for information; an item may have many tags."""
    members: dict[tuple[str, ...], list[int]] = {}
    for row, code in enumerate(paired.item.tolist()):
        path = aligned.layout.strata[code]
        for level in range(1, len(path) + 1):
            members.setdefault(path[:level], []).append(row)
        for tag in aligned.layout.tags[code] if aligned.layout.tags else ():
            members.setdefault(tag, []).append(row)
    if len(members) > _MOST_HEADINGS:
        return ()
    parts = {name: paired.select(np.asarray(members[name], dtype=np.int64)) for name in sorted(members)}
    parts = {name: part for name, part in parts.items() if part.weight.any()}
    found = _intervals([part for part in parts.values() if part.n_items > 1], 1.0 - 2.0 * alpha)
    rows = []
    for heading, part in parts.items():
        share = part.share
        one, two = float(share @ part.reference_mean), float(share @ part.candidate_mean)
        interval = next(found) if part.n_items > 1 else None
        rows.append(BreakdownRow(heading, part.n_items, one, two, two - one, interval))
    return tuple(rows)


def _intervals(parts: list[PairedItems], level: float) -> Iterator[Interval]:
    """The intervals that `judge_difference` would give, all at once: a breakdown has many rows."""
    if parts:
        low, high = intervals(Evidence.together([Evidence.of(part) for part in parts]), level)
        yield from (Interval(one, two, level) for one, two in zip(low.tolist(), high.tolist(), strict=True))
