"""Why two runs may not be compared: every rule that makes a suite's verdict INVALID, each with its sentence.

The rules are those of a gate that must not fail open: what is missing, what differs in kind, what cannot show a
difference. A rule gives a sentence that names numbers, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evalkit.compare.inputs import Samples, SuiteSide
from evalkit.compare.pair import Aligned
from evalkit.model import Status
from evalkit.stats.proportions import Count, clopper_pearson, score_interval


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of the rules; shares are fractions of planned samples."""

    coverage: float = 0.98
    failure_gap: float = 0.01
    truncation_gap: float = 0.02
    reasoning_only_gap: float = 0.005
    items: int = 20


def invalid_reasons(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, rules: Rules) -> list[str]:
    """The sentences of all rules that are broken; an empty list means that the suite may be judged."""
    return [
        *_digests(reference, candidate),
        *_items(aligned, rules),
        *_coverage(reference.samples, candidate.samples, aligned, rules),
        *_rates(reference.samples, candidate.samples, rules),
        *_prompt_tokens(reference.samples, candidate.samples),
        *_level(reference, candidate),
    ]


def _digests(reference: SuiteSide, candidate: SuiteSide) -> Iterator[str]:
    left, right = reference.facts.digests, candidate.facts.digests
    for key in sorted(set(left) | set(right)):
        one, two = left.get(key, "not sent"), right.get(key, "not sent")
        if one and two and one != two:
            yield f"the two sides differ in {key}: {_short(one)} against {_short(two)}"
    if reference.facts.headline != candidate.facts.headline:
        yield "the two sides have different headline rules"


def _short(value: str) -> str:
    return f"{value[:12]}…" if len(value) > 40 else value


def _items(aligned: Aligned, rules: Rules) -> Iterator[str]:
    if aligned.only_reference or aligned.only_candidate:
        yield (
            f"the two sides have different items: {aligned.only_reference} only in the reference, "
            f"{aligned.only_candidate} only in the candidate"
        )
    n_items = 0 if aligned.paired is None else aligned.paired.n_items
    if n_items < rules.items:
        yield f"{n_items} items have a score on both sides; at least {rules.items} are needed"


def _coverage(left: Samples, right: Samples, aligned: Aligned, rules: Rules) -> Iterator[str]:
    if aligned.coverage < rules.coverage:
        missing = [_missing(samples) for samples in (left, right)]
        yield (
            f"only {aligned.coverage:.1%} of the planned samples are paired ({rules.coverage:.0%} are needed): "
            f"{missing[0]} have no score in the reference, {missing[1]} in the candidate"
        )


def _missing(samples: Samples) -> int:
    return int(np.isnan(samples.value).sum())


def _rates(left: Samples, right: Samples, rules: Rules) -> Iterator[str]:
    if not len(left) or not len(right):
        return
    one, two = _missing(left) / len(left), _missing(right) / len(right)
    if abs(one - two) > rules.failure_gap:
        yield f"requests without a score: {one:.1%} in the reference, {two:.1%} in the candidate"
    one, two = left.status.count(Status.REASONING_ONLY), right.status.count(Status.REASONING_ONLY)
    if abs(one / len(left) - two / len(right)) > rules.reasoning_only_gap:
        yield (
            f"answers that came in the reasoning channel only: {one} of {len(left)} in the reference, {two} of "
            f"{len(right)} in the candidate: the servers' reasoning parsers differ"
        )
    one, two = int(left.truncated.sum()), int(right.truncated.sum())
    gap = two / len(right) - one / len(left)
    interval = score_interval(Count(one, len(left)), Count(two, len(right)), 0.95)
    if abs(gap) > rules.truncation_gap and (interval.low > 0 or interval.high < 0):
        yield (
            f"answers cut at the token limit: {one} of {len(left)} in the reference, {two} of {len(right)} in the "
            "candidate: one side runs into the limit more often"
        )


def _prompt_tokens(left: Samples, right: Samples) -> Iterator[str]:
    known = {
        item: tokens
        for item, tokens in zip(left.item, left.prompt_tokens.tolist(), strict=True)
        if not np.isnan(tokens)
    }
    differing = {
        item: (known[item], tokens)
        for item, tokens in zip(right.item, right.prompt_tokens.tolist(), strict=True)
        if not np.isnan(tokens) and item in known and known[item] != tokens
    }
    if differing:
        item, (one, two) = next(iter(differing.items()))
        yield (
            f"the servers count other prompt lengths for {len(differing)} items (item {item}: {one:.0f} against "
            f"{two:.0f} tokens): another chat template, system message or tokenizer"
        )


def _level(reference: SuiteSide, candidate: SuiteSide) -> Iterator[str]:
    means: list[float] = []
    for name, side in (("reference", reference), ("candidate", candidate)):
        values = side.samples.value[~np.isnan(side.samples.value)]
        if not values.size:
            return
        mean = float(values.mean())
        means.append(mean)
        chance = side.facts.chance
        if not values.any():
            yield f"the {name} scores exactly 0 on all {values.size} samples: a failed run, not a measurement"
        elif chance is not None and chance > 0:
            items = len(set(side.samples.item))
            upper = clopper_pearson(Count(mean * items, items)).high
            if upper <= chance:
                yield f"the {name} scores {mean:.3f}, below chance ({chance:.3f}) even at its upper limit {upper:.3f}"
    if means == [1.0, 1.0]:
        yield "both sides answer everything right: the suite cannot show a difference"
