"""Plans before a run: power, repeats, tokens and hours, from stored variances or stated assumptions."""

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import beta_chances, binary, judged, revalued, suite

from evalkit.compare.validity import Policy
from evalkit.examine.planning import SuiteAsk, plan_gate, power_of_all
from evalkit.model import Verdict
from evalkit.render.words import say
from evalkit.stats.methods import Goal

ASK = SuiteAsk("gpqa", "GPQA", 198, (4, 4), 0.02, greedy=False, limit=32_768)


def plan(ask=ASK, most=64, **goal):
    return plan_gate(ask, Goal(ask.margin, **goal), most)


def test_repeats_of_the_specification():
    # Mean .43, ICC .6, n = 198, 2 points: 22 repeats for 80 % power; MMLU at one point: 2; AIME at 2 points: 113.
    assert plan(replace(ASK, margin=0.02)).needed_repeats in range(20, 25)
    assert plan(replace(ASK, items=14042, margin=0.01)).needed_repeats == 2
    aime = plan(replace(ASK, items=30, margin=0.02))
    assert (aime.needed_repeats, aime.can_decide) == (None, False)
    assert "cannot decide within 64 repeats: needs 1" in say(aime.note)
    assert plan(replace(ASK, items=30, margin=0.05), most=64).needed_repeats in range(19, 28)


def test_power_as_configured_is_what_simulated_comparisons_give():
    rng = np.random.default_rng(1)
    chances = beta_chances(np.random.default_rng(2), 198, mean=0.6, icc=0.6)
    within = float(np.mean(chances * (1 - chances)))
    stored = suite(binary(rng, chances, 200))
    made = plan(replace(ASK, repeats=(8, 8), margin=0.03, stored=stored))
    assert made.variance.startswith("measured on the stored reference")
    assert float(made.variance.split()[5]) == pytest.approx(within, rel=0.02)
    template = suite(np.zeros((198, 8)))
    runs = [
        judged(*(revalued(template, binary(rng, chances, 8)) for _ in range(2)), Policy(default_margin=0.03)).verdict
        for _ in range(300)
    ]
    assert runs.count(Verdict.EQUIVALENT) / 300 == pytest.approx(made.power, abs=0.07)


def test_a_bank_is_not_asked_again():
    stored = suite(binary(np.random.default_rng(3), np.full(198, 0.5), 16))
    made = plan(replace(ASK, repeats=(16, 4), stored=stored, bank=True))
    assert made.samples == (0, 198 * 4)
    both = plan(replace(ASK, repeats=(16, 4), stored=stored))
    assert both.samples == (198 * 16, 198 * 4)
    assert made.needed_repeats is None or made.needed_repeats >= both.needed_repeats


def test_a_mean_of_one_repeat_is_used_and_the_rest_assumed():
    stored = suite(binary(np.random.default_rng(4), np.full(198, 0.9), 1))
    assert "measured, ICC 0.6 assumed" in plan(replace(ASK, stored=stored)).variance
    assert "mean 0.60 assumed" in plan().variance


@pytest.mark.parametrize(
    ("change", "tokens", "length"),
    [
        ({"mean_tokens": 100.0}, 198 * 4 * 100, "as given"),
        ({}, 198 * 4 * 32_768 / 4, "assumed: a quarter of the token limit 32,768"),
        ({"limit": None}, None, "unknown"),
    ],
)
def test_lengths(change, tokens, length):
    made = plan(replace(ASK, **change))
    assert made.length == length
    assert made.tokens == (None if tokens is None else (tokens, tokens))
    assert made.hours(1000) == (None if tokens is None else pytest.approx(tokens / 3.6e6))


def test_measured_lengths():
    stored = suite(np.ones((198, 1)), row=lambda item, _r, row: {**row, "completion_tokens": 50 if item % 2 else 150})
    made = plan(replace(ASK, stored=stored))
    assert made.tokens == (198 * 4 * 100, 198 * 4 * 100)
    assert made.length == "measured on the stored reference"


def test_greedy_suites_are_told_what_they_can_show():
    small = plan(replace(ASK, greedy=True, repeats=(1, 1)))
    assert not small.can_decide
    assert "greedy answers repeat themselves, and 198 of them show a margin of" in say(small.note)
    large = plan(replace(ASK, greedy=True, repeats=(1, 1), items=14042))
    assert (large.can_decide, large.needed_repeats, say(large.note)) == (True, 1, "decides as configured")


def test_unknown_numbers_of_items_give_no_plan():
    assert plan(replace(ASK, items=None)) is None
    assert plan(replace(ASK, items=1)) is None


def test_all_suites_together_need_luck():
    gates = [plan(replace(ASK, items=14042, margin=0.01, repeats=(2, 2)))] * 14
    assert power_of_all(gates) == pytest.approx(gates[0].power ** 14)
