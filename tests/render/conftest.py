"""What the tests of the reports share: the example comparison and the golden files."""

import importlib.util
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "render"


def _load_example():
    spec = importlib.util.spec_from_file_location("render_example", Path(__file__).with_name("example.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_example"] = module
    spec.loader.exec_module(module)
    return module


EXAMPLE = _load_example()


def pytest_addoption(parser):
    parser.addoption("--regen-golden", action="store_true", help="write the golden files anew; review the diff")


@pytest.fixture(scope="session")
def example():
    """The module of hand-made comparisons."""
    return EXAMPLE


@pytest.fixture(scope="session")
def comparison(example):
    return example.comparison()


@pytest.fixture
def golden(request):
    """Compare text or bytes with tests/golden/render/NAME; `--regen-golden` writes it instead."""

    def check(name: str, actual: str | bytes) -> None:
        path = GOLDEN / name
        data = actual.encode() if isinstance(actual, str) else actual
        if request.config.getoption("--regen-golden", default=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        assert path.is_file(), f"{name} is missing: run pytest tests/render --regen-golden and review the file"
        assert data == path.read_bytes(), f"{name} differs: run pytest tests/render --regen-golden and review the diff"

    return check
