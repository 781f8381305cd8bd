"""Suites by log-likelihood: how far the options moved, and p(gold) as a row of its own."""

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import NOW, compared, side, suite
from hypothesis import given
from hypothesis import strategies as st

from evalkit.compare.judge import compare
from evalkit.compare.options import option_rows
from evalkit.compare.pair import align
from evalkit.compare.validity import Policy
from evalkit.model import Verdict
from evalkit.nights import joined, to_confirm, twice
from evalkit.parts import Look
from evalkit.scoring.multiple_choice import score_logprobs
from evalkit.stats.methods import judge_difference
from evalkit.stats.paired import Scores, pair_scores

N = 1430


def by_options(logprobs, gold, name="quiz", **facts):
    """A suite of these log-probabilities (items x options), scored as a run of it is."""
    found = [
        score_logprobs({"answer": "ABCD"[right], "continuations": "ABCD"[: len(row)]}, list(row))
        for row, right in zip(logprobs, gold, strict=True)
    ]
    made = suite([one.value for one in found], name, chance=0.25, greedy=True, **facts)
    keys = [(item, 0) for item in made.samples.items.name]
    return replace(
        made,
        options={key: tuple(row) for key, row in zip(keys, logprobs, strict=True)},
        p_gold={key: one.metrics["p_gold"] for key, one in zip(keys, found, strict=True)},
    )


def drawn(seed, n=N, knows=1.5):
    """Log-probabilities of a model that knows something, and the right options."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 4, n)
    logits = rng.normal(0, 1, (n, 4))
    logits[np.arange(n), gold] += knows
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), gold


def moved(logprobs, gold, by, seed=9, spread=0.02):
    """The log-probabilities with some noise and the right option moved by so many nats."""
    noisy = logprobs + np.random.default_rng(seed).normal(0, spread, logprobs.shape)
    noisy[np.arange(len(gold)), gold] += by
    return noisy


def rows_of(comparison):
    return {one.suite: one for one in comparison.suites}


def test_p_gold_shows_a_loss_that_right_or_wrong_cannot():
    """The right option is less likely by 5 % everywhere: about a point."""
    logprobs, gold = drawn(1)
    worse = by_options(moved(logprobs, gold, -0.05), gold)
    made = compared(by_options(logprobs, gold), worse)
    plain, row = rows_of(made)["quiz"], rows_of(made)["quiz:p_gold"]
    assert plain.verdict in {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}
    assert (row.verdict, row.row_of, row.label, row.margin) == (Verdict.DEGRADED, "quiz", "Quiz p(gold)", 0.005)
    assert -0.012 < row.difference < -0.006
    assert row.ci90.high - row.ci90.low < (plain.ci90.high - plain.ci90.low) / 5
    assert (made.verdict, made.exit_code) == (Verdict.DEGRADED, 1)
    assert "1 of 2 rows DEGRADED: Quiz p(gold)" in told(made)


def told(comparison):
    from evalkit.render.words import say_all

    return say_all(comparison.reasons)


def test_a_night_that_p_gold_alone_makes_red_asks_its_suite_again():
    logprobs, gold = drawn(1)
    native, worse = by_options(logprobs, gold), by_options(moved(logprobs, gold, -0.05), gold)
    first = compared(native, worse)
    assert to_confirm(first) == ("quiz",)
    both = joined(side("candidate", worse), side("candidate", by_options(moved(logprobs, gold, -0.05, seed=3), gold)))
    again = twice(first, compare(side("reference", native), both, Policy(), NOW), 0.05)
    row = rows_of(again)["quiz:p_gold"]
    assert (row.verdict, row.k_candidate, row.reasons[-1].code) == (Verdict.DEGRADED, 2, "second_run.same")


def test_a_faithful_port_is_equivalent_in_both_rows_and_raises_no_alert():
    logprobs, gold = drawn(2)
    made = compared(by_options(logprobs, gold), by_options(moved(logprobs, gold, 0.0), gold))
    assert {name: one.verdict for name, one in rows_of(made).items()} == dict.fromkeys(
        ("quiz", "quiz:p_gold"), Verdict.EQUIVALENT
    )
    assert made.verdict is Verdict.EQUIVALENT
    assert not [row for row in rows_of(made)["quiz"].behaviour if row.alert]
    assert rows_of(made)["quiz:p_gold"].behaviour == ()


def test_unrelated_log_probabilities_are_never_equivalent_and_are_said():
    """A model that knows nothing against one that knows other nothings: the same accuracy, within a wide margin."""
    (one, gold), (two, _gold) = drawn(3, knows=0.0), drawn(4, knows=0.0)
    sides = [by_options(options, gold, margin=0.2, p_gold_margin=0.2) for options in (one, two)]
    made = compared(*sides)
    assert {one.verdict for one in made.suites} == {Verdict.INCONCLUSIVE}
    plain = rows_of(made)["quiz"]
    alerts = {row.name for row in plain.behaviour if row.alert}
    assert alerts == {"option_divergence", "option_distance", "option_changes"}
    assert [reason.code for reason in plain.reasons] == ["scores.at_chance", "alert.option_divergence"]


def test_p_gold_is_a_guard_and_no_part_of_the_mean():
    logprobs, gold = drawn(5)
    quiz = by_options(logprobs, gold), by_options(moved(logprobs, gold, -0.05), gold)
    other = suite(np.arange(400) % 2 == 0, "other")
    made = compare(side("r", quiz[0], other), side("c", quiz[1], other), Policy(), NOW)
    without = compare(
        *(side(name, replace(one, p_gold={}), other) for name, one in zip("rc", quiz, strict=True)), Policy(), NOW
    )
    assert [one.suite for one in made.suites] == ["quiz", "quiz:p_gold", "other"]
    assert (made.macro.suites, made.macro.difference, made.macro.ci90) == (
        2,
        without.macro.difference,
        without.macro.ci90,
    )
    assert made.verdict is Verdict.DEGRADED
    assert without.verdict is Verdict.INCONCLUSIVE, "right or wrong does not show it"


def test_holm_counts_the_further_row():
    """A loss that is DEGRADED by itself by a hair is not among more rows."""
    logprobs, gold = drawn(6)
    pair = by_options(logprobs, gold), by_options(moved(logprobs, gold, -0.05), gold)
    row = rows_of(compared(*pair))["quiz:p_gold"]
    edge = -row.ci90.high * 0.999  # just within reach of the 90 % interval
    held = rows_of(compared(*pair, Policy(margins={"quiz:p_gold": edge})))["quiz:p_gold"]
    assert (held.margin, held.verdict, held.reasons[0].code) == (edge, Verdict.INCONCLUSIVE, "uncorrected")


def test_at_a_look_of_several_the_row_has_its_suite_s_level():
    logprobs, gold = drawn(2)
    pair = by_options(logprobs, gold), by_options(moved(logprobs, gold, 0.0), gold)
    look = Look(alphas={"quiz": 0.01}, scales={"quiz": 5.0}, alarm=0.05, number=1, most=5)
    assert [one.ci90.level for one in compared(*pair, Policy(look=look)).suites] == pytest.approx([0.98, 0.98])


def test_the_row_has_a_margin_of_its_own():
    logprobs, gold = drawn(7)
    pair = by_options(logprobs, gold, p_gold_margin=0.003), by_options(logprobs, gold, p_gold_margin=0.003)
    assert rows_of(compared(*pair, Policy(default_margin=0.1)))["quiz:p_gold"].margin == 0.003
    assert rows_of(compared(*pair, Policy(margins={"quiz:p_gold": 0.001})))["quiz:p_gold"].margin == 0.001
    unlike = rows_of(compared(pair[0], by_options(logprobs, gold)))["quiz:p_gold"]
    assert (unlike.verdict, unlike.reasons[0].code) == (Verdict.INVALID, "differ.margins")


def test_what_makes_the_suite_invalid_holds_of_the_row():
    logprobs, gold = drawn(8, n=15)
    row = rows_of(compared(*[by_options(logprobs, gold)] * 2))["quiz:p_gold"]
    assert (row.verdict, [reason.code for reason in row.reasons]) == (Verdict.INVALID, ["p_gold.invalid"])


def test_without_p_gold_on_a_side_there_is_no_such_row():
    logprobs, gold = drawn(9)
    one = by_options(logprobs, gold)
    assert list(rows_of(compared(one, replace(one, p_gold={})))) == ["quiz"]


def test_answers_that_lack_on_one_side_make_the_row_wait_where_they_could_turn_it():
    logprobs, gold = drawn(10)
    one = by_options(logprobs, gold)
    fewer = {key: value for number, (key, value) in enumerate(one.p_gold.items()) if number >= 20}
    row = rows_of(compared(one, replace(one, p_gold=fewer)))["quiz:p_gold"]
    assert (row.verdict, row.reasons[0].code) == (Verdict.INCONCLUSIVE, "missing.decide")


@given(st.lists(st.floats(-30, 0), min_size=2, max_size=6, unique=True), st.data())
def test_p_gold_is_the_softmax_of_the_right_option(values, data):
    gold = data.draw(st.integers(0, len(values) - 1))
    found = score_logprobs({"answer": "ABCDEF"[gold], "continuations": "ABCDEF"[: len(values)]}, values)
    weights = np.exp(values)
    assert found.metrics["p_gold"] == pytest.approx(weights[gold] / weights.sum(), abs=1e-12)


def test_the_floor_is_the_largest_change_that_an_item_shows():
    """Right or wrong has the floor of one flip a side; p(gold) of one more item that changes as the farthest did."""
    scores = np.linspace(0.2, 0.8, N)
    other = scores + np.where(np.arange(N) % 2, 0.03, -0.03)
    smooth, plain = (align(*(suite(s, step=step) for s in (scores, other))).paired for step in (0.0, None))
    assert (smooth.unseen, plain.unseen) == (pytest.approx(0.03), 1.0)
    assert judge_difference(smooth, 0.005).se == pytest.approx(np.sqrt(0.03**2 * (1 / N + 2 / N**2)), rel=1e-3)
    same = align(*[suite(scores, step=0.0)] * 2).paired
    assert judge_difference(same, 0.005).se == pytest.approx(np.sqrt(2) * 0.01 / N)
    assert (
        judge_difference(smooth.select(np.arange(100)), 0.005).se
        < judge_difference(plain.select(np.arange(100)), 0.005).se
    )


@pytest.mark.slow
@pytest.mark.parametrize(("n", "df"), [(200, 3), (N, 3), (N, 30)])
def test_a_loss_of_the_margin_is_seldom_equivalent(n, df):
    """Seeded: item differences with heavy tails, such as a wrong RoPE base gives; 5 % and two standard errors."""
    rng, draws, items = np.random.default_rng(n + df), 2000, np.arange(n)
    passed = 0
    for _ in range(draws):
        gap = np.clip(rng.standard_t(df, n) * 0.02, -0.4, 0.4) - 0.005
        columns = [Scores(items, items * 0, 0.5 + sign * gap / 2) for sign in (-1, 1)]
        paired = replace(pair_scores(*columns), unseen=max(0.01, float(np.abs(gap).max())))
        passed += judge_difference(paired, 0.005).decision is Verdict.EQUIVALENT
    assert passed / draws <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)


def test_the_divergence_is_among_the_options_and_items_may_have_fewer():
    """A shift of all options of an item alike is a distance and no divergence."""
    logprobs, gold = drawn(11, n=60)
    one = by_options(logprobs, gold)
    shorter = {key: row[:3] if number % 2 else row for number, (key, row) in enumerate(one.options.items())}
    shifted = {key: tuple(value - 1.0 for value in row) for key, row in shorter.items()}
    rows = {row.name: row for row in option_rows(replace(one, options=shorter), replace(one, options=shifted))}
    assert rows["option_divergence"].candidate == pytest.approx(0.0, abs=1e-12)
    assert [rows[f"option_distance{end}"].candidate for end in ("", "_largest")] == pytest.approx([1.0, 1.0])
    assert (rows["option_changes"].candidate, rows["option_changes"].alert) == (0.0, None)
    assert rows["option_distance"].alert.code == "alert.option_distance"
