"""Fixtures that every folder of tests shares."""

import importlib.util
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark rows beside the checkout; tests that need it skip where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no folder of real benchmark rows beside the checkout ({folder.parent.name}/{folder.name})")
    return folder


def pytest_addoption(parser):
    parser.addoption("--regen-golden", action="store_true", help="write the golden files anew; review the diff")


def _load_example():
    path = Path(__file__).with_name("render") / "example.py"
    spec = importlib.util.spec_from_file_location("render_example", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_example"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def example():
    """The module of hand-made comparisons."""
    return _load_example()


@pytest.fixture(scope="session")
def comparison(example):
    return example.comparison()
