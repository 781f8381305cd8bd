"""A reply that runs on behind its end, into a turn of the user's or a next problem, is read up to there."""

import pytest

from evalkit.model import Status
from evalkit.scoring import aime, mathvision, mmmu, theoremqa
from evalkit.scoring.answers import choice, expression, letters, short
from evalkit.scoring.answers.reply import final_text_of

CHOICE = {"choices": ["alpha", "beta", "gamma", "delta"], "answer": "B"}
CHOOSERS = [
    (choice.score, CHOICE),
    (letters.score, CHOICE),
    (mathvision.score, {**CHOICE, "type": "choice"}),
    (mmmu.score, {**CHOICE, "type": "choice"}),
]
RUN_ON = [
    *("<|im_end|>\n<|im_start|>user\n", "\nHuman: And now?\n", "\n\nUser:\n", "\n<|user|>\n", "<|eot_id|>", "</s>"),
    *("<｜end▁of▁sentence｜>", " [INST] And now? [/INST] ", "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"),
    *("<end_of_turn>\n<start_of_turn>user\n", "\n\n**Question 2:** And now?\n", "<|endoftext|>", "\n题目：\n"),
]


@pytest.mark.parametrize("run_on", RUN_ON)
def test_what_stands_behind_the_end_is_no_answer(run_on):
    for score, doc in CHOOSERS:
        given = score(doc, final_text_of(f"Answer: B{run_on}Answer: C", finish_reason="length"))
        assert (given.answer, given.value, given.flags) == ("B", 1.0, ("continued_pattern",)), score
    for score, answer in ((aime.score, 42), (expression.score, "42"), (theoremqa.score, 42)):
        doc = {"answer": answer, "answer_type": "integer"}
        given = score(doc, final_text_of(f"The answer is 42.{run_on}The answer is 7."))
        assert (given.value, given.flags) == (1.0, ("continued_pattern",)), score
    given = short.score({"answer": "42"}, final_text_of(f"42{run_on}7"))
    assert given.value == 1.0


@pytest.mark.parametrize("run_on", RUN_ON[:1])
def test_a_bare_letter_that_a_template_ends_is_the_answer(run_on):
    for score, doc in CHOOSERS:
        assert score(doc, final_text_of(f"B{run_on}Answer: C")).value == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        "<|im_start|>assistant\nAnswer: B<|im_end|>",
        "</s>Answer: B",
        "<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\nAnswer: B",
        "The mark </s> ends a text.\nAnswer: B",
        "User: asks for the second.\nHuman: so do I.\nAnswer: B",
        "Answer: B</s>",
    ],
)
def test_a_mark_before_an_answer_or_at_the_end_takes_nothing_away(reply):
    for score, doc in CHOOSERS:
        given = score(doc, final_text_of(reply))
        assert (given.value, given.flags) == (1.0, ()), score


def test_behind_a_turn_of_the_user_no_answer_is_looked_for():
    given = choice.score(CHOICE, final_text_of("I cannot tell.<|im_end|>\n<|im_start|>user\nTry.\nAnswer: B"))
    assert (given.value, given.status) == (0.0, Status.NO_ANSWER)
