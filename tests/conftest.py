"""Fixtures that every folder of tests shares."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark rows beside the checkout; tests that need it skip where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder of real benchmark rows beside the checkout ({folder.parent.name}/{folder.name})")
    return folder


def pytest_addoption(parser):
    parser.addoption("--regen-golden", action="store_true", help="write the golden files anew; review the diff")


def pytest_collection_modifyitems(items):
    """Files with slow tests begin first: at the end, one worker would wait for the other."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("llama")}
    items.sort(key=lambda item: item.path not in slow)


def _load(name, path):
    """Tests are no package: what several folders share is loaded by its path, under a name of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy():
    """Starts toy servers: `toy("vllm", model=..., faults=...)`; see toy.py."""
    servers = []

    def start(*arguments, **named):
        servers.append(_toy.Toy(*arguments, **named))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


_toy = _load("toy", HERE / "toy.py")


@pytest.fixture(scope="session")
def example():
    """The module of hand-made comparisons."""
    return _load("render_example", HERE / "render" / "example.py")


@pytest.fixture(scope="session")
def comparison(example):
    return example.comparison()


@pytest.fixture(scope="session")
def story(example):
    """The comparisons of twelve nights."""
    return _load("render_nights", HERE / "render" / "nights.py").story(example)
