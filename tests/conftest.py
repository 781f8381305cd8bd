"""Fixtures that every folder of tests shares; what they are made of is imported from tests/support by its name."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import commands
import loopback
import pytest
import render_example
import render_nights
from aiohttp import web
from hypothesis import HealthCheck, settings
from toy import Toy

from evalkit.endpoint.identity import Native
from evalkit.examine import checks
from evalkit.render.jinja import fill

# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden" / "render"
SHARED = HERE.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark rows beside the checkout; tests that need it skip where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder of real benchmark rows beside the checkout ({folder.parent.name}/{folder.name})")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory):
    """A cache of the tests' own, which all workers share: a suite is built once. No network, whoever asks."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_CACHE", str(shared / "evalkit-cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        # Between two attempts at a server that does as it is told nothing is gained by waiting.
        patch.setattr(checks, "PAUSE_SECONDS", 0.01)
        patch.setattr(Native.__init__, "__defaults__", ((0.01, 0.01),))
        yield


@pytest.fixture
def run_evalkit():
    """Runs the whole command in this process: `run_evalkit("compare", a, b, env={...})` has returncode, stdout, stderr."""
    return commands.run_here


@pytest.fixture
def run_process():
    """The same in a process of its own, for what a process is needed for."""
    return commands.run_process


@pytest.fixture
def invoke():
    """Runs a command as click's tests do: `invoke("report", home)` has code, out and err."""
    return commands.invoke


def pytest_addoption(parser):
    parser.addoption("--regen-golden", action="store_true", help="write the golden files anew; review the diff")


LONG = {
    "run/test_faults.py",
    "compare/test_promises.py",
    "cli/test_bisect.py",
    "cli/test_admission.py",
    "multimodal/test_judge.py",
    "test_api.py",
    "test_packaging.py",
}
"""Files of which `make test` has a minute or half of one."""


def pytest_collection_modifyitems(items):
    """Long files and those with slow tests begin first: at the end, one worker would wait for the other."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("llama")}
    first = slow | {HERE / name for name in LONG}
    items.sort(key=lambda item: item.path not in first)


@pytest.fixture
def toy():
    """Starts toy servers: `toy("vllm", model=..., faults=...)`; see support/toy.py."""
    servers = []

    def start(*arguments, **named):
        servers.append(Toy(*arguments, luck=len(servers), **named))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def plot(tmp_path_factory):
    """Draws one plot: `plot("forest(suite, scale)", suite=..., scale=...)` is a macro of `plots.html.j2`, filled."""
    folder = tmp_path_factory.mktemp("plots")

    def draw(call, **values):
        template = folder / f"{call.partition('(')[0]}.html.j2"
        if not template.exists():
            template.write_text('{% import "plots.html.j2" as plots %}{{ plots.' + call + " }}")
        return fill(template, values)

    return draw


@pytest.fixture(scope="session")
def example():
    """The module of hand-made comparisons."""
    return render_example


@pytest.fixture(scope="session")
def comparison(example):
    return example.comparison()


@pytest.fixture(scope="session")
def story(example):
    """The comparisons of twelve nights."""
    return render_nights.story(example)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[loopback.Server]]]:
    """Starts servers: `await serve(says(...), drops())`, with TLS where a context is given."""
    async with AsyncExitStack() as stack:

        async def start(*behaviours: loopback.Behaviour, tls=None) -> loopback.Server:
            server = loopback.Server()
            server.does(*behaviours)
            runner = web.ServerRunner(web.Server(server.handle, handler_cancellation=True), shutdown_timeout=0.01)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            host, port = runner.addresses[0][:2]
            server.origin = f"{'https' if tls else 'http'}://{host}:{port}"
            return server

        yield start


@pytest.fixture
async def serve_bytes() -> AsyncIterator[Callable[[bytes | None], Awaitable[str]]]:
    """Starts a server below HTTP: it sends these bytes to whoever connects and closes; None: it holds still."""
    servers: list[asyncio.Server] = []

    async def start(data: bytes | None) -> str:
        async def connected(reader, writer):
            with suppress(ConnectionError):
                if data is None:
                    await asyncio.Event().wait()
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def golden(request):
    """Compare text or bytes with tests/golden/render/NAME; `--regen-golden` writes it instead."""

    def check(name: str, actual: str | bytes) -> None:
        path = GOLDEN / name
        data = actual.encode() if isinstance(actual, str) else actual
        if request.config.getoption("--regen-golden", default=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        assert path.is_file(), (
            f"{name} is missing: run pytest tests/render tests/publish --regen-golden and review the file"
        )
        assert data == path.read_bytes(), (
            f"{name} differs: run pytest tests/render tests/publish --regen-golden and review the diff"
        )

    return check
