"""`evalkit passport make` records a reference as one file, `passport show` says what is in such a file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from evalkit.cli import options
from evalkit.cli.progress import Terminal
from evalkit.options import PassportOptions


@click.group("passport")
@options.of("passport")
def command() -> None:
    """The reference as one file: made once, and held against later candidates when no reference is up."""


@command.command("make")
@options.of("passport-make", PassportOptions)
def make(reference: Path, quiet: bool, as_json: bool, **given: Any) -> None:
    """Record the REFERENCE (its YAML file) in a passport."""
    from evalkit import admission  # `--help` loads nothing heavy

    file = admission.passport_of(reference, options.made(PassportOptions, given), Terminal(quiet=quiet or as_json))
    _show(file, as_json=as_json)


@command.command("show")
@options.of("passport-show")
def show(file: Path, as_json: bool) -> None:
    """Say what is in a passport, FILE, and what it can decide. Exits 2 where it was changed or cannot be read."""
    _show(file, as_json=as_json)


def _show(file: Path, *, as_json: bool) -> None:
    from evalkit.examine import passport, recording
    from evalkit.render.jinja import fill
    from evalkit.resources import data_folder

    made, sha256 = passport.read(file)
    report, scope = recording.scope(made)
    told = {"file": str(file), "sha256": sha256, "bytes": file.stat().st_size, **asdict(made.about), "scope": scope}
    if as_json:
        options.print_json({"kind": "passport", **told})
        return
    texts = sum(one is not None for one in made.material.texts)
    words = {**told, "report": report, "plan": made.plan, "texts": texts}
    click.echo(fill(data_folder("reports") / "passport.txt.j2", words), nl=False)
