"""The number of requests in flight is found: enough for the server, never at the cost of an answer."""

import asyncio
import random

import pytest
import virtual

from evalkit.model import Failure, FailureKind, Prompt, Reply, Request, Usage
from evalkit.run.scheduler import FIRST, MOST, Finder, Pool, PoolSettings, Progress, tokens_of

TOKENS_PER_SECOND = 100.0


class Server:
    """So many slots, a queue before them, answers of very different lengths; refuses or stalls where told to."""

    def __init__(self, slots, seed=0, refuses_above=None, stalls_after=None):
        self.slots = asyncio.Semaphore(slots)
        self.rng = random.Random(seed)
        self.refuses_above = refuses_above
        self.stalls_after = stalls_after
        self.now = self.most = self.refused = 0

    async def ask(self, request):
        if self.refuses_above is not None and self.now >= self.refuses_above:
            self.refused += 1
            return Failure(FailureKind.RATE_LIMITED, "full")
        self.now += 1
        self.most = max(self.most, self.now)
        came = asyncio.get_running_loop().time()
        try:
            async with self.slots:
                if self.stalls_after and asyncio.get_running_loop().time() - came > self.stalls_after:
                    return Failure(FailureKind.STALL, "silent")
                tokens = max(1, int(self.rng.lognormvariate(0, 1.2) * 100))
                await asyncio.sleep(tokens / TOKENS_PER_SECOND)
        finally:
            self.now -= 1
        return Reply("x", "", "stop", Usage(1, tokens), "m", 0.0, raw=b"{}")


def requests(count):
    return [Request(str(n), "s", f"i{n}", 0, Prompt("d"), {}) for n in range(count)]


def search(make, count=3000):
    async def main():
        server, finder, outcomes = make(), Finder(), []
        settings = PoolSettings(retries=50)
        pool = Pool(server, settings, lambda r, o: outcomes.append(o), {"s": Progress()}, finder=finder)
        pool.rng = random.Random(1)
        await pool.run(requests(count))
        return server, finder, outcomes

    return virtual.run(main())


@pytest.mark.parametrize("slots", [8, 32, 48, 64, 100, 256])
@pytest.mark.parametrize("seed", range(3))
def test_every_slot_is_used_and_the_queue_stays_short(slots, seed):
    server, finder, outcomes = search(lambda: Server(slots, seed))
    assert finder.settled
    assert slots <= finder.number < max(2 * slots, FIRST + 1)
    assert server.most <= 2 * finder.number, "one step too far is what it takes to know"
    assert len(outcomes) == 3000
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert "tokens/s" in finder.sentence


def test_the_search_ends_at_a_bound():
    server, finder, _ = search(lambda: Server(10_000), count=6000)
    assert (finder.number, server.most) == (MOST, MOST)
    assert "the most that is tried" in finder.sentence


@pytest.mark.parametrize("limit", [1, 2, 5, 20, 31, 40, 63, 100, 116, 250, 500])
@pytest.mark.parametrize("seed", range(2))
def test_a_servers_own_limit_is_closed_in_on(limit, seed):
    """The server could do more at a time than it lets in."""
    server, finder, outcomes = search(lambda: Server(10_000, seed, refuses_above=limit), count=6000)
    assert finder.settled
    assert limit - max(1, limit // 5) <= finder.number <= limit
    assert "were refused (429)" in finder.sentence
    assert len(outcomes) == 6000
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert server.refused <= 0.02 * 6000 + 2 * limit + FIRST


def test_slots_before_a_servers_limit_end_the_search_as_ever():
    """64 slots, and refusals only far beyond them: the queue between the two is not worth filling."""
    _, finder, _ = search(lambda: Server(64, refuses_above=300))
    assert finder.number <= 128
    assert "tokens/s" in finder.sentence


def test_refusals_after_the_search_are_kept_few():
    """A limit that falls while the run goes on: fewer in flight, and an occasional try for more."""

    def lowered():
        server = Server(10_000, refuses_above=100)
        asyncio.get_running_loop().call_later(200, setattr, server, "refuses_above", 50)
        return server

    server, finder, outcomes = search(lowered, count=20_000)
    assert finder.number > 70
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert server.refused < 0.03 * 20_000


def test_stalls_end_the_search_and_no_answer_is_lost():
    _, finder, outcomes = search(lambda: Server(8, stalls_after=5.0), count=600)
    assert finder.settled
    assert finder.number <= FIRST
    assert all(isinstance(outcome, Reply) for outcome in outcomes)


def test_few_answers_leave_the_number_open():
    _, finder, _ = search(lambda: Server(64), count=5)
    assert not finder.settled
    assert "too few" in finder.sentence


def test_a_second_side_follows_the_first_and_decides_nothing():
    async def main():
        finder = Finder()
        leader, follower = Server(64), Server(8, seed=1)
        done = {"leader": [], "follower": []}
        pools = [
            Pool(
                server,
                PoolSettings(),
                lambda r, o, n=name: done[n].append(o),
                {"s": Progress()},
                finder=finder,
                leads=leads,
            )
            for name, server, leads in (("leader", leader, True), ("follower", follower, False))
        ]
        await asyncio.gather(*(pool.run(requests(1500)) for pool in pools))
        return finder, leader, follower, done

    finder, leader, follower, done = virtual.run(main())
    assert finder.number == 64
    assert follower.most == leader.most, "the follower's slots alone would have ended the search at 32"
    assert [len(outcomes) for outcomes in done.values()] == [1500, 1500]


def test_a_number_that_was_found_before_is_kept():
    async def main():
        server, finder = Server(10_000), Finder(48, settled=True, why="found when the run was begun")
        await Pool(server, PoolSettings(), lambda r, o: None, {"s": Progress()}, finder=finder).run(requests(500))
        return server, finder

    server, finder = virtual.run(main())
    assert (server.most, finder.number) == (48, 48)


@pytest.mark.parametrize(("counted", "characters", "tokens"), [(7, 400, 7), (None, 400, 100), (0, 0, 1), (None, 3, 1)])
def test_tokens_are_estimated_where_the_server_counts_none(counted, characters, tokens):
    assert tokens_of(counted, characters) == tokens
