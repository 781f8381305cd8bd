"""Before a suite with pictures: does this endpoint take pictures, and as many in one prompt as the suite's items have?

One tiny request says so, with as many small pictures as the largest item that is still to be asked; a server with a
lower limit would refuse exactly the items with many pictures, one by one. A suite that cannot be asked whole is stopped
with a sentence, and nothing is asked of it. Whatever else is wrong with the endpoint is left to the run itself.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from evalkit.config import EndpointConfig
from evalkit.endpoint.client import Client, ClientSettings, open_client
from evalkit.model import Failure, FailureKind, Item, Prompt, Reply, Request
from evalkit.run.plan import PlannedSuite
from evalkit.run.scheduler import Pool, PoolSettings, Progress

Missing: TypeAlias = list[tuple[PlannedSuite, Item, int]]

SIDE_PIXELS: Final = 64
"""Image processors of Qwen's family refuse pictures smaller than a patch, which is 28 to 32 pixels a side."""
_TRIES: Final = 3
_REFUSALS: Final = frozenset(
    # llama.cpp without a projector answers a picture with HTTP 500.
    {FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE, FailureKind.CONTEXT_OVERFLOW, FailureKind.SERVER_ERROR}
)
_NOT_SENT: Final = frozenset({"stop", "min_tokens", "logprobs"})


@dataclass(frozen=True, slots=True)
class _Probe:
    """Asks tiny questions of one endpoint."""

    config: EndpointConfig
    client: Client

    async def refusal(self, count: int, parameters: Mapping[str, Any]) -> Failure | None:
        """How the server refuses a prompt with `count` pictures; None where it takes it, or where that stays open.

        Raises:
            EndpointError: where the endpoint is gone.
        """
        outcomes: list[Reply | Failure] = []
        limits = self.config.limits
        pool = Pool(
            client=self.client,
            settings=PoolSettings(
                # Eight refusals in a row would count as an outage to be waited for; the few tries here are fewer.
                concurrency=8,
                retries=min(_TRIES, limits.retries),
                outage_seconds=limits.outage_seconds,
            ),
            sink=lambda _request, outcome: outcomes.append(outcome),
            progress={"preflight": Progress(planned=1)},
            name=self.config.name,
        )
        content = [{"type": "image_url", "image_url": {"url": _picture()}}] * count
        message = {"role": "user", "content": [*content, {"type": "text", "text": "Say yes."}]}
        sent = {key: value for key, value in parameters.items() if key not in _NOT_SENT} | {"max_tokens": 1}
        await pool.run([Request("preflight", "preflight", "", 0, Prompt("preflight", messages=(message,)), sent)])
        (outcome,) = outcomes
        return outcome if isinstance(outcome, Failure) and outcome.kind in _REFUSALS else None


async def with_pictures(
    config: EndpointConfig, settings: ClientSettings, missing: Missing, progress: Mapping[str, Progress]
) -> Missing:
    """The samples that this endpoint can be asked; a suite whose pictures it refuses is stopped with a sentence.

    Raises:
        EndpointError: where the endpoint is gone.
    """
    most: dict[str, int] = {}
    suites: dict[str, PlannedSuite] = {}
    for suite, item, _repeat in missing:
        if item.prompt.images:
            suites[suite.name] = suite
            most[suite.name] = max(most.get(suite.name, 0), len(item.prompt.images))
    if not most:
        return missing
    client = open_client(settings, config.client)
    try:
        stopped = await _refused(_Probe(config, client), most, suites)
    finally:
        await client.close()
    for name, sentence in stopped.items():
        progress[name].stopped = sentence
    return [sample for sample in missing if sample[0].name not in stopped] if stopped else missing


async def _refused(probe: _Probe, most: Mapping[str, int], suites: Mapping[str, PlannedSuite]) -> dict[str, str]:
    """The sentence for every suite that the endpoint cannot be asked."""
    refusals: dict[int, Failure] = {}
    parameters: Mapping[str, Any] = {}
    fits = 0
    for count in sorted(set(most.values()), reverse=True):
        parameters = suites[next(name for name in most if most[name] == count)].parameters
        refusal = await probe.refusal(count, parameters)
        if refusal is None:
            fits = count
            break
        refusals[count] = refusal
    if not refusals:
        return {}
    if not fits and min(refusals) > 1 and await probe.refusal(1, parameters) is None:
        fits = 1
    if not fits and await probe.refusal(0, parameters) is not None:
        return {}  # it refuses words as well: the run itself says what is wrong
    return {name: _sentence(count, refusals[count], fits) for name, count in most.items() if count in refusals}


def _sentence(count: int, refusal: Failure, fits: int) -> str:
    if not fits:
        return (
            f"not asked: it needs an endpoint that takes pictures, and this one refuses them ({refusal.detail}): serve "
            "a multimodal model (llama.cpp: with its --mmproj file), or take the suite out"
        )
    return (
        f"not asked: its items have up to {count} pictures in one prompt, and this endpoint refuses so many "
        f"({refusal.detail}): raise the server's limit (vLLM: --limit-mm-per-prompt '{{\"image\": {count}}}'), "
        "the same on both sides"
    )


@cache
def _picture() -> str:
    """A small grey picture as a data URL."""
    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (SIDE_PIXELS, SIDE_PIXELS), "grey").save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getbuffer()).decode("ascii")
