"""Short answers: which first lines count as the answer, which do not, and what happens to cut and empty replies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring import hooks
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.answers.short import LONGEST, normalise, score
from evalkit.scoring.registry import scorer, version

DOC = {"id": "q1", "answer": "Addis Ababa", "accepted": ["the capital is Addis Ababa"]}


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("Addis Ababa", 1, "right"),
        ("  addis   ababa.  ", 1, "right"),
        ("**Addis Ababa**", 1, "right"),
        ("The capital is: Addis Ababa!", 1, "right"),
        ("Addis Ababa\nQuestion: the next one?", 1, "right"),
        ("<think>Nairobi?</think>\n\nAddis Ababa", 1, "right"),
        ("Nairobi", 0, "wrong"),
        ("Nairobi\nAddis Ababa", 0, "wrong"),
        ("It may be Addis Ababa", 0, "wrong"),
        ("Addis", 0, "wrong"),
        ("...", 0, "no_answer"),
        ("", 0, "empty"),
        ("<think>Addis Ababa", 0, "unclosed_think"),
    ],
)
def test_the_first_line_decides(text, value, reason):
    found = score(DOC, final_text_of(text))
    assert (found.value, found.reason) == (value, reason)


@pytest.mark.parametrize(
    ("text", "value", "status", "reason"),
    [
        ("Addis Ababa", 1, Status.SCORED, "truncated_with_answer"),
        ("Addis Ab", 0, Status.TRUNCATED, "truncated"),
        ("I think that it is", 0, Status.TRUNCATED, "truncated"),
        ("Nairobi\nbecause", 0, Status.SCORED, "wrong"),
    ],
)
def test_a_reply_that_was_cut_counts_only_if_the_answer_is_there(text, value, status, reason):
    found = score(DOC, final_text_of(text, finish_reason="length"))
    assert (found.value, found.status, found.reason) == (value, status, reason)


@pytest.mark.parametrize(("text", "lenient"), [("It may be Addis Ababa, yes", 1), ("Addis Ababans", 0), ("Nairobi", 0)])
def test_an_answer_inside_other_words_is_only_a_diagnosis(text, lenient):
    found = score(DOC, FinalText(text))
    assert (found.value, found.lenient) == (0, lenient)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("The answer", "answer"),
        ("A", "a"),
        ("-5", "-5"),
        ("well-known", "well known"),
        ("2 + 2 = 4.", "2 2 4"),
        ("3.5", "3.5"),
        ("3.", "3"),
        ("12,345", "12345"),
        ("1, 234", "1 234"),
        ("cat, hat, box", "cat hat box"),
        ("snake_case", "snake case"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("Bogotá", "bogotá"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
    ],
)
def test_what_normalising_changes(text, same):
    assert normalise(text) == same


@given(st.text(st.characters(max_codepoint=0x17F), max_size=60))
def test_normalising_twice_changes_nothing_more(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.lists(st.sampled_from(["red", "blue", "12", "-3", "x1"]), min_size=1, max_size=5), st.sampled_from(" .,!?;:"))
def test_case_and_closing_marks_never_matter(words, mark):
    answer = " ".join(words)
    assert score({"answer": answer}, FinalText(f"{answer.upper()}{mark}")).value == 1


def test_a_long_line_is_not_kept_whole():
    assert len(score(DOC, FinalText("x" * 10_000)).answer) == LONGEST


@pytest.mark.parametrize("doc", [{"id": "q1"}, {"id": "q1", "answer": ""}, {"id": "q1", "answer": "?"}])
def test_a_document_without_an_answer_is_refused(doc):
    with pytest.raises(DataError, match="q1"):
        score(doc, FinalText("anything"))


@pytest.mark.parametrize("accepted", ["Paris", [1], ["..."]])
def test_accepted_answers_that_match_anything_or_nothing_are_refused(accepted):
    with pytest.raises(DataError, match="accepted"):
        score({"id": "q1", "answer": "Paris", "accepted": accepted}, FinalText("anything"))


def test_suites_find_it_by_name_and_lm_eval_gets_the_same_number():
    assert scorer("short") is score
    assert version("short") == "evalkit.scoring.answers.short:score@1"
    assert hooks.short(DOC, ["addis ababa"]) == {"acc": 1.0}
    assert hooks.short(DOC, [["addis ababa", "Nairobi"]]) == {"acc": 0.5}
