"""Starts a command under the guard (`guard.py`) and stops it whatever happens: evalkit's side of that pair."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from evalkit.config.redact import redacted, secrets_of_process, spellings, withheld
from evalkit.errors import LaunchError

GUARD: Final = Path(__file__).with_name("guard.py")
TAIL_LINES: Final = 20
TAIL_BYTES: Final = 16_384
LINE_CHARACTERS: Final = 300
COMMAND_CHARACTERS: Final = 1000
_COLOUR: Final = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
# What the guard may need beyond the command's own time to end: killing again, for ten seconds at most.
GUARD_SECONDS: Final = 15.0
_LAST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be run: `env` is added to evalkit's own environment without its secrets; output goes to `log_file`.

    `title` stands for the command line in messages where that would tell nobody anything. `other_logs` are files to
    which the command appends by itself: their ends are shown too. `known_secrets` are values that no name gives away.
    """

    argv: tuple[str, ...]
    log_file: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stop_seconds: float = 30.0
    title: str = ""
    other_logs: tuple[Path, ...] = ()
    known_secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that are never to be shown."""
        return secrets_of_process(self.argv, self.env, self.known_secrets)

    @property
    def line(self) -> str:
        """The command line as a shell would take it, on one line, bounded, without what its options say is secret."""
        return _safe(shlex.join(redacted(list(self.argv), self.secrets, "argv")), COMMAND_CHARACTERS)

    def __str__(self) -> str:
        return self.title or f"`{self.line}`"


class Guarded:
    """A command that runs. `pid` is its process and the number of its process group.

    `base_url` is where it answers, "" until it does.
    """

    def __init__(self, command: Command, log_start: int) -> None:
        self.command = command
        self.pid = 0
        self.base_url = ""
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """Done when the command ended by itself: its exit code, minus the signal's number, or None if unknown."""
        others = [(log, log.stat().st_size if log.is_file() else 0) for log in command.other_logs]
        self._logs = [(command.log_file, log_start), *others]

    def end_sentence(self) -> str:
        """How the command ended and the last lines that it wrote; only where `ended` is done."""
        return f"{self.command} {_how(self.ended.result())}{self.log_tail()}"

    def log_tail(self) -> str:
        """The last lines that this command wrote, for the end of a message: bounded, and without secrets."""
        told = ""
        for log, start in self._logs:
            lines = _tail(log, start, self.command.secrets)
            if lines:
                told += f"; the end of {log}:\n" + "\n".join(f"    {line}" for line in lines)
        return told or f"; it wrote nothing to {self.command.log_file}"


@asynccontextmanager
async def guarded(command: Command) -> AsyncIterator[Guarded]:
    """Runs `command` for the length of the context; afterwards nothing of it is left.

    Raises `LaunchError`: the command cannot be started, its folder is absent, or its log cannot be written.
    """
    if command.cwd is not None and not command.cwd.is_dir():
        raise LaunchError(f"{command} cannot be started: its working folder {command.cwd} does not exist")
    loop = asyncio.get_running_loop()
    process, running, told, life = _start(command)
    try:
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), told)
        try:
            await _started(running, reader)
            watching = asyncio.create_task(_watch(running, reader))
            try:
                yield running
            finally:
                watching.cancel()
        finally:
            transport.close()
    finally:
        with contextlib.suppress(BrokenPipeError):
            os.write(life, b"" if running.base_url else b"!")
        os.close(life)  # the order to stop
        await asyncio.to_thread(_wait, process, command.stop_seconds + GUARD_SECONDS)


def _start(command: Command) -> tuple[subprocess.Popen[bytes], Guarded, IO[bytes], int]:
    """The guard's process, what it guards, where it tells what happens, and the pipe whose closing stops it all."""
    with contextlib.ExitStack() as on_error, contextlib.ExitStack() as at_once:
        life_read, life = os.pipe()
        at_once.callback(os.close, life_read)
        on_error.callback(os.close, life)
        told_read, told_write = os.pipe()
        at_once.callback(os.close, told_write)
        told = on_error.enter_context(os.fdopen(told_read, "rb", 0))
        options = (str(life_read), str(told_write), str(os.getpid()), str(command.stop_seconds))
        try:
            log = at_once.enter_context(_log(command))
            log_start = log.tell()
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and script; the command is the user's
                (sys.executable, "-I", "-S", str(GUARD), *options, *command.argv),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(command),
                cwd=command.cwd,
                pass_fds=(life_read, told_write),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise LaunchError(f"{command} cannot be started with its log in {command.log_file}: {why}") from error
        _tell_secrets(process, command)
        on_error.pop_all()
    return process, Guarded(command, log_start), told, life


def _environment(command: Command) -> dict[str, str]:
    """All that vendors' software needs of evalkit's own environment, and no key that is not this command's."""
    kept = os.environ.keys() - withheld(os.environ)
    return {**{name: os.environ[name] for name in kept}, **command.env}


async def output_of(argv: Sequence[str], most_bytes: int, seconds: float) -> bytes:
    """The beginning of what a command writes; without keys in its environment, and ended when that is read.

    Raises `OSError`: it cannot be started, or fails without a word; `TimeoutError`: it takes longer.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(Command(tuple(argv), Path())),
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe, as said above
    try:
        async with asyncio.timeout(seconds):
            return await process.stdout.readexactly(most_bytes)
    except asyncio.IncompleteReadError as whole:
        if not whole.partial and (code := await process.wait()):
            raise OSError(f"it {_how(code)}") from None
        return whole.partial
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                while await process.stdout.read(most_bytes):  # asyncio waits for ever beside a pipe that is full
                    pass
                await process.wait()


def _tell_secrets(process: subprocess.Popen[bytes], command: Command) -> None:
    """By a pipe, for everybody can read a command line; a guard that is gone is noticed by whoever listens to it."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(asdict(spellings(command.secrets))).encode())


def _log(command: Command) -> IO[bytes]:
    """The log, opened for appending and for its owner alone, with lines that say when what was started and how."""
    command.log_file.parent.mkdir(parents=True, exist_ok=True)
    log = os.fdopen(os.open(command.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
    if stat.S_ISREG(os.fstat(log.fileno()).st_mode):
        with contextlib.suppress(PermissionError):  # somebody else's, or a file system without owners
            os.fchmod(log.fileno(), 0o600)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    said = f"--- {now} evalkit starts {command.line}\n"
    if kept_back := [name for name in withheld(os.environ) if name not in command.env]:
        said += f"--- not handed on, unless launch.env says so: {', '.join(sorted(kept_back))}\n"
    log.write(said.encode(errors="replace"))
    log.flush()
    return log


async def _started(running: Guarded, reader: asyncio.StreamReader) -> None:
    first = await _told(reader)
    if first is None:
        raise LaunchError(f"{running.command} cannot be started: its guard ended{running.log_tail()}")
    if "error" in first:
        raise LaunchError(f"{running.command} cannot be started: {first['error']}")
    running.pid = int(first["pid"])


async def _watch(running: Guarded, reader: asyncio.StreamReader) -> None:
    last = await _told(reader)
    running.ended.set_result(None if last is None else int(last["exit"]))


async def _told(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    line = await reader.readline()
    return json.loads(line) if line else None


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Waits for the guard, which ends when nothing of its command is left; kills both where that takes too long."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how(code: int | None) -> str:
    if code is None:
        return "is gone, and so is its guard"
    if code == 0:
        return "ended with exit code 0; a server must stay in the foreground"
    if code > 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (", as happens when memory runs out" if name == "SIGKILL" else "")


def _tail(log_file: Path, start: int, secrets: tuple[str, ...]) -> list[str]:
    """The last lines written after byte `start`, at most `TAIL_LINES`, made safe to show."""
    try:
        with log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            begin = max(start, end - TAIL_BYTES)
            log.seek(begin)
            text = log.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    if begin > start:
        # The first line is cut, and half a secret would not be recognised.
        text = text.partition("\n")[2]
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return [_safe(redacted(line, secrets), LINE_CHARACTERS) for line in lines[-TAIL_LINES:]]


def _safe(line: str, longest: int) -> str:
    """A line that cannot steer a terminal, of bounded length."""
    plain = _COLOUR.sub("", line)
    shown = "".join(character if character.isprintable() else " " for character in plain[:longest])
    return shown if len(plain) <= longest else f"{shown} ..."


CONNECT_SECONDS: Final = 2.0
LOCAL: Final = "127.0.0.1"

_given_out: set[int] = set()


@dataclass(frozen=True, slots=True)
class Server:
    """A command that serves. `address` gives its base URL, or None as long as that is not known yet.

    `complaint` is the sentence in which the command itself says why it ended; None where it says nothing.
    """

    command: Command
    address: Callable[[], str | None]
    health_path: str
    ready_seconds: float
    complaint: Callable[[], str | None] = lambda: None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that was not given out before by this process."""
    while True:
        with socket.socket() as probe:
            probe.bind((LOCAL, 0))
            port = int(probe.getsockname()[1])
        if port not in _given_out:
            _given_out.add(port)
            return port


async def refuse_a_taken_port(host: str, port: int, advice: str) -> None:
    """Makes sure that what answers later is what is started now, and not an older server that was left running.

    Raises `LaunchError`: something listens on the port already.
    """
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_SECONDS)
    except (OSError, TimeoutError):
        return
    writer.close()
    raise LaunchError(f"port {port} of {host} is already in use: stop what listens there, or {advice}")


def host_and_port(base_url: str) -> tuple[str, int]:
    """Where the server of an address listens."""
    parts = urlsplit(base_url)
    return parts.hostname or LOCAL, parts.port or (443 if parts.scheme == "https" else 80)
