"""Markers are found the quick way as the pattern itself finds them."""

from hypothesis import example, given
from hypothesis import strategies as st

from evalkit.scoring.answers.reply import _RE, _markers

PIECES = ("answer", "Answer", "ANSWER choice", "answers", "correct option", "Correct  Choice", "incorrect ", "wrong ")
PIECES += (
    "correct ",
    "答案",
    "错误答案",
    "选项",
    "错误选项",
    "故选",
    "应选",
    "选择",
    "不选",
    "选 B",
    "选(C)",
    "故",
    "应",
)
PIECES += (" ", "\n", ":", "x", "B", "aanswer", "ccorrect option", "an", "anſwer")


@given(
    st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
    | st.text("answeroptic 选择答案故应B错误不", max_size=40)
)
@example("the incorrect answer is B, the answer is C")
@example("answeranswer")
def test_markers_are_those_of_the_pattern(text):
    expected = [match.span() for match in _RE.marker.finditer(text)]
    assert [match.span() for match in _markers(text)] == expected
