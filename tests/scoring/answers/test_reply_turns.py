"""A reply that runs on behind its end, into a turn of the user's or a next problem, is read up to there."""

import pytest

from evalkit.model import FinalText, Status
from evalkit.scoring import aime, livebench, mathvision, mmmu, perception, theoremqa
from evalkit.scoring.answers import choice, expression, judge, letters, short
from evalkit.scoring.answers.reply import final_text_of, first_turn

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


WHOLE_TEXTS = [*RUN_ON[:2], "\n\nUser: And now?\n", *RUN_ON[5:8], *RUN_ON[8:9], RUN_ON[11]]


@pytest.mark.parametrize("run_on", [text if "Human" not in text else f"\n{text}" for text in WHOLE_TEXTS])
def test_a_text_that_is_read_as_a_whole_ends_there_too(run_on):
    """OCRBench looks for its words anywhere, a judge reads everything, LiveBench's last answer counts."""
    reply = final_text_of(f"EXIT 9{run_on}It says ENTRY 7.", finish_reason="length")
    doc = {"dataset": "own", "answers": ["ENTRY 7"]}
    given = perception.score(doc, reply)
    assert (given.value, given.answer) == (0.0, "EXIT 9")
    assert perception.score({**doc, "answers": ["EXIT 9"]}, reply).value == 1.0
    assert judge.case_of({"question": "What?", "truth": "EXIT 9"}, reply).answer == "EXIT 9"


def test_livebench_ends_a_text_at_the_marks_of_a_template_alone():
    doc = {"question_id": "q", "task": "zebra_puzzle", "ground_truth": "red", "release_date": "2024-11-25"}
    first, second = "<solution>red</solution>", "<solution>blue</solution>"
    assert livebench.score(doc, final_text_of(f"{first}<|im_end|>\n<|im_start|>user\n{second}")).value == 1.0
    assert livebench.score(doc, final_text_of(f"Human: hi\n\nHuman: yes?\n\n{first}")).value == 1.0


@pytest.mark.parametrize(
    "text",
    ["", "red", "User: red", "<|im_start|>red", "a </s>", "Question 2: red", "<|im_start|>user\nWhich?<|im_end|>\nred"],
)
def test_a_text_that_does_not_run_on_is_left_whole(text):
    kept = first_turn(final_text_of(text) if text else FinalText("")).text
    assert kept.strip() in text
    assert ("red" in kept) == ("red" in text)
