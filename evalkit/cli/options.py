"""Options that several commands share, and the option class that they make; what is given to a command, written out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from evalkit.errors import UsageError
from evalkit.options import check_points

Function = TypeVar("Function", bound=Callable[..., Any])
Options = TypeVar("Options")
FILE = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, file_okay=False)


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


def together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Several options as one decorator, listed in this order."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def made(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The option class that a command's values say: each field by its name, the tolerances from `margins`."""
    margins, margin = given.get("margins", ({}, None))
    said = {**given, "margins_pt": margins, "margin_pt": margin}
    known: tuple[Any, ...] = fields(kind)  # type: ignore[arg-type]
    return kind(**{one.name: said[one.name] for one in known if one.name in said})


# ---------------------------------------------------------------- what texts mean


def read_margins(
    _context: click.Context, _parameter: click.Parameter, texts: Sequence[str]
) -> tuple[dict[str, float], float | None]:
    """The tolerances by name and the one for all others (percentage points) that `[NAME=]POINTS` texts say."""
    margins: dict[str, float] = {}
    default: float | None = None
    for text in texts:
        name, named, points = text.rpartition("=")
        if named and not name.strip():
            raise click.BadParameter(f"{text!r} names no suite before the =", param_hint="--margin")
        try:
            margin = check_points(float(points), text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not POINTS or SUITE=POINTS", param_hint="--margin") from None
        except UsageError as error:
            raise click.BadParameter(str(error), param_hint="--margin") from None
        if name:
            margins[name] = margin
        else:
            default = margin
    return margins, default


def read_items(
    _context: click.Context | None, _parameter: click.Parameter | None, texts: Sequence[str]
) -> dict[str, int]:
    """The numbers of items by name that NAME=N texts say."""
    items: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise click.BadParameter(f"{text!r} is not NAME=N", param_hint="--items")
        items[name] = int(number)
    return items


def read_flips(_context: click.Context, _parameter: click.Parameter, text: str) -> int | None:
    """A number, or None for `all`."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is neither a number nor `all`", param_hint="--flips")
    return int(text)


def _hushed(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value:
        from evalkit.waits import hush

        hush()
    return value


# ---------------------------------------------------------------- the options


overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the configuration, e.g. sampling.temperature=0.6.",
)
limit = click.option(
    "--limit", type=click.IntRange(min=1), help="Ask only N items of each suite (a larger N only adds items)."
)
anyway = click.option(
    "--anyway", is_flag=True, help="Go on where the two sides say what makes any comparison of them INVALID."
)
quiet = click.option("--quiet", "-q", is_flag=True, callback=_hushed, help="No progress, results only.")
as_json = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout; words for people on stderr."
)
comparison = click.argument("comparison", metavar="CMP", type=FILE)
language = click.option("--language", type=click.Choice(["en", "zh"]), default="en", help="English or Chinese.")


def margin(what: str, name: str = "SUITE") -> Callable[[Function], Function]:
    """`--margin [SUITE=]POINTS`, any number of times."""
    return click.option(
        "--margin", "margins", multiple=True, metavar=f"[{name}=]POINTS", callback=read_margins, help=what
    )


def alpha(what: str) -> Callable[[Function], Function]:
    """`--alpha`, the level of each one-sided test."""
    level = click.FloatRange(0, 0.5, min_open=True, max_open=True)
    return click.option("--alpha", type=level, default=0.05, help=what)


def items(what: str, name: str = "SUITE") -> Callable[[Function], Function]:
    """`--items NAME=N`, any number of times."""
    return click.option("--items", multiple=True, metavar=f"{name}=N", callback=read_items, help=what)


overall_margin = click.option(
    "--overall-margin",
    "overall_margin_pt",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    metavar="POINTS",
    help="Tolerance of the mean over several suites, in percentage points (default: the --margin for all, the "
    "pack's, the files', or 2).",
)

reuse = together(
    click.option(
        "--stored",
        is_flag=True,
        help="Take stored answers as they are. Otherwise a dozen are asked for again, and it ends where another server "
        "answers than the one that gave them.",
    ),
    click.option("--again", is_flag=True, help="Ask for everything anew; the old runs are kept under another name."),
)
judging = together(
    margin("Tolerance in percentage points, for all suites or for one; it stands over the files' and packs' own."),
    overall_margin,
    click.option(
        "--pack", metavar="NAME|FILE", help="Take the tolerances of this pack and its suites (`evalkit suites`)."
    ),
    click.option(
        "--policy",
        metavar="NAME|FILE",
        help="A YAML file with margins, advisory suites and a rule of thumb, or a rule by its name (flagrelease-5pct, "
        "cts-2pct): what it would say and how often it errs is shown, and changes no verdict.",
    ),
    click.option(
        "--known",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A list of differences that somebody accepts for a time: they keep their verdict, and the exit code is "
        "that of all others.",
    ),
    alpha("Level of each one-sided test; intervals are at 1 - 2 alpha."),
    click.option(
        "--on-inconclusive",
        type=click.Choice(["fail", "warn", "pass"]),
        default="fail",
        help="What an INCONCLUSIVE comparison ends with: exit code 4, or 0 with or without a warning.",
    ),
    click.option("--behaviour", is_flag=True, help="Print all rows beside accuracy, not only those with an alert."),
    click.option(
        "--flips",
        default="40",
        metavar="N|all",
        callback=read_flips,
        help="Changed items of a suite that the stored comparison holds with both replies.",
    ),
    click.option(
        "--include-questions", is_flag=True, help="Store items and replies of gated data sets too, where they changed."
    ),
    click.option("--out", type=FOLDER, help="Folder for the comparison (default: beside what is compared)."),
)


# ---------------------------------------------------------------- handing over what was made


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def deliver(content: str | bytes, out: Path | None) -> None:
    """Writes to a file and says so on stderr, or prints to stdout.

    Raises:
        StorageError: the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    if out is None:
        click.echo(data if data.endswith(b"\n") else data + b"\n", nl=False)
        return
    from evalkit.files import write_whole

    write_whole(out, data)
    click.echo(f"wrote {out}", err=True)
