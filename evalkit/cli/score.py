"""`evalkit score FILE`: grades the stored replies again, for a new scorer or after an interrupted run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from evalkit.cli import options


@click.command("score")
@click.argument("file", type=click.Path(path_type=Path))
@options.overrides
@options.limit
@options.as_json
def command(file: Path, overrides: tuple[str, ...], limit: int | None, as_json: bool) -> int:
    """Grade the stored replies of a run again; no endpoint is asked.

    FILE is the endpoint's YAML, as given to `evalkit run`. Exits 3 where a sample has no score.
    """
    from datetime import UTC, datetime

    from evalkit.cli.run import _lines, summary
    from evalkit.config import public_dump
    from evalkit.errors import RunError
    from evalkit.run import execute, journal, manifest, rows

    config = options.load(file, overrides, limit)
    side = execute.prepare(config)
    if not side.folder.is_dir():
        raise RunError(f"{side.folder}: there is no such run: `evalkit run {file}` makes it")
    with journal.Journal(side.folder):
        rows.write_items(side.folder, side.plan)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        session = manifest.Session(config.name, now, config.model, public_dump(config), {})
        manifest.append(side.folder, execute.unasked(side, session))
        asyncio.run(execute.grade_sides([side], execute.Watch(), ask=False, again=True))
    report = summary(execute.Outcome(side, 0, 0, None, {}))
    if as_json:
        import orjson

        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo("\n".join(_lines(report)))
    return 0 if all(suite["valued"] == suite["planned"] for suite in report["suites"]) else 3
