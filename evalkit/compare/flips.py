"""The items that changed, ranked by evidence, with a representative reply of each side.

A flip of an item asked once and one of an item whose eight repeats all turned are not the same news: the rank is the
likelihood ratio statistic of "the chance of a right answer is the same on both sides" (G. A. Barnard; twice the log
of the ratio), which is 2.8 for the first and 22 for the second. Items that kept their score and changed their answers
come last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.behaviour import bounded, whole_text
from evalkit.compare.columns import Labels, Samples, Side
from evalkit.compare.pair import Aligned, Cells, align
from evalkit.model import Flip
from evalkit.stats.methods import SAME

Kind: TypeAlias = Literal["regressed", "improved", "changed"]
KINDS: Final[tuple[Kind, ...]] = ("regressed", "improved", "changed")
_QUESTION = 2000  # characters of a question that a stored flip holds
_ANSWER = 200
_CHANGED = 0.5  # the evidence of other answers with the same score, below that of any flip of a single answer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """An item that changed: its code, and the rows of a reply on either side that shows it."""

    item: int
    kind: Kind
    evidence: float
    reference_score: float
    candidate_score: float
    reference_row: int
    candidate_row: int
    repeat: int


@dataclass(frozen=True, slots=True)
class Shown:
    """How much of a flip is shown: whole texts or their surroundings, and whether those of gated suites are."""

    whole: bool = False
    questions: bool = False


def find_flips(
    aligned: Aligned, left: Samples, right: Samples, most: int | None = None, kinds: Sequence[Kind] = KINDS
) -> list[Place]:
    """The items that changed, the strongest evidence first (then by name); at most `most`."""
    paired = aligned.paired
    if paired is None or (most is not None and most <= 0):
        return []
    scores = (paired.reference_mean, paired.candidate_mean)
    difference = paired.difference
    evidence = likelihood_ratio(scores, (paired.reference_k, paired.candidate_k))
    other = _other_answers(aligned, left.answer, right.answer)[paired.item]
    kind = np.select([difference < -SAME, difference > SAME, other > 0], [0, 1, 2], default=3)
    evidence = np.where(kind == 2, _CHANGED * other, evidence)
    wanted = [number for number, name in enumerate(KINDS) if name in kinds]
    rows = np.flatnonzero(np.isin(kind, wanted))
    order = rows[np.argsort(-evidence[rows], kind="stable")][:most]
    return [_place(aligned, int(row), KINDS[kind[row]], float(evidence[row])) for row in order]


def changed(
    sides: tuple[Side, Side],
    suites: Sequence[str],
    kinds: Sequence[Kind] = KINDS,
    *,
    item: str | None = None,
    most: int | None = None,
    shown: Shown,
) -> list[Flip]:
    """The items of some suites that changed, with answers and texts, the strongest evidence first; at most `most`."""
    found: list[Flip] = []
    for name in suites:
        left, right = sides[0].suites.get(name), sides[1].suites.get(name)
        if left is None or right is None:
            continue
        aligned = align(left, right)
        places = find_flips(aligned, left.samples, right.samples, most if item is None else None, kinds)
        wanted = [place for place in places if item in {None, aligned.layout.items[place.item]}]
        found += [describe(name, sides, aligned, place, shown) for place in wanted]
    return sorted(found, key=lambda flip: -flip.evidence)[:most]


def likelihood_ratio(means: tuple[Floats, Floats], repeats: tuple[Ints, Ints]) -> Floats:
    """By item: twice the log likelihood ratio of two binomial chances against one (graded scores count as parts)."""
    total = repeats[0] + repeats[1]
    pooled = (means[0] * repeats[0] + means[1] * repeats[1]) / total
    statistic = np.zeros(pooled.size)
    for mean, k in zip(means, repeats, strict=True):
        statistic += 2.0 * k * (_x_log(mean, mean, pooled) + _x_log(1.0 - mean, 1.0 - mean, 1.0 - pooled))
    return np.maximum(statistic, 0.0)


def _x_log(x: Floats, numerator: Floats, denominator: Floats) -> Floats:
    """The product of x and log(numerator / denominator), 0 where x is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(x > 0, x * np.log(numerator / denominator), 0.0))


def _other_answers(aligned: Aligned, left: Labels, right: Labels) -> Floats:
    """By item code: the share of its cells, scored on both sides, in which the answers differ."""
    n_items = len(aligned.layout.items)
    both = aligned.both
    scored = ~np.isnan(aligned.reference.value[both[0]]) & ~np.isnan(aligned.candidate.value[both[1]])
    cells = both[0][scored], both[1][scored]
    one, two = aligned.reference.row[cells[0]], aligned.candidate.row[cells[1]]
    codes = {name: code for code, name in enumerate(dict.fromkeys((*left.names, *right.names)))}
    maps = [np.asarray([codes[name] for name in labels.names], dtype=np.int64) for labels in (left, right)]
    differs = maps[0][left.codes[one]] != maps[1][right.codes[two]]
    item = aligned.reference.item[cells[0]]
    counts = np.bincount(item, minlength=n_items)
    return np.asarray(np.bincount(item, weights=differs, minlength=n_items) / np.maximum(counts, 1))


def _place(aligned: Aligned, row: int, kind: Kind, evidence: float) -> Place:
    paired = aligned.paired
    assert paired is not None  # noqa: S101 - a place comes from a paired item
    code = int(paired.item[row])
    one, two = _representative(aligned, code, kind)
    return Place(
        item=code,
        kind=kind,
        evidence=evidence,
        reference_score=float(paired.reference_mean[row]),
        candidate_score=float(paired.candidate_mean[row]),
        reference_row=int(aligned.reference.row[one]),
        candidate_row=int(aligned.candidate.row[two]),
        repeat=int(aligned.reference.repeat[one]),
    )


def _representative(aligned: Aligned, code: int, kind: Kind) -> tuple[int, int]:
    """The cells that show the change best: the same repeat on both sides where it shows it, else any that do."""
    one, two = _cells_of(aligned.reference, code), _cells_of(aligned.candidate, code)
    sign = -1.0 if kind == "improved" else 1.0
    values = aligned.reference.value, aligned.candidate.value
    _keys, left, right = np.intersect1d(
        aligned.reference.repeat[one], aligned.candidate.repeat[two], assume_unique=True, return_indices=True
    )
    if left.size:
        gaps = sign * (values[0][one[left]] - values[1][two[right]])
        best = int(np.argmax(gaps))
        if kind == "changed" or gaps[best] > 0:
            return int(one[left[best]]), int(two[right[best]])
    return int(one[np.argmax(sign * values[0][one])]), int(two[np.argmin(sign * values[1][two])])


def _cells_of(cells: Cells, code: int) -> Ints:
    """The scored cells of an item."""
    start, stop = np.searchsorted(cells.item, [code, code + 1])
    inside = np.arange(start, stop)
    return inside[~np.isnan(cells.value[inside])]


def describe(suite: str, sides: tuple[Side, Side], aligned: Aligned, place: Place, shown: Shown) -> Flip:
    """The flip at a place with answers, texts and question; of a gated suite only where asked for."""
    left, right = (side.suites[suite] for side in sides)
    item = aligned.layout.items[place.item]
    rows = place.reference_row, place.candidate_row
    replies = (side.reply(suite, row) for side, row in zip(sides, rows, strict=True))
    one, two = ("" if reply is None else whole_text(reply) for reply in replies)
    if not shown.whole:
        one, two = bounded(one, two)
    about = sides[0].item(suite, item) or sides[1].item(suite, item)
    question = about.question if about is not None else None
    if question is not None and not shown.whole:
        question = _short(question, _QUESTION)
    flip = Flip(
        suite=suite,
        item=item,
        kind=place.kind,
        reference_score=place.reference_score,
        candidate_score=place.candidate_score,
        reference_status=left.samples.status[rows[0]],
        candidate_status=right.samples.status[rows[1]],
        reference_answer=_short(left.samples.answer[rows[0]], _ANSWER) or None,
        candidate_answer=_short(right.samples.answer[rows[1]], _ANSWER) or None,
        reference_text=one,
        candidate_text=two,
        target=_short(about.target, _ANSWER) if about is not None else "",
        evidence=place.evidence,
        repeat=place.repeat,
        question=question,
        stratum=aligned.layout.strata[place.item],
    )
    return flip if shown.questions or not (left.facts.gated or right.facts.gated) else flip.withheld()


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
