"""Replies that are no text are known for what they are, and the first one is said with its item."""

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import NOW, judged, side, suite, with_replies

from evalkit.compare.columns import ReplyText
from evalkit.compare.garbage import garbage_of
from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.model import Prompt, Reply, Usage
from evalkit.render.words import say


def word(text, prompt="Which city is the capital of France?", finish="stop", reasoning=""):
    asked = Prompt("d", messages=({"role": "user", "content": [{"type": "text", "text": prompt}]},))
    return garbage_of(Reply(text, reasoning, finish, Usage(), None, 1.0, raw=b""), asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!" * 40, "one_character"),
        ("! ! ! ! ! ! ! ! ! ! ! ! ! ! ! ! !", "one_character"),
        ("The capital of France is" + "!" * 300, "one_character"),
        ("Paris is it\n" * 5 + "Paris", "one_line"),
        ("The city is P\N{REPLACEMENT CHARACTER}aris.", "undecodable"),
        ("<pad>" * 40, "special_tokens"),
        ("<unk> <unk>\n<unk>", "special_tokens"),
        ("<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>", "error_message"),
        ("[ERROR] upstream timed out", "error_message"),
        ("Error 512: worker c11 timed out at 1764561.25", "error_message"),
        ("Error bars show one standard deviation.", ""),
        ("Error: the division by zero comes first. " + "So much for that. " * 20 + "Is the backend right?", ""),
        ("<html><head><title>Recipes</title></head><body>Soup</body></html>", ""),
        ("The <pad> token fills a batch.", ""),
        ("เมืองหลวงของฝรั่งเศสคือปารีส", "Thai"),
        ("巴黎是法国的首都", "Han"),
        ("", ""),
        ("...", ""),
        ("Paris.", ""),
        ("Paris\nParis", ""),
        ("-" * 80 + "\nParis", ""),
        ("The answer is A.\n\nThe answer is B.\n\nThe answer is B.\n\nThe answer is B.", ""),
        ("In Chinese it is 巴黎, in English Paris; the second is what was asked for here.", ""),
        ("Δx = 2π·ħ, and so on: α → β", ""),
    ],
)
def test_what_is_no_text(text, expected):
    assert word(text) == expected
    assert word("Paris", reasoning=text) == expected


def test_what_the_question_or_the_token_limit_explains():
    assert word("巴黎是法国的首都", prompt="法国的首都是哪里？") == ""
    assert word("What is \N{REPLACEMENT CHARACTER}?", prompt="Is \N{REPLACEMENT CHARACTER} a letter?") == ""
    assert word("Paris \N{REPLACEMENT CHARACTER}", finish="length") == ""
    assert word("Paris \N{REPLACEMENT CHARACTER}", finish="stop") == "undecodable"


def test_a_prompt_that_comes_back_is_no_answer():
    asked = "Which of these cities is the capital of France, and since when has it been the capital of that country?"
    assert word(asked, prompt=asked) == "prompt"
    assert word(asked[8:] + "\n", prompt=asked) == "prompt"
    assert word("the capital of that country?", prompt=asked) == ""
    assert word(asked + " Paris, since 987.", prompt=asked) == ""


def with_garbage(**words):
    def change(item, _repeat, row):
        return {**row, "text": 7 + item, "garbage": words.get(f"i{item}", "")}

    scores = np.tile([1.0, 0.0], 100)
    return suite(scores, row=change)


def row_of(result):
    return next((row for row in result.behaviour if row.name == "garbage_answers"), None)


def test_one_of_two_hundred_is_an_alert_with_its_item_and_stands_beside_the_verdict():
    result = judged(with_garbage(), with_garbage(i5="undecodable"))
    told = "1 of 200 replies of the candidate are no text: item00005 (bytes that are no text (U+FFFD))"
    assert say(row_of(result).alert).startswith(told)
    assert (row_of(result).reference, row_of(result).candidate) == (0.0, 1 / 200)
    assert any(say(reason).startswith(told) for reason in result.reasons)
    both = judged(with_garbage(i3="one_line"), with_garbage(i5="undecodable"))
    assert "of the reference are no text: item00003" in say(row_of(both).alert)


def test_what_both_sides_answer_alike_is_the_models_own():
    assert row_of(judged(with_garbage(i5="one_line"), with_garbage(i5="one_line"))).alert is None
    assert row_of(judged(with_garbage(i5="Han"), with_garbage(i6="Han"))) is None
    assert "Chinese" in say(row_of(judged(with_garbage(), with_garbage(i6="Han"))).alert)


def replayed(ids, texts=None):
    """The alert where both sides give these replies, of which the candidate's have other texts where told."""
    replies = [[ReplyText(f"It is {n}.", "", (), id_) for n, id_ in enumerate(own)] for own in ids]
    if texts:
        replies[1] = [replace(reply, content=text) for reply, text in zip(replies[1], texts, strict=True)]
    made = [with_replies(np.ones(len(own)), own) for own in replies]
    one, two = (side(name, pair[0], texts=pair[1]) for name, pair in zip("ab", made, strict=True))
    (result,) = compare(one, two, Policy(), NOW).suites
    row = next((row for row in result.behaviour if row.name == "replayed_answers"), None)
    assert row is None or row.alert in result.reasons
    return "" if row is None else say(row.alert)


def test_replies_that_both_sides_have_with_one_id_are_named():
    ids = [f"chatcmpl-{n:032x}" for n in range(200)]
    assert "50 of 50 replies that are alike carry one id" in replayed([ids, ids])
    assert "25 of 50" in replayed([[*ids[:100], *map(str, range(100))]] * 2)


def test_other_ids_one_id_for_all_counted_ones_and_none_say_nothing():
    ids = [f"chatcmpl-{n:032x}" for n in range(200)]
    assert replayed([ids, ids[::-1]]) == ""
    assert replayed([["chatcmpl-for-all-replies"] * 200] * 2) == ""
    assert replayed([[f"chatcmpl-{n}" for n in range(200)]] * 2) == ""
    assert replayed([[""] * 200] * 2) == ""
    assert replayed([ids, ids], [f"So {n}." for n in range(200)]) == ""


OUT_OF_MEMORY = "Internal server error:\n CUDA out of memory."


def canned(sentence, times, *, others=0, right=0):
    """The alert where the candidate says the sentence to so many of 200 questions, the reference to some others."""
    scores = np.ones(200), np.r_[np.ones(right), np.zeros(times - right), np.ones(200 - times)]
    texts = [[f"The answer to question {n} is {n}." for n in range(200)] for _ in scores]
    texts[1][:times] = [sentence] * times
    texts[0][:others] = [sentence] * others
    made = [with_replies(*pair) for pair in zip(scores, texts, strict=True)]
    one, two = (side(name, *pair[:1], texts=pair[1]) for name, pair in zip("ab", made, strict=True))
    (result,) = compare(one, two, Policy(), NOW).suites
    row = next((row for row in result.behaviour if row.name == "canned_answers"), None)
    assert row is None or row.alert in result.reasons
    return "" if row is None else say(row.alert)


def test_one_sentence_in_the_place_of_many_answers_is_told_with_the_first_item():
    told = canned(OUT_OF_MEMORY, 23)
    assert told.startswith("the candidate says one sentence to 23 of 200 questions and loses by it, first item00000: ")
    assert '"Internal server error: CUDA out of memory."' in told
    assert canned("服务器内部错误：显存不足，无法完成请求", 10)
    assert 0 < len(canned("word " * 500, 10)) < 300


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("The answer is (B).", {"times": 23}),
        (OUT_OF_MEMORY, {"times": 9}),
        (OUT_OF_MEMORY, {"times": 23, "others": 12}),
        ("From the passage it follows that the answer is B.", {"times": 23, "right": 12}),
    ],
    ids=["short", "by chance", "on both sides", "often right"],
)
def test_a_sentence_that_may_be_the_models_own_is_no_alert(sentence, changes):
    assert canned(sentence, **changes) == ""


def test_one_question_that_is_asked_again_and_again_is_no_many():
    scores = np.ones((40, 12)), np.r_[np.zeros((1, 12)), np.ones((39, 12))]
    sides = [
        side(
            name,
            suite(
                matrix, row=lambda item, _repeat, row, name=name: {**row, "text": (7 if name == "a" else 107) + item}
            ),
            texts={("quiz", row): OUT_OF_MEMORY for row in range(480)},
        )
        for name, matrix in zip("ab", scores, strict=True)
    ]
    (result,) = compare(*sides, Policy(), NOW).suites
    assert "canned_answers" not in [row.name for row in result.behaviour]
