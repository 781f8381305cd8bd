"""Mathematical answers of any form: what is taken as the answer, what counts as equal, what has no verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import Status
from evalkit.scoring.answers import expression
from evalkit.scoring.answers.expression import extract, score, spelled_alike
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.answers.worker import GradeError, GradeTimeout


def graded(truth, content, finish="stop"):
    return score({"id": "e1", "answer": truth}, final_text_of(content, "", finish))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} no: \boxed{2}", "2"),
        (r"\boxed{1} and \boxed{}", "1"),
        (r"\boxed{3", None),
        (r"The answer is $x^2$, I hope", "x^2"),
        (r"The answer is \(x^2\).", "x^2"),
        (r"The answer is \[ x^2 \]", "x^2"),
        ("**Answer:** x^2 + 1. That is all.", "x^2 + 1"),
        ("Answer: 3.5\nor so", "3.5"),
        ("答案是 x+1。", "x+1"),
        ("Answer: 1\nAnswer: 2", "2"),
        ("Answer: }{", None),
        ("I cannot say", None),
        ("", None),
    ],
)
def test_what_is_taken_as_the_answer(text, answer):
    assert extract(text) == answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        (r"\text{Monday}", "monday"),
        ("12_{7}", "12_7"),
        (r"90^\circ", "90"),
        ("x = 1.", "x=1"),
    ],
)
def test_spelled_alike(one, other):
    assert spelled_alike(one, other)
    assert not spelled_alike(one + "1", other)


@pytest.mark.parametrize(
    ("truth", "answer", "right"),
    [
        (r"\frac{1}{2}", "0.5", True),
        (r"\frac{1}{2}", r"\frac{2}{4}", True),
        (r"3\sqrt{13}", r"\sqrt{117}", True),
        ("2k+2", "2(k+1)", True),
        ("(3, \\frac{\\pi}{2})", "(3,\\pi/2)", True),
        ("6 - 5i", "-5i+6", True),
        ("[-2,7]", "(-2,7)", False),
        ("5", "x = 5", True),
        ("1,-2", "-2, 1", True),
        ("33", r"33\pi", False),
        (r"\frac{1}{2}", "0.49", False),
        (r"\text{Monday}", r"\text{Tuesday}", False),
        (r"x^2", "not mathematics at all {}", False),
    ],
)
def test_equal_values_are_right(truth, answer, right):
    result = graded(truth, rf"\boxed{{{answer}}}")
    assert (result.value, result.reason) == (float(right), "right" if right else "wrong")


@pytest.mark.parametrize(
    ("error", "reason"), [(GradeTimeout("too slow"), "grade_timeout"), (GradeError("died"), "grade_error")]
)
def test_a_comparison_without_end_has_no_verdict(monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(expression, "run_limited", fail)
    result = graded("1/3", r"\boxed{x}")
    assert (result.value, result.lenient, result.status, result.reason) == (None, None, Status.GRADE_ERROR, reason)


def test_a_tower_of_powers_really_is_stopped(monkeypatch):
    monkeypatch.setattr(expression, "SECONDS", 0.5)
    for tower in (r"9^{9^{9^{9}}}", r"10^{10^{10}}", "9**9**9**9", r"2^{1000000000}"):
        result = graded("7", rf"\boxed{{{tower}}}")
        assert (result.value, result.reason) == (0.0, "wrong"), "no number that 7 could be"
    assert graded(r"9^{9^{9^{8}}}", r"\boxed{9^{9^{9^{9}}}}").reason == "grade_timeout"
    assert graded("7", r"\boxed{14/2}").value == 1.0


@pytest.mark.parametrize(
    ("truth", "answer", "right"),
    [
        ("11_2", "11_2", True),
        ("11_2", "(11)_{2}", True),
        ("11_2", "11", False),
        ("11_2", "3", False),
        ("11_2", "11_3", False),
        ("11", "11_2", False),
        ("x_1", "x_1", True),
    ],
)
def test_a_number_to_a_base_is_not_one_to_another(truth, answer, right):
    assert graded(truth, rf"\boxed{{{answer}}}").value == float(right)


def test_an_endless_answer_is_wrong_and_is_not_compared(monkeypatch):
    monkeypatch.setattr(expression, "run_limited", None)
    result = graded("7", r"\boxed{" + "1+" * 1000 + "1}")
    assert (result.value, result.flags) == (0.0, ("too_long",))
    assert len(result.answer) <= expression.LONGEST


def test_equal_spelling_needs_no_comparison(monkeypatch):
    monkeypatch.setattr(expression, "run_limited", None)
    assert graded(r"\frac{1}{2}", r"\boxed{\tfrac{1}{2}}").value == 1.0


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (r"\boxed{x} and so", Status.SCORED, "truncated_with_answer"),
        ("The answer is x. And so", Status.SCORED, "truncated_with_answer"),
        ("The answer is x", Status.TRUNCATED, "truncated"),
        (r"\boxed{x", Status.TRUNCATED, "truncated"),
    ],
)
def test_of_a_reply_that_was_cut_off_what_touches_the_cut_is_no_answer(content, status, reason):
    result = graded("x", content, "length")
    assert (result.status, result.reason) == (status, reason)


@pytest.mark.parametrize("truth", ["", None, " ", "$$", r"\text{}"])
def test_an_empty_truth_raises_and_names_the_item(truth):
    with pytest.raises(DataError, match="item 'e1'"):
        graded(truth, r"\boxed{}")


@given(st.text(max_size=60))
def test_extraction_never_raises_and_never_returns_blanks(text):
    answer = extract(text)
    assert answer is None or answer.strip()


@pytest.mark.parametrize("unit", ["answer: \\(", "answer: ", "answer: } ", "\\boxed{1}", "$"])
def test_a_long_loop_is_read_in_linear_time(unit):
    answer = extract(unit * (60_000 // len(unit)))
    assert answer is None or len(answer) < 2000


@pytest.mark.parametrize(
    ("truth", "reply", "value"),
    [
        (r"\frac{1}{2}", r"\boxed{1/2 \text{ is wrong}}", 0.0), ("3", r"\boxed{\neq 3}", 0.0), ("3", r"\boxed{\le 3}", 0.0),
        ("3", r"\boxed{> 3}", 0.0), ("3", r"\boxed{3 \text{ is correct}}", 1.0), (r"\neq 3", r"\boxed{\ne 3}", 1.0),
        ("x < 3", r"\boxed{x<3}", 1.0), ("10{,}080", r"\boxed{10 080}", 1.0), ("10080", r"\boxed{10\,080}", 1.0),
        ("10080", r"\boxed{100 80}", 0.0), ("1 2 3", r"\boxed{1 2 3}", 1.0), ("11", r"\boxed{1 1}", 0.0),
        ("1,-2", r"\boxed{1}\text{ and }\boxed{-2}", 1.0), ("1,-2", r"\boxed{1} \text{ or } \boxed{-2}", 1.0),
    ],
)  # fmt: skip
def test_what_is_denied_or_spaced_otherwise_is_no_answer_and_boxes_count_together(truth, reply, value):
    assert score({"id": "q", "answer": truth}, final_text_of(reply)).value == value
