"""Where answers are looked for: the linear scans find what the obvious regular expressions find."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.scoring.livebench.extract import between, between_on_line, boxed, distance, malformed_solutions, solutions

PIECES = st.lists(
    st.sampled_from(["<solution>", "</solution>", "**", "*", "a", " b,", "\n", "\\boxed{", "}", "{"]), max_size=14
)
TEXTS = PIECES.map("".join)


@given(TEXTS)
def test_tags_on_one_line_are_what_a_lazy_pattern_finds(text):
    assert solutions(text) == re.findall(r"<solution>(.*?)</solution>", text)
    assert malformed_solutions(text) == re.findall(r"</solution>(.*?)</solution>", text)
    assert between_on_line(text, "**", "**") == re.findall(r"\*\*(.*?)\*\*", text)


@given(TEXTS)
def test_tags_over_lines_are_what_a_lazy_pattern_finds(text):
    assert between(text, "<solution>", "</solution>") == re.findall(r"<solution>(.*?)</solution>", text, re.DOTALL)


def test_a_megabyte_of_opening_tags_is_read_once():
    # A scan that starts anew at every tag would not come to an end here.
    assert solutions("<solution>" * 100_000) == []
    assert boxed("\\boxed{" * 100_000) is None


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"$\boxed{$x$}$", "x"),
        (r"\fbox{7}", "7"),
        (r"\boxed 33$ and more", "33"),
        (r"\boxed{never closed", None),
        (r"\boxed", None),
        ("no box", None),
    ],
)
def test_boxed(text, content):
    assert boxed(text) == content


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_distance_is_the_textbook_recursion(first, second):
    def reference(a, b):
        if not a or not b:
            return len(a) + len(b)
        if a[0] == b[0]:
            return reference(a[1:], b[1:])
        return 1 + min(reference(a[1:], b), reference(a, b[1:]), reference(a[1:], b[1:]))

    assert distance(first, second) == reference(first, second)
