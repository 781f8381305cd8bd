"""Bisecting on toy servers whose operators are switches: 400 of them, real requests and probes, no processes."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from toy import Model

from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import EndpointError, LaunchError
from evalkit.examine.bisect import Bench, Result, most_tests, run
from evalkit.examine.probe import Plan, Side, neutral_prompts
from evalkit.model import Verdict, said

NAMES = [f"op{number:03}" for number in range(400)]
PLAN = Plan(neutral_prompts(8), tokens=48, greedy=0)
CLEAN, NOISY = Model(), Model(noise=0.4)
"""Shared by all servers, because a model remembers what it has computed."""


class Stand:
    """Candidates by the set that is on; counts those that were started, and those that are up."""

    def __init__(self, toy, guilty=(), crashes=lambda on, start: False):
        self.good, self.bad = toy("vllm", model=CLEAN), toy("vllm", model=NOISY)
        self.guilty, self.crashes = set(guilty), crashes
        self.started, self.up, self.most_up = [], 0, 0

    def reference(self):
        return self.side("ref", self.good)

    def candidate(self, on):
        return self.side("cand", self.bad if on & self.guilty else self.good, on)

    def side(self, name, server, on=None):
        @asynccontextmanager
        async def opened():
            if on is not None:
                self.started.append(on)
                self.up += 1
                self.most_up = max(self.most_up, self.up)
            try:
                if on is not None and self.crashes(on, self.started.count(on)):
                    raise LaunchError("`serve` ended with exit code 9")
                yield ClientSettings((server.url,), "toy")
            finally:
                self.up -= on is not None

        return Side(name, opened)

    async def bisect(self, folder, names=NAMES, at_once=1):
        told = []
        bench = Bench(folder, {}, (self.reference(), self.candidate), PLAN, lambda: 0.0)
        bisected = await run(names, bench, lambda number, result: told.append((number, result)), 16, at_once)
        assert [number for number, _ in told] == list(range(1, len(bisected.results) + 1))
        return bisected


@pytest.mark.parametrize(
    ("guilty", "at_once"),
    [(["op217"], 1), (["op003", "op398"], 1), (["op000", "op199", "op200"], 1), (["op217"], 5)],
)
async def test_guilty_switches_of_400_are_found_within_the_bound(toy, tmp_path, guilty, at_once):
    stand = Stand(toy, guilty)
    bisected = await stand.bisect(tmp_path, at_once=at_once)
    assert sorted(map(sorted, bisected.found.culprits)) == [[name] for name in guilty]
    assert bisected.found.complete
    assert all(bisected.results[frozenset({name})].verdict is Verdict.DEGRADED for name in guilty)
    assert all(bisected.results[frozenset({name})].k3 > 0.01 for name in guilty)
    assert len(set(stand.started)) == len(stand.started) or at_once > 1
    assert len(bisected.results) <= most_tests(400, len(guilty)) or at_once > 1
    assert stand.most_up == at_once
    assert stand.up == 0


async def test_a_crash_is_believed_when_it_comes_twice(toy, tmp_path):
    stand = Stand(toy, crashes=lambda on, start: "op005" in on)
    bisected = await stand.bisect(tmp_path, NAMES[:8])
    assert bisected.found.culprits == (frozenset({"op005"}),)
    result = bisected.results[frozenset({"op005"})]
    assert (result.kind, result.reasons) == ("crash", (said("`serve` ended with exit code 9"),))
    assert stand.started.count(frozenset({"op005"})) == 2


async def test_a_crash_that_does_not_come_again_is_nobodys_guilt(toy, tmp_path):
    stand = Stand(toy, ["op002"], crashes=lambda on, start: len(on) == 4 and start == 1)
    bisected = await stand.bisect(tmp_path, NAMES[:8], at_once=3)
    assert bisected.found.culprits == (frozenset({"op002"}),)
    assert all(result.kind == "verdict" for result in bisected.results.values())


async def test_a_reference_that_does_not_come_up_ends_it_and_nothing_is_left_running(toy, tmp_path):
    stand = Stand(toy)

    @asynccontextmanager
    async def opened():
        await asyncio.sleep(0)
        raise LaunchError("the reference is not there")
        yield

    bench = Bench(tmp_path, {}, (Side("ref", opened), stand.candidate), PLAN, lambda: 0.0)
    with pytest.raises(EndpointError, match="the reference is not there"):
        await run(NAMES, bench, lambda number, result: None, 16, 7)
    assert stand.started == []
    assert len(asyncio.all_tasks()) == 1


class Told:
    """A bench that knows the verdict of every set."""

    asked, stored, folder = 0, 0, None

    def __init__(self, verdict):
        self.verdict = verdict

    async def measure(self, on):
        await asyncio.sleep(0)
        return Result(tuple(sorted(on)), "verdict", self.verdict(on), ())


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize(("everything", "guilty"), [(Verdict.INCONCLUSIVE, {"op001"}), (Verdict.DEGRADED, {"op006"})])
async def test_what_everything_on_is_says_what_a_failure_is(everything, guilty, at_once):
    """Where all on is only not shown equivalent, so is a failure; with nothing on, only what is worse would be one."""
    names = NAMES[:8]

    def verdict(on):
        worse = everything is Verdict.DEGRADED and "op006" in on
        return Verdict.DEGRADED if worse else Verdict.INCONCLUSIVE if "op001" in on or not on else Verdict.EQUIVALENT

    bisected = await run(names, Told(verdict), lambda _number, _result: None, 16, at_once)
    assert bisected.results[frozenset(names)].verdict is everything
    assert (bisected.found.culprits, bisected.found.complete) == ((frozenset(guilty),), True)


async def test_a_candidate_that_cannot_be_judged_with_nothing_on_ends_it():
    with pytest.raises(EndpointError, match="with nothing on, the candidate cannot be judged"):
        await run(NAMES, Told(lambda on: Verdict.INVALID), lambda _number, _result: None, 16, 3)
    assert len(asyncio.all_tasks()) == 1
