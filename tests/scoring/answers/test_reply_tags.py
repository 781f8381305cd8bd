"""Answer tags, which some models were taught to write and nothing else, and several boxes: every scorer reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.model import Status
from evalkit.scoring import aime, mathvision, mmmu, theoremqa
from evalkit.scoring.answers import choice, expression, letters, short
from evalkit.scoring.answers.reply import boxes, final_text_of

GREEK = {"choices": ["alpha", "beta", "gamma", "delta"], "answer": "C"}
NUMERIC = {
    "aime": (aime.score, {"answer": 33}),
    "expression": (expression.score, {"answer": "33"}),
    "mathvision": (mathvision.score, {"type": "open", "answer": "33"}),
    "mmmu": (mmmu.score, {"type": "open", "answers": ["33"]}),
    "cmmmu": (mmmu.score_cmmmu, {"type": "fill", "answer": "33"}),
    "theoremqa": (theoremqa.score, {"answer": "33", "answer_type": "float"}),
}
LETTERED = {
    "choice": (choice.score, GREEK),
    "letters": (letters.score, GREEK),
    "mathvision": (mathvision.score, {**GREEK, "type": "choice"}),
    "mmmu": (mmmu.score, {**GREEK, "type": "choice"}),
    "cmmmu": (mmmu.score_cmmmu, {**GREEK, "type": "choice"}),
}
FORMS = [
    "<answer>{}</answer>",
    "<think>a</think>\n<answer>\n{}\n</answer>",
    "<answer> ${}$ </answer>",
    "<answer>**{}**</answer>",
    r"<answer>\boxed{{{}}}</answer>",
    r"<answer>\text{{{}}}</answer>",
    "<answer>The answer is {}.</answer>",
    "<answer>Step 1: we look at it.\n\nThe answer: {}\n</answer>",
    "FINAL ANSWER: <answer>{}</answer>",
    "**Final Answer:** <answer>{}</answer>\n\nI hope this helps.",
    "I write <answer></answer> around it. <answer>{}</answer>",
    "<answer>{}",
    "<answer>{}<answer>",
    "<ANSWER>{}</ANSWER>",
    "<final_answer>{}</final_answer>",
    "＜answer＞{}＜/answer＞",
    "<|begin_of_box|>{}<|end_of_box|>",
    r"First \boxed{{7}}, hence <answer>{}</answer>",
    "<answer>7</answer> is wrong: <answer>{}</answer>",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NUMERIC)
def test_numbers_in_tags(name, form):
    score, doc = NUMERIC[name]
    assert score(doc, final_text_of(form.format(33))).value == 1.0
    assert score(doc, final_text_of(form.format(34))).value == 0.0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LETTERED)
def test_letters_in_tags(name, form):
    score, doc = LETTERED[name]
    for right in ("C", "(C)", "C. gamma", "gamma"):
        assert score(doc, final_text_of(form.format(right))).value == 1.0
    assert score(doc, final_text_of(form.format("B"))).value == 0.0
    assert score(doc, final_text_of(form.format("A and C"))).value == 0.0


@pytest.mark.parametrize(
    "reply",
    [
        "<answer>\nWe look at each.\n\nC\n</answer>",
        "<answer>C. gamma\nBecause it fits.</answer>",
        "<answer>C</answer> D is wrong.",
        r"\boxed{A} is rash. <answer>C</answer>",
    ],
)
@pytest.mark.parametrize("name", LETTERED)
def test_letters_in_tags_with_words(name, reply):
    score, doc = LETTERED[name]
    assert score(doc, final_text_of(reply)).value == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        "<answer>\n3 + 30 are $n = 33$\n</answer>",
        "<answer>33\n\nIt is the sum of the two numbers that the text names.</answer>",
        "<answer>We add three to thirty and get it.\n\n33\n</answer>",
    ],
)
def test_numbers_in_tags_with_words(reply):
    assert aime.score({"answer": 33}, final_text_of(reply)).value == 1.0


def test_nothing_but_the_template_is_no_answer():
    for reply in ("<answer>LETTER</answer>", "<answer></answer>", "<answer>...</answer>"):
        assert choice.score(GREEK, final_text_of(reply)).status is Status.NO_ANSWER
    assert aime.score({"answer": 33}, final_text_of("<answer></answer> 33")).status is Status.NO_ANSWER


@pytest.mark.parametrize("reply", ["<answer>3", "<answer>33", "<answer>\n33"])
def test_an_open_tag_of_a_reply_that_was_cut_off_may_lack_a_digit(reply):
    found = aime.score({"answer": 33}, final_text_of(reply, finish_reason="length"))
    assert (found.value, found.status) == (0.0, Status.TRUNCATED)
    closed = final_text_of("<answer>33</answer>", finish_reason="length")
    assert aime.score({"answer": 33}, closed).reason == "truncated_with_answer"


def test_first_lines_and_verdicts_in_tags():
    assert short.score({"answer": "Addis Ababa"}, final_text_of("<answer>\nAddis Ababa\n</answer>")).value == 1.0
    for said, value in (("对", 1.0), ("错", 0.0)):
        doc = {"type": "true_false", "answer": "对"}
        assert mmmu.score_cmmmu(doc, final_text_of(f"<answer>{said}</answer>")).value == value
    assert mmmu.score_cmmmu({**GREEK, "type": "choice", "answer": "AC"}, final_text_of("<answer>AC</answer>")).value


@pytest.mark.parametrize(
    ("reply", "truth", "value"),
    [
        (r"$x = \boxed{1}$ and $x = \boxed{-2}$", "1,-2", 1),
        (r"\boxed{1} or \boxed{-2}", "-2, 1", 1),
        (r"\boxed{1}、\boxed{-2}", "1,-2", 1),
        (r"\boxed{1} and \boxed{-2}", "-2", 0),
        (r"\boxed{-2} and \boxed{-2}", "-2", 1),
        (r"\boxed{1}, hence the result is \boxed{-2}", "-2", 1),
        (r"<answer>1</answer> and <answer>-2</answer>", "1,-2", 1),
    ],
)
def test_boxes_that_are_one_answer_together(reply, truth, value):
    assert expression.score({"answer": truth}, final_text_of(reply)).value == value


@given(st.lists(st.sampled_from(["<answer>", "</answer>", "3", "\n\n", r"\boxed{4}", "answer: ", "and"])).map("".join))
def test_tags_and_boxes_never_overlap(text):
    end = 0
    for box in boxes(text):
        assert box.start >= end
        end = box.end


@pytest.mark.parametrize("unit", ["<answer>", "</answer>", "<answer>1", "<answer>\n\n", "<answer>answer: ", "1 and "])
def test_a_long_loop_of_tags_is_read_in_linear_time(unit):
    reply = final_text_of("<answer>" + unit * (80_000 // len(unit)))
    for score, doc in (*NUMERIC.values(), *LETTERED.values()):
        assert score(doc, reply).status.has_value
