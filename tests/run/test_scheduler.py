"""Every request ends exactly once, as a reply or a named failure, whatever the endpoint does. Time is virtual."""

import asyncio
import random
import re
from collections import Counter
from dataclasses import replace

import pytest
import virtual

from evalkit.errors import EndpointError, StorageError
from evalkit.model import Failure, FailureKind, Prompt, Reply, Request, Usage
from evalkit.run import scheduler
from evalkit.run.scheduler import Pool, PoolSettings, Progress

QUICK = PoolSettings(concurrency=8, backoff_seconds=0.001, backoff_limit_seconds=0.004, outage_seconds=5.0)
GOOD = Reply("x", "", "stop", Usage(1, 2), "m", 0.0, raw=b"{}")


def requests(count, suite="s"):
    return [Request(f"{suite}{n}", suite, f"i{n}", 0, Prompt("d"), {}) for n in range(count)]


class Scripted:
    """An endpoint that answers by a function of (request, number of this request's attempt)."""

    def __init__(self, script):
        self.script = script
        self.tries = Counter()
        self.most = self.now = 0

    async def ask(self, request):
        self.tries[request.key] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            outcome = self.script(request, self.tries[request.key])
            if asyncio.iscoroutine(outcome):
                outcome = await outcome
            return outcome
        finally:
            self.now -= 1


async def run(script, wanted, settings=QUICK, suites=("s",)):
    outcomes = []
    client = Scripted(script)
    progress = {suite: Progress(planned=len(wanted)) for suite in suites}
    pool = Pool(client, settings, lambda r, o: outcomes.append((r.key, o)), progress, rng=random.Random(0))
    try:
        await asyncio.wait_for(pool.run(wanted), 30)
    finally:
        assert len({key for key, _ in outcomes}) == len(outcomes), "an outcome was handed over twice"
    return dict(outcomes), client, progress


def fail(kind, **more):
    return Failure(kind, "why", **more)


@virtual.time
async def test_all_answers_come_back_and_no_more_are_in_flight_than_allowed():
    outcomes, client, progress = await run(lambda r, n: GOOD, requests(100))
    assert len(outcomes) == 100
    assert client.most == 8
    assert progress["s"].done == 100
    assert progress["s"].completion_tokens == 200


@pytest.mark.parametrize(
    "kind", [kind for kind in FailureKind if kind.retryable and kind is not FailureKind.RATE_LIMITED]
)
@virtual.time
async def test_a_failure_that_heals_costs_nothing_but_a_try(kind):
    outcomes, client, _ = await run(
        lambda r, n: fail(kind) if n == 1 else GOOD, requests(5), PoolSettings(concurrency=2, backoff_seconds=0.001)
    )
    assert all(isinstance(outcome, Reply) and outcome.attempts == 2 for outcome in outcomes.values())
    assert set(client.tries.values()) == {2}


@virtual.time
async def test_a_failure_that_stays_is_recorded_after_all_tries_and_others_go_on():
    settings = PoolSettings(concurrency=4, retries=3, backoff_seconds=0.001)
    outcomes, client, progress = await run(
        lambda r, n: fail(FailureKind.SERVER_ERROR, status=500) if r.key == "s3" else GOOD, requests(20), settings
    )
    assert outcomes["s3"].kind is FailureKind.SERVER_ERROR
    assert outcomes["s3"].attempts == client.tries["s3"] == 5, "three tries after the first, and the last pass"
    assert (progress["s"].done, progress["s"].failed) == (19, 1)


@virtual.time
async def test_what_failed_is_asked_once_more_when_all_else_is_through():
    left = {f"s{n}" for n in range(100)}

    def script(request, attempt):
        if request.key in {"s3", "s50", "s51"} and len(left) > 3:
            return fail(FailureKind.TIMEOUT)  # as long as others keep the server busy
        left.discard(request.key)
        return GOOD

    settings = PoolSettings(concurrency=4, retries=1, backoff_seconds=0.0)
    outcomes, client, progress = await run(script, requests(100), settings)
    assert all(isinstance(outcome, Reply) for outcome in outcomes.values())
    assert (progress["s"].done, progress["s"].failed) == (100, 0)
    assert client.tries["s3"] == 3


@virtual.time
async def test_half_a_per_cent_of_requests_that_fail_at_first_leave_nothing_missing():
    rng = random.Random(0)
    first = {f"s{n}" for n in range(20_000) if rng.random() < 0.005}
    settings = PoolSettings(concurrency=32, retries=2, backoff_seconds=0.001)
    outcomes, client, _ = await run(
        lambda r, n: fail(FailureKind.SERVER_ERROR, status=500) if r.key in first and n <= 3 else GOOD,
        requests(20_000),
        settings,
    )
    assert len(first) > 80
    assert all(isinstance(outcome, Reply) for outcome in outcomes.values())
    assert sum(client.tries.values()) == 20_000 + 3 * len(first)


@virtual.time
async def test_no_retries_means_that_nothing_is_asked_twice():
    _, client, progress = await run(
        lambda r, n: fail(FailureKind.TIMEOUT), requests(5), PoolSettings(concurrency=2, retries=0)
    )
    assert (progress["s"].failed, sum(client.tries.values())) == (5, 5)


@virtual.time
async def test_what_waits_for_the_last_pass_is_recorded_where_the_endpoint_goes_before():
    def script(request, attempt):
        if request.key == "s0":
            return fail(FailureKind.TIMEOUT)
        return GOOD if int(request.key[1:]) < 50 else fail(FailureKind.CONNECTION)

    outcomes = []
    settings = PoolSettings(concurrency=2, retries=1, backoff_seconds=0.001, outage_seconds=1.0)
    pool = Pool(
        Scripted(script), settings, lambda r, o: outcomes.append((r.key, o)), {"s": Progress()}, rng=random.Random(0)
    )
    with pytest.raises(EndpointError):
        await pool.run(requests(60))
    assert dict(outcomes)["s0"].kind is FailureKind.TIMEOUT


@virtual.time
async def test_a_failure_says_how_long_ago_it_was_first_sent():
    settings = PoolSettings(concurrency=1, retries=3, backoff_seconds=0.8)
    outcomes, _client, _progress = await run(
        lambda r, n: fail(FailureKind.SERVER_ERROR, status=500), requests(1), settings
    )
    assert 2.8 <= outcomes["s0"].since_seconds <= 5.7, "the waits between the attempts, and no more"


@virtual.time
async def test_a_4xx_that_will_not_heal_is_recorded_at_once():
    outcomes, client, _ = await run(lambda r, n: fail(FailureKind.BAD_REQUEST) if r.key == "s0" else GOOD, requests(9))
    assert client.tries["s0"] == 1
    assert outcomes["s0"].kind is FailureKind.BAD_REQUEST


@pytest.mark.parametrize(("wait", "most"), [(None, 660.0), (5.0, 660.0), (600.0, 2500.0)])
@virtual.time
async def test_a_last_request_that_always_gets_429_is_no_endless_wait(wait, most):
    poison = {"s40", "s77"}
    outcomes, client = (
        [],
        Scripted(lambda r, n: fail(FailureKind.RATE_LIMITED, retry_after=wait) if r.key in poison else GOOD),
    )
    pool = Pool(client, PoolSettings(concurrency=4), lambda r, o: outcomes.append((r.key, o)), {"s": Progress()})
    await pool.run(requests(100))
    failed = {key: outcome for key, outcome in outcomes if isinstance(outcome, Failure)}
    assert failed.keys() == poison
    assert {failure.kind for failure in failed.values()} == {FailureKind.RATE_LIMITED}
    assert len(outcomes) == 100
    assert 600.0 <= asyncio.get_running_loop().time() < most


@virtual.time
async def test_an_endpoint_that_only_gives_429s_is_given_up_and_one_that_comes_back_is_not():
    def script(until):
        def ask(request, _attempt):
            limited = int(request.key[1:]) >= 20 and asyncio.get_running_loop().time() < until
            return fail(FailureKind.RATE_LIMITED, retry_after=300.0) if limited else GOOD

        return ask

    outcomes = []
    pool = Pool(
        Scripted(script(1e9)), PoolSettings(concurrency=4), lambda r, o: outcomes.append((r.key, o)), {"s": Progress()}
    )
    with pytest.raises(EndpointError, match=r"why \(no answer for (9|1[0-3])\d\d s\); what was answered is kept"):
        await pool.run(requests(200))
    assert sum(isinstance(outcome, Reply) for _key, outcome in outcomes) == 20
    started = asyncio.get_running_loop().time()
    back = Pool(
        Scripted(script(started + 550.0)),
        PoolSettings(concurrency=4),
        lambda r, o: outcomes.append((r.key, o)),
        {"s": Progress()},
    )
    outcomes.clear()
    await back.run(requests(200))
    assert all(isinstance(outcome, Reply) for _key, outcome in outcomes)


@virtual.time
async def test_429s_are_waited_through_while_a_long_answer_is_on_its_way():
    async def script(request, _attempt):
        if request.key == "s0":
            await asyncio.sleep(3000.0)
            return GOOD
        limited = asyncio.get_running_loop().time() < 2900.0
        return fail(FailureKind.RATE_LIMITED, retry_after=60.0) if limited else GOOD

    outcomes = []
    pool = Pool(Scripted(script), PoolSettings(concurrency=4), lambda r, o: outcomes.append(o), {"s": Progress()})
    await pool.run(requests(30))
    assert all(isinstance(outcome, Reply) for outcome in outcomes)


@virtual.time
async def test_429s_cost_no_try_and_lower_the_number_in_flight():
    room = 3
    busy = 0

    async def script(request, attempt):
        nonlocal busy
        if busy >= room:
            return fail(FailureKind.RATE_LIMITED)
        busy += 1
        await asyncio.sleep(0.002)
        busy -= 1
        return GOOD

    settings = PoolSettings(concurrency=16, retries=0, backoff_seconds=0.001)
    outcomes, client, _progress = await run(script, requests(200), settings)
    assert all(isinstance(outcome, Reply) for outcome in outcomes.values())
    assert sum(client.tries.values()) <= 200 + 16 + 8, "the pool learns how much the server takes"


@virtual.time
async def test_retry_after_holds_the_whole_pool():
    times = []
    loop = asyncio.get_running_loop()

    def script(request, attempt):
        times.append(loop.time())
        return fail(FailureKind.RATE_LIMITED, retry_after=0.2) if len(times) == 1 else GOOD

    outcomes, _, _ = await run(script, requests(3), PoolSettings(concurrency=1, backoff_seconds=0.001))
    assert len(outcomes) == 3
    assert times[1] - times[0] >= 0.19


@virtual.time
async def test_a_long_hold_is_told_to_the_one_who_waits(monkeypatch):
    monkeypatch.setattr(scheduler, "_LONG_HOLD_SECONDS", 0.05)
    said = []

    def script(request, attempt):
        said.append(progress["s"].waits_for)
        return fail(FailureKind.RATE_LIMITED, retry_after=0.05) if attempt == 1 else GOOD

    outcomes, progress = [], {"s": Progress()}
    await Pool(Scripted(script), QUICK, lambda _r, o: outcomes.append(o), progress).run(requests(1))
    assert said == ["", "endpoint asks to be left alone for 0 s: why"]
    assert progress["s"].waits_for == ""


AWAY = [
    fail(FailureKind.CONNECTION),
    fail(FailureKind.SERVER_ERROR, status=502),  # a gateway whose server is gone
    fail(FailureKind.SERVER_ERROR, status=503, retry_after=0.001),  # a server that still loads its model
]


@pytest.mark.parametrize("failure", AWAY, ids=["refused", "502", "503"])
@virtual.time
async def test_an_endpoint_that_restarts_is_waited_for_without_using_up_tries(failure):
    down = {"left": 60}
    said = set()

    def script(request, attempt):
        if request.key != "s0" and down["left"] > 0:
            down["left"] -= 1
            said.add(progress["s"].waits_for)
            return failure
        return GOOD

    settings = PoolSettings(concurrency=8, retries=2, backoff_seconds=0.001, backoff_limit_seconds=0.002)
    outcomes, progress = [], {"s": Progress()}
    pool = Pool(Scripted(script), settings, lambda _r, o: outcomes.append(o), progress, rng=random.Random(0))
    await asyncio.wait_for(pool.run(requests(30)), 30)
    assert [type(outcome) for outcome in outcomes] == [Reply] * 30
    assert said == {"", "waiting for endpoint to come back: why"}
    assert progress["s"].waits_for == "", "it is back"


@virtual.time
async def test_servers_that_are_merely_faulty_are_not_waited_for():
    settings = PoolSettings(concurrency=8, retries=2, backoff_seconds=0.001, backoff_limit_seconds=0.002)
    outcomes, client, progress = await run(
        lambda r, n: fail(FailureKind.SERVER_ERROR, status=500), requests(30), settings
    )
    assert set(client.tries.values()) == {4}
    assert progress["s"].waits_for == ""
    assert len(outcomes) == 30


@pytest.mark.parametrize("failure", AWAY, ids=["refused", "502", "503"])
@virtual.time
async def test_an_endpoint_that_is_gone_for_good_ends_the_run_with_what_was_answered_kept(failure):
    kept = []

    def script(request, attempt):
        return GOOD if request.key in {"s0", "s1"} else failure

    settings = PoolSettings(concurrency=4, backoff_seconds=0.001, backoff_limit_seconds=0.002, outage_seconds=0.05)
    pool = Pool(Scripted(script), settings, lambda r, o: kept.append((r.key, o)), {"s": Progress()})
    with pytest.raises(EndpointError, match="no answer for"):
        await asyncio.wait_for(pool.run(requests(50)), 20)
    assert {key for key, outcome in kept if isinstance(outcome, Reply)} == {"s0", "s1"}


@virtual.time
async def test_a_run_of_permanent_failures_stops_the_suite_and_only_it():
    settings = PoolSettings(concurrency=1, permanent_failures_to_stop=5)
    wanted = [*requests(20, "bad"), *requests(20, "good")]
    outcomes, client, progress = await run(
        lambda r, n: fail(FailureKind.CONTEXT_OVERFLOW) if r.suite == "bad" else GOOD, wanted, settings, ("bad", "good")
    )
    assert sum(1 for key in client.tries if key.startswith("bad")) == 5
    assert "context_overflow" in progress["bad"].stopped
    assert progress["good"].done == 20
    assert sum(isinstance(outcome, Failure) for outcome in outcomes.values()) == 20


@pytest.mark.parametrize("kind", [FailureKind.AUTH, FailureKind.NOT_FOUND])
@virtual.time
async def test_an_endpoint_that_refuses_everything_is_left_at_once(kind):
    client = Scripted(lambda r, n: fail(kind))
    pool = Pool(client, QUICK, lambda r, o: None, {"s": Progress()})
    with pytest.raises(EndpointError, match="refuses every request"):
        await asyncio.wait_for(pool.run(requests(1000)), 20)
    assert sum(client.tries.values()) <= 4 + QUICK.concurrency, "the first ones, and a greeting"
    assert client.tries["greeting"] == 1


@pytest.mark.parametrize("concurrency", [1, 8])
@virtual.time
async def test_questions_that_a_filter_refuses_fail_alone_even_where_they_come_first(concurrency):
    settings = PoolSettings(concurrency=concurrency, backoff_seconds=0.001)
    outcomes, client, progress = await run(
        lambda r, n: fail(FailureKind.AUTH) if r.key in {f"s{n}" for n in range(9)} else GOOD, requests(200), settings
    )
    assert [key for key, outcome in outcomes.items() if isinstance(outcome, Failure)] == [f"s{n}" for n in range(9)]
    assert client.tries["s0"] == 1
    assert client.tries["greeting"] <= 1
    assert progress["s"].stopped == ""


@virtual.time
async def test_an_endpoint_that_answered_is_not_left_for_refusals():
    outcomes, client, progress = await run(
        lambda r, n: fail(FailureKind.AUTH) if r.suite == "b" else GOOD,
        [*requests(20), *requests(50, "b"), *requests(20, "c")],
        suites=("s", "b", "c"),
    )
    assert sum(isinstance(outcome, Reply) for outcome in outcomes.values()) == 40
    assert "(auth)" in progress["b"].stopped, "as any suite is whose failures do not heal"
    assert "greeting" not in client.tries


@virtual.time
async def test_a_greeting_that_is_not_refused_says_that_the_endpoint_is_not():
    """Some servers want other parameters than a greeting has: that is no refusal."""

    def script(request, attempt):
        if request.key == "greeting":
            return fail(FailureKind.BAD_REQUEST)
        return fail(FailureKind.AUTH) if int(request.key[1:]) < 5 else GOOD

    outcomes, *_ = await run(script, requests(20), PoolSettings(concurrency=1))
    assert sum(isinstance(outcome, Reply) for outcome in outcomes.values()) == 15


@virtual.time
async def test_of_two_addresses_the_one_that_refuses_is_named_and_its_questions_are_asked_of_the_other():
    turn = Counter()

    def script(request, attempt):
        turn["all"] += 1
        if turn["all"] % 2:
            return fail(FailureKind.AUTH, address="http://bad/v1")
        return replace(GOOD, address="http://good/v1")

    outcomes = []
    pool = Pool(Scripted(script), QUICK, lambda r, o: outcomes.append(o), {"s": Progress()}, name="cand", addresses=2)
    await pool.run(requests(100))
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    (sentence,) = pool.left_out
    assert re.fullmatch(r"cand: http://bad/v1 refused \d+ requests and was left out, others answered: why", sentence)


@virtual.time
async def test_an_address_that_refused_before_the_other_answered_is_named_too():
    def script(request, attempt):
        if request.key != "greeting" and attempt == 1 and int(request.key[1:]) < 4:
            return fail(FailureKind.AUTH, address="http://bad/v1")
        return replace(GOOD, address="http://good/v1")

    pool = Pool(Scripted(script), QUICK, lambda r, o: None, {"s": Progress()}, addresses=2)
    await pool.run(requests(20))
    assert "http://bad/v1 refused 4 requests" in pool.left_out[0]


@virtual.time
@pytest.mark.parametrize("kind", [FailureKind.CONNECTION, FailureKind.SERVER_ERROR])
async def test_of_two_addresses_the_one_that_is_away_to_the_end_is_named_and_one_that_came_back_is_not(kind):
    def pool(back):
        def script(request, attempt):
            number = int(request.key[1:])
            if attempt == 1 and number % 10 == 0:
                return fail(kind, address="http://dead/v1")
            return replace(GOOD, address="http://dead/v1" if back and number == 99 else "http://good/v1")

        return Pool(Scripted(script), QUICK, lambda r, o: None, {"s": Progress()}, name="cand", addresses=2)

    dead, back = pool(back=False), pool(back=True)
    await dead.run(requests(100))
    await back.run(requests(100))
    assert dead.left_out == ["cand: http://dead/v1 failed 10 requests and was left out, others answered: why"]
    assert back.left_out == []


@virtual.time
async def test_two_addresses_that_both_refuse_end_the_run():
    turn = Counter()

    def script(request, attempt):
        turn["all"] += 1
        return fail(FailureKind.AUTH, address=f"http://{turn['all'] % 2}/v1")

    pool = Pool(Scripted(script), QUICK, lambda r, o: None, {"s": Progress()}, addresses=2)
    with pytest.raises(EndpointError, match="refuses every request"):
        await pool.run(requests(100))
    assert pool.left_out == []


@virtual.time
async def test_a_sink_that_cannot_keep_an_answer_stops_the_run():
    def sink(request, outcome):
        raise StorageError("disk full")

    pool = Pool(Scripted(lambda r, n: GOOD), QUICK, sink, {"s": Progress()})
    with pytest.raises(StorageError, match="disk full"):
        await asyncio.wait_for(pool.run(requests(100)), 20)


@pytest.mark.parametrize("seed", range(5))
@virtual.time
async def test_under_any_mix_of_faults_nothing_is_lost_or_doubled(seed):
    rng = random.Random(seed)
    kinds = [None, None, None, *(kind for kind in FailureKind if kind.retryable)]

    def script(request, attempt):
        kind = rng.choice(kinds)
        return GOOD if kind is None or attempt > 6 else fail(kind)

    outcomes, _, progress = await run(script, requests(300))
    assert len(outcomes) == 300
    assert progress["s"].done + progress["s"].failed == 300
    assert all(isinstance(outcome, Reply) for outcome in outcomes.values())


@virtual.time
async def test_what_becomes_due_while_a_slot_lies_down_wakes_it(monkeypatch):
    """The last slot finds nothing due, and by the time it waits, a moment later, it is."""
    park = Pool._park

    async def slowly(self, *arguments):
        asyncio.get_running_loop().pass_by(0.01)  # the delayed request becomes due, while nothing else is on its way
        await park(self, *arguments)

    monkeypatch.setattr(Pool, "_park", slowly)
    settings = PoolSettings(concurrency=1, backoff_seconds=0.004, backoff_limit_seconds=0.004)
    outcomes, _, _ = await run(lambda r, n: GOOD if n > 1 else fail(FailureKind.SERVER_ERROR), requests(5), settings)
    assert all(isinstance(outcome, Reply) for outcome in outcomes.values())
    assert len(outcomes) == 5


def away_for_a_while():
    """A script whose endpoint is down from the 20th question to the 60th attempt."""
    asked = Counter()

    def script(request, attempt):
        asked["all"] += 1
        return fail(FailureKind.CONNECTION) if 20 < asked["all"] <= 60 else GOOD

    return script


async def run_with_looks(*looks):
    """50 requests to an endpoint with an outage; what each look at it gives or raises."""
    outcomes, looked = [], []
    left = list(looks)

    async def look_again():
        looked.append(len(outcomes))
        await asyncio.sleep(0.001)
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    settings = PoolSettings(concurrency=8, backoff_seconds=0.001, backoff_limit_seconds=0.004, outage_seconds=50.0)
    pool = Pool(Scripted(away_for_a_while()), settings, lambda r, o: outcomes.append(o), {"s": Progress()})
    pool.look_again = look_again
    try:
        await pool.run(requests(50))
    finally:
        assert all(isinstance(outcome, Reply) for outcome in outcomes)
    return outcomes, looked


@virtual.time
async def test_an_endpoint_that_was_down_is_looked_at_once_before_it_is_asked_for_more():
    outcomes, looked = await run_with_looks(None)
    assert len(outcomes) == 50
    assert looked == [20]


@virtual.time
async def test_an_endpoint_that_is_not_there_at_the_second_look_is_still_down():
    outcomes, looked = await run_with_looks(fail(FailureKind.CONNECTION), fail(FailureKind.CONNECTION), None)
    assert len(outcomes) == 50
    assert looked == [20, 20, 20], "what it answered in between was not kept"


@virtual.time
async def test_another_endpoint_after_an_outage_ends_the_run():
    with pytest.raises(EndpointError, match="another model"):
        await run_with_looks(EndpointError("another model"))


@virtual.time
async def test_cancelling_ends_at_once():
    async def forever(request, attempt):
        await asyncio.Event().wait()

    pool = Pool(Scripted(forever), QUICK, lambda r, o: None, {"s": Progress()})
    task = asyncio.create_task(pool.run(requests(100)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
