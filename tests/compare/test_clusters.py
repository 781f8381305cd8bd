"""Trouble that comes from one address or stretch of time is said, and equal stacks are left in peace."""

import numpy as np
import pytest
from compare_factory import NOW, beta_chances, binary, side, suite

from evalkit.compare.clusters import ALPHA, cluster_notes
from evalkit.compare.judge import compare
from evalkit.compare.pair import align
from evalkit.compare.validity import Policy
from evalkit.model import Status
from evalkit.render.words import say

START = 1_900_000_000.0  # 2030-03-17 17:46:40 UTC
PORTS = ("http://a:1", "http://b:2")


def timed(scores, *, address=lambda item: PORTS[item % 2], change=lambda _item, row: row, order=None, **facts):
    """A suite whose items were answered one a second, in this order; failures too."""
    places = np.argsort(order) if order is not None else np.arange(len(scores))
    return suite(
        scores,
        row=lambda item, _r, row: change(item, {**row, "at": START + int(places[item]), "address": address(item)}),
        **facts,
    )


def notes(reference, candidate):
    found = compare(side("reference", *reference), side("candidate", *candidate), Policy(), NOW).notes
    return [say(note) for note in found if note.code.startswith("cluster.")]


def test_answers_that_one_replica_loses():
    rng = np.random.default_rng(3)
    scores = binary(rng, np.full(300, 0.8), 1)
    worse = scores.copy()
    worse[1::2] *= binary(rng, np.full(150, 0.7), 1)
    (said,) = notes([timed(scores)], [timed(worse)])
    lost = int((worse < scores).sum())
    place = "came from http://b:2, which gave 150 of 300"
    assert said.startswith(f"of the candidate, {lost} of {lost} answers scored below the other side {place}")
    (mirrored,) = notes([timed(worse)], [timed(scores)])
    assert "of the reference, " in mirrored


def test_failures_of_one_replica_and_garbage_of_another():
    scores = np.ones(300)
    scores[:150:2] = 0.0
    failing = scores.copy()
    failing[1:40:2] = np.nan
    (said,) = notes([timed(scores)], [timed(failing, address=lambda item: PORTS[item % 2])])
    assert said.startswith("of the candidate, 20 of 20 failed requests came from http://b:2")

    def broken(item, row):
        return {**row, "garbage": "one_character" if item % 2 and item > 270 else "", "text": 9}

    (said,) = notes([timed(scores)], [timed(scores, change=broken, address=lambda item: PORTS[item % 2])])
    assert "replies that are no text came from http://b:2" in said


def test_answers_that_one_replica_alone_cuts():
    scores = np.zeros(300)
    scores[::3] = 1.0

    def cut(item, row):
        return {**row, "truncated": item % 10 == 0 or (item % 2 == 1 and item % 3 > 0)}

    def both(item, row):
        return {**row, "truncated": item % 10 == 0}

    (said,) = notes([timed(scores, change=both)], [timed(scores, change=cut)])
    place = "came from http://b:2, which gave 150 of 300"
    assert said.startswith(f"of the candidate, 100 of 100 answers cut at the token limit on this side alone {place}")
    assert notes([timed(scores, change=cut)], [timed(scores, change=cut)]) == []


def test_what_begins_at_a_time_and_what_ends_again():
    rng = np.random.default_rng(5)
    scores = binary(rng, np.full(400, 0.8), 1)
    late, between = scores.copy(), scores.copy()
    late[300:] *= binary(rng, np.full(100, 0.5), 1)
    between[100:150] *= 0.0

    def one(values):
        return timed(values, address=lambda _item: "http://a:1")

    (said,) = notes([one(scores)], [one(late)])
    assert "came from 2030-03-17 17:51" in said
    assert "UTC on" in said
    (said,) = notes([one(scores)], [one(between)])
    assert "came between 2030-03-17 17:48:2" in said
    assert "and 2030-03-17 17:49:" in said


def test_a_suite_that_is_worse_is_no_hour_that_is_worse():
    rng = np.random.default_rng(6)
    easy, hard = binary(rng, np.full(200, 0.9), 1), binary(rng, np.full(200, 0.9), 1)
    worse = hard * binary(rng, np.full(200, 0.4), 1)

    def later(item, row):
        return {**row, "at": row["at"] + 500.0}

    one = [timed(easy, name="a"), timed(hard, name="b", change=later)]
    two = [timed(easy, name="a"), timed(worse, name="b", change=later)]
    assert notes(one, two) == []
    uniform = easy * binary(rng, np.full(200, 0.5), 1)
    assert notes([timed(easy)], [timed(uniform)]) == []


def test_without_times_nothing_is_said():
    scores = np.r_[np.ones(100), np.zeros(100)]
    assert notes([suite(scores)], [suite(scores[::-1].copy())]) == []


def of_equal_stacks(rng, n):
    """Two sides of one model: the same chances, another draw; failures and garbage at the same small rates."""
    chances = beta_chances(rng, n, mean=rng.uniform(0.3, 0.9))
    sides = []
    for _ in range(2):
        scores = binary(rng, chances, 1)
        scores[rng.random(n) < 0.02] = np.nan
        bad, ports = rng.random(n) < 0.02, rng.integers(0, 4, n)
        long = rng.random(n) < 0.3 * (1.0 - chances)

        def change(item, row, bad=bad, long=long):
            row = {**row, "truncated": bool(long[item])}
            return {**row, "garbage": "undecodable", "text": 9} if bad[item] and row["status"] != Status.FAILED else row

        def where(item, ports=ports):
            return f"http://{ports[item]}:1"

        sides.append([timed(scores, address=where, change=change, order=np.argsort(-chances))])
    return sides


@pytest.mark.parametrize("count", [100, pytest.param(600, marks=pytest.mark.slow)])
def test_equal_stacks_are_left_in_peace(count):
    """The order of time is that of difficulty, as a run asks long answers first.

    Three alarms in 600 are too many: at a rate of ALPHA there would be as many in 94 of 100 such tests.
    """
    rng, alarms = np.random.default_rng(11), 0
    for _ in range(count):
        one, two = (
            side(name, *parts)
            for name, parts in zip("ab", of_equal_stacks(rng, int(rng.integers(40, 400))), strict=True)
        )
        alarms += bool(cluster_notes(one, two, {"quiz": align(one.suites["quiz"], two.suites["quiz"])}))
    assert alarms <= ALPHA * count / 3, alarms


def test_long_answers_that_come_last_and_are_lost_are_no_bad_hour():
    """Thirty stragglers of a slower replica end the run; asked they were all over it."""
    rng = np.random.default_rng(7)
    scores = np.ones(300)
    worse = scores.copy()
    slow = rng.choice(300, 30, replace=False)
    worse[slow] = 0.0

    def change(item, row):
        late = 400.0 if item in slow else 0.0
        return {**row, "seconds": 5.0 + late, "at": row["at"] + late}

    assert notes([timed(scores)], [timed(worse, change=change)]) == []

    def at_once(item, row):
        return {**row, "seconds": 5.0, "at": row["at"] + (400.0 if item in slow else 0.0)}

    assert notes([timed(scores)], [timed(worse, change=at_once)]), "asked at the end, too: that is an hour"
