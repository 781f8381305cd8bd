"""`evalkit suites` lists, shows and checks suites; `init` and `schema`: configuration files to start from."""

from pathlib import Path
from typing import Any

import click

from evalkit.cli import options


@click.group("suites", invoke_without_command=True)
@options.of("suites")
@click.pass_context
def command(ctx: click.Context, folders: tuple[Path, ...], as_json: bool) -> None:
    """List the suites and packs: items, repeats, margin, headline, where they came from; licences with --json."""
    ctx.obj = folders
    if ctx.invoked_subcommand is not None:
        return
    from evalkit.tasks.suites import all_packs, all_suites

    suites = sorted(all_suites(folders).values(), key=lambda suite: suite.name)
    packs = all_packs(folders)
    if as_json:
        document = {
            "suites": [_described(s) for s in suites],
            "packs": {p.name: [s.model_dump(exclude_unset=True) for s in p.suites] for p in packs.values()},
        }
        options.print_json(document)
        return
    _print_table(suites)
    click.echo("\nPacks (use as `pack:` in a configuration)")
    for pack in packs.values():
        click.echo(f"  {pack.name}: {pack.about}\n    {', '.join(entry.name for entry in pack.suites)}")


_DESCRIBED = {
    *("name", "label", "about", "repeats", "margin_pt", "headline"),
    *("licence", "gated", "needs", "origin", "file"),
}


def _described(suite: Any) -> dict[str, Any]:
    return {**suite.model_dump(mode="json", include=_DESCRIBED), "items": suite.rows}


def _print_table(suites: list[Any]) -> None:
    from rich.console import Console

    from evalkit.render.terminal import sheet

    table = sheet("suite", "items", "k", "margin", "headline", "from", left={"suite", "headline", "from"})
    table.columns[0].no_wrap = True
    for suite in suites:
        items = "" if suite.rows is None else str(suite.rows)
        needs = f"; needs {', '.join(suite.needs)}" if suite.needs else ""
        gated = "; gated" if suite.gated else ""
        table.add_row(
            suite.name,
            items,
            str(suite.repeats),
            f"{suite.margin_pt:g} pt",
            suite.headline + needs + gated,
            suite.origin,
        )
    Console().print(table)


@command.command("show")
@options.of("suites-show")
@click.pass_obj
def show(folders: tuple[Path, ...], name: str, item: str | None, data: Path | None) -> None:
    """Print the rendered prompt of an item of suite NAME, and what the scorer expects."""
    from evalkit.errors import SuiteError
    from evalkit.tasks.items import LoadOptions, load_suite
    from evalkit.tasks.suites import find_suite

    suite = find_suite(name, folders)
    wanted = LoadOptions(data=str(data) if data else None, limit=None if item else 1, partial=True)
    loaded = load_suite(suite, wanted)
    chosen = next((one for one in loaded.items if item is None or one.id == item), None)
    if chosen is None:
        raise SuiteError(f"{name}: has no item {item!r}")
    click.echo(f"# {suite.label}: {suite.about}\n# file {suite.file}\n# item {chosen.id}, scorer {loaded.scorer_id}")
    _print_item(chosen)


def _print_item(item: Any) -> None:
    """The turns of an item's prompt, and what the scorer expects."""
    for message in item.prompt.messages:
        click.echo(f"\n--- {message['role']}")
        content = message["content"]
        _echo(content if isinstance(content, str) else "\n".join(p.get("text", "[picture]") for p in content))
    for part in item.parts:
        _echo(f"\n--- text\n{part.text}")
    _echo(f"\n--- expected\n{item.target}")


def _echo(text: str) -> None:
    """Prints a data set's text; what would steer a terminal is escaped."""
    click.echo("".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text))


@command.command("check")
@options.of("suites-check")
def check(paths: tuple[Path, ...], data: Path | None, items: int) -> None:
    """Check suites before a run: every key, the data, and the scorer on a right, a wrong and an empty reply."""
    from evalkit.errors import SuiteError
    from evalkit.examine.suite_files import check_files
    from evalkit.tasks.items import LoadOptions

    wanted = LoadOptions(data=str(data) if data else None, partial=True)
    problems: list[str] = []
    for found in check_files(paths, wanted, items):
        _print_checked(found)
        problems += found.problems
    if problems:
        raise SuiteError("\n".join(problems))
    click.echo("\nall is well")


def _print_checked(found: Any) -> None:
    from evalkit.render.words import say

    count = len(found.problems)
    state = f"{count} problem{'s' if count > 1 else ''}" if count else "sound"
    click.echo(f"# {found.file}: {found.what} {found.name}: {state}")
    for note in found.notes:
        click.echo(f"# {say(note)}")
    if found.loaded is not None:
        click.echo(f"# {found.loaded.total_items} items, scorer {found.loaded.scorer_id}")
    for item in found.items:
        click.echo(f"\n# item {item.id}")
        _print_item(item)
        for trial in found.trials.get(item.id, ()):
            value = "no score" if trial.score.value is None else f"{trial.score.value:g}"
            _echo(f"--- {trial.kind} reply {trial.reply[:80]!r}: {value} ({trial.score.reason[:200]})")
        click.echo("")


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def init(folder: Path) -> None:
    """Write a commented pair of configuration files into FOLDER (default: here); nothing is overwritten."""
    from evalkit.config import write_pair

    for path in write_pair(folder):
        click.echo(f"wrote {path}")
    click.echo("set base_url, model and build (what is served) in both, then:")
    click.echo("evalkit compare reference.yaml candidate.yaml")


@click.command("schema")
@options.of("schema")
def schema(document: str, suite: bool) -> None:
    """Print a JSON Schema."""
    if suite:
        from evalkit.config.suite import suite_schema as json_schema
    elif document == "policy":
        from evalkit.config.suite import policy_schema as json_schema
    elif document == "config":
        from evalkit.config import json_schema
    else:
        from evalkit.render.document import json_schema
    options.print_json(json_schema())


@click.command("facts")
@options.of("facts")
def facts(program: str, as_json: bool) -> None:
    """Print what a server runs on: chip, count, driver, firmware and the versions that decide what it computes."""
    from evalkit.errors import UsageError
    from evalkit.serve.facts import build_of
    from evalkit.serve.facts import facts as facts_of
    from evalkit.waits import finished

    found = finished(facts_of(program))
    if not found:
        raise UsageError(f"{program}: no engine in its Python and no chip's tool here: run it where the server runs")
    told = {**found, "build": build_of(found)}
    if as_json:
        options.print_json(told)
        return
    for name, text in told.items():
        click.echo(f"{name + ':':<14} {text.strip()}")


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete evalkit's commands, options and files.

    \b
    bash: evalkit completion bash > ~/.local/share/bash-completion/completions/evalkit
    zsh:  evalkit completion zsh > ~/.zfunc/_evalkit    (a folder of your fpath)
    fish: evalkit completion fish > ~/.config/fish/completions/evalkit.fish
    """  # noqa: D301 - click reads \b: these lines are not to be wrapped
    from click.shell_completion import get_completion_class

    from evalkit.cli.app import COMPLETE, cli

    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(cli, {}, "evalkit", COMPLETE).source())
