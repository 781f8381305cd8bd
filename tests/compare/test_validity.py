"""Every rule that makes a suite INVALID: what breaks it, what does not, and the numbers in its sentence."""

from __future__ import annotations

import numpy as np
import pytest
from compare_factory import NOW, binary, compared, judged, side, suite
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy, Rules
from evalkit.model import Status, Verdict, said
from evalkit.render.words import say


@pytest.fixture
def scores():
    """200 items asked once, about half right, the same on both sides."""
    return binary(np.random.default_rng(1), np.full(200, 0.5), 1)


def broken(reference, candidate, policy=None) -> str:
    """The sentences of an INVALID result."""
    result = judged(reference, candidate, policy)
    assert result.verdict is Verdict.INVALID
    assert result.needed_repeats is None
    return " | ".join(told(result.reasons))


def with_status(status: Status, count: int, **more):
    """Marks the first `count` items with a status; their score is 0."""

    def change(item, _repeat, row):
        return {**row, "status": status, "value": 0.0, **more} if item < count else row

    return change


def test_equal_sides_break_no_rule(scores):
    assert judged(scores, scores).verdict is Verdict.EQUIVALENT


# ------------------------------------------------------------ coverage and failures


def test_missing_pairs(scores):
    holes = scores.copy()
    holes[:5] = np.nan
    sentence = broken(scores, holes)
    assert "only 97.5 % of the planned samples are paired (98 % are needed)" in sentence
    assert "0 of 200 have no score in the reference, 5 of 200 in the candidate" in sentence


def test_failure_rates_that_differ(scores):
    scores = np.tile(scores, (10, 1))
    holes = scores.copy()
    holes[:12] = np.nan
    assert "0 of 2000 (0.0 %) in the reference, 12 of 2000 (0.6 %) in the candidate: more than" in broken(scores, holes)
    assert "12 of 2000 (0.6 %) in the reference" in broken(holes, scores)
    other = scores.copy()
    other[100:108] = np.nan
    assert judged(holes, other, Policy(default_margin=0.1)).verdict is Verdict.EQUIVALENT


def test_an_item_that_fails_at_every_repeat_fails_once(scores):
    """A prompt that is too long for a server is one event: sixteen repeats of it make no difference of rates."""
    often = np.tile(scores[:, :1], (5, 16))
    holes = often.copy()
    holes[:2] = np.nan
    assert np.isnan(holes).sum() == 32
    assert judged(often, holes, Policy(default_margin=0.1)).verdict is Verdict.EQUIVALENT


def test_rates_of_failures_are_corrected_for_the_number_of_suites(scores):
    """One suite of twelve in which nine fail on one side alone is a reason by itself, and chance among so many."""
    often = np.tile(scores[:, :1], (20, 1))
    holes = often.copy()
    holes[:9] = np.nan
    assert "more than by chance" in broken(often, holes)
    names = [f"s{number:02}" for number in range(12)]
    whole = side("a", *(suite(often, name) for name in names))
    lacking = side("b", *(suite(holes if name == "s00" else often, name) for name in names))
    made = compare(whole, lacking, Policy(default_margin=0.1), NOW)
    assert made.suites[0].verdict is not Verdict.INVALID


def test_failures_on_both_sides_lower_the_coverage_together(scores):
    one, two = scores.copy(), scores.copy()
    one[:3] = np.nan
    two[3:6] = np.nan
    assert "only 97.0 % of the planned samples" in broken(one, two)


def test_worst_case_imputation_that_changes_the_verdict():
    rng = np.random.default_rng(2)
    one = binary(rng, np.full(1000, 0.5), 1)
    two = one.copy()
    two[:4] = np.nan
    assert judged(one, two, Policy(default_margin=0.02)).verdict is Verdict.EQUIVALENT
    waits = judged(one, two, Policy(default_margin=0.0045))
    assert waits.verdict is Verdict.INCONCLUSIVE
    sentence = say(waits.reasons[0])
    assert "0 samples of the reference and 4 of the candidate have no score" in sentence
    assert "would turn EQUIVALENT into INCONCLUSIVE: item00000, repeat 0, item00001, repeat 0" in sentence
    assert "the same command asks exactly these again" in sentence


def test_imputation_looks_both_ways(scores):
    worse = np.clip(scores - 0.2, 0, 1)
    few = worse.copy()
    few[:2] = np.nan
    margin = Policy(default_margin=abs(judged(scores, worse).ci90.high) - 0.001)
    assert judged(scores, worse, margin).verdict is Verdict.DEGRADED
    waits = judged(scores, few, margin)
    assert waits.verdict is Verdict.INCONCLUSIVE
    assert "would turn DEGRADED into INCONCLUSIVE" in say(waits.reasons[0])


# ------------------------------------------------------------ rates that differ


def test_reasoning_only_answers(scores):
    rare = suite(scores, row=with_status(Status.REASONING_ONLY, 12))
    sentence = broken(suite(scores), rare)
    assert "answers in the reasoning channel only: 0 of 200 (0.0 %) in the reference, 12 of 200 (6.0 %)" in sentence
    assert "reasoning parsers differ" in broken(rare, suite(scores))


def test_what_equal_stacks_may_do_breaks_no_rule_of_rates(scores):
    """Four answers of 200 on one side only come once in eight times; over a pack the rules may err once in a hundred."""
    rare = suite(scores, row=with_status(Status.REASONING_ONLY, 4))
    assert judged(suite(scores), rare).verdict is not Verdict.INVALID
    many = suite(scores, "s0", row=with_status(Status.REASONING_ONLY, 12))
    names = [f"s{number}" for number in range(1, 9)]
    whole = side("a", suite(scores, "s0"), *(suite(scores, name) for name in names))
    other = side("b", many, *(suite(scores, name) for name in names))
    assert compare(whole, other, Policy(), NOW).suites[0].verdict is not Verdict.INVALID


def test_one_reasoning_only_answer_is_chance(scores):
    one = suite(scores, row=with_status(Status.REASONING_ONLY, 1))
    assert judged(suite(scores), one).verdict is not Verdict.INVALID


def test_truncation(scores):
    cut = suite(scores, row=lambda item, _repeat, row: {**row, "truncated": item < 12})
    sentence = broken(suite(scores), cut)
    assert "answers cut at the token limit: 0 of 200 (0.0 %) in the reference, 12 of 200 (6.0 %)" in sentence


def test_truncation_by_status_and_small_gaps(scores):
    status = suite(scores, row=with_status(Status.TRUNCATED, 12))
    assert "cut at the token limit" in broken(status, suite(scores))
    small = suite(scores, row=lambda item, _repeat, row: {**row, "truncated": item < 4})
    assert judged(suite(scores), small).verdict is Verdict.EQUIVALENT
    both = suite(scores, row=lambda item, _repeat, row: {**row, "truncated": item < 30})
    assert judged(both, both).verdict is Verdict.EQUIVALENT


# ------------------------------------------------------------ not the same question


def test_digests_name_the_keys(scores):
    one = suite(scores, digests={"scorer": "choice@1", "sampling.temperature": "0", "sampling.top_p": "1", "data": "d"})
    two = suite(scores, digests={"scorer": "choice@2", "sampling.temperature": "0.6", "data": "d"})
    sentence = broken(one, two)
    assert "differ in scorer: choice@1 against choice@2" in sentence
    assert "differ in sampling.temperature: 0 against 0.6" in sentence
    assert "differ in sampling.top_p: 1 against (not sent)" in sentence
    assert "data" not in sentence


def test_a_digest_that_one_side_does_not_know_is_not_compared(scores):
    one, two = suite(scores, digests={"data": "", "scorer": "a"}), suite(scores, digests={"data": "d", "scorer": "a"})
    assert judged(one, two).verdict is Verdict.EQUIVALENT


@pytest.mark.parametrize(("key", "column"), [("data", "document"), ("prompts", "prompt")])
def test_data_and_prompts_say_how_many_items_and_which(scores, key, column):
    items = [{column: 1 + number} for number in range(200)]
    other = [{column: 1 + number + 1000 * (number in {3, 7, 11, 90})} for number in range(200)]
    one = suite(scores, items=items, digests={key: "a" * 64})
    two = suite(scores, items=other, digests={key: "b" * 64})
    sentence = f"differ in {key}: 4 of 200 items differ (item00003, item00007, item00011, …)"
    assert sentence in broken(one, two)
    assert sentence in broken(suite(scores, items=items), suite(scores, items=other))  # without digests of the whole


def test_other_sets_of_items_are_told_from_changed_ones(scores):
    some = [{"name": f"item{number:05d}"} for number in range(150)]
    sentence = broken(suite(scores, digests={"data": "a"}), suite(scores[:150], items=some, digests={"data": "b"}))
    assert "differ in data: 50 items only in the reference (item00150, item00151, item00152, …)" in sentence


def test_a_digest_alone_is_shown_short(scores):
    sentence = broken(suite(scores, digests={"prompts": "a" * 64}), suite(scores, digests={"prompts": "b" * 64}))
    assert "differ in prompts: aaaaaaaaaaaa… against bbbbbbbbbbbb…" in sentence


def test_headline_rules_and_headings(scores):
    assert "micro against macro" in broken(suite(scores), suite(scores, headline="macro"))
    items = [{"stratum": ("a",), "cluster": "c"} for _ in range(200)]
    other = [{"stratum": ("b",), "cluster": "c"} for _ in range(200)]
    assert "200 of 200 items under other headings" in broken(suite(scores, items=items), suite(scores, items=other))


def test_prompt_lengths(scores):
    def tokens(extra):
        return lambda item, _repeat, row: {**row, "prompt_tokens": 50 + item + (extra if item in {4, 9} else 0)}

    one, two = suite(scores, row=tokens(0)), suite(scores, row=tokens(12))
    sentence = broken(one, two)
    assert "other prompt lengths for 2 of 200 items (item item00004: 54 against 66 tokens)" in sentence
    unknown = suite(scores)
    assert judged(one, unknown).verdict is Verdict.EQUIVALENT
    assert judged(one, one).verdict is Verdict.EQUIVALENT


def test_prompt_lengths_that_differ_in_one_repeat_only():
    scores = binary(np.random.default_rng(3), np.full(50, 0.5), 2)
    one = suite(scores, row=lambda _item, _repeat, row: {**row, "prompt_tokens": 30})
    two = suite(scores, row=lambda item, repeat, row: {**row, "prompt_tokens": 31 if (item, repeat) == (6, 1) else 30})
    assert "1 of 50 items (item item00006: 30 against 31 tokens)" in broken(one, two)


# ------------------------------------------------------------ suites that can show nothing


def test_exactly_zero_on_either_side(scores):
    zero = np.zeros_like(scores)
    assert "the candidate scores exactly 0 on all 200 samples" in broken(scores, zero)
    assert "the reference scores exactly 0 on all 200 samples" in broken(zero, scores)


def test_exactly_one_on_both_sides(scores):
    ones = np.ones_like(scores)
    assert "both sides score exactly 1 on all 400 samples" in broken(ones, ones)
    assert judged(ones, scores).verdict is Verdict.DEGRADED


def test_below_chance():
    low = binary(np.random.default_rng(4), np.full(200, 0.1), 1)
    half = binary(np.random.default_rng(5), np.full(200, 0.5), 1)
    sentence = broken(suite(half, chance=0.25), suite(low, chance=0.25))
    assert "the candidate scores 0.080" in sentence
    assert "below chance (0.250) even at its upper limit" in sentence


@pytest.mark.parametrize(
    ("share", "items", "margin", "verdict"),
    [
        (0.22, 200, 0.05, Verdict.INCONCLUSIVE),  # at chance
        (0.29, 200, 0.03, Verdict.INCONCLUSIVE),  # not shown to be above it
        (0.28, 14_000, 0.05, Verdict.INCONCLUSIVE),  # above it, by less than the margin
        (0.28, 14_000, 0.02, Verdict.EQUIVALENT),
    ],
)
def test_nothing_is_equivalent_to_a_reference_that_a_guess_could_pass_for(share, items, margin, verdict):
    """Whoever lost everything answers at chance; DEGRADED and ELEVATED are said of such a reference, too."""
    scores = np.zeros(items)
    scores[: round(share * items)] = 1
    found = judged(*[suite(scores, chance=0.25, margin=margin)] * 2)
    assert found.verdict is verdict
    assert ("scores.at_chance" in [reason.code for reason in found.reasons]) == (verdict is Verdict.INCONCLUSIVE)
    assert judged(*[suite(scores, margin=margin)] * 2).verdict is Verdict.EQUIVALENT
    assert (
        judged(*[suite(one, chance=0.25, margin=margin) for one in (scores, np.ones(items))]).verdict
        is Verdict.ELEVATED
    )


def test_too_few_items(scores):
    assert broken(scores[:19], scores[:19]) == "19 items have a score on both sides; at least 20 are needed"
    assert judged(scores[:20], scores[:20]).verdict is Verdict.INCONCLUSIVE
    assert judged(scores[:19], scores[:19], Policy(rules=Rules(items=10))).verdict is Verdict.INCONCLUSIVE


def test_no_item_on_both_sides(scores):
    other = [{"name": f"x{number}"} for number in range(200)]
    result = judged(suite(scores), suite(scores, items=other))
    assert (result.verdict, result.difference, result.ci90, result.n_items) == (Verdict.INVALID, None, None, 0)
    assert "0 of 400 items have a score on both sides" in told(result.reasons)


def test_defects_that_a_reader_found(scores):
    made = suite(scores, defects=(said("the results file says 0.9, its samples give 0.5"),))
    assert "the results file says 0.9" in broken(suite(scores), made)
    assert broken(made, made).count("the results file") == 1


# ------------------------------------------------------------ margins and A/A


def test_two_margins_need_a_choice(scores):
    one, two = suite(scores, margin=0.02), suite(scores, margin=0.05)
    assert "different margins, 2 and 5 points" in broken(one, two)
    assert judged(one, two, Policy(margins={"quiz": 0.03})).margin == 0.03
    assert judged(one, two, Policy(default_margin=0.04)).margin == 0.04
    assert judged(one, two, Policy(default_margin=0.04, margins={"quiz": 0.03})).margin == 0.03
    assert judged(suite(scores, margin=None), suite(scores, margin=None)).margin == 0.02


def test_a_reference_that_differs_from_itself():
    rng = np.random.default_rng(7)
    drifting = binary(rng, np.full(200, 0.8), 8)
    drifting[:, 1::2] = binary(rng, np.full(200, 0.4), 4)
    sentence = broken(drifting, drifting)
    assert "the reference differs from itself by -" in sentence
    assert "halves of the reference's repeats" in sentence


def test_one_invalid_suite_makes_the_comparison_invalid(scores):
    good, bad = suite(scores, "good"), suite(scores[:5], "bad")
    made = compare(side("a", good, bad), side("b", good, bad), Policy(), NOW)
    assert (made.verdict, made.exit_code) == (Verdict.INVALID, 3)
    assert told(made.reasons) == ["1 of 2 suites INVALID: Bad"]
    assert made.macro is None
    assert compared(good, good).verdict is Verdict.EQUIVALENT


# ------------------------------------------------------------ granularity


def test_scores_that_the_scorer_cannot_give(scores):
    odd = scores.copy()
    odd[:3] = 0.375
    sentence = broken(suite(odd, step=1.0), suite(scores, step=1.0))
    assert "3 of 200 scores of the reference are no multiple of 1 (such as 0.375)" in sentence
    assert "of the candidate are no multiple" in broken(suite(scores, step=1.0), suite(odd, step=1.0))
    assert judged(suite(scores, step=1.0), suite(scores, step=1.0)).verdict is Verdict.EQUIVALENT


def test_graded_scorers_may_give_anything_and_rounding_is_no_other_score(scores):
    odd = np.full(200, 0.375)
    assert "no multiple" not in " ".join(told(judged(suite(odd), suite(odd)).reasons))
    thirds = np.where(scores > 0, 0.333333333, 0.666666667)
    assert judged(suite(thirds, step=1 / 3), suite(thirds, step=1 / 3)).verdict is Verdict.EQUIVALENT
