"""Integer answers: the table of agreed verdicts row by row, and what surrounds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring.aime import aime, restore_tex, score
from evalkit.scoring.answers.reply import final_text_of


def graded(truth, content, finish="stop"):
    return score({"id": "i1", "answer": truth}, final_text_of(content, "", finish))


@pytest.mark.parametrize(
    ("truth", "content", "finish", "reason"),
    [
        pytest.param(33, r"\boxed{33}", "stop", "right", id="row01"),
        pytest.param(33, r"\boxed{033}", "stop", "right", id="row02"),
        pytest.param("033", r"\boxed{33}", "stop", "right", id="row03"),
        pytest.param(33, r"\boxed{\text{33}}", "stop", "right", id="row04"),
        pytest.param(33, r"\boxed{\mathbf{33}}.", "stop", "right", id="row05"),
        pytest.param(33, r"$$\boxed{n = 33}$$", "stop", "right", id="row06"),
        pytest.param(33, r"\boxed{12} ... so actually \boxed{33}", "stop", "right", id="row07"),
        pytest.param(33, r"\boxed{33} ... check: \boxed{12}", "stop", "wrong", id="row08"),
        pytest.param(33, r"\boxed{33^\circ}", "stop", "right", id="row09"),
        pytest.param(33, r"\boxed{33\text{ cm}}", "stop", "right", id="row10"),
        pytest.param(33, r"\boxed{33.0}", "stop", "right", id="row11"),
        pytest.param(33, r"\boxed{33.5}", "stop", "wrong", id="row12"),
        pytest.param(1033, r"\boxed{1{,}033}", "stop", "right", id="row13"),
        pytest.param(33, r"\boxed{\frac{66}{2}}", "stop", "right", id="row14"),
        pytest.param(33, r"\boxed{m+n=33}", "stop", "right", id="row15"),
        pytest.param(33, "The answer is 33.", "stop", "right", id="row16"),
        pytest.param(33, "**Final Answer:** 33", "stop", "right", id="row17"),
        pytest.param(33, "答案是33。", "stop", "right", id="row18"),
        pytest.param(33, "There are 33 ways, no wait, I will stop here.", "stop", "no_answer", id="row19"),
        pytest.param(33, r"<think>... \boxed{33} let me re-check", "length", "truncated_in_reasoning", id="row20"),
        pytest.param(33, r"<think>..</think>\boxed{33", "length", "truncated", id="row21"),
        pytest.param(33, r"\boxed{33 \text{ or } 34}", "stop", "wrong", id="row22"),
        pytest.param(33, r"\boxed{}", "stop", "no_answer", id="row23"),
        pytest.param(33, r"\boxed{133}", "stop", "wrong", id="row24"),
        pytest.param(33, r"\boxed{\boxed{33}}", "stop", "right", id="row25"),
    ],
)
def test_table(truth, content, finish, reason):
    result = graded(truth, content, finish)
    assert (result.reason, result.value) == (reason, float(reason == "right"))


@pytest.mark.parametrize(
    ("truth", "content", "reason"),
    [
        (33, r"\boxed 33", "right"),
        (33, r"\fbox{33}", "right"),
        (33, r"\boxed{+33}", "right"),
        (-33, r"\boxed{-33}", "right"),
        (-33, "Answer: −33", "right"),
        (33, r"\boxed{-33}", "wrong"),
        (0, r"\boxed{000}", "right"),
        (0, r"\boxed{0}", "right"),
        (33, r"\boxed{３３}", "right"),
        (1033, r"\boxed{1,033}", "right"),
        (1033, r"\boxed{1\,033}", "right"),
        (1033, r"\boxed{1 033}", "right"),
        (1033, "Answer: 1,033", "right"),
        (12, r"\boxed{1,2}", "wrong"),
        (33, r"\boxed{33\%}", "right"),
        (33, r"\boxed{33 \text{ km/h}}", "right"),
        (33, r"\boxed{33\text{ m}^2}", "right"),
        (33, r"\boxed{33 \text{ thousand}}", "wrong"),
        (33, r"\boxed{33 \pm 1}", "wrong"),
        (33, r"\boxed{33, 34}", "wrong"),
        (52, "\\boxed{5²}", "wrong"),
        (25, "\\boxed{5²}", "right"),
        (33, "\\boxed{thirty-three}", "wrong"),
        (33, "\\boxed{" + "3" * 5000 + "}", "wrong"),
        (33, r"\boxed{12, so \boxed{33}", "no_answer"),
        (33, "Answer: $n = 33$", "right"),
        (33, "### Final Answer\n\n33\n\nas was to be shown", "right"),
        (33, "The answer is 33, since 3 + 30 = 33", "right"),
        (33, "The answer is 12. No: the answer is 33", "right"),
        (33, "The answer is 33.5", "wrong"),
        (33, "The answer is 33 or 34", "no_answer"),
        (33, "The answer is 33/2", "no_answer"),
        (33, "The answer is 33x", "no_answer"),
        (33, "answer 33 is wrong", "no_answer"),
        (1, "Here is the reasoning behind this answer:\n1. We found 33", "no_answer"),
        (1, "Let me check the answer:\n\n1) Add them", "no_answer"),
        (35, r"\boxed{35.0\%}", "right"),
        (35, r"Answer: 35.0\%", "right"),
        (204, r"\boxed{\$204}", "right"),
        (204, r"The answer is **\$204.00**.", "right"),
        (204, r"\boxed{€204}", "right"),
        (1204, r"Answer: 1{,}204", "right"),
        (1204, r"Answer: 1\,204", "right"),
        (33, r"\boxed{\text{There are } 33 \text{ ways}}", "right"),
        (33, r"\boxed{33} or \boxed{34}", "wrong"),
        (33, "【答案】33", "right"),
        (33, "| Answer | 33 |", "right"),
    ],
)
def test_other_wordings(truth, content, reason):
    result = graded(truth, content)
    assert (result.reason, result.value) == (reason, float(reason == "right"))


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (r"\boxed{33} and to check", Status.SCORED, "truncated_with_answer"),
        (r"\boxed{33}", Status.SCORED, "truncated_with_answer"),
        ("The answer is 33, for", Status.SCORED, "truncated_with_answer"),
        ("The answer is 33\n", Status.SCORED, "truncated_with_answer"),
        ("The answer is 33", Status.TRUNCATED, "truncated"),
        (r"\boxed 33", Status.TRUNCATED, "truncated"),
        ("so there are 33 ways", Status.TRUNCATED, "truncated"),
    ],
)
def test_of_a_reply_that_was_cut_off_a_number_at_the_cut_is_no_answer(content, status, reason):
    result = graded(33, content, "length")
    assert (result.status, result.reason) == (status, reason)
    assert result.value == float(status is Status.SCORED)


@pytest.mark.parametrize(
    "content",
    [
        "Answer: 203 = 7 * 29",
        "Answer: 203 = 7*29.",
        "The answer is 203 = 7 × 29.",
        "Answer: 7 * 29 = 203",
        "**Answer:** **203**",
        "Answer: *203*",
        r"So the answer is \*\*203\*\*.",
    ],
)
def test_a_star_between_two_numbers_is_no_emphasis(content):
    assert graded("203", content).value == 1.0
    assert graded("729", content).value == 0.0


def test_the_generous_reading_takes_the_last_number():
    result = graded(33, "There are 33 ways")
    assert (result.value, result.lenient, result.flags) == (0.0, 1.0, ("lenient_only",))
    assert graded(33, "There are 33 or 34 ways").lenient == 0.0
    assert graded(33, "There are ways").flags == ()


@pytest.mark.parametrize("truth", ["", None, "  ", "abc", "1.5", True, [33], "33 or 34"])
def test_a_truth_that_is_no_integer_raises_and_names_the_item(truth):
    with pytest.raises(DataError, match="item 'i1'"):
        graded(truth, "")


@given(
    st.integers(-(10**40), 10**40),
    st.sampled_from([r"\boxed{{{}}}", r"$\boxed{{\text{{{}}}}}$", "Answer: {}.", "答案：{}"]),
)
def test_every_integer_is_read_back(number, wording):
    assert graded(number, wording.format(number)).value == 1.0
    assert graded(number + 1, wording.format(number)).value == 0.0


@given(st.integers(1000, 10**9))
def test_separators_change_nothing(number):
    for written in (f"{number:,}", f"{number:,}".replace(",", "{,}"), f"{number:,}".replace(",", r"\,"), f"00{number}"):
        assert graded(number, rf"\boxed{{{written}}}").value == 1.0


@given(st.text(max_size=60), st.booleans())
def test_no_text_without_a_box_makes_the_scorer_raise(content, truncated):
    assert score({"answer": 33}, FinalText(content, truncated=truncated)).status.has_value


@pytest.mark.parametrize("unit", ["answer: 1,000,", "1,", "answer is ", "\\boxed{", "9", "$", "答案是1"])
def test_a_long_loop_is_read_in_linear_time(unit):
    assert graded(33, unit * (60_000 // len(unit))).status.has_value


# ---------------------------------------------------------------- rows


def test_aime_takes_padded_answers_and_both_column_spellings():
    rows = [
        {"id": "2099-I-3", "problem": "Find $n$.", "answer": "033"},
        {"ID": "2099-II-4", "Problem": "Find $m$.", "Answer": 7},
    ]
    first, second = aime(rows, {"year": 2099})
    assert first == {"id": "2099-I-3", "problem": "Find $n$.", "answer": 33, "year": 2099, "part": "I"}
    assert (second["id"], second["answer"], second["part"]) == ("2099-II-4", 7, "II")


def test_aime_puts_eaten_tex_backslashes_back():
    (document,) = aime([{"id": "5", "problem": "Let \x0crac{m}{n} and \triangle ABC.", "answer": 1}], {"year": 2099})
    assert document["problem"] == r"Let \frac{m}{n} and \triangle ABC."


@pytest.mark.parametrize("answer", ["1000", "-1"])
def test_aime_refuses_an_answer_out_of_range(answer):
    with pytest.raises(ValueError, match="row 0 has the answer"):
        aime([{"problem": "x", "answer": answer}], {"year": 2099})


@given(st.text())
def test_restored_tex_never_keeps_a_control_character(text):
    try:
        repaired = restore_tex(text)
    except ValueError:
        return
    assert not any(ord(char) < 32 and char != "\n" for char in repaired)


@pytest.mark.parametrize(
    "reply",
    [r"\boxed{\neq 204}", r"\boxed{\le 204}", r"\boxed{2 04}", "The answer is 204 million.", "The answer is 204 thousand",
     "Answer: 204:30"],
)  # fmt: skip
def test_a_number_that_is_denied_scaled_or_split_is_another(reply):
    assert score({"id": "q", "answer": "204"}, final_text_of(reply)).value == 0.0
