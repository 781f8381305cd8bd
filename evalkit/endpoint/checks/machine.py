"""This machine: room for what will be stored, and the data sets of the suites."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evalkit.endpoint.checks.base import Finding, Severity, SuiteNeeds

LEAST_FREE_BYTES: Final = 200_000_000
BYTES_PER_TOKEN: Final = 6
"""What a stored reply takes for a token of its limit: text, JSON around it, and the scores."""
BYTES_PER_REPLY: Final = 2_000


def check_disk(folder: Path, suites: Sequence[SuiteNeeds]) -> Finding:
    """Room in the folder of the runs for every planned reply at a quarter of its token limit, a usual mean."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    needed = sum(suite.samples * (BYTES_PER_REPLY + BYTES_PER_TOKEN * (suite.max_tokens or 0) // 4) for suite in suites)
    said = f"{free / 1e9:.1f} GB free in {existing}, about {needed / 1e9:.2f} GB needed"
    if free >= max(2 * needed, LEAST_FREE_BYTES):
        return Finding("disk", Severity.OK, said)
    return Finding(
        "disk",
        Severity.PROBLEM if free < max(needed, LEAST_FREE_BYTES) else Severity.WARNING,
        said,
        "a full disk stops the run; what was stored before is kept",
        "make room, or let runs: name another folder",
    )


def check_data(suites: Sequence[SuiteNeeds]) -> list[Finding]:
    """Whether the data set of every suite is on this machine."""
    missing = [
        Finding(
            "data",
            Severity.WARNING,
            f"{suite.name}: {suite.problem}",
            "the run would have to fetch it first, or cannot begin",
            "fetch it where there is a network, or name its folder under data:",
        )
        for suite in suites
        if suite.problem
    ]
    there = sum(not suite.problem for suite in suites)
    if there:
        missing.append(Finding("data", Severity.OK, f"the data of {there} suite{'s' * (there != 1)} is here"))
    return missing
