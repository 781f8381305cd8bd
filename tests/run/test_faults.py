"""Whatever a server does wrong, every question ends with a score or a named error; none twice, none lost.

The server is faulty.py, in a process of its own; the run is whole: plan, pool, client, journal, grades.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from evalkit.config import load_config
from evalkit.run import execute
from evalkit.run.plan import prepare
from evalkit.run.repair import read_run
from evalkit.run.scheduler import PoolSettings

ITEMS = 60
SHARE = 0.4
TIMES = 2
LIMITS = {"concurrency": 8, "stall_seconds": 30.0, "max_body_mb": 1, "retries": 3, "permanent_failures_to_stop": 1000}
SLOW = {"silent", "loris", "loris_stream", "loris_error"}
STALLS = {"concurrency": 24, "stall_seconds": 1.5}
"""Where a stall is what is tested: all at once, and long enough that no good answer of a busy machine is taken for one."""

HEALS = {
    "500": "server_error",
    "502_html": "server_error",
    "503": "server_error",
    "error_in_200": "malformed",
    "aborted": "server_error",
    "cancelled": "server_error",
    "partial": "malformed",
    "stream_without_reason": "malformed",
    "html": "malformed",
    "half_json": "malformed",
    "not_utf8": "malformed",
    "empty": "malformed",
    "no_choices": "malformed",
    "null": "malformed",
    "not_gzip": "malformed",
    "not_http": "malformed",
    "json_as_stream": "malformed",
    "half_event": "malformed",
    "stream_without_end": "malformed",
    "half_stream": "connection",
    "half_body": "connection",
    "half_chunks": "connection",
    "silent": "stall",
    "loris": "stall",
    "loris_stream": "stall",
    "loris_error": "server_error",
}
"""Faults that asking again may heal, and the name of the error where it does not."""
AWAY = ("dropped", "502_html", "503")
"""What an endpoint that is gone for a while looks like, too: where nothing else is left to ask, it is waited for."""
PERMANENT = {"400": "bad_request", "declared_huge": "too_large", "huge": "too_large", "gzip_bomb": "too_large"}
WHOLE = ("text_plain", "no_type", "stream", "twice")


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch):
    of = PoolSettings.of
    quick = staticmethod(lambda limits: replace(of(limits), backoff_seconds=0.02, backoff_limit_seconds=0.1))
    monkeypatch.setattr(PoolSettings, "of", quick)


def run(config):
    side = prepare(load_config(config))
    (outcome,) = asyncio.run(asyncio.wait_for(execute.run_sides([side], execute.Watch()), 240))
    return outcome, read_run(side.folder).suites["faults"].samples


@pytest.fixture
def asked(request, faulty, questions, ended):
    """Runs against the server with some faults: its outcome, its samples, what its journal holds, the server's count."""

    def ask(*faults, whole=True, **more):
        faulty.plan(*faults)
        limits = LIMITS | (STALLS if SLOW & {fault["kind"] for fault in faults} else {}) | more
        outcome, samples = run(questions(faulty.url, ITEMS, client=getattr(request, "param", "aiohttp"), **limits))
        end = ended(ITEMS)
        end.check(whole=whole)
        assert len(samples) == ITEMS
        return outcome, samples, end, faulty.stats

    return ask


both_clients = pytest.mark.parametrize("asked", ["aiohttp", "openai"], indirect=True)


@both_clients
@pytest.mark.parametrize("kind", HEALS)
def test_what_heals_is_scored_whatever_was_wrong_before(asked, kind):
    outcome, samples, end, stats = asked({"kind": kind, "share": SHARE, "times": TIMES})
    assert (outcome.problem, outcome.failed, end.failures) == (None, 0, [])
    assert samples.status.counts() == {"scored": ITEMS}
    assert samples.value.min() == 1.0
    assert stats["did"][kind] > 10, "the fault was there"
    assert stats["received"] == ITEMS + stats["did"][kind]
    assert stats["answered"] == ITEMS


@pytest.mark.parametrize(("kind", "name"), [one for one in (HEALS | PERMANENT).items() if one[0] not in AWAY])
def test_what_never_heals_is_an_error_with_its_name_and_nobodys_wrong_answer(asked, kind, name):
    retries = 1 if kind in SLOW else LIMITS["retries"]
    outcome, samples, end, stats = asked({"kind": kind, "share": 0.1, "times": -1}, retries=retries)
    lost = stats["questions"] - stats["answered"]
    assert lost > 2
    assert outcome.problem is None
    assert end.kinds == {name: lost}
    assert samples.status.counts() == {"scored": ITEMS - lost, "failed": lost}
    asked_again = 0 if kind in PERMANENT else retries + 1  # the last pass
    assert stats["received"] == ITEMS + lost * asked_again


@both_clients
@pytest.mark.parametrize("kind", WHOLE)
def test_an_unusual_answer_that_is_whole_is_taken_once(asked, kind):
    _, samples, end, stats = asked({"kind": kind, "share": SHARE, "times": 1})
    assert samples.value.min() == 1.0
    assert len(end.replies) == ITEMS
    assert stats["did"][kind] > 10
    assert stats["received"] == ITEMS, "nothing was asked twice"


def test_refusals_for_load_cost_no_answer(asked):
    _, samples, _, stats = asked({"kind": "full", "most": 3})
    assert samples.value.min() == 1.0
    assert stats["did"]["full"] > 3


@both_clients
def test_a_restart_in_mid_run_is_waited_for(asked):
    outcome, samples, _, stats = asked({"kind": "restart", "after": ITEMS // 2, "seconds": 0.5})
    assert outcome.problem is None
    assert samples.value.min() == 1.0
    assert ITEMS < stats["received"] <= ITEMS + 2 * LIMITS["concurrency"], "what was in flight was asked again"


@pytest.mark.parametrize("kind", AWAY)
def test_questions_that_always_look_like_an_outage_take_no_other_with_them(asked, kind):
    outcome, samples, _, stats = asked({"kind": kind, "share": 0.1, "times": -1}, outage_seconds=1.0, whole=False)
    assert samples.status.counts()["scored"] == stats["answered"] == ITEMS - (stats["questions"] - stats["answered"])
    assert outcome.failed > 0
    assert outcome.problem is None or "run again later" in str(outcome.problem)


@both_clients
def test_all_faults_at_once(asked):
    kinds = [*HEALS, *WHOLE]
    faults = [{"kind": kind, "share": 0.8 / len(kinds), "times": TIMES} for kind in kinds]
    outcome, samples, _, _ = asked(*faults, {"kind": "full", "most": 6}, concurrency=8)
    assert outcome.failed == 0
    assert samples.value.min() == 1.0


def test_an_endpoint_that_dies_for_good_ends_the_run_with_what_is_done(mortal, questions, ended, run_evalkit):
    mortal.plan({"kind": "die", "after": 30})
    config = questions(mortal.url, ITEMS, outage_seconds=1.0, concurrency=4)
    done = run_evalkit("run", config, "--quiet", "--json")
    assert done.returncode == 3
    assert "run again later" in done.stderr
    report = json.loads(done.stdout)["suites"][0]
    assert 30 - 4 <= report["valued"] <= 30, "what was answered is kept and graded"
    assert report["mean"] == 1.0
    assert report["planned"] == ITEMS
    kept = ended(ITEMS)
    assert len(kept.replies) == report["valued"]
    assert {record["kind"] for record in kept.failures} <= {"connection"}


def test_a_run_goes_on_where_the_endpoint_died(mortal, questions, ended, run_evalkit):
    mortal.plan({"kind": "die", "after": 30})
    config = questions(mortal.url, ITEMS, outage_seconds=1.0, concurrency=4)
    assert run_evalkit("run", config, "--quiet").returncode == 3
    before = {record["key"] for record in ended(ITEMS).replies}
    port = mortal.port
    with subprocess.Popen([sys.executable, str(mortal.script), str(port)], stdout=subprocess.PIPE, text=True) as again:
        try:
            assert int(again.stdout.readline()) == port
            done = run_evalkit("run", config, "--quiet", "--json")
        finally:
            again.kill()
    assert done.returncode == 0
    assert json.loads(done.stdout)["asked"] == ITEMS - len(before), "no answer was asked for twice"


def test_refused_for_ever_is_said_and_not_scored(faulty, questions, ended, run_evalkit):
    faulty.plan({"kind": "400", "share": 1.0, "times": -1})
    done = run_evalkit("run", questions(faulty.url, ITEMS), "--quiet", "--json")
    assert done.returncode == 3
    report = json.loads(done.stdout)["suites"][0]
    assert (report["valued"], report["mean"]) == (0, None)
    assert report["failures"]["bad_request"] >= 20
    assert "not to my taste" in done.stderr
    ended(ITEMS).check()


def test_a_filter_before_the_server_costs_only_the_questions_that_it_minds(asked):
    outcome, samples, end, _ = asked({"kind": "waf", "share": 0.3, "times": -1})
    lost = end.kinds["auth"]
    assert lost == len(end.failures) > 10
    assert outcome.problem is None
    assert samples.status.counts() == {"scored": ITEMS - lost, "failed": lost}
    assert all("Request blocked" in failure["detail"] for failure in end.failures)


def test_one_address_that_refuses_is_named_while_the_other_answers(faulty, mortal, questions, ended, run_evalkit):
    faulty.plan()
    mortal.plan({"kind": "401", "share": 1.0, "times": -1})
    config = questions(faulty.url, ITEMS, concurrency=8)
    config.write_text(config.read_text().replace(f"base_url: {faulty.url}", f"base_urls: [{mortal.url}, {faulty.url}]"))
    done = run_evalkit("run", config)
    assert done.returncode == 0
    assert f"side: {mortal.url} refused" in done.stderr
    assert "no such key" in done.stderr
    end = ended(ITEMS)
    assert {record["address"] for record in end.replies} == {faulty.url}
    assert not end.failures


def test_one_address_where_nothing_serves_is_named_by_the_run_and_in_its_notes(faulty, questions, ended, run_evalkit):
    faulty.plan()
    dead = "http://127.0.0.1:9/v1"
    config = questions(faulty.url, ITEMS, concurrency=8)
    config.write_text(config.read_text().replace(f"base_url: {faulty.url}", f"base_urls: [{dead}, {faulty.url}]"))
    done = run_evalkit("run", config)
    assert done.returncode == 0
    assert f"side: {dead} failed" in done.stderr
    (note,) = read_run(prepare(load_config(config)).folder).notes
    assert (note.code, note.values["addresses"], note.values["n"]) == ("note.silent", (dead,), ITEMS)
    assert not ended(ITEMS).failures


def test_an_endpoint_that_refuses_everything_is_left_at_once(faulty, questions, run_evalkit):
    faulty.plan({"kind": "401", "share": 1.0, "times": -1})
    done = run_evalkit("run", questions(faulty.url, ITEMS, concurrency=8), "--quiet")
    assert done.returncode == 3
    assert "refuses every request (auth)" in done.stderr
    assert faulty.stats["received"] <= 8 + 3 + 1
