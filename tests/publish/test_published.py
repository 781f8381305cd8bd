"""Published tables: two means, n known, no items; what they support, and every reason why they support nothing."""

import pytest

from evalkit.model import Verdict
from evalkit.publish.published import PublishedRow, judge_row, mean_over_rows, possible_sizes
from evalkit.render.words import say
from evalkit.stats.methods import judge_means


def row(reference, candidate, n, step=0.001, **more):
    sizes = n if isinstance(n, tuple) else (n,)
    return PublishedRow("suite", reference, candidate, step, sizes, **more)


@pytest.mark.parametrize(
    ("reference", "candidate", "n", "verdict", "low95", "high95"),
    [
        (0.700, 23 / 30, 30, Verdict.INCONCLUSIVE, -16.0, 28.9),  # AIME: two questions of thirty
        (0.669, 0.758, 14042, Verdict.ELEVATED, 7.8, 10.0),  # MMLU: 16 standard errors
        (0.669, 0.673, 14042, Verdict.EQUIVALENT, -0.7, 1.5),
        (0.590, 0.602, 756, Verdict.INCONCLUSIVE, -3.7, 6.1),
        (0.077, 0.076, 800, Verdict.INCONCLUSIVE, -2.8, 2.5),
        (0.758, 0.669, 14042, Verdict.DEGRADED, -10.0, -7.8),
    ],
)
def test_rows_of_real_cards(reference, candidate, n, verdict, low95, high95):
    judged = judge_row(row(reference, candidate, n))
    assert judged.verdict is verdict
    assert (judged.test.ci95.low * 100, judged.test.ci95.high * 100) == pytest.approx((low95, high95), abs=0.1)
    assert judged.test.point == pytest.approx(candidate - reference)
    assert str(n) in say(judged.reason)


def test_the_sentence_says_what_a_table_supports():
    assert "at this size a table resolves ±18.9 points, so it supports neither" in say(
        judge_row(row(0.7667, 0.7, 30, 1e-4)).reason
    )
    assert "supports equivalence, even without pairing" in say(judge_row(row(0.669, 0.673, 14042)).reason)
    assert "suspect another protocol, or a copied or mis-run reference" in say(
        judge_row(row(0.669, 0.758, 14042)).reason
    )
    assert "shows a loss, even without pairing" in say(judge_row(row(0.758, 0.669, 14042)).reason)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (row(None, 0.5, 100), "the reference's score is missing"),
        (row(0.5, None, 100), "the candidate's score is missing"),
        (row(0.0, 0.34, 198), "the reference scores exactly 0"),
        (row(0.5, 0.0, 100), "the candidate scores exactly 0"),
        (row(1.2, 0.5, 100), "1.2 is no share of right answers"),
        (row(0.5, 0.5, ()), "the number of items is not known"),
        (row(0.5, 0.5, 10), "10 items are fewer than 20"),
        (row(0.38, 0.32, 198), "0.38 and 0.32 cannot both be shares of 198 items asked once"),
        (row(0.2324, 0.2106, (198, 448), 1e-4), "cannot both be shares of 198, 448 items"),
        (row(0.187, 0.25, 198, chance=0.25, graded=True), "scores 0.187, below chance (0.25) on 198 items"),
    ],
)
def test_rows_that_support_nothing(made, sentence):
    judged = judge_row(made)
    assert (judged.verdict, judged.test) == (Verdict.INVALID, None)
    assert sentence in say(judged.reason)


def test_granularity_finds_the_set_behind_a_name():
    sizes = (198, 448, 546, 1192)
    assert possible_sizes(row(0.2324, 0.2106, sizes, 1e-4)) == (1192,)
    assert possible_sizes(row(0.41, 0.444, sizes)) == (1192,)
    assert possible_sizes(row(0.7, 0.767, (30,))) == (30,)


def test_scores_that_are_cut_off_or_averaged_are_shares_too():
    assert possible_sizes(row(0.766, 0.7, (30,))) == (30,)  # 23/30 is .7666…, printed without rounding
    assert possible_sizes(row(0.7219, 0.7, (30,), 1e-4)) == ()
    assert possible_sizes(row(0.7219, 0.7, (30,), 1e-4, trials=64)) == (30,)


def test_repeated_questions_count_for_less():
    judged = judge_row(row(0.41, 0.444, (198, 448, 546, 1192)))
    assert judged.n_items == 1192
    assert judged.test.ci95 == judge_means(0.41, 0.444, 493, 0.02).ci95
    assert judged.verdict is Verdict.INCONCLUSIVE


def test_the_smallest_size_that_fits_is_taken():
    assert judge_row(row(0.5, 0.5, (1000, 100))).n_items == 100


def test_graded_scores_need_no_grid():
    assert judge_row(row(0.5011, 0.5077, 1000, 1e-4)).verdict is Verdict.INVALID
    assert judge_row(row(0.5011, 0.5077, 1000, 1e-4, graded=True)).verdict is Verdict.INCONCLUSIVE


def test_margin_and_alpha_count():
    assert judge_row(row(0.59, 0.602, 756, margin=0.08)).verdict is Verdict.EQUIVALENT
    narrow, wide = (judge_row(row(0.59, 0.602, 756), alpha).test.ci90 for alpha in (0.2, 0.01))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_over_the_rows_of_a_card():
    judged = [judge_row(row(0.669, 0.673, 14042)), judge_row(row(0.7, 0.767, 30)), judge_row(row(None, 0.5, 100))]
    assert mean_over_rows(judged).point == pytest.approx((0.004 + 0.067) / 2)
    assert Verdict.over(one.verdict for one in judged) is Verdict.INVALID
    assert Verdict.over(one.verdict for one in judged[:2]) is Verdict.INCONCLUSIVE
    assert (Verdict.over(one.verdict for one in []), mean_over_rows([])) == (Verdict.INVALID, None)
