"""Is an endpoint ready for its suites? A look before anything is asked, pictures, and two sides that begin together."""

import asyncio
import base64
import io
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Any, Final

import orjson

from evalkit.config import EndpointConfig
from evalkit.endpoint import open_client
from evalkit.endpoint.body import label
from evalkit.endpoint.echo import continuation_logprob, echoed_logprobs
from evalkit.endpoint.identity import Names, Native, ServedModels, endpoint_identity, served_models, served_unlisted
from evalkit.endpoint.settings import Client, ClientSettings
from evalkit.errors import ConfigError, EndpointError
from evalkit.model import Failure, FailureKind, Prompt, Reply, Request
from evalkit.run.plan import Missing, Plan, PlannedSuite
from evalkit.run.scheduler import Pool, PoolSettings, Progress
from evalkit.tasks.items import by_logprobs


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found: what the first address that answers tells of its software, and what the model is called.

    `weights` has, by address, the path or name of the weights, where the server says it.
    """

    identity: Mapping[str, str]
    names: Names
    weights: Mapping[str, str]


async def look(config: EndpointConfig, plan: Plan, settings: ClientSettings) -> Seen:
    """What the endpoint says of itself, once it answers, serves the model, and has room for the answers.

    Of several addresses one must answer; those that do must all serve the model.

    Raises `EndpointError`: where none answers; `ConfigError`: where one does not serve the model, or its context is too
    small for `max_tokens`.
    """
    each = [replace(settings, base_urls=(url,)) for url in settings.base_urls]
    outcomes = await asyncio.gather(*(_look(config, plan, one) for one in each), return_exceptions=True)
    told = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not (told and isinstance(outcome, EndpointError)):
            raise outcome
    names = reduce(Names.joined, (one.names for one in told), Names(frozenset(config.aliases)))
    return Seen(told[0].identity, names, dict(ChainMap(*(dict(one.weights) for one in told))))


async def look_again(config: EndpointConfig, plan: Plan, settings: ClientSettings, before: Seen) -> Seen | Failure:
    """A look at an endpoint that was down in the middle of a run; a failure where it does not answer yet.

    Raises `EndpointError`: another model is served there now.
    """
    advice = "what was answered before is kept: serve the same model there again and run again"
    try:
        now = await look(config, plan, settings)
    except ConfigError as error:
        raise EndpointError.of(config.name, f"came back from an outage as another server: {error}", advice) from error
    except EndpointError as error:
        return Failure(FailureKind.CONNECTION, error.why or str(error))
    for address, weights in now.weights.items():
        if before.weights.get(address, weights) != weights:
            told = f"{address} came back from an outage with other weights, {weights} after {before.weights[address]}"
            raise EndpointError.of(config.name, told, advice)
    return now


async def _look(config: EndpointConfig, plan: Plan, settings: ClientSettings) -> Seen:
    found = await served_models(settings)
    async with Native(settings, pauses_seconds=()) as native:
        unlisted = await served_unlisted(native, found)
    if isinstance(found, Failure):
        if unlisted or found.kind is FailureKind.NOT_FOUND:
            return _seen(await endpoint_identity(settings), Names(frozenset({config.model})), settings)
        raise EndpointError.of(config.name, found.detail)
    if not unlisted:
        _check_model(config, plan, settings, found)
    identity = await endpoint_identity(settings)
    root = found.root(config.model)
    told = {**identity, **({"root": root} if root else {}), "served": ", ".join(sorted(map(label, found.ids)))}
    return _seen(told, found.names(config.model), settings)


def _seen(identity: Mapping[str, str], names: Names, settings: ClientSettings) -> Seen:
    weights = identity.get("root") or identity.get("model_path")
    return Seen(identity, names, {settings.shown_urls[0]: weights} if weights else {})


def _check_model(config: EndpointConfig, plan: Plan, settings: ClientSettings, found: ServedModels) -> None:
    if found.ids and config.model not in found.ids:
        served = ", ".join(repr(name) for name in sorted(found.ids)[:5])
        raise ConfigError(
            f"{config.where('model') or config.name}: model: {config.model!r} is not served at "
            f"{settings.shown_urls[0]}, which serves {served}"
        )
    context = found.max_model_len.get(config.model)
    for suite in plan.suites:
        limit = suite.parameters.get("max_tokens")
        if context is not None and limit is not None and limit >= context:
            raise ConfigError(
                f"{config.where('sampling.max_tokens') or config.name}: sampling.max_tokens: {suite.name} asks for "
                f"up to {limit} tokens, the whole context is {context}: lower max_tokens, the same on both sides"
            )


async def possible(
    config: EndpointConfig, settings: ClientSettings, missing: Missing, progress: Mapping[str, Progress]
) -> Missing:
    """The samples that this endpoint can be asked: a suite that needs what it lacks is stopped with a sentence.

    Raises `EndpointError`: where the endpoint is gone.
    """
    suites = {suite.name: suite for suite, _item, _repeat in missing}
    by_options = [name for name, suite in suites.items() if by_logprobs(suite.loaded.suite)]
    pictures: dict[str, int] = {}
    for suite, item, _repeat in missing:
        if item.prompt.images:
            pictures[suite.name] = max(pictures.get(suite.name, 0), len(item.prompt.images))
    if not by_options and not pictures:
        return missing
    client = open_client(settings, config.client)
    try:
        lacking = await _no_logprobs(client) if by_options else None
        stopped = {} if lacking is None else dict.fromkeys(by_options, lacking)
        stopped |= await _refused(config, client, pictures, suites)
    finally:
        await client.close()
    for name, sentence in stopped.items():
        progress[name].stopped = sentence
    return [sample for sample in missing if sample[0].name not in stopped] if stopped else missing


async def _no_logprobs(client: Client) -> str | None:
    """Why the endpoint cannot be asked for the log-probabilities of a prompt; None where it can.

    A number that is none, which a server may give to one prompt, is the failure of an item and not of a suite.
    """
    why: str | None = None
    for text in _SCORED:
        why = await _unscored(client, text)
        if why != _NO_NUMBERS:
            break
    return why and (
        f"needs /v1/completions with `echo` and `logprobs`, which this endpoint does not give ({why}): serve the "
        "model with vLLM, or take the suite out"
    )


_NO_NUMBERS: Final = "its reply gives no numbers for the last tokens of the prompt"
_SCORED: Final = (
    "Two and two make four. Three and three make six.",
    "The sun rises in the east and sets in the west.",
    "A week has seven days, and a year has twelve months.",
)


async def _unscored(client: Client, text: str) -> str | None:
    """Why the endpoint does not give the log-probabilities of this prompt; None where it does."""
    parameters = {"max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0.0}
    outcome = await client.ask(Request("probe", "", "", 0, Prompt(digest="probe", text=text), parameters))
    if isinstance(outcome, Failure):
        return outcome.detail
    if not outcome.content.startswith(text):
        return "its reply does not begin with the prompt"
    if not (echo := echoed_logprobs(orjson.loads(outcome.raw))):
        return "its reply has no log-probabilities"
    return _NO_NUMBERS if continuation_logprob(echo, text[-3:]) is None else None


# Before a suite with pictures one tiny request asks whether the endpoint takes as many small ones in a prompt as the
# largest item that is still to be asked has; a server with a lower limit would refuse exactly the items with many, one
# by one. A suite that cannot be asked whole is stopped with a sentence; whatever else is wrong the run itself says.


SIDE_PIXELS: Final = 64
"""Image processors of Qwen's family refuse pictures smaller than a patch, which is 28 to 32 pixels a side."""
_TRIES: Final = 3
_REFUSALS: Final = frozenset(
    # llama.cpp without a projector answers a picture with HTTP 500.
    {FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE, FailureKind.CONTEXT_OVERFLOW, FailureKind.SERVER_ERROR}
)
_NOT_SENT: Final = frozenset({"stop", "min_tokens", "logprobs"})


async def _refusal(config: EndpointConfig, client: Client, count: int, parameters: Mapping[str, Any]) -> Failure | None:
    """How the server refuses a prompt with `count` pictures; None where it takes it, or where that stays open."""
    outcomes: list[Reply | Failure] = []
    pool = Pool(
        client=client,
        settings=PoolSettings(
            # Eight refusals in a row would count as an outage to be waited for; the few tries here are fewer.
            concurrency=8,
            retries=min(_TRIES, config.limits.retries),
            outage_seconds=config.limits.outage_seconds,
        ),
        sink=lambda _request, outcome: outcomes.append(outcome),
        progress={"preflight": Progress(planned=1)},
        name=config.name,
    )
    content = [{"type": "image_url", "image_url": {"url": _picture()}}] * count
    message = {"role": "user", "content": [*content, {"type": "text", "text": "Say yes."}]}
    sent = {key: value for key, value in parameters.items() if key not in _NOT_SENT} | {"max_tokens": 1}
    await pool.run([Request("preflight", "preflight", "", 0, Prompt("preflight", messages=(message,)), sent)])
    (outcome,) = outcomes
    return outcome if isinstance(outcome, Failure) and outcome.kind in _REFUSALS else None


async def _refused(
    config: EndpointConfig, client: Client, most: Mapping[str, int], suites: Mapping[str, PlannedSuite]
) -> dict[str, str]:
    """The sentence for every suite whose pictures the endpoint refuses; `most` are those of its largest prompt."""
    refusals: dict[int, Failure] = {}
    parameters: Mapping[str, Any] = {}
    fits = 0
    for count in sorted(set(most.values()), reverse=True):
        parameters = suites[next(name for name in most if most[name] == count)].parameters
        refusal = await _refusal(config, client, count, parameters)
        if refusal is None:
            fits = count
            break
        refusals[count] = refusal
    if not refusals:
        return {}
    if not fits and min(refusals) > 1 and await _refusal(config, client, 1, parameters) is None:
        fits = 1
    if not fits and await _refusal(config, client, 0, parameters) is not None:
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


class Gate:
    """Opens when every named side has come; shuts when one is given up before, lest that cost the other a night."""

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are the sides that have something to ask, none where sides take turns."""
        self._missing = set(names)
        self._changed = asyncio.Event()
        self._shut_by: str | None = None

    async def through(self, name: str) -> None:
        """Waits until every side has come here. Raises `EndpointError`: another side was given up before it came."""
        self._missing.discard(name)
        if not self._missing:
            self._changed.set()
        else:
            await self._changed.wait()
        if self._shut_by is not None:
            raise EndpointError(f"{name}: nothing was asked, because {self._shut_by} cannot be asked", why="")

    def shut(self, name: str) -> None:
        """Gives a side up; the others are asked all the same where it had come through."""
        if name in self._missing:
            self._shut_by = name
            self._changed.set()
