"""A night that is not EQUIVALENT is looked at twice before it is red: the second look has new answers of the candidate.

It judges both runs' answers together, against the same reference. As the night ends at the first look that shows
EQUIVALENT, the looks share alpha (Lan and DeMets, Pocock's spending at half and at all of the answers): a row whose
true difference is its margin passes with a chance of at most alpha, both looks included. Only the second look alarms,
at its part of alpha.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from evalkit.compare.columns import Labels, ReplyText, Samples, Side, SuiteSide
from evalkit.model import Comparison, Macro, Reason, SuiteResult, Value, Verdict
from evalkit.stats.looks import look_alphas

RERUN_SEEDS: Final = 1_000_003  # added to every base seed for the second run of a night that is not EQUIVALENT


def alphas(alpha: float) -> tuple[float, float]:
    """What each of the two looks has, of `alpha` for both.

    With a reference that is not asked again the second look knows less than twice as much as the first: both are then
    more alike than these levels allow for, and spend less.
    """
    first, second = look_alphas((0.5, 1.0), alpha)
    return first, second


def to_confirm(comparison: Comparison) -> tuple[str, ...]:
    """The suites to ask again: those that are open or alarm, and all where the overall row does.

    None where the night is not red, or nothing that is asked could change that: what is INVALID is no chance result.
    """
    if comparison.exit_code == 0 or comparison.verdict is Verdict.INVALID:
        return ()
    rows: list[SuiteResult | Macro] = [*comparison.suites, *([comparison.macro] if comparison.macro else [])]
    red = [one for one in rows if one.verdict is not Verdict.EQUIVALENT and one.waiver is None]
    asked = comparison.suites if comparison.macro in red else red
    return tuple(dict.fromkeys(one.row_of or one.suite for one in asked if isinstance(one, SuiteResult)))


def joined(first: Side, second: Side) -> Side:
    """The side with the answers of both runs; the repeats of the second are numbered on from those of the first."""

    def reply(suite: str, row: int) -> ReplyText | None:
        before = len(first.suites[suite].samples)
        return first.reply(suite, row) if row < before else second.reply(suite, row - before)

    suites = {
        name: _both(one, second.suites[name]) if name in second.suites else one for name, one in first.suites.items()
    }
    identity = replace(first.identity, run_id=f"{first.identity.run_id}+{second.identity.run_id}")
    stopped = first.stopped or second.stopped
    return replace(first, identity=identity, suites=suites, reply=reply, stopped=stopped)


def _both(one: SuiteSide, two: SuiteSide) -> SuiteSide:
    left, right = one.samples, two.samples
    places = {name: row for row, name in enumerate(left.items.name)}
    homes = np.asarray([places[name] for name in right.items.name], dtype=np.int32)
    on = int(left.repeat.max(initial=-1)) + 1
    right = replace(right, item=homes[right.item], repeat=right.repeat + np.int32(on))
    columns: dict[str, Any] = {
        name: _appended(getattr(left, name), getattr(right, name)) for name in Samples.__slots__ if name != "items"
    }
    defects = tuple(dict.fromkeys((*one.facts.defects, *two.facts.defects)))
    facts = replace(one.facts, repeats=one.facts.repeats + two.facts.repeats, defects=defects)
    further: list[dict[tuple[str, int], Any]] = [
        {**getattr(one, name), **{(item, repeat + on): value for (item, repeat), value in getattr(two, name).items()}}
        for name in ("options", "second", "p_gold")
    ]
    return SuiteSide(facts, Samples(items=left.items, **columns), *further)


def _appended(one: Any, two: Any) -> Any:
    if not isinstance(one, Labels):
        return np.concatenate([one, two])
    names = tuple(dict.fromkeys((*one.names, *two.names)))
    codes = np.asarray([names.index(name) for name in two.names] or [0], dtype=np.int32)[two.codes]
    return Labels(np.concatenate([one.codes, codes]), names)


def once(comparison: Comparison, alpha: float) -> Comparison:
    """The comparison of a night that was looked at once, saying at which level."""
    note = Reason("second_run.unneeded", {"each": comparison.alpha, "alpha": alpha})
    return replace(comparison, notes=(*comparison.notes, note))


def twice(first: Comparison, second: Comparison, alpha: float) -> Comparison:
    """The second comparison, telling what the first look had shown; `alpha` is that of both."""
    asked = to_confirm(first)
    before = {suite.suite: suite for suite in first.suites if (suite.row_of or suite.suite) in asked}
    suites = tuple(_noted(suite, before.get(suite.suite)) for suite in second.suites)
    labels, now = _not_equivalent(first), _not_equivalent(second)
    told: dict[str, Value] = {"labels": labels, "one": first.alpha, "two": second.alpha, "alpha": alpha}
    note = Reason("second_run.confirmed", {**told, "confirmed": now}) if now else Reason("second_run.none", told)
    return replace(second, suites=suites, notes=(*second.notes, note))


def _not_equivalent(comparison: Comparison) -> tuple[str, ...]:
    rows: Iterable[tuple[str, Verdict]] = [(suite.label, suite.verdict) for suite in comparison.suites]
    overall = [] if comparison.macro is None else [("overall", comparison.macro.verdict)]
    return tuple(label for label, verdict in (*rows, *overall) if verdict is not Verdict.EQUIVALENT)


def _noted(suite: SuiteResult, before: SuiteResult | None) -> SuiteResult:
    if before is None:
        return suite
    told = Reason("second_run.other", {"verdict": suite.verdict.value, "reason": before.reasons[0]})
    if suite.verdict is before.verdict:
        told = Reason("second_run.same", {"reason": before.reasons[0]})
    return replace(suite, reasons=(*suite.reasons, told))
