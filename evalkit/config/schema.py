"""The configuration of one endpoint: where it is, how it is asked, which suites it is asked, how it is started."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    PrivateAttr,
    SecretStr,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from evalkit.codec import NOT_SET, cut, differing, leaves
from evalkit.config.base import (
    NUMBER,
    Count,
    EnvironmentName,
    Seconds,
    Section,
    Text,
    Url,
    Word,
    as_text,
    conflict,
    matching,
    refuse,
    short,
)
from evalkit.config.launch import CommandLaunch, FlagScaleLaunch, FlagScalePath, Launch, LlamaCppLaunch, OcrLaunch
from evalkit.config.redact import MIN_SECRET_CHARACTERS, REDACTED, redacted, secrets_of_header
from evalkit.config.sampling import Sampling, SamplingOverrides
from evalkit.config.yaml import Origins
from evalkit.errors import ConfigError
from evalkit.model import Difference
from evalkit.options import LEAST_POINTS

CLOSING_TAGS: Final = ("</think>", "</thinking>", "</thought>")

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _headers(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, secret in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise PydanticCustomError("header", "has a key that is no header name: {name}", {"name": name})
        if re.search(r"[\r\n\0]", secret.get_secret_value()):
            raise PydanticCustomError("header", "has a line break in the value of {name}", {"name": name})
    return value


RunName = Annotated[
    Text,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
        "run_name",
        "must be letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 100: "
        "it becomes the name of a run folder",
    ),
]
Secret = Annotated[SecretStr, BeforeValidator(as_text)]
Headers = Annotated[dict[str, Secret], AfterValidator(_headers)]
Concurrency = Annotated[
    Annotated[Count, Tag("count")] | Annotated[Literal["auto"], Tag("auto")],
    Discriminator(lambda given: "auto" if given == "auto" else "count"),
]
DataFolders = Annotated[
    Annotated[Path, Tag("folder")] | Annotated[dict[str, Path], Tag("folders")],
    Discriminator(lambda given: "folders" if isinstance(given, Mapping) else "folder"),
]

IN_FLIGHT: Final = 32  # requests in flight where nobody says otherwise and nothing is measured
MOST_IN_FLIGHT: Final = 512  # what a search for the number goes up to


class Limits(Section):
    """How hard and how long an endpoint is asked."""

    concurrency: Concurrency = IN_FLIGHT
    connect_seconds: Seconds = 10.0
    stall_seconds: Seconds | None = None
    total_seconds: Seconds | None = None
    retries: Annotated[int, Field(ge=0, le=1000), NUMBER] = 8
    max_body_mb: Annotated[float, Field(gt=0, le=4096), NUMBER] = 64.0
    outage_seconds: Seconds = 600.0
    permanent_failures_to_stop: Count = 20

    @property
    def in_flight(self) -> int:
        """The number of requests in flight where none is looked for: the fixed one, or 32."""
        return IN_FLIGHT if self.concurrency == "auto" else self.concurrency

    @property
    def connections(self) -> int:
        """The most connections that may be open at a time."""
        return MOST_IN_FLIGHT if self.concurrency == "auto" else self.concurrency


class Tls(Section):
    """Whom to trust when the endpoint is reached by https."""

    verify: bool = True
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        useless = self.ca_file is not None and not self.verify
        refuse(useless, "ca_file has no effect while verify is false", "ca_file", "verify")
        return self


class Thinking(Section):
    """How the thinking trace of a reply is recognised."""

    closing_tags: Annotated[tuple[Word, ...], Field(min_length=1)] = CLOSING_TAGS


class SuiteChoice(Section):
    """One suite to run, with what it changes; a key that is absent keeps the pack's or the suite's own value."""

    name: Word
    label: Word | None = None
    repeats: Count | None = None
    margin_pt: Annotated[float, Field(ge=LEAST_POINTS, le=100), NUMBER] | None = None
    limit: Count | None = None
    partial_data: bool = False
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    sampling: SamplingOverrides = SamplingOverrides()


class Overall(Section):
    """How the mean over several suites is judged."""

    margin_pt: Annotated[float, Field(ge=LEAST_POINTS, le=100), NUMBER]


SuiteChoiceOrName = Annotated[SuiteChoice, short("name", str | SuiteChoice)]


class Connection(Section):
    """How a server is reached: shared by the endpoint under test and the judge."""

    model: Word
    api_key_env: EnvironmentName | None = None
    headers: Headers = Field(default_factory=dict)
    client: Literal["aiohttp", "openai"] = "aiohttp"
    limits: Limits = Limits()
    tls: Tls = Tls()
    sampling: Sampling = Sampling()

    def api_key(self) -> str | None:
        """The API key from the environment, None where `api_key_env` is not given.

        Raises `ConfigError`: the variable is unset or empty.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"the environment variable {self.api_key_env}, which api_key_env names, is not set: "
                f"export {self.api_key_env}=... or remove api_key_env"
            )
        return key

    def request_headers(self) -> dict[str, str]:
        """The configured headers in plain text: for the request only, never to be stored or shown."""
        return {name: value.get_secret_value() for name, value in self.headers.items()}


class JudgeConfig(Connection):
    """The model that grades the suites which need one."""

    base_url: Url
    repeats: Count = 1
    noise_items: Annotated[int, Field(ge=0), NUMBER] = 100
    allow_new_fingerprint: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        """The judge's one address, in the form that clients take."""
        return (self.base_url,)


class OperatorsSource(Section):
    """Where the list of the operators that a server ran is: one of three."""

    path: Path | None = None
    url: Url | None = None
    command: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [key for key in ("path", "url", "command") if getattr(self, key)]
        refuse(len(given) != 1, "operators needs one of path, url and command", *given)
        return self


class EndpointConfig(Connection):
    """One endpoint and what it is asked: one YAML file."""

    name: RunName
    base_url: Url | None = None
    base_urls: Annotated[tuple[Url, ...], Field(min_length=1)] | None = None
    build: Word | None = None
    aliases: tuple[Word, ...] = ()
    stream: bool = False
    logprobs: bool = False
    thinking: Thinking = Thinking()
    pack: Word | None = None
    bank: Path | None = None
    suites: tuple[SuiteChoiceOrName, ...] = ()
    overall: Overall | None = None
    suite_folders: tuple[Path, ...] = ()
    data: DataFolders | None = None
    allow_code_execution: bool = False
    judge: JudgeConfig | None = None
    flagscale: FlagScalePath | None = None
    operators: Annotated[OperatorsSource, short("path", Path | OperatorsSource)] | None = None
    launch: Launch | None = None
    runs: Path = Path("runs")

    _origins: Origins = PrivateAttr(default_factory=Origins)

    def __repr__(self) -> str:
        return str(redacted(super().__repr__(), self.known_secrets()))

    def __str__(self) -> str:
        return str(redacted(super().__str__(), self.known_secrets()))

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        one, several, launch = self.base_url is not None, self.base_urls is not None, self.launch
        addressed = one or several
        refuse(one and several, "base_url and base_urls exclude each other", "base_url", "base_urls")
        if isinstance(launch, LlamaCppLaunch | OcrLaunch):
            unused = f"an address has no effect with launch kind {launch.kind}, which listens on launch.port"
            refuse(addressed, unused, "base_url" if one else "base_urls", "launch")
        unsaid = isinstance(launch, FlagScaleLaunch) and self.flagscale is None
        refuse(unsaid, "launch kind flagscale needs flagscale: the path of a serve configuration", "launch")
        lost = isinstance(launch, CommandLaunch) and not addressed and not launch.chooses_port
        refuse(lost, "launch kind command needs base_url, or {port} in argv for a free port", "launch")
        refuse(launch is None and not addressed, "base_url is missing (or base_urls, or launch)")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for key, values in (("base_urls", self.base_urls or ()), ("suites", [suite.name for suite in self.suites])):
            twice = [value for value, times in Counter(values).items() if times > 1]
            if twice:
                raise conflict(f"{key} holds {twice[0]!r} twice", key)
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses to ask; empty where a launch decides them."""
        if self.base_url is not None:
            return (self.base_url,)
        return self.base_urls or ()

    def api_key(self) -> str | None:
        """As of any connection; the error names the file and the line."""
        try:
            return super().api_key()
        except ConfigError as error:
            place = self.where("api_key_env")
            raise ConfigError(f"{place}: {error}" if place else str(error)) from None

    def sampling_for(self, suite: str) -> Sampling:
        """The sampling of a suite: the endpoint's, changed by what `suites` says of it; without what its pack says.

        `evalkit.run.plan.sampling_of` knows the pack.
        """
        overrides = next((choice.sampling for choice in self.suites if choice.name == suite), None)
        return self.sampling.for_suite(suite, overrides)

    def where(self, key: str) -> str:
        """File and line of a dotted key such as `suites.0.name`, e.g. "ref.yaml:12"; "" where no file says it.

        A key that no file holds is looked for at its nearest section.
        """
        return self._origins.where(key)

    def says(self, key: str) -> bool:
        """True where a file or an override says exactly this dotted key."""
        return key in self._origins.places

    def remember_origins(self, origins: Origins) -> None:
        """Keep where each key was written (the loader's last step)."""
        self._origins = origins

    def known_secrets(self) -> frozenset[str]:
        """Every secret that this process knows of, wherever it was put: for redaction only."""
        own = _secrets_of(self) | (_secrets_of(self.judge) if self.judge else set())
        return frozenset(self._origins.secrets | own) - {""}

    def handed_secrets(self) -> frozenset[str]:
        """What servers are handed out of this process's environment, which may be secret whatever its name says."""
        return frozenset(one for one in self._origins.handed if len(one) >= MIN_SECRET_CHARACTERS)


def _secrets_of(connection: Connection) -> set[str]:
    """The API key and the header values of a connection."""
    key = os.environ.get(connection.api_key_env, "").strip() if connection.api_key_env else ""
    headers = connection.request_headers()
    return {key}.union(*(secrets_of_header(name, value) for name, value in headers.items()))


# The JSON Schema of a configuration file, for editors that complete and check as one types


JSON_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of one configuration file.

    A file that extends another may leave out what that one says, so nothing is required of it; the model's name may
    come from a FlagScale configuration.
    """
    schema = EndpointConfig.model_json_schema(mode="validation")
    required = schema.pop("required")
    properties = {
        "extends": {
            "type": "string",
            "title": "Extends",
            "description": "A YAML file, relative to this one, whose keys hold where this file does not say otherwise.",
        },
        **schema.pop("properties"),
    }
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        **schema,
        "title": "evalkit endpoint configuration",
        "properties": properties,
        "if": {"not": {"required": ["extends"]}},
        "then": {
            "if": {"not": {"required": ["flagscale"]}},
            "then": {"required": required},
            "else": {"required": [key for key in required if key != "model"]},
        },
    }


# What a configuration says when it may be read by others, and in which keys two configurations differ


def public_dump(config: EndpointConfig) -> dict[str, Any]:
    """The whole configuration as JSON-able values without a secret: for the manifest of a run.

    Header values, credentials in addresses, secret environment variables and command line options are replaced by
    "***", and so is every known secret (API keys, header values, variables with secret names) wherever it turns up.
    """
    dump: dict[str, Any] = redacted(_raw(config), config.known_secrets())
    for section in (dump.get("launch") or {}, dump.get("flagscale") or {}):
        for name, value in (section.get("env") or {}).items():
            if any(handed in str(value) for handed in config.handed_secrets()):
                section["env"][name] = REDACTED
    return dump


def differences(reference: EndpointConfig, candidate: EndpointConfig) -> tuple[Difference, ...]:
    """The leaf keys in which two configurations differ, in alphabetical order.

    Suites are matched by name (`suites.mmlu.repeats`). Values that differ only in what is secret are named as
    differing without being shown; long ones are cut to about 120 characters around the first difference.
    """
    left, right = leaves(_raw(reference)), leaves(_raw(candidate))
    shown_left, shown_right = leaves(public_dump(reference)), leaves(public_dump(candidate))
    found = []
    for key in differing(left, right):
        one, other = cut(shown_left.get(key, NOT_SET), shown_right.get(key, NOT_SET))
        found.append(Difference(key, one, other if other != one else f"{other} (another)"))
    return tuple(found)


def _raw(value: Any) -> Any:
    """Models as JSON-able values, secrets and all: must not leave this module."""
    if isinstance(value, Section):
        return {key: _raw(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): _raw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_raw(item) for item in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value
