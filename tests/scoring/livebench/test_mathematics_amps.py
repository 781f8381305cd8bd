"""AMPS_Hard: formulas compared by computer algebra in a worker, which no formula can hang."""

import pytest

from evalkit.model import FinalText, Status
from evalkit.scoring.livebench import mathematics as amps
from evalkit.scoring.livebench import score


def doc(truth, subtask="amps_hard_derivatives"):
    return {
        "question_id": "q1",
        "task": "AMPS_Hard",
        "subtask": subtask,
        "ground_truth": truth,
        "release_date": "2024-06-24",
    }


@pytest.mark.parametrize(
    ("truth", "text", "value"),
    [
        ("2", r"The answer is $\boxed{2}$.", 1),
        (r"\frac{1}{2}", r"$\boxed{0.5}$", 1),
        (r"\frac{1}{2}", r"\boxed{\dfrac{1}{2}}", 1),
        (r"\frac{1}{2}", r"\boxed{\frac12}", 1),
        (r"2 x+1", r"$\boxed{1 + 2x}$", 1),
        (r"(x+1)^2", r"$\boxed{x^2 + 2x + 1}$", 1),
        (r"(x+1)^2", r"$\boxed{x^2 + 2x}$", 0),
        (r"x^2", r"$\boxed{f(x) = x^2}$", 1),
        (r"x^2", r"$\boxed{x^2 + C}$", 1),
        (r"\sin ^2(x)+\cos ^2(x)", r"\boxed{1}", 1),
        (r"3 \sqrt{2}", r"\boxed{\sqrt{18}}", 1),
        (r"4 i \sqrt{5}", r"\boxed{4\sqrt{5}i}", 1),
        (r"9\ 2^{2/5}", r"\boxed{9 \cdot 2^{2/5}}", 1),
        (r"100000", r"\boxed{100,000}", 1),
        (r"\left(x-\frac{1}{2}\right)^2", r"\boxed{\left(x - \frac{1}{2}\right)^{2}}", 1),
        ("5", r"so $x = 5$", 1),
        ("5", r"so $$x = 5$$", 1),
        ("5", "it is plainly 5.", 1),
        ("5", "it is plainly 6.", 0),
        ("5", r"\boxed{}", 0),
        ("2", r"\boxed{2.0005}", 1),
        ("2", r"\boxed{2.002}", 0),
        ("2", r"\boxed{\text{two}}", 0),
    ],
)
def test_verdicts(truth, text, value):
    assert score(doc(truth), FinalText(text)).value == value


def test_of_several_truths_the_last_counts():
    assert score(doc(["7", "2"]), FinalText(r"\boxed{2}")).value == 1


def test_a_text_without_a_formula_has_no_answer():
    given = score(doc("5"), FinalText("I would rather not say."))
    assert (given.value, given.status) == (0.0, Status.NO_ANSWER)


def test_a_pathological_formula_has_no_verdict_and_the_next_one_has(monkeypatch):
    monkeypatch.setattr(amps, "SECONDS", 5.0)
    tower = r"\boxed{" + "9^{" * 6 + "9" + "}" * 6 + "}"
    given = score(doc("x^2"), FinalText(tower))
    assert (given.value, given.status) == (None, Status.GRADE_ERROR)
    assert score(doc("2"), FinalText(r"\boxed{1+1}")).value == 1


def test_a_formula_as_long_as_a_book_is_not_even_parsed():
    given = score(doc("2"), FinalText(r"\boxed{" + "1+" * 50_000 + "1}"))
    assert (given.value, given.status) == (0.0, Status.SCORED)


def test_cut_off_texts_count_only_with_a_box():
    assert score(doc("5"), FinalText(r"\boxed{5} and", truncated=True)).reason == "truncated_with_answer"
    assert score(doc("5"), FinalText("it is 5", truncated=True)).status is Status.TRUNCATED
