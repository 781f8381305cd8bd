"""What an undecided suite still needs: repeats, samples and tokens, from the run's own variances and lengths."""

from __future__ import annotations

from evalkit.compare.inputs import SuiteSide
from evalkit.compare.policy import Policy
from evalkit.model import NeededRepeats, SideSummary
from evalkit.stats.equivalence import DifferenceTest
from evalkit.stats.paired import PairedItems, harmonic_mean
from evalkit.stats.power import repeats_to_decide

_GREEDY = (
    "greedy answers repeat themselves, so asking again cannot decide: ask more items, widen the margin, or sample "
    "(temperature above 0) with repeats"
)


def needed_repeats(
    paired: PairedItems,
    test: DifferenceTest,
    facts: tuple[SuiteSide, SuiteSide],
    summaries: tuple[SideSummary, SideSummary],
    policy: Policy,
) -> NeededRepeats:
    """Repeats of every item that would decide with the policy's power, and what they cost on both sides together.

    With a reference bank only the candidate is asked again, and only its samples are counted.
    """
    if all(side.facts.greedy for side in facts):
        return NeededRepeats(None, None, None, policy.power, _GREEDY)
    bank = harmonic_mean(paired.reference_k) if policy.bank else None
    found = repeats_to_decide(paired, test, policy.power, bank_repeats=bank)
    if found.repeats is None:
        return NeededRepeats(None, None, None, policy.power, found.note)
    asked = summaries[1:] if policy.bank else summaries
    samples = found.repeats * paired.n_items
    lengths = [side.completion_tokens_mean for side in asked]
    known = [length for length in lengths if length is not None]
    tokens = round(samples * sum(known)) if len(known) == len(lengths) else None
    note = f"{found.note}; against the stored reference of {bank:g} repeats" if bank is not None else found.note
    return NeededRepeats(found.repeats, samples * len(asked), tokens, policy.power, note)
