"""The verdict on a suite in three plain sentences: what was asked, what came out, what may be said."""

from __future__ import annotations

from evalkit.errors import UsageError, did_you_mean
from evalkit.model import Comparison, Interval, NeededRepeats, Probe, Reason, SuiteResult, Value, Verdict
from evalkit.render import numbers
from evalkit.render.escape import one_line
from evalkit.render.rows import SideCell, SuiteRow, suite_row
from evalkit.render.words import Language, say, verdict_text, words_of

_OVERALL = {
    Verdict.EQUIVALENT: Reason("explain.equivalent"),
    Verdict.DEGRADED: Reason("explain.degraded"),
    Verdict.ELEVATED: Reason("explain.elevated"),
    Verdict.INCONCLUSIVE: Reason("explain.inconclusive"),
    Verdict.INVALID: Reason("explain.invalid"),
}


def explain(comparison: Comparison, suite: str | None = None, *, language: Language = "en") -> str:
    """The overall verdict in one sentence and each suite in three; or one suite only, by its name.

    Raises:
        UsageError: the comparison has no such suite.
    """
    if suite is not None:
        chosen = next((result for result in comparison.suites if result.suite == suite), None)
        if chosen is None:
            names = [result.suite for result in comparison.suites]
            raise UsageError(f"the comparison has no suite {suite!r}{did_you_mean(suite, names)}")
        return _paragraph(chosen, language) + "\n"
    parts = [overall(comparison, language), *(_paragraph(result, language) for result in comparison.suites)]
    if not comparison.suites:
        parts += [one_line(say(reason, language)) for reason in comparison.reasons]
    elif comparison.probe is not None:
        parts.append(probe_sentence(comparison.probe, language))
    return "\n\n".join(parts) + "\n"


def overall(comparison: Comparison, language: Language = "en") -> str:
    """What the verdict on the whole comparison means, in one sentence."""
    if not comparison.suites:
        return say(Reason("explain.not_asked", {"verdict": comparison.verdict.value}), language)
    return say(_OVERALL[comparison.verdict], language)


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


def _paragraph(suite: SuiteResult, language: Language) -> str:
    label = one_line(suite.label or suite.suite)
    separator = " " if language == "en" else ""
    verdict = f"{label}{words_of(language)['colon']}{verdict_text(suite.verdict, language)}"
    return f"{verdict}\n{separator.join(sentences(suite, language))}"


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
        known = {"samples": needed.samples, "tokens": needed.completion_tokens}
        cost = {name: number for name, number in known.items() if number is not None}
        return Reason("means.repeats", {"repeats": needed.repeats, "power": needed.power, **cost})
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
