"""Letters in short and long replies, English and Chinese: what counts, what is ambiguous, what is no answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring.answers import letters
from evalkit.scoring.answers.reply import final_text_of

ENGLISH = ["a lantern", "two oars", "the anchor", "a torn sail", "rope", "bell", "crate", "wheel", "Iron ring", "flag"]
CHINESE = ["时光流逝", "亲情可贵", "保护森林", "竞争残酷", "科技双刃剑", "勤能补拙"]


def read(reply, choices=ENGLISH, answer="B", **final):
    return letters.score({"choices": choices, "answer": answer}, final_text_of(reply, **final))


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B) two oars", "B"),
        ("**Answer:** B", "B"),
        ("Answer: Ｂ", "B"),
        ("Answer: $B$", "B"),
        (r"So we get $\boxed{\text{B}}$.", "B"),
        ("The correct choice is B) two oars", "B"),
        ("Option A is wrong, option C is wrong.\nAnswer: B", "B"),
        ("<think>Answer: A</think>\nAnswer: B", "B"),
        ("B. two oars. A lantern would be brighter.", "B"),
        ("It cannot be A; it must be (B).", "B"),
        ("B is correct: the others are on land.", "B"),
        ("two oars", "B"),
        ("Behind the mast I can see two oars on the deck.", "B"),
        ("I. Iron ring", "I"),
        ("Answer: I", "I"),
        ("I would say that (I) fits.", "I"),
        ("J", "J"),
    ],
)
def test_an_answer_is_read(reply, letter):
    score = read(reply, answer=letter)
    assert (score.value, score.answer, score.status) == (1.0, letter, Status.SCORED)
    other = "C" if letter != "C" else "D"
    assert read(reply, answer=other).value == 0.0


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot see the picture, sorry.",
        "Answer: $LETTER",
        "Answer: K",
        "Bright colours are used throughout.",
        "A lantern and two oars lie on the deck.",
        "It is not two oars.",
        "The boat has a torn sail, whereas the harbour has a bell",
        "A, b, c",
        "The figure shows the line AB and the point B'.",
        "I'm sorry. I can't read the bell.",
    ],
)
def test_no_answer_is_wrong_and_counted_never_a_guess(reply):
    for answer in "ABCDEFGHIJ":
        score = read(reply, answer=answer)
        assert score.value == 0.0
        assert score.status in {Status.NO_ANSWER, Status.REFUSED}
        assert score.answer is None


def test_a_generous_reading_is_a_diagnosis_only():
    score = read("I take C since (A) fails and (B) is not on deck", answer="C")
    assert (score.value, score.lenient, score.flags) == (0.0, 1.0, ("lenient_only",))


def test_two_letters_are_no_answer():
    for reply in ("Answer: B or C", "Answer: B, C", "答案：B、C"):
        score = read(reply)
        assert (score.value, score.status, score.reason) == (0.0, Status.SCORED, "multiple")


def test_an_empty_reply_keeps_its_own_status():
    assert read("").status is Status.EMPTY
    assert read("<think>B", finish_reason="length").status is Status.TRUNCATED


def test_a_reply_that_was_cut_off_needs_a_strong_anchor():
    assert read("Answer: B\nThe reason is tha", finish_reason="length").value == 1.0
    assert read("Answer: B\nThe reason is tha", finish_reason="length").reason == "truncated_with_answer"
    for weak in ("B. two oars. A lantern would", "There are two oars", "It must be (B) as the"):
        score = read(weak, finish_reason="length")
        assert (score.value, score.status) == (0.0, Status.TRUNCATED)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("答案：C", "C"),
        ("答案:C。", "C"),
        ("**答案：** Ｃ", "C"),
        ("正确答案是（C）保护森林", "C"),
        ("综上所述，A、B都不对，故选F。", "F"),
        ("选项F符合题意", "F"),
        ("A选项不对；B选项正确。", "B"),
        ("保护森林", "C"),
        ("这幅画想说的是保护森林。", "C"),
        ("C.保护森林", "C"),
        ("我认为D最合适", "D"),
    ],
)
def test_chinese_answers_are_read(reply, letter):
    score = letters.score({"choices": CHINESE, "answer": letter}, final_text_of(reply))
    assert (score.value, score.answer) == (1.0, letter)


@pytest.mark.parametrize(
    "reply", ["答案：A或C", "答案：$LETTER", "这幅画让人想起童年。", "抱歉，我无法回答这个问题。", "不是保护森林"]
)
def test_chinese_replies_without_an_answer(reply):
    for answer in "ABCDEF":
        assert letters.score({"choices": CHINESE, "answer": answer}, final_text_of(reply)).value == 0.0


def test_options_that_are_numbers_are_not_read_inside_formulas():
    numbers = ["1", "2", "3", "4"]
    assert read("There are 3 of them", numbers, "C").value == 1.0
    for reply in ("3/2", "x+2", "2^2=5", "It is 2.5 wide", "2%"):
        assert read(reply, numbers, "B").value == 0.0


def test_an_option_that_begins_with_the_letter_a():
    depths = ["A is nearer", "B is nearer"]
    assert letters.score({"choices": depths, "answer": "A"}, final_text_of(" A is nearer to the lens.")).value == 1.0
    undecided = final_text_of("One cannot say which point is nearer to the lens.")
    assert letters.score({"choices": depths, "answer": "A"}, undecided).status is Status.NO_ANSWER


def test_prose_that_rejects_one_option_does_not_choose_it():
    places = ["the second picture", "the third picture"]
    reply = final_text_of("Shape and light continue there. The second picture, on the other hand, does not fit.")
    for answer in "AB":
        assert letters.score({"choices": places, "answer": answer}, reply).value == 0.0


def test_a_long_reply_that_brackets_one_letter_only_settles_on_it():
    tail = " It is made of hemp and hangs from the mast, as the light on it shows." * 12
    assert read(f"What is asked for is (B) two oars.{tail}").answer == "B"
    assert read(f"It might be (B), it might be (C).{tail}").status is Status.NO_ANSWER
    assert read(f"It is not (B).{tail}").status is Status.NO_ANSWER
    assert read(f"First (A), then (C).{tail} All in all it is (B).").answer == "B"
    assert read(f"First (A), then (C).{tail} Unlike the rest (B) is made of wood.").status is Status.NO_ANSWER


def test_an_option_whose_text_begins_with_another_letter():
    chords = ["C°7", "A7", "G°7", "Eb7"]
    assert read("The chord is (C°7).", chords, "A").value == 1.0
    assert read("The chord is (C°7).", chords, "C").value == 0.0


def test_the_least_of_all_is_an_answer():
    assert read("The torn sail is LEAST like the rest: a torn sail", answer="D").value == 1.0


@pytest.mark.parametrize(
    ("reply", "choices", "letter"),
    [
        ("Therefore, the temperature is 350.93 K.", ["340.93K", "350.93K"], "B"),
        ("The plant is pot-bound, as its roots show.", ["Too dry", "Pot bound"], "B"),
        ("The work dates from the 1940s.", ["1910's", "1940's"], "B"),
        ("False. The bars for (a) are not as high.", ["True.", "False."], "B"),
        ("No, they do not meet.", ["Yes", "No"], "B"),
        ("The statement that is false is (B) The mast is not of oak.", ["It floats", "The mast is not of oak"], "B"),
        ("It is most likely caused by a torn sail. A bell or a crate would sink.", ENGLISH, "D"),
    ],
)
def test_an_options_text_in_another_spelling_or_at_the_end_or_beginning(reply, choices, letter):
    assert read(reply, choices, letter).answer == letter


@pytest.mark.parametrize(
    "reply",
    [
        *(
            "AC",
            "A、C",
            "答案：A、C",
            "选AC",
            "故选：AC",
            "【答案】AC",
            "正确答案：A, C",
            "A和C正确",
            "AC都对",
            "A、C 两项正确",
        ),
        *(
            "选项A和选项C都正确",
            "A选项正确；C选项正确；B、D错误。",
            "A对，B错，C对，D错",
            "The correct options are A and C.",
        ),
        *(r"\boxed{AC}", r"\boxed{A}、\boxed{C}", "<answer>A、C</answer>", "答案：A. 时光流逝；C. 保护森林"),
        *("A. 时光流逝\nC. 保护森林", "因此正确的选项是：\nA. 时光流逝\nC. 保护森林"),
    ],
)
def test_sets_of_letters(reply):
    doc = {"choices": CHINESE[:4], "answer": "AC"}
    assert letters.score(doc, final_text_of(reply), several=True).answer == "A,C"
    assert letters.score({**doc, "answer": "A"}, final_text_of(reply), several=True).value == 0.0


def test_a_list_of_all_options_is_no_set():
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", CHINESE, strict=False))
    doc = {"choices": CHINESE[:4], "answer": "ABCD"}
    assert letters.score(doc, final_text_of(listed), several=True).answer is None
    assert letters.score(doc, final_text_of(listed + "\n答案：ABCD"), several=True).value == 1.0


def test_unlabelled_options_still_take_letters():
    assert read("(D)", ["", "", "", ""], "D").value == 1.0
    assert read("(E)", ["", "", "", ""], "D").value == 0.0


@pytest.mark.parametrize("answer", ["", "K", "b", "1", None])
def test_a_document_without_a_proper_answer_is_a_data_error(answer):
    with pytest.raises(DataError):
        read("B", answer=answer)


@given(st.text(max_size=300), st.sampled_from("ABCDEFGHIJ"))
def test_any_text_gets_a_verdict_and_only_its_own_letters(text, answer):
    score = letters.score({"choices": ENGLISH, "answer": answer}, FinalText(text))
    assert score.value in {0.0, 1.0}
    assert score.answer is None or set(score.answer.split(",")) <= set("ABCDEFGHIJ")


@pytest.mark.parametrize("unit", ["A  B  C  D  ", "选项A", "(", "A. x\n", "不", "two oars ", "[A] "])
def test_a_long_hostile_reply_is_read_to_its_end(unit):
    # A pattern that backtracks would not come back from these within the life of the test run.
    for several in (False, True):
        reply = FinalText(unit * (50_000 // len(unit)) + "!")
        score = letters.score({"choices": ENGLISH[:4], "answer": "A"}, reply, several=several)
        assert score.value in {0.0, 1.0}


@pytest.mark.parametrize("name", ["mcq_en", "mcq_zh"])
def test_tricky_choices(tricky, name):
    rows = [json.loads(line) for line in (tricky / f"{name}.jsonl").open()]
    assert len(rows) >= 15
    found = {
        row["id"]: letters.score({"choices": row["options"], "answer": row["gold"]}, final_text_of(row["output"])).value
        for row in rows
    }
    assert found == {row["id"]: row["expected"] for row in rows}
