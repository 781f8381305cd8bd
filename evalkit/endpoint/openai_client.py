"""The same seam on the `openai` package, for endpoints that want to be asked by it; it costs ten times the CPU.

The package builds, signs and checks the request as it does for its own users. The bytes travel over the transport of
the other client, so that limits, proxies, TLS, redirects and the naming of failures are the same for both. Nothing of
the package's own environment (OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_ORG_ID, ...) reaches an endpoint of evalkit.
"""

import sys
from contextvars import ContextVar
from typing import Any, Final

import openai
from yarl import URL

from evalkit.endpoint import body
from evalkit.endpoint.client import AiohttpClient
from evalkit.endpoint.http import Answer, Transport, endpoint_url
from evalkit.endpoint.settings import ClientSettings, Materialise
from evalkit.model import Failure, FailureKind

# What the package says of itself and of the request; everything else is the transport's or the configuration's.
_PASSED_ON: Final = frozenset({"authorization", "content-type", "idempotency-key", "user-agent"})
_PASSED_ON_PREFIX: Final = "x-stainless-"
# All that the client reads of an answer's headers. The package would stumble over others: characters that are not
# ASCII, or a character set in which it then cannot read the words of an error.
_HANDED_BACK: Final = ("retry-after", "retry-after-ms")

# How long the server may be silent before the answer to the request that this task sends: through the package, unseen.
_silence: ContextVar[float | None] = ContextVar("_silence", default=None)


class OpenAIClient(AiohttpClient):
    """Asks an endpoint through `openai.AsyncOpenAI`; use it from one event loop.

    Raises `ConfigError`: the TLS authorities cannot be read, or a proxy of the environment cannot be used.
    """

    def __init__(self, settings: ClientSettings, materialise: Materialise | None = None) -> None:
        super().__init__(settings, materialise)
        bridge: Any = _Bridge(self._transport, settings)
        http_client = openai.DefaultAsyncHttpxClient(transport=bridge, trust_env=False, follow_redirects=False)
        self._packages = {url: _package(url, settings, http_client) for url in settings.base_urls}

    async def _send(self, base_url: str, path: str, fields: dict[str, Any]) -> Answer | Failure:
        unsendable = body.request_bytes(fields)
        if isinstance(unsendable, Failure):
            return unsendable
        package = self._packages[base_url]
        # What the package does not take as an argument of its own, it takes as extra_body: the JSON is the same.
        _silence.set(self._settings.before_answer(fields))
        asked = {name: fields.pop(name) for name in ("model", "messages", "prompt") if name in fields}
        resource: Any = package.chat.completions if path == body.CHAT_PATH else package.completions
        try:
            raw = await resource.with_raw_response.create(**asked, extra_body=fields)
        except _Undelivered as undelivered:
            return undelivered.failure
        except openai.APIStatusError as error:
            return _answer(error.response)
        except openai.APIConnectionError as error:  # what older versions of the package make of _Undelivered
            cause = error.__cause__
            return cause.failure if isinstance(cause, _Undelivered) else Failure(FailureKind.CONNECTION, str(error))
        return _answer(raw.http_response)


class _Undelivered(Exception):  # noqa: N818 - it carries a Failure through the package, to be data again at the other end
    """No answer came; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure


class _Bridge:
    """An httpx transport (by its methods, not by its base class: which httpx it is, the package decides)."""

    def __init__(self, transport: Transport, settings: ClientSettings) -> None:
        self._transport = transport
        self._withheld = {name.lower() for name in settings.headers}
        if not settings.api_key:
            self._withheld.add("authorization")

    async def handle_async_request(self, request: Any) -> Any:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in self._withheld
            and (name.lower() in _PASSED_ON or name.lower().startswith(_PASSED_ON_PREFIX))
        }
        answer = await self._transport.exchange(
            request.method, URL(str(request.url)), body=request.content, headers=headers, silence=_silence.get()
        )
        if isinstance(answer, Failure):
            raise _Undelivered(answer)
        told = {name: answer.headers.get(name, "") for name in _HANDED_BACK}
        kept = {name: value for name, value in told.items() if value and value.isascii()}
        httpx = sys.modules[type(request).__module__.partition(".")[0]]
        return httpx.Response(answer.status, headers=kept, content=answer.body, request=request)

    async def aclose(self) -> None:
        """Nothing to do: the transport is closed by the client that owns it."""


def _package(base_url: str, settings: ClientSettings, http_client: Any) -> openai.AsyncOpenAI:
    """The package's client for one replica. It insists on a key; where there is none, the bridge withholds it."""
    url = endpoint_url(base_url, "")
    return openai.AsyncOpenAI(
        base_url=str(url.with_query(None)),
        default_query=dict(url.query),
        api_key=settings.api_key or "none",
        max_retries=0,
        http_client=http_client,
    )


def _answer(response: Any) -> Answer:
    return Answer(response.status_code, response.headers, response.content)
