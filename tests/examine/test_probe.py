"""The probe from end to end on toy servers whose true divergence is known."""

from contextlib import asynccontextmanager

import numpy as np
import pytest
from toy import END, Model

from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import EndpointError
from evalkit.examine.probe import (
    NotSupportedError,
    Plan,
    Side,
    neutral_prompts,
    run_probe,
    spread,
    with_second_serving,
)
from evalkit.examine.probe_report import (
    AS_SUITES,
    BACKWARD,
    DRAWN,
    FORWARD,
    OTHERWISE,
    SELF,
    assess,
    document,
    sequences,
)
from evalkit.model import Verdict
from evalkit.render.words import say

PLAN = Plan(neutral_prompts(16), tokens=20, greedy=6)
SHORT = Plan(neutral_prompts(12), tokens=24, greedy=2)


def side(server, name, opened=None, **settings):
    """One endpoint: a server, or several of one."""
    server = server if isinstance(server, tuple) else (server,)

    @asynccontextmanager
    async def open_():
        if opened is not None:
            opened.append(name)
        yield ClientSettings(tuple(one.url for one in server), "toy", **settings)
        if opened is not None:
            opened.append(f"{name} closed")

    return Side(name, open_)


async def probed(toy, reference, candidate, kind="vllm", plan=PLAN, in_turn=False):
    one, other = toy(kind, model=reference), toy(kind, model=candidate)
    findings = await run_probe(side(one, "ref"), side(other, "cand"), plan, in_turn=in_turn)
    return findings, assess(findings)


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
async def test_the_same_model_is_equivalent_to_the_last_digit(toy, kind):
    _findings, report = await probed(toy, Model(), Model(), kind, SHORT)
    assert (report.verdict, report.stops, report.other_prompts) == (Verdict.EQUIVALENT, False, 0)
    assert [reason.code for reason in report.reasons] == ["probe.rare"]
    assert report.margins_nats.k3 == 0.004
    assert all(one.max_abs < 1e-12 for one in report.comparisons.values())
    assert (report.greedy.compared, report.greedy.identical) == (2, 2)


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
@pytest.mark.parametrize("other", ["vllm", "sglang", "llama.cpp"])
async def test_texts_end_before_the_token_that_ends_them_on_every_server(toy, kind, other):
    """Whether a server lists that token or leaves it out."""

    class Brief(Model):
        def logprobs(self, ids):
            values = super().logprobs(ids).copy()
            values[END] += 3.0 * (len(ids) % 11 == 0)
            return values - np.log(np.exp(values).sum())

    plan = Plan(neutral_prompts(12), tokens=40, greedy=12)
    listed, left_out = toy(kind, model=Brief()), toy(other, model=Brief(), faults={"no_end"})
    findings = await run_probe(side(listed, "ref"), side(left_out, "cand"), plan)
    report = assess(findings)
    assert (report.verdict, report.greedy.compared, report.greedy.identical) == (Verdict.EQUIVALENT, 12, 12)
    drawn = [text for material in (findings.reference, findings.candidate) for text in material.texts + material.greedy]
    assert sum(text.ended for text in findings.reference.greedy) > 6
    assert all(END not in text.ids for text in drawn)


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        (Model(noise=0.005), Verdict.EQUIVALENT),
        (Model(noise=0.3), Verdict.DEGRADED),
        (Model(template="plain"), Verdict.DEGRADED),
        (Model(template="greeting"), Verdict.DEGRADED),
        (Model(broken=-np.inf), Verdict.DEGRADED),
        (Model(broken=np.nan), Verdict.DEGRADED),
    ],
)
async def test_verdicts_on_candidates_of_known_distance(toy, candidate, verdict):
    _findings, report = await probed(toy, Model(), candidate)
    assert report.verdict is verdict, report.reasons


async def test_k3_meets_the_true_divergence(toy):
    """Noise of standard deviation s on the logits gives a divergence of about s^2 / 2 * (1 - sum p^2)."""
    plan = Plan(neutral_prompts(48), tokens=24, greedy=0)
    findings, report = await probed(toy, Model(), Model(noise=0.2), plan=plan)
    reference = Model()
    truth = []
    for prompt, text in zip(findings.reference.prompts, findings.reference.texts, strict=True):
        for position in range(len(text.ids)):
            p = np.exp(reference.logprobs([*prompt, *text.ids[:position]]))
            truth.append(0.2**2 / 2 * (1 - np.sum(p**2)))
    assert report.comparisons[FORWARD].k3.point == pytest.approx(np.mean(truth), rel=0.15)
    assert report.comparisons[BACKWARD].k3.point == pytest.approx(np.mean(truth), rel=0.15)
    assert report.comparisons[SELF].max_abs < 1e-12


async def test_a_candidate_whose_reading_and_decoding_disagree_is_found_without_the_reference(toy):
    candidate = toy("vllm")
    scored, other = candidate.scored, Model(noise=0.4)
    candidate.scored = lambda ids: (
        setattr(candidate, "model", other),
        scored(ids),
        setattr(candidate, "model", Model()),
    )[1]
    report = assess(await run_probe(side(toy("vllm"), "ref"), side(candidate, "cand"), PLAN))
    assert report.judged[SELF].verdict is Verdict.DEGRADED
    assert report.judged[BACKWARD].verdict is Verdict.EQUIVALENT
    assert report.verdict is Verdict.DEGRADED


async def test_a_reference_that_does_not_repeat_itself_cannot_be_a_measure(toy):
    reference = toy("vllm")
    scored, seeds = reference.scored, iter(range(10_000))
    reference.scored = lambda ids: (setattr(reference, "model", Model(noise=0.4, noise_seed=next(seeds))), scored(ids))[
        1
    ]
    report = assess(await run_probe(side(reference, "ref"), side(toy("vllm"), "cand"), PLAN))
    assert report.verdict is Verdict.INVALID
    assert "does not repeat itself" in say(report.reasons[0])


async def test_other_prompts_are_named(toy):
    _findings, report = await probed(toy, Model(template="greeting"), Model())
    assert report.other_prompts == 16
    assert say(report.reasons[-1]).startswith("16 of 16 prompts reach the candidate as other tokens")


async def test_other_token_numbers_are_not_compared(toy):
    class Renumbered(Model):
        def prompt(self, messages):
            return [63 - token for token in super().prompt(messages)]

    _findings, report = await probed(toy, Model(), Renumbered())
    assert report.verdict is Verdict.INVALID
    assert "number their tokens differently" in say(report.reasons[0])


async def test_in_turn_only_one_endpoint_is_open_at_a_time(toy):
    opened = []
    one, other = toy("vllm"), toy("vllm")
    findings = await run_probe(side(one, "ref", opened), side(other, "cand", opened), PLAN, in_turn=True)
    assert opened == ["ref", "ref closed", "cand", "cand closed", "ref", "ref closed"]
    assert assess(findings).verdict is Verdict.EQUIVALENT
    assert findings.asked["ref"].requests > findings.asked["cand"].requests


async def test_unsupported_names_the_side_and_the_reason(toy):
    with pytest.raises(NotSupportedError, match=r"cand: the fidelity probe is not supported by .*no prompt_logprobs"):
        await run_probe(
            side(toy("vllm"), "ref"),
            side(toy("vllm", faults={"ignores_prompt_logprobs", "no_echo"}), "cand"),
            PLAN,
        )


async def test_a_few_failures_are_left_out_and_many_end_it(toy):
    for every, ends in ((11, False), (2, True)):
        candidate = toy("vllm")
        completions, count = candidate.completions, iter(range(10_000))

        def failing(body, completions=completions, count=count, every=every):
            if next(count) > 20 and next(count) % every == 0:
                return 400, {"error": {"message": "no room"}}
            return completions(body)

        candidate.completions = failing
        run = run_probe(side(toy("vllm"), "ref"), side(candidate, "cand"), PLAN)
        if ends:
            with pytest.raises(EndpointError, match=r"requests of the fidelity probe failed; the last: .*no room"):
                await run
        else:
            report = assess(await run)
            assert report.comparisons[FORWARD].sequences < 16
            assert report.verdict is Verdict.EQUIVALENT


async def test_the_document_is_json_and_the_sequences_hold_every_number(toy):
    import orjson

    findings, report = await probed(toy, Model(), Model(broken=-np.inf))
    told = orjson.loads(orjson.dumps(document(report, findings, "2026-01-01T00:00:00+00:00", "1")))
    assert (told["verdict"], told["exit_code"]) == ("DEGRADED", 1)
    assert told["comparisons"][FORWARD]["events"]["sudden"] > 0
    assert told["asked"]["cand"]["identity"]["version"] == "0.24.0"
    assert told["asked"]["cand"]["prompt_tokens"] > 0
    entries = sequences(findings)
    assert len(entries) == 16
    orjson.dumps(entries)
    assert len(entries[0]["ids"]["reference"]) == len(entries[0]["reference_on_candidate"])
    assert "-inf" in [value for entry in entries for value in entry["reference_on_candidate"]]


def test_the_neutral_prompts_are_distinct_and_a_spread_keeps_the_ends_apart():
    texts = [messages[0]["content"] for messages in neutral_prompts(65)]
    assert len(set(texts)) == len(texts) == 64
    prompts = neutral_prompts(64)
    assert spread(prompts, 100) == prompts
    assert spread(prompts, 4) == (prompts[0], prompts[16], prompts[32], prompts[48])


def forced(toy, **sampling):
    """A server whose proxy overwrites what texts are drawn with."""
    server = toy("vllm")
    asked = server.sampling
    server.sampling = lambda body: asked(body) | (sampling if body.get("temperature") else {})
    return server


@pytest.mark.parametrize("sampling", [{"temperature": 0.5}, {"top_k": 3}, {"temperature": 1.7}])
async def test_a_sampler_that_is_overwritten_shows_in_the_drawn_texts_alone(toy, sampling):
    plan = Plan(neutral_prompts(40), tokens=20, greedy=8)
    report = assess(await run_probe(side(toy("vllm"), "ref"), side(forced(toy, **sampling), "cand"), plan))
    assert (report.verdict, report.stops) == (Verdict.DEGRADED, False)
    assert {name for name, one in report.judged.items() if one.verdict is Verdict.DEGRADED} == {DRAWN}
    assert abs(report.drawn[DRAWN].z) > 4
    assert report.greedy.unexplained == 0


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama.cpp"])
async def test_texts_are_also_drawn_as_the_suites_draw(toy, kind):
    """Of a server that forgets top_k, which the texts at temperature 1 do not have."""
    plan = Plan(neutral_prompts(32), tokens=20, greedy=0, sampler={"temperature": 0.9, "top_k": 2})
    one, other = toy(kind), toy(kind)
    same = assess(await run_probe(side(one, "ref"), side(toy(kind), "cand"), plan))
    assert (same.verdict, same.drawn[AS_SUITES].z) == (Verdict.EQUIVALENT, 0.0)
    bodies = [body.get("sampling_params", body) for _path, body in one.requests]
    assert sum(body.get("top_k") == 2 and body["temperature"] == 0.9 for body in bodies) == 32
    asked = other.sampling
    other.sampling = lambda body: asked(body) | {"top_k": -1}
    report = assess(await run_probe(side(toy(kind), "ref"), side(other, "cand"), plan))
    assert {name for name, one in report.judged.items() if one.verdict is Verdict.DEGRADED} == {AS_SUITES}


async def test_greedy_texts_that_part_where_nothing_else_differs_are_a_finding(toy):
    other = toy("vllm")
    asked = other.sampling
    other.sampling = lambda body: asked(body) | ({} if body.get("temperature") else {"repetition_penalty": 1.9})
    report = assess(await run_probe(side(toy("vllm"), "ref"), side(other, "cand"), PLAN))
    assert report.verdict is Verdict.EQUIVALENT
    assert report.greedy.unexplained >= 2
    assert any("greedy decoding itself differs" in say(reason) for reason in report.reasons)


async def test_every_address_is_asked_and_the_one_that_differs_is_named(toy):
    plan = Plan(neutral_prompts(32), tokens=20, greedy=0)
    good, bad = [toy("vllm") for _ in range(3)], toy("vllm", model=Model(noise=0.4))
    reference = side((good[0], good[1]), "ref")
    report = assess(await run_probe(reference, side((good[2], bad), "cand"), plan))
    assert report.asked["cand"].addresses == (good[2].url, bad.url)
    assert abs(len(good[0].requests) - len(good[1].requests)) <= 1
    assert report.verdict is Verdict.DEGRADED
    named = [say(reason) for reason in report.reasons if "differs from the other addresses" in say(reason)]
    assert len(named) == 1
    assert named[0].startswith(f"addresses: {bad.url} differs")
    report = assess(await run_probe(side((good[0], bad), "ref"), side(good[2], "cand"), plan))
    assert report.verdict is Verdict.INVALID
    assert [reason.code for reason in report.reasons[:2]] == ["probe.noisy", "probe.address"]
    assert bad.url in say(report.reasons[1])


async def test_the_reference_served_a_second_way_sets_the_margin(toy):
    reference, candidate, second = (
        toy("vllm"),
        toy("vllm", model=Model(noise=0.1)),
        toy("vllm", model=Model(noise=0.06)),
    )
    findings = await run_probe(side(reference, "ref"), side(candidate, "cand"), PLAN)
    alone = assess(findings)
    report = assess(await with_second_serving(findings, side(second, "second")))
    assert alone.margins_nats.k3 == 0.004
    assert report.margins_nats.k3 == pytest.approx(max(0.004, 3 * report.noise[OTHERWISE].k3.point))
    assert report.margins_nats.k3 > 0.0045
    assert report.comparisons[FORWARD] == alone.comparisons[FORWARD]
