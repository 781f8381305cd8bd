"""Suites that weigh options by log-likelihood: how far the options moved, and p(gold) as a further row of the suite.

By far the most sensitive rows of a comparison: they are free of sampling, and a kernel that moves every number a little
shows here long before an argmax changes. p(gold), the probability of the right option among all, has a hundredth of
the variance of right or wrong. They see how prompts are read, and nothing of decoding.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.compare.pair import Floats, align
from evalkit.compare.validity import Policy, p_gold_name
from evalkit.compare.verdict import Judged, judge_suite
from evalkit.model import BehaviourRow, Flips, Reason, Value, Verdict
from evalkit.stats.tails import ratio_estimate, wilson

# The limits are the probe's, of whose measure the divergence over the options is one token's worth: faithful stacks lie
# at 0.0012 to 0.0021 nats a token, and no broken one below 0.0095. On a GPU, with SmolLM2-135M, FlagGems moved the
# options by 0.0012 nats of divergence and 0.038 of distance, and changed 8 % of the likeliest ones; the least
# broken stack moved them by 0.036 and 0.23 nats, and changed 40 % (docs/validation.md).
FAITHFUL_DIVERGENCE_NATS: Final = 0.006
FAITHFUL_DISTANCE_NATS: Final = 0.05
FAITHFUL_CHANGES: Final = 0.2

_NEVER: Final = -1e10  # an option that an item does not have, below whatever a scorer gives


def option_rows(reference: SuiteSide, candidate: SuiteSide) -> list[BehaviourRow]:
    """Divergence KL(reference || candidate) over the options, mean |difference| of their log-probabilities, changes.

    The first two in nats, with 95 % t intervals over the answers that both sides have. An alert is there where the
    whole interval lies beyond what faithful stacks show.
    """
    found = ((one, candidate.options.get(key, ())) for key, one in sorted(reference.options.items()))
    pairs = [(one, two) for one, two in found if len(one) == len(two)]
    if len(pairs) < 2:
        return []
    n, width = len(pairs), max(len(one) for one, _two in pairs)
    left, right = (np.asarray([[*pair[at], *[_NEVER] * (width - len(pair[at]))] for pair in pairs]) for at in (0, 1))
    gaps, p, q = np.abs(left - right), _among_options(left), _among_options(right)
    changed = int(np.count_nonzero(left.argmax(axis=1) != right.argmax(axis=1)))
    share, alert = wilson(changed, n), None
    if share.low > FAITHFUL_CHANGES:
        alert = Reason("alert.option_changes", {"n": changed, "all": n, "most": FAITHFUL_CHANGES})
    return [
        _nats("option_divergence", np.sum(np.exp(p) * (p - q), axis=1), FAITHFUL_DIVERGENCE_NATS),
        _nats("option_distance", gaps.sum(axis=1) / (left > _NEVER).sum(axis=1), FAITHFUL_DISTANCE_NATS),
        BehaviourRow("option_distance_largest", None, float(gaps.max()), "nats"),
        BehaviourRow("option_changes", None, changed / n, "share", share, alert),
    ]


def _among_options(logprobs: Floats) -> Floats:
    """The log-probabilities, an item a row, given that the answer is one of its options."""
    return np.asarray(logprobs - np.logaddexp.reduce(logprobs, axis=1, keepdims=True))


def _nats(name: str, values: Floats, most: float) -> BehaviourRow:
    mean, alert = ratio_estimate(values, np.ones(values.size), 0.95), None
    if mean.interval.low > most:
        told: dict[str, Value] = {"nats": mean.point, "n": values.size, "most": most}
        diverged = name == "option_divergence"
        alert = Reason("alert.option_divergence", told) if diverged else Reason("alert.option_distance", told)
    return BehaviourRow(name, None, mean.point, "nats", replace(mean.interval, low=max(0.0, mean.interval.low)), alert)


def p_gold_row(judged: Judged, sides: tuple[SuiteSide, SuiteSide], policy: Policy) -> Judged | None:
    """The p(gold) row of a suite: the mean probability of the right option among all, against a margin of its own.

    It is judged as a suite is, with `SuiteFacts.step` 0. None where a side has no such probabilities.
    """
    if not all(side.p_gold for side in sides):
        return None
    one, two = map(_p_gold, sides)
    row = judge_suite(one, two, align(one, two), policy, None)
    reasons = row.result.reasons
    if invalid := judged.result.verdict is Verdict.INVALID:
        reasons = (Reason("p_gold.invalid", {"label": judged.result.label}),)
    verdict = Verdict.INVALID if invalid else row.result.verdict
    result = replace(row.result, verdict=verdict, reasons=reasons, row_of=judged.result.suite, flips=Flips(0, 0, 0.0))
    return replace(row, result=result, aligned=None)


def _p_gold(side: SuiteSide) -> SuiteSide:
    """The suite with p(gold) for its scores, which change a little wherever anything does."""
    facts, samples, names = side.facts, side.samples, side.samples.items.name
    cells = zip(samples.item.tolist(), samples.repeat.tolist(), strict=True)
    value = np.asarray([side.p_gold.get((names[item], repeat), np.nan) for item, repeat in cells])
    label, margin = f"{facts.label} p(gold)", facts.p_gold_margin
    facts = replace(facts, suite=p_gold_name(facts.suite), label=label, margin=margin, step=0.0)
    return SuiteSide(facts, replace(samples, value=value, lenient=np.full(len(value), np.nan)))
