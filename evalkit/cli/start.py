"""`evalkit init` and `evalkit schema`: configuration files to start from, and the JSON Schema of what people write."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def init(folder: Path) -> None:
    """Write a commented pair of configuration files into FOLDER (default: here); nothing is overwritten."""
    from evalkit.config import write_pair

    for path in write_pair(folder):
        click.echo(f"wrote {path}")
    click.echo("set base_url and model in both, then: evalkit compare reference.yaml candidate.yaml")


@click.command("schema")
@click.argument("document", type=click.Choice(["config", "comparison"]), default="config")
@click.option("--suite", is_flag=True, help="Of a suite's YAML instead.")
def schema(document: str, suite: bool) -> None:
    """Print a JSON Schema.

    DOCUMENT is "config" (an endpoint's YAML file, the default) or "comparison" (what `compare --json` prints).
    """
    import orjson

    if suite:
        from evalkit.config.suite import suite_schema as json_schema
    elif document == "config":
        from evalkit.config import json_schema
    else:
        from evalkit.render.document import json_schema
    click.echo(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())
