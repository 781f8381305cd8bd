"""Do a side's failures, garbage, cut and lost answers come from one address, or from a stretch of time?

A replica that is broken, or a server that was changed in the night, spoils a part of the answers that has a name.
Suites are pooled, each with its own rate, so that a weak suite is no bad hour. All tests of a comparison together cry
wolf on equal stacks at most once in a hundred comparisons: each tail is exact, times the number of places looked at.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.columns import Side
from evalkit.compare.garbage import is_garbage
from evalkit.compare.pair import Aligned, Floats, Ints, codes_of
from evalkit.model import Reason, Status, Value
from evalkit.stats.tails import binomial_upper, hypergeometric

ALPHA: Final = 0.01  # the share of comparisons of equal stacks that may say anything at all here
_KINDS: Final = ("failed", "garbage", "cut", "lost")
_TESTS: Final = 2 * len(_KINDS) * 2  # sides, kinds, address and time
_LEAST: Final = 3  # events
_STRETCHES: Final = 48  # pieces of time with as many answers each; a window is some of them in a row

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """What happened (`hits`) among the samples that it could have happened to, in the order of time.

    `counter` is the opposite of the event, which equal stacks show as often; None where there is no such thing. `suite`
    and `address` are numbers.
    """

    hits: Mask
    counter: Mask | None
    at: Floats
    address: Ints
    suite: Ints

    def upper(self, inside: Mask) -> float:
        """How likely equal stacks have so many of the events inside, were they at no place in particular."""
        hits, chances = int(self.hits[inside].sum()), np.ones(1)
        for code in codes_of(self.suite[self.hits]).tolist():
            own = self.suite == code
            drawn, marked = int((own & inside).sum()), int(self.hits[own].sum())
            chances = np.convolve(chances, hypergeometric(drawn, marked, int(own.sum())))
        p = float(chances[hits:].sum())
        if self.counter is None:
            return p
        return max(p, binomial_upper(hits, hits + int(self.counter[inside].sum()), 0.5))


def cluster_notes(reference: Side, candidate: Side, aligned: Mapping[str, Aligned]) -> tuple[Reason, ...]:
    """A note for every kind of trouble that one address or stretch of time has more of than chance gives it."""
    sides = (reference, candidate)
    notes: list[Reason] = []
    for number, name in enumerate(("reference", "candidate")):
        names: dict[str, int] = {}
        for kind in _KINDS:
            pieces = [_piece(kind, number, sides, suite, one, names) for suite, one in aligned.items()]
            events = _together([piece for piece in pieces if piece is not None])
            if events is not None and int(events.hits.sum()) >= _LEAST:
                about: dict[str, Value] = {"side": name, "kind": kind}
                notes += list(_by_address(events, list(names), about)) or list(_by_time(events, about))
    return tuple(notes)


def _piece(
    kind: str, number: int, sides: Sequence[Side], suite: str, aligned: Aligned, names: dict[str, int]
) -> _Events | None:
    """The events of a suite on one side, in the order of its samples; None where nobody knows when they were."""
    own, other = (sides[place].suites[suite].samples for place in (number, 1 - number))
    known = ~np.isnan(own.at)
    if not known.any():
        return None
    codes = np.asarray([names.setdefault(word, len(names)) for word in own.address.names] or [0], dtype=np.int64)
    failed, garbage = own.status.mask(Status.FAILED), is_garbage(own, other)
    counter: Mask | None = None
    if kind in {"cut", "lost"}:
        cells = aligned.reference, aligned.candidate
        columns = [one.value for one in cells]
        if kind == "cut":
            cuts = [side.suites[suite].samples.truncated.astype(np.float64) for side in sides]
            columns = [one.column(-cut) for one, cut in zip(cells, cuts, strict=True)]
        rows, gap = _changes(aligned, number, columns)
        counted = known[rows] & ~garbage[rows]
        rows, gap = rows[counted], gap[counted]
        hits, counter = gap < 0, gap > 0
    else:
        rows = np.flatnonzero(known if kind == "failed" else known & ~failed)
        hits = (failed if kind == "failed" else garbage)[rows]
    # By when they were asked: long answers, which are lost and cut more often, are the last to come.
    began = own.at - np.where(failed, 0.0, np.nan_to_num(own.seconds))
    return _Events(hits, counter, began[rows], codes[own.address.codes[rows]], np.zeros(rows.size, dtype=np.int64))


def _changes(aligned: Aligned, number: int, columns: Sequence[Floats]) -> tuple[Ints, Floats]:
    """Rows of a side's samples, one an item, and how far each lies above the other side's same repeat in `columns`.

    Repeats of an item are no independent evidence; which one stands for it goes round, so that all times are seen.
    """
    cells = (aligned.reference, aligned.candidate)
    values = [column[both] for column, both in zip(columns, aligned.both, strict=True)]
    scored = ~np.isnan(values[0]) & ~np.isnan(values[1])
    item = cells[number].item[aligned.both[number]][scored]
    first = np.flatnonzero(np.diff(item, prepend=-1))  # cells are sorted by item
    counts = np.diff(first, append=item.size)
    chosen = np.flatnonzero(scored)[first + item[first] % counts]
    return cells[number].row[aligned.both[number][chosen]], (values[number] - values[1 - number])[chosen]


def _together(pieces: Sequence[_Events]) -> _Events | None:
    if not pieces:
        return None
    at = np.concatenate([piece.at for piece in pieces])
    order = np.argsort(at, kind="stable")
    counters = [piece.counter for piece in pieces if piece.counter is not None]
    return _Events(
        np.concatenate([piece.hits for piece in pieces])[order],
        np.concatenate(counters)[order] if counters else None,
        at[order],
        np.concatenate([piece.address for piece in pieces])[order],
        np.concatenate([np.full(piece.hits.size, code) for code, piece in enumerate(pieces)])[order],
    )


def _by_address(events: _Events, names: Sequence[str], about: Mapping[str, Value]) -> Iterator[Reason]:
    asked = codes_of(events.address)
    if asked.size < 2:
        return
    for address in asked.tolist():
        inside = events.address == address
        if names[address] and events.upper(inside) * asked.size <= ALPHA / _TESTS:
            yield Reason("cluster.address", {**about, **_counts(events, inside), "address": names[address]})


def _by_time(events: _Events, about: Mapping[str, Value]) -> Iterator[Reason]:
    edges = codes_of(np.linspace(0, events.at.size, _STRETCHES + 1).astype(np.int64))
    starts, stops = edges[np.array(np.triu_indices(edges.size, 1))]
    part = stops - starts < events.at.size
    if not part.any():
        return
    start, stop = _densest(events, starts[part], stops[part])
    inside = np.zeros(events.at.size, dtype=np.bool_)
    inside[start:stop] = True
    if events.upper(inside) * int(part.sum()) > ALPHA / _TESTS:
        return
    values: dict[str, Value] = {**about, **_counts(events, inside), "since": _clock(events.at[start])}
    if stop < events.at.size:
        yield Reason("cluster.between", {**values, "until": _clock(events.at[stop - 1])})
    else:
        yield Reason("cluster.since", values)


def _densest(events: _Events, start: Ints, stop: Ints) -> tuple[int, int]:
    """The start and stop of the window with the most events beyond what its suites' rates give, in standard deviations.

    What lasts to the end is the simpler story: a window that ends before it must stand out clearly more.
    """
    excess, variance = np.zeros(start.size), np.zeros(start.size)
    for code in codes_of(events.suite[events.hits]).tolist():
        own = events.suite == code
        before = np.concatenate([[0], np.cumsum(own)]), np.concatenate([[0], np.cumsum(own & events.hits)])
        drawn, hits = (total[stop] - total[start] for total in before)
        n, rate = int(own.sum()), float(events.hits[own].mean())
        excess += hits - drawn * rate
        variance += drawn * (n - drawn) / max(1, n - 1) * rate * (1 - rate)
    spread = np.where(variance > 0, excess / np.sqrt(np.maximum(variance, 1e-12)), -np.inf)
    best = int(np.argmax(np.where(stop == events.hits.size, 1.1, 1.0) * spread))
    return int(start[best]), int(stop[best])


def _counts(events: _Events, inside: Mask) -> dict[str, Value]:
    return {
        "n": int(events.hits[inside].sum()),
        "all": int(events.hits.sum()),
        "part": int(inside.sum()),
        "whole": inside.size,
    }


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(math.floor(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
