"""Were both sides asked the same? Digests, documents, prompts, prompt lengths: what makes runs comparable at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.inputs import ItemTable, Samples, SuiteSide
from evalkit.compare.pair import Aligned

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
    if left.name == right.name and getattr(left, column) == getattr(right, column):
        return []
    known = dict(zip(left.name, getattr(left, column), strict=True))
    pairs = zip(right.name, getattr(right, column), strict=True)
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
