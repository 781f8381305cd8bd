"""The first items of a stored run as a side of its own: what a smaller `--limit` would have asked."""

# ruff: noqa: INP001 - used by tables.py
from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from typing import Any

import numpy as np

from evalkit.compare.columns import ItemTable, Side, SuiteSide, no_reply

SIZES = (20, 50, 100, 200, 400, 800)


def beginning(side: Side, size: int) -> Side:
    """The first `size` items of each suite, in the order in which a larger limit adds them."""
    suites = {name: _beginning(suite, size) for name, suite in side.suites.items()}
    return replace(side, suites=suites, reply=no_reply)


def _beginning(suite: SuiteSide, size: int) -> SuiteSide:
    """By a hash of the item, so that a larger number only adds items."""
    items = suite.samples.items
    hashes = [hashlib.sha256(f"{suite.facts.suite}|{name}".encode()).digest() for name in items.name]
    chosen = sorted(sorted(range(len(items)), key=hashes.__getitem__)[:size])
    columns: dict[str, Any] = {one.name: getattr(items, one.name) for one in fields(items)}
    table = {
        name: column[chosen] if isinstance(column, np.ndarray) else tuple(column[row] for row in chosen if column)
        for name, column in columns.items()
    }
    samples = suite.samples.rows(np.flatnonzero(np.isin(suite.samples.item, chosen)))
    item = np.searchsorted(chosen, samples.item).astype(np.int32)
    return replace(suite, samples=replace(samples, items=ItemTable(**table), item=item))


def generated(suite: SuiteSide) -> int:
    """The tokens that the server generated for a suite."""
    return int(np.nansum(suite.samples.completion_tokens))
