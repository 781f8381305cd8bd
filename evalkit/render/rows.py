"""A comparison as rows and as plain sentences: every number rounded, nothing laid out, the same for every format."""

import json
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from evalkit.model import (
    BehaviourRow,
    Comparison,
    Interval,
    Macro,
    NeededRepeats,
    Probe,
    Reason,
    SideSummary,
    SuiteResult,
    Value,
    Verdict,
)
from evalkit.render import numbers
from evalkit.render.numbers import Change, Range
from evalkit.render.words import Language, one_line, say, word_of, words_of


@dataclass(frozen=True, slots=True)
class SideCell:
    """One side of one suite: `score` in percent or None, repeats per item, samples with a value, samples planned."""

    score: Decimal | None
    k: Decimal
    valued: int
    planned: int


@dataclass(frozen=True, slots=True)
class BehaviourLine:
    """Something beside accuracy; shares in percent, everything else in its own unit."""

    name: str
    unit: str
    reference: Decimal | None
    candidate: Decimal | None
    low: Decimal | None
    high: Decimal | None
    alert: str

    @property
    def ends(self) -> str | None:
        """[0.1, 2.3]; None where there is no interval."""
        return None if self.low is None or self.high is None else f"[{self.low:f}, {self.high:f}]"


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """One suite. `change` is None where there is no interval: a difference alone is never shown.

    `part` says what of its data set was asked, "" where that is all.
    """

    suite: str
    label: str
    part: str
    verdict: Verdict
    n: int
    k: str
    reference: SideCell
    candidate: SideCell
    change: Change | None
    margin: Decimal
    noise_floor: Range | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    behaviour: tuple[BehaviourLine, ...]


@dataclass(frozen=True, slots=True)
class MacroRow:
    """The overall row: the unweighted mean over suites, and the suite that fell or rose most, with its own interval."""

    suites: int
    verdict: Verdict
    reference: Decimal
    candidate: Decimal
    change: Change
    margin: Decimal
    reasons: tuple[str, ...]
    worst_label: str
    worst_change: Change | None


@dataclass(frozen=True, slots=True)
class Table:
    """The whole comparison in one language, ready to be laid out; `level_percent` is that of the shown intervals.

    `claims` says what the overall row and the suites each claim, and what not; "" where that is plain.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    reference: str
    candidate: str
    level_percent: Decimal
    rows: tuple[SuiteRow, ...]
    macro: MacroRow | None
    claims: str


def next_step(comparison: Comparison, folder: str) -> Reason:
    """What to do after a verdict; `folder` is where the comparison is stored."""
    said = {"folder": folder}
    after = {
        Verdict.EQUIVALENT: Reason("next.equivalent", said),
        Verdict.INCONCLUSIVE: Reason("next.inconclusive", said),
        Verdict.INVALID: Reason("next.invalid", said),
    }
    return after.get(comparison.verdict) or Reason("next.differs", said)


def table_of(comparison: Comparison, language: Language = "en") -> Table:
    """The rows of a comparison, in its order."""
    macro = comparison.macro
    return Table(
        verdict=comparison.verdict,
        reasons=_said(comparison.reasons, language),
        notes=_said(tuple(note for note in comparison.notes if not is_claim(note)), language),
        reference=comparison.reference.name,
        candidate=comparison.candidate.name,
        level_percent=numbers.shortest(numbers.points(_level(comparison)), 0, 2),
        rows=tuple(suite_row(suite, language) for suite in comparison.suites),
        macro=None if macro is None else _macro_row(macro, comparison.suites, language),
        claims=claims(comparison, language),
    )


def _level(comparison: Comparison) -> float:
    """The confidence of the intervals; in rounds each row has that of its look, and this is the least."""
    rows = (*comparison.suites, comparison.macro) if comparison.rounds is not None else ()
    levels = [row.ci90.level for row in rows if row is not None and row.ci90 is not None]
    return min(levels, default=1 - 2 * comparison.alpha)


def is_claim(note: Reason) -> bool:
    """Whether a note says what a comparison claims; it stands with the table."""
    return note.code.startswith("claims.")


def claims(comparison: Comparison, language: Language = "en") -> str:
    """What the overall row and the suites each claim, and what is to be known of parts and of a bank."""
    told, mean = [], comparison.macro
    if mean is not None:
        told.append(Reason("overall.claims", {"n": mean.suites, "margin": mean.margin}))
    told += filter(is_claim, comparison.notes)
    return (" " if language == "en" else "").join(one_line(say(one, language)) for one in told)


_BESIDE: Final = frozenset({"note.unequal", "note.weights"})
"""Notes that stand with a suite's reasons: how what was asked makes its number."""


def suite_row(suite: SuiteResult, language: Language = "en") -> SuiteRow:
    """The row of one suite."""
    shown = change_of(suite.difference, suite.ci90, suite.margin)
    decimals = numbers.places(shown.difference) if shown else 1
    return SuiteRow(
        suite=suite.suite,
        label=suite.label.strip() or suite.suite,
        part=part_text(suite, language),
        verdict=suite.verdict,
        n=suite.n_items,
        k=k_text(suite.k_reference, suite.k_candidate),
        reference=_side(suite.reference, suite.k_reference, decimals),
        candidate=_side(suite.candidate, suite.k_candidate, decimals),
        change=shown,
        margin=numbers.shortest(numbers.points(suite.margin), 1),
        noise_floor=numbers.shown(suite.noise_floor, suite.margin) if suite.noise_floor else None,
        reasons=_said((*suite.reasons, *(note for note in suite.notes if note.code in _BESIDE)), language),
        notes=_said(tuple(note for note in suite.notes if note.code not in _BESIDE), language),
        behaviour=tuple(_behaviour_line(row, language) for row in suite.behaviour),
    )


def part_text(suite: SuiteResult, language: Language = "en") -> str:
    """What of its data set a suite was asked, such as "30 of 756 items"; "" where that is all."""
    parts = []
    for note in suite.notes:
        if note.code == "note.part":
            parts.append(note)
        elif note.code == "note.categories":
            parts.append(Reason("part.categories", note.values))
        elif note.code == "note.without_task":
            parts.append(Reason("part.without", note.values))
    return words_of(language)["list"].join(dict.fromkeys(say(part, language) for part in parts))


def beside_label(part: str, language: Language) -> str:
    """What `part_text` says in brackets, to follow a suite's label; "" where it says nothing."""
    if not part:
        return ""
    return f" ({part})" if language == "en" else f"（{part}）"


def _said(reasons: tuple[Reason, ...], language: Language) -> tuple[str, ...]:
    return tuple(say(reason, language) for reason in reasons)


def value_text(value: object) -> str:
    """A sampling parameter as its configuration file would say it: a list of stops is no Python."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def k_text(reference: float, candidate: float) -> str:
    """Repeats per item: "8", or "16/8" where the sides differ."""
    return "/".join(dict.fromkeys(f"{_k(k):f}" for k in (reference, candidate)))


def change_of(difference: float | None, interval: Interval | None, margin: float) -> Change | None:
    """A difference with its interval; None where either is missing: one alone is never shown."""
    return None if difference is None or interval is None else numbers.change(difference, interval, margin)


def _side(side: SideSummary, k: float, decimals: int) -> SideCell:
    score = None if side.mean is None else numbers.rounded(numbers.points(side.mean), decimals)
    return SideCell(score, _k(k), side.valued, side.planned)


def _k(k: float) -> Decimal:
    return numbers.shortest(Decimal(repr(float(k))), 0, 2)


def _behaviour_line(row: BehaviourRow, language: Language) -> BehaviourLine:
    share, interval = row.unit == "share", row.interval
    number = (lambda value: numbers.rounded(numbers.points(value), 1)) if share else numbers.significant
    sides = [None if value is None else number(value) for value in (row.reference, row.candidate)]
    low = high = None
    if interval is not None and share:
        low, high = numbers.outward(interval, 1).low, numbers.outward(interval, 1).high
    elif interval is not None:
        low, high = (numbers.significant(interval.low, ROUND_FLOOR), numbers.significant(interval.high, ROUND_CEILING))
    name, unit = word_of("row", row.name, language), word_of("unit", row.unit, language)
    return BehaviourLine(name, unit, sides[0], sides[1], low, high, say(row.alert, language) if row.alert else "")


def _macro_row(macro: Macro, suites: tuple[SuiteResult, ...], language: Language) -> MacroRow:
    shown = numbers.change(macro.difference, macro.ci90, macro.margin)
    decimals = numbers.places(shown.difference)
    worst = next((suite for suite in suites if suite.suite == macro.worst_suite), None)
    return MacroRow(
        suites=macro.suites,
        verdict=macro.verdict,
        reference=numbers.rounded(numbers.points(macro.reference), decimals),
        candidate=numbers.rounded(numbers.points(macro.candidate), decimals),
        change=shown,
        margin=numbers.shortest(numbers.points(macro.margin), 1),
        reasons=_said(macro.reasons, language),
        worst_label=(worst.label or worst.suite) if worst else macro.worst_suite,
        worst_change=change_of(worst.difference, worst.ci90, worst.margin) if worst else None,
    )


# What was asked, what came out, what may be said.


def stopped_by(comparison: Comparison) -> tuple[Reason, ...]:
    """What kept a side from being asked to the end: the first of the comparison's reasons."""
    return tuple(reason for reason in comparison.reasons if reason.code == "side.stopped")


def overall(comparison: Comparison, language: Language = "en") -> str:
    """What the verdict on the whole comparison means, in one sentence."""
    if not comparison.suites and stopped_by(comparison):
        return say(Reason("explain.unanswered"), language)
    if not comparison.suites:
        return say(Reason("explain.not_asked", {"verdict": comparison.verdict.value}), language)
    further = [reason.code for suite in comparison.suites for reason in suite.reasons[1:]]
    alerted = any(not code.startswith("second_run.") for code in further)
    mean: dict[str, Value] = {} if comparison.macro is None else {"n": comparison.macro.suites}
    reasons = {
        Verdict.EQUIVALENT: Reason("explain.equivalent_alert" if alerted else "explain.equivalent", mean),
        Verdict.DEGRADED: Reason("explain.degraded", mean),
        Verdict.ELEVATED: Reason("explain.elevated", mean),
        Verdict.INCONCLUSIVE: Reason("explain.inconclusive"),
        Verdict.INVALID: Reason("explain.invalid"),
    }
    return say(reasons[comparison.verdict], language)


def probe_sentence(probe: Probe | None, language: Language = "en") -> str:
    """What the fidelity probe said and on how much; "" where there was none."""
    if probe is None:
        return ""
    values: dict[str, Value] = {"verdict": probe.verdict.value, "tokens": probe.tokens, "texts": probe.texts}
    if probe.mean_abs_nats is not None:
        values["nats"] = probe.mean_abs_nats
    return say(Reason("explain.probe", values), language)


def sentences(suite: SuiteResult, language: Language = "en") -> tuple[str, str, str]:
    """What was asked and scored; the interval of the difference; what follows from it."""
    asked, found, means = (
        one_line(say(reason, language)) for reason in (_asked(suite_row(suite)), _found(suite), _means(suite))
    )
    return asked, found, means


def paragraph(suite: SuiteResult, language: Language = "en") -> str:
    """The three sentences of a suite, and its further reasons in a fourth."""
    told = [*sentences(suite, language)]
    if len(suite.reasons) > 1:  # the first stands in the sentences
        told.append(one_line(say(Reason("means.also", {"reasons": suite.reasons[1:]}), language)))
    return (" " if language == "en" else "").join(told)


def _asked(row: SuiteRow) -> Reason:
    """Questions, repeats and both scores."""
    scores = {"one": _score("reference", row.reference), "two": _score("candidate", row.candidate)}
    about: dict[str, Value] = {"label": row.label, **scores}
    if not row.n:
        return Reason("explain.no_items", about)
    reference, candidate = (f"{side.k:f}" for side in (row.reference, row.candidate))
    if reference == candidate:
        return Reason("explain.asked", {**about, "n": row.n, "k": reference})
    return Reason("explain.asked_unlike", {**about, "n": row.n, "reference": reference, "candidate": candidate})


def _score(side: str, cell: SideCell) -> Reason:
    if cell.score is None:
        return Reason("explain.no_score", {"side": side})
    return Reason("explain.score", {"side": side, "score": f"{cell.score:f}"})


def _found(suite: SuiteResult) -> Reason:
    """Where the difference lies, and how far the reference is from itself."""
    if suite.difference is None or suite.ci90 is None:
        return Reason("explain.no_interval")
    noise = {} if suite.noise_floor is None else {"noise": suite.noise_floor}
    return Reason("explain.found", {"interval": suite.ci90, "margin": suite.margin, **noise})


def _means(suite: SuiteResult) -> Reason:
    """What may be said, and what is to be done."""
    because: dict[str, Value] = {"reason": suite.reasons[0]} if suite.reasons else {}
    if suite.verdict is Verdict.INVALID:
        return Reason("means.invalid", because)
    needed: dict[str, Value] = {"needed": _needed(suite.needed_repeats)} if suite.needed_repeats else {}
    if suite.difference is None or suite.ci90 is None or suite.verdict is not _verdict_of(suite.ci90, suite.margin):
        return Reason("means.other", {"verdict": suite.verdict.value, **because, **needed})
    shown: dict[str, Value] = {"interval": suite.ci90, "margin": suite.margin}
    if suite.verdict is Verdict.INCONCLUSIVE:
        return Reason("means.inconclusive", {"margin": suite.margin, **needed})
    if suite.verdict is Verdict.DEGRADED:
        return Reason("means.degraded", shown)
    if suite.verdict is Verdict.ELEVATED:
        return Reason("means.elevated", shown)
    ends = numbers.shown(suite.ci90, suite.margin)
    excludes_zero = ends.low > 0 or ends.high < 0
    return Reason("means.equivalent_differs" if excludes_zero else "means.equivalent", {"margin": suite.margin})


def _needed(needed: NeededRepeats) -> Reason:
    if needed.repeats is not None:
        return Reason("means.repeats", needed.told)
    # A note says itself that repeats cannot decide.
    return Reason("means.never") if needed.note is None else Reason("means.note", {"note": needed.note})


def _verdict_of(interval: Interval, margin: float) -> Verdict:
    """What the interval and the margin alone would give."""
    shown, limit = numbers.shown(interval, margin), numbers.points(margin)
    if shown.high < -limit:
        return Verdict.DEGRADED
    if shown.low > limit:
        return Verdict.ELEVATED
    return Verdict.EQUIVALENT if -limit < shown.low and shown.high < limit else Verdict.INCONCLUSIVE
