"""Plans before a run: what is asked, how items and answers are simulated, from stored runs or stated assumptions."""

import re
from dataclasses import replace

import numpy as np
import pytest
from compare_factory import beta_chances, binary, judged, revalued, suite
from scipy import stats

from evalkit.compare.validity import Policy
from evalkit.examine.forecast import planned_suites
from evalkit.examine.planning import Judging, SuiteAsk, plan_suite
from evalkit.examine.priors import Spread, items_of, shape_of, tokens_of
from evalkit.model import Verdict
from evalkit.options import PlanOptions

ASK = SuiteAsk("quiz", "Quiz", 198, (4, 4), 0.03, greedy=False, limit=32_768)


def passes(*planned, overall=0.02, **options):
    return planned_suites(planned, overall, PlanOptions(comparisons=400, **options)).power


def test_the_chance_is_what_comparisons_of_score_tables_give():
    rng = np.random.default_rng(1)
    chances = beta_chances(np.random.default_rng(2), 198, mean=0.6, icc=0.6)
    within = float(np.mean(chances * (1 - chances)))
    stored = suite(binary(rng, chances, 200))
    made = plan_suite(replace(ASK, repeats=(8, 8), stored=stored))
    assert made.spread.startswith("measured: mean 0.")
    p = made.world.reference
    assert np.mean(p * (1 - p)) == pytest.approx(within, rel=0.05)
    template = suite(np.zeros((198, 8)))
    runs = [
        judged(*(revalued(template, binary(rng, chances, 8)) for _ in range(2)), Policy(default_margin=0.03)).verdict
        for _ in range(120)
    ]
    assert runs.count(Verdict.EQUIVALENT) / 120 == pytest.approx(passes(made), abs=0.12)


def test_a_bank_is_not_asked_again():
    stored = suite(binary(np.random.default_rng(3), np.full(198, 0.5), 16))
    made = plan_suite(replace(ASK, repeats=(16, 4), stored=stored, bank=True))
    both = plan_suite(replace(ASK, repeats=(16, 4), stored=stored))
    assert made.samples == (0, 198 * 4)
    assert both.samples == (198 * 16, 198 * 4)
    assert made.world.repeats == both.world.repeats == (16, 4)


def test_a_mean_of_one_repeat_is_used_and_the_rest_assumed():
    stored = suite(binary(np.random.default_rng(4), np.full(198, 0.9), 1))
    assert "measured, ICC 0.6 assumed" in plan_suite(replace(ASK, stored=stored)).spread
    assert plan_suite(ASK).spread == "assumed: mean 0.6, ICC 0.6"


@pytest.mark.parametrize(
    ("change", "tokens", "length"),
    [
        ({"mean_tokens": 100.0}, 100, "as given"),
        ({}, 8192, "assumed: a quarter of the token limit 32,768"),
        ({"limit": None}, None, "unknown"),
        (
            {"suite": "mmlu_gen_5shot", "limit": 99},
            512,
            "assumed: a quarter of the suite's token limit, measured on no",
        ),
        (
            {"suite": "mathvision", "profile": "qwen3_nothink"},
            185,
            "assumed: the mean published chain-of-thought reply",
        ),
        ({"suite": "mathvision", "profile": "qwen3_thinking"}, 4096, "assumed: a quarter of the suite's token limit"),
    ],
)
def test_lengths(change, tokens, length):
    made = plan_suite(replace(ASK, **change))
    assert made.length.startswith(length)
    assert made.tokens == (None if tokens is None else (198 * 4 * tokens, 198 * 4 * tokens))
    assert made.hours(1000) == (None if tokens is None else pytest.approx(198 * 4 * tokens / 3.6e6))


def test_measured_lengths():
    stored = suite(np.ones((198, 1)), row=lambda item, _r, row: {**row, "completion_tokens": 50 if item % 2 else 150})
    made = plan_suite(replace(ASK, stored=stored))
    assert made.tokens == (198 * 4 * 100, 198 * 4 * 100)
    assert made.length == "measured on a stored run"


def test_repeats_of_greedy_answers_cost_and_tell_nothing():
    once = plan_suite(replace(ASK, greedy=True, repeats=(1, 1), margin=0.06))
    often = plan_suite(replace(ASK, greedy=True, repeats=(8, 8), margin=0.06))
    assert (once.world.repeats, often.world.repeats) == ((1, 1), (1, 1))
    assert passes(once) == passes(often) > 0.8
    assert often.tokens[0] == 8 * once.tokens[0]
    assert "equal greedy stacks change 3 %" in once.spread
    moved = once.world.candidate - once.world.reference
    assert np.mean(np.abs(moved)) == pytest.approx(0.03)
    assert np.mean(moved) == pytest.approx(0.0, abs=1e-9)


def test_unknown_numbers_of_items_give_no_plan():
    assert plan_suite(replace(ASK, items=None)) is None
    assert plan_suite(replace(ASK, items=1)) is None


def test_failures_that_never_heal_cost_passes():
    large = replace(ASK, items=1000, repeats=(1, 1), margin=0.05)
    whole, lacking = passes(plan_suite(large)), passes(plan_suite(replace(large, failed=0.005)))
    assert whole > lacking > whole / 2


def test_weights_clusters_and_strata_of_the_table():
    pooled, musr, livebench = shape_of("gpqa_pooled", 546), shape_of("musr", 756), shape_of("livebench", 1000)
    assert (pooled.items.size, musr.items.size, livebench.items.size) == (546, 564, 1000)
    assert musr.items.sum() == 756
    assert pooled.share.max() / pooled.share.min() == pytest.approx(3)
    assert np.bincount(livebench.stratum, weights=livebench.share)[:3] == pytest.approx([1 / 18] * 3)
    assert items_of("livebench") == 1000
    for shape in (pooled, musr, livebench):
        assert shape.share.sum() == pytest.approx(1.0)
    assert shape_of("no_such_suite", 77).items.size == 77
    assert tokens_of("no_such_suite", None) is None


def test_the_shape_of_a_stored_run_is_its_own():
    about = [{"cluster": f"c{number // 2}", "stratum": (str(number % 2),), "weight": 1.0} for number in range(60)]
    stored = suite(np.ones((60, 2)), items=about)
    shape = plan_suite(replace(ASK, items=60, stored=stored)).world.shape
    assert (shape.items.size, shape.items.max(), shape.stratum.max()) == (30, 2, 0)


@pytest.mark.parametrize("icc", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_chances_have_the_mean_and_the_spread_that_were_asked_for(icc):
    p = Spread(0.7, icc, "").chances(4000)
    assert p.mean() == pytest.approx(0.7, abs=0.005)
    assert np.mean(p * (1 - p)) == pytest.approx(0.7 * 0.3 * (1 - icc), abs=0.004)
    assert Spread.measured(0.7, 0.7 * 0.3 * (1 - icc)).icc == pytest.approx(icc)


def obstacles(**more):
    ask = replace(ASK, **more)
    return list(plan_suite(ask).obstacles(ask, 0.9, 0.05))


def test_a_mean_near_chance_is_said_to_decide_nothing():
    assert obstacles(chance=0.25) == []
    (told,) = obstacles(chance=0.59)
    assert told == "a mean of 60% is not shown to lie above chance, 59%: never EQUIVALENT"
    assert obstacles(chance=0.5, margin=0.12) != []


def test_few_items_are_said_to_decide_no_p_gold():
    assert obstacles(p_gold_margin=0.005, items=1430) == []
    (told,) = obstacles(p_gold_margin=0.005, items=30)
    assert told.startswith("its p(gold) row passes only ")
    # By another road: what a t interval says of so many differences of that spread.
    drawn = np.random.default_rng(1).normal(0.0, 0.0125, (4000, 30))
    reach = stats.t.isf(0.05, 29) * drawn.std(axis=1, ddof=1) / np.sqrt(30)
    share = np.mean(np.abs(drawn.mean(axis=1)) + reach < 0.005)
    assert float(re.search(r"(\d+) %", told)[1]) / 100 == pytest.approx(share, abs=0.04)


def test_a_design_counts_the_judges_calls_of_its_own_repeats():
    made = plan_suite(replace(ASK, judged=(Judging(1, 0), Judging(1, 0))))
    more = replace(made, repeats=(2 * made.repeats[0], 2 * made.repeats[1]))
    assert more.judge_calls == 2 * made.judge_calls > 0
    assert more.judge_tokens == 2 * made.judge_tokens
