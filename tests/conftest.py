"""Fixtures that every folder of tests shares."""

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
