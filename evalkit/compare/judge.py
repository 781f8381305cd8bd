"""Why the gate passed or failed: every suite's verdict with its reason, and what they say together (`tiers.py`)."""

from dataclasses import replace

from evalkit.compare.behaviour import behaviour_of
from evalkit.compare.clusters import cluster_notes
from evalkit.compare.columns import Side, SuiteSide
from evalkit.compare.crosstalk import crossed_row
from evalkit.compare.flips import Shown, describe, find_flips
from evalkit.compare.options import p_gold_row
from evalkit.compare.pair import align
from evalkit.compare.tiers import overall_reasons, tiers
from evalkit.compare.validity import Policy, unequal_failures
from evalkit.compare.verdict import Judged, absent_suite, judge_suite
from evalkit.model import Comparison, Difference, Flip, Reason, RunIdentity, Verdict
from evalkit.resources import __version__

_FAULTS = ("crossed_answers", "garbage_answers", "canned_answers", "replayed_answers")
"""Rows of what no model does, whatever it is worth: said beside any verdict."""
_SILENT = ("empty_answers", "tool_calls", "refusals", "reasoning_only_answers")
"""Rows of replies without an answer: said first of a suite where a side has it for every second question."""


def compare(
    reference: Side, candidate: Side, policy: Policy, created: str, differences: tuple[Difference, ...] = ()
) -> Comparison:
    """Pairs and judges two sides; `created` is the moment as ISO 8601 text, `differences` those of their settings.

    What stopped a side comes first among the reasons; where it left the side without any answer, no suite is judged.
    """
    stopped = tuple(side.stopped for side in (reference, candidate) if side.stopped is not None)
    notes = tuple(dict.fromkeys((*reference.notes, *candidate.notes)))
    if any(cause.values["n"] == 0 for cause in stopped):
        made = not_asked((reference.identity, candidate.identity), Verdict.INVALID, stopped, policy, created)
        return replace(made, differences=differences, notes=notes)
    names = list(dict.fromkeys([*reference.suites, *candidate.suites]))
    sides = reference, candidate
    both = [name for name in names if name in reference.suites and name in candidate.suites]
    aligned = {name: align(reference.suites[name], candidate.suites[name]) for name in both}
    policy = replace(policy, rules=policy.rules.among(len(aligned)))
    unequal = unequal_failures(aligned, (reference.suites, candidate.suites), policy.rules.failure_alpha)
    clustered = cluster_notes(reference, candidate, aligned)
    judged: list[Judged] = []
    for name in names:
        if name not in aligned:
            judged.append(_absent(name, sides, policy))
            continue
        suite = judge_suite(*_of(name, sides), aligned[name], policy, unequal.get(name))
        judged.append(_with_behaviour(suite, *sides, policy, clustered=bool(clustered)))
        p_gold = p_gold_row(suite, _of(name, sides), policy)
        judged += [] if p_gold is None else [p_gold]
    overall = reference.overall_margin, candidate.overall_margin
    deciding = [one for one in judged if one.result.suite not in policy.advisory]
    found = tiers(deciding, policy.overall(*overall), policy, policy.overall_conflict(*overall))
    held = {one.result.suite: one for one in found.judged}
    mark = Reason("policy.advisory")
    advisory = (replace(one.result, waiver=mark, reasons=(*one.result.reasons, mark)) for one in judged)
    judged = [held.get(one.result.suite) or replace(one, result=own) for one, own in zip(judged, advisory, strict=True)]
    excused = found.verdict is Verdict.INCONCLUSIVE and policy.on_inconclusive != "fail"
    return Comparison(
        reference=reference.identity,
        candidate=candidate.identity,
        suites=tuple(one.result for one in judged),
        verdict=found.verdict,
        exit_code=0 if excused else found.verdict.exit_code,
        reasons=(*stopped, *overall_reasons(found)),
        macro=found.macro,
        differences=differences,
        flips=tuple(flip for one in judged for flip in _flips(one, *sides, policy)),
        alpha=policy.alpha,
        created=created,
        evalkit_version=__version__,
        notes=tuple(dict.fromkeys((*notes, *clustered))),
    )


def not_asked(
    runs: tuple[RunIdentity, RunIdentity], verdict: Verdict, reasons: tuple[Reason, ...], policy: Policy, created: str
) -> Comparison:
    """The comparison of two sides (reference first) whose suites were not asked: what was found before is the verdict.

    `created` is the moment as ISO 8601 text.
    """
    empty = compare(Side(runs[0], {}, {}), Side(runs[1], {}, {}), policy, created)
    return replace(empty, verdict=verdict, exit_code=verdict.exit_code, reasons=reasons)


def _of(name: str, sides: tuple[Side, Side]) -> tuple[SuiteSide, SuiteSide]:
    return sides[0].suites[name], sides[1].suites[name]


def _absent(name: str, sides: tuple[Side, Side], policy: Policy) -> Judged:
    missing, present = ("candidate", sides[0]) if name in sides[0].suites else ("reference", sides[1])
    return absent_suite(name, present.suites[name], missing, policy)


def _with_behaviour(judged: Judged, reference: Side, candidate: Side, policy: Policy, *, clustered: bool) -> Judged:
    """The suite with its behaviour rows, and the server's faults and other texts among its reasons.

    Other texts are only said where the verdict misses them, and not where replies are those of other questions or
    trouble has a place (`clustered`): advice on templates and kernels would then mislead.
    """
    result, aligned = judged.result, judged.aligned
    if aligned is None:
        return judged
    rows, loud = behaviour_of(result.suite, reference, candidate, aligned, policy)
    crossed = crossed_row(result.suite, reference, candidate, aligned)
    if crossed is not None:
        rows = (crossed, *(replace(row, alert=None) if row.alert in loud else row for row in rows))
    faults = tuple(row.alert for row in rows if row.alert and row.name in _FAULTS)
    silent = {row.alert: max(row.reference or 0.0, row.candidate or 0.0) for row in rows if row.name in _SILENT}
    first = [alert for alert, share in silent.items() if alert and share >= 0.5]
    blind = crossed is None and result.verdict in {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}
    further = (*(alert for alert in silent if alert and alert not in first), *(() if clustered else loud))
    reasons = (*first, *result.reasons, *faults, *(further if blind else ()))
    return replace(judged, result=replace(result, behaviour=rows, reasons=reasons))


def _flips(judged: Judged, reference: Side, candidate: Side, policy: Policy) -> tuple[Flip, ...]:
    """The strongest flips of a suite; all others can be made again from the two runs."""
    name, aligned = judged.result.suite, judged.aligned
    if aligned is None:
        return ()
    left, right = reference.suites[name].samples, candidate.suites[name].samples
    places = find_flips(aligned, left, right, policy.flips)
    shown = Shown(questions=policy.questions)
    return tuple(describe(name, (reference, candidate), aligned, place, shown) for place in places)
