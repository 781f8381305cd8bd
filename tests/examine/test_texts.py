"""What drawn texts say without being scored: the sampler in force, where texts end, and greedy texts that part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasons import told

from evalkit.examine.divergence import Choice, ScoredText
from evalkit.examine.forcing import Drawn
from evalkit.examine.texts import DrawnNll, drawn_nll, ends, greedy_texts, judge_drawn, sampler_of
from evalkit.model import Verdict


def text(*logprobs, ended=True, ids=None, choices=()):
    return Drawn(ids or tuple(range(len(logprobs))), ScoredText(logprobs, choices), ended)


def texts(nll, seed, spread=0.3, count=64, length=100):
    """Texts of one set of prompts, each with a mean nll of its own around the wanted one."""
    of_prompt = np.random.default_rng(0).normal(0, 0.4, count)
    rng = np.random.default_rng(seed)
    made = -rng.exponential(1.0, (count, length)) * (nll + of_prompt + rng.normal(0, spread, count))[:, None]
    return [text(*row) for row in made]


def test_a_case_worked_by_hand_and_only_as_far_as_both_texts_go():
    ours = [text(-1.0, -2.0, -9.0)] * 4 + [text(-1.0, -1.0)] * 4 + [None]
    theirs = [text(-2.0, -2.0)] * 4 + [text(-1.0, -1.0, -7.0)] * 4 + [text(-5.0)]
    found = drawn_nll(ours, theirs)
    # per prompt 1.5 and 2, then 1 and 1: differences 0.5 and 0, of mean 0.25 and standard deviation 0.25 * sqrt(8 / 7)
    assert (found.texts, found.reference, found.candidate) == (8, 1.25, 1.5)
    assert found.z == pytest.approx(0.25 / (0.25 * np.sqrt(8 / 7) / np.sqrt(8)))
    assert drawn_nll(ours[1:], theirs[1:]) is None, "too few"
    assert drawn_nll(ours, [*ours[:8], None]).z == 0.0, "the same texts"


@pytest.mark.parametrize(
    ("nll", "verdict"), [(2.5, Verdict.EQUIVALENT), (1.9, Verdict.DEGRADED), (3.1, Verdict.DEGRADED)]
)
def test_texts_drawn_colder_or_hotter_are_found(nll, verdict):
    found = drawn_nll(texts(2.5, 1), texts(nll, 2))
    judged = judge_drawn(found)
    assert (judged.verdict, judged.stops) == (verdict, False)
    if verdict is Verdict.DEGRADED:
        assert abs(found.z) > 6
        assert "another temperature, top-p, top-k or penalty is in force" in told(judged.reasons)[0]


def test_a_faithful_server_is_seldom_called_otherwise():
    judged = [judge_drawn(drawn_nll(texts(2.5, s, length=30), texts(2.5, 5000 + s, length=30))) for s in range(400)]
    assert sum(one.verdict is not Verdict.EQUIVALENT for one in judged) <= 2


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=5), st.integers(8, 12))
def test_both_sides_are_treated_alike(logprobs, count):
    ours, theirs = [text(*logprobs)] * count, [text(*(value - 0.5 for value in logprobs))] * (count - 1) + [text(-1.0)]
    there, back = drawn_nll(ours, theirs), drawn_nll(theirs, ours)
    assert there.z == pytest.approx(-back.z, abs=1e-9)
    assert judge_drawn(DrawnNll(64, 2.0, 2.0, 3.4)).verdict is Verdict.EQUIVALENT
    assert judge_drawn(DrawnNll(64, 2.0, 2.0, -3.6)).verdict is Verdict.DEGRADED


def test_texts_that_run_to_the_limit_on_one_side_only_are_found():
    done, capped = text(-1.0, -1.0), text(*[-1.0] * 5, ended=False)
    cut = text(-1.0, ended=False)
    assert told(ends([done] * 20, [done] * 12 + [capped] * 8, 5)) == [
        "8 of 20 texts run to the token limit on the candidate alone, 0 on the reference alone"
    ]
    assert told(ends([capped] * 8, [done] * 8, 5)) == [
        "0 of 8 texts run to the token limit on the candidate alone, 8 on the reference alone"
    ]
    assert told(ends([done] * 9, [cut] * 9, 5)) == [
        "9 of 9 texts stop below the token limit without an end on the candidate alone, 0 on the reference alone"
    ]
    assert ends([done] * 7, [capped] * 7, 5) == (), "seven in one direction come by chance once in 64"
    assert ends([capped] * 20, [capped] * 20, 5) == ()


def test_greedy_texts_that_no_measured_difference_explains():
    sure, tie = Choice(1, 2.0), Choice(1, 0.005)
    ours = [text(-1.0, -1.0, ids=(1, 1), choices=(lead, sure)) for lead in (sure, tie, sure)]
    theirs = [text(-1.0, -1.0, ids=(2, 1)), text(-1.0, -1.0, ids=(2, 1)), text(-1.0, -1.0, ids=(1, 1))]
    found = greedy_texts(ours, theirs, near_tie=0.01, largest=0.0)
    assert (found.compared, found.identical, found.first_differences) == (3, 1, (0, 0))
    assert (found.near_ties, found.unexplained) == (1, 1)
    assert greedy_texts(ours, theirs, near_tie=0.01, largest=1.0).unexplained == 0


def test_how_the_suites_draw_is_taken_from_their_parameters():
    assert sampler_of({"temperature": 0.6, "top_p": 0.95, "max_tokens": 9}) == {"temperature": 0.6, "top_p": 0.95}
    assert sampler_of({"temperature": 0.0, "top_p": 0.95}) == sampler_of({}) == {}
