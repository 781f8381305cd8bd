"""MathVision: the last box alone, letters and values, equal results and no rounding."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring import mathvision
from evalkit.scoring.answers.reply import final_text_of

PLAIN = ["11", "13", "15", "17", "19"]
UNITS = ["25 cm", "14 cm", "6 cm", "8 cm", "10 cm"]
LATEX = [r"$\frac{1}{4}$", r"$\frac{120}{17}$", r"$2 \sqrt{3} \mathrm{~cm}^{2}$", r"$45^{\circ}$", "cannot be known"]
BARE = ["A", "B", "C", "D", "E"]


def choose(reply, choices, answer, **final):
    return mathvision.score({"type": "choice", "choices": choices, "answer": answer}, final_text_of(reply, **final))


def solve(reply, answer, **final):
    return mathvision.score({"type": "open", "answer": answer}, final_text_of(reply, **final))


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        (r"\boxed{C}", PLAIN, "C"),
        (r"\boxed{15}", PLAIN, "C"),
        (r"\boxed{15.0}", PLAIN, "C"),
        (r"\boxed{\textbf{(C) }15}", PLAIN, "C"),
        (r"\boxed{C) 15}", PLAIN, "C"),
        (r"\boxed{(C)}", BARE, "C"),
        (r"\boxed{{\text{(C)}~15 \mathrm{~m}}}", PLAIN, "C"),
        (r"\boxed{15 \ \mathbf{(C)}}", PLAIN, "C"),
        (r"\boxed{h = 9+6 = \textbf{(C)}~15}", PLAIN, "C"),
        (r"\boxed{14}", UNITS, "B"),
        (r"\boxed{14\text{ cm}}", UNITS, "B"),
        (r"\boxed{\tfrac{120}{17}}", LATEX, "B"),
        ("120/17", LATEX, "B"),
        (r"\boxed{2\sqrt3}", LATEX, "C"),
        ("45°", LATEX, "D"),
        (r"\boxed{\text{cannot be known}}", LATEX, "E"),
        ("So the answer is (E).", PLAIN, "E"),
        ("The answer is $17$.", PLAIN, "D"),
        ("First \\boxed{A}, no: \\boxed{B}", BARE, "B"),
        (r"\boxed{\text{A square}}", ["A circle", "A square", "A kite", "A line", "A dot"], "B"),
    ],
)
def test_choices(reply, choices, letter):
    assert choose(reply, choices, letter).value == 1.0
    for other in set(BARE) - {letter}:
        assert choose(reply, choices, other).value == 0.0


@pytest.mark.parametrize(
    ("reply", "choices"),
    [
        (r"\boxed{A, B}", BARE),
        (r"\boxed{AB}", BARE),
        (r"Triangle ABC has area \boxed{16}", PLAIN),
        (r"\boxed{\text{A round sign.}}", BARE),
        (r"\boxed{F}", BARE),
        ("I don't know.", BARE),
        ("3/2", ["1", "2", "3", "4", "5"]),
    ],
)
def test_no_option_is_chosen(reply, choices):
    for letter in BARE:
        assert choose(reply, choices, letter).value == 0.0


def test_two_boxed_letters_are_named_as_such():
    assert choose(r"\boxed{A, B}", BARE, "A").reason == "multiple"


@pytest.mark.parametrize(
    ("reply", "answer", "value"),
    [
        (r"\boxed{70}", "70", 1),
        ("The answer is 70.", "70", 1),
        (r"\boxed{70^\circ}", "70", 1),
        (r"\boxed{170}", "70", 0),
        (r"\boxed{57}", "5", 0),
        (r"\boxed{\dfrac{2}{5}}", r"$\frac{2}{5}$", 1),
        (r"\boxed{0.4}", r"\frac{2}{5}", 1),
        (r"\boxed{0.33}", r"\frac{1}{3}", 0),
        (r"\boxed{3\frac{1}{2}}", "7/2", 1),
        (r"\boxed{5\sqrt3}", r"5\sqrt{3}", 1),
        (r"\boxed{9.42}", r"3\pi", 0),
        (r"\boxed{(2, -5)}", "(2,-5)", 1),
        (r"\boxed{x=8}", "8", 1),
        (r"\boxed{8 \text{ cm}^2}", "8", 1),
        (r"\boxed{400 \; \text{cm}^2}", "400", 1),
        (r"\boxed{0}", r"\frac{7^2}{2^{14}}", 0),
        (r"\boxed{\frac{16}{5}}", r"$\boxed{\frac{16}{5}}$", 1),
        (r"\boxed{2-2\sqrt3}", r"-2\sqrt{3}+2", 1),
        (r"\boxed{6}, or so I think", "6", 1),
        ("We count the tiles and get 12 in all", "12", 1),
        (r"so the area is $4\pi$", r"4\pi", 1),
        (r"\boxed{3:4}", "3:4", 1),
        (r"\boxed{C}", "C", 1),
        (r"\boxed{4.57}", "4.57", 1),
        (r"\boxed{4.568}", "4.57", 1),
        (r"\boxed{4.6}", "4.57", 0),
    ],
)
def test_open_results(reply, answer, value):
    assert solve(reply, answer).value == value


def test_what_was_cut_off_needs_a_box_or_a_marker():
    assert solve("\\boxed{12}. Indeed", "12", finish_reason="length").value == 1.0
    assert solve("we count 12 tiles", "12", finish_reason="length").status is Status.TRUNCATED
    assert choose("45", LATEX, "D", finish_reason="length").status is Status.TRUNCATED


def test_a_weak_place_is_flagged():
    assert "weak_anchor" in solve("12", "12").flags
    assert "weak_anchor" not in solve(r"\boxed{12}", "12").flags


@pytest.mark.parametrize(
    "doc", [{"type": "open"}, {"type": "choice", "answer": "A"}, {"type": "?", "answer": "1"}, {"answer": "1"}]
)
def test_a_damaged_document_is_a_data_error(doc):
    with pytest.raises(DataError):
        mathvision.score(doc, FinalText("1"))


@settings(deadline=None, max_examples=40)
@given(st.text(alphabet="ABCDE()[]{}\\boxed,. 0123456789", max_size=80))
def test_any_choice_reply_gets_a_verdict(reply):
    assert choose(reply, PLAIN, "A").value in {0.0, 1.0}


def test_tricky_rows(tricky):
    tricky = [json.loads(line) for line in (tricky / "mathvision.jsonl").open()]
    assert len(tricky) >= 23
    for row in tricky:
        raw = {"id": "1", "question": "q", "options": row["options"], "answer": row["gold"], "subject": "s", "level": 1}
        [document] = mathvision.mathvision([raw], {})
        assert mathvision.score(document, final_text_of(row["output"])).value == row["expected"], row["id"]
