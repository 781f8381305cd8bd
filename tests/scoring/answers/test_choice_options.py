"""The words of an option are found the quick way as they are the careful way."""

from hypothesis import example, given
from hypothesis import strategies as st

from evalkit.scoring.answers.choice import _tokens, _words

PIECES = ("the ", "The", " a ", "an", "A.", "cat", "3,5", "。", ".", "«", " ", "\n", "选项", "É", "ß", "x" * 70, "-")


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=30))
@example("the end")
@example(". The end")
@example("the the end")
@example("a, b")
@example("A")
def test_words_are_the_tokens(text):
    assert _words(text) == tuple(word for word, _ in _tokens(text, 0))
