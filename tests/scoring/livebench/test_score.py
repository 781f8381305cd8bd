"""The scorer as a whole: texts that were cut off, graders that fail, what is missing on the machine."""

import pytest

from evalkit.model import FinalText, Status
from evalkit.scoring import livebench as dispatch
from evalkit.scoring import registry
from evalkit.scoring.answers.worker import GradeError, GradeTimeout
from evalkit.scoring.livebench import score

WORDS = "oak,elm,ash,fir,red,blue,green,pink"


def doc(task, truth, released="2024-11-25", **more):
    return {"question_id": "q1", "task": task, "ground_truth": truth, "release_date": released, **more}


CUT_OFF = [
    (doc("zebra_puzzle", "1,red"), "<solution>1, red</solution> and", "1, red"),
    (doc("web_of_lies_v2", "yes, no, yes", "2024-06-24"), "**yes, no, yes** because", "yes, no, yes"),
    (doc("spatial", "8", "2024-07-26"), "**8** because", "there are 8"),
    (doc("connections", WORDS), f"<solution>{WORDS}</solution> and", f"<solution>{WORDS}"),
    (doc("plot_unscrambling", "A b. C d."), "<PLOT_SUMMARY>A b. C d.</PLOT_SUMMARY> I", "A b. C d."),
    (doc("typos", "the cat sat."), "<solution>the cat sat.</solution> and", "the cat sat."),
    (doc("cta", "id"), r"\boxed{id} and", "id"),
    (doc("tablejoin", '{"a": "x"}'), "```\n{'a': 'x'}\n``` and", "{'a': 'x'}"),
    (doc("olympiad", "1,2", subtask="imo"), "Answer: 1, 2\nand", "1, 2"),
    (doc("math_comp", "A", subtask="smc"), "AAAAA and", "four"),
]


@pytest.mark.parametrize(("question", "anchored", "bare"), CUT_OFF, ids=[row[0]["task"] for row in CUT_OFF])
def test_of_a_text_that_was_cut_off_only_an_answer_in_its_place_counts(question, anchored, bare):
    given = score(question, FinalText(anchored, truncated=True))
    assert (given.value, given.status, given.reason) == (1.0, Status.SCORED, "truncated_with_answer")
    given = score(question, FinalText(bare, truncated=True))
    assert (given.value, given.status) == (0.0, Status.TRUNCATED)


def test_an_instruction_text_that_was_cut_off_is_not_graded():
    question = doc("summarize", None, instruction_id_list=["startend:quotation"], kwargs=[{}])
    assert score(question, FinalText('"all of it"', truncated=True)).status is Status.TRUNCATED


@pytest.mark.parametrize(
    ("error", "reason"), [(GradeTimeout("slow"), "grade_timeout"), (GradeError("died"), "grade_error")]
)
def test_a_grader_without_a_verdict_gives_no_score(monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(dispatch, "grader_of", lambda _: fail)
    given = score(doc("cta", "id"), FinalText("id"))
    assert (given.value, given.status, given.reason, given.answer) == (None, Status.GRADE_ERROR, reason, str(error))


def test_partial_credit_is_called_so():
    assert score(doc("zebra_puzzle", "1,red"), FinalText("<solution>1, blue</solution>")).reason == "partial"


def test_the_registry_knows_the_scorer():
    assert registry.scorer("livebench") is score
    assert registry.version("livebench").endswith("@1")
