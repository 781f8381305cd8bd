"""Phrasings of one answer, written before the rules that read them: a letter, an integer, a fraction; None is no answer.

The rules were made on those whose SHA-256 begins with an even byte and on the first five. Of the other half 30 of 38
readings by choice, number and expression were right before anybody looked at it.
"""

import pytest

from evalkit.scoring import aime
from evalkit.scoring.answers import choice, expression, letters
from evalkit.scoring.answers.reply import final_text_of

DOC = {"choices": ["alpha", "beta", "gamma", "delta"], "answer": "C", "question": "Which?"}

LETTERS = [
    ("Answer: B → corrected: C", "C"),
    ("The answer might be C", "C"),
    ("| Item | Value |\n|---|---|\n| Reasoning | parity |\n| Answer | C |", "C"),
    ("| Question | Answer |\n|---|---|\n| 1 | C |", "C"),
    ("My pick? C.", "C"),
    ("C it is.", "C"),
    ("It's C.", "C"),
    ("Definitely C, no doubt about it.", "C"),
    ("I'm going with C on this one.", "C"),
    ("Having ruled out A, B and D, only C remains.", "C"),
    ("A, B and D are wrong, which leaves C as the answer.", "C"),
    ("Final: C", "C"),
    ("Result → C", "C"),
    ("**Verdict:** C", "C"),
    ("The right one is the third option, C.", "C"),
    ("Between B and C, I would lean towards C.", "C"),
    ("I first thought B, but the correct answer is in fact C.", "C"),
    ("Answer: B\n\nEdit: on re-reading, the answer is C.", "C"),
    ("Answer: ~~B~~ C", "C"),
    ("Answer: not B but C", "C"),
    ("It could be B or C.", None),
    ("Either B or C could be right; I can't tell which.", None),
    ("If the premise were false the answer would be B; it is true, so the answer is C.", "C"),
    ("Had the rod been twice as long, the answer would be B.", None),
    ("Everyone says B. Everyone is wrong. C is right.", "C"),
    ("(A) no (B) no (C) yes (D) no", "C"),
    ("A: False\nB: False\nC: True\nD: False", "C"),
    ("A ✗\nB ✗\nC ✓\nD ✗", "C"),
    ('{"reasoning": "parity", "final_answer": "C"}', "C"),
    ('answer = "C"', "C"),
    ("<answer>\nThe answer is C because gamma decays\n</answer>", "C"),
    ("$$\\boxed{\\text{(C) gamma}}$$", "C"),
    ("\\boxed{C. \\text{gamma}}", "C"),
    ("The answer is $\\mathbf{C}$.", "C"),
    ("我选C。", "C"),
    ("答案应该是C", "C"),
    ("正确答案为选项 C:gamma。", "C"),
    ("综上所述,应选C项。", "C"),
    ("排除A、B、D,只剩下C。", "C"),
    ("答案:B。更正:答案是C。", "C"),
    ("所以本题选择(C)。", "C"),
    ("可能是B,也可能是C。", None),
    ("A不对,B不对,D不对,因此C正确。", "C"),
    ("最终答案:\n\n**C**", "C"),
    ("| Question | Answer | Reason |\n|---|---|---|\n| 1 | C | it decays |", "C"),
    ("The answer might be B. It might also be C.", None),
    ("The answer may be C, though D is possible.", None),
    ("If the rod were longer, it could be B", None),
    ("Were the rod longer, the answer would be B.", None),
    ("If the rod were shorter, the correct answer would be (B) beta.", None),
    ("If we halve it, the answer would be C.", "C"),
    ("Answer: B. Correction: C", "C"),
    ("A: True\nB: True", None),
]
# What the strict reader of texts without pictures leaves unread; it never reads another letter there.
UNREAD = {
    "My pick? C.",
    "C it is.",
    "Definitely C, no doubt about it.",
    "Between B and C, I would lean towards C.",
    "Answer: ~~B~~ C",
    "A: False\nB: False\nC: True\nD: False",
}


@pytest.mark.parametrize(("reply", "letter"), LETTERS)
def test_a_letter_is_read_or_none(reply, letter):
    assert choice.score(DOC, final_text_of(reply)).answer == (None if reply in UNREAD else letter)


@pytest.mark.parametrize(("reply", "letter"), LETTERS)
def test_a_letter_is_read_or_none_beside_a_picture(reply, letter):
    unread = {"Between B and C, I would lean towards C."}
    assert letters.score(DOC, final_text_of(reply)).answer == (None if reply in unread else letter)


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("<answer>There are 33 ways</answer>", "33"),
        ("So there are exactly 33 such integers.", None),
        ("Final answer: 33.", "33"),
        ("The final answer is therefore thirty-three, i.e. 33.", None),
        ("ANSWER=33", "33"),
        ("Answer: n = 33", "33"),
        ("Answer: $m+n = 13+20 = 33$", "33"),
        ("Answer: 13 + 20 = 33", "33"),
        ("The answer is 033.", "33"),
        ("Answer: 32. Wait, that misses one case. Answer: 33", "33"),
        ("Answer: 32 → corrected: 33", "33"),
        ("$\\boxed{m+n=33}$", "33"),
        ("$$\\boxed{\\mathbf{033}}$$", "33"),
        ("\\boxed{33 \\text{ ways}}", "33"),
        ("\\boxed{N = 33.}", "33"),
        ("<answer>m + n = 33</answer>", "33"),
        ("<answer>$\\boxed{33}$</answer>", "33"),
        ("<answer>33 (thirty-three)</answer>", "33"),
        ("答案是33。", "33"),
        ("最终答案:33", "33"),
        ("因此,m+n 的值为 33。答案:33", "33"),
        ("答案为 m+n=33", "33"),
        ("Answer: 32. Wait, actually 33.", "33"),
        ("Answer: 32. Actually, it is 33", "33"),
        ("Answer: 33. Actually, the sum is prime.", "33"),
        ("Answer: if n = 5 then 33", None),
        ("| Item | Answer |\n|:--|--:|\n| 1 | 33 |", "33"),
        ("\\boxed{33 \\text{ (not 32)}}", None),
        ("Correction: the 2nd term is 5. Answer: 33", "33"),
    ],
)
def test_an_integer_is_read_or_none(reply, number):
    given = aime.score({"answer": 33}, final_text_of(reply))
    assert given.value == float(number is not None)
    assert number is None or given.answer == number


@pytest.mark.parametrize(
    "reply",
    [
        "The answer is \\frac{3}{4}.",
        "Answer: 3/4",
        "Thus $x = \\boxed{\\dfrac34}$.",
        "答案是 $\\frac{3}{4}$。",
        "\\boxed{0.75}",
        "<answer>x = 3/4</answer>",
        "**Answer:** $x=\\frac{3}{4}$",
        "Final Answer: The final answer is $\\frac{3}{4}$. I hope it is correct.",
    ],
)
def test_three_quarters(reply):
    assert expression.score({"answer": "\\frac{3}{4}"}, final_text_of(reply)).value == 1.0
