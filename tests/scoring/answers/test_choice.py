"""Multiple choice: the tables of agreed verdicts row by row, then what no table can list."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring.answers.choice import Options, extract, score
from evalkit.scoring.answers.reply import final_text_of, for_matching, without_markup

GREEK = {"id": "g1", "choices": ["alpha", "beta", "gamma", "delta"], "answer": "C"}
SHAPES = {"choices": ["Square", "Triangle", "Circle", "Line"], "answer": "B", "shot_header": "Question:"}
PLACES = {"choices": ["drawer", "shelf", "pocket"], "answer": "B"}
TEAMS = {
    "choices": ["Cook: Bo, Clean: Ann and Cy", "Cook: Cy, Clean: Ann and Bo", "Cook: Ann, Clean: Bo and Cy"],
    "answer": "C",
}
SUSPECTS = {"choices": ["Mackenzie", "Ana"], "answer": "A"}


def graded(doc, content, finish="stop"):
    return score(doc, final_text_of(content, "", finish))


def anchor(doc, content):
    text = without_markup(for_matching(content))
    return extract(text, Options.of(doc)).anchor


# ---------------------------------------------------------------- the general table (GPQA), gold C


@pytest.mark.parametrize(
    ("content", "answer", "reason", "by"),
    [
        pytest.param("The answer is (C).", "C", "right", "P1", id="row01"),
        pytest.param("**Answer: (C)**", "C", "right", "P1", id="row02"),
        pytest.param("Answer: **C**", "C", "right", "P1", id="row03"),
        pytest.param(r"\boxed{C}", "C", "right", "P2", id="row04"),
        pytest.param(r"$\boxed{\text{(C)}}$", "C", "right", "P2", id="row05"),
        pytest.param("答案：C", "C", "right", "P1", id="row06"),
        pytest.param("So C is right; (D) is wrong.", "C", "right", "M1", id="row07"),
        pytest.param("Answer: B ... wait. Answer: C", "C", "right", "P1", id="row08"),
        pytest.param("<think>Answer: A</think>Answer: C", "C", "right", None, id="row09"),
        pytest.param("<think>Answer: C", None, "unclosed_think", None, id="row10"),
        pytest.param("Final answer: C) gamma", "C", "right", "P1", id="row11"),
        pytest.param("The correct option is gamma.", "C", "right", "P5", id="row12"),
        pytest.param("C", "C", "right", "P4", id="row13"),
        pytest.param("ANSWER: [C]", "C", "right", "P1", id="row14"),
        pytest.param("I choose C because (A) fails", "C", "right", "P1", id="row15"),
        pytest.param("Answer:C.", "C", "right", "P1", id="row16"),
        pytest.param("The answer is C", "C", "right", "P1", id="row17"),
        pytest.param("答案是 (C)", "C", "right", "P1", id="row18"),
        pytest.param('{"answer": "C"}', "C", "right", "P3", id="row19"),
        pytest.param("Answer: None of the above", None, "no_answer", "", id="row20"),
        pytest.param("Answer: A or C", "A,C", "multiple", "P1", id="row21"),
        pytest.param("The answer is Cobalt.", None, "no_answer", "", id="row22"),
        pytest.param("Answer: E", None, "no_answer", "", id="row23"),
        pytest.param("Ａｎｓｗｅｒ：Ｃ", "C", "right", "P1", id="row24"),
        pytest.param('The last line should be "Answer: X". Answer: C', "C", "right", "P1", id="row25"),
        pytest.param("I'm sorry, I can't help with that.", None, "refusal", "", id="row26"),
        pytest.param("Answer: (c)", "C", "right", "P1", id="row27"),
    ],
)
def test_general_table(content, answer, reason, by):
    result = graded(GREEK, content)
    assert (result.answer, result.reason, result.value) == (answer, reason, float(reason == "right"))
    if by is not None:
        assert anchor(GREEK, content) == by
    assert ("weak_anchor" in result.flags) == (by in {"P5", "M1"})


@pytest.mark.parametrize(
    ("content", "lenient"),
    [
        pytest.param("I like C because (A) fails", 1.0, id="alone"),
        pytest.param("It must be (C), surely", 1.0, id="bracketed"),
        pytest.param("It must be (C), or else (B), surely", 0.0, id="last-bracketed"),
        pytest.param("Nothing to be found here", 0.0, id="nothing"),
    ],
)
def test_the_generous_reading_is_a_diagnosis(content, lenient):
    result = graded(GREEK, content)
    assert (result.value, result.status, result.lenient) == (0.0, Status.NO_ANSWER, lenient)
    assert ("lenient_only" in result.flags) == (content != "Nothing to be found here")


def test_statuses_of_the_general_table():
    assert graded(GREEK, "<think>Answer: C").status is Status.TRUNCATED
    assert graded(GREEK, "<think>Answer: C", "length").reason == "truncated_in_reasoning"
    assert graded(GREEK, "I'm sorry, I can't help with that.").status is Status.REFUSED
    assert graded(GREEK, "Answer: A or C").status is Status.SCORED
    assert graded(GREEK, "Answer: E").status is Status.NO_ANSWER


# ---------------------------------------------------------------- the few-shot table (MMLU), gold B


@pytest.mark.parametrize(
    ("content", "answer", "reason", "flags"),
    [
        pytest.param("Answer: B", "B", "right", (), id="row01"),
        pytest.param("B", "B", "right", (), id="row02"),
        pytest.param("B. Triangle", "B", "right", (), id="row03"),
        pytest.param("\nAnswer: B", "B", "right", (), id="row04"),
        pytest.param("The answer is B.", "B", "right", (), id="row05"),
        pytest.param("**B**", "B", "right", (), id="row06"),
        pytest.param("Answer: b", "B", "right", (), id="row07"),
        pytest.param("Triangle", "B", "right", ("weak_anchor",), id="row08"),
        pytest.param("Answer: A\n\nQuestion: next ... Answer: B", "A", "wrong", ("continued_pattern",), id="row09"),
        pytest.param("Answer: B\nAnswer: D", "D", "wrong", ("self_contradiction",), id="row10"),
        pytest.param("A triangle has three sides, so B.", "B", "right", (), id="row11"),
        pytest.param("<think>\n\n</think>\n\nAnswer: B", "B", "right", (), id="row12"),
        pytest.param("Answer: (B) Triangle", "B", "right", (), id="row13"),
        pytest.param("Answer: B, because A is a square", "B", "right", (), id="row14"),
        pytest.param("Answer: Both B and D", "B,D", "multiple", (), id="row15"),
        pytest.param("正确答案：B", "B", "right", (), id="row16"),
        pytest.param("Answer: ", None, "no_answer", (), id="row17"),
        pytest.param("I cannot determine", None, "no_answer", (), id="row18"),
    ],
)
def test_few_shot_table(content, answer, reason, flags):
    result = graded(SHAPES, content)
    assert (result.answer, result.reason, result.value) == (answer, reason, float(reason == "right"))
    assert result.flags == flags
    assert result.lenient == result.value


# ---------------------------------------------------------------- the table of named options (MuSR)


@pytest.mark.parametrize(
    ("doc", "content", "answer", "reason", "lenient"),
    [
        pytest.param(PLACES, "Answer: B", "B", "right", 1.0, id="row01"),
        pytest.param(PLACES, "ANSWER: 2", None, "no_answer", 1.0, id="row02"),
        pytest.param(PLACES, "ANSWER: B - shelf", "B", "right", 1.0, id="row03"),
        pytest.param(PLACES, "**Answer: B) shelf**", "B", "right", 1.0, id="row04"),
        pytest.param(PLACES, "Answer: shelf", "B", "right", 1.0, id="row05"),
        pytest.param(PLACES, "Answer: the shelf", "B", "right", 1.0, id="row06"),
        pytest.param(PLACES, "He would look on the shelf.", None, "no_answer", 1.0, id="row07"),
        pytest.param(PLACES, "Answer: drawer or shelf", "A,B", "multiple", 0.0, id="row08"),
        pytest.param(PLACES, "Answer: 12", None, "no_answer", 0.0, id="row09"),
        pytest.param(PLACES, "A: drawer ... B: shelf ... Answer: B", "B", "right", 1.0, id="row10"),
        pytest.param(PLACES, "Answer: D", None, "no_answer", 0.0, id="row11"),
        pytest.param(TEAMS, "Answer: cook: Ann,  clean:\nBo and Cy", "C", "right", 1.0, id="row12"),
        pytest.param(TEAMS, "Answer: Cook: Ann, Clean: Cy and Bo", None, "no_answer", 0.0, id="row13"),
        pytest.param(SUSPECTS, "Suspect 1 has motive. ANSWER: Mackenzie", "A", "right", 1.0, id="row14"),
        pytest.param(SUSPECTS, "It is either Mackenzie or Ana", None, "no_answer", 0.0, id="row15"),
        pytest.param(PLACES, "<think>the shelf</think>", None, "empty", 0.0, id="row16"),
        pytest.param(PLACES, "答案：B（shelf）", "B", "right", 1.0, id="row17"),
    ],
)
def test_table_of_named_options(doc, content, answer, reason, lenient):
    result = graded(doc, content)
    assert (result.answer, result.reason, result.value) == (answer, reason, float(reason == "right"))
    assert result.lenient == lenient


@pytest.mark.parametrize(
    ("doc", "content"),
    [
        (PLACES, "Answer: shelf"),
        (PLACES, "Answer: the shelf"),
        (TEAMS, "Answer: Cook: Ann, Clean: Bo and Cy"),
        (SUSPECTS, "Suspect 1 has motive. ANSWER: Mackenzie"),
    ],
)
def test_an_options_own_text_after_the_marker_is_strong(doc, content):
    assert anchor(doc, content) == "P1"
    assert graded(doc, content + "\nThat is all.").value == 1.0


# ---------------------------------------------------------------- what the tables leave open


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("The correct answer is: **C**", "C"),
        ("### Final Answer\n\nC) gamma\n\nThis follows from the above.", "C"),
        ("Answer: Option (C)", "C"),
        ("The answer is option C", "C"),
        ("The correct answer choice is C.", "C"),
        ("Answer: C because the others fail", "C"),
        ("Answer - C", "C"),
        ("<answer>C</answer>", "C"),
        ("故选C。", "C"),
        ("因此应选(C)", "C"),
        ("所以选 C，其余都不对", "C"),
        ("答案是C选项", "C"),
        ("正确选项是 C", "C"),
        ('{"reason": "x", "choice": "C"}', "C"),
        ("{'final_answer': 'C'}", "C"),
        (r"\boxed{C. \text{gamma}}", "C"),
        (r"\boxed{\text{gamma}}", "C"),
        (r"The answer is $\boxed{\mathrm{C}}$.", "C"),
        ("(c) gamma", "C"),
        ('"gamma"', "C"),
        ("Answer: C = gamma", "C"),
        ("Answer: gamma (the third)", "C"),
        ("Answer: C, not D", "C"),
        ("Answer: C. D is wrong", "C"),
        ("Answer: C, D is wrong", "C"),
        ("Answer: C and D is wrong", "C"),
        ("Answer: A, C", "A,C"),
        ("Answer: A/C", "A,C"),
        ("Answer: AC", "A,C"),
        ("Answer: A and C are both right", "A,C"),
        ("答案：A或C", "A,C"),
        ("Answer: A) alpha or C) gamma", "A,C"),
        (r"\boxed{A, C}", "A,C"),
        ("Answer: A, B, and C", "A,B,C"),
        ("The answer is not C", None),
        ("The incorrect option is C", None),
        ("The wrong answer is C", None),
        ("错误答案：C", None),
        ("不选C", None),
        ("answer C is wrong", None),
        ("选项A：不对", None),
        ("选项C错误", None),
        ("Answer: [LETTER]", None),
        ("Answer: $LETTER", None),
        ("The answer is a matter of taste", None),
        ("The answer is A matter of taste", None),
        ("Answer: C = 5 V", None),
        ("Answer: C++", None),
        ("Answer: C3", None),
        ("Answer: C-section", None),
        ("Answer: gamma rays", None),
        (r"\boxed{C^2}", None),
        (r"\boxed{42}", None),
        ("Answers: C and others", None),
        ("gamma is what I would say", None),
        ("", None),
    ],
)
def test_other_wordings(content, answer):
    assert graded(GREEK, content).answer == answer


def test_the_last_of_the_strong_anchors_wins_whatever_its_kind():
    assert graded(GREEK, r"\boxed{A} then Answer: B then {'answer': 'C'}").answer == "C"
    assert graded(GREEK, r"{'answer': 'C'} then Answer: B then \boxed{A}").answer == "A"
    assert graded(GREEK, "Answer: C\n\nA").answer == "C"


def test_options_that_contain_one_another_are_told_apart():
    doc = {"choices": ["desk", "producer's desk", "desk drawer"], "answer": "B"}
    assert graded(doc, "Answer: the producer's desk").answer == "B"
    assert graded(doc, "Answer: desk.").answer == "A"
    assert graded(doc, "Answer: desk drawer").answer == "C"
    assert graded(doc, "Producer's desk").answer == "B"
    assert graded(doc, "She looks at the producer's desk.").lenient == 1.0


def test_option_texts_that_identify_nothing_are_not_used():
    same = {"choices": ["yes", "Yes.", "no"], "answer": "A"}
    assert graded(same, "Answer: yes").answer is None
    swapped = {"choices": ["(B)", "(A)", "c"], "answer": "A"}
    assert graded(swapped, "Answer: (A)").answer == "A"
    assert graded(swapped, "Answer: C").answer == "C"


def test_numbers_as_options_are_matched_whole():
    doc = {"choices": ["4", "4.5", "-4", "4 m/s"], "answer": "A"}
    assert graded(doc, "Answer: 4").answer == "A"
    assert graded(doc, "Answer: 4.5").answer == "B"
    assert graded(doc, "Answer: -4").answer == "C"
    assert graded(doc, "Answer: 4 m/s").answer == "D"
    assert graded(doc, "Answer: 4 m").answer is None


def test_option_texts_may_begin_with_a_letter_that_is_also_a_label():
    doc = {"choices": ["T cells", "mast cells", "B cells", "A+"], "answer": "C"}
    assert graded(doc, "Answer: B cells").answer == "C"
    assert graded(doc, "Answer: B) mast cells").answer == "B"
    assert graded(doc, "Answer: A+").answer == "D"


def test_letters_go_as_far_as_the_options():
    doc = {"choices": [f"text {i}" for i in range(26)], "answer": "Z"}
    assert graded(doc, "Answer: Z").value == 1.0
    assert graded(doc, "Answer: I think so").answer is None
    assert graded(doc, "Answer: I").answer == "I"


@pytest.mark.parametrize(
    ("content", "status", "reason", "value"),
    [
        ("so the Answer: C. To recap, we", Status.SCORED, "truncated_with_answer", 1.0),
        (r"so \boxed{B} and to recap, we", Status.SCORED, "truncated_with_answer", 0.0),
        ('{"answer": "C", "why": "', Status.SCORED, "truncated_with_answer", 1.0),
        ("Answer: A or C. That", Status.SCORED, "multiple", 0.0),
        ("I must choose.\nC", Status.TRUNCATED, "truncated", 0.0),
        ("the candidates are\ngamma", Status.TRUNCATED, "truncated", 0.0),
        ("I am still looking at this", Status.TRUNCATED, "truncated", 0.0),
        ("I think the answer is c", Status.TRUNCATED, "truncated", 0.0),
    ],
)
def test_of_a_reply_that_was_cut_off_only_strong_anchors_count(content, status, reason, value):
    result = graded(GREEK, content, "length")
    assert (result.status, result.reason, result.value) == (status, reason, value)


def test_a_restated_question_at_the_start_is_no_further_question():
    assert graded(SHAPES, "Question: which one?\nAnswer: B\n\nQuestion: another?\nAnswer: A").answer == "B"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answer": ""}, "item 'g1' has no 'answer'"),
        ({"answer": None}, "item 'g1' has no 'answer'"),
        ({"answer": "E"}, "must be one of the letters ABCD"),
        ({"answer": 2}, "must be one of the letters ABCD"),
        ({"answer": "c"}, "must be one of the letters ABCD"),
        ({"answer": "AB"}, "must be one of the letters ABCD"),
        ({"choices": []}, "has no 'choices'"),
        ({"choices": ["one"]}, "2 to 26 option texts"),
        ({"choices": "abcd"}, "2 to 26 option texts"),
        ({"choices": ["x"] * 27}, "2 to 26 option texts"),
    ],
)
def test_a_document_without_truth_raises_and_names_the_item(change, says):
    with pytest.raises(DataError, match=says):
        graded({**GREEK, **change}, "")


# ---------------------------------------------------------------- properties

PIECES = [
    *"ABCDEabcd \n.,:()[]{}\"'$*_`#\\/=-<>0123",
    "Answer",
    "answer: ",
    "The answer is ",
    "correct option is ",
    "and ",
    " or ",
]
PIECES += [
    "答案",
    "：",
    "选项",
    "故选",
    "是",
    "\\boxed{",
    "\\text{",
    '"answer": ',
    "gamma",
    "alpha",
    "the ",
    "option ",
    "（",
    "Ｃ",
    "\u200b",
    "不",
]
replies = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


@given(replies, st.booleans())
def test_no_text_makes_the_scorer_raise(content, truncated):
    result = score(GREEK, FinalText(content, truncated=truncated))
    assert result.value in (0.0, 1.0)
    assert result.lenient in (0.0, 1.0)
    assert result.status.has_value
    if result.value == 1.0:
        assert result.answer == "C"


ascii_replies = st.lists(st.sampled_from([piece for piece in PIECES if piece.isascii()]), max_size=40).map("".join)


@given(ascii_replies)
@example("Answer: (C)")
def test_full_width_text_is_read_as_half_width(content):
    full = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in content)
    assert score(GREEK, FinalText(full)) == score(GREEK, FinalText(content))


@given(
    ascii_replies,
    st.sampled_from(
        ["Answer: C", "The answer is (B).", "Final answer: D) delta", "C", "gamma", "Answer: A or B", "42"]
    ),
    st.sampled_from([("**", "**"), ("*", "*"), ("__", "__"), ("`", "`"), ("### ", ""), ("$", "$"), (r"\text{", "}")]),
)
def test_emphasis_around_the_answer_line_changes_nothing(before, line, emphasis):
    plain = score(GREEK, FinalText(f"{before}\n\n{line}"))
    assert score(GREEK, FinalText(f"{before}\n\n{emphasis[0]}{line}{emphasis[1]}")) == plain


@given(
    replies,
    st.sampled_from("ABCD"),
    st.sampled_from(["Answer: {}", "The answer is ({}).", "答案：{}", "**Answer: {}**"]),
)
def test_an_answer_stated_by_a_marker_at_the_end_beats_anything_before_it(before, letter, wording):
    assert score(GREEK, FinalText(f"{before}\n{wording.format(letter)}")).answer == letter


@given(replies)
def test_without_any_letter_or_text_of_an_option_nothing_is_found(content):
    bare = "".join(c for c in for_matching(content) if c.upper() not in "ABCD")
    assume(not any(text in bare.casefold() for text in GREEK["choices"]))
    assert score(GREEK, FinalText(bare)).answer is None


@pytest.mark.parametrize(
    "unit",
    [
        "answer: ",
        "Answer: A or ",
        "A or ",
        "答案",
        "答案A",
        "(",
        "\\boxed{C}",
        '"answer": ',
        "answer\n",
        "answer: gamma ",
        "C ",
        ",",
    ],
)
def test_a_long_loop_is_read_in_linear_time(unit):
    assert score(GREEK, FinalText("so " + unit * (40_000 // len(unit)))).value in (0.0, 1.0)
