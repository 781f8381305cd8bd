"""Findings of the probe out of what it stored: enough to judge them again."""

# ruff: noqa: INP001 - used by tables.py
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.examine.divergence import ScoredText
from evalkit.examine.forcing import Drawn
from evalkit.examine.probe import Findings, Material, Plan

LIMIT = 128


def read_findings(entries: Iterable[Mapping[str, Any]]) -> Findings:
    """Findings from the entries of probe_tokens.jsonl: every log-probability, without greedy texts and costs.

    Raises:
        KeyError, TypeError, ValueError: an entry is none of those that `sequences` writes.
    """
    rows = list(entries)

    def material(side: str, *scores: str) -> Material:
        prompts = tuple(None if row["prompt_ids"][side] is None else tuple(row["prompt_ids"][side]) for row in rows)
        texts = tuple(_drawn(row, side) for row in rows)
        return Material(prompts, texts, (), {name: tuple(_scored(row[name]) for row in rows) for name in scores})

    reference = material("reference", "reference_again", "reference_on_reference", "candidate_on_reference")
    candidate = material("candidate", "reference_on_candidate", "candidate_on_candidate")
    return Findings(Plan(tuple(tuple(row["prompt"]) for row in rows), greedy=0), reference, candidate, {})


def _drawn(row: Mapping[str, Any], side: str) -> Drawn | None:
    """A text; what was stored before texts said whether they ended did so below the limit."""
    ids = row["ids"][side]
    if ids is None:
        return None
    ended = row.get("ended", {}).get(side, len(ids) < LIMIT)
    return Drawn(tuple(ids), _scored(row["decoded"][side]) or ScoredText(()), bool(ended))


def _scored(values: list[Any] | None) -> ScoredText | None:
    """Log-probabilities as they were written: what is no finite number is a word."""
    return None if values is None else ScoredText(tuple(None if one is None else float(one) for one in values))
