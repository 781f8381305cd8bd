"""A look at an endpoint before anything is asked: does it answer, serve the model, have room, do what suites need?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson

from evalkit.config import EndpointConfig
from evalkit.endpoint.client import ClientSettings, open_client
from evalkit.endpoint.native import Native
from evalkit.endpoint.probe import ServedModels, endpoint_identity, served_models, served_unlisted
from evalkit.errors import ConfigError, EndpointError
from evalkit.model import Failure, FailureKind, Prompt, Reply, Request
from evalkit.run.plan import Missing, Plan
from evalkit.run.scheduler import Progress
from evalkit.scoring.option_logprobs import has_prompt_logprobs
from evalkit.tasks.load import by_logprobs


async def look(config: EndpointConfig, plan: Plan, settings: ClientSettings) -> dict[str, str]:
    """What the endpoint says of itself, once it answers, serves the model, and has room for the answers.

    Of several addresses one must answer; those that do must all serve the model. The first of them is told of.

    Raises:
        EndpointError: where none answers.
        ConfigError: where one does not serve the model, or its context is too small for `max_tokens`.
    """
    each = [replace(settings, base_urls=(url,)) for url in settings.base_urls]
    outcomes = await asyncio.gather(*(_look(config, plan, one) for one in each), return_exceptions=True)
    told = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not (told and isinstance(outcome, EndpointError)):
            raise outcome
    return told[0]


async def _look(config: EndpointConfig, plan: Plan, settings: ClientSettings) -> dict[str, str]:
    found = await served_models(settings)
    async with Native(settings, pauses_seconds=()) as native:
        unlisted = await served_unlisted(native, found)
    if isinstance(found, Failure):
        if unlisted or found.kind is FailureKind.NOT_FOUND:
            return await endpoint_identity(settings)
        raise EndpointError(f"{config.name}: {settings.shown_urls[0]}: {found.detail}")
    if not unlisted:
        _check_model(config, plan, settings, found)
    identity = await endpoint_identity(settings)
    return {**identity, "served": ", ".join(sorted(found.ids))}


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
    config: EndpointConfig, settings: ClientSettings, missing: Missing, progress: dict[str, Progress]
) -> Missing:
    """The samples that this endpoint can be asked: a suite that needs what it lacks is stopped with a sentence."""
    needing = {suite.name for suite, _item, _repeat in missing if by_logprobs(suite.loaded.suite)}
    if not needing:
        return missing
    client = open_client(settings, config.client)
    try:
        text = "Two and two make four. Three and three make six."
        probe = Prompt(digest="probe", text=text)
        parameters = {"max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0.0}
        outcome = await client.ask(Request("probe", "", "", 0, probe, parameters))
    finally:
        await client.close()
    if isinstance(outcome, Reply) and has_prompt_logprobs(orjson.loads(outcome.raw), text):
        return missing
    why = outcome.detail if isinstance(outcome, Failure) else "its replies have no log-probabilities of the prompt"
    for name in needing:
        progress[name].stopped = (
            f"needs /v1/completions with `echo` and `logprobs`, which this endpoint does not give ({why}): serve the "
            "model with vLLM, or take the suite out"
        )
    return [sample for sample in missing if sample[0].name not in needing]
