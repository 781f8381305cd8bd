"""Balancing and resting, on a clock that stands until it is moved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.endpoint.client import LONGEST_REST_SECONDS, TRIAL_SECONDS, Replicas


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def fail(replicas, url, times=1):
    """Let requests to `url` fail to connect, giving back what others take meanwhile."""
    for _ in range(times):
        leases = []
        while (lease := replicas.take()).url != url:
            leases.append(lease)
            assert len(leases) < 50
        replicas.give_back(lease, reached=False)
        for other in leases:
            replicas.give_back(other, reached=None)


def urls(replicas, number):
    """The addresses of the next requests, all answered at once."""
    taken = []
    for _ in range(number):
        lease = replicas.take()
        taken.append(lease.url)
        replicas.give_back(lease, reached=True)
    return taken


def test_the_fewest_in_flight_gets_the_next():
    replicas = Replicas(["a", "b", "c"])
    held = [replicas.take() for _ in range(6)]
    assert sorted(lease.url for lease in held) == ["a", "a", "b", "b", "c", "c"]
    for lease in held:
        if lease.url == "b":
            replicas.give_back(lease, reached=True)
    assert {replicas.take().url, replicas.take().url} == {"b"}


def test_equals_take_turns():
    assert urls(Replicas(["a", "b", "c"]), 6) == ["a", "b", "c", "a", "b", "c"]


def test_three_failures_in_a_row_take_a_replica_out_for_five_seconds():
    clock = Clock()
    replicas = Replicas(["a", "b"], clock)
    fail(replicas, "a", 2)
    assert "a" in urls(replicas, 2)  # which also brings its count back to nothing
    fail(replicas, "a", 3)
    assert set(urls(replicas, 10)) == {"b"}
    clock.now += 4.9
    assert set(urls(replicas, 10)) == {"b"}
    clock.now += 0.2
    assert set(urls(replicas, 10)) == {"a", "b"}


def test_a_failed_trial_doubles_the_rest_up_to_a_minute():
    clock = Clock()
    replicas = Replicas(["a", "b"], clock)
    fail(replicas, "a", 3)
    for rest in (5, 10, 20, 40, 60, 60):
        assert rest <= LONGEST_REST_SECONDS
        clock.now += rest - 0.1
        assert set(urls(replicas, 10)) == {"b"}
        clock.now += 0.2
        fail(replicas, "a")
    clock.now += 60
    assert set(urls(replicas, 10)) == {"a", "b"}
    fail(replicas, "a", 3)
    clock.now += 5.1  # an answer has set the rest back to five seconds
    assert set(urls(replicas, 10)) == {"a", "b"}


def test_one_request_at_a_time_is_on_trial():
    clock = Clock()
    replicas = Replicas(["a", "b"], clock)
    fail(replicas, "a", 3)
    clock.now += 5.1
    held = [replicas.take() for _ in range(8)]
    assert [lease.url for lease in held].count("a") == 1
    clock.now += TRIAL_SECONDS
    assert [replicas.take().url for _ in range(8)].count("a") == 1
    trial = next(lease for lease in held if lease.url == "a")
    replicas.give_back(trial, reached=True)
    assert {replicas.take().url for _ in range(4)} == {"a"}


def test_failures_of_requests_sent_before_the_rest_do_not_lengthen_it():
    clock = Clock()
    replicas = Replicas(["a", "b"], clock)
    held = [lease for lease in (replicas.take() for _ in range(40)) if lease.url == "a"]
    for lease in held:
        replicas.give_back(lease, reached=False)
    clock.now += 5.1
    assert "a" in urls(replicas, 40)


def test_an_answer_to_a_request_sent_before_the_rest_ends_it():
    replicas = Replicas(["a", "b"], Clock())
    held = [lease for lease in (replicas.take() for _ in range(8)) if lease.url == "a"]
    for lease in held[:3]:
        replicas.give_back(lease, reached=False)
    assert set(urls(replicas, 4)) == {"b"}
    replicas.give_back(held[3], reached=True)
    assert "a" in urls(replicas, 8)


def test_where_all_are_out_the_least_recently_failed_is_used():
    clock = Clock()
    replicas = Replicas(["a", "b", "c"], clock)
    held = [replicas.take() for _ in range(9)]
    for url in ("b", "c", "a"):
        clock.now += 0.1
        for lease in held:
            if lease.url == url:
                replicas.give_back(lease, reached=False)
    lease = replicas.take()
    assert lease.url == "b"
    clock.now += 0.1
    replicas.give_back(lease, reached=False)
    assert replicas.take().url == "c"


def test_a_lone_replica_is_never_refused():
    replicas = Replicas(["a"], Clock())
    for _ in range(20):
        lease = replicas.take()
        assert lease.url == "a"
        replicas.give_back(lease, reached=False)


@pytest.mark.parametrize("reached", [True, False, None])
def test_what_is_given_back_is_no_longer_in_flight(reached):
    replicas = Replicas(["a"])
    lease = replicas.take()
    assert lease.replica.in_flight == 1
    replicas.give_back(lease, reached=reached)
    assert lease.replica.in_flight == 0


@given(st.lists(st.tuples(st.sampled_from(["take", "ok", "fail", "unknown"]), st.integers(0, 7), st.floats(0, 20))))
def test_whatever_happens_requests_are_counted_and_rests_are_kept(steps):
    clock = Clock()
    replicas = Replicas(["a", "b", "c"], clock)
    held = []
    for step, which, seconds in steps:
        clock.now += seconds
        if step == "take":
            out = {r.url for r in replicas._replicas if r.rests_until is not None and clock.now < r.rests_until}
            lease = replicas.take()
            assert lease.url not in out or len(out) == 3
            held.append(lease)
        elif held:
            replicas.give_back(held.pop(which % len(held)), {"ok": True, "fail": False, "unknown": None}[step])
        for replica in replicas._replicas:
            assert replica.in_flight == sum(lease.url == replica.url for lease in held)
            assert replica.rest_seconds <= LONGEST_REST_SECONDS
