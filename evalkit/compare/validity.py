"""Why two runs may not be compared: every rule that makes a suite's verdict INVALID, each with its sentence.

The rules are those of a gate that must not fail open: what is missing, what differs in kind, what cannot show a
difference. A rule gives a sentence that names numbers, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import ItemTable, Samples, SuiteSide
from evalkit.compare.pair import Aligned, Cells
from evalkit.model import Interval, SideSummary, Status
from evalkit.stats.methods import DifferenceTest, judge_difference
from evalkit.stats.paired import ItemTraits, Scores, pair_scores
from evalkit.stats.proportions import Count, wilson

# ----------------------------------------------------------------
# Were both sides asked the same? Digests, documents, prompts, prompt lengths: what makes runs comparable at all


_SHOWN = 3  # items named in a sentence


def differing_settings(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned) -> Iterator[str]:
    """A sentence for each thing that had to be equal and is not; data and prompts name the items."""
    left, right = reference.facts.digests, candidate.facts.digests
    for key in sorted(set(left) | set(right)):
        one, two = left.get(key, "(not sent)"), right.get(key, "(not sent)")
        if one and two and one != two and key not in {"data", "prompts"}:
            yield f"the two sides differ in {key}: {_short(one)} against {_short(two)}"
    if reference.facts.headline != candidate.facts.headline:
        yield (
            f"the two sides differ in how items make the headline: {reference.facts.headline} against "
            f"{candidate.facts.headline}"
        )
    yield from _differing_items(reference, candidate, aligned, "data")
    yield from _differing_items(reference, candidate, aligned, "prompts")
    if aligned.contradictions:
        yield (
            f"the two sides put {aligned.contradictions} of {len(aligned.layout.items)} items under other headings, "
            "clusters or weights"
        )


def _differing_items(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, key: str) -> Iterator[str]:
    one, two = (side.facts.digests.get(key, "") for side in (reference, candidate))
    column = "document" if key == "data" else "prompt"
    changed = _changed(reference.samples.items, candidate.samples.items, column)
    if (not one or not two or one == two) and not changed:
        return
    parts = []
    if changed:
        parts.append(f"{len(changed)} of {len(aligned.layout.items)} items differ ({_listed(changed)})")
    for alone, side in ((aligned.only_reference, "reference"), (aligned.only_candidate, "candidate")):
        if alone:
            parts.append(f"{len(alone)} items only in the {side} ({_listed(alone)})")
    if not parts:
        parts.append(f"{_short(one)} against {_short(two)}")
    yield f"the two sides differ in {key}: {'; '.join(parts)}"


def _changed(left: ItemTable, right: ItemTable, column: str) -> list[str]:
    one, two = getattr(left, column), getattr(right, column)
    if left.name == right.name and np.array_equal(one, two):
        return []
    known = dict(zip(left.name, one.tolist(), strict=True))
    pairs = zip(right.name, two.tolist(), strict=True)
    return sorted(name for name, digest in pairs if digest and known.get(name) and known[name] != digest)


def differing_prompt_lengths(left: Samples, right: Samples, aligned: Aligned) -> Iterator[str]:
    """A sentence where the servers count other prompt lengths for any item that both report."""
    n_items = len(aligned.layout.items)
    one, two = (_token_range(s, codes, n_items) for s, codes in zip((left, right), aligned.codes, strict=True))
    known = np.isfinite(one[0]) & np.isfinite(two[0])
    differing = np.flatnonzero(known & ((one[0] != two[0]) | (one[1] != two[1])))
    if differing.size:
        first = int(differing[0])
        end = 0 if one[0][first] != two[0][first] else 1
        lengths = f"{one[end][first]:.0f} against {two[end][first]:.0f} tokens"
        yield (
            f"the servers count other prompt lengths for {differing.size} of {int(known.sum())} items (item "
            f"{aligned.layout.items[first]}: {lengths}): another chat template, system message or tokenizer"
        )


def _token_range(
    samples: Samples, own: NDArray[np.int64], n_items: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest prompt length by item code; infinite where none is known."""
    low, high = np.full(n_items, np.inf), np.full(n_items, -np.inf)
    known = ~np.isnan(samples.prompt_tokens)
    np.minimum.at(low, own[samples.item[known]], samples.prompt_tokens[known])
    np.maximum.at(high, own[samples.item[known]], samples.prompt_tokens[known])
    return low, high


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, …"


def _short(value: str) -> str:
    return f"{value[:12]}…" if len(value) > 40 else value


# ----------------------------------------------------------------
# How often something happens on either side (cut off, empty, refused, ...), and the difference on the same
# items


Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RateChange:
    """Hits among the cells that were looked at, on either side.

    `ci90` and `ci95` are intervals of candidate minus reference rate over the items that both sides have, each item
    weighing the same; None where there is no such item.
    """

    hits: tuple[int, int]
    cells: tuple[int, int]
    ci90: Interval | None
    ci95: Interval | None

    @property
    def rates(self) -> tuple[float, float]:
        """Reference and candidate rate; 0 where there is no cell."""
        one, two = (hits / cells if cells else 0.0 for hits, cells in zip(self.hits, self.cells, strict=True))
        return one, two

    @property
    def gap(self) -> float:
        """Candidate minus reference rate."""
        one, two = self.rates
        return two - one

    def shown(self, interval: Interval | None) -> bool:
        """True where the interval excludes 0: the rates differ by more than chance explains."""
        return interval is not None and (interval.low > 0.0 or interval.high < 0.0)


def rate_change(
    aligned: Aligned, reference: Mask, candidate: Mask, looked_at: tuple[Mask, Mask] | None = None
) -> RateChange:
    """The rates of an event that either side's samples show (masks by row of the samples).

    `looked_at` says which samples of either side can show it; only their cells count. Without it a cell that a side
    planned and does not list has no such event and counts among the cells.
    """
    sides = (aligned.reference, aligned.candidate)
    if looked_at is None:
        flags = [_by_cell(side, mask) for side, mask in zip(sides, (reference, candidate), strict=True)]
    else:
        flags = [
            side.column(np.where(seen, mask.astype(np.float64), np.nan))
            for side, mask, seen in zip(sides, (reference, candidate), looked_at, strict=True)
        ]
    hits = tuple(int(np.nansum(flag)) for flag in flags)
    cells = (int((~np.isnan(flags[0])).sum()), int((~np.isnan(flags[1])).sum()))
    intervals: tuple[Interval | None, Interval | None] = (None, None)
    counted = [
        np.bincount(side.item[~np.isnan(flag)], minlength=len(aligned.layout.items))
        for side, flag in zip(sides, flags, strict=True)
    ]
    if any(hits) and np.any((counted[0] > 0) & (counted[1] > 0)):
        intervals = _intervals(aligned, flags)
    return RateChange((hits[0], hits[1]), cells, *intervals)


def _by_cell(cells: Cells, rows: Mask) -> NDArray[np.float64]:
    return np.nan_to_num(cells.column(rows.astype(np.float64)), nan=0.0)


def _intervals(aligned: Aligned, flags: list[NDArray[np.float64]]) -> tuple[Interval | None, Interval | None]:
    n_items = len(aligned.layout.items)
    plain = ItemTraits(np.ones(n_items), aligned.layout.cluster, np.zeros(n_items, dtype=np.int64))
    sides = (aligned.reference, aligned.candidate)
    one, two = (Scores(cells.item, cells.repeat, flag) for cells, flag in zip(sides, flags, strict=True))
    test = judge_difference(pair_scores(one, two, plain), 0.0)
    return test.ci90, test.ci95


# ----------------------------------------------------------------
# Why two runs may not be compared: every rule that makes a suite's verdict INVALID, each with its sentence
# The rules are those of a gate that must not fail open: what is missing, what differs in kind, what cannot show a
# difference. A rule gives a sentence that names numbers, or nothing.


_BETWEEN: Final = 1e-6  # of a step: further from the grid is no rounding


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of the rules; shares are fractions of planned samples.

    A gap in truncated or reasoning-only answers counts where it exceeds its limit and its interval (95 % for
    truncation, 90 % for the rarer other) excludes 0, so that equal stacks do not break the rule by chance.
    """

    coverage: float = 0.98
    failure_gap: float = 0.01
    truncation_gap: float = 0.02
    reasoning_only_gap: float = 0.005
    items: int = 20


def invalid_reasons(reference: SuiteSide, candidate: SuiteSide, aligned: Aligned, rules: Rules) -> list[str]:
    """The sentences of all rules that are broken; an empty list means that the suite may be judged."""
    return [
        *reference.facts.defects,
        *(defect for defect in candidate.facts.defects if defect not in reference.facts.defects),
        *differing_settings(reference, candidate, aligned),
        *_granularity(reference, candidate),
        *_items(aligned, rules),
        *_coverage(aligned, rules),
        *_failures(aligned, rules),
        *_reasoning_only(reference.samples, candidate.samples, aligned, rules),
        *_truncation(reference.samples, candidate.samples, aligned, rules),
        *differing_prompt_lengths(reference.samples, candidate.samples, aligned),
        *_level(reference, candidate),
    ]


def _granularity(reference: SuiteSide, candidate: SuiteSide) -> Iterator[str]:
    """A mean of n samples is k/n only where each score is one that the scorer can give: 0.37 is not right or wrong."""
    for name, side in (("reference", reference), ("candidate", candidate)):
        step, values = side.facts.step, side.samples.value
        if step is None:
            continue
        known = values[~np.isnan(values)]
        between = known[np.abs(known / step - np.round(known / step)) > _BETWEEN]
        if between.size:
            yield (
                f"{between.size} of {known.size} scores of the {name} are no multiple of {step:g} (such as "
                f"{between[0]:.4g}), which is all that the scorer gives: another scorer, or means of several answers"
            )


def _items(aligned: Aligned, rules: Rules) -> Iterator[str]:
    if aligned.paired is None:
        yield f"0 of {len(aligned.layout.items)} items have a score on both sides"
        return
    n_items = aligned.paired.n_items
    if n_items < rules.items:
        yield f"{n_items} items have a score on both sides; at least {rules.items} are needed"
    elif n_items - aligned.duplicates < rules.items:
        yield (
            f"{n_items} items are paired, but {aligned.duplicates} repeat the question of another one: at least "
            f"{rules.items} different questions are needed"
        )


def _coverage(aligned: Aligned, rules: Rules) -> Iterator[str]:
    if aligned.coverage < rules.coverage:
        one, two = aligned.reference, aligned.candidate
        needed = f"{rules.coverage * 100:g} % are needed"
        yield (
            f"only {_percent(aligned.coverage)} of the planned samples are paired ({needed}): "
            f"{one.missing} of {len(one)} have no score in the reference, {two.missing} of {len(two)} in the candidate"
        )


def _failures(aligned: Aligned, rules: Rules) -> Iterator[str]:
    one, two = aligned.reference, aligned.candidate
    if not len(one) or not len(two):
        return
    rates = one.missing / len(one), two.missing / len(two)
    if abs(rates[1] - rates[0]) > rules.failure_gap:
        yield (
            f"samples without a score: {one.missing} of {len(one)} ({_percent(rates[0])}) in the reference, "
            f"{two.missing} of {len(two)} ({_percent(rates[1])}) in the candidate; they may differ by "
            f"{rules.failure_gap * 100:g} points"
        )


def _reasoning_only(left: Samples, right: Samples, aligned: Aligned, rules: Rules) -> Iterator[str]:
    change = rate_change(aligned, left.status.mask(Status.REASONING_ONLY), right.status.mask(Status.REASONING_ONLY))
    if abs(change.gap) > rules.reasoning_only_gap and change.shown(change.ci90):
        yield f"answers in the reasoning channel only: {_sides(change)}: the servers' reasoning parsers differ"


def _truncation(left: Samples, right: Samples, aligned: Aligned, rules: Rules) -> Iterator[str]:
    change = rate_change(aligned, left.truncated, right.truncated)
    if abs(change.gap) > rules.truncation_gap and change.shown(change.ci95):
        yield f"answers cut at the token limit: {_sides(change)}: one side runs into the limit more often"


def _sides(change: RateChange) -> str:
    parts = zip(change.hits, change.cells, change.rates, ("reference", "candidate"), strict=True)
    return ", ".join(f"{hits} of {cells} ({_percent(rate)}) in the {side}" for hits, cells, rate, side in parts)


def _percent(share: float) -> str:
    """Rounded down, so that a share below its limit never reads as the limit."""
    return f"{int(share * 1000) / 10:.1f} %"


def _level(reference: SuiteSide, candidate: SuiteSide) -> Iterator[str]:
    perfect = 0
    for name, side in (("reference", reference), ("candidate", candidate)):
        values = side.samples.value[~np.isnan(side.samples.value)]
        if not values.size:
            return
        mean, chance = float(values.mean()), side.facts.chance
        perfect += bool(np.all(values == 1.0))
        if not values.any():
            yield f"the {name} scores exactly 0 on all {values.size} samples: a failed run, or nothing to compare"
        elif chance is not None and chance > 0:
            items = len(side.samples.items)
            upper = wilson(Count(min(mean, 1.0) * items, items)).high
            if upper <= chance:
                yield f"the {name} scores {mean:.3f}, below chance ({chance:.3f}) even at its upper limit {upper:.3f}"
    if perfect == 2:
        total = len(reference.samples) + len(candidate.samples)
        yield f"both sides score exactly 1 on all {total} samples: the suite cannot show a difference"


def imputation_reasons(aligned: Aligned, test: DifferenceTest) -> list[str]:
    """What is missing counts against the candidate, then for it: a verdict that changes does not stand."""
    missing = aligned.reference.missing, aligned.candidate.missing
    if not any(missing):
        return []
    for reference_value, candidate_value in ((1.0, 0.0), (0.0, 1.0)):
        filled = aligned.with_values(
            np.nan_to_num(aligned.reference.value, nan=reference_value),
            np.nan_to_num(aligned.candidate.value, nan=candidate_value),
        )
        if filled is None:
            continue
        other = judge_difference(filled, test.margin, test.alpha)
        if other.decision is not test.decision:
            sentence = (
                f"{missing[0]} samples of the reference and {missing[1]} of the candidate have no score, and the worst "
                f"case of them ({other.ci90.low * 100:+.2f} … {other.ci90.high * 100:+.2f} points) would turn "
                f"{test.decision.name} into {other.decision.name}"
            )
            return [sentence]
    return []


# ----------------------------------------------------------------
# Which samples have no score, and why, in the words that `evalkit run` and `evalkit compare` share


WITHOUT_SCORE: Final = (Status.FAILED, Status.GRADE_ERROR, Status.NOT_ASKED)


def lacking(counts: Mapping[str, int], failures: Mapping[str, int]) -> str:
    """The samples without a score by status and kind: "failed 3 (timeout 2, connection 1), not asked 5"; "" for none.

    `counts` maps statuses, `failures` kinds of failure to numbers of samples.
    """
    return ", ".join(_told(status, counts, failures) for status in WITHOUT_SCORE if counts.get(status.value))


def all_counts(counts: Mapping[str, int], failures: Mapping[str, int]) -> str:
    """The samples by status, the scored ones first: "scored 190, no answer 2, failed 3 (timeout 3)"."""
    there = [status for status in Status if counts.get(status.value)]
    return ", ".join(_told(status, counts, failures) for status in there)


def lacking_sentences(reference: SideSummary, candidate: SideSummary) -> Iterator[str]:
    """A sentence for each side that lacks scores."""
    for side, summary in (("reference", reference), ("candidate", candidate)):
        if kinds := lacking(summary.counts, summary.failures):
            yield f"without a score in the {side}: {kinds}"


def _told(status: Status, counts: Mapping[str, int], failures: Mapping[str, int]) -> str:
    words = f"{status.value.replace('_', ' ')} {counts[status.value]}"
    if status is not Status.FAILED or not failures:
        return words
    kinds = sorted(failures.items(), key=lambda entry: (-entry[1], entry[0]))
    return f"{words} ({', '.join(f'{kind} {number}' for kind, number in kinds)})"
