"""`evalkit explain CMP [SUITE]`: the verdict in plain sentences, for the person who signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalkit.cli import stored


@click.command("explain")
@stored.argument
@click.argument("suite", required=False)
@stored.language
def command(comparison: Path, suite: str | None, language: Any) -> None:
    """Say the verdict in three plain sentences a suite: what was asked, what came out, what may be said.

    CMP is the folder that `evalkit compare` stored, or the comparison.json in it; SUITE is one of its suites, and
    without it all of them are explained.
    """
    from evalkit.render.explain import explain

    stored.deliver(explain(stored.read(comparison), suite, language=language), None)
