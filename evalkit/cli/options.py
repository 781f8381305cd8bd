"""The options of all commands, made of `commands.toml`, and the option class that they make; handing over results."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from evalkit.errors import UsageError
from evalkit.resources import toml_table

if TYPE_CHECKING:
    from evalkit.render.words import Language

Function = TypeVar("Function", bound=Callable[..., Any])
Options = TypeVar("Options")


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


def made(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The option class that a command's values say: each field by its name, the tolerances from `margins`."""
    margins, margin = given.get("margins", ({}, None))
    said = {**given, "margins_pt": margins, "margin_pt": margin}
    known: tuple[Any, ...] = fields(kind)  # type: ignore[arg-type]
    return kind(**{one.name: said[one.name] for one in known if one.name in said})


def read_margins(
    _context: click.Context, _parameter: click.Parameter, texts: Sequence[str]
) -> tuple[dict[str, float], float | None]:
    """The tolerances by name and the one for all others (percentage points) that `[NAME=]POINTS` texts say."""
    from evalkit.options import check_points

    margins: dict[str, float] = {}
    for text in texts:
        name, named, points = text.rpartition("=")
        if named and not name.strip():
            raise click.BadParameter(f"{text!r} names no suite before the =", param_hint="--margin")
        try:
            margins[name] = check_points(float(points), text)
        except (ValueError, UsageError) as error:
            told = str(error) if isinstance(error, UsageError) else f"{text!r} is not POINTS or SUITE=POINTS"
            raise click.BadParameter(told, param_hint="--margin") from None
    return margins, margins.pop("", None)


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


def read_number(_context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A number that is one: a range lets NaN through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number", param=parameter)
    return value


def _hushed(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value:
        from evalkit.waits import hush

        hush()
    return value


_TYPES: Final = {
    "path": click.Path(path_type=Path),
    "there": click.Path(path_type=Path, exists=True),
    "folder": click.Path(path_type=Path, file_okay=False),
    "file": click.Path(path_type=Path, dir_okay=False),
    "int": int,
}
_RANGES: Final[Mapping[str, Callable[..., Any]]] = {
    "int": click.IntRange,
    "above": partial(click.FloatRange, min_open=True),
    "below": partial(click.FloatRange, max_open=True),
    "between": partial(click.FloatRange, min_open=True, max_open=True),
}
_READERS: Final = {
    "margins": read_margins,
    "items": read_items,
    "flips": read_flips,
    "number": read_number,
    "hushed": _hushed,
}


def _table(name: str) -> dict[str, Any]:
    return toml_table(Path(__file__).with_name("commands.toml"), name)


def commands() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """The commands by the group of `evalkit --help`: `at`, where each stands here, `about`, its line of help."""
    return _table("commands")


def sections(command: str) -> Mapping[str, Sequence[str]]:
    """The headings under which the help of a command lists its options."""
    found: Mapping[str, Sequence[str]] = _table("headings")[command]
    return found


def of(command: str, kind: type | None = None) -> Callable[[Function], Function]:
    """All options of a command, as `commands.toml` says, and what its help has below the function's one sentence.

    A default that is not said there is that of the option class.
    """
    shared, more = _table("shared"), _table("more").get(command, "")
    defaults = {} if kind is None else {one.name: one.default for one in fields(kind) if one.default is not MISSING}

    def decorate(function: Function) -> Function:
        for name, own in reversed(_table(command).items()):
            function = _option(name, {**shared.get(name, {}), **own}, defaults)(function)
        function.__doc__ = f"{function.__doc__}\n\n{more}"
        return function

    return decorate


def _option(name: str, said: dict[str, Any], defaults: Mapping[str, Any]) -> Callable[[Function], Function]:
    to = said.pop("to", name.replace("-", "_"))
    if to in defaults and not said.get("multiple"):
        said.setdefault("default", defaults[to])
    for word, range_of in _RANGES.items():
        if word in said:
            said["type"] = range_of(*said.pop(word))
    if "choice" in said:
        said["type"] = click.Choice(said.pop("choice"))
    said["type"] = _TYPES.get(said.get("type", ""), said.get("type"))
    if "reads" in said:
        said["callback"] = _READERS[said.pop("reads")]
    if said.pop("argument", False):
        return click.argument(name, **said)
    return click.option(*said.pop("names", [f"--{name}"]), to, **said)


def spoken() -> Language:
    """The language of what is printed for people: `evalkit --language`, or EVALKIT_LANGUAGE; else English."""
    return "zh" if os.environ.get("EVALKIT_LANGUAGE") == "zh" else "en"


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    import orjson

    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def deliver(content: str | bytes, out: Path | None) -> None:
    """Writes to a file and says so on stderr, or prints to stdout.

    Raises `StorageError`: the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    if out is None:
        click.echo(data if data.endswith(b"\n") else data + b"\n", nl=False)
        return
    from evalkit.files import write_whole

    write_whole(out, data)
    click.echo(f"wrote {out}", err=True)
