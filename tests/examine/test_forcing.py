"""Each server's way of scoring given tokens gives the model's own numbers, and a way that lies is not believed."""

import numpy as np
import pytest
from toy import END, HALF, Model

from evalkit.endpoint.identity import Native
from evalkit.endpoint.settings import ClientSettings
from evalkit.examine.forcing import Drawing
from evalkit.examine.forcing_methods import CANARY, Unsupported, find_forcer

KINDS = {
    "vllm": "prompt_logprobs of /v1/completions",
    "sglang": "return_logprob of SGLang's /generate",
    "llama.cpp": "logit_bias on llama.cpp's /completion",
}


def native(server):
    return Native(ClientSettings((server.url,), "toy"), pauses_seconds=())


async def found(server, fields=None):
    async with native(server) as connection:
        return await find_forcer(connection, fields)


@pytest.mark.parametrize(("kind", "method"), KINDS.items())
async def test_every_server_gives_the_models_own_numbers(toy, kind, method):
    server = toy(kind, faults={"no_tokenize"})
    model = server.model
    async with native(server) as connection:
        forcer = await find_forcer(connection)
        assert forcer.method == method
        prompt = await forcer.prompt_ids(CANARY)
        assert prompt == tuple(model.prompt(CANARY))
        drawn = await forcer.draw(prompt, Drawing(30, temperature=1.0, seed=3))
        greedy = await forcer.draw(prompt, Drawing(30, temperature=0.0, seed=3))
        scored = await forcer.score(prompt, (*drawn.ids, 7, 9))
    assert END not in drawn.ids[:-1]
    truth = [model.logprobs([*prompt, *drawn.ids[:n]]) for n in range(len(drawn.ids))]
    values = [t[i] for t, i in zip(truth, drawn.ids, strict=True)]
    assert scored.logprobs[: len(drawn.ids)] == pytest.approx(values)
    silent = [kind == "llama.cpp" and token % 16 == HALF for token in drawn.ids]
    assert any(silent) == (kind == "llama.cpp")
    for value, told, none in zip(values, drawn.scores.logprobs, silent, strict=True):
        assert told is None if none else told == pytest.approx(value)
    for values, choice in zip(truth, scored.choices, strict=False):
        best, second = np.sort(values)[::-1][:2]
        assert choice.token == int(np.argmax(values))
        assert choice.gap == pytest.approx(best - second)
    assert greedy.ids == tuple(
        int(np.argmax(model.logprobs([*prompt, *greedy.ids[:n]]))) for n in range(len(greedy.ids))
    )
    assert forcer.completion_tokens > 0
    assert connection.requests < 100


async def test_sampling_that_a_server_would_fill_in_is_sent_explicitly(toy):
    server = toy("vllm", defaults={"top_k": 1, "repetition_penalty": 1.3})
    async with native(server) as connection:
        forcer = await find_forcer(connection)
        prompt = await forcer.prompt_ids(CANARY)
        await forcer.draw(prompt, Drawing(5, temperature=1.0, seed=1))
    sent = server.asked("/v1/completions")[-1]
    assert (sent["top_k"], sent["repetition_penalty"], sent["top_p"], sent["min_p"]) == (-1, 1.0, 1.0, 0.0)


async def test_fields_that_decide_the_prompt_are_passed_on(toy):
    server = toy("vllm")
    await found(server, {"chat_template_kwargs": {"enable_thinking": False}})
    assert all(b["chat_template_kwargs"] == {"enable_thinking": False} for b in server.asked("/v1/chat/completions"))


async def test_tokenize_stands_in_where_chat_returns_no_numbers(toy):
    for kind in ("vllm", "sglang"):
        server = toy(kind, faults={"no_token_ids"})
        assert (await found(server)).method == KINDS[kind]
        assert server.asked("/tokenize")


async def test_echo_stands_in_for_prompt_logprobs(toy):
    server = toy("vllm", faults={"echo_only"})
    async with native(server) as connection:
        forcer = await find_forcer(connection)
        assert forcer.method == "echo of /v1/completions"
        prompt = await forcer.prompt_ids(CANARY)
        drawn = await forcer.draw(prompt, Drawing(12, temperature=1.0, seed=2))
        scored = await forcer.score(prompt, drawn.ids)
    assert len(scored.logprobs) == len(drawn.ids)
    assert scored.logprobs == pytest.approx(drawn.scores.logprobs)


@pytest.mark.parametrize(
    ("kind", "fault", "why"),
    [
        ("vllm", {"ignores_prompt_logprobs", "no_echo"}, "has no prompt_logprobs"),
        ("vllm", {"ignores_prompt_logprobs", "no_echo"}, "does not echo the prompt"),
        ("vllm", {"zeros"}, "every token has the same log-probability"),
        ("vllm", {"constant"}, "every token has the same log-probability"),
        ("vllm", {"positive"}, "is above 0"),
        ("vllm", {"shifted"}, "comes back with other log-probabilities"),
        ("vllm", {"no_token_ids", "no_tokenize"}, "HTTP 404"),
        ("sglang", {"zeros"}, "every token has the same"),
        ("sglang", {"no_token_ids", "no_tokenize"}, "HTTP 404"),
        ("llama.cpp", {"ignores_bias"}, "did not take the token"),
        ("llama.cpp", {"constant"}, "every token has the same"),
        ("transformers", set(), "HTTP 404"),
    ],
)
async def test_a_way_that_lies_is_not_believed(toy, kind, fault, why):
    outcome = await found(toy(kind, faults=fault))
    assert isinstance(outcome, Unsupported)
    assert any(why in reason for reason in outcome.reasons), outcome.reasons


async def test_a_prompt_that_the_chat_endpoint_reads_otherwise_is_noticed(toy):
    server = toy("llama.cpp")

    class Other(Model):
        def prompt(self, messages):
            return [5, *super().prompt(messages)]

    other = Other()
    chat = server.chat
    server.chat = lambda body, crowded: (setattr(server, "model", other), chat(body, crowded))[1]
    outcome = await found(server)
    assert isinstance(outcome, Unsupported)
    assert "the chat endpoint reads 16 tokens where the prompt as token numbers has 15" in outcome.reasons[0]


@pytest.mark.parametrize("broken", [np.nan, -np.inf])
async def test_some_impossible_tokens_are_left_to_the_probe(toy, broken):
    assert not isinstance(await found(toy("vllm", model=Model(broken=broken))), Unsupported)


async def test_a_server_that_is_down_says_so(unused_tcp_port):
    async with Native(ClientSettings((f"http://127.0.0.1:{unused_tcp_port}/v1",), "toy"), pauses_seconds=()) as down:
        outcome = await find_forcer(down)
    assert isinstance(outcome, Unsupported)
    assert "connection refused at" in outcome.reasons[0]
