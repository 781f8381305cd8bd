"""With how few texts a verdict stands, from what was measured and from what was stored of it."""

from contextlib import asynccontextmanager

import numpy as np
import orjson
import pytest
from toy import Model

from evalkit.endpoint.settings import ClientSettings
from evalkit.examine.probe import Plan, Side, neutral_prompts, run_probe
from evalkit.examine.probe_report import FORWARD, assess, enough, sequences
from evalkit.model import Verdict
from tests.support.validation import load

read_findings = load("stored_probes").read_findings

PLAN = Plan(neutral_prompts(24), tokens=30, greedy=0)


def side(server, name):
    @asynccontextmanager
    async def opened():
        yield ClientSettings((server.url,), "toy")

    return Side(name, opened)


@pytest.fixture
def probed(toy):
    async def run(candidate):
        one, other = toy("vllm"), toy("vllm", model=candidate)
        return await run_probe(side(one, "ref"), side(other, "cand"), PLAN)

    return run


@pytest.mark.parametrize("candidate", [Model(noise=0.3), Model(template="plain"), Model(noise=0.005)])
async def test_the_fewest_texts_give_the_verdict_one_less_does_not_and_all_more_do(probed, candidate):
    findings = await probed(candidate)
    final = assess(findings).verdict
    found = enough(findings)
    assert final in {Verdict.DEGRADED, Verdict.EQUIVALENT}
    assert 8 <= found.texts < 24
    assert assess(findings.first(found.texts - 1)).verdict is not final
    assert all(assess(findings.first(count)).verdict is final for count in range(found.texts, 25))
    assert assess(findings.first(found.texts)).comparisons[FORWARD].tokens == found.tokens >= 200


async def test_a_probe_that_cannot_be_judged_has_no_such_number(probed):
    assert enough((await probed(Model())).first(7)) is None


async def test_what_is_stored_says_the_same(probed):
    findings = await probed(Model(noise=0.3))
    stored = read_findings(orjson.loads(orjson.dumps(entry)) for entry in sequences(findings))
    again = assess(stored)
    assert (again.verdict, again.reasons, again.margins_nats) == (
        assess(findings).verdict,
        assess(findings).reasons,
        assess(findings).margins_nats,
    )
    assert enough(stored) == enough(findings)


async def test_prompts_that_differ_and_impossible_tokens_are_stored_too(probed):
    findings = await probed(Model(template="plain", broken=-np.inf))
    stored = assess(read_findings(orjson.loads(orjson.dumps(entry)) for entry in sequences(findings)))
    assert stored.other_prompts == assess(findings).other_prompts > 0
    assert stored.comparisons[FORWARD].events == assess(findings).comparisons[FORWARD].events
