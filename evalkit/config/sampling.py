"""How answers are drawn: every sampling parameter, and the named profiles that fill in what a file leaves out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, JsonValue, ModelWrapValidatorHandler, model_validator
from pydantic_core import PydanticCustomError

from evalkit.config.base import NUMBER, Count, Section, Word

ProfileName: TypeAlias = Literal["qwen3_thinking", "qwen3_nothink", "greedy"]

PROFILES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    json.loads(Path(__file__).with_name("profiles.json").read_text(encoding="utf-8"))
)
"""From the Qwen3 model card and technical report; `greedy` leaves max_tokens to the suite."""
# The Qwen3 report gives AIME a longer limit than every other suite: (profile, how a suite's name begins) -> limit.
PROFILE_SUITE_TOKENS: Final[Mapping[tuple[str, str], int]] = MappingProxyType({("qwen3_thinking", "aime"): 38_912})

ALWAYS_SENT: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens")
SENT_WHEN_SET: Final = ("top_k", "min_p", "repetition_penalty", "stop", "chat_template_kwargs")

# Fields of the request body that have a key of their own, or that evalkit decides for every request.
_DECIDED_ELSEWHERE: Final = frozenset(
    {"model", "messages", "prompt", "seed", "n", "stream", "stream_options", "logprobs", "top_logprobs"}
    | {"max_completion_tokens", "extra_body", *ALWAYS_SENT, *SENT_WHEN_SET}
)


def _extra_body(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for key in value:
        if key in _DECIDED_ELSEWHERE:
            raise PydanticCustomError(
                "extra_body",
                "must not hold '{key}': it has a key of its own in evalkit, and two values would contradict each other",
                {"key": key},
            )
    return _json_object(value)


def _json_object(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise PydanticCustomError("json", "must not hold .inf or .nan: JSON has no such number") from None
    return value


Temperature = Annotated[float, Field(ge=0, le=2), NUMBER]
TopP = Annotated[float, Field(gt=0, le=1), NUMBER]
TopK = Annotated[int, Field(ge=-1), NUMBER]
MinP = Annotated[float, Field(ge=0, le=1), NUMBER]
Penalty = Annotated[float, Field(ge=-2, le=2), NUMBER]
RepetitionPenalty = Annotated[float, Field(gt=0), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**31), NUMBER]
Stops = Annotated[tuple[Word, ...], Field(max_length=16)]
TemplateArguments = Annotated[dict[str, JsonValue], AfterValidator(_json_object)]
ExtraBody = Annotated[dict[str, JsonValue], AfterValidator(_extra_body)]


class SamplingOverrides(Section):
    """The sampling parameters that one suite changes; a key that is absent keeps the endpoint's value."""

    profile: ProfileName | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: RepetitionPenalty | None = None
    max_tokens: Count | None = None
    seed: Seed | None = None
    stop: Stops | None = None
    chat_template_kwargs: TemplateArguments | None = None
    extra_body: ExtraBody | None = None


class Sampling(SamplingOverrides):
    """Every sampling parameter of an endpoint, explicit, because two servers fill gaps with different defaults."""

    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    seed: Seed = 0
    stop: Stops = ()
    chat_template_kwargs: TemplateArguments = Field(default_factory=dict)
    extra_body: ExtraBody = Field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _fill_from_profile(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # `model_fields_set` keeps only what was written: layers must tell it from what the profile filled in.
        if not isinstance(data, Mapping):
            return handler(data)
        profile = data.get("profile")
        filled = {**PROFILES[profile], **data} if isinstance(profile, str) and profile in PROFILES else data
        section = handler(filled)
        object.__setattr__(section, "__pydantic_fields_set__", {str(key) for key in data})
        return section

    def parameters(self) -> dict[str, Any]:
        """The request body's fields other than model, messages and seed.

        The parameters of OpenAI's API are always there, except `max_tokens` while it is left to the suite;
        extensions only when set, because a strict server refuses a field that it does not know.
        """
        known = {key: getattr(self, key) for key in (*ALWAYS_SENT, *SENT_WHEN_SET)}
        said = {key: value for key, value in known.items() if value is not None and value not in ((), {})}
        return {key: list(value) if key == "stop" else value for key, value in said.items()} | self.extra_body

    def for_suite(self, suite: str, overrides: SamplingOverrides | None = None) -> Sampling:
        """The sampling of one suite: a later layer wins over an earlier one.

        Without a profile in the overrides the layers are: this section's profile, what this section says, what the
        overrides say. A profile in the overrides stands in for this section's, and wins over what this section says.
        A profile may know another token limit for a suite; it holds unless a later layer says `max_tokens`.
        """
        overrides = overrides or SamplingOverrides()
        said = {key: getattr(self, key) for key in self.model_fields_set}
        given = {key: getattr(overrides, key) for key in overrides.model_fields_set}
        # A null says something only where it means "not sent" or "as the suite says".
        changed = {key: value for key, value in given.items() if value is not None or key in _NULL_MEANS_SOMETHING}
        if overrides.profile is None:
            layers = _profile_layer(self.profile, suite) | said | changed
        else:
            layers = said | _profile_layer(overrides.profile, suite) | changed
        return Sampling.model_validate(layers)


_NULL_MEANS_SOMETHING: Final = frozenset({"top_k", "min_p", "repetition_penalty", "max_tokens"})


def _profile_layer(profile: str | None, suite: str) -> dict[str, Any]:
    """What a profile says for a suite, as a mapping of sampling keys."""
    if profile is None:
        return {}
    layer = dict(PROFILES[profile])
    for (name, prefix), tokens in PROFILE_SUITE_TOKENS.items():
        if name == profile and suite.startswith(prefix):
            layer["max_tokens"] = tokens
    return layer
