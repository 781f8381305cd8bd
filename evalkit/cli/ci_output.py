"""What `evalkit compare` writes for continuous integration: files that are asked for, and what the platform shows.

GitHub gets a job summary and annotations, GitLab a note beside the comparison, as the environment says; with
EVALKIT_CI=off neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from evalkit.model import Comparison
    from evalkit.render.ci import Undecided

Function = TypeVar("Function", bound=Callable[..., Any])

NOTE: Final = "note.md"
_MOST_SUMMARY_BYTES: Final = 1_000_000
"""GitHub takes 1 MiB of summary a step, and shows none of a larger one."""


def options(function: Function) -> Function:
    """`--junit FILE` and `--openmetrics FILE`."""
    path = click.Path(path_type=Path, dir_okay=False)
    function = click.option("--openmetrics", type=path, help="Write the figures for GitLab or Prometheus.")(function)
    return click.option("--junit", type=path, help="Write JUnit XML, one case a suite.")(function)


def write(comparison: Comparison, folder: Path, given: Mapping[str, Any]) -> None:
    """Writes what `given` asks for (`junit`, `openmetrics`) and what the CI platform of the environment shows.

    `folder` is the comparison's; `given` may hold `on_inconclusive` ("fail", "warn" or "pass") and `as_json`.

    Raises:
        StorageError: a file cannot be written.
    """
    on_platform = os.environ.get("EVALKIT_CI") != "off" and {"GITHUB_ACTIONS", "GITLAB_CI"} & set(os.environ)
    if not (on_platform or given.get("junit") or given.get("openmetrics")):
        return
    from evalkit.cli.stored import deliver
    from evalkit.render import ci  # XML and templates, which most comparisons need not load

    undecided: Undecided = given.get("on_inconclusive") or "fail"
    if given.get("junit"):
        deliver(ci.junit(comparison, undecided=undecided), given["junit"])
    if given.get("openmetrics"):
        deliver(ci.openmetrics(comparison), given["openmetrics"])
    platform = None if os.environ.get("EVALKIT_CI") == "off" else ci.platform(os.environ)
    if platform == "github":
        _job_summary(comparison)
        # The runner reads workflow commands from both streams; stdout may be one JSON document.
        click.echo(ci.github_annotations(comparison, undecided=undecided), nl=False, err=bool(given.get("as_json")))
    elif platform == "gitlab":
        deliver(ci.summary(comparison), folder / NOTE)


def _job_summary(comparison: Comparison) -> None:
    """Appends to the file that GitHub names, as much as it shows."""
    from evalkit.errors import StorageError

    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    path = Path(name)
    try:
        room = _MOST_SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
        with path.open("ab") as out:
            out.write(_fitting_summary(comparison, room))
    except OSError as error:
        raise StorageError(f"GITHUB_STEP_SUMMARY: {path}: cannot be written: {error.strerror}") from error


def _fitting_summary(comparison: Comparison, room: int) -> bytes:
    """The longest summary that fits: whole, verdict and table, or a line."""
    from evalkit.render import ci

    for brief in (False, True):
        text = ci.summary(comparison, brief=brief).encode()
        if len(text) <= room:
            return text
    return f"\n**evalkit: {comparison.verdict.value}** (the table is too long for this page)\n".encode()
