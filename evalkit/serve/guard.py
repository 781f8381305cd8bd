"""A small process between evalkit and a server it started, so that the server never outlives evalkit.

It also stands between the server and its log, so that no key is ever in it, however evalkit, the server or the machine
comes to its end.

Run as a script by `guarded.py` (standard library only, so that it starts in milliseconds); never imported by evalkit.
It starts the command in a process group of its own and ends all that came of it (with SIGTERM, then SIGKILL) as soon as
the pipe from evalkit closes, which also happens when evalkit is killed with SIGKILL. What the command leaves running in
other groups or sessions is found too: the guard adopts orphans (PR_SET_CHILD_SUBREAPER). If the guard itself is killed,
the kernel kills the command (PR_SET_PDEATHSIG).

Arguments: the file descriptor whose end means "stop", the one to tell on, evalkit's process number, the seconds
between SIGTERM and SIGKILL, and the command. A byte before that end says that nobody used the server yet: then five
seconds are enough. One JSON object a line is told: `{"pid": n}` when the command runs, `{"error": text}` when it cannot
be started, `{"exit": code}` when it ended by itself (minus the signal's number).
Standard input says how secrets look (`Spellings` in `evalkit/config/redact.py`, as JSON), standard output is the log.
"""

import ctypes
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_CHECK_SECONDS = 1.0
KILL_AGAIN_SECONDS = 0.1
GIVE_UP_SECONDS = 10.0
LAST_WORDS_SECONDS = 1.0
QUIET_SECONDS = 1.0
UNUSED_SECONDS = 5.0
READ_BYTES = 1 << 16
LINE_BYTES = 1 << 16
# More than any secret takes, in whichever spelling.
MARGIN_BYTES = 1 << 15


class Log(threading.Thread):
    """Copies what is written to the descriptor `end` to the log: line by line, and of secrets three stars."""

    def __init__(self, log: int, pattern: str, runs: list[str], escapes: str) -> None:
        super().__init__(daemon=True)
        self._log = log
        self._pattern = pattern.encode(errors="surrogateescape")
        self._runs = [run.encode(errors="surrogateescape") for run in runs]
        self._escapes = re.compile(escapes.encode())
        self._read, self.end = os.pipe()

    def run(self) -> None:
        """Goes on until nobody can write any more; what cannot be stored is dropped, for the server must not wait."""
        unfinished = b""
        patience: float | None = None
        while True:
            if select.select([self._read], [], [], patience)[0]:
                chunk = os.read(self._read, READ_BYTES)
                if not chunk:
                    break
                unfinished += chunk
                cut = self._cut(unfinished)
                patience = QUIET_SECONDS
            else:
                # It may wait for an answer to what it said; only the last word can be half a key.
                cut = unfinished.rfind(b" ") + 1
                patience = None
            self._write(unfinished[:cut])
            unfinished = unfinished[cut:]
        self._write(unfinished)

    def _cut(self, text: bytes) -> int:
        """How much can be written without going through a secret: whole lines, or most of one without an end."""
        lines = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        if lines or len(text) <= LINE_BYTES:
            return lines
        cut = len(text) - MARGIN_BYTES
        return next(
            (found.end() for found in re.finditer(self._pattern, text) if found.start() < cut < found.end()), cut
        )

    def _write(self, text: bytes) -> None:
        lower = text.lower()
        if any(run in lower for run in self._runs) or self._escapes.search(lower):
            text = re.sub(self._pattern, b"***", text)
        try:
            while text:
                text = text[os.write(self._log, text) :]
        except OSError:
            return


class Guard:
    """One guarded command: `run` returns when nothing of it is left."""

    def __init__(self, life: int, telling: int, parent: int, stop_seconds: float, log: Log) -> None:
        self._log = log
        self._life = life
        self._telling = telling
        self._parent = parent
        self._stop_seconds = stop_seconds
        self._command = 0
        self._code: int | None = None
        self._wakeup, written = os.pipe()
        os.set_blocking(written, False)
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        self._told_to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self, argv: list[str]) -> None:
        """Starts the command, waits for its end or for the order to stop it, and leaves nothing behind."""
        die_with_guard = _prepare_kernel()
        try:
            started = subprocess.Popen(  # noqa: S603 - the user's own command, no shell
                argv,
                stdin=subprocess.DEVNULL,
                stdout=self._log.end,
                stderr=self._log.end,
                process_group=0,
                preexec_fn=die_with_guard,  # noqa: PLW1509 - the guard has one thread until then
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._tell({"error": getattr(error, "strerror", None) or str(error)})
            return
        os.close(self._log.end)
        self._log.start()
        self._command = started.pid
        self._tell({"pid": started.pid})
        # A command that failed is over; one that ended well may have put its server into the background.
        stopped = False
        while self._children_left() and not (self._code or stopped):
            stopped = self._to_be_stopped()
        self._end_all()
        # Longer only where something of another user's, which is not ours to stop, still holds the pipe.
        self._log.join(LAST_WORDS_SECONDS)
        if not stopped:
            self._tell({"exit": self._code or 0})

    def _stop_signal(self, *_: object) -> None:
        self._told_to_stop = True

    def _to_be_stopped(self) -> bool:
        """Waits until something happens, for a second at most; true where evalkit is gone or has had enough."""
        ready, _, _ = select.select([self._life, self._wakeup], [], [], PARENT_CHECK_SECONDS)
        self._drain()
        if self._life in ready and os.read(self._life, 1):
            self._stop_seconds = min(self._stop_seconds, UNUSED_SECONDS)
        return self._told_to_stop or self._life in ready or os.getppid() != self._parent

    def _drain(self) -> None:
        try:
            while os.read(self._wakeup, 512):
                pass
        except BlockingIOError:
            return

    def _children_left(self) -> bool:
        """Takes note of every child that ended; false when there is none left, which means no descendant either."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._command:
                self._code = os.waitstatus_to_exitcode(status)

    def _end_all(self) -> None:
        """SIGTERM, then SIGKILL, to the command's group and to every other descendant."""
        self._signal_all(signal.SIGTERM)
        if self._all_gone_within(self._stop_seconds):
            return
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            # Again and again: a process may fork between the look at the table and the signal.
            self._signal_all(signal.SIGKILL)
            if self._all_gone_within(KILL_AGAIN_SECONDS):
                return

    def _all_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._children_left():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            select.select([self._wakeup], [], [], left)
            self._drain()
        return True

    def _signal_all(self, number: int) -> None:
        if self._code is None:
            _quietly(os.killpg, self._command, number)
        for pid, group in _descendants(os.getpid()):
            if group != self._command or self._code is not None:
                _quietly(os.kill, pid, number)

    def _tell(self, what: dict[str, object]) -> None:
        try:
            os.write(self._telling, json.dumps(what).encode() + b"\n")
        except BrokenPipeError:
            # Nobody listens any more: evalkit is gone.
            self._told_to_stop = True


def _quietly(send: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):
        # It ended meanwhile, or changed its user: then it is not ours to stop.
        return


def _prepare_kernel() -> Callable[[], None] | None:
    """Adopts orphans, and gives what a new child calls to die with the guard; nothing where there is no prctl."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def die_with_guard() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    return die_with_guard


def _descendants(root: int) -> Iterator[tuple[int, int]]:
    """(process, its group) of everything below `root`; nothing where there is no /proc."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208 - pathlib starts slowly
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                # The second field is the program's name in parentheses and may hold anything, also ")".
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append((int(name), int(fields[2])))
    waiting = [root]
    while waiting:
        for found in children.get(waiting.pop(), ()):
            waiting.append(found[0])
            yield found


if __name__ == "__main__":
    guarded_log = Log(sys.stdout.fileno(), **json.load(sys.stdin))
    Guard(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), guarded_log).run(sys.argv[5:])
