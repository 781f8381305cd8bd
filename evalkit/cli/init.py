"""`evalkit init`: writes a commented pair of configuration files."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def command(folder: Path) -> None:
    """Write a commented pair of configuration files into FOLDER (default: here); nothing is overwritten."""
    from evalkit.config import write_pair

    for path in write_pair(folder):
        click.echo(f"wrote {path}")
    click.echo("set base_url and model in both, then: evalkit compare reference.yaml candidate.yaml")
