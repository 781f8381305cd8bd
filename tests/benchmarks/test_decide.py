"""The gates of whole packs by simulation, as benchmarks/decide.py prints them: they answer, and catch what is worse."""

from __future__ import annotations

from collections import Counter

import decide
import pytest

from evalkit.model import Verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "verdict", "least"),
    [
        ("text, identical", Verdict.EQUIVALENT, 30),
        ("text, identical, .1 % a side fail", Verdict.EQUIVALENT, 24),
        ("text, identical, with rates", Verdict.EQUIVALENT, 30),
        ("text, all 5 worse", Verdict.DEGRADED, 36),
    ],
)
def test_a_pack_answers(cell, verdict, least):
    made = list(decide.simulated(decide.CELLS[cell], 40, seed=1))
    found = Counter(one.verdict for one in made)
    assert found[verdict] >= least
    assert found[Verdict.INVALID] == 0
    assert sum(any(row.alert for suite in one.suites for row in suite.behaviour) for one in made) <= 2
