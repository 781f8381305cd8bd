"""The contract on the real llama.cpp server (marked llama): what it says of it is true, and a server equals itself."""

import asyncio
import os

import pytest
import weights
from standin import Refused

from evalkit.config import EndpointConfig, LlamaCppLaunch
from evalkit.examine import contract
from evalkit.examine.contract import alone, held, signed
from evalkit.model import Verdict
from evalkit.render.words import say
from evalkit.serve.launch import launched

# As the user has it; other tests point it elsewhere for the rest of the session.
USERS_CACHE = os.environ.get("EVALKIT_CACHE", "")
TRUE = {"tools.required"}
"""What is amiss: SmolLM2's template knows no tools, and the server takes `tool_choice: required` and forces no call."""


@pytest.mark.llama
async def test_nothing_but_the_truth_is_said_of_it_and_two_configurations_of_it_are_alike(monkeypatch, tmp_path):
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    monkeypatch.setenv("EVALKIT_CACHE", USERS_CACHE)
    monkeypatch.setattr(contract, "SECONDS", (20, 10))  # what is left out on a slow machine is said
    try:
        await asyncio.to_thread(weights.fetch, "F16")
    except Refused as error:
        pytest.skip(f"no weights: {error}")
    launch = LlamaCppLaunch(kind="llama_cpp", slots=8, threads=2)
    async with launched(launch, None, tmp_path / "log") as server:
        about = {"base_url": server.base_url, "model": "smollm2", "runs": tmp_path}
        configs = [EndpointConfig.model_validate({"name": name, **about}) for name in ("one", "two")]
        sheets = await signed(configs)
    for sheet in sheets:
        print(f"{sheet.requests} requests, {sheet.tokens} tokens, {sheet.seconds:.0f} s, {sheet.left} left out")  # noqa: T201
        assert sheet.requests <= 400
        assert {one.promise for one in alone(sheet) if one.problem} <= TRUE
    made = held(*sheets, "2026-01-01T00:00:00+00:00")
    amiss = [say(row.reasons[0]) for row in made.suites if row.verdict is not Verdict.EQUIVALENT]
    assert made.verdict is Verdict.EQUIVALENT, amiss
