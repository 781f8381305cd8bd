"""Sides, suites and scores for tests: a matrix of scores (items x repeats, NaN for none) becomes a side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.compare.behaviour import whole_text
from evalkit.compare.columns import ReplyText, Sample, Side, SuiteFacts, SuiteSide
from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.files import digest64
from evalkit.foreign.columns import ItemFacts, SamplesBuilder
from evalkit.model import Comparison, RunIdentity, Status, SuiteResult

NOW = "2026-01-02T03:04:05+00:00"
RowChange = Callable[[int, int, dict[str, Any]], dict[str, Any]]


def suite(
    scores: Any,
    name: str = "quiz",
    *,
    items: Sequence[Mapping[str, Any]] | None = None,
    row: RowChange | None = None,
    order: Sequence[int] | None = None,
    repeats: Sequence[int] | None = None,
    **facts: Any,
) -> SuiteSide:
    """A suite from a matrix of scores; `row` changes or drops (by None) single samples, `order` stores them shuffled."""
    matrix = np.asarray(scores, dtype=float)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    made = SamplesBuilder()
    about = items or [{} for _ in range(len(matrix))]
    for number, item in enumerate(about):
        made.add_item(ItemFacts(**{"name": f"item{number:05d}", **item}))
    names = list(made.items)
    rows = []
    for number, values in enumerate(matrix):
        for place, value in enumerate(values):
            repeat = place if repeats is None else repeats[place]
            missing = bool(np.isnan(value))
            made_row = {
                "item": names[number],
                "repeat": repeat,
                "value": None if missing else float(value),
                "status": Status.FAILED if missing else Status.SCORED,
                "failure": "timeout" if missing else "",
            }
            changed = made_row if row is None else row(number, repeat, made_row)
            if changed is not None:
                rows.append(changed)
    for place in range(len(rows)) if order is None else order:
        made.add(Sample(**rows[place]))
    about_suite = {"suite": name, "label": name.title(), "margin": 0.02, **facts}
    return SuiteSide(SuiteFacts(**about_suite), made.samples())


def with_replies(
    scores: Any,
    texts: Sequence[str | ReplyText],
    name: str = "quiz",
    *,
    tokens: Sequence[float] | None = None,
    **facts: Any,
) -> tuple[SuiteSide, dict[tuple[str, int], str | ReplyText]]:
    """A suite asked once whose replies are these texts, and the `texts` that `side` takes."""

    def add_text(item: int, _repeat: int, row: dict[str, Any]) -> dict[str, Any]:
        text = texts[item] if isinstance(texts[item], str) else whole_text(texts[item])
        number = None if tokens is None else tokens[item]
        return {**row, "text": digest64(text), "characters": len(text), "completion_tokens": number}

    return suite(scores, name, row=add_text, **facts), {(name, row): text for row, text in enumerate(texts)}


def revalued(template: SuiteSide, scores: np.ndarray) -> SuiteSide:
    """The suite with other scores (all there), for simulations: a hundred times faster than a new one."""
    return replace(template, samples=replace(template.samples, value=np.ascontiguousarray(scores, dtype=float).ravel()))


def side(name: str, *suites: SuiteSide, texts: Mapping[tuple[str, int], str | ReplyText] | None = None) -> Side:
    """A side of these suites; `texts` holds replies by (suite, row)."""
    identity = RunIdentity(name, f"{name}-1", "acme-7b", f"runs/{name}", NOW, {"evalkit": "0"}, {}, {})

    def reply(suite_name: str, row: int) -> ReplyText | None:
        found = (texts or {}).get((suite_name, row))
        return ReplyText(found) if isinstance(found, str) else found

    return Side(identity, {}, {one.facts.suite: one for one in suites}, reply)


def compared(reference: SuiteSide, candidate: SuiteSide, policy: Policy | None = None) -> Comparison:
    """The comparison of one suite."""
    return compare(side("reference", reference), side("candidate", candidate), policy or Policy(), NOW)


def judged(reference: Any, candidate: Any, policy: Policy | None = None, **facts: Any) -> SuiteResult:
    """The result of one suite from two matrices of scores, or two suites."""
    one, two = (x if isinstance(x, SuiteSide) else suite(x, **facts) for x in (reference, candidate))
    return compared(one, two, policy).suites[0]


def binary(rng: np.random.Generator, chances: Any, k: int) -> np.ndarray:
    """Right-or-wrong scores: one row an item with its chance, k repeats."""
    chances = np.asarray(chances)
    return (rng.random((chances.size, k)) < chances[:, None]).astype(float)


def beta_chances(rng: np.random.Generator, n: int, mean: float = 0.6, icc: float = 0.6) -> np.ndarray:
    """Chances of items from a Beta distribution with this mean, icc = 1 / (a + b + 1)."""
    total = 1 / icc - 1
    return rng.beta(mean * total, (1 - mean) * total, n)


def shifted(n: int, lost: int, gained: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two columns over n items: half right, `lost` of them wrong on the other side, `gained` right instead."""
    one = np.r_[np.ones(n // 2), np.zeros(n - n // 2)]
    two = one.copy()
    two[:lost] = 0.0
    two[n - gained : n] = 1.0
    return one, two


def many(*parts: tuple[int, int, int]) -> tuple[Side, Side]:
    """Two sides of suites s0, s1, ..., each `shifted` by its part."""
    sides = [shifted(*part) for part in parts]
    return (
        side("reference", *(suite(one, f"s{i}") for i, (one, _two) in enumerate(sides))),
        side("candidate", *(suite(two, f"s{i}") for i, (_one, two) in enumerate(sides))),
    )
