"""Runs a Python program that a model wrote, inside bubblewrap: it can compute, read its input and print, no more.

What holds it:
- namespaces of its own for processes, network (none), System V memory and host name; a new session; no capabilities;
- a file system of its own: the interpreter and the system's libraries read-only, the program, a small private /tmp;
  neither home folders nor /proc nor the environment of this process are in it;
- a filter of system calls (`system_calls.py`), and a control group (`control_group.py`) where one can be made;
- limits of the kernel per process (processor time, memory, files, processes), and from outside a limit on the clock,
  on what is printed and on the memory of all its processes together;
- results come back as bytes through one pipe and are never unpickled or evaluated.

Started by root, it gives up root before the program begins, under a user number that nobody else has: the kernel does
not count the processes of root. Known gap: without a control group, memory behind file descriptors (pipes, sockets) is
limited only by the product of the limits on files, their buffers and processes.
"""

import inspect
import itertools
import os
import re
import select
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from evalkit.errors import EvalkitError
from evalkit.scoring.answers.control_group import control_group
from evalkit.scoring.answers.system_calls import seccomp_filter

CODE_FOLDER: Final = "/code"
WALL_FACTOR: Final = 3.0  # how much longer than its processor time a program may take by the clock

_OLDEST: Final = (0, 7)  # the first version with --size
_LOOK_EVERY: Final = 0.05  # seconds between two looks at the memory
_STDERR_BYTES: Final = 4_000
_DEATH_SECONDS: Final = 10.0  # for the kernel to take down a namespace on a busy machine
_SYSTEM_FOLDERS: Final = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
_SYSTEM_FILES: Final = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_READY: Final = b"ready"
_OWN_PROCESSES: Final = 4  # bubblewrap's, in the same control group
_NUMBERS: Final = itertools.count()  # two sandboxes at a time must not count each other's processes
_KILLED_FOR_TIME: Final = 128 + 24  # SIGXCPU, as bubblewrap reports it


class SandboxError(EvalkitError):
    """The sandbox itself did not come up: nothing was run and nothing can be said about the program."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. `seconds` is processor time of one process; the clock may show three times as much.

    `memory_bytes` limits the address space of each process and the resident memory of all together; `scratch_bytes`
    the private /tmp and every single file; `output_bytes` what is printed.
    """

    seconds: float = 6.0
    memory_bytes: int = 4 << 30
    processes: int = 32
    open_files: int = 64
    scratch_bytes: int = 32 << 20
    output_bytes: int = 16 << 20


class Ending(StrEnum):
    """How a program came to its end: by itself, or stopped for what it used up."""

    EXITED = "exited"
    TIME = "time_limit"
    MEMORY = "memory_limit"
    OUTPUT = "output_limit"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program did. `exit_code` is 128 + the signal where one ended it; `stderr` is the end of what it wrote."""

    ending: Ending
    exit_code: int | None
    stdout: bytes
    stderr: str
    seconds: float


@lru_cache(maxsize=1)
def available() -> str | None:
    """None where programs can be run here, else one sentence that says why not. Asked once per process."""
    try:
        outcome = run({"main.py": b"print('ready')"}, b"", Limits(seconds=10))
    except SandboxError as error:
        return str(error)
    if outcome.stdout != b"ready\n":
        return f"bubblewrap starts, but Python does not run in it: {_one_line(outcome.stderr) or outcome.ending}"
    return None


def run(files: Mapping[str, bytes], stdin: bytes, limits: Limits) -> Outcome:
    """Run `main.py` of `files` with this Python; the files lie in /code, read-only, and /tmp is the working folder.

    Modules installed beside evalkit can be imported; evalkit itself cannot where it runs from a checkout.

    Raises `SandboxError`: bubblewrap is missing, too old, or cannot build its namespaces here.
    """
    if "main.py" not in files:
        raise ValueError("files need a main.py")
    bwrap, refused_calls = _bwrap(), seccomp_filter()
    if refused_calls is None:
        raise SandboxError("programs are run under a filter of system calls, which exists for x86-64 and AArch64 only")
    with ExitStack() as stack:
        try:
            group = stack.enter_context(control_group(limits.memory_bytes, limits.processes + _OWN_PROCESSES))
        except OSError as error:
            raise SandboxError(f"no control group can be made any more: {error.strerror}") from None
        calls = stack.enter_context(_in_memory(refused_calls))
        contents = {name: stack.enter_context(_in_memory(content)) for name, content in files.items()}
        reads, writes = os.pipe()
        ready = stack.enter_context(os.fdopen(reads, "rb"))
        with os.fdopen(writes, "wb") as theirs:
            walls = ("--seccomp", str(calls.fileno()), *_walls(limits, contents))
            command = [bwrap, *walls, *_launch(limits, theirs.fileno())]
            process = subprocess.Popen(  # noqa: S603 - the command is ours, the program is data in it
                command if group is None else group.entered(command),
                stdin=stack.enter_context(_in_memory(stdin)),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                pass_fds=[theirs.fileno(), calls.fileno(), *(content.fileno() for content in contents.values())],
                start_new_session=True,
            )
        with process:
            try:
                outcome = _Watch(process, limits).until_the_end()
            finally:
                process.kill()  # with bubblewrap dies the first process of the namespace, and with it all others
        started = ready.read(len(_READY)) == _READY
        if group is not None and group.ran_out_of_memory():
            outcome = replace(outcome, ending=Ending.MEMORY, exit_code=None)
    if not started:
        raise SandboxError(f"bubblewrap cannot build a sandbox here: {_one_line(outcome.stderr) or 'no reason given'}")
    return outcome


@lru_cache(maxsize=1)
def _bwrap() -> str:
    if not sys.platform.startswith("linux"):
        raise SandboxError("programs are run in bubblewrap, which exists for Linux only")
    path = shutil.which("bwrap")
    if path is None:
        raise SandboxError("programs are run in bubblewrap, and bwrap is not installed: apt-get install bubblewrap")
    told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603
    version = tuple(map(int, re.findall(r"\d+", told)[:2]))
    if version < _OLDEST:
        raise SandboxError(f"bubblewrap is too old ({told.strip() or 'no version'}): 0.7 or later can limit /tmp")
    return path


def _walls(limits: Limits, contents: Mapping[str, IO[bytes]]) -> Iterator[str]:
    """The options that build the sandbox, in the order in which bubblewrap carries them out."""
    yield from ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if os.geteuid() == 0:
        yield from ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield "--unshare-user"
    yield from ("--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv")
    for name, value in _environment().items():
        yield from ("--setenv", name, value)
    # First, because the interpreter itself may lie below /tmp.
    yield from ("--perms", "1777", "--size", str(limits.scratch_bytes), "--tmpfs", "/tmp")  # noqa: S108 - its own
    yield from ("--ro-bind", "/usr", "/usr")
    for folder in filter(os.path.lexists, _SYSTEM_FOLDERS):
        link = Path(folder).is_symlink()
        yield from ("--symlink", str(Path(folder).readlink()), folder) if link else ("--ro-bind", folder, folder)
    yield from _open_folders(Path("/etc"))
    for file in _SYSTEM_FILES:
        yield from ("--ro-bind-try", file, file)
    for prefix in _interpreter_folders():
        yield from _open_folders(*reversed(Path(prefix).parents))
        yield from ("--ro-bind", prefix, prefix)
    yield from ("--dev", "/dev", "--remount-ro", "/dev", *_open_folders(Path(CODE_FOLDER)))
    for name, content in contents.items():
        yield from ("--perms", "0444", "--ro-bind-data", str(content.fileno()), f"{CODE_FOLDER}/{name}")
    yield from ("--remount-ro", "/", "--chdir", "/tmp")  # noqa: S108


def _open_folders(*folders: Path) -> Iterator[str]:
    # Those that bubblewrap makes by itself can be entered by their owner only, who is not the one that runs inside.
    for folder in folders:
        yield from ("--perms", "0755", "--dir", str(folder))


def _environment() -> dict[str, str]:
    # One hash seed, so that a program that walks a set prints the same in every run.
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    return {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", **alone}  # noqa: S108


def _interpreter_folders() -> list[str]:
    """The folders of this Python that are not under /usr: the installation and the virtual environment."""
    folders = {os.path.realpath(folder) for folder in (sys.base_prefix, sys.prefix)}
    # A prefix given through a symbolic link has to exist under both names.
    folders |= {sys.base_prefix, sys.prefix, str(Path(sys.executable).resolve().parent.parent)}
    return sorted(folder for folder in folders if folder not in {"/", "/usr"} and not folder.startswith("/usr/"))


def _launch(limits: Limits, ready: int) -> list[str]:
    """The first program inside: it gives up root, lays the limits on itself, says that it is ready, becomes Python."""
    new_user = 1_000_000_000 + os.getpid() * 200 + next(_NUMBERS) % 200 if os.geteuid() == 0 else 0
    cpu_seconds = max(1, -int(-limits.seconds // 1))
    numbers = (new_user, ready, cpu_seconds, limits.memory_bytes, limits.processes, limits.scratch_bytes)
    program = f"from __future__ import annotations\n{inspect.getsource(_become)}_become()"
    return [
        *(sys.executable, "-I", "-S", "-c", program),
        *map(str, numbers),
        str(limits.open_files),
        sys.executable,
        "-s",
        "-P",
        "-B",
        f"{CODE_FOLDER}/main.py",
    ]


def _become() -> None:
    """Inside the sandbox, where this is passed to the interpreter as text: become the program, under the limits.

    Arguments: the user number to change to (0: stay), the file descriptor to say "ready" on, the limits, the command.
    """
    import os
    import resource
    import sys

    user, ready, cpu_seconds, memory, processes, file_bytes, files = map(int, sys.argv[1:8])
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)  # with it go the last capabilities
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, files, files),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(kind, (soft, hard))
    os.set_inheritable(ready, False)
    os.write(ready, b"ready")
    os.execv(sys.argv[8], sys.argv[8:])  # noqa: S606 - no shell is wanted


@contextmanager
def _in_memory(content: bytes) -> Iterator[IO[bytes]]:
    with os.fdopen(os.memfd_create("evalkit"), "w+b") as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield file


class _Watch:
    """Reads what a program prints and looks at its memory until it ends or has used up a limit."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self._process = process
        self._limits = limits
        self._begin = time.monotonic()
        self._next_look = self._begin + _LOOK_EVERY
        self._stdout = bytearray()
        self._stderr = bytearray()

    def until_the_end(self) -> Outcome:
        ending = self._read()
        if ending is not Ending.EXITED:
            end_all(self._process)
        code = self._process.wait()
        if ending is Ending.EXITED and code == _KILLED_FOR_TIME:
            ending = Ending.TIME
        return Outcome(
            ending=ending,
            exit_code=code if ending is Ending.EXITED else None,
            stdout=bytes(self._stdout),
            stderr=self._stderr[-_STDERR_BYTES:].decode(errors="replace"),
            seconds=time.monotonic() - self._begin,
        )

    def _read(self) -> Ending:
        with selectors.DefaultSelector() as selector:
            for stream, buffer in ((self._process.stdout, self._stdout), (self._process.stderr, self._stderr)):
                if stream is not None:
                    selector.register(stream, selectors.EVENT_READ, buffer)
            while selector.get_map():
                for key, _ in selector.select(_LOOK_EVERY):
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    key.data.extend(chunk)
                if ending := self._used_up():
                    return ending
        return Ending.EXITED

    def _used_up(self) -> Ending | None:
        del self._stderr[:-_STDERR_BYTES]
        if len(self._stdout) > self._limits.output_bytes:
            return Ending.OUTPUT
        now = time.monotonic()
        if now - self._begin > self._limits.seconds * WALL_FACTOR:
            return Ending.TIME
        if now < self._next_look:
            return None
        self._next_look = now + _LOOK_EVERY
        return Ending.MEMORY if resident_bytes(self._process.pid) > self._limits.memory_bytes else None


def end_all(bwrap: subprocess.Popen[bytes]) -> None:
    """Kill bubblewrap and wait until everything in its namespace is dead, not only until it is doomed."""
    # The first process of the namespace is gone only when all others are.
    first = [process for process, (parent, _) in _processes().items() if parent == bwrap.pid]
    with ExitStack() as stack:
        handles = []
        for process in first:
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(process))
                stack.callback(os.close, handles[-1])
        bwrap.kill()
        for handle in handles:
            poll = select.poll()  # select() knows only the first thousand descriptors
            poll.register(handle, select.POLLIN)
            poll.poll(_DEATH_SECONDS * 1000)


def resident_bytes(root: int) -> int:
    """The resident memory of a process and all its descendants together."""
    processes = _processes()
    parents = {process: parent for process, (parent, _) in processes.items()}
    return sum(processes[process][1] for process in _descendants(root, parents)) * os.sysconf("SC_PAGE_SIZE")


def _processes() -> dict[int, tuple[int, int]]:
    """Every process of the machine: its parent, and how many pages of memory it has resident."""
    found: dict[int, tuple[int, int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                found[int(entry.name)] = int(fields[1]), int(fields[21])
    return found


def _descendants(root: int, parents: Mapping[int, int]) -> Sequence[int]:
    children: dict[int, list[int]] = {}
    for process, parent in parents.items():
        children.setdefault(parent, []).append(process)
    found = [root] if root in parents else []
    for process in found:
        found += children.get(process, [])
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())[-300:]
