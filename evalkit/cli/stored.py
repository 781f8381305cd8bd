"""What the commands that render a stored comparison share: reading it, and handing over what was made from it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from evalkit.model import Comparison

Function = TypeVar("Function", bound=Callable[..., Any])

NAME: Final = "comparison.json"


def argument(function: Function) -> Function:
    """`CMP`, the stored comparison."""
    return click.argument("comparison", metavar="CMP", type=click.Path(path_type=Path))(function)


def language(function: Function) -> Function:
    """`--language en|zh`."""
    choice = click.Choice(["en", "zh"])
    return click.option("--language", type=choice, default="en", show_default=True, help="English or Chinese.")(
        function
    )


def read(path: Path) -> Comparison:
    """The comparison of a file, or of the folder that `evalkit compare` stored it in.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    from evalkit.errors import UsageError
    from evalkit.render.document import from_json

    file = path / NAME if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        hint = "give the folder or the file that `evalkit compare` said it stored"
        raise UsageError(f"{file}: cannot be read ({error.strerror}): {hint}") from error
    return from_json(data, str(file))


def deliver(content: str | bytes, out: Path | None) -> None:
    """Writes to a file and says so on stderr, or prints to stdout.

    Raises:
        StorageError: the file cannot be written.
    """
    from evalkit.errors import StorageError

    data = content.encode() if isinstance(content, str) else content
    if out is None:
        click.echo(data if data.endswith(b"\n") else data + b"\n", nl=False)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data)
    except OSError as error:
        raise StorageError(f"{out}: cannot be written: {error.strerror}") from error
    click.echo(f"wrote {out}", err=True)


def replace_file(path: Path, content: bytes) -> None:
    """Puts new content in place of a file's, whole or not at all; the file keeps its permissions.

    Raises:
        StorageError: the folder cannot be written.
    """
    from evalkit.errors import StorageError

    real = path.resolve()  # a link stays a link
    draft = real.with_name(f".{real.name}.evalkit-{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.chmod(real.stat().st_mode & 0o7777)
        draft.replace(real)
    except OSError as error:
        with contextlib.suppress(OSError):  # a file system that refuses to write refuses to remove, too
            draft.unlink()
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def refuse_terminal(option: str) -> None:
    """Refuses to pour a page for a browser into a terminal.

    Raises:
        UsageError: stdout is a terminal.
    """
    from evalkit.errors import UsageError

    if sys.stdout.isatty():
        raise UsageError(f"this is a page for a browser: give {option} FILE.html")
