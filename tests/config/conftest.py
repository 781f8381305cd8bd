"""Configuration files for one test: written into a folder of its own, named as a user in that folder would name them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.config import EndpointConfig, load_config
from evalkit.errors import ConfigError

SMALLEST = "name: ref\nbase_url: http://127.0.0.1:8000/v1\nmodel: m\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Callable[..., EndpointConfig]:
    """`load(text, *overrides)` writes ref.yaml and reads it."""

    def write_and_load(text: str, *overrides: str) -> EndpointConfig:
        (folder / "ref.yaml").write_text(text, encoding="utf-8")
        return load_config("ref.yaml", overrides)

    return write_and_load


@pytest.fixture
def problem(load: Callable[..., EndpointConfig]) -> Callable[..., str]:
    """`problem(text, *overrides)` is the message that the file is refused with."""

    def message(text: str, *overrides: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        return str(caught.value)

    return message


@pytest.fixture
def smallest() -> str:
    """Three lines that are a whole configuration; what a test adds begins on line 4."""
    return SMALLEST
