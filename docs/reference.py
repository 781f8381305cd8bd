"""Writes docs/commands.md, the help of every command: `python docs/reference.py > docs/commands.md`."""
# ruff: noqa: INP001 - a script

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from evalkit.cli.app import COMMANDS, cli

_WIDTH = 100
_HEAD = """\
# All commands

What `--help` prints of each command. This page is written by `make docs-commands`.
"""


def reference() -> str:
    """The page: every command and its subcommands in the order of `evalkit --help`."""
    root = click.Context(cli, info_name="evalkit", terminal_width=_WIDTH, **cli.context_settings)
    parts = [_HEAD, _section("evalkit", cli.get_help(root))]
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None  # noqa: S101 - the name is from the table of commands
        parts.extend(_sections(command, name, root))
    return "\n".join(parts)


def _sections(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    """A command, then what is under it; what a group runs by itself is in the group's own help."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=_WIDTH)
    yield _section(context.command_path, command.get_help(context))
    if isinstance(command, click.Group):
        own = command.get_help(context)
        for inner in command.list_commands(context):
            one = command.get_command(context, inner)
            if one is not None and f"  {inner} " in own:
                yield from _sections(one, inner, context)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.strip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
