"""`evalkit runs` lists and verifies what is stored; `evalkit runs cat` prints what came back."""

from dataclasses import asdict
from pathlib import Path

import click

from evalkit.cli import options


@click.group("runs", invoke_without_command=True)
@options.of("runs")
@click.pass_context
def command(ctx: click.Context, runs: Path, as_json: bool) -> int:
    """List the stored runs with what they take on disk, and verify every record, table and checksum of them."""
    if ctx.invoked_subcommand is not None:
        return 0
    from evalkit.examine.stored import size_of, stored_runs

    found = stored_runs(runs)
    whole = size_of([runs])
    if as_json:
        listed = [{**asdict(one), "folder": str(one.folder)} for one in found]
        options.print_json({"runs": listed, "disk_bytes": whole})
    else:
        from rich.console import Console
        from rich.text import Text

        from evalkit.render.terminal import sheet
        from evalkit.render.words import amount

        words = ("run", "last session", "suites")
        table = sheet(*words, "answers", "failures", "on disk", left=words)
        for one in found:
            numbers = f"{one.answers:,}", f"{one.failures:,}", f"{amount(one.disk_bytes)}B"
            table.add_row(Text(one.folder.name), one.started[:16], Text(", ".join(one.suites)), *numbers)
        Console().print(table)
        click.echo(f"{len(found)} run{'s' * (len(found) != 1)}, {amount(whole)}B in {runs}")
    problems = [sentence for one in found for sentence in one.problems]
    for sentence in problems:
        click.echo(f"evalkit: {sentence}", err=True)
    return 3 if problems else 0


@command.command("cat")
@options.of("runs-cat")
def cat(run: Path, include_questions: bool, **wanted: str | int | None) -> None:
    """Print what came back in a run, a JSON object a line: each reply with its body, each failure with its reason."""
    import orjson

    from evalkit.examine.stored import records
    from evalkit.run import manifest

    gated = set()
    if not include_questions and (run / manifest.NAME).is_file():
        gated = {record.suite for session in manifest.sessions(run) for record in session.suites if record.gated}
    hidden = 0
    for record in records(run):
        if any(value is not None and record[name] != value for name, value in wanted.items()):
            continue
        if record["suite"] in gated and record.pop("body", None) is not None:
            hidden += 1
        click.echo(orjson.dumps(record))
    if hidden:
        click.echo(f"evalkit: {hidden:,} bodies of gated data sets are left out: --include-questions", err=True)
