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
from evalkit.compare.validity import imputation_reasons, invalid_reasons, lacking_reasons
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

# ---------------------------------------------------------------- why a verdict: the numbers that decided


def reason_of(test: DifferenceTest, needed: NeededRepeats | None) -> Reason:
    """Why a suite that may be judged got its verdict."""
    values: dict[str, Value] = {"interval": test.ci90, "margin": test.margin}
    if test.decision is Decision.EQUIVALENT:
        excludes_zero = test.ci90.low > 0 or test.ci90.high < 0
        return Reason("equivalent.differs" if excludes_zero else "equivalent", values)
    if test.decision is Decision.DEGRADED:
        return Reason("degraded", values)
    if test.decision is Decision.ELEVATED:
        return Reason("elevated", values)
    told = None if needed is None else what_would_decide(needed)
    if told is not None:
        values["needed"] = told
    if not test.leans:
        return Reason("inconclusive", values)
    return Reason("inconclusive.worse" if test.point < 0 else "inconclusive.better", values)


def what_would_decide(needed: NeededRepeats) -> Reason | None:
    """The repeats with their cost, or why none would."""
    if needed.repeats is None:
        return needed.note
    known = {"samples": needed.samples, "tokens": needed.completion_tokens}
    cost = {name: number for name, number in known.items() if number is not None}
    return Reason("needed.repeats", {"repeats": needed.repeats, "power": needed.power, **cost})


def overall_reasons(
    verdicts: list[tuple[str, Verdict]], verdict: Verdict, unconfirmed: list[str]
) -> tuple[Reason, ...]:
    """Why the comparison got its verdict: `verdicts` are (label, verdict) of every suite.

    `unconfirmed` are suites outside their margin whose alarm does not survive the correction for several suites.
    """
    if not verdicts:
        return (Reason("overall.empty"),)
    alone, total = len(verdicts) == 1, len(verdicts)
    if verdict is Verdict.EQUIVALENT:
        return (Reason("overall.equivalent_one") if alone else Reason("overall.equivalent", {"n": total}),)
    found = []
    for kind in (Verdict.INVALID, Verdict.DEGRADED, Verdict.ELEVATED, Verdict.INCONCLUSIVE):
        labels = tuple(label for label, one in verdicts if one is kind)
        about: dict[str, Value] = {"verdict": kind.value, "labels": labels}
        if labels and alone:
            found.append(Reason("overall.verdict_one", about))
        elif labels:
            found.append(Reason("overall.verdict", {**about, "n": len(labels), "all": total}))
    if unconfirmed:
        found.append(Reason("overall.unconfirmed", {"labels": tuple(unconfirmed), "n": total}))
    return tuple(found)


# ---------------------------------------------------------------- what an undecided suite still needs


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
    asked = summaries[1:] if policy.bank else summaries
    samples = found.repeats * paired.n_items
    lengths = [side.completion_tokens_mean for side in asked]
    known = [length for length in lengths if length is not None]
    tokens = round(samples * sum(known)) if len(known) == len(lengths) else None
    note = found.note if bank is None else Reason(found.note.code, {**found.note.values, "bank": bank})
    return NeededRepeats(found.repeats, samples * len(asked), tokens, policy.power, note)


# ---------------------------------------------------------------- one side of one suite in numbers


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


# ---------------------------------------------------------------- the judgment


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
    invalid: tuple[Reason, ...]
    needed: NeededRepeats | None
    noise: NoiseFloor | None
    notes: tuple[Reason, ...]


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
    notes = (*_notes(aligned, paired, noise, policy), *(() if own is None else (own.note(test),)))
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
        reasons=(Reason("absent", {"side": missing, "n": len(side.samples.items)}),),
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


def _notes(aligned: Aligned, paired: PairedItems, noise: NoiseFloor | None, policy: Policy) -> list[Reason]:
    notes = []
    if aligned.duplicates:
        notes.append(Reason("note.repeated", {"n": aligned.duplicates, "all": len(aligned.layout.items)}))
    alone = len(aligned.only_reference), len(aligned.only_candidate)
    if any(alone):
        notes.append(Reason("note.alone", {"one": alone[0], "two": alone[1]}))
    if noise is not None:
        notes.append(Reason("note.noise", {"source": noise.source}))
    if policy.bank and np.any(paired.reference_k > 1):
        bank = measured_variance(paired).design
        k = harmonic_mean(paired.reference_k)
        notes.append(Reason("note.bank", {"k": k, "error": float(np.sqrt(bank.reference / k))}))
    return notes


def _result(name: str, left: SuiteSide, right: SuiteSide, found: _Findings) -> SuiteResult:
    paired, test = found.aligned.paired, found.test
    one, two = found.sides
    reasons, notes = found.invalid, (*left.facts.notes, *right.facts.notes, *found.notes)
    without = tuple(lacking_reasons(one, two))
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
