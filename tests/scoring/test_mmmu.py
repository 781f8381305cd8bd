"""MMMU: open answers with several truths, at the precision that they state, and numbers in free text."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring import mmmu
from evalkit.scoring.answers.number import equal, numbers, whole_number
from evalkit.scoring.answers.reply import final_text_of


def answered(reply, *answers, **final):
    return mmmu.score({"type": "open", "answers": list(answers)}, final_text_of(reply, **final))


@pytest.mark.parametrize(
    ("reply", "answers", "value"),
    [
        ("7.3", ["7.3"], 1),
        ("The current is 7.3 amperes.", ["7.3"], 1),
        ("I = 7.30 A", ["7.3"], 1),
        ("about 7.34", ["7.3"], 0),
        ("$3,500,000", ["3500000"], 1),
        ("3.5 million", ["3500000"], 1),
        ("35 thousand", ["3500000"], 0),
        ("20%", ["0.20"], 1),
        ("20%", ["20"], 1),
        ("1/32", ["1/32"], 1),
        ("0.03125", ["1/32"], 1),
        ("2.71", ["19/7", "2.714"], 1),
        ("2.7", ["19/7", "2.714"], 0),
        ("The sum is 170.", ["70"], 0),
        ("95 V", ["-95"], 0),
        ("-95 V", ["-95"], 1),
        ("It is Lisbon, I believe.", ["Porto", "Lisbon"], 1),
        ("It is not Lisbon.", ["Lisbon"], 0),
        ("First 6 is halved, so the answer is 3.", ["6"], 0),
        ("First 6 is halved.\nAnswer: 3", ["3"], 1),
        (r"Hence \boxed{2.5\text{ m}}", ["2.5"], 1),
        ("The region is D.", ["D"], 1),
        ("Region D is shaded.", ["D"], 1),
        ("Dolomite", ["D"], 0),
        ("It is A good example.", ["A"], 0),
        ("A", ["A"], 1),
        ("(a)", ["A"], 1),
        ("12-20 weeks", ["-20"], 0),
        ("1.5 × 10^3 Hz", ["1500"], 1),
        ("the answer is $CaF_2$", ["CaF2", "$CaF_2$"], 1),
        ("embryonic stage", ["Embryonic"], 1),
    ],
)
def test_open_answers(reply, answers, value):
    assert answered(reply, *answers).value == value


def test_where_an_answer_is_announced_only_that_place_counts():
    score = answered("Answer: 12\nNote that 15 would be too many.", "15")
    assert (score.value, score.answer) == (0.0, "12")
    weak = answered("We add the parts and get 15", "15")
    assert (weak.value, weak.flags) == (1.0, ("weak_anchor",))


def test_what_was_cut_off_counts_only_where_it_was_announced():
    assert answered("Answer: 15.\nThe reas", "15", finish_reason="length").value == 1.0
    assert answered("Answer: 15", "15", finish_reason="length").status is Status.TRUNCATED, "15 may become 150"
    assert answered("The total is 15 and", "15", finish_reason="length").status is Status.TRUNCATED


def test_a_choice_is_read_by_its_letter():
    doc = {"type": "choice", "choices": ["4", "6", "8", "10"], "answer": "C"}
    assert mmmu.score(doc, final_text_of("Answer: C")).value == 1.0
    assert mmmu.score(doc, final_text_of("8")).value == 1.0
    assert mmmu.score(doc, final_text_of("I can't tell.")).status is Status.NO_ANSWER


@pytest.mark.parametrize(
    "doc",
    [
        {"type": "open", "answers": []},
        {"type": "open"},
        {"type": "choice", "answer": "A"},
        {"type": "?", "answer": "A"},
    ],
)
def test_a_damaged_document_is_a_data_error(doc):
    with pytest.raises(DataError):
        mmmu.score(doc, FinalText("A"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("28,750 and 1,2", [28750, 1, 2]),
        ("CO2, x_1 and v1.2", []),
        ("-.5", [Fraction(-1, 2)]),
        ("12-20", [12, 20]),
        (r"\frac{24}{7}", [Fraction(24, 7)]),
        ("2/0 and 0^-1", []),
        ("10^{-3}", [Fraction(1, 1000)]),
        ("3e4", [30000]),
        ("9" * 41, []),
        ("2^99 9^-99", [2**99, Fraction(1, 9**99)]),
        ("1e99", []),
    ],
)
def test_numbers_in_text(text, values):
    assert [number.readings[0] for number in numbers(text)] == values


@pytest.mark.parametrize(
    "text", ["5 cm^2", "$5$", "60^\\circ", "4.5 m/s^2", "13%", "5 square inches", "0.80 €", "五 5"]
)
def test_a_number_with_its_unit_is_a_whole_number(text):
    assert (whole_number(text) is not None) == (text != "五 5")


@pytest.mark.parametrize("text", [r"2\pi", "3x", "1 or 2", "(3,-4)", "1:2", "12 + 3", "x=5", r"4\sqrt{2}", "", "cm"])
def test_an_expression_is_no_whole_number(text):
    assert whole_number(text) is None


@given(st.decimals(-(10**5), 10**5, places=3))
def test_a_number_equals_itself_and_its_rounding(value):
    [exact], [rounded] = numbers(f"= {value}"), numbers(f"= {round(value, 2)}")
    assert equal(exact, exact)
    assert equal(rounded, exact)
    assert not equal(numbers(f"= {value + 1}")[0], exact)


@given(st.text(max_size=200), st.text(min_size=1, max_size=20))
def test_any_reply_gets_a_verdict(reply, truth):
    if truth.strip():
        assert mmmu.score({"type": "open", "answers": [truth]}, FinalText(reply)).value in {0.0, 1.0}


def test_tricky_rows(tricky):
    rows = [json.loads(line) for line in (tricky / "open_numeric.jsonl").open()]
    assert len(rows) >= 16
    found = {}
    for row in rows:
        answers = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
        found[row["id"]] = answered(row["output"], *answers).value
    assert found == {row["id"]: row["expected"] for row in rows}
