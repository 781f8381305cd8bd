"""The judgment on one suite: may it be judged at all, what does the interval say, and what belongs beside it.

A suite that breaks a rule of `validity.py` is INVALID. Otherwise the 90 % interval of the paired difference decides:
inside the margin EQUIVALENT, wholly below DEGRADED, wholly above ELEVATED, anything else INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import Samples, SuiteSide
from evalkit.compare.noise import halves, judge_noise, noise_reasons
from evalkit.compare.pair import Aligned, align, headline
from evalkit.compare.policy import NoiseFloor, Policy
from evalkit.compare.validity import imputation_reasons, invalid_reasons, lacking_sentences
from evalkit.model import BreakdownRow, Flips, Interval, NeededRepeats, SideSummary, Status, SuiteResult, Verdict
from evalkit.stats.methods import (
    Decision,
    DifferenceTest,
    Evidence,
    count_flips,
    difference_test,
    intervals,
    judge_difference,
)
from evalkit.stats.paired import (
    FloatArray,
    IntArray,
    PairedItems,
    clustered_mean,
    harmonic_mean,
    median,
    quantile,
)
from evalkit.stats.power import repeats_to_decide
from evalkit.stats.variance import item_variance, mean_within, measured_variance

# ----------------------------------------------------------------
# Verdicts in words: one sentence each, with the numbers that decided


def reason_of(test: DifferenceTest, needed: NeededRepeats | None) -> str:
    """Why a suite that may be judged got its verdict."""
    low, high, m = test.ci90.low * 100, test.ci90.high * 100, test.margin * 100
    interval = f"the {100 * (1 - 2 * test.alpha):g} % interval {low:+.2f} … {high:+.2f} points"
    if test.decision is Decision.EQUIVALENT:
        note = " (0 is outside it: a real difference, but within tolerance)" if low > 0 or high < 0 else ""
        return f"{interval} lies inside ±{m:g}{note}"
    if test.decision is Decision.DEGRADED:
        return f"{interval} lies wholly below -{m:g}"
    if test.decision is Decision.ELEVATED:
        return f"{interval} lies wholly above +{m:g}: suspect another prompt, scorer, token limit or data set"
    leaning = f", leaning {'worse' if test.point < 0 else 'better'}" if test.leans else ""
    then = f"; {_what_would_decide(needed)}" if needed is not None else ""
    return f"{interval} is neither inside ±{m:g} nor wholly outside it{leaning}{then}"


def _what_would_decide(needed: NeededRepeats) -> str:
    if needed.repeats is None:
        return needed.note
    tokens = "" if needed.completion_tokens is None else f", about {amount(needed.completion_tokens)} tokens"
    samples = "" if needed.samples is None else f" ({needed.samples:,} samples{tokens})"
    return f"{needed.repeats} repeats of every item{samples} would decide with {needed.power * 100:g} % power"


def amount(number: float) -> str:
    """A large number for people: 950, 12 k, 3.4 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def overall_reasons(verdicts: list[tuple[str, Verdict]], verdict: Verdict, unconfirmed: list[str]) -> tuple[str, ...]:
    """Why the comparison got its verdict: `verdicts` are (label, verdict) of every suite.

    `unconfirmed` are suites outside their margin whose alarm does not survive the correction for several suites.
    """
    if not verdicts:
        return ("no suite was compared: an empty gate is no pass",)
    if verdict is Verdict.EQUIVALENT:
        count = "the only suite is" if len(verdicts) == 1 else f"all {len(verdicts)} suites are"
        return (f"{count} shown equivalent within the margin",)
    found = []
    for kind in (Verdict.INVALID, Verdict.DEGRADED, Verdict.ELEVATED, Verdict.INCONCLUSIVE):
        labels = [label for label, one in verdicts if one is kind]
        if labels:
            count = "the only suite is" if len(verdicts) == 1 else f"{len(labels)} of {len(verdicts)} suites"
            found.append(f"{count} {kind.value}: {', '.join(labels)}")
    if unconfirmed:
        suites = f"{len(verdicts)} suites"
        found.append(
            f"{', '.join(unconfirmed)}: outside the margin, but not after Holm's correction for {suites}: "
            "run again with other seeds"
        )
    return tuple(found)


# ----------------------------------------------------------------
# What an undecided suite still needs: repeats, samples and tokens, from the run's own variances and lengths


_GREEDY = (
    "greedy answers repeat themselves, so asking again cannot decide: ask more items, widen the margin, or sample "
    "(temperature above 0) with repeats"
)


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
        return NeededRepeats(None, None, None, policy.power, _GREEDY)
    bank = harmonic_mean(paired.reference_k) if policy.bank else None
    found = repeats_to_decide(paired, test, policy.power, bank_repeats=bank)
    if found.repeats is None:
        return NeededRepeats(None, None, None, policy.power, found.note)
    asked = summaries[1:] if policy.bank else summaries
    samples = found.repeats * paired.n_items
    lengths = [side.completion_tokens_mean for side in asked]
    known = [length for length in lengths if length is not None]
    tokens = round(samples * sum(known)) if len(known) == len(lengths) else None
    note = f"{found.note}; against the stored reference of {bank:g} repeats" if bank is not None else found.note
    return NeededRepeats(found.repeats, samples * len(asked), tokens, policy.power, note)


# ----------------------------------------------------------------
# One side of one suite in numbers: counts by status, failures, tokens, latency; all beside the headline


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
    asked = counts[counts > 0]
    return float(asked.size / np.sum(1.0 / asked)) if asked.size else 0.0


# ----------------------------------------------------------------
# The judgment on one suite: may it be judged at all, what does the interval say, and what belongs beside it
# A suite that breaks a rule of `validity.py` is INVALID. Otherwise the 90 % interval of the paired difference decides:
# inside the margin EQUIVALENT, wholly below DEGRADED, wholly above ELEVATED, anything else INCONCLUSIVE.


_MOST_HEADINGS = 400  # a breakdown with more rows is no breakdown


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A suite's result with what it was made from, for the statements over all suites; None where there was none."""

    result: SuiteResult
    test: DifferenceTest | None
    aligned: Aligned | None


@dataclass(frozen=True, slots=True, eq=False)
class _Findings:
    """The parts of one result, while it is put together."""

    margin: float
    alpha: float
    aligned: Aligned
    sides: tuple[SideSummary, SideSummary]
    test: DifferenceTest | None
    invalid: tuple[str, ...]
    needed: NeededRepeats | None
    noise: NoiseFloor | None
    notes: tuple[str, ...]


def judge_suite(name: str, reference: SuiteSide, candidate: SuiteSide, policy: Policy) -> Judged:
    """Pairs and judges one suite that both sides ran."""
    aligned = align(reference, candidate)
    margin = policy.margin(name, reference)
    invalid = [*policy.margin_conflict(name, reference, candidate)]
    invalid += invalid_reasons(reference, candidate, aligned, policy.rules)
    one, two = _summaries(reference, candidate, aligned)
    paired = aligned.paired
    if paired is None:
        found = _Findings(margin, policy.alpha, aligned, (one, two), None, tuple(invalid), None, None, ())
        return Judged(_result(name, reference, candidate, found), None, aligned)
    test = judge_difference(paired, margin, policy.alpha)
    own = judge_noise(reference, candidate, aligned, margin, policy.alpha)
    noise = policy.noise.get(name) or halves(aligned, margin, policy.alpha) or (own.floor if own else None)
    invalid += noise_reasons(noise, margin)
    if own is not None and noise is not own.floor:
        invalid += noise_reasons(own.floor, margin)
    if not invalid:
        invalid += imputation_reasons(aligned, test)
    needed = None
    if not invalid and test.decision is Decision.INCONCLUSIVE:
        needed = needed_repeats(paired, test, (reference, candidate), (one, two), policy)
    notes = (*_notes(aligned, paired, noise, policy), *(() if own is None else (own.sentence(test.point),)))
    found = _Findings(margin, policy.alpha, aligned, (one, two), test, tuple(invalid), needed, noise, notes)
    return Judged(_result(name, reference, candidate, found), test, aligned)


def absent_suite(name: str, side: SuiteSide, missing: str, policy: Policy) -> Judged:
    """The result for a suite that only one side ran; `missing` is "reference" or "candidate"."""
    full = summarise(side)
    empty = SideSummary(None, None, full.planned, 0, 0.0, {"not_asked": full.planned}, {})
    one, two = (empty, full) if missing == "reference" else (full, empty)
    result = SuiteResult(
        suite=name,
        label=side.facts.label,
        verdict=Verdict.INVALID,
        reasons=(f"the {missing} did not run this suite: 0 of its {len(side.samples.items)} items can be paired",),
        n_items=0,
        k_reference=one.k,
        k_candidate=two.k,
        reference=one,
        candidate=two,
        difference=None,
        ci90=None,
        ci95=None,
        margin=policy.margin(name, side),
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
    return Judged(result, None, None)


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


def _notes(aligned: Aligned, paired: PairedItems, noise: NoiseFloor | None, policy: Policy) -> list[str]:
    notes = []
    if aligned.duplicates:
        notes.append(
            f"{aligned.duplicates} of {len(aligned.layout.items)} items repeat the question of another one and count "
            "as one cluster with it"
        )
    alone = len(aligned.only_reference) + len(aligned.only_candidate)
    if alone:
        notes.append(
            f"{len(aligned.only_reference)} items are only in the reference, {len(aligned.only_candidate)} only in the "
            "candidate; they count as missing pairs"
        )
    if noise is not None:
        notes.append(f"noise floor: {noise.source}")
    if policy.bank and np.any(paired.reference_k > 1):
        bank = measured_variance(paired).design
        k = harmonic_mean(paired.reference_k)
        notes.append(
            f"the reference is a stored bank of {k:.3g} repeats; its own standard error of "
            f"{np.sqrt(bank.reference / k) * 100:.2f} points is part of the interval"
        )
    return notes


def _result(name: str, left: SuiteSide, right: SuiteSide, found: _Findings) -> SuiteResult:
    paired, test = found.aligned.paired, found.test
    one, two = found.sides
    reasons, notes = found.invalid, (*left.facts.notes, *right.facts.notes, *found.notes)
    without = tuple(lacking_sentences(one, two))
    if reasons:
        reasons = (*reasons, *without)
    else:
        notes = (*notes, *without)
        if test is not None:
            reasons = (reason_of(test, found.needed),)
    return SuiteResult(
        suite=name,
        label=left.facts.label,
        verdict=Verdict.INVALID if found.invalid or test is None else Verdict[test.decision.name],
        reasons=reasons,
        n_items=0 if paired is None else paired.n_items,
        k_reference=one.k,
        k_candidate=two.k,
        reference=one,
        candidate=two,
        difference=None if test is None else test.point,
        ci90=None if test is None else test.ci90,
        ci95=None if test is None else test.ci95,
        margin=found.margin,
        p_tost=None if test is None else test.p_tost,
        p_difference=None if paired is None else difference_test(paired)[0].two_sided,
        method="" if test is None else test.method,
        coverage=found.aligned.coverage,
        flips=Flips(0, 0, 0.0) if paired is None else count_flips(paired),
        needed_repeats=found.needed,
        noise_floor=None if found.noise is None else found.noise.interval,
        breakdown=() if paired is None else _breakdown(found.aligned, paired, found.alpha),
        headline=left.facts.headline,
        chance=left.facts.chance,
        gated=left.facts.gated or right.facts.gated,
        licence=left.facts.licence,
        data_digest=left.facts.digests.get("data", ""),
        protocol_digest=left.facts.digests.get("prompts", ""),
        variance_within=None if paired is None else mean_within(paired.reference_k, paired.reference_var),
        variance_between=None if paired is None else item_variance(paired),
        notes=tuple(dict.fromkeys(notes)),
    )


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
