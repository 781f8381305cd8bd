"""The behaviours that a comparator must show: the disasters that other tools pass, symmetry, error rates, power.

(a) disasters: the eight tests of the first part; (b) sides that are swapped: `test_swapped_sides_mirror_everything`;
(c) item order: `test_the_order_of_samples_is_irrelevant`, `test_the_names_order_of_items_is_irrelevant`; (d) copies:
`test_duplicating_every_repeat_...`, `test_duplicated_items_...`; (e) equal stacks, 200 seeds:
`test_equal_stacks_raise_no_alarm_...`; (f) at the margin: `test_at_the_margin_...`; (g) needed repeats, simulated
again: `test_the_printed_repeats_give_the_promised_power`; (h) `test_a_null_on_one_side_never_becomes_a_flip`; (i) exit
codes: `test_exit_codes_are_distinct` here, from the command line tests/cli/test_compare_stored.py; (j) JUnit against
the document: `test_junit_counts_are_those_of_the_document` here; (k) seconds and megabytes: benchmarks/compare.py.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from compare_factory import NOW, beta_chances, binary, compared, judged, revalued, side, suite
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy, Rules
from evalkit.model import Verdict
from evalkit.render.document import to_json
from evalkit.render.report import junit
from evalkit.render.words import say
from evalkit.stats.paired import floored_difference

# ------------------------------------------------------------ disasters that print PASS elsewhere


def test_all_items_fall_from_eight_to_four_of_eight():
    candidate = np.tile([1, 1, 1, 1, 0, 0, 0, 0], (200, 1))
    assert judged(np.ones((200, 8)), candidate).verdict is Verdict.DEGRADED


def test_graded_scores_fall_from_one_to_a_half():
    rng = np.random.default_rng(1)
    result = judged(np.ones((200, 1)), rng.uniform(0.4, 0.6, (200, 1)))
    assert result.verdict is Verdict.DEGRADED
    assert result.difference == pytest.approx(-0.5, abs=0.02)


def test_candidate_answered_only_the_last_of_four_repeats():
    reference = suite(np.ones((60, 4)))
    candidate = suite(np.zeros((60, 1)), repeats=[3])
    result = judged(reference, candidate)
    assert result.verdict is Verdict.INVALID
    assert result.coverage == 0.25
    assert "180 of 240 in the candidate" in " ".join(told(result.reasons))


@pytest.mark.parametrize("listed", [True, False], ids=["failed", "not listed"])
def test_candidate_answered_twelve_of_198(listed):
    rng = np.random.default_rng(2)
    scores = binary(rng, np.full(198, 0.7), 1)
    kept = np.where(np.arange(198)[:, None] < 12, scores, np.nan)
    drop = None if listed else lambda item, _repeat, row: row if item < 12 else None
    result = judged(suite(scores), suite(kept, row=drop))
    assert result.verdict is Verdict.INVALID
    assert any("only 6.0 % of the planned samples are paired" in reason for reason in told(result.reasons))
    assert result.coverage == pytest.approx(12 / 198)


def test_benchmark_names_that_do_not_match():
    made = compare(side("a", suite(np.ones(50), "gpqa")), side("b", suite(np.ones(50), "gpqa_diamond")), Policy(), NOW)
    assert made.verdict is Verdict.INVALID
    assert made.exit_code == 3
    assert [say(one.reasons[0]) for one in made.suites] == [
        "the candidate did not run this suite: 0 of its 50 items can be paired",
        "the reference did not run this suite: 0 of its 50 items can be paired",
    ]


def test_an_empty_gate():
    made = compare(side("a"), side("b"), Policy(), NOW)
    assert (made.verdict, made.exit_code, made.macro) == (Verdict.INVALID, 3, None)
    assert told(made.reasons) == ["no suite was compared: an empty gate is no pass"]


def test_ten_items_without_a_flip_prove_nothing():
    same = np.array([1.0] * 7 + [0.0] * 3)
    assert judged(same, same, Policy(default_margin=0.001)).verdict is Verdict.INVALID
    lax = judged(same, same, Policy(default_margin=0.001, rules=Rules(items=5)))
    assert lax.verdict is Verdict.INCONCLUSIVE
    assert lax.ci95.high - lax.ci95.low > 0.5


def test_mmlu_with_churn_is_equivalent_at_one_point():
    reference = np.concatenate([np.ones(9400), np.zeros(4642)])
    candidate = reference.copy()
    candidate[:702], candidate[-702:] = 0.0, 1.0  # 10 % of 14,042 items change, half either way
    result = judged(reference, candidate, Policy(default_margin=0.01))
    assert (result.verdict, result.flips.regressed, result.flips.improved) == (Verdict.EQUIVALENT, 702, 702)
    assert result.method == "tango"


def test_mmlu_nine_points_up_is_elevated():
    reference = np.concatenate([np.ones(9394), np.zeros(4648)])
    candidate = reference.copy()
    candidate[-1250:] = 1.0
    made = compared(suite(reference), suite(candidate))
    assert (made.verdict, made.exit_code) == (Verdict.ELEVATED, 1)
    assert "suspect another prompt, scorer, token limit or data set" in say(made.suites[0].reasons[0])


# ------------------------------------------------------------ symmetry

_scores = arrays(
    float,
    st.tuples(st.integers(20, 40), st.integers(1, 3)),
    elements=st.sampled_from([0.0, 0.25, 1.0, float("nan")]),
)


@settings(max_examples=60, deadline=None)
@given(_scores, st.randoms(use_true_random=False))
def test_swapped_sides_mirror_everything(scores, random):
    other = scores.copy()
    for row in random.sample(range(len(other)), len(other) // 2):
        other[row] = random.choice([0.0, 1.0, 0.25])
    rules = Rules(coverage=0.0, failure_alpha=0.0)
    one = judged(scores, other, Policy(rules=rules))
    two = judged(other, scores, Policy(rules=rules))
    mirrored = {Verdict.DEGRADED: Verdict.ELEVATED, Verdict.ELEVATED: Verdict.DEGRADED}
    assert two.verdict is mirrored.get(one.verdict, one.verdict)
    if one.difference is None:
        assert two.difference is None
        return
    assert two.difference == pytest.approx(-one.difference, abs=1e-12)
    assert (two.ci90.low, two.ci90.high) == pytest.approx((-one.ci90.high, -one.ci90.low), abs=1e-9)
    assert (two.flips.regressed, two.flips.improved) == (one.flips.improved, one.flips.regressed)
    assert two.p_difference == pytest.approx(one.p_difference)
    assert two.coverage == one.coverage


@settings(max_examples=40, deadline=None)
@given(_scores, st.randoms(use_true_random=False))
def test_the_order_of_samples_is_irrelevant(scores, random):
    other = np.roll(scores, 1, axis=0)
    cells = list(range(scores.size))
    shuffled = cells.copy()
    random.shuffle(shuffled)
    straight = judged(suite(scores), suite(other))
    assert judged(suite(scores, order=shuffled), suite(other, order=cells[::-1])) == straight


def test_the_names_order_of_items_is_irrelevant():
    rng = np.random.default_rng(3)
    chances = beta_chances(rng, 60)
    one, two = rng.random((60, 2)) * chances[:, None], rng.random((60, 2)) * chances[:, None]
    names = [{"name": f"q{number}"} for number in range(60)]
    back = slice(None, None, -1)
    straight = judged(suite(one, items=names), suite(two, items=names))
    assert judged(suite(one[back], items=names[back]), suite(two[back], items=names[back])) == straight


@settings(max_examples=40, deadline=None)
@given(_scores, st.sampled_from([0.0, 1.0]), st.integers(1, 30))
def test_constant_items_never_turn_the_sign_of_a_verdict(scores, constant, number):
    scores = np.nan_to_num(scores, nan=0.25)
    other = np.clip(scores - 0.25, 0, 1)
    more = np.full((number, scores.shape[1]), constant)
    one = judged(scores, other)
    two = judged(np.vstack([scores, more]), np.vstack([other, more]))
    assert {one.verdict, two.verdict} != {Verdict.DEGRADED, Verdict.ELEVATED}
    if one.difference is not None and one.difference != 0:
        assert np.sign(two.difference) == np.sign(one.difference)


@settings(max_examples=30, deadline=None)
@given(_scores)
def test_intervals_are_nested_in_the_level(scores):
    other = np.roll(scores, 1, axis=0)
    results = [judged(scores, other, Policy(alpha=alpha, rules=Rules(coverage=0.0))) for alpha in (0.2, 0.05, 0.01)]
    for wide, narrow in zip(results[1:], results[:-1], strict=True):
        if wide.ci90 is not None:
            assert wide.ci90.low <= narrow.ci90.low <= narrow.ci90.high <= wide.ci90.high
            assert wide.ci95 == narrow.ci95


# ------------------------------------------------------------ copies


def test_duplicating_every_repeat_changes_neither_difference_nor_unfloored_error():
    rng = np.random.default_rng(4)
    chances = beta_chances(rng, 80)
    one, two = binary(rng, chances, 3), binary(rng, chances, 3)
    single, doubled = judged(one, two), judged(np.hstack([one, one]), np.hstack([two, two]))
    assert doubled.difference == pytest.approx(single.difference)
    assert doubled.reference.standard_error == pytest.approx(single.reference.standard_error)
    from evalkit.compare.pair import align

    errors = [
        floored_difference(align(suite(a), suite(b)).paired).variance
        for a, b in ((one, two), (np.hstack([one, one]), np.hstack([two, two])))
    ]
    assert errors[0] == pytest.approx(errors[1])


@pytest.mark.parametrize("column", ["document", "prompt"])
def test_duplicated_items_are_caught_by_hash_and_buy_no_precision(column):
    rng = np.random.default_rng(5)
    chances = beta_chances(rng, 60)
    one, two = binary(rng, chances, 1), binary(rng, chances, 1)
    hashes = [{column: 1 + number} for number in range(60)]
    copies = [{**about, "name": f"x{copy}-{number}"} for copy in range(4) for number, about in enumerate(hashes)]
    honest = judged(suite(one, items=hashes), suite(two, items=hashes))
    padded = judged(suite(np.vstack([one] * 4), items=copies), suite(np.vstack([two] * 4), items=copies))
    unmarked = judged(np.vstack([one] * 4), np.vstack([two] * 4))
    width = [r.ci90.high - r.ci90.low for r in (honest, padded, unmarked)]
    assert width[2] < 0.6 * width[0]  # what the copies would have bought
    assert width[1] == pytest.approx(width[0], rel=0.06)
    assert any(note.startswith("180 of 240 items repeat the question of another one") for note in told(padded.notes))


def test_too_few_different_questions_are_invalid():
    items = [{"document": 1 + number % 10} for number in range(30)]
    rng = np.random.default_rng(6)
    scores = binary(rng, np.full(30, 0.5), 1)
    result = judged(suite(scores, items=items), suite(scores, items=items))
    assert result.verdict is Verdict.INVALID
    assert "30 items are paired, but 20 repeat the question of another one" in say(result.reasons[0])


# ------------------------------------------------------------ error rates and power


def _verdicts(n, k, delta, simulations, policy=None, seed=0):
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(Verdict, 0)
    chances = beta_chances(np.random.default_rng(99), n, mean=0.6, icc=0.6)
    template = suite(np.zeros((n, k)))
    for _ in range(simulations):
        # An item loses in proportion to what it has: the true difference is delta.
        lower = chances * (1 + delta / chances.mean())
        one, two = (revalued(template, binary(rng, p, k)) for p in (chances, lower))
        counts[judged(one, two, policy).verdict] += 1
    return counts


@pytest.mark.parametrize(("n", "k", "margin"), [(30, 8, 0.05), (198, 1, 0.05), (198, 4, 0.02)])
def test_equal_stacks_raise_no_alarm_and_are_never_invalid(n, k, margin):
    counts = _verdicts(n, k, 0.0, 200, Policy(default_margin=margin), seed=n + k)
    assert counts[Verdict.DEGRADED] + counts[Verdict.ELEVATED] <= 4
    assert counts[Verdict.INVALID] == 0


@pytest.mark.parametrize(("n", "k", "margin"), [(198, 1, 0.10), (198, 4, 0.05), (60, 8, 0.05)])
def test_at_the_margin_equivalence_is_claimed_in_at_most_six_percent(n, k, margin):
    counts = _verdicts(n, k, -margin, 300, Policy(default_margin=margin), seed=n)
    assert counts[Verdict.EQUIVALENT] <= 18


def test_the_printed_repeats_give_the_promised_power():
    policy = Policy(default_margin=0.05)
    rng = np.random.default_rng(8)
    chances = beta_chances(np.random.default_rng(99), 198, mean=0.6, icc=0.6)
    needed = []
    while len(needed) < 15:
        result = judged(binary(rng, chances, 2), binary(rng, chances, 2), policy)
        if result.verdict is Verdict.INCONCLUSIVE and result.needed_repeats.note.values.get("shift") == 0:
            needed.append(result.needed_repeats.repeats)
    k = int(np.median(needed))
    counts = _verdicts(198, k, 0.0, 300, policy, seed=10)
    assert 0.75 <= counts[Verdict.EQUIVALENT] / 300 <= 0.88


# ------------------------------------------------------------ nulls, codes


def test_a_null_on_one_side_never_becomes_a_flip():
    rng = np.random.default_rng(11)
    scores = binary(rng, np.full(300, 0.6), 4)
    holes = scores.copy()
    holes[rng.integers(0, 300, 20), rng.integers(0, 4, 20)] = np.nan
    for reference, candidate in ((scores, holes), (holes, scores)):
        result = judged(reference, candidate)
        assert (result.flips.regressed, result.flips.improved, result.difference) == (0, 0, 0.0)


def test_exit_codes_are_distinct():
    codes = {verdict: verdict.exit_code for verdict in Verdict}
    assert codes == {
        Verdict.EQUIVALENT: 0,
        Verdict.DEGRADED: 1,
        Verdict.ELEVATED: 1,
        Verdict.INVALID: 3,
        Verdict.INCONCLUSIVE: 4,
    }


@pytest.mark.parametrize(("choice", "code"), [("fail", 4), ("warn", 0), ("pass", 0)])
def test_an_undecided_comparison_fails_unless_told_otherwise(choice, code):
    scores = binary(np.random.default_rng(12), np.full(40, 0.5), 1)
    made = compared(suite(scores), suite(np.roll(scores, 1)), Policy(on_inconclusive=choice))
    assert (made.verdict, made.exit_code) == (Verdict.INCONCLUSIVE, code)


def test_only_undecided_comparisons_are_excused():
    worse = compared(suite(np.ones(100)), suite(np.r_[np.ones(50), np.zeros(50)]), Policy(on_inconclusive="pass"))
    assert (worse.verdict, worse.exit_code) == (Verdict.DEGRADED, 1)
    few = compared(suite(np.ones(5)), suite(np.ones(5)), Policy(on_inconclusive="pass"))
    assert (few.verdict, few.exit_code) == (Verdict.INVALID, 3)


def test_junit_counts_are_those_of_the_document():
    flat = np.r_[np.ones(150), np.zeros(150)]
    shifted = np.r_[np.ones(60), np.zeros(240)]
    reference = [suite(flat, name) for name in ("same", "worse", "unsure", "broken")]
    unsure = np.r_[np.ones(144), np.zeros(156)]
    broken = np.full(300, np.nan)
    candidate = [
        suite(scores, name)
        for name, scores in (("same", flat), ("worse", shifted), ("unsure", unsure), ("broken", broken))
    ]
    made = compare(side("reference", *reference), side("candidate", *candidate), Policy(), NOW)
    document = json.loads(to_json(made))
    verdicts = {one["suite"]: one["verdict"] for one in document["suites"]}
    assert verdicts == {"same": "EQUIVALENT", "worse": "DEGRADED", "unsure": "INCONCLUSIVE", "broken": "INVALID"}
    root = ET.fromstring(junit(made))
    counted = root if root.tag == "testsuite" else root.find("testsuite")
    assert [int(counted.get(key)) for key in ("tests", "failures", "errors")] == [5, 2, 2]
    cases = list(root.iter("testcase"))
    assert [case.get("name") for case in cases] == [*verdicts, "overall"]
    assert sum(case.find("failure") is not None for case in cases) == 2
    assert sum(case.find("error") is not None for case in cases) == 2
