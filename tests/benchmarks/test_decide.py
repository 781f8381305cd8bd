"""The gates of whole packs by simulation, as benchmarks/decide.py prints them: they answer, and catch what is worse."""

from __future__ import annotations

from collections import Counter

import decide
import pytest

from evalkit.model import Verdict

N = 1000
NOISE = 2 * (0.05 * 0.95 / N) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pack", "bank", "worse_pt", "tokens"),
    [
        ("flagrelease-text", None, -2, 90e6),
        ("flagrelease-multimodal", None, -2, 40e6),
        ("flagrelease-omni", None, -2, 150e6),
        ("nightly", 16, -3, 20e6),
        ("nightly-logprob", 16, -3, 20e6),
    ],
)
def test_a_pack_passes_equal_stacks_and_none_that_is_worse(pack, bank, worse_pt, tokens):
    equal = decide.Cell(pack, bank=bank, rounds=1 if bank else None)
    assert decide.tokens(equal) <= tokens
    assert decide.counted(equal, N, seed=1)[Verdict.EQUIVALENT.value] >= 0.9 * N
    worse = decide.counted(decide.Cell(pack, bank=bank, all_pt=worse_pt, rounds=1 if bank else None), N, seed=1)
    assert worse[Verdict.EQUIVALENT.value] <= 0.01 * N


@pytest.mark.slow
@pytest.mark.parametrize("cell", [name for name in decide.CELLS if name.endswith(("at -margin", "at -guard"))])
def test_what_is_just_too_bad_passes_as_seldom_as_alpha_says(cell):
    assert decide.counted(decide.CELLS[cell], N, seed=2)[Verdict.EQUIVALENT.value] <= (0.05 + NOISE) * N


@pytest.mark.slow
def test_five_points_worse_is_degraded():
    assert decide.counted(decide.CELLS["text, all 5 worse"], N, seed=3)[Verdict.DEGRADED.value] >= 0.95 * N


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "least", "invalid"),
    [(".1 % a side fail", 0.8, 0.01), (".5 % fail, asked again", 0.88, 0.002)],
)
def test_a_pack_answers_where_answers_lack(cell, least, invalid):
    found = decide.counted(decide.CELLS[f"text, identical, {cell}"], N, seed=1)
    assert found[Verdict.EQUIVALENT.value] >= least * N
    assert found[Verdict.INVALID.value] <= invalid * N


@pytest.mark.slow
def test_a_pack_answers_where_answers_are_cut():
    made = list(decide.simulated(decide.CELLS["text, identical, with rates"], 40, seed=1))
    found = Counter(one.verdict for one in made)
    assert found[Verdict.EQUIVALENT] >= 30
    assert found[Verdict.INVALID] == 0
    assert sum(any(row.alert for suite in one.suites for row in suite.behaviour) for one in made) <= 2
