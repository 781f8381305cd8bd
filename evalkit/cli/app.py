"""The list of commands, each loaded when used, and the one place where errors become exit codes."""

import errno
import importlib
import os
import signal
import stat
import sys
import traceback
from typing import Any, Final

import click

from evalkit.cli import options
from evalkit.errors import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EvalkitError, did_you_mean

GROUPS: Final = options.commands()
COMMANDS: Final = {name: command for group in GROUPS.values() for name, command in group.items()}
COMPLETE: Final = "_EVALKIT_COMPLETE"


class Commands(click.Group):
    """A click group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Imports the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name]["at"].partition(".")
        command: click.Command = getattr(importlib.import_module(f"evalkit.cli.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest command named for a mistyped one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS, "; `evalkit --help` lists them")
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Lists the commands by group, without importing them."""
        for group, commands in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(f"{name:<12}", command["about"]) for name, command in commands.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="flagos-evalkit", prog_name="evalkit")
@options.of("evalkit")
def cli(language: str | None, debug: bool) -> None:
    """Shows whether a ported model is still the same model."""
    if debug:
        os.environ["EVALKIT_DEBUG"] = "1"
    if language is not None:
        os.environ["EVALKIT_LANGUAGE"] = language


def run() -> None:
    """Runs the command line and ends the process with the verdict's or the error's exit code."""
    # A cluster's "stop" is SIGTERM, a closed terminal's SIGHUP: treated as Ctrl-C, so that launched servers end and the
    # journal closes. Who started this with `nohup` wants it to go on without a terminal.
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)
    if sys.stderr.isatty():
        from evalkit.waits import show_on

        show_on(lambda sentence: click.echo(f"evalkit: {sentence}", err=True))
    try:
        # click's own `main` would end with 1, a verdict's code, where the reader of our output goes away.
        _complete()
        with cli.make_context("evalkit", sys.argv[1:]) as context:
            result: Any = cli.invoke(context)
        code = result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        click.echo(f"evalkit: {error.format_message()}", err=True)
        if where is not None:
            click.echo(f"`{where.command_path} --help` has the options", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: what a run was answered is kept, and asked again it goes on from there", err=True)
        code = EXIT_INTERRUPTED
    except EvalkitError as error:
        _show(error)
        code = error.exit_code
    except (BrokenPipeError, SystemExit):
        # rich raises SystemExit where the reader of our output went away; nothing else does.
        code = EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last stop: a defect of ours ends with 70 and says so
        code = _unforeseen(error)
    sys.exit(_flushed(code))


def _complete() -> None:
    """Ends with what a shell may put there, where it asks for that."""
    if asked := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        raise click.exceptions.Exit(shell_complete(cli, {}, "evalkit", COMPLETE, asked))


def _unforeseen(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        click.echo("evalkit: the output cannot be written: no space left on the device", err=True)
        return 3
    _show(error)
    click.echo("this is a defect of evalkit; `evalkit --debug ...` shows where", err=True)
    return 70


def _flushed(code: int) -> int:
    """The code, with what is still to be written written; a reader that went away does not change a verdict's code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Or the interpreter would try again at its end, and say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        click.echo(f"evalkit: the output cannot be written: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
    return code


def _end(*_: object) -> None:
    """Ends as Ctrl-C does, also where a shell has started the process in the background and had Ctrl-C ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def _hang_up(*_: object) -> None:
    """Ends as Ctrl-C does; what is still said goes nowhere where the terminal is gone, instead of failing."""
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    _end()


def _show(error: BaseException) -> None:
    if os.environ.get("EVALKIT_DEBUG"):
        traceback.print_exception(error)
    else:
        name = "" if isinstance(error, EvalkitError) else f"{type(error).__name__}: "
        click.echo(f"evalkit: {name}{error}", err=True)
