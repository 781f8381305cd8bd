"""What the probe draws from the real llama.cpp server (marked llama)."""

import asyncio
import os

import pytest
import weights
from standin import Refused

from evalkit.config import LlamaCppLaunch
from evalkit.endpoint.identity import Native
from evalkit.endpoint.settings import ClientSettings
from evalkit.examine.forcing import Drawing, without_ends
from evalkit.examine.forcing_methods import find_forcer
from evalkit.serve.launch import launched

# As the user has it; other tests point it elsewhere for the rest of the session.
USERS_CACHE = os.environ.get("EVALKIT_CACHE", "")


@pytest.mark.llama
async def test_its_texts_end_before_the_token_that_ends_them(monkeypatch, tmp_path):
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    monkeypatch.setenv("EVALKIT_CACHE", USERS_CACHE)
    try:
        await asyncio.to_thread(weights.fetch, "F16")
    except Refused as error:
        pytest.skip(f"no weights: {error}")
    launch = LlamaCppLaunch(kind="llama_cpp", slots=1)
    async with (
        launched(launch, None, tmp_path / "log") as server,
        Native(ClientSettings((server.base_url,), "smollm2")) as native,
    ):
        (end,) = (await native.post("/tokenize", {"content": "<|im_end|>", "parse_special": True}))["tokens"]
        forcer = await find_forcer(native)
        drawn = []
        for text in ("Say hi.", "Name the capital of France."):
            prompt = await forcer.prompt_ids([{"role": "user", "content": text}])
            drawn += [await forcer.draw(prompt, Drawing(tokens, temperature=0.0, seed=0)) for tokens in (4, 64)]
    assert [text.ended for text in drawn] == [False, True] * 2
    assert [text.ids[-1] == end for text in drawn] == [False, True] * 2
    assert [len(text.ids) for text in without_ends(drawn)] == [len(text.ids) - text.ended for text in drawn]
