"""One suite's result, and what a comparison carries beside it."""

from __future__ import annotations

import numpy as np
import pytest
from compare_factory import NOW, binary, compared, judged, many, shifted, suite
from paired_items import pair_single
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.pair import align
from evalkit.compare.validity import NoiseFloor, Policy
from evalkit.model import Difference, Interval, Verdict, said
from evalkit.render.words import say
from evalkit.stats.methods import judge_difference


def test_result_carries_the_numbers_of_the_test():
    one, two = shifted(400, 12, 4)
    result = judged(one, two)
    test = judge_difference(pair_single(one, two), 0.02)
    assert (result.difference, result.ci90, result.ci95) == (test.point, test.ci90, test.ci95)
    assert result.difference == pytest.approx(result.candidate.mean - result.reference.mean)
    assert (result.p_tost, result.method, result.coverage) == (test.p_tost, "tango", 1.0)
    assert (result.flips.regressed, result.flips.improved, result.flips.churn) == (12, 4, 0.04)
    assert result.p_difference == pytest.approx(0.0768, abs=1e-3)  # exact McNemar, 4 of 16
    assert (result.n_items, result.k_reference, result.k_candidate) == (400, 1.0, 1.0)


@pytest.mark.parametrize(
    ("lost", "gained", "margin", "sentence"),
    [
        (2, 2, 0.02, "the 90 % interval -1.1 … +1.1 points lies inside ±2"),
        (10, 0, 0.06, "lies inside ±6 (0 is outside it: a real difference, but within tolerance)"),
        (60, 0, 0.02, "lies wholly below -2"),
        (0, 60, 0.02, "lies wholly above +2: suspect another prompt, scorer, token limit or data set"),
        (9, 0, 0.02, "is neither inside ±2 nor wholly outside it, leaning worse; "),
        (0, 9, 0.02, "is neither inside ±2 nor wholly outside it, leaning better; "),
        (6, 6, 0.01, "is neither inside ±1 nor wholly outside it; "),
    ],
)
def test_every_verdict_says_its_numbers(lost, gained, margin, sentence):
    one, two = shifted(400, lost, gained)
    (reason,) = told(judged(one, two, Policy(default_margin=margin)).reasons)
    assert sentence in reason


def test_means_and_difference_belong_together_where_pairs_are_missing():
    one, two = shifted(400, 10)
    two[395:] = np.nan
    result = judged(one, two)
    assert result.difference == pytest.approx(result.candidate.mean - result.reference.mean, abs=1e-15)
    assert result.n_items == 395
    assert result.candidate.failures == {"timeout": 5}
    assert result.candidate.counts == {"scored": 395, "failed": 5}


def test_repeats_may_differ_between_the_sides():
    rng = np.random.default_rng(1)
    result = judged(binary(rng, np.full(300, 0.5), 16), binary(rng, np.full(300, 0.5), 4))
    assert (result.k_reference, result.k_candidate, result.coverage) == (16.0, 4.0, 1.0)
    assert result.method == "paired t"


def test_clusters_and_strata_choose_the_method():
    rng = np.random.default_rng(2)
    one, two = rng.random((120, 2))[:, :1], rng.random((120, 2))[:, :1]
    stories = [{"cluster": f"story{number // 4}"} for number in range(120)]
    clustered = judged(suite(one, items=stories), suite(two, items=stories))
    assert clustered.method == "clustered t"
    headings = [{"stratum": ("big",) if number < 100 else ("small",)} for number in range(120)]
    plain = judged(suite(one, items=headings), suite(two, items=headings))
    macro = judged(suite(one, items=headings, headline="macro"), suite(two, items=headings, headline="macro"))
    assert (plain.method, macro.method) == ("paired t", "stratified t")
    gap = (two - one).ravel()
    assert plain.difference == pytest.approx(gap.mean())
    assert macro.difference == pytest.approx((gap[:100].mean() + gap[100:].mean()) / 2)
    assert [row.heading for row in macro.breakdown] == [("big",), ("small",)]
    assert macro.breakdown[1].difference == pytest.approx(gap[100:].mean())


def test_unequal_weights_say_how_many_items_they_are_worth():
    one, two = shifted(200, 8, 4)
    weights = [{"weight": 20.0 if number % 50 == 0 else 0.1} for number in range(200)]
    heavy = judged(suite(one, items=weights), suite(two, items=weights))
    assert "its 200 items weigh as 6 that count alike; the heaviest holds 20.1 % of the headline" in told(heavy.notes)
    assert heavy.verdict is Verdict.INVALID
    (reason,) = told(heavy.reasons)
    assert reason.startswith("item item00000 holds 20.1 % of the headline (10 % at most)")
    lighter = [{"weight": 20.0 if number % 10 == 0 else 0.1} for number in range(200)]
    assert judged(suite(one, items=lighter), suite(two, items=lighter)).verdict is not Verdict.INVALID
    assert not any("count alike" in note for note in told(judged(one, two).notes))


def test_tags_are_rows_beside_the_strata_and_an_item_counts_in_each_of_its_own():
    one, two = np.tile([0.0, 1.0], 60)[:, None], np.tile([0.0, 1.0], 60)[:, None]
    two[:30] = 0.0
    about = [
        {
            "stratum": ("ocr+rec",) if n < 40 else ("rec",),
            "tags": (("capability", "rec"), *([("capability", "ocr")] if n < 40 else [])),
        }
        for n in range(120)
    ]
    result = judged(suite(one, items=about), suite(two, items=about))
    rows = {row.heading: row for row in result.breakdown}
    assert list(rows) == [("capability", "ocr"), ("capability", "rec"), ("ocr+rec",), ("rec",)]
    assert [row.n_items for row in rows.values()] == [40, 120, 40, 80]
    assert rows["capability", "ocr"].difference == pytest.approx(-15 / 40)
    assert rows["capability", "rec"].difference == pytest.approx(result.difference) == pytest.approx(-15 / 120)
    assert rows["capability", "ocr"].ci90 == rows["ocr+rec",].ci90


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_each_row_of_a_breakdown_has_the_interval_that_its_items_get_alone(k, seed):
    """Whatever methods the rows need: Tango, t over clusters, t of graded scores, and none for a single item."""
    rng = np.random.default_rng(seed)
    sizes = {"alone": 1, "plain": 40, "stories": 30, "graded": 25, "few": 2}
    about = [
        {"stratum": (name,), **({"cluster": f"{name}{number // 5}"} if name == "stories" else {})}
        for name, size in sizes.items()
        for number in range(size)
    ]
    graded = np.array([item["stratum"] == ("graded",) for item in about]) & (seed % 2 == 0)
    one = np.where(graded[:, None], rng.choice([0.0, 0.5, 1.0], (98, k)), rng.integers(0, 2, (98, k)))
    two = np.where(rng.random((98, k)) < 0.1, 1.0 - one, one)
    sides = suite(one, items=about), suite(two, items=about)
    whole, paired = judged(*sides), align(*sides).paired
    assert [row.heading for row in whole.breakdown] == sorted((name,) for name in sizes)
    for row in whole.breakdown:
        rows = [number for number, item in enumerate(about) if item["stratum"] == row.heading]
        if len(rows) == 1:
            assert row.ci90 is None
        else:
            expected = judge_difference(paired.select(np.array(rows)), 0.02).ci90
            assert (row.ci90.low, row.ci90.high) == (expected.low, expected.high)


def test_a_heading_that_loses_items_keeps_its_weight():
    headings = [{"stratum": ("a",) if number < 60 else ("b",)} for number in range(120)]
    one, two = np.tile([0.0, 1.0], 60), np.tile([0.0, 1.0], 60)
    two[:3] = np.nan
    result = judged(suite(one, items=headings, headline="macro"), suite(two, items=headings, headline="macro"))
    means = [one[3:60].mean(), one[60:].mean()]
    assert result.reference.mean == pytest.approx(sum(means) / 2)


def test_nested_headings_weigh_the_same_at_every_level():
    headings = (
        [{"stratum": ("math", "amps")}] * 20 + [{"stratum": ("math", "aime")}] * 10 + [{"stratum": ("code", "x")}] * 40
    )
    one = np.r_[np.full(20, 0.2), np.full(10, 0.6), np.full(40, 0.8)]
    result = judged(suite(one, items=headings, headline="nested"), suite(one, items=headings, headline="nested"))
    assert result.reference.mean == pytest.approx(((0.2 + 0.6) / 2 + 0.8) / 2)
    assert ("math",) in [row.heading for row in result.breakdown]


def test_differences_and_notes_are_carried():
    one, two = many((400, 1, 1))
    found = (Difference("model", "a", "b"),)
    made = compare(one, two, Policy(alpha=0.025), NOW, found)
    assert (made.differences, made.created, made.alpha) == (found, NOW, 0.025)
    assert made.suites[0].ci90.level == pytest.approx(0.95)


# ------------------------------------------------------------ noise floor and bank


def test_halves_of_the_reference_are_its_noise_floor():
    rng = np.random.default_rng(3)
    result = judged(binary(rng, np.full(200, 0.5), 8), binary(rng, np.full(200, 0.5), 8))
    assert result.noise_floor.low < 0 < result.noise_floor.high
    assert "noise floor: halves of the reference's repeats against each other" in told(result.notes)
    single = judged(*shifted(400, 1, 1))
    assert single.noise_floor is None


def test_a_given_noise_floor_stands_over_the_halves():
    rng = np.random.default_rng(4)
    floor = NoiseFloor(Interval(-0.01, 0.01, 0.9), Verdict.EQUIVALENT, said("asked twice"))
    result = judged(binary(rng, np.full(200, 0.5), 8), binary(rng, np.full(200, 0.5), 8), Policy(noise={"quiz": floor}))
    assert result.noise_floor == floor.interval


@pytest.mark.parametrize("verdict", [Verdict.DEGRADED, Verdict.ELEVATED, Verdict.INVALID])
def test_a_harness_that_fails_against_itself_says_nothing(verdict):
    floor = NoiseFloor(Interval(-0.09, -0.03, 0.9), verdict, said("asked twice"))
    made = compared(*(suite(part) for part in shifted(400, 1, 1)), Policy(noise={"quiz": floor}))
    assert (made.verdict, made.exit_code) == (Verdict.INVALID, 3)
    assert "differs from itself by -9.0 … -3.0 points, margin ±2 (asked twice)" in say(made.suites[0].reasons[0])


def test_a_bank_shows_its_own_error_and_asks_the_candidate_only():
    rng = np.random.default_rng(5)
    chances = rng.beta(0.4, 0.27, 198)
    one = suite(binary(rng, chances, 32), row=lambda _i, _r, row: {**row, "completion_tokens": 100})
    two = suite(binary(rng, chances, 4), row=lambda _i, _r, row: {**row, "completion_tokens": 120})
    bank, both = judged(one, two, Policy(bank=True)), judged(one, two)
    assert any("a stored bank of 32 repeats; its own standard error of 0." in note for note in told(bank.notes))
    assert bank.verdict is both.verdict is Verdict.INCONCLUSIVE
    needed = bank.needed_repeats
    assert needed.samples == needed.repeats * 198
    assert needed.completion_tokens == needed.repeats * 198 * 120
    assert "against the stored reference of 32 repeats" in say(needed.note)
    assert both.needed_repeats.samples == both.needed_repeats.repeats * 198 * 2
    assert both.needed_repeats.completion_tokens == both.needed_repeats.repeats * 198 * 220


# ------------------------------------------------------------ what would decide


def test_greedy_runs_are_told_that_repeats_cannot_help():
    one, two = (suite(part, greedy=True) for part in shifted(400, 6, 6))
    result = judged(one, two, Policy(default_margin=0.01))
    assert result.needed_repeats.repeats is None
    assert "greedy answers repeat themselves" in say(result.reasons[0])


def test_stacks_that_differ_item_by_item_are_told_so():
    rng = np.random.default_rng(6)
    one = rng.uniform(0.1, 0.9, 200)
    two = np.clip(one + rng.choice([-0.3, 0.3], 200), 0.02, 0.98)
    result = judged(binary(rng, one, 64), binary(rng, two, 64), Policy(default_margin=0.02))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.needed_repeats.repeats is None
    assert "the stacks differ item by item" in say(result.reasons[0])


def test_unknown_lengths_give_no_tokens():
    result = judged(*shifted(400, 6, 6), Policy(default_margin=0.01))
    assert result.needed_repeats.samples == 2 * 400 * result.needed_repeats.repeats
    assert result.needed_repeats.completion_tokens is None
    assert f"{result.needed_repeats.repeats} repeats of every item" in say(result.reasons[0])
    assert "80 % power" in say(result.reasons[0])
