"""What an endpoint says of itself: the models it serves, and the software that serves them.

Nothing is generated, except a token where the list of models cannot be believed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from evalkit.endpoint import body, failures
from evalkit.endpoint.http import Answer, Transport, endpoint_url, place, server_root
from evalkit.endpoint.settings import ClientSettings
from evalkit.model import Failure, FailureKind

PAUSES_SECONDS: Final = (0.5, 2.0)
PAGE_SECONDS: Final = 60.0
"""So long may a server be silent that is asked for a page: nothing is generated, but it may be at its limit."""

# Asking such a failure's question again is worth the wait here; a malformed answer will be malformed again.
_PASSING: Final = frozenset(
    {FailureKind.CONNECTION, FailureKind.RATE_LIMITED, FailureKind.SERVER_ERROR, FailureKind.TIMEOUT}
)


class Native:
    """Asks the first of an endpoint's addresses; use it as an async context, in one event loop.

    For the doctor and the fidelity probe, which need what the client does not: paths outside `/v1`, and numbers as the
    server wrote them, NaN and infinities included. A passing trouble is met with two more attempts.

    Paths that begin with `/v1/` are taken below the base address, all others below its root. `requests` counts what was
    sent, repeated attempts included.

    Raises `ConfigError`: the TLS authorities cannot be read, or a proxy of the environment cannot be used.
    """

    def __init__(self, settings: ClientSettings, pauses_seconds: tuple[float, ...] = PAUSES_SECONDS) -> None:
        self.settings = replace(settings, base_urls=settings.base_urls[:1], stream=False)
        self.requests = 0
        self._pauses = pauses_seconds
        self._base = self.settings.base_urls[0].rstrip("/")
        self._root = server_root(self._base)
        self.redactor = settings.redactor
        self._transport = Transport(self.settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    async def post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any] | Failure:
        """The JSON object that answers a document; MALFORMED where the answer is none."""
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        return await self._asked("POST", path, body)

    async def get(self, path: str) -> dict[str, Any] | Failure:
        """The JSON object under a path; MALFORMED where there is something else."""
        return await self._asked("GET", path, None)

    async def answer(self, path: str) -> Answer | Failure:
        """What a GET brings, whatever its status and form; one attempt, and a minute's patience."""
        self.requests += 1
        silence = min(self.settings.between_pieces, PAGE_SECONDS)
        return await self._transport.exchange("GET", endpoint_url(*self._split(path)), silence=silence)

    async def _asked(self, method: str, path: str, body: bytes | None) -> dict[str, Any] | Failure:
        for pause in (*self._pauses, None):
            outcome = await self._once(method, path, body)
            if isinstance(outcome, dict) or outcome.kind not in _PASSING or pause is None:
                return outcome
            await asyncio.sleep(min(outcome.retry_after or pause, 10.0))
        raise AssertionError("the last pause is None")

    async def _once(self, method: str, path: str, body: bytes | None) -> dict[str, Any] | Failure:
        url = endpoint_url(*self._split(path))
        self.requests += 1
        started = time.perf_counter()
        answer = await self._transport.exchange(method, url, body=body)
        outcome = _document(answer, place(url)) if isinstance(answer, Answer) else answer
        if isinstance(outcome, Failure):
            return failures.redacted(outcome, self.redactor, time.perf_counter() - started)
        return outcome

    def _split(self, path: str) -> tuple[str, str]:
        return (self._base, path.removeprefix("/v1")) if path.startswith("/v1/") else (self._root, path)


def _document(answer: Answer, where: str) -> dict[str, Any] | Failure:
    if not 200 <= answer.status <= 299:
        return failures.of_status(answer.status, answer.headers, answer.body, where=where, now=time.time())
    try:
        # The standard library's reader keeps NaN and Infinity, which are findings here.
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        what = failures.read_error(answer.body).message if failures.looks_like_html(answer.body) else "not JSON"
        return Failure(FailureKind.MALFORMED, f"the answer of {where} is {what}", status=answer.status)
    error = failures.in_band(document)
    if error is not None:
        return failures.of_body(error)
    if not isinstance(document, dict):
        return Failure(FailureKind.MALFORMED, f"the answer of {where} is no JSON object", status=answer.status)
    return document


_MODELS_PATH: Final = "/v1/models"
_CHAT_PATH: Final = "/v1/chat/completions"
_NO_MODEL: Final = "evalkit/no-such-model"
_MOST_MODELS: Final = 10_000
_IDENTITY_SECONDS: Final = 5.0
_IDENTITY_BYTES: Final = 4_000_000

# What an entry of the list of models says of its name, its date and its owner, and not of what is served.
_NOT_OF_THE_MODEL: Final = frozenset({"id", "object", "created", "owned_by", "permission", "aliases"})


@dataclass(frozen=True, slots=True)
class Names:
    """What an endpoint calls the model that is asked for.

    `same` are its names by the list of models, `open` those that the list does not tell from it, `other` the names of
    other models.
    """

    same: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    other: frozenset[str] = frozenset()

    def joined(self, more: Names) -> Names:
        """The names that either of two addresses gives the model."""
        same = self.same | more.same
        left_open = (self.open | more.open) - same
        return Names(same, left_open, (self.other | more.other) - same - left_open)


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The answer of `/v1/models`: the ids in the server's order, and what it tells of some of them by id.

    `max_model_len` is the served context in tokens, `entries` are the list's own, by id.
    """

    ids: tuple[str, ...]
    max_model_len: Mapping[str, int]
    entries: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def root(self, model: str) -> str:
        """The path or name of the weights behind a name (vLLM, SGLang), "" where the list does not say it."""
        root = self.entries.get(model, {}).get("root")
        return root if isinstance(root, str) and root != model else ""

    def names(self, model: str) -> Names:
        """What the list says of a model's names.

        One model is what has one `root`, or is among an entry's `aliases` (llama.cpp). Entries that differ in nothing
        but their names (most gateways, OpenAI's dated names) may be one model or several.
        """
        own, root = self.entries.get(model), self.root(model)
        if own is None:
            return Names(frozenset({model}), frozenset(self.ids) - {model})
        same, left_open = {model, *_aliases(own), *([root] if root else ())}, set()
        for name, entry in self.entries.items():
            if model in _aliases(entry) or (root and root in {name, entry.get("root")}):
                same |= {name, *_aliases(entry)}
            elif self._told(name) == self._told(model):
                left_open.add(name)
        others = frozenset(self.ids) - same - left_open
        return Names(frozenset(same), frozenset(left_open - same), others)

    def _told(self, model: str) -> dict[str, Any]:
        """What the list says of a model beside its name."""
        told = {key: value for key, value in self.entries[model].items() if key not in _NOT_OF_THE_MODEL}
        return {**told, "root": self.root(model)}


async def served_models(settings: ClientSettings) -> ServedModels | Failure:
    """Ask the first of the base addresses which models it serves.

    An endpoint without the list (some gateways) is a `Failure` of kind NOT_FOUND, and may still answer questions.
    """
    started = time.perf_counter()
    async with Native(settings) as native:
        answer = await native.answer(_MODELS_PATH)
        where = place(endpoint_url(settings.base_urls[0], "/models"))
        outcome = _models(answer, where) if isinstance(answer, Answer) else answer
        seconds = time.perf_counter() - started
        return failures.redacted(outcome, native.redactor, seconds) if isinstance(outcome, Failure) else outcome


async def served_unlisted(native: Native, found: ServedModels | Failure) -> bool:
    """Whether the model is served though the list of models is broken, or does not have it: one or two questions.

    `transformers serve` lists what lies in the hub's cache, not what it serves. Where there is a list, another name
    must be refused: some servers answer under any name with whatever they have. False, and nothing asked, where the
    list has the model, or says nothing, or there is no server.
    """
    if isinstance(found, Failure):
        doubtful = found.kind in {FailureKind.SERVER_ERROR, FailureKind.MALFORMED}
    else:
        doubtful = bool(found.ids) and native.settings.model not in found.ids
    if not doubtful:
        return False
    asked = await native.post(_CHAT_PATH, _greeting(native.settings.model))
    if isinstance(asked, Failure) or "choices" not in asked:
        return False
    if isinstance(found, Failure):
        return True
    other = await native.post(_CHAT_PATH, _greeting(_NO_MODEL))
    return isinstance(other, Failure) and other.kind in {FailureKind.BAD_REQUEST, FailureKind.NOT_FOUND}


def _greeting(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 1, "temperature": 0.0}


async def endpoint_identity(settings: ClientSettings) -> dict[str, str]:
    """What the first of the base addresses tells of its software; empty where it tells nothing. Never fails.

    Keys, each where known: `server` (the HTTP header), `owned_by` (of the first model: "vllm", "sglang", "llamacpp"),
    `version` (vLLM), `llama_cpp_build`, `sglang_version`, `model_path`, `context_tokens` and `slots` (llama.cpp).
    Only named fields are taken: a server's own settings can hold its key.
    """
    quick = replace(
        settings,
        total_seconds=min(settings.total_seconds or _IDENTITY_SECONDS, _IDENTITY_SECONDS),
        max_body_bytes=min(settings.max_body_bytes, _IDENTITY_BYTES),
    )
    async with Native(quick) as native:
        answers = await asyncio.gather(*map(native.answer, _PAGES))
    told: dict[str, str] = {}
    for wanted, answer in zip(_PAGES.values(), answers, strict=True):
        if isinstance(answer, Answer):
            told.setdefault("server", answer.headers.get("Server", ""))
            told |= _fields(answer, wanted)
    return {key: native.redactor.clean(value) for key, value in told.items() if value}


_PAGES: Final[Mapping[str, Mapping[str, tuple[str | int, ...]]]] = {
    _MODELS_PATH: {"owned_by": ("data", 0, "owned_by")},
    "/version": {"version": ("version",)},
    "/props": {
        "llama_cpp_build": ("build_info",),
        "model_path": ("model_path",),
        "slots": ("total_slots",),
        "context_tokens": ("default_generation_settings", "n_ctx"),
    },
    "/get_server_info": {"sglang_version": ("version",), "model_path": ("model_path",)},
    "/get_model_info": {"model_path": ("model_path",)},
}


def _fields(answer: Answer, wanted: Mapping[str, tuple[str | int, ...]]) -> dict[str, str]:
    """The wanted fields of a page that are text or whole numbers; nothing where it is not there, or something else."""
    try:
        document = failures.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        return {}
    taken = {name: body.at(document, *path) for name, path in wanted.items()}
    return {name: str(value) for name, value in taken.items() if isinstance(value, str | int) and str(value)}


def _models(answer: Answer, where: str) -> ServedModels | Failure:
    document = _document(answer, where)
    if isinstance(document, Failure):
        return document
    entries = document.get("data")
    if not isinstance(entries, list):
        return Failure(FailureKind.MALFORMED, f"{where} has no list of models", status=200)
    named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)][:_MOST_MODELS]
    lengths = {entry["id"]: entry.get("max_model_len") for entry in named}
    return ServedModels(
        ids=tuple(entry["id"] for entry in named),
        max_model_len={model: length for model, length in lengths.items() if length.__class__ is int and length > 0},
        entries={entry["id"]: entry for entry in named},
    )


def _aliases(entry: Mapping[str, Any]) -> list[str]:
    aliases = entry.get("aliases")
    return [name for name in aliases if isinstance(name, str)] if isinstance(aliases, list) else []
