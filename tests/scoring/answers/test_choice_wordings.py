"""How models word a choice: lists of options, two answers, second thoughts, English and Chinese forms; invariances."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.scoring import mathvision
from evalkit.scoring.answers import choice, letters
from evalkit.scoring.answers.reply import final_text_of

GREEK = {"choices": ["alpha", "beta", "gamma", "delta"], "answer": "C"}
NUMBERS = {"choices": ["10", "20", "30", "40"], "answer": "C"}
SCORERS = {
    "choice": choice.score,
    "letters": letters.score,
    "mathvision": lambda doc, final: mathvision.score({**doc, "type": "choice"}, final),
}
LABELS = ["{}) ", "{}. ", "({}) ", "{}: ", "- {}: ", "* ({}) ", "| {} | ", "**{}.** "]
BETWEEN = ["\n", "\n\n", ", ", "; ", " ", ", or "]


def answers(content, doc=GREEK):
    return {name: score(doc, final_text_of(content)).answer for name, score in SCORERS.items()}


def listed(label, between, choices=GREEK["choices"]):
    return between.join(label.format(letter) + text for letter, text in zip("ABCD", choices, strict=False))


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    "before", ["", "Which one is it?\n\n", "Options:\n", "Answer:\n", "Answer: ", "选项：\n", "<answer>"]
)
def test_a_list_of_the_options_is_no_answer(label, before):
    for between in BETWEEN:
        for choices in (GREEK["choices"], GREEK["choices"][:3]):
            echo = before + listed(label, between, choices)
            assert set(answers(echo).values()) == {None}, echo
            assert set(answers(f"{echo}\n\nC").values()) == {"C"}
            assert set(answers(f"{echo}\n\nAnswer: (C)").values()) == {"C"}


@pytest.mark.parametrize("label", LABELS)
def test_a_list_from_the_last_option_to_the_first_is_no_answer(label):
    for between in BETWEEN:
        echo = between.join(
            label.format(letter) + text for letter, text in zip("DCBA", GREEK["choices"][::-1], strict=True)
        )
        assert set(answers(echo).values()) == {None}, echo
        assert set(answers(f"{echo}\n\nAnswer: (C)").values()) == {"C"}


@pytest.mark.parametrize(
    "reply",
    [
        "alpha\nbeta\ngamma\ndelta",
        "- alpha\n- beta\n- gamma\n- delta",
        "A\nB\nC\nD",
        "C) gamma\nD) delta",
        "The options are A, B, C, D.",
        "Answer (A, B, C or D):",
        "Choose A, B, C or D.",
        "10\n20\n30\n40",
        "alpha, beta, gamma, delta",
        "Alpha, beta, gamma and delta.",
        "D) delta\nC) gamma\nB) beta\nA) alpha",
        "D\nC\nB\nA",
    ],
)
def test_options_one_below_or_beside_the_other_are_no_answer(reply):
    for doc in (GREEK, NUMBERS):
        assert set(answers(reply, doc).values()) == {None}


@pytest.mark.parametrize(
    "reply",
    [
        "A) alpha\nB) beta\nC) gamma\nD) delta\n\nC) gamma",
        "D) delta\nC) gamma\nB) beta\nA) alpha\n\nAnswer: C",
        "Gamma, as it is the third.",
        "Gamma. Beta is the second.",
    ],
)
def test_an_answer_beside_other_options_is_none_of_their_list(reply):
    assert set(answers(reply).values()) == {"C"}


@pytest.mark.parametrize(
    "reply",
    [
        "Answer: (B) and also C",
        "Answer: B or maybe C",
        "Answer: B (or C)",
        "Answer: B as well as C",
        "Answer: B, and possibly C",
        "Answer: B plus C",
        "Answer: B; C",
        "Answer: B. C is also correct.",
        "Answer: B, but C is also possible",
        r"\boxed{B} and \boxed{C}",
        r"\boxed{B} or \boxed{C}",
        "<answer>B</answer> or <answer>C</answer>",
        "The answer could be B or C.",
        "选B和C",
    ],
)
def test_two_answers_are_none(reply):
    for score in SCORERS.values():
        for letter in "BC":
            assert score({**GREEK, "answer": letter}, final_text_of(reply)).value == 0.0


@pytest.mark.parametrize(
    "reply",
    [
        "Answer: B\nWait, actually C.",
        "Answer: B. Wait, no, it's C.",
        "Answer: B... hold on, actually it should be C.",
        "Answer: B\n\nCorrection: C",
        "Answer: B. No, C.",
        "Answer: C. Wait, is it B? No, C.",
        r"\boxed{B} Wait, that is wrong. \boxed{C}",
        "\\boxed{B}\n\nFinal answer: C",
        "The answer is not B but C.",
        "The answer is not B, it is C.",
        "The answer isn't B; it's C",
        "如果选B，就错了。答案：C",
        "The answer would be B if it were even. So the answer is C.",
        "Answer: B is tempting, but the answer is C.",
        "Answer: B is tempting, but C is right",
        "选A不对，选B也不对，应选C",
    ],
)
def test_what_is_taken_back_gives_way(reply):
    assert set(answers(reply).values()) == {"C"}


@pytest.mark.parametrize(
    "reply",
    [
        "Answer: C\nIs it even? No.\nB. beta is.",
        "I am sure of it. This answer: C",
        "The answer is C.\nThis answer is B.",
        "Answer: C\n\nThe reasoning behind this answer: B is no third.",
        "Answer: C\n\nQuestion: And which is the first?\nAnswer: A",
        "\\boxed{C}\n\nProblem 2: Which is the first?\n\nThe answer is A.",
        "Question: Which is the third?\nAnswer: C",
        "答案：C\n\n题目：哪个是第一个？\n答案：A",
        "Answer: C. B is also a letter.",
        "Answer: C. Statement I is correct, too.",
        "I choose B as the origin.\nAnswer: C",
        "Answer: C\n\nNow let us replace A with B.",
        "Answer: C\n\nNo more than that. So A was out.",
    ],
)
def test_what_is_no_second_thought(reply):
    assert set(answers(reply).values()) == {"C"}


@pytest.mark.parametrize(
    "reply",
    [
        "I choose B as the origin of the plane, and go on from there to all the other places.",
        "It is known that A → B",
        "The final letter is D, of all the letters that stand there in one row, one by one",
        "Answer: B is wrong",
        "Answer: B is incorrect.",
        "The answer is not B",
        "Is the answer C? I cannot tell.",
        "If the answer is C, it follows that more is needed.",
        "Suppose the answer is C, for a moment.",
        "Option C is not correct.",
        "The correct answer is not listed.",
        "My answer would be B if it were even, so C",
        "Answer: D is tempting but B",
        "If B is the answer, it follows that more is needed.",
        "Is B the answer?",
        "Neither A nor B is the answer.",
        "不能选C",
        "答案不是C",
    ],
)
def test_what_is_denied_asked_or_supposed_is_no_answer(reply):
    assert set(answers(reply).values()) == {None}


WORDINGS = [
    *("The correct option is ({}).", "The best choice is {}.", "The right option is {}", "Final choice: {}"),
    *("Choice: {}", "Option: {}", "Correct option: {}", "Option {}", "({})", "[{}]", "{}.", "{})", "Therefore, {}."),
    *("So {}.", "∴ {}", "→ {}", "Ans: {}", "Ans. ({})", "ANSWER {}.", "| Answer | {} |", "# Answer\n\n{}"),
    *("The answer must be {}.", "So the answer should be {}.", "The answer to this question is {}."),
    *("The answer is therefore {}.", "The answer is clearly {}.", "The answer is most likely {}."),
    *("The answer, then, is {}.", "The answer here is {}.", "The correct letter is {}.", "I choose option {}."),
    *("I would go with {}.", "I'll go with ({}).", "Therefore, option {} is correct.", "Thus, {} is the correct answer."),
    *("Hence ({}) is correct.", "{} is correct.", "Option {} is the best choice.", "{}, because it is the third letter."),
    *("{} is the answer", "({}) is my final answer.", "{} must be the answer to this question.", "It must be ({})."),
    *("It has to be {}", "Alpha is the first. This must be ({})."),
    *("{}\n\nExplanation: it is the third letter, not the first.", "Answer: {}!", "Answer:  ( {} )", "answer = {}"),
    *('```json\n{{"answer": "{}"}}\n```', "Answer: The correct answer is {}.", "Answer: Letter {}"),
    *(r"$\boxed{{\text{{{}}}}}$", r"\boxed{{\textbf{{({})}}}}", "<answer>{}</answer>", "Answer - ({})"),
    *(r"\boxed{{ {} }}", r"\boxed{{\bf {}}}", r"\boxed{{\underline{{{}}}}}", r"\boxed{{\text{{Option {}}}}}", "✅ **{}**"),
    *("I'd say {}.", "It's {}.", "Definitely {}", "That leaves {}.", "which corresponds to option {}."),
    *("Hence, the value is the third, → {}", "The correct statement is {}.", "**Correct answer: {}**"),
    *("应该是{}。", "所以是{}", "因此是 {} 选项", "{} 选项", "答案不是A，而是{}", "符合题意的是{}", "A错误，{}正确。"),
    *("It can't be A or delta, so it must be {}.", "It is neither A nor delta; it is {}.", "Correct: {}"),
    *("答案：{}", "选{}", "故选：{}", "故本题选{}。", "正确答案为：{}", "正确选项是{}。", "因此选项{}是正确的。"),
    *("{}选项正确", "【答案】{}\n【解析】因为它在第三", "答案：【{}】", "答案选{}", "所以答案应该选择{}", "我会选{}"),
    *("最终答案是 **{}**", "综上所述，正确的是{}。", "综上，{}正确。", "答案：{}项", "答案是（{}）。因为它在第三。"),
]  # fmt: skip


@pytest.mark.parametrize("wording", WORDINGS)
def test_wordings(wording):
    for letter in "BCD":
        assert set(answers(wording.format(letter)).values()) == {letter}


@pytest.mark.parametrize(
    "reply", ["(C) gamma. It is the third.", "C. gamma\n\nAlpha is the first of them.", "C、gamma"]
)
def test_a_letter_with_its_own_text(reply):
    assert set(answers(reply).values()) == {"C"}


def test_a_number_that_is_the_whole_reply():
    assert set(answers("30", NUMBERS).values()) == {"C"}


# ---------------------------------------------------------------- invariances

plain = st.sampled_from([wording for wording in WORDINGS if "{}" in wording])


@given(
    plain,
    st.sampled_from("BCD"),
    st.sampled_from(["", " ", "\n", " \n\n\t", "\u3000", "\r\n"]),
    st.sampled_from(["", "**", "__"]),
)
def test_white_space_and_emphasis_around_a_reply_change_nothing(wording, letter, space, marks):
    assert set(answers(f"{space}{marks}{wording.format(letter)}{marks}{space}").values()) == {letter}


@given(st.sampled_from("BCD"), st.sampled_from(["Answer: {}", "The answer is ({})", r"\boxed{{{}}}", "答案：{}", "{}", "Option {}"]),
       st.sampled_from(["", ".", "!", "。", " .", ".\n", "**", ".**", ")", "..."]))  # fmt: skip
def test_closing_marks_change_nothing(letter, wording, mark):
    assert set(answers(wording.format(letter) + mark).values()) == {letter}


words = st.text(st.sampled_from("efghijklmnopqrstuvwxyz "), min_size=1, max_size=12).map(str.strip)  # none is a letter
words = words.filter(
    lambda text: text not in {"us", "see", "let", "let us", "us see"}
)  # "Let us see" stands before them


@given(st.lists(words.filter(bool), min_size=3, max_size=6, unique=True), st.sampled_from(LABELS), st.sampled_from(BETWEEN),
       st.sampled_from(["", "Let us see.\n", "Answer:\n"]))  # fmt: skip
def test_an_echo_never_scores(choices, label, between, before):
    echo = before + between.join(label.format(letter) + text for letter, text in zip("ABCDEF", choices, strict=False))
    for letter in "ABCDEF"[: len(choices)]:
        doc = {"choices": choices, "answer": letter}
        for name in ("choice", "letters"):
            assert SCORERS[name](doc, final_text_of(echo)).value == 0.0


@given(plain, st.sampled_from("BCD"), st.sampled_from(LABELS))
def test_an_echo_before_an_answer_changes_nothing(wording, letter, label):
    assert set(answers(f"{listed(label, chr(10))}\n\n{wording.format(letter)}").values()) == {letter}


@pytest.mark.parametrize(
    "unit",
    [
        "A) alpha\n",
        "wait, ",
        "no no ",
        "I choose ",
        "B is also ",
        "option: ",
        "is the answer ",
        "A. ",
        "| A | alpha ",
        "not B but ",
    ],
)
def test_a_long_loop_is_read_in_linear_time(unit):
    for name in ("choice", "letters"):
        assert SCORERS[name](GREEK, final_text_of("Answer: B " + unit * (40_000 // len(unit)))).value in (0.0, 1.0)
