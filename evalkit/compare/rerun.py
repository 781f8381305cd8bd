"""A second look at a DEGRADED night: the failed suites, asked again independently; only two failures in a row fail.

With one run a night and a true difference of zero, a false alarm comes every few months; two independent ones in a row
come never in practice. The reference stays the same bank, so its own error is in both looks.
"""

from __future__ import annotations

from dataclasses import replace

from evalkit.compare.inputs import ItemText, ReplyText, Side
from evalkit.model import Comparison, SuiteResult, Verdict


def degraded_suites(comparison: Comparison) -> tuple[str, ...]:
    """The suites that a second run must confirm; empty unless the comparison as a whole is DEGRADED."""
    if comparison.verdict is not Verdict.DEGRADED:
        return ()
    return tuple(suite.suite for suite in comparison.suites if suite.verdict is Verdict.DEGRADED)


def with_second_run(first: Side, second: Side) -> Side:
    """The side with the suites of a second run in the place of the first run's."""

    def reply(suite: str, row: int) -> ReplyText | None:
        return (second if suite in second.suites else first).reply(suite, row)

    def item(suite: str, name: str) -> ItemText | None:
        return (second if suite in second.suites else first).item(suite, name)

    identity = replace(first.identity, run_id=f"{first.identity.run_id}+{second.identity.run_id}")
    return replace(first, identity=identity, suites={**first.suites, **second.suites}, reply=reply, item=item)


def second_look(first: Comparison, second: Comparison) -> Comparison:
    """The second comparison, telling what the first run of the suites asked again had shown."""
    before = {suite.suite: suite for suite in first.suites if suite.verdict is Verdict.DEGRADED}
    suites = tuple(_noted(suite, before.get(suite.suite)) for suite in second.suites)
    confirmed = [suite.label for suite in suites if suite.suite in before and suite.verdict is Verdict.DEGRADED]
    told = f"{', '.join(confirmed)} failed twice in a row" if confirmed else "none of them failed twice"
    note = f"DEGRADED at first: {', '.join(suite.label for suite in before.values())}; asked again: {told}"
    return replace(second, suites=suites, notes=(*second.notes, note))


def _noted(suite: SuiteResult, before: SuiteResult | None) -> SuiteResult:
    if before is None:
        return suite
    outcome = "DEGRADED again" if suite.verdict is Verdict.DEGRADED else f"{suite.verdict.value} now"
    sentence = f"{outcome} in an independent second run; in the first {before.reasons[0]}"
    return replace(suite, reasons=(*suite.reasons, sentence))
