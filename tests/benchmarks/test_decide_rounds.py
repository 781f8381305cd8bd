"""A pack in rounds by simulation, as benchmarks/decide_rounds.py prints it: decided sooner, and no more often wrongly."""

import decide_rounds as rounds
import numpy as np
import pytest

from evalkit.parts import Design

STEPS = rounds.schedule(Design(rounds.PACK.rounds, 1, fast=True), rounds.SIZES)


def ended(cell, comparisons):
    """How comparisons of a cell end, which before the first round, and a side's mean part of all tokens."""
    seen = rounds.simulated(rounds.CELLS[cell], comparisons, seed=1)
    found, tokens = rounds.ends(seen, STEPS)
    return found, seen.fast, tokens.mean() / (STEPS.samples[-1] @ rounds.TOKENS)


@pytest.mark.slow
def test_equal_stacks_pass_before_all_is_asked():
    found, fast, tokens = ended("identical", 60)
    assert found.equivalent.mean() > 0.75
    assert not fast.any()
    assert tokens < 0.95


@pytest.mark.slow
def test_what_is_five_points_worse_is_degraded_at_once():
    found, fast, tokens = ended("all 5 worse", 40)
    assert np.mean(found.alarms.any(axis=0) | fast) > 0.95
    assert tokens < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["all at -margin", "GPQA at -guard"])
def test_what_is_at_its_margin_hardly_ever_passes(cell):
    found, _fast, _tokens = ended(cell, 100)
    assert found.equivalent.mean() <= 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5
