"""Prose that settles on one option without an answer line, and prose that does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.model import FinalText
from evalkit.scoring.answers import letters
from evalkit.scoring.answers.reply import final_text_of

PICTURES = ["the first picture", "the second picture", "the third picture", "the fourth picture"]
POINTS = ["point A", "point B", "point C", "point D"]
DEPTH = ["A is closer", "B is closer"]
BOXES = ["Box A", "Box B"]
TURNS = ["left", "right"]


def read(reply, choices, question=""):
    doc = {"choices": choices, "answer": "A", "question": question}
    return letters.score(doc, final_text_of(reply)).answer


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        ("Point A is closer than point B.", ["A", "B"], "A"),
        ("Point A is closer than point B.", DEPTH, "A"),
        ("Point B, which is circled on the lamp, is closer to the lens than point A.", DEPTH, "B"),
        ("Box B more accurately encloses the boat. Box A, on the other hand, is too large.", BOXES, "B"),
        ("Box B encloses the boat more or less, whereas Box A is more accurate than Box B.", BOXES, "A"),
        ("(A) It is lit from above.\n(B) It is lit from below.\n\nHence (B) the second picture is most likely real.",
         PICTURES, "B"),
        ("All could be real. I would lean towards (C) the third picture, as the shadows fit.", PICTURES, "C"),
        ("(A) shows a boat, (D) shows a quay.\n\nThe most likely one is:\n\n(D) the fourth picture\n\nIts light fits.",
         PICTURES, "D"),
        ("- Point A is on the mast.\n- Point B is on the bow.\n\nThe corresponding point is therefore Point B.", POINTS, "B"),
        ("I lean towards (B) or (C), with a slight preference for (B) for its light.", PICTURES, "B"),
        ('The point labelled "REF" in the first corresponds to point "C" in the other.', POINTS, "C"),
        ("(A) and (B) differ. Therefore, the second picture shares the same style as the reference.", PICTURES, "B"),
        ("The camera turns to the right. This is evident because the cup moves to the left.", TURNS, "B"),
    ],
)  # fmt: skip
def test_prose_that_settles_on_one(reply, choices, letter):
    assert read(reply, choices) == letter


@pytest.mark.parametrize(
    ("reply", "choices"),
    [
        ("Point A is farther away than point B.", DEPTH),
        ("I might lean towards (B) or (C), for the light there.", PICTURES),
        ("I might lean towards (A) the first picture or (D) the fourth picture.", PICTURES),
        ("The third picture (C) is not the most likely, nor is (D).", PICTURES),
        ("Is (C) the third picture the most likely, or (D)?", PICTURES),
        ("Point A is on the mast. Point B is on the bow. Point C is on the quay. Point D is in the water.", POINTS),
        ("Image (B) is the most natural. Then again, image (C) is the most vivid. It is hard to say.", PICTURES),
        ("It might give the impression that:\n\n(A) the first picture\n\nbut perhaps it is:\n\n(C) the third picture\n\nfor its light.", PICTURES),
        ("The camera turns to the right, or to the left. This is evident because the cup moves.", TURNS),
    ],
)  # fmt: skip
def test_prose_that_does_not(reply, choices):
    assert read(reply, choices) is None


def test_what_is_compared_must_be_what_is_asked():
    reply = "Point A is darker than point B."
    assert read(reply, ["A", "B"], "Which point is darker?") == "A"
    assert read(reply, ["A", "B"], "Which point is closer?") is None
    assert read("Point A is larger than point B.", ["A", "B"]) is None


def test_prose_is_weak():
    cut = final_text_of("(A) and (B) differ. I would lean towards (B) the second picture. Also", finish_reason="length")
    assert letters.score({"choices": PICTURES, "answer": "B"}, cut).value == 0.0


@given(st.sampled_from("BCD"), st.sampled_from(["", " ", "\n\n", " **", "  \n"]))
def test_what_follows_the_sentence_changes_nothing(letter, after):
    reply = f"(A) and (B) and (C) and (D) differ. I would lean towards ({letter}) for its light.{after}"
    assert read(reply, PICTURES) == letter


@given(st.text(max_size=200))
def test_any_text_gets_a_verdict(text):
    assert letters.score({"choices": PICTURES, "answer": "A"}, FinalText(f"(A) or (B) {text}")).value in {0.0, 1.0}


@pytest.mark.parametrize(
    "unit", ["Point A is closer, ", "(A) is not ", "correct is ", "point A, which ", "the first picture:\n"]
)
def test_a_long_loop_is_read_to_its_end(unit):
    for text in (unit * (60_000 // len(unit)), unit * 60_000):
        assert letters.score({"choices": PICTURES, "answer": "A"}, FinalText("(A) (B) " + text[:500_000])).value in {
            0.0,
            1.0,
        }
