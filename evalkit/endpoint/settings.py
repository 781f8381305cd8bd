"""How an endpoint is reached, and the one seam to it: `ask` a request, get a reply or a failure.

    Client.ask ─> AiohttpClient ─> Transport (aiohttp) ─────────────────> endpoint      the hot path
               └> OpenAIClient ─> the openai package ─> Transport ─────> endpoint      `client: openai`

Retries, pacing and give-up rules are the scheduler's: a client makes one attempt and says how it went.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeAlias
from urllib.parse import urlsplit

from evalkit.config import Connection, EndpointConfig, Limits
from evalkit.config.redact import Redactor, redact_url
from evalkit.errors import ConfigError
from evalkit.model import Failure, Message, Prompt, Reply, Request

Materialise: TypeAlias = Callable[[Prompt], Awaitable[tuple[Message, ...]]]
"""Turns a prompt with pictures into messages that can be sent; raises `DataError` for a picture that cannot."""

STALL_SECONDS: Final = 600.0
SLOWEST_TOKENS_PER_SECOND: Final = 5.0
_LIMITS: Final = Limits()
_BYTES_PER_MB: Final = 1_000_000


class Client(Protocol):
    """What the scheduler, the judge and the doctor know of an endpoint."""

    async def ask(self, request: Request) -> Reply | Failure:
        """Make one attempt; an endpoint's trouble is returned, never raised. Cancellation passes through."""
        ...

    async def close(self) -> None:
        """Close every connection; the client is not used after it."""
        ...


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How an endpoint is reached.

    `base_urls` are replicas of one endpoint, each up to and including `/v1`. `stall_seconds` is the longest silence
    within a request; None: as `between_pieces` and `before_answer` say. `max_body_bytes` bounds a reply after
    decompression; a streamed one is counted with the framing of its events. `concurrency` bounds connections.

    Raises `ConfigError`: an address that is none or holds a password, a number out of range, a `ca_file` that is none.
    """

    base_urls: tuple[str, ...]
    model: str
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_seconds: float = _LIMITS.connect_seconds
    stall_seconds: float | None = _LIMITS.stall_seconds
    total_seconds: float | None = _LIMITS.total_seconds
    max_body_bytes: int = int(_LIMITS.max_body_mb * _BYTES_PER_MB)
    stream: bool = False
    tls_verify: bool = True
    ca_file: Path | None = None
    concurrency: int = _LIMITS.connections

    @classmethod
    def of(cls, config: Connection, urls: tuple[str, ...]) -> Self:
        """How a client reaches the server of a configuration at these addresses.

        Raises `ConfigError`: an address or file that cannot be used; names its place in the configuration.
        """
        limits, api_key = config.limits, config.api_key()
        try:
            return cls(
                base_urls=urls,
                model=config.model,
                api_key=api_key,
                headers=config.request_headers(),
                connect_seconds=limits.connect_seconds,
                stall_seconds=limits.stall_seconds,
                total_seconds=limits.total_seconds,
                max_body_bytes=int(limits.max_body_mb * _BYTES_PER_MB),
                stream=config.stream if isinstance(config, EndpointConfig) else False,
                tls_verify=config.tls.verify,
                ca_file=config.tls.ca_file,
                concurrency=limits.connections,
            )
        except ConfigError as error:
            place = _place(config, str(error))
            raise ConfigError(f"{place}: {error}" if place and place not in str(error) else str(error)) from None

    @property
    def redactor(self) -> Redactor:
        """What takes this endpoint's secrets out of what it says."""
        return Redactor(self.api_key, self.headers, self.base_urls)

    @property
    def shown_urls(self) -> tuple[str, ...]:
        """The addresses as they may be said and stored: without keys in their queries."""
        return tuple(map(redact_url, self.base_urls))

    @property
    def between_pieces(self) -> float:
        """The longest silence, in seconds, once an answer has begun to come."""
        return STALL_SECONDS if self.stall_seconds is None else self.stall_seconds

    def before_answer(self, fields: Mapping[str, Any]) -> float:
        """The longest silence, in seconds, before the first piece of the answer to a request body with these fields.

        An answer that is not streamed is silent until it is whole, and a streamed one may wait in the server's queue
        for as long: both get the time that `max_tokens` take at 5 tokens per second.
        """
        if self.stall_seconds is not None:
            return self.stall_seconds
        tokens = fields.get("max_tokens") or fields.get("max_completion_tokens") or 0
        return max(STALL_SECONDS, tokens / SLOWEST_TOKENS_PER_SECOND) if isinstance(tokens, int) else STALL_SECONDS

    def __post_init__(self) -> None:
        if not self.base_urls:
            raise ConfigError("base_urls is empty: give the endpoint's address, e.g. http://127.0.0.1:8000/v1")
        for url in self.base_urls:
            _check_url(url)
        if any(set(text) & set("\r\n\0") for text in (self.api_key or "", *self.headers, *self.headers.values())):
            raise ConfigError("the API key or a header holds a line break: take it out of the environment variable")
        for name in ("connect_seconds", "stall_seconds", "total_seconds", "max_body_bytes", "concurrency"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}: it must be more than 0")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise ConfigError(f"ca_file {self.ca_file} is not a file: give a PEM file of authorities to trust")
        if self.ca_file is not None:
            trusted(self.ca_file)


def trusted(ca_file: Path) -> ssl.SSLContext:
    """The TLS settings that trust the authorities of a PEM file, and no others.

    Raises `ConfigError`: it cannot be read as one.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"ca_file {ca_file} cannot be read as a PEM file of authorities: {error}") from error


def _place(config: Connection, wrong: str) -> str:
    """File and line of what cannot be used; "" where no file says it."""
    if not isinstance(config, EndpointConfig):
        return ""
    said = next((name for name in ("base_url", "base_urls", "tls.ca_file") if config.says(name)), "")
    return config.where("tls.ca_file" if "ca_file" in wrong else said)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        # The address is not repeated: one that cannot be parsed may hold a password anywhere.
        raise ConfigError("base_urls: an address must look like http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ConfigError(
            f"base_urls: the address of {parts.hostname} holds a user name or password, which would be stored with "
            "the run: take it out and give it as a header or through api_key_env"
        )
