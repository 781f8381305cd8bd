"""Why the gate passed or failed: every suite's verdict with its reason, and the verdict over all suites.

A suite that breaks a rule of `validity.py` is INVALID. Otherwise the 90 % interval of the paired difference decides:
inside the margin EQUIVALENT, wholly below DEGRADED, wholly above ELEVATED, anything else INCONCLUSIVE. The comparison
takes the gravest verdict of its suites; one without suites is INVALID, never a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from evalkit import __version__
from evalkit.compare.inputs import Side, SuiteSide
from evalkit.compare.pair import Aligned, align
from evalkit.compare.summary import summarise
from evalkit.compare.validity import Rules, invalid_reasons
from evalkit.model import (
    BreakdownRow,
    Comparison,
    Difference,
    Flips,
    Macro,
    SuiteResult,
    Verdict,
)
from evalkit.stats.clustered import Layout, clustered_mean
from evalkit.stats.equivalence import Decision, DifferenceTest, judge_difference
from evalkit.stats.multiplicity import SuiteDifference, macro_mean
from evalkit.stats.paired import PairedItems
from evalkit.stats.secondary import count_flips, split_variance
from evalkit.stats.signflip import difference_test

DEFAULT_MARGIN_PT = 2.0
_ORDER = (Verdict.INVALID, Verdict.DEGRADED, Verdict.ELEVATED, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)


@dataclass(frozen=True, slots=True)
class Policy:
    """How strictly to judge. `margins` are fractions by suite and stand over the runs' own; `alpha` is one-sided."""

    alpha: float = 0.05
    margins: Mapping[str, float] = field(default_factory=dict)
    default_margin: float | None = None
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A suite's result with the test behind it, for the statements over all suites."""

    result: SuiteResult
    test: DifferenceTest | None


def compare(
    reference: Side, candidate: Side, policy: Policy, created: str, differences: tuple[Difference, ...] = ()
) -> Comparison:
    """Pairs and judges two sides; `created` is the moment as ISO 8601 text, `differences` those of their settings."""
    names = list(dict.fromkeys([*reference.suites, *candidate.suites]))
    judged = [_judge_suite(name, reference, candidate, policy) for name in names]
    results = tuple(one.result for one in judged)
    verdict = next((v for v in _ORDER if any(r.verdict is v for r in results)), Verdict.INVALID)
    return Comparison(
        reference=reference.identity,
        candidate=candidate.identity,
        suites=results,
        verdict=verdict,
        exit_code=verdict.exit_code,
        reasons=_overall_reasons(results, verdict),
        macro=_macro(judged, policy.alpha),
        differences=differences,
        alpha=policy.alpha,
        created=created,
        evalkit_version=__version__,
        notes=(*reference.notes, *candidate.notes),
    )


def _overall_reasons(results: tuple[SuiteResult, ...], verdict: Verdict) -> tuple[str, ...]:
    if not results:
        return ("no suite was compared: an empty gate is no pass",)
    deciding = [result.label for result in results if result.verdict is verdict]
    if verdict is Verdict.EQUIVALENT:
        return (f"all {len(results)} suites are shown equivalent within their margins",)
    return (f"{len(deciding)} of {len(results)} suites: {', '.join(deciding)}",)


def _judge_suite(name: str, reference: Side, candidate: Side, policy: Policy) -> _Judged:
    left, right = reference.suites.get(name), candidate.suites.get(name)
    if left is None or right is None:
        present = right if left is None else left
        assert present is not None  # noqa: S101 - the name came from one of the two
        side = "reference" if left is None else "candidate"
        return _Judged(_absent(name, present, side, policy), None)
    aligned = align(left, right)
    margin = _margin(name, left, policy)
    reasons = [*_margin_conflict(name, left, right, policy)]
    reasons += invalid_reasons(left, right, aligned, policy.rules)
    if aligned.paired is None:
        return _Judged(_result(name, left, right, aligned, margin, None, reasons), None)
    test = judge_difference(aligned.paired, margin, policy.alpha)
    if not reasons:
        reasons += _imputation(aligned, test, policy)
    return _Judged(_result(name, left, right, aligned, margin, test, reasons), test)


def _margin(name: str, side: SuiteSide, policy: Policy) -> float:
    if name in policy.margins:
        return policy.margins[name]
    if policy.default_margin is not None:
        return policy.default_margin
    return DEFAULT_MARGIN_PT / 100 if side.facts.margin is None else side.facts.margin


def _margin_conflict(name: str, left: SuiteSide, right: SuiteSide, policy: Policy) -> list[str]:
    one, two = left.facts.margin, right.facts.margin
    if name in policy.margins or policy.default_margin is not None or one is None or two is None or one == two:
        return []
    return [f"the two sides name different margins, {one * 100:g} and {two * 100:g} points: choose one"]


def _imputation(aligned: Aligned, test: DifferenceTest, policy: Policy) -> list[str]:
    """What is missing counts against the candidate, then for it: a verdict that changes does not stand."""
    missing = [int(np.isnan(scores.score).sum()) for scores in (aligned.reference, aligned.candidate)]
    if not any(missing):
        return []
    from evalkit.stats.paired import pair_scores

    for reference_value, candidate_value in ((1.0, 0.0), (0.0, 1.0)):
        filled = pair_scores(
            replace(aligned.reference, score=np.nan_to_num(aligned.reference.score, nan=reference_value)),
            replace(aligned.candidate, score=np.nan_to_num(aligned.candidate.score, nan=candidate_value)),
            aligned.traits,
        )
        other = judge_difference(filled, test.margin, policy.alpha)
        if other.decision is not test.decision:
            sentence = (
                f"{missing[0]} samples of the reference and {missing[1]} of the candidate have no score, and the worst "
                f"case of them would turn {test.decision.value} into {other.decision.value}"
            )
            return [sentence]
    return []


def _absent(name: str, side: SuiteSide, missing: str, policy: Policy) -> SuiteResult:
    empty = replace(summarise(side, None), mean=None, planned=0, valued=0, k=0.0, counts={}, failures={})
    full = summarise(side, None)
    return SuiteResult(
        suite=name,
        label=side.facts.label,
        verdict=Verdict.INVALID,
        reasons=(f"the {missing} did not run this suite",),
        n_items=0,
        k_reference=0.0 if missing == "reference" else full.k,
        k_candidate=0.0 if missing == "candidate" else full.k,
        reference=empty if missing == "reference" else full,
        candidate=empty if missing == "candidate" else full,
        difference=None,
        ci90=None,
        ci95=None,
        margin=_margin(name, side, policy),
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


def _result(  # noqa: PLR0913, PLR0917 - the parts of one result, joined in one place
    name: str,
    left: SuiteSide,
    right: SuiteSide,
    aligned: Aligned,
    margin: float,
    test: DifferenceTest | None,
    invalid: list[str],
) -> SuiteResult:
    paired = aligned.paired
    errors = (None, None) if paired is None else _standard_errors(paired)
    one, two = summarise(left, errors[0]), summarise(right, errors[1])
    split = split_variance(paired) if paired is not None else None
    verdict = Verdict.INVALID if invalid or test is None else Verdict[test.decision.name]
    return SuiteResult(
        suite=name,
        label=left.facts.label,
        verdict=verdict,
        reasons=tuple(invalid) or (() if test is None else (_reason(test, margin),)),
        n_items=0 if paired is None else paired.n_items,
        k_reference=one.k,
        k_candidate=two.k,
        reference=one,
        candidate=two,
        difference=None if test is None else test.point,
        ci90=None if test is None else test.ci90,
        ci95=None if test is None else test.ci95,
        margin=margin,
        p_tost=None if test is None else test.p_tost,
        p_difference=None if paired is None else difference_test(paired)[0].two_sided,
        method="" if test is None else test.method,
        coverage=aligned.coverage,
        flips=Flips(0, 0, 0.0) if paired is None else count_flips(paired),
        breakdown=() if paired is None else _breakdown(aligned, paired),
        headline=left.facts.headline,
        chance=left.facts.chance,
        gated=left.facts.gated,
        licence=left.facts.licence,
        data_digest=left.facts.digests.get("data", ""),
        protocol_digest=left.facts.digests.get("prompts", ""),
        variance_within=None if split is None else split.within_reference,
        variance_between=None if split is None else split.between,
        notes=tuple(dict.fromkeys((*left.facts.notes, *right.facts.notes))),
    )


def _standard_errors(paired: PairedItems) -> tuple[float, float]:
    layout = Layout.of(paired)
    return (
        float(np.sqrt(clustered_mean(paired.reference_mean, layout).variance)),
        float(np.sqrt(clustered_mean(paired.candidate_mean, layout).variance)),
    )


def _reason(test: DifferenceTest, margin: float) -> str:
    low, high, m = test.ci90.low * 100, test.ci90.high * 100, margin * 100
    interval = f"the interval {low:+.2f} … {high:+.2f} points"
    if test.decision is Decision.EQUIVALENT:
        note = " (0 is outside it: a real difference, but within tolerance)" if low > 0 or high < 0 else ""
        return f"{interval} lies inside ±{m:g}{note}"
    if test.decision is Decision.DEGRADED:
        return f"{interval} lies wholly below -{m:g}"
    if test.decision is Decision.ELEVATED:
        return f"{interval} lies wholly above +{m:g}: suspect another prompt, scorer, token limit or data set"
    leaning = "" if not test.leans else f"; leaning {'worse' if test.point < 0 else 'better'}"
    return f"{interval} is not inside ±{m:g} and not wholly outside it{leaning}"


def _breakdown(aligned: Aligned, paired: PairedItems) -> tuple[BreakdownRow, ...]:
    """One row a heading at every level under the suite, for information."""
    members: dict[tuple[str, ...], list[int]] = {}
    for row, code in enumerate(paired.item.tolist()):
        path = aligned.strata[code]
        for level in range(1, len(path) + 1):
            members.setdefault(path[:level], []).append(row)
    rows = []
    for heading in sorted(members):
        part = paired.select(np.asarray(members[heading], dtype=np.int64))
        share = part.share
        one, two = float(share @ part.reference_mean), float(share @ part.candidate_mean)
        interval = judge_difference(part, 0.0).ci90 if part.n_items > 1 else None
        rows.append(BreakdownRow(heading, part.n_items, one, two, two - one, interval))
    return tuple(rows)


def _macro(judged: list[_Judged], alpha: float) -> Macro | None:
    tests = [(one.result, one.test) for one in judged if one.test is not None]
    if len(tests) != len(judged) or not tests:
        return None
    macro = macro_mean([SuiteDifference(test.point, test.se, test.df) for _result, test in tests], alpha)
    worst = min(tests, key=lambda pair: pair[1].point)
    means = [(r.reference.mean or 0.0, r.candidate.mean or 0.0) for r, _test in tests]
    return Macro(
        reference=sum(one for one, _two in means) / len(means),
        candidate=sum(two for _one, two in means) / len(means),
        difference=macro.point,
        ci90=macro.interval,
        suites=len(tests),
        worst_suite=worst[0].suite,
        worst_difference=worst[1].point,
    )
