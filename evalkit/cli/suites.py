"""`evalkit suites`: lists suites and packs; `evalkit suites show NAME` prints what is sent for an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.group("suites", invoke_without_command=True)
@click.option(
    "--folder", "folders", multiple=True, type=click.Path(path_type=Path), help="A folder with suites of yours."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(ctx: click.Context, folders: tuple[Path, ...], as_json: bool) -> None:
    """List the suites and packs: items, repeats, margin, headline, licence, where they came from."""
    ctx.obj = folders
    if ctx.invoked_subcommand is not None:
        return
    from evalkit.tasks.suites import all_packs, all_suites

    suites = sorted(all_suites(folders).values(), key=lambda suite: suite.name)
    packs = all_packs(folders)
    if as_json:
        import orjson

        document = {
            "suites": [_described(s) for s in suites],
            "packs": {p.name: [s.model_dump(exclude_unset=True) for s in p.suites] for p in packs.values()},
        }
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    _print_table(suites)
    click.echo("\nPacks (use as `pack:` in a configuration)")
    for pack in packs.values():
        click.echo(f"  {pack.name}: {pack.about}\n    {', '.join(entry.name for entry in pack.suites)}")


def _described(suite: Any) -> dict[str, Any]:
    return {
        "name": suite.name,
        "label": suite.label,
        "about": suite.about,
        "items": suite.rows,
        "repeats": suite.repeats,
        "margin_pt": suite.margin_pt,
        "headline": suite.headline,
        "licence": suite.licence,
        "gated": suite.gated,
        "needs": list(suite.needs),
        "origin": suite.origin,
        "file": str(suite.file),
    }


def _print_table(suites: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name, justify in (("suite", "left"), ("items", "right"), ("k", "right"), ("margin", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in ("headline", "licence", "from"):
        table.add_column(name, overflow="fold")
    for suite in suites:
        licence = f"{suite.licence} (gated)" if suite.gated else suite.licence
        items = "" if suite.rows is None else str(suite.rows)
        needs = f"; needs {', '.join(suite.needs)}" if suite.needs else ""
        table.add_row(
            suite.name,
            items,
            str(suite.repeats),
            f"{suite.margin_pt:g} pt",
            suite.headline + needs,
            licence,
            suite.origin,
        )
    Console().print(table)


@command.command("show")
@click.argument("name")
@click.option("--item", help="The item's id; without it, the first by id order of the data set.")
@click.option("--data", type=click.Path(path_type=Path), help="A folder with the data set (or EVALKIT_DATA).")
@click.pass_obj
def show(folders: tuple[Path, ...], name: str, item: str | None, data: Path | None) -> None:
    """Print the rendered prompt of an item of suite NAME, and what the scorer expects."""
    from evalkit.errors import SuiteError
    from evalkit.tasks.items import LoadOptions, load_suite
    from evalkit.tasks.suites import find_suite

    suite = find_suite(name, folders)
    options = LoadOptions(data=str(data) if data else None, limit=None if item else 1, partial=True)
    loaded = load_suite(suite, options)
    chosen = next((one for one in loaded.items if item is None or one.id == item), None)
    if chosen is None:
        raise SuiteError(f"{name}: has no item {item!r}")
    click.echo(f"# {suite.label}: {suite.about}\n# file {suite.file}\n# item {chosen.id}, scorer {loaded.scorer_id}")
    for message in chosen.prompt.messages:
        click.echo(f"\n--- {message['role']}")
        content = message["content"]
        click.echo(content if isinstance(content, str) else "\n".join(p.get("text", "[picture]") for p in content))
    click.echo(f"\n--- expected\n{chosen.target}")
