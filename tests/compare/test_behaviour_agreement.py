"""Text agreement and log-probabilities: what faithful stacks look like, what broken ones do, and the rule between."""

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import side, with_replies

from evalkit.compare.behaviour import FAITHFUL_TOKENS_PER_SPLIT, _agreement_alert, logprob_distance, text_agreement
from evalkit.compare.columns import ReplyText
from evalkit.compare.pair import align
from evalkit.render.words import say

QUESTIONS = 200


def sides(texts, others, *, greedy=True, tokens=None, scores=None):
    scores = np.tile([0.0, 1.0], len(texts) // 2) if scores is None else scores
    tokens = tokens or [8.0] * len(texts)
    one, left = with_replies(scores, texts, greedy=greedy, tokens=tokens)
    two, right = with_replies(scores, others, greedy=greedy, tokens=tokens)
    return side("reference", one, texts=left), side("candidate", two, texts=right), align(one, two)


def agreement(differing: int, **more):
    """200 short answers, of which so many differ from their middle on."""
    texts = [f"The answer is number {i:03d}." for i in range(QUESTIONS)]
    others = ["The answer was." if i < differing else text for i, text in enumerate(texts)]
    return text_agreement("quiz", *sides(texts, others, **more))


@pytest.mark.parametrize(
    ("long", "answers", "found"),
    [(range(50), 8.0, True), (range(150, 200), 8.0, False), (range(0, 200, 4), 8.0, False), (range(50), 24.0, False)],
)
def test_replies_that_part_where_prompts_are_long_lead_to_what_long_prompts_need(long, answers, found):
    """Fifty replies differ; fifty prompts are long, the same or others, and answers to these no longer, or longer."""
    prompts = np.where(np.isin(np.arange(QUESTIONS), long), 6000.0, 300.0)
    lengths = [answers if number in long else 8.0 for number in range(QUESTIONS)]
    texts = [f"The answer is number {i:03d}." for i in range(QUESTIONS)]
    one, two, aligned = sides(texts, [*["The answer was."] * 50, *texts[50:]], tokens=lengths)
    (quiz,) = one.suites.values()
    one = replace(one, suites={"quiz": replace(quiz, samples=replace(quiz.samples, prompt_tokens=prompts))})
    made = text_agreement("quiz", one, two, aligned)
    assert made.long == ((6000, 1.0, 0.0) if found else None)
    alert = _agreement_alert(made, None)
    assert alert.code == ("alert.texts_long" if found else "alert.texts")
    assert ("chunked prefill" in say(alert)) is found
    assert ("chat template" in say(alert)) is not found


def test_share_position_and_rate():
    found = agreement(25)
    assert (found.same, found.pairs, found.share) == (175, 200, 0.875)
    assert found.interval.low < 0.875 < found.interval.high
    assert found.position == len("The answer ")
    shared = 8 * len("The answer ") / len("The answer is number 000.")
    assert found.tokens_per_split == pytest.approx((175 * 8 + 25 * shared) / 25)
    assert found.most_tokens_per_split > found.tokens_per_split


@pytest.mark.parametrize(
    ("same", "broken"), [(200, False), (198, False), (188, False), (175, True), (125, True), (16, True)]
)
def test_the_rule_tells_measured_faithful_stacks_from_broken_ones(same, broken):
    found = agreement(QUESTIONS - same)
    limit = found.most_tokens_per_split
    assert (limit is not None and limit < FAITHFUL_TOKENS_PER_SPLIT) is broken


def test_long_answers_may_split_now_and_then():
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(["red", "green", "blue"], 800)) for _ in range(100)]
    others = [text[: 1600 + 10 * i] + " else" for i, text in enumerate(texts)]
    found = text_agreement("quiz", *sides(texts, others, tokens=[800.0] * 100))
    assert found.same == 0
    assert found.most_tokens_per_split > FAITHFUL_TOKENS_PER_SPLIT
    early = [text[: 40 + i] + " else" for i, text in enumerate(texts)]
    found = text_agreement("quiz", *sides(texts, early, tokens=[800.0] * 100))
    assert found.most_tokens_per_split < FAITHFUL_TOKENS_PER_SPLIT


def test_sampled_runs_have_a_share_and_no_rate():
    found = agreement(150, greedy=False)
    assert found.share == 0.25
    assert found.tokens_per_split is None


def test_without_stored_texts_there_is_no_agreement():
    scores = np.tile([0.0, 1.0], 20)
    one, _ = with_replies(scores, ["x"] * 40)
    from compare_factory import suite

    bare = suite(scores)
    assert text_agreement("quiz", side("a", one), side("b", bare), align(one, bare)) is None


def test_texts_that_are_gone_leave_the_share():
    texts = [f"answer {i}" for i in range(40)]
    one, two, aligned = sides(texts, [*texts[:20], *["other"] * 20])
    gone = side("reference", *one.suites.values()), side("candidate", *two.suites.values())
    found = text_agreement("quiz", *gone, aligned)
    assert (found.share, found.position, found.tokens_per_split) == (0.5, None, None)


def with_logprobs(values, tokens="abcdefgh"):
    return [ReplyText("".join(tokens), "", tuple(zip(tokens, row, strict=True))) for row in values]


def test_logprob_distance_over_the_shared_beginning():
    rng = np.random.default_rng(2)
    base = -rng.random((30, 8))
    shifts = rng.normal(0, 0.2, (30, 8))
    one, two, aligned = sides(with_logprobs(base), with_logprobs(base + shifts))
    found = logprob_distance("quiz", one, two, aligned)
    assert found.candidate == pytest.approx(np.abs(shifts).mean())
    assert (found.alert.values["replies"], found.alert.values["tokens"]) == (30, 240)
    assert found.interval.low < found.candidate < found.interval.high
    one, two, aligned = sides(with_logprobs(base), with_logprobs(base + shifts / 20))
    found = logprob_distance("quiz", one, two, aligned)
    assert found.candidate == pytest.approx(np.abs(shifts).mean() / 20)
    assert found.alert is None


def test_tokens_after_a_split_do_not_count():
    one, two, aligned = sides(
        with_logprobs([[-0.1] * 8] * 2), with_logprobs([[-0.2, -0.2, *[-9.0] * 6]] * 2, "abXXXXXX")
    )
    found = logprob_distance("quiz", one, two, aligned)
    assert found.candidate == pytest.approx(0.1)
    assert found.alert.values["tokens"] == 4


def test_no_logprobs_on_a_side_and_infinite_ones():
    texts = ["abcdefgh"] * 4
    one, two, aligned = sides(with_logprobs([[-0.1] * 8] * 4), texts)
    assert logprob_distance("quiz", one, two, aligned) is None
    infinite = [[-0.1, float("-inf"), *[-0.1] * 6]] * 4
    one, two, aligned = sides(with_logprobs(infinite), with_logprobs([[-0.2] * 8] * 4))
    assert logprob_distance("quiz", one, two, aligned).alert.values["tokens"] == 28
