"""The `evalkit` command for tests: whole, in this process; as a click call; or in a process of its own."""

import contextlib
import gc
import io
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# What a machine that runs the tests may say to evalkit; the tests say it themselves.
OURS = ("EVALKIT_", "HF_", "GITHUB_", "GITLAB_")


def surroundings(more=None):
    """The environment of a command: the test's cache, no network, and no quick check that would add to the requests."""
    kept = {name: value for name, value in os.environ.items() if name == "EVALKIT_CACHE" or not name.startswith(OURS)}
    own = {"COLUMNS": "160", "HF_HUB_OFFLINE": "1", "EVALKIT_NO_DOCTOR": "1", "EVALKIT_PROBE": "0"}
    return {**kept, **own, **(more or {})}


def run_process(*arguments, cwd=None, env=None, timeout=300):
    """Runs the command in a process of its own, as a user does. A second dear, so for what needs a process."""
    return subprocess.run(
        [sys.executable, "-m", "evalkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd or Path.cwd(),
        env=surroundings(env),
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def run_here(*arguments, cwd=None, env=None, environment=None, merged=False):
    """Runs `evalkit.cli.main` in this process, with streams, environment, folder and signals of its own.

    Gives what `run_process` gives; imports are paid once. `env` adds to the usual environment, `environment` is a whole
    one; `merged` has errors in stdout, in the order in which they were said.
    """
    from evalkit.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in "oe")
    err = out if merged else err
    argv = ["evalkit", *map(str, arguments)]
    with (
        _as_it_was(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        Path(os.devnull).open() as none,
    ):
        os.environ.clear()
        os.environ.update(surroundings(env) if environment is None else environment)
        os.chdir(cwd or Path.cwd())
        sys.argv, sys.stdin = argv, none
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(argv, code, said[0], "" if merged else said[1])


@contextlib.contextmanager
def _as_it_was():
    """Puts back what a command may change in its process."""
    environment, folder, argv, stdin = dict(os.environ), Path.cwd(), sys.argv, sys.stdin
    temporary, tempfile.tempdir = tempfile.tempdir, None  # found anew, for an environment may name another
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    thresholds = gc.get_threshold()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv, sys.stdin, tempfile.tempdir = argv, stdin, temporary
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.set_threshold(*thresholds)


class Done:
    """How a click call in this process ended: exit code, stdout, stderr (with the error's sentence)."""

    def __init__(self, result):
        error = result.exception
        self.code = getattr(error, "exit_code", 70) if error else (result.return_value or 0)
        self.out, self.err = result.stdout, result.stderr + (f"evalkit: {error}\n" if error else "")
        if error and self.code == 70:
            raise error


def invoke(*arguments):
    """Runs the command as click's tests do, in the test's own environment."""
    from click.testing import CliRunner

    from evalkit.cli.app import cli

    return Done(CliRunner().invoke(cli, [str(one) for one in arguments], standalone_mode=False))
