"""Options and small things that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


class Sectioned(click.Command):
    """A command whose help lists its many options under headings; what no heading claims stands last."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One list of options a heading."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        records = {name: one.get_help_record(ctx) for one in options for name in one.opts if name.startswith("--")}
        claimed = {name for names in self.sections.values() for name in names}
        others = [name for name in records if name not in claimed]
        for heading, names in {**self.sections, "Other options": others}.items():
            with formatter.section(heading):
                formatter.write_dl([record for name in names if (record := records[name])])


def overrides(function: Function) -> Function:
    """`--set a.b=c`, any number of times."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a key of the configuration, e.g. sampling.temperature=0.6.",
    )(function)


def limit(function: Function) -> Function:
    """`--limit N`."""
    return click.option(
        "--limit", type=click.IntRange(min=1), help="Ask only N items of each suite (a larger N only adds items)."
    )(function)


def quiet(function: Function) -> Function:
    """`--quiet`."""
    return click.option("--quiet", "-q", is_flag=True, callback=_hushed, help="No progress, results only.")(function)


def _hushed(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value:
        from evalkit.waits import hush

        hush()
    return value


def as_json(function: Function) -> Function:
    """`--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout; words for people on stderr."
    )(function)


def load(path: Path, given: tuple[str, ...], limit: int | None = None) -> Any:
    """The configuration of a file, with `--set` and `--limit` applied.

    Raises:
        ConfigError: for any mistake in it.
    """
    from evalkit.config import load_config

    config = load_config(path, given)
    return config if limit is None else with_limit(config, limit)


def with_limit(config: Any, limit: int) -> Any:
    """The configuration with every suite, a pack's too, limited to so many items."""
    from evalkit.config import SuiteChoice
    from evalkit.tasks.suites import find_pack

    names = [entry.name for entry in find_pack(config.pack, config.suite_folders).suites] if config.pack else []
    choices = {choice.name: choice for choice in config.suites}
    for name in names:
        choices.setdefault(name, SuiteChoice(name=name, limit=limit))
    limited = []
    for choice in choices.values():
        smaller = limit if choice.limit is None else min(limit, choice.limit)
        # Going through the fields keeps `model_fields_set`, which tells what this file says from what a pack says.
        limited.append(choice.model_copy(update={"limit": smaller}))
    return config.model_copy(update={"suites": tuple(limited)})
