"""Unicode forms, markup and boxes, before an answer is looked for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.scoring.answers.reply import boxes, for_matching, for_maths, last_line, without_markup, without_wrappers


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("Ａｎｓｗｅｒ：Ｃ", "Answer:C"),
        ("（Ｃ）", "(C)"),
        ("A\u200bns\u00adwer\ufeff", "Answer"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("  a \n", "a"),
        ("𝐂", "C"),
    ],
)
def test_for_matching(raw, plain):
    assert for_matching(raw) == plain


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("5²", "5^{2}"),
        ("x⁻¹⁰", "x^{-10}"),
        ("3½", r"3\frac{1}{2}"),
        ("−７", "-7"),
        ("2⁄3", "2/3"),
        ("½²", r"\frac{1}{2}^{2}"),
    ],
)
def test_raised_digits_and_slashed_fractions_keep_their_meaning(raw, plain):
    assert for_maths(raw) == plain


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("**Answer: (C)**", "Answer: (C)"),
        ("# _Answer_: `C`", " Answer: C"),
        (r"$\boxed{\text{(C)}}$", r"\boxed{(C)}"),
        (r"\(\mathbf{C}\) \[\textbf {D}\]", "C D"),
        (r"\text{a {b} \} c} d", r"a {b} \} c d"),
        (r"\text{never closed", "never closed"),
        ("a } b { c", "a } b { c"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
    ],
)
def test_without_markup(raw, plain):
    assert without_markup(raw) == plain


def test_wrappers_leave_a_gap_and_boxes_go_as_well():
    assert without_wrappers(r"\boxed{33\text{cm}}").split() == ["33", "cm"]
    assert without_wrappers(r"\boxed{\fbox{7}}").strip() == "7"


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        (r"\boxed{1} and \fbox{2}", ["1", "2"]),
        (r"\boxed{\frac{1}{2}}", [r"\frac{1}{2}"]),
        (r"\boxed {3}", ["3"]),
        (r"\boxed 33. Done", ["33"]),
        (r"\boxed{\boxed{4}}", [r"\boxed{4}"]),
        (r"\boxed{a \} b}", [r"a \} b"]),
        (r"\boxed{never closed", []),
        (r"\boxed{12, so \boxed{33}", []),
        ("\\boxed{12, so\n\n\\boxed{33}", ["33"]),
        (r"{ \boxed{5}", ["5"]),
        (r"} \boxed{6}", ["6"]),
        (r"\boxed{}", [""]),
        (r"\boxedness 7", []),
    ],
)
def test_boxes(text, contents):
    assert [box.content for box in boxes(text)] == contents


def test_a_box_knows_its_place():
    text = r"x \boxed{ab} y"
    (box,) = boxes(text)
    assert text[box.start : box.end] == r"\boxed{ab}"


def test_last_line():
    assert last_line("a\n  b \n \n") == (2, "  b")
    assert last_line("") == (0, "")


@given(st.lists(st.sampled_from([*"ab{}\\\n ", "\\boxed{", "\\text{", "\\fbox 3", "\\{"]), max_size=60).map("".join))
def test_boxes_never_overlap_and_every_box_is_balanced(text):
    end = 0
    for box in boxes(text):
        assert box.start >= end
        end = box.end
        bare = box.content.replace("\\{", "").replace("\\}", "")
        assert bare.count("{") == bare.count("}")


@given(st.text())
@settings(max_examples=200)
def test_normalising_twice_changes_nothing(text):
    once = for_matching(text)
    assert for_matching(once) == once


@pytest.mark.parametrize("unit", ["\u0315\u0300", "\ufdfa", "\\boxed{", "\\text{", "{", "\\", "\n ", "\\boxed{1}"])
def test_a_long_loop_of_one_thing_is_read_in_linear_time(unit):
    text = "a" + unit * (80_000 // len(unit))  # in the square of its length this would take hours
    found = boxes(without_markup(for_maths(text)))
    assert {box.content for box in found} == ({"1"} if unit == "\\boxed{1}" else set())


def test_marks_beyond_any_script_are_dropped_and_others_kept():
    assert for_matching("e\u0301") == "é"
    assert len(for_matching("a" + "\u0315" * 5000)) < 100


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_plain_text_is_normalised_as_any_other(text):
    other = for_matching("é" + text + "é")
    assert other == "é" + "\n".join(text.replace("\r\n", "\n").split("\r")) + "é"
    assert for_matching(text) == other[1:-1].strip()


@given(st.text(alphabet="ab *_`#$\\{}()[]\n", max_size=40))
def test_text_without_markup_is_left_as_it_is_and_none_is_left(text):
    bare = without_markup(text)
    assert not set(bare) & set("*_`#$")
    if not set(text) & set("*_`#$\\{}"):
        assert bare == text
