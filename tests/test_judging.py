"""What is said of stored sides beside the comparison itself: an address that was there and left."""

from dataclasses import replace

import numpy as np
import pytest
from compare_factory import side, suite

from evalkit.judging import gone
from evalkit.render.words import say

URLS = ("http://a:1", "http://b:2")
START = 1_900_000_000.0  # 2030-03-17 17:46:40 UTC


def answered(where, urls=URLS):
    """A side that one address a second answered; `where` gives the number of the address by item, None: a failure."""

    def row(item, _repeat, made):
        place = where(item)
        text = {"text": 5 + item} if place is not None else {"text": 0}
        return {**made, **text, "at": START + item, "address": URLS[place or 0]}

    return replace(side("ref", suite(np.ones(200), row=row)), config={"base_urls": list(urls)})


def test_an_address_that_dies_in_mid_run_is_named():
    (note,) = gone(answered(lambda item: item % 2 if item < 100 else 0))
    told = "http://b:2 gave the last of its 50 answers at 2030-03-17 17:48:19 UTC, and none of the 100 after that"
    assert told in say(note)
    assert "http://b:2" in say(note, "zh")


@pytest.mark.parametrize(
    ("where", "urls"),
    [
        (lambda item: item % 2, URLS),
        (lambda item: item % 2 if item < 185 else 0, URLS),
        (lambda item: 0, URLS),
        (lambda item: item % 2 if item < 100 else 0, URLS[:1]),
        (lambda item: None, URLS),
        (lambda item: item % 2 if item < 100 else 1 if item == 199 else 0, URLS),
    ],
    ids=["both", "a short end", "never there", "one address", "no answers", "back again"],
)
def test_chance_and_what_is_said_elsewhere_is_left_in_peace(where, urls):
    assert list(gone(answered(where, urls))) == []


def test_stragglers_of_a_slower_replica_do_not_mean_that_the_faster_one_is_gone():
    """Nine answers in ten came from the fast one, the last eight from the slow one, which were asked before."""

    def row(item, _repeat, made):
        slow = item % 10 == 0 or item >= 192
        at, seconds = (START + item + 40, 60.0) if slow else (START + item, 1.0)
        return {**made, "text": 5 + item, "at": at, "seconds": seconds, "address": URLS[slow]}

    asked_before = side("ref", suite(np.ones(200), row=row))
    assert list(gone(replace(asked_before, config={"base_urls": list(URLS)}))) == []
