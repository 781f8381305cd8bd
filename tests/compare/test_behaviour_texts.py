"""Texts: the first difference, what is shown of two replies, and loops at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.codec import first_difference
from evalkit.compare.behaviour import GAP, bounded, ends_in_loop, whole_text, word_start
from evalkit.compare.columns import ReplyText

words = st.lists(st.sampled_from(["alpha", "beta", "γ", "\n", "d", "😀"]), max_size=60).map(" ".join)


@given(words, words)
def test_first_difference_is_the_length_of_the_shared_beginning(one, other):
    shared = first_difference(one, other)
    if shared is None:
        assert one == other
    else:
        assert one[:shared] == other[:shared]
        assert one[shared : shared + 1] != other[shared : shared + 1]


@pytest.mark.parametrize(
    ("text", "position", "start"), [("one two", 5, 4), ("one two", 4, 4), ("one", 2, 0), ("", 0, 0), ("a\nbc", 3, 2)]
)
def test_word_start(text, position, start):
    assert word_start(text, position) == start


@pytest.mark.parametrize(
    "text",
    [
        "The answer is " + "no, wait. " * 40,
        "x" * 400,
        "ok\n" + "\n".join(["So the total is 12."] * 30),
        "A" + "long unit with many words " * 5 * 4 + "   \n",
        "prefix " + ("u" * 900 + "v") * 6,
    ],
)
def test_loops_are_seen(text):
    assert ends_in_loop(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Answer: B",
        "no no no no",
        "step 1, step 2, step 3, step 4, step 5, step 6, step 7, step 8, step 9, step 10, " * 2,
        "no, wait. " * 40 + "The answer is 7, since every other choice was ruled out above by the second premise.",
        "".join(f"{number}, " for number in range(300)),
        "-" * 120,
    ],
)
def test_texts_without_a_loop(text):
    assert not ends_in_loop(text)


def test_thinking_comes_before_the_answer():
    assert whole_text(ReplyText("B", "Let me see.")) == "Let me see.\n\nB"
    assert whole_text(ReplyText("B")) == "B"


def test_bounded_texts_are_short_and_still_begin_to_differ_at_the_same_word():
    shared = "word " * 2000
    one, other = shared + "left " + "tail " * 3000 + "Answer: A", shared + "right " + "rest " * 3000 + "Answer: B"
    left, right = bounded(one, other)
    assert max(len(left), len(right)) < 2500
    assert left.startswith(GAP) and right.startswith(GAP)
    assert left.endswith("Answer: A") and right.endswith("Answer: B")
    position = first_difference(left, right)
    assert left[word_start(left, position) :].startswith("left ")


@given(words, words)
def test_short_texts_are_left_whole(one, other):
    assert bounded(one[:1000], other[:1000]) == (one[:1000], other[:1000])
