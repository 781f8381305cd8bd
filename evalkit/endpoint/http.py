"""One HTTP exchange with an endpoint, over aiohttp: connections, TLS, proxies, limits, redirects, and what went wrong.

Knows nothing of prompts and replies. Whatever the network or the server does, `exchange` returns: an `Answer` with
its status, or a `Failure`. A streamed answer is put together here, so that those above see the same body either way.
"""

from __future__ import annotations

import asyncio
import builtins
import io
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from yarl import URL

from evalkit.endpoint.settings import ClientSettings, trusted
from evalkit.endpoint.stream import StreamedReply
from evalkit.errors import ConfigError
from evalkit.model import Failure, FailureKind
from evalkit.resources import __version__, toml_file


@cache
def _troubles() -> list[tuple[type[BaseException], FailureKind, str]]:
    """Class, kind and sentence, as troubles.toml has them: the first class that an error is of decides."""
    named = (
        (getattr(aiohttp, name, None) or getattr(builtins, name), said)
        for name, said in toml_file("endpoint/troubles.toml").items()
    )
    return [(of, FailureKind(said.get("kind", FailureKind.CONNECTION)), said["says"]) for of, said in named]


def of_trouble(
    error: aiohttp.ClientError | OSError, where: str, settings: ClientSettings, silence: float | None = None
) -> Failure:
    """Classify a transport error; `where` is the address for people, `silence` how long was waited for a byte."""
    kind, sentence = next((kind, sentence) for of, kind, sentence in _troubles() if isinstance(error, of))
    status = error.status if isinstance(error, aiohttp.ClientHttpProxyError) else None
    if status == 407:
        kind = FailureKind.AUTH
    elif isinstance(error, aiohttp.ClientPayloadError) and _is_encoding(error):
        kind, sentence = FailureKind.MALFORMED, "the answer of {where} cannot be decompressed"
    detail = sentence.format(
        where=where,
        error=error,
        reason=_reason(getattr(error, "os_error", error)),
        connect=settings.connect_seconds,
        silence=silence or settings.between_pieces,
    )
    if sentence.startswith("{reason}"):
        detail = detail[0].lower() + detail[1:]
    return Failure(kind, detail, status=status)


def _is_encoding(error: BaseException | None) -> bool:
    """True where the damage is in the answer's compression: the server's fault, not the line's."""
    while error is not None:
        if "content-encoding" in str(error).lower():
            return True
        error = error.__cause__
    return False


def _reason(error: BaseException) -> str:
    """The operating system's words for it, where it has any."""
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


_ERROR_BODY_BYTES: Final = 65_536
_ERROR_BODY_SECONDS: Final = 10.0
_LAST_BYTES_SECONDS: Final = 1.0


class DripError(Exception):
    """A body came so slowly that it was given up."""


async def whole(content: aiohttp.StreamReader, limit: int, seconds: float) -> bytes | None:
    """The body, None where it is longer than `limit` bytes; reading stops there.

    A server that drips is never silent: what has begun must be whole within `seconds`.

    Raises `DripError`: it was not whole in time.
    """
    chunk = await content.readany()
    if content.at_eof():  # the usual case: it came in one piece
        return chunk if len(chunk) <= limit else None
    pieces = [chunk]
    size = len(chunk)
    try:
        async with asyncio.timeout(seconds) as drip:
            while size <= limit:
                chunk = await content.readany()
                if not chunk:
                    return b"".join(pieces)
                pieces.append(chunk)
                size += len(chunk)
    except TimeoutError:
        if not drip.expired():
            raise
        raise DripError from None
    return None


async def beginning(content: aiohttp.StreamReader, silence: float) -> bytes:
    """What comes soon of a body of which all that matters is known: an error's, or one behind its `[DONE]`."""
    pieces: list[bytes] = []
    size = 0
    with suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(min(silence, _ERROR_BODY_SECONDS)):
            while size < _ERROR_BODY_BYTES and (chunk := await content.readany()):
                pieces.append(chunk)
                size += len(chunk)
    return b"".join(pieces)[:_ERROR_BODY_BYTES]


MAX_REDIRECTS: Final = 3
# What may follow a POST without changing it (RFC 9110, section 15.4); a GET may follow any.
_REDIRECTS: Final[Mapping[str, frozenset[int]]] = {
    "POST": frozenset({307, 308}),
    "GET": frozenset({301, 302, 303, 307, 308}),
}
# Just under the 5 s after which uvicorn and cpp-httplib close an idle connection, perhaps as a request comes in.
_KEEP_ALIVE_SECONDS: Final = 4.5
# Gateways send policies and tokens longer than aiohttp's 8 KiB.
_HEADER_BYTES: Final = 65_536
# So many connections in a row may prove closed, each so soon after the request was sent.
_MAX_STALE: Final = 3
_STALE_SECONDS: Final = 1.0
# aiohttp writes bytes in one piece, and warns of it, above 1 MiB.
_ONE_PIECE_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP; `body` is decompressed, and of an error status only its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Call:
    """What is asked, wherever a redirect leads it; `silence` as `exchange` has it."""

    method: str
    body: bytes | None
    headers: Mapping[str, str] | None
    silence: float


@dataclass(slots=True)
class _Hop:
    """One request on the line. With no new socket, it went over a connection that had been used before."""

    started: float
    new_sockets: int = 0


class _FreshRequest(aiohttp.ClientRequest):
    """Is not sent over a connection on which something lies unread: aiohttp would take it for this one's answer."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Raises `ServerDisconnectedError` there, so that it is sent again over another connection."""
        if conn.protocol is not None and conn.protocol.should_close:
            conn.close()
            raise aiohttp.ServerDisconnectedError
        return await super().send(conn)


_hop: ContextVar[_Hop | None] = ContextVar("_hop", default=None)


class Transport:
    """A pool of connections to one endpoint; connects on first use, inside the running event loop.

    Raises `ConfigError`: the TLS authorities cannot be read, or a proxy of the environment cannot be used.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._tls = trusted(settings.ca_file) if settings.tls_verify and settings.ca_file else settings.tls_verify
        self._proxies: dict[tuple[str, str | None, int | None], Proxy | None] = {}
        for base_url in settings.base_urls:
            self._proxy(endpoint_url(base_url, ""))
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self,
        method: str,
        url: URL,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float | None = None,
    ) -> Answer | Failure:
        """Send one request and read the whole answer; `headers` are beside those of the settings.

        `silence` is the longest time in seconds without a byte, until an answer begins to come that is streamed.

        A redirect (307 or 308 for a POST) is followed up to three times within the same scheme, host and port, or
        from http to https of the same host on their usual ports; never to another host.
        """
        call = _Call(method, body, headers, self._settings.between_pieces if silence is None else silence)
        seconds = self._settings.total_seconds
        if seconds is None:
            return await self._follow(call, url)
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(call, url)
        except TimeoutError:
            return Failure(FailureKind.TIMEOUT, f"no whole answer within {seconds:g} s from {place(url)}")

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self, call: _Call, url: URL) -> Answer | Failure:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._once(call, url)
            if isinstance(answer, Failure) or not 300 <= answer.status <= 399:
                return answer
            target = _redirected(call.method, url, answer)
            if isinstance(target, Failure):
                return target
            url = target
        return Failure(FailureKind.REDIRECT, f"more than {MAX_REDIRECTS} redirects, the last to {place(url)}")

    async def _once(self, call: _Call, url: URL) -> Answer | Failure:
        """One exchange, sent again where it met connections that the server had closed while they were idle.

        llama.cpp closes each after a stream without saying so; any server may, just as a request comes in.
        """
        for _ in range(_MAX_STALE):
            hop = _Hop(time.monotonic())
            mark = _hop.set(hop)
            try:
                return await self._send(call, url)
            except (aiohttp.ClientError, OSError) as error:  # time-outs are OSErrors
                if not _was_stale(hop, error):
                    return of_trouble(error, place(url), self._settings, call.silence)
            finally:
                _hop.reset(mark)
        return Failure(FailureKind.CONNECTION, f"{place(url)} closed {_MAX_STALE} idle connections without a word")

    async def _send(self, call: _Call, url: URL) -> Answer | Failure:
        session = self._session if self._session is not None else self._open()
        options: dict[str, Any] = {"headers": call.headers, "allow_redirects": False}
        if call.silence != self._settings.between_pieces:
            options["timeout"] = _timeout(self._settings, call.silence)
        body = call.body
        if body is not None:
            options["data"] = body if len(body) <= _ONE_PIECE_BYTES else io.BytesIO(body)
        try:
            proxy = self._proxy(url)
        except ConfigError as error:  # only a redirect from http to https can meet a proxy that was not looked at
            return Failure(FailureKind.CONNECTION, str(error))
        if proxy is not None:
            options.update(proxy=proxy.url, proxy_auth=proxy.auth)
        # aiohttp's own limit ends with the first byte of a "102 Processing", after which nothing need ever come.
        seconds = call.silence + self._settings.connect_seconds
        try:
            async with asyncio.timeout(seconds) as head:
                response = await session.request(call.method, url, **options)
        except TimeoutError:
            if not head.expired():
                raise  # the connection's own
            return Failure(FailureKind.STALL, f"{place(url)} sent no answer for {seconds:g} s")
        async with response:
            try:
                return await self._read(response, call.silence)
            except (aiohttp.ClientError, OSError) as error:
                failure = of_trouble(error, place(url), self._settings, call.silence)
                return replace(failure, status=response.status)  # it had begun to answer

    async def _read(self, response: aiohttp.ClientResponse, silence: float) -> Answer | Failure:
        status, headers = response.status, response.headers
        if status >= 300:
            return Answer(status, headers, await beginning(response.content, silence))
        if headers.get("Content-Type", "").lower().startswith("text/event-stream"):
            return await self._read_stream(response, silence)
        limit = self._settings.max_body_bytes
        declared = response.content_length
        if declared is not None and declared > limit:
            return self._too_large(status, f"{declared} bytes")
        seconds = 2 * silence  # a server that sends white space until the answer is there has used up one of the two
        try:
            body = await whole(response.content, limit, seconds)
        except DripError:
            detail = f"the answer of {place(response.url)} was not whole {seconds:g} s after it began"
            return Failure(FailureKind.STALL, detail)
        return self._too_large(status, "more") if body is None else Answer(status, headers, body)

    async def _read_stream(self, response: aiohttp.ClientResponse, silence: float) -> Answer | Failure:
        reply = StreamedReply()
        content = response.content
        # The first event may have to wait in the server's queue; what may come between events is shorter. Comments
        # ("keep-alive") and pieces of events do not count: a server could send those for ever.
        between = self._settings.between_pieces
        clock = asyncio.get_running_loop().time
        size, ended, events, due = 0, False, 0, 0.0
        try:
            async with asyncio.timeout(silence) as pause:
                while not ended and (chunk := await content.readany()):
                    size += len(chunk)
                    if size > self._settings.max_body_bytes:
                        return self._too_large(response.status, "more")
                    ended = reply.feed(chunk)
                    if reply.events > events:
                        events, now = reply.events, clock()
                        if now >= due:  # moving a deadline costs as much as reading an event
                            pause.reschedule(now + between)
                            due = now + between / 16
        except TimeoutError:
            if not pause.expired():
                raise  # the connection's own
            waited = between if events else silence
            return Failure(FailureKind.STALL, f"{place(response.url)} sent nothing more for {waited:g} s")
        if ended:
            await beginning(content, _LAST_BYTES_SECONDS)  # with the body's end the connection can be used again
        body = reply.finish()
        return body if isinstance(body, Failure) else Answer(response.status, response.headers, body)

    def _too_large(self, status: int, size: str) -> Failure:
        limit = self._settings.max_body_bytes
        return Failure(FailureKind.TOO_LARGE, f"the answer has {size} where {limit} bytes are allowed", status=status)

    def _open(self) -> aiohttp.ClientSession:
        """Make the session; the event loop that runs now is the one that it belongs to."""
        settings = self._settings
        connector = aiohttp.TCPConnector(
            limit=settings.concurrency,
            limit_per_host=settings.concurrency,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ssl=self._tls,
            socket_factory=_kept_alive_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_headers(settings),
            request_class=_FreshRequest,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            timeout=_timeout(settings, settings.between_pieces),
        )
        return self._session

    def _proxy(self, url: URL) -> Proxy | None:
        origin = (url.scheme, url.host, url.port)
        if origin not in self._proxies:
            self._proxies[origin] = environment_proxy(url)
        return self._proxies[origin]


def _timeout(settings: ClientSettings, silence: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_seconds, sock_read=silence)


@cache
def endpoint_url(base_url: str, path: str) -> URL:
    """The address of `path` under a base address; a query of the base address stays at the end.

    Raises `ConfigError`: the address has a host or port that cannot be.
    """
    try:
        base = URL(base_url)
        (base.raw_host or "").encode("idna")  # what the resolver would stumble over
        return base.with_path(base.path.rstrip("/") + path, keep_query=True)
    except ValueError as error:
        raise ConfigError(f"base_urls: an address cannot be used: {error}") from error


def server_root(base_url: str) -> str:
    """The address below which a server has its own pages: a base address without its `/v1`, a query kept."""
    base = URL(base_url)
    return str(base.with_path(base.path.rstrip("/").removesuffix("/v1"), keep_query=True))


def place(url: URL) -> str:
    """An address for people: without the parts that may hold a key or a password."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def _was_stale(hop: _Hop, error: aiohttp.ClientError | OSError) -> bool:
    """True where a used connection broke at once and without an answer: the server had closed it before.

    A connection that breaks later, in the middle of an answer, is a `ClientPayloadError`.
    """
    broke = isinstance(error, aiohttp.ClientConnectionError) and not isinstance(
        error, aiohttp.ClientConnectorError | TimeoutError
    )
    return broke and not hop.new_sockets and time.monotonic() - hop.started <= _STALE_SECONDS


def _redirected(method: str, url: URL, answer: Answer) -> URL | Failure:
    """Where to send the request again, or why not."""
    location = answer.headers.get("Location")
    try:
        target = url.join(URL(location)) if location else None
    except ValueError:
        target = None
    if target is None or not target.host:
        why = " without an address to go to"
    elif answer.status not in _REDIRECTS[method]:
        why = f": moved to {place(target)}; put that into base_url"
    elif not _same_server(url, target):
        why = f" to another server, {place(target)}, which is not followed; if it is right, put it into base_url"
    else:
        return target.with_user(None)
    return Failure(FailureKind.REDIRECT, f"HTTP {answer.status} from {place(url)}{why}", status=answer.status)


def _same_server(url: URL, target: URL) -> bool:
    if url.host != target.host:
        return False
    upgraded = (url.scheme, url.port, target.scheme, target.port) == ("http", 80, "https", 443)
    return upgraded or (url.scheme, url.port) == (target.scheme, target.port)


def _headers(settings: ClientSettings) -> dict[str, str]:
    """The headers of every request; configured ones replace evalkit's own whatever their case."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json" if settings.stream else "application/json",
        # A compressing proxy may hold the events of a stream back.
        "Accept-Encoding": "identity" if settings.stream else "gzip, deflate",
        "User-Agent": f"evalkit/{__version__}",
    }
    if settings.api_key:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    configured = {name.lower() for name in settings.headers}
    kept = {name: value for name, value in headers.items() if name.lower() not in configured}
    return {**kept, **settings.headers}


def _kept_alive_socket(address: Any) -> socket.socket:
    """A socket that shows signs of life: a firewall would forget a connection silent for one long generation."""
    hop = _hop.get()
    if hop is not None:
        hop.new_sockets += 1
    family, kind, protocol, *_ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), 60)
    return made


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's address without credentials, and the credentials."""

    url: URL
    auth: aiohttp.BasicAuth | None = field(default=None, repr=False)


def environment_proxy(url: URL) -> Proxy | None:
    """The proxy for an address, None where it is to be reached directly; this machine itself always is.

    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count, in either case. aiohttp's own `trust_env` asks again for
    every request, in a thread, and reads the password file `~/.netrc` besides, which an endpoint must not get to see.

    Raises `ConfigError`: the variable holds no address, or one of a kind that cannot be used (SOCKS).
    """
    proxies = getproxies_environment()
    host = url.host or ""
    if not proxies or _is_this_machine(host):
        return None
    name = url.scheme if url.scheme in proxies else "all"
    address = proxies.get(name)
    if not address or proxy_bypass(f"{host}:{url.port}", proxies):
        return None
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
        usable = proxy.scheme in {"http", "https"} and bool(proxy.host)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{name.upper()}_PROXY of the environment is no http:// or https:// address, the only kinds of proxy that "
            f"can be used: change it, or add {host} to NO_PROXY"
        )
    auth = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy.user else None
    return Proxy(proxy.with_user(None), auth)


def _is_this_machine(host: str) -> bool:
    """A request to localhost that went through a proxy would reach the proxy's own machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
