"""TheoremQA: every form of a right answer is right in every frame that models put it in, and what is no answer never."""

import pytest

from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.theoremqa import score

FRAMES = [
    "Answer: {}", "**Answer:** {}", "**Answer: {}**", "Answer: **{}**", "answer: {}", "Final Answer: {}", "The answer is {}",
    "The answer is: {}.", "The final answer is {}.", "So the answer is ${}$.", r"\boxed{{{}}}", r"$\boxed{{{}}}$.",
    r"Answer: $\boxed{{{}}}$", r"Answer: \({}\)", "Answer:\n{}", "Answer:\n\n$$\n{}\n$$", "# Answer\n{}", "<answer>{}</answer>",
    "<answer>\n{}\n</answer>", "Answer: {} \n\nI hope this helps!", "Answer: {}\n\nNote: 17 is prime.", "答案：{}", "答案是{}",
    "### Final Answer\n\n{}", "Answer: `{}`", "*Answer: {}*", "Answer = {}", "Answer: {}<|im_end|>", "Answer: {}\n```",
    "Therefore, the correct answer is {}.",
]  # fmt: skip
TRUTHS = {"float": 0.125, "integer": 42, "bool": True, "option": "(b)", "list of integer": [3, -1], "list of float": [0.5, 2.25]}  # fmt: skip
RIGHT = {
    "float": [
        "0.125", "1/8", r"\frac{1}{8}", r"\frac18", "12.5%", r"12.5\%", "0.125 m/s", r"0.125 \text{ kg}", "1.25e-1", ".125",
        r"1.25 \times 10^{-1}", "1.25 × 10⁻¹", "1.25*10^-1", "x = 0.125", "≈ 0.125", "about 0.125", "0.125 (rounded)", "2^{-3}",
        "+0.125", "1/8 = 0.125", "P(X>1) = 0.125", "0.125 J/(mol·K)", "0.125, since it is", r"1/8 \approx 0.125",
        "0.125 per second",
    ],
    "integer": ["42", "42.0", "6 × 7 = 42", "n = 42", "42 ways", r"\text{42}", "42 (forty-two)", "2·21", "84/2", "42 dollars"],
    "bool": ["True", "TRUE", "Yes", "True, because", "True (it does)", "The statement is true", r"\text{True}"],
    "option": ["(b)", "b", "B", "(B)", "b)", "B.", "option (b)", r"\text{(b)}", "(b) 0.5", "[b]"],
    "list of integer": [
        "[3, -1]", "(3, -1)", "3, -1", "{3, -1}", r"\{3, -1\}", "3 and -1", "x = 3, y = -1", "[3; -1]", r"(3,\,-1)",
        r"\begin{pmatrix} 3 \\ -1 \end{pmatrix}",
    ],
    "list of float": ["[0.5, 2.25]", "[1/2, 9/4]", r"[\frac{1}{2}, \frac{9}{4}]", "0.5 and 2.25"],
}  # fmt: skip
WRONG = {
    "float": [
        "0.125x", r"0.125 \ln 2", "0.125a", "0.125 sin 2", "0.125(x+1)", "0.125^2", "0.125 + x", "1/8 π", "0.125 or 0.25",
        "0.125 to 0.2", "0.125, 0.25", "0.125 × 2", "not 0.125", "at least 0.125", "> 0.125", "0.125 < x", "0.125:1", "1/8x",
        "-0.125", "0.125 ± 1", "0.125e5", "0.125 * y", "0.125 t^2", r"\frac{1}{8}x", r"\frac{1}{8}\pi", r"\sqrt{0.125}",
        r"0.125\%", "0.125 thousand", "0.125i", "0.125 mod 3", "0.125/0.5", "between 0.125 and 0.2", "1.25e-2",
    ],
    "integer": [
        "42x", "42 or 43", "42, 43", "42-43", "41 + x", "42/5", "42.5", "42 choose 2", "not 42", "42 thousand", r"42 \cdot 3",
        "42n", "42^2", "42 + 1", "42 dozen", r"\binom{42}{2}", r"42\pi", "42!",
    ],
    "bool": ["False", "not true", "True or False", "true/false", "untrue", "neither", "it depends"],
    "option": ["(a)", "(a) and (b)", "(a) or (b)", "b or c", "not (b)", "neither", "(a), (b)"],
    "list of integer": ["[3, 1]", "[-1, 3]", "[3]", "[3, -1, 0]", "[3x, -1]", "[3, -1 sin 2]", "[3 or 4, -1]"],
}  # fmt: skip


def given(kind, field, frame):
    """The value of a reply that gives `field` as its answer."""
    document = {"answer": TRUTHS[kind], "answer_type": kind}
    return score(document, final_text_of("First 7, then 8.\n" + frame.format(field))).value


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in RIGHT.items() for field in fields])
def test_a_right_answer_is_right_in_every_frame(kind, field):
    assert [frame for frame in FRAMES if given(kind, field, frame) != 1] == []


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in WRONG.items() for field in fields])
def test_what_is_not_the_answer_is_right_in_none(kind, field):
    assert [frame for frame in FRAMES if given(kind, field, frame) != 0] == []
