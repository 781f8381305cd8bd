"""What a comparison of several suites claims, in two tiers: their mean within a margin, and each within a guard.

Whoever asks "is it the same model" asks for the mean; a guard, each suite's own margin, is for what breaks one alone.
"All are equivalent" needs no correction for their number (R. L. Berger's intersection-union test); an alarm does: a row
is DEGRADED or ELEVATED only where Holm's correction over all rows leaves it so, and the word that is left is the only
one that anything prints. A further row of a suite (p(gold)) is a guard, too, and no part of the mean. One INVALID suite
makes the comparison INVALID, and so does an empty set: it is never a pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.compare.validity import Policy, suite_of
from evalkit.compare.verdict import Judged, reason_of
from evalkit.model import Macro, Reason, Value, Verdict
from evalkit.stats.methods import DifferenceTest
from evalkit.stats.multiplicity import holm, macro_test

ALARMS = (Verdict.DEGRADED, Verdict.ELEVATED)


@dataclass(frozen=True, slots=True)
class Tiers:
    """All suites with the verdicts that hold among so many, the overall row (None for fewer than two), the verdict."""

    judged: tuple[Judged, ...]
    macro: Macro | None
    verdict: Verdict


def tiers(judged: Sequence[Judged], overall_margin: float, policy: Policy, conflict: Reason | None = None) -> Tiers:
    """Both tiers of these suites; `overall_margin` is a fraction, `conflict` says why the mean must not be judged."""
    valid = [(one, one.test) for one in judged if one.test is not None and one.result.verdict is not Verdict.INVALID]
    if len(valid) < 2:
        return Tiers(tuple(judged), None, Verdict.over(one.result.verdict for one in judged))
    suites = [(one, test) for one, test in valid if not one.result.row_of]
    tests, mean = {one.result.suite: test for one, test in valid}, None
    if len(suites) > 1:
        mean = macro_test([(test.point, test.se, test.df) for _one, test in suites], overall_margin, policy.level(""))
        tests[""] = mean
    lost = dict(zip(tests, _uncorrected(tests, policy), strict=True))
    held = tuple(_corrected(one, lost.get(one.result.suite)) for one in judged)
    if mean is None:
        return Tiers(held, None, Verdict.over(one.result.verdict for one in held))
    kept = None if policy.look is None else policy.look.kept
    macro = kept or _overall_row(suites, mean, lost[""] or _open(suites, mean))
    asked = [one.result for one in judged if not one.result.row_of]
    if invalid := tuple(one.label for one in asked if one.verdict is Verdict.INVALID):
        conflict = Reason("overall.lacks", {"labels": invalid, "n": len(invalid), "all": len(asked)})
    if conflict is not None:
        macro = replace(macro, verdict=Verdict.INVALID, reasons=(conflict,))
    return Tiers(held, macro, Verdict.over([macro.verdict, *(one.result.verdict for one in held)]))


def _uncorrected(rows: Mapping[str, DifferenceTest], policy: Policy) -> list[Reason | None]:
    """For each row, which alarm it would be by itself and is not among so many; None where nothing is taken from it."""
    tests, look, alpha = list(rows.values()), policy.look, policy.alpha
    adjusted = holm([test.p_alarm for test in tests])
    if look is not None:
        adjusted, alpha = (
            holm([min(1.0, rows[name].p_alarm * look.scales[suite_of(name)]) for name in rows]),
            look.alarm,
        )
    return [
        Reason("uncorrected", {**_said(test), "verdict": test.decision.value, "n": len(tests), "p": float(p)})
        if test.decision in ALARMS and p > alpha
        else None
        for test, p in zip(tests, adjusted, strict=True)
    ]


def _said(test: DifferenceTest) -> dict[str, Value]:
    return {"interval": test.ci90, "margin": test.margin}


def _open(valid: Sequence[tuple[Judged, DifferenceTest]], mean: DifferenceTest) -> Reason | None:
    """Why the mean must wait for what was not answered: the worst case of all suites together says otherwise."""
    if mean.decision is Verdict.INCONCLUSIVE or not any(one.worst for one, _test in valid):
        return None
    for case in range(2):
        tests = [one.worst[case] if one.worst else test for one, test in valid]
        other = macro_test([(test.point, test.se, test.df) for test in tests], mean.margin, mean.alpha)
        if other.decision is not mean.decision:
            turned = {"verdict": mean.decision.value, "other": other.decision.value}
            return Reason("missing.decide_mean", {**turned, **_said(other)})
    return None


def _corrected(one: Judged, lost: Reason | None) -> Judged:
    """The suite as it stands among the others; `lost` says which alarm Holm's correction took from it."""
    if lost is None or one.result.verdict not in ALARMS:
        return one
    reasons = (lost, *one.result.reasons[1:])
    return replace(one, result=replace(one.result, verdict=Verdict.INCONCLUSIVE, reasons=reasons))


def _overall_row(valid: Sequence[tuple[Judged, DifferenceTest]], mean: DifferenceTest, lost: Reason | None) -> Macro:
    """The mean as a row; `lost` says why it is INCONCLUSIVE whatever its interval says."""
    worst, test = max(valid, key=lambda one: (abs(one[1].point) - one[1].margin, one[0].result.suite))
    sides = [(one.result.reference.mean or 0.0, one.result.candidate.mean or 0.0) for one, _test in valid]
    return Macro(
        reference=sum(one for one, _two in sides) / len(sides),
        candidate=sum(two for _one, two in sides) / len(sides),
        difference=mean.point,
        ci90=mean.ci90,
        suites=len(valid),
        worst_suite=worst.result.suite,
        worst_difference=test.point,
        margin=mean.margin,
        verdict=mean.decision if lost is None else Verdict.INCONCLUSIVE,
        reasons=(reason_of(mean, None) if lost is None else lost,),
    )


def overall_reasons(found: Tiers) -> tuple[Reason, ...]:
    """Why the comparison got its verdict: the overall row first, then the suites by verdict, the gravest first."""
    if not found.judged:
        return (Reason("overall.empty"),)
    verdicts = [(one.result.label, one.result.verdict) for one in found.judged]
    suites = sum(not one.result.row_of for one in found.judged)
    alone = len(verdicts) == 1
    if found.verdict is Verdict.EQUIVALENT:
        if found.macro is None:
            return (Reason("overall.equivalent_one"),)
        return (Reason("overall.equivalent", {"n": suites, "margin": found.macro.margin}),)
    reasons: list[Reason] = []
    invalid = Verdict.INVALID in (verdict for _label, verdict in verdicts)
    if found.macro is not None and found.macro.verdict is Verdict.INVALID:
        reasons += () if invalid else found.macro.reasons
    elif found.macro is not None:
        reasons.append(Reason("overall.mean", {"n": found.macro.suites, "verdict": found.macro.verdict.value}))
    for kind in (Verdict.INVALID, *ALARMS, Verdict.INCONCLUSIVE):
        labels = tuple(label for label, one in verdicts if one is kind)
        about: dict[str, Value] = {"verdict": kind.value, "labels": labels}
        if labels and alone:
            reasons.append(Reason("overall.verdict_one", about))
        elif labels:
            about |= {"n": len(labels), "all": len(verdicts)}
            further = suites < len(verdicts)
            reasons.append(Reason("overall.verdict_rows", about) if further else Reason("overall.verdict", about))
    return tuple(reasons)
