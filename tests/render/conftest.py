"""What the tests of the reports share: they are in no job."""

import pytest


@pytest.fixture(autouse=True)
def no_ci(monkeypatch):
    """The tests say themselves when they are in a job."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
