"""Replies of other questions in flight are found and named; letters and numbers that coincide are not."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from compare_factory import NOW, suite
from compare_factory import side as plain_side

from evalkit.compare.columns import ItemText
from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.files import digest64
from evalkit.render.words import say

SYLLABLES = ("kal", "mor", "tis", "ven", "dru", "ano", "ebi", "uro", "ilo", "spe", "qui", "zan", "hol", "ret", "fum")
WORDS = np.array(["".join(three) for three in product(SYLLABLES, repeat=3)])
STOCK = "Let us think about this step by step. First of all we look at what is given and then at what is asked for."


def questions(n, seed=1):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 8)) for _ in range(n)]


def replies(asked, seed, *, sampled=False):
    """What a model says to every question: stock words, the question's own, and some of its own choosing."""
    rng = np.random.default_rng(seed)
    said = []
    for number, question in enumerate(asked):
        own = np.random.default_rng(1000 + number)
        topic = [*question.split(), *own.choice(WORDS, 12)]
        kept = [word for word in topic if not sampled or rng.random() < 0.7]
        said.append(" ".join([STOCK, *kept, f"so the answer is {number * 37 + 1000}"]))
    return said


def side(name, asked, texts, answers, right, in_flight=8, **facts):
    """A side that was asked so many questions at a time, in their order; a question takes a second."""

    def row(item, _repeat, made):
        at = 1e9 + 10 * (item // in_flight) + 1.0
        return {
            **made,
            "text": digest64(texts[item]),
            "characters": len(texts[item]),
            "seconds": 1.0,
            "at": at,
            "answer": answers[item],
        }

    made = plain_side(name, suite(right, row=row, **facts), texts={("quiz", n): text for n, text in enumerate(texts)})
    return replace(made, item=lambda _suite, item: ItemText(asked[int(item[4:])], "?"))


def result(one, two):
    return compare(one, two, Policy(), NOW).suites[0]


def alert(found):
    return next((row.alert for row in found.behaviour if row.name == "crossed_answers"), None)


def swapped(texts, pairs):
    out = list(texts)
    for one, two in pairs:
        out[one], out[two] = texts[two], texts[one]
    return out


PAIRS = [(16 * n, 16 * n + 3) for n in range(12)]


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("accused", ["candidate", "reference"])
def test_replies_that_were_swapped_in_flight_are_named(accused, sampled):
    asked = questions(200)
    right = (np.random.default_rng(2).random(200) < 0.7).astype(float)
    good = replies(asked, 5, sampled=sampled)
    bad = swapped(replies(asked, 6, sampled=sampled), PAIRS)
    wrong = right.copy()
    wrong[[item for pair in PAIRS for item in pair]] = 0.0
    letters = list("ABCD" * 50)
    faithful, mixed = (
        side("one", asked, good, letters, right, greedy=not sampled),
        side("two", asked, bad, letters, wrong, greedy=not sampled),
    )
    found = result(faithful, mixed) if accused == "candidate" else result(mixed, faithful)
    told = say(alert(found))
    assert told.startswith(f"of 200 replies of the {accused}, ")
    number = int(told.split(", ")[1].split()[0])
    assert (number == 24) if not sampled else (10 <= number <= 24)
    assert "has that of item" in told
    if not sampled:
        assert "item00000 has that of item00003, item00003 has that of item00000" in told
    assert told in [say(reason) for reason in found.reasons]
    assert not any("RoPE" in say(reason) for reason in found.reasons)


def test_a_single_one_is_found_too():
    asked = questions(200)
    good = replies(asked, 5)
    wrong = np.ones(200)
    right = np.r_[np.zeros(20), np.ones(180)]
    wrong[:20] = 0.0
    wrong[50] = 0.0
    bad = list(good)
    bad[50] = good[51]
    letters = ["A"] * 200
    found = result(side("one", asked, good, letters, right), side("two", asked, bad, letters, wrong))
    assert "1 belong to other questions in flight at the time: item00050 has that of item00051" in say(alert(found))


def test_the_same_replies_at_another_time_are_no_crossing():
    asked = questions(200)
    good, right = replies(asked, 5), np.ones(200)
    right[100:120] = 0.0
    far = [(n, 199 - n) for n in range(12)]
    wrong = right.copy()
    wrong[[item for pair in far for item in pair]] = 0.0
    letters = ["A"] * 200
    assert (
        alert(result(side("one", asked, good, letters, right), side("two", asked, swapped(good, far), letters, wrong)))
        is None
    )


def terse(answers):
    return [f"The answer is {answer}." for answer in answers]


def test_short_answers_are_found_by_their_number():
    asked = questions(200)
    rng = np.random.default_rng(4)
    truth = [str(number) for number in rng.permutation(np.arange(1000, 9000))[:200]]
    right = (rng.random(200) < 0.8).astype(float)
    given = [answer if good else str(rng.integers(1000, 9000)) for answer, good in zip(truth, right, strict=True)]
    crossed, wrong = swapped(given, PAIRS), right.copy()
    wrong[[item for pair in PAIRS for item in pair]] = 0.0
    found = result(side("one", asked, terse(given), given, right), side("two", asked, terse(crossed), crossed, wrong))
    assert say(alert(found)).startswith("of 200 replies of the candidate, ")
    assert "item00003 has that of item00000" in say(alert(found))


def test_letters_and_small_numbers_coincide_by_chance():
    asked = questions(200)
    rng = np.random.default_rng(7)
    for words in ("ABCD", [str(n) for n in range(20)]):
        truth = rng.choice(list(words), 200)
        sides = []
        for name in ("one", "two"):
            right = rng.random(200) < 0.5
            given = np.where(right, truth, rng.choice(list(words), 200))
            sides.append(side(name, asked, terse(given), list(map(str, given)), (given == truth).astype(float)))
        assert alert(result(*sides)) is None


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_equal_stacks_are_never_accused(count):
    """Sampled texts, wrong answers that are often right elsewhere, stock replies and refusals that come and go."""
    rng = np.random.default_rng(8)
    for round_ in range(count):
        n = int(rng.integers(40, 200))
        asked = questions(n, seed=100 + round_)
        truth = rng.integers(0, 60, n)
        sides = []
        for name in ("one", "two"):
            right = rng.random(n) < 0.6
            given = np.where(right, truth, rng.integers(0, 60, n))
            texts = replies(asked, int(rng.integers(1 << 30)), sampled=True)
            for item in np.flatnonzero(rng.random(n) < 0.1).tolist():
                texts[item] = "There is hardly enough information given in order to determine any such thing reliably."
            sides.append(
                side(
                    name,
                    asked,
                    texts,
                    list(map(str, given)),
                    (given == truth).astype(float),
                    in_flight=int(rng.integers(2, 33)),
                )
            )
        assert alert(result(*sides)) is None, round_


def test_garbage_is_nobody_elses_reply():
    asked = questions(60)
    good, right = replies(asked, 5), np.ones(60)
    right[:10] = 0.0
    bad, wrong = ["!" * 200] * 60, np.zeros(60)
    assert alert(result(side("one", asked, good, ["A"] * 60, right), side("two", asked, bad, [""] * 60, wrong))) is None


def alike(n, who):
    """Replies without a rare word, each another: what words say tells nothing of them."""
    return [
        f"{who} {number:04d}-{number * 7919 % 10007:05d}: I'd say it is {number % 4}, as far as I see"
        for number in range(n)
    ]


@pytest.mark.parametrize(("in_flight", "named"), [(8, 15), (200, 20)])
def test_replies_that_are_word_for_word_those_to_others_in_flight_are_named(in_flight, named):
    asked, letters = questions(200), list("ABCD" * 50)
    right, wrong, bad = np.ones(200), np.ones(200), alike(200, "b")
    for copy in range(0, 200, 10):
        bad[copy], wrong[copy] = bad[copy + 3], 0.0
    one, two = side("one", asked, alike(200, "a"), letters, right), side("two", asked, bad, letters, wrong, in_flight)
    told = say(alert(result(one, two)))
    assert told.startswith(f"of 200 replies of the candidate, {named} "), told
    assert "item00000 has that of item00003" in told


def test_replies_that_were_swapped_are_named_though_everything_was_in_flight_and_none_occurs_twice():
    asked, letters = questions(200), list("ABCD" * 50)
    good, right = alike(200, "a"), np.ones(200)
    bad, wrong = [text if number % 20 else alike(200, "b")[number] for number, text in enumerate(good)], np.ones(200)
    for one in range(1, 200, 8):
        bad[one], bad[one + 1] = good[one + 1], good[one]
        wrong[one] = wrong[one + 1] = 0.0
    told = say(alert(result(side("one", asked, good, letters, right), side("two", asked, bad, letters, wrong, 200))))
    assert told.startswith("of 200 replies of the candidate, 5"), told
    assert "of the reference" not in told
    assert "item00001 has that of item00002" in told


def test_texts_that_both_sides_repeat_and_short_ones_are_no_copies():
    asked, letters = questions(200), list("ABCD" * 50)
    both = [f"{text} {number}" for number, text in enumerate([STOCK] * 100)] * 2
    assert (
        alert(result(side("one", asked, both, letters, np.ones(200)), side("two", asked, both, letters, np.ones(200))))
        is None
    )
    short = [f"Answer {number}" for number in range(100)] * 2
    own = replies(asked, 5)
    assert (
        alert(result(side("one", asked, own, letters, np.ones(200)), side("two", asked, short, letters, np.ones(200))))
        is None
    )
