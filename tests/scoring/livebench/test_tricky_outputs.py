"""The tricky outputs of the specification (text-suites.md, section 8.7), one test a row, by their number.

Left: what the official rules give, which is evalkit's primary score. Right: evalkit's own reading and its markers.
"""

import pytest

from evalkit.model import Status
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.livebench import score
from evalkit.scoring.livebench.extract import OFFICIAL_LOOSE, OFFICIAL_MISS
from evalkit.scoring.livebench.mathematics import TWO_QUADRUPLES

MISS, LOOSE = (OFFICIAL_MISS,), (OFFICIAL_LOOSE,)

PLOT = "A fox finds a map. It digs for a week. Nothing lies there. The fox burns the map."
FIRST_TWO = "A fox finds a map. It digs for a week."
REVERSED = "The fox burns the map. Nothing lies there. It digs for a week. A fox finds a map."
WORDS = "oak,elm,ash,fir,red,blue,green,pink"
AMC_PROMPT = "Two plus two is $\\textbf{(A)}~four\\qquad\\textbf{(B)}~five$ ..."


def doc(task, truth, released="2024-11-25", **more):
    return {
        "question_id": "q1",
        "task": task,
        "category": "x",
        "ground_truth": truth,
        "release_date": released,
        "removal_date": "",
        "prompt": AMC_PROMPT,
        **more,
    }


def amc(letter):
    return doc("math_comp", letter, subtask="amc_12a_2023")


def aime(digits):
    return doc("math_comp", digits, subtask="aime_i_2024")


OLYMPIAD = doc("olympiad", "3,1,2", subtask="usamo")
LIES = doc("web_of_lies_v2", "yes, no, yes", "2024-06-24")
LIES_3 = doc("web_of_lies_v3", "yes, no, yes", "2025-04-02")
ZEBRA = "zebra_puzzle"
JOIN = doc("tablejoin", '{"a": "x", "b": "y"}', "2024-06-24")

TABLE = [
    ("01 a label before the letter", amc("A"), "Answer: A", 0, MISS),
    ("02 two letters repeated", amc("B"), "BBBB no wait AAAA", 1, (TWO_QUADRUPLES, *LOOSE)),
    ("03 repeated inside another word", amc("A"), "BAAAAB", 1, LOOSE),
    ("04 a box with a font", amc("A"), r"\boxed{\textbf{(A)}}", 1, ()),
    ("05 a full stop in the tags", amc("A"), "<solution>A.</solution>", 0, MISS),
    ("06 no leading zero", aime("073"), "the answer is 73", 0, MISS),
    ("07 digits of a longer number", aime("073"), "it is 1073", 1, LOOSE),
    ("08 prose after the tags", aime("073"), "<solution>073</solution>" + " and that is it" * 6, 0, MISS),
    ("09 another order", OLYMPIAD, "Answer: 1,2,3", 1 / 3, ()),
    ("10 no commas", OLYMPIAD, "Answer: 3 1 2", 1 / 3, ()),
    ("11 one missing", OLYMPIAD, "**Answer:** 3, 1", 2 / 3, ()),
    ("12 capitals in the tags", LIES, "<solution>Yes, No, Yes</solution>", 0, MISS),
    ("13 three bold words", LIES, "**Yes**, **no**, **yes**", 1, ()),
    ("14 four in bold", LIES, "**no, yes, no, yes**", 1, ()),
    ("15 no spaces, version 3", LIES_3, "<solution>yes,no,yes</solution>", 1 / 6, ()),
    ("16 a digit for a word", doc(ZEBRA, "1,red,two,cat"), "<solution>1, red, 2, cat</solution>", 0.375, ()),
    ("17 contained in a longer answer", doc(ZEBRA, "1,red"), "<solution>11, dark red</solution>", 1, LOOSE),
    ("18 tags over several lines", doc(ZEBRA, "1,red"), "<solution>\n1, red\n</solution>", 0, MISS),
    ("19 two words between stars", doc(ZEBRA, "red car", "2024-06-24"), "***red car***", 0, ()),
    ("20 a second starred word", doc(ZEBRA, "cat", "2024-06-24"), "***cat*** rather ***dog***", 0, ()),
    ("21 a sentence in bold", doc("spatial", "8", "2024-07-26"), "**the answer is 8**", 0, MISS),
    ("22 a number word", doc("spatial", "8", "2024-07-26"), "**eight** pieces", 1, ()),
    (
        "23 one of two groups",
        doc("connections", WORDS),
        "<solution>oak, elm, ash, fir, red, blue, green, brown</solution>",
        0.5,
        (),
    ),
    (
        "24 groups in two bold texts",
        doc("connections", WORDS, "2024-06-24"),
        "**oak, elm, ash, fir** and **red, blue, green, pink**",
        0.5,
        (),
    ),
    ("25 no plot at all", doc("plot_unscrambling", PLOT), "no plot", 0.25, LOOSE),
    ("26 half of the plot", doc("plot_unscrambling", PLOT), FIRST_TWO, 0.5, ()),
    ("27 the plot backwards", doc("plot_unscrambling", PLOT), REVERSED, 0, ()),
    ("28 a sentence more", doc("typos", "the cat sat."), "the cat sat. It purred.", 1, ()),
    ("29 the end of another word", doc("cta", "id"), "grid", 1, LOOSE),
    ("30 an explanation behind", doc("cta", "id"), "id (identifier)", 0, ()),
    ("31 a null in the mapping", JOIN, '```json\n{"a": "x", "b": null}\n```', 0.67, ()),
    ("32 prose around the mapping", JOIN, 'Here: {"a": "x"} ok', 0, ()),
    ("33 keys and values swapped", JOIN, '```python\n{"x": "a", "y": "b"}\n```', 0, ()),
]


@pytest.mark.parametrize(
    ("question", "text", "official", "flags"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_official_verdict_and_markers(question, text, official, flags):
    given = score(question, final_text_of(text))
    assert given.value == pytest.approx(official, abs=1e-9)
    assert given.flags == flags


def test_25_names_what_is_wrong_and_reads_zero_itself():
    given = score(doc("plot_unscrambling", PLOT), final_text_of("no plot"))
    assert (given.status, given.reason, given.lenient) == (Status.SCORED, "no_answer", 0.0)


@pytest.mark.parametrize("question", [amc("A"), LIES, doc("typos", "the cat sat."), JOIN], ids=lambda q: q["task"])
def test_34_an_unclosed_trace_is_never_graded(question):
    thought = "<think>AAAAA **yes, no, yes** the cat sat. {'a': 'x', 'b': 'y'}"
    given = score(question, final_text_of(thought, finish_reason="length"))
    assert (given.value, given.status, given.reason) == (0.0, Status.TRUNCATED, "truncated_in_reasoning")


ALL_WITH_TRUTH = [
    amc("A"),
    aime("073"),
    OLYMPIAD,
    LIES,
    LIES_3,
    doc(ZEBRA, "1,red"),
    doc(ZEBRA, "cat", "2024-06-24"),
    doc("spatial", "8", "2024-07-26"),
    doc("connections", WORDS),
    doc("plot_unscrambling", PLOT),
    doc("typos", "the cat sat."),
    doc("cta", "id"),
    JOIN,
    doc("AMPS_Hard", "x+1", subtask="amps_hard_gcd"),
    doc("tablereformat", "a,b\n1,2", prompt="Please convert the Input Table from JSON format to CSV format"),
]


@pytest.mark.parametrize("text", ["", " \n", "<solution></solution>", "<PLOT_SUMMARY>\n</PLOT_SUMMARY>"])
@pytest.mark.parametrize("question", ALL_WITH_TRUTH, ids=lambda q: q.get("subtask", q["task"]))
def test_35_nothing_said_is_empty(question, text):
    given = score(question, final_text_of(text))
    assert (given.value, given.status) == (0.0, Status.EMPTY)
