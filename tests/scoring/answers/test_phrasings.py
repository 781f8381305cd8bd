"""Phrasings of one answer, written before the rules that read them: a letter, an integer, a fraction; None is no answer.

The rules were made on those whose SHA-256 begins with an even byte and on the first five. Of the other half 30 of 38
readings by choice, number and expression were right before anybody looked at it. Those of answers that are taken back,
and of replies that go on with a problem of their own, were halved by the whole digest: of the half that nobody had
looked at 55 of 59 readings by choice, number, picture, theorem and judge were right.
"""

import pytest

from evalkit.scoring import aime, mathvision, theoremqa
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


# ---------------------------------------------------------------- taken back, and gone on with

FOODS = {"choices": ["apple pie", "banana split", "cherry cake", "date bread"], "question": "Which?"}
TAKEN_BACK = [
    ("Neither A nor D. The answer is C? No: B", "B"),
    ("The answer is D? No, it must be B.", "B"),
    ("Is the answer A? No. The answer is C.", "C"),
    ("Answer: A. No wait: D.", "D"),
    ("The answer is A... scratch that, B.", "B"),
    ("Could the answer be C? Yes: C.", "C"),
    ("Answer: C? I am not sure, but C it is. Answer: C", "C"),
    ("The answer is B? No; B has no fruit. Answer: A", "A"),
    ("Not A, not B, and not D. The answer is C.", "C"),
    ("The answer is not B but D.", "D"),
    ("The answer is D? Hmm, no. It's A.", "A"),
    ("I first thought the answer is B. But no: it is C.", "C"),
    ("Answer: B (not C)", "B"),
    ("The correct answer is A? No! The correct answer is B!", "B"),
    ("Answer: D? Nope. A.", "A"),
    ("The answer is C. Is that right? Yes.", "C"),
    ("The answer is B. Really B? Yes, B.", "B"),
    ("Answer: A\n\nHold on, I misread. Answer: C", "C"),
    ("It is neither A nor B; hence the answer is D.", "D"),
    ("So the answer: B? No, wrong sign. So: D", "D"),
    ("Is it B? The answer is B.", "B"),
    ("The answer is A? no, C", "C"),
]
RUN_ON = [
    ("So \\boxed{42}. Next problem: find x. \\boxed{7}", "42"),
    ("\\boxed{113}\n\nProblem 2: Let n be ... \\boxed{9}", "113"),
    ("The answer is \\boxed{25}.\n\nQuestion: What is 2+2?\nAnswer: \\boxed{4}", "25"),
    ("We try \\boxed{12}, which fails. So \\boxed{13}.", "13"),
    ("First \\boxed{10}; correcting the sign, \\boxed{20}", "20"),
    ("\\boxed{81}. Here is another problem: ... \\boxed{3}", "81"),
    ("\\boxed{77}\nNext question. How many primes below 10? \\boxed{4}", "77"),
    ("The final answer is \\boxed{204}. Let me double check: 204 works.", "204"),
    ("\\boxed{5}? No. \\boxed{6}", "6"),
    ("Answer: 100. Wait, actually 101.", "101"),
    ("**Final Answer**\n\\boxed{033}", "33"),
    ("The next problem is the parity. Solving it we get \\boxed{8}", "8"),
    ("\\boxed{42}.\n\nNew problem: compute 3+4. \\boxed{7}", "42"),
    ("\\boxed{42}\n\n### Problem 8\nLet ABC be a triangle ... \\boxed{71}", "42"),
    ("\\boxed{16}.\n\nNow the second problem: \\boxed{2}", "16"),
    ("So x=9 and the answer is \\boxed{9}.\n\nExercise 4. Find y. \\boxed{1}", "9"),
    ("One problem remains: the sign. \\boxed{-3} is impossible, so \\boxed{3}.", "3"),
    ("\\boxed{60} is the number for part one. The total is \\boxed{61}", "61"),
    ("Thus \\boxed{512}.\n\nAnother question: what about 3? \\boxed{27}", "512"),
    ("The problem: find n. Next, problem symmetry gives \\boxed{14}.", "14"),
]
PICTURES = [
    ("\\boxed{11}", "11_2", 0.0),
    ("\\boxed{11_2}", "11_2", 1.0),
    ("\\boxed{(11)_2}", "11_2", 1.0),
    ("\\boxed{3}", "11_2", 0.0),
    ("\\boxed{10^{10^{10}}}", "5", 0.0),
    ("\\boxed{9^{9^{9^{9}}}}", "12", 0.0),
    ("\\boxed{1000!}", "7", 0.0),
    ("\\boxed{2^{100000}}", "4", 0.0),
    ("\\boxed{42}. Next problem: \\boxed{7}", "42", 1.0),
    ("\\boxed{\\frac{1}{2}}", "0.5", 1.0),
    ("\\boxed{2^{10}}", "1024", 1.0),
    ("\\boxed{5!}", "120", 1.0),
    ("\\boxed{101_{3}}", "101_3", 1.0),
    ("\\boxed{101}", "101_{3}", 0.0),
    ("\\boxed{101_2}", "101_3", 0.0),
    ("\\boxed{3^{3^{3}}}", "7625597484987", 1.0),
    ("\\boxed{(2^{64})!}", "3", 0.0),
    ("\\boxed{10^{-10^{10}}}", "0", 0.0),
    ("\\boxed{2^{2^{2^{2^{2}}}}}", "65536", 0.0),
    ("\\boxed{x_1}", "x_1", 1.0),
    ("\\boxed{a_1+a_2}", "a_1+a_2", 1.0),
]
THEOREMS = [
    ("Answer: False. Wait, True", ("bool", "True"), 1.0),
    ("Answer: True... no, False.", ("bool", "False"), 1.0),
    ("The answer is True. Hmm, actually it's False.", ("bool", "False"), 1.0),
    ("Answer: True? No. False.", ("bool", "False"), 1.0),
    ("Answer: The statement is false. On second thought, it is true.", ("bool", "True"), 1.0),
    ("The answer is True.", ("bool", "True"), 1.0),
    ("Answer: False, because the series diverges. True convergence needs more.", ("bool", "False"), 1.0),
    ("Answer: False\n\nCorrection: True", ("bool", "True"), 1.0),
    ("It is true that f is continuous, but the claim is false. The answer is False.", ("bool", "False"), 1.0),
    ("The answer is 3.5. Wait, I forgot a factor: the answer is 7.", ("float", "7"), 1.0),
    ("The answer is 12? No, 13.", ("integer", "13"), 1.0),
    ("Therefore, the answer is 42.\n\nNext problem: What is 2+3? The answer is 5.", ("integer", "42"), 1.0),
    ("\\boxed{42}. Next problem: \\boxed{7}", ("integer", "42"), 1.0),
    ("The answer is 10^{10^{10}}.", ("integer", "5"), 0.0),
    ("The answer is 9**9**9**9.", ("float", "5"), 0.0),
    ("Answer: False! No, wait: True!", ("bool", "True"), 1.0),
    ("Answer: True. (Not False.)", ("bool", "True"), 1.0),
    ("The answer is [1, 2]. Wait, [2, 1].", ("list of integer", "[2, 1]"), 1.0),
    ("The answer is 0.5. Hold on, 0.25.", ("float", "0.25"), 1.0),
    ("So it's not true. The answer is False", ("bool", "False"), 1.0),
    ("Answer: False\nWait: True", ("bool", "True"), 1.0),
]


@pytest.mark.parametrize(("reply", "letter"), TAKEN_BACK)
def test_a_letter_that_is_taken_back_is_not_the_answer(reply, letter):
    unread = {"Could the answer be C? Yes: C.", "So the answer: B? No, wrong sign. So: D"}
    given = choice.score({**FOODS, "answer": letter}, final_text_of(reply)).answer
    assert given == (None if reply in unread else letter)


def test_a_first_sentence_that_is_taken_back_is_not_the_answer():
    doc = {"choices": ["True", "False"], "answer": "A", "question": "Is it?"}
    assert choice.score(doc, final_text_of("False. Wait, True")).value == 1.0
    assert choice.score(doc, final_text_of("True. Wait, False.")).value == 0.0


@pytest.mark.parametrize(("reply", "number"), RUN_ON)
def test_a_next_problem_of_the_models_own_changes_no_integer(reply, number):
    assert aime.score({"answer": number}, final_text_of(reply)).value == 1.0


@pytest.mark.parametrize(("reply", "truth", "value"), PICTURES)
def test_an_open_answer_about_a_picture_is_read(reply, truth, value):
    assert mathvision.score({"type": "open", "answer": truth}, final_text_of(reply)).value == value


@pytest.mark.parametrize(("reply", "kind_and_truth", "value"), THEOREMS)
def test_a_typed_answer_that_is_taken_back_is_not_the_answer(reply, kind_and_truth, value):
    kind, truth = kind_and_truth
    assert theoremqa.score({"answer": truth, "answer_type": kind}, final_text_of(reply)).value == value
