"""`evalkit schema`: the JSON Schema of what people write and of what machines read."""

from __future__ import annotations

import click


@click.command("schema")
@click.argument("document", type=click.Choice(["config", "comparison"]), default="config")
def command(document: str) -> None:
    """Print a JSON Schema.

    DOCUMENT is "config" (an endpoint's YAML file, the default) or "comparison" (what `compare --json` prints).
    """
    import orjson

    if document == "config":
        from evalkit.config import json_schema
    else:
        from evalkit.render.document import json_schema
    click.echo(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())
