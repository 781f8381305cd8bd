"""Starts the endpoint that a `launch:` section describes, waits until it answers, and stops it whatever happens."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from evalkit.config import EndpointConfig, Launch
from evalkit.config.redact import redact_url
from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import LaunchError
from evalkit.serve.kinds import server_of
from evalkit.serve.process import Guarded, Server, guarded
from evalkit.waits import NOTICE_SECONDS, announce

if TYPE_CHECKING:
    import aiohttp

FIRST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 1.0
PAUSE_GROWTH: Final = 1.5
ANSWER_SECONDS: Final = 5.0


@asynccontextmanager
async def opened(config: EndpointConfig, log_file: Path) -> AsyncIterator[ClientSettings]:
    """The client settings of an endpoint, which answers for the length of the context; its log goes to `log_file`.

    Raises `ConfigError`: a key or file that the configuration names cannot be used; `LaunchError`: the server that is
    to be started does not come up.
    """
    if config.launch is None:
        yield ClientSettings.of(config, config.urls)
        return
    hint = config.urls[0] if config.urls else None
    async with launched(config.launch, hint, log_file, config.known_secrets() | config.handed_secrets()) as server:
        yield ClientSettings.of(config, config.urls or (server.base_url,))


@asynccontextmanager
async def launched(
    config: Launch, base_url_hint: str | None, log_file: Path, secrets: Iterable[str] = ()
) -> AsyncIterator[Guarded]:
    """The endpoint of `config`, answering, for the length of the context; afterwards nothing of it is left.

    `base_url_hint` is the endpoint's configured address; without it a command must hold {port}. The server's output
    is appended to `log_file` (or to the configured log), in which `secrets` are overwritten at the end, and what the
    environment and the command line hold of that kind. A server that ends while it is in use interrupts the body of
    the context, so that nobody waits for it.

    Raises `ConfigError`: a file that `config` names cannot be used; `LaunchError`: the server did not come up, or ended
    while it was in use; says what was run, what happened and what it wrote last, without secrets.
    """
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="evalkit-"))
        server = await server_of(config, base_url_hint, log_file, Path(scratch))
        command = replace(server.command, known_secrets=tuple(secrets))
        running = await stack.enter_async_context(guarded(command))
        running.base_url = await _ready(server, running)
        async with _interrupted_at_its_end(running):
            yield running


async def _ready(server: Server, running: Guarded) -> str:
    """The address of the server, once it answers there; a `LaunchError` where it ends, or does not in time."""
    import aiohttp

    last = "it has not told its port yet"
    told = f"waiting for {server.command} to answer, for {server.ready_seconds:g} seconds at most"
    told += f"; its output goes to {server.command.log_file}"
    notice = asyncio.get_running_loop().call_later(NOTICE_SECONDS, announce, told)
    pause = FIRST_PAUSE_SECONDS
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with asyncio.timeout(server.ready_seconds), aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                base_url = server.address()
                trouble = await _trouble(session, base_url, server.health_path) if base_url else last
                if running.ended.done():
                    raise LaunchError(server.complaint() or running.end_sentence())
                if base_url and trouble is None:
                    return base_url
                last = trouble or last
                await asyncio.wait((running.ended,), timeout=pause)
                pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
    except TimeoutError:
        raise LaunchError(
            f"{running.command} was not ready after {server.ready_seconds:g} seconds (ready_seconds): "
            f"{last}{running.log_tail()}"
        ) from None
    finally:
        notice.cancel()


async def _trouble(session: aiohttp.ClientSession, base_url: str, health_path: str) -> str | None:
    """What keeps the server from being ready; None where it answers."""
    import aiohttp

    parts = urlsplit(base_url)
    url = f"{parts.scheme}://{parts.netloc}{health_path}"
    shown = redact_url(url)
    try:
        # Nothing secret is sent, so a certificate of the server's own making does no harm here.
        async with session.get(url, ssl=False, allow_redirects=False) as answer:
            # 401 and 403 come from a server that is up and wants the key, which only the client sends.
            if answer.status < 300 or answer.status in {401, 403}:
                return None
            advice = "; is health_path right?" if answer.status == 404 else ""
            return f"{shown} answers HTTP {answer.status}{advice}"
    except aiohttp.ClientConnectorError as error:
        return f"nothing answers at {shown} ({error.strerror or error.os_error})"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"{shown} gives no HTTP answer ({type(error).__name__})"


@asynccontextmanager
async def _interrupted_at_its_end(running: Guarded) -> AsyncIterator[None]:
    """Cancels the body of the context when the command ends by itself, and makes a LaunchError of that."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("an endpoint is launched from within a task")
    before = task.cancelling()
    interrupted = False

    def interrupt(_ended: asyncio.Future[int | None]) -> None:
        nonlocal interrupted
        interrupted = True
        task.cancel()

    running.ended.add_done_callback(interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if interrupted and task.uncancel() <= before:
            raise LaunchError(f"while it was in use, {running.end_sentence()}") from None
        raise
    except BaseException:
        if interrupted:
            task.uncancel()
        raise
    finally:
        running.ended.remove_done_callback(interrupt)
