"""The map of regimes: where faults of engines begin is found within a factor of two, and right engines are left alone."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from toy import Model

from evalkit.examine import sweep
from evalkit.examine.divergence import ScoredText
from evalkit.examine.regimes import figures, in_pieces, names, until_they_part
from evalkit.model import Verdict

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "museum"))
import sweep as museum
from engine import Engine, OtherKernels

FAULTS = {kind.__module__.rpartition(".")[2]: kind for kind in museum.faults()}


def of(name, server):
    return museum.side(name, str(server.make_url("/v1")))


def places(made):
    return {one.regime: one for one in made.places}


@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_a_fault_is_found_in_its_regime_and_where_it_begins_within_a_factor_of_two(name):
    fault = FAULTS[name](3)
    candidate = Engine(fault, chunk=getattr(fault, "chunk", 512))
    made = await museum.mapped(candidate, 3, (fault.regime,))
    place = places(made)[fault.regime]
    assert (made.verdict, place.verdict) == (Verdict.DEGRADED, Verdict.DEGRADED), made.document()
    if fault.switch:
        assert 1 / museum.FACTOR <= place.begins / fault.switch <= museum.FACTOR, place.where
    alike = {one.regime for one in made.places if one.verdict is Verdict.EQUIVALENT}
    assert alike == set(places(made)) - {fault.regime} or fault.regime == "decode", made.document()


async def test_a_right_engine_is_alike_in_every_regime_and_the_map_says_what_was_reached():
    made = await museum.mapped(Engine(OtherKernels(5), chunk=300), 5)
    found = places(made)
    assert set(found) == set(names()), "every regime is on the map"
    asked = {name: one.verdict for name, one in found.items() if not name.startswith("picture")}
    assert set(asked.values()) == {Verdict.EQUIVALENT}, made.document()
    assert made.verdict is Verdict.EQUIVALENT
    assert found["batch"].counted["running"] > 1
    assert found["hit"].counted["hits"] > 0
    assert found["preemption"].counted["preemptions"] > 0
    assert found["picture-count"].verdict is None
    assert "logprobs" in found["picture-count"].where
    assert all(
        asked["prompt_tokens"] < 300_000 and asked["completion_tokens"] < 50_000 for asked in made.asked.values()
    )


async def test_a_seed_decides_what_is_asked():
    first, again, other = [
        [replace(one, seconds=0.0, counted={}) for one in (await museum.mapped(Engine(), seed, ("decode",))).places]
        for seed in (1, 1, 2)
    ]
    assert first == again
    engines = [Engine(OtherKernels(0)) for _ in range(2)]
    told = [(await museum.mapped(engine, seed, ("plain",))).places[0].k3 for seed, engine in enumerate(engines)]
    assert told[0] != told[1]
    assert [one.sizes for one in other] == [one.sizes for one in first]


async def test_a_regime_in_which_the_reference_differs_from_itself_is_no_fault_of_the_candidate():
    faulty = FAULTS["concurrency"](1)
    faulty.switch = 20
    async with TestServer(Engine(faulty).app()) as one, TestServer(Engine(faulty).app()) as other:
        made = await sweep.swept(of("a", one), of("b", other), ("batch",), 1)
    place = places(made)["batch"]
    assert place.verdict is Verdict.INVALID
    assert "the reference differs from itself" in place.where
    assert made.verdict is Verdict.INVALID


async def test_a_sweep_ends_where_its_tokens_are_spent(monkeypatch):
    monkeypatch.setattr(sweep, "LIMITS", {True: (9_000, 5_000), False: (24_000, 5_000)})
    made = await museum.mapped(Engine(), 0, ("prompt",))
    place = places(made)["prompt"]
    assert 0 < len(place.sizes) < 6
    assert "would take more tokens than a sweep may" in place.where
    assert all(asked["prompt_tokens"] <= 24_000 for asked in made.asked.values())


async def test_a_cache_that_counts_no_hit_was_not_reached():
    candidate = Engine()
    candidate._blocks = lambda ids: []
    place = places(await museum.mapped(candidate, 0, ("hit",)))["hit"]
    assert place.verdict is None
    assert "it was not reached: the server's metrics say 0 tokens hit" in place.where


async def test_a_server_that_preempts_nothing_is_not_said_to_be_alike_in_it():
    candidate = Engine(capacity=2_000)
    candidate._held = lambda: 0  # it admits everything, whatever its cache is said to hold
    found = places(await museum.mapped(candidate, 0, ("preemption",)))
    assert found["preemption"].sizes == (50, 100)
    assert found["preemption"].verdict is None
    assert "it was not reached: the server's metrics say 0 preempted" in found["preemption"].where
    assert found["batch"].verdict is Verdict.EQUIVALENT


async def test_llama_cpp_is_asked_within_its_slots_and_says_what_it_cannot_be_asked(toy):
    servers = [toy("llama.cpp"), toy("llama.cpp", model=Model(noise=0.01))]
    sides = [museum.side(name, server.url, 8) for name, server in zip("ab", servers, strict=True)]
    found = places(await sweep.swept(*sides, ("decode", "batch", "preemption", "rare"), 0))
    assert "one-token steps" in found["decode"].where
    assert "how many tokens its KV cache holds" in found["preemption"].where
    assert "no token number above" in found["rare"].where
    assert (found["batch"].verdict, found["batch"].sizes) == (Verdict.EQUIVALENT, (2,)), "it has two slots"


def test_pages_of_metrics_are_read_as_vllm_and_sglang_write_them():
    page = """# HELP vllm:num_preemptions_total Cumulative number of preemptions.
vllm:num_preemptions_total{engine="0",model_name="m"} 3.0
vllm:num_preemptions_total{engine="1",model_name="m"} 4.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 1.28e+03
vllm:cache_config_info{block_size="16",cache_dtype="auto",num_gpu_blocks="2000"} 1.0
vllm:spec_decode_num_draft_tokens_total{engine="0"} 200.0
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 150.0
"""
    told = {"preemptions": 7, "hits": 1280, "capacity": 32000, "drafted": 200, "accepted": 150}
    assert figures(page) == told
    assert figures('sglang:num_running_reqs{model_name="m"} 5.0\nsglang:max_total_num_tokens 9000\n') == {
        "running": 5,
        "capacity": 9000,
    }
    assert figures("") == {}


def test_answers_are_compared_until_they_part_and_there():
    def said(token, nats, **others):
        tops = [{"token": other, "logprob": value} for other, value in {token: nats, **others}.items()]
        return {"token": token, "logprob": nats, "top_logprobs": tops}

    ours = [said("a", -0.1), said("b", -0.2, c=-1.8), said("d", -0.1)]
    theirs = [said("a", -0.3), said("c", -0.4, b=-1.2), said("e", -0.1)]
    first, second = until_they_part(ours, theirs)
    assert (first.logprobs, second.logprobs) == ([-0.1, -0.2], [-0.3, -1.2])


def test_texts_are_judged_in_pieces():
    pieces = in_pieces([ScoredText([0.0] * 70), ScoredText([0.0] * 55), ScoredText([0.0] * 15)])
    assert [len(one.logprobs) for one in pieces] == [32, 32, 32, 23]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (sweep.Place("prompt", Verdict.DEGRADED, begins=8192, right=4096), "from 8,192 tokens on (4,096 is right)"),
        (sweep.Place("batch", Verdict.DEGRADED, begins=64, right=32, ends=64), "33 to 64 in flight"),
        (sweep.Place("hit", Verdict.DEGRADED, begins=64), "from the smallest size on (64 tokens)"),
        (sweep.Place("rare", Verdict.EQUIVALENT, sizes=(2000, 9000)), "2,000 to 9,000 as token number"),
        (sweep.Place("batch", None, "one slot"), "one slot"),
    ],
)
def test_where_a_regime_begins_is_said(place, words):
    assert place.where == words


class Painter:
    """A model that sees pictures: another one where its `wrong` says so of how many there are."""

    def __init__(self, wrong=lambda count: False, tokens=60):
        self.wrong, self.tokens = wrong, tokens

    async def chat(self, request):
        body = await request.json()
        urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        rng = random.Random(str(urls))
        content = []
        for position in range(body["max_tokens"]):
            nats = -rng.random() - (0.5 if self.wrong(len(urls)) else 0.0)
            top = [{"token": f"t{position}", "logprob": nats}, {"token": "other", "logprob": -3.0}]
            content.append({"token": f"t{position}", "logprob": nats, "top_logprobs": top})
        choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "logprobs": {"content": content}}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": self.tokens * len(urls)}})


@pytest.mark.parametrize(
    ("candidate", "begins", "note"),
    [
        (Painter(), None, ""),
        (Painter(lambda count: count > 3), 4, ""),
        (Painter(tokens=64), 1, "the same prompt is counted as 60 and 64 tokens"),
    ],
)
async def test_pictures_are_compared_by_what_is_said_of_them(candidate, begins, note):
    engines = [Engine(), Engine()]
    for engine, painter in zip(engines, (Painter(), candidate), strict=True):
        own = engine.chat

        async def either(request, own=own, painter=painter):
            body = await request.json()
            return await (painter.chat if isinstance(body["messages"][0]["content"], list) else own)(request)

        engine.chat = either
    apps = [engine.app() for engine in engines]
    async with TestServer(apps[0]) as one, TestServer(apps[1]) as other:
        made = await sweep.swept(of("a", one), of("b", other), ("picture-count",), 0)
    place = places(made)["picture-count"]
    assert (place.begins, place.note) == (begins, note)
    assert place.verdict is (Verdict.EQUIVALENT if begins is None else Verdict.DEGRADED)
