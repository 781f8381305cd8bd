"""Runs a grading function in a child process that can be killed: sympy and its like hang, and eat memory.

`run_limited` is the only door. The children are started when first needed (`python -m`, never a
fork of a threaded process), at most one a core, and kept; one that hangs, dies or outgrows its memory is killed and
the next call gets a fresh one. Arguments and results travel as JSON, so a child that model output has confused
cannot make this process run anything.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Final

from evalkit.errors import UNREADABLE, EvalkitError
from evalkit.scoring.registry import PRIVATE, module_in

MEMORY_BYTES: Final = 4 << 30  # of address space, per child
MESSAGE_BYTES: Final = 64 << 20  # the longest result that is read
START_SECONDS: Final = 120.0  # for the interpreter, and again for importing the function's module
DEATH_SECONDS: Final = 5.0  # between the end of a child's pipe and its own end
WALL_FACTOR: Final = 4.0  # how much longer than its processor time a call may take by the clock
CALLS_PER_CHILD: Final = 2000  # libraries leak and cache; a fresh child now and then keeps grading repeatable

_KEPT_ENVIRONMENT: Final = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "NLTK_DATA")
_ORDINARY_ERRORS: Final = (*UNREADABLE, ImportError, NameError)


class GradeError(EvalkitError):
    """A grading function raised, died, outgrew its memory or returned what is not JSON: there is no verdict."""


class GradeTimeout(GradeError):  # noqa: N818 - a timeout is what the field calls it
    """A grading function used up its time: there is no verdict."""


def run_limited(target: str, args: Sequence[Any], seconds: float, libraries: Sequence[str] = ()) -> Any:
    """Call `target` ("module:function") with `args` in a child process, for at most `seconds` of its processor time.

    Processor time is counted, and only while the function itself runs: neither waiting for a free child nor a busy
    machine changes a verdict. A function that waits instead of working is stopped after four times `seconds` by
    the clock. `args` and the result are JSON values; tuples come back as lists. `libraries` are what the function will
    import: they are loaded before its time begins. Blocks; may be called from several threads.

    Raises:
        GradeTimeout: the time is used up.
        GradeError: the function or a library cannot be imported, it raised, died, ran out of memory, or its result is
            not JSON.
        ValueError: `seconds` is not positive.
        TypeError: `args` are not JSON values.
    """
    if not seconds > 0:
        raise ValueError(f"a time limit must be positive, not {seconds}")
    given = {"target": _findable(target), "args": list(args), "seconds": seconds, "libraries": list(libraries)}
    request = json.dumps(given).encode()
    return _POOL.run(request, target, seconds)


def _findable(target: str) -> str:
    """The target as a child finds it: by its file, where the module lies beside a suite's and has a private name."""
    module, _, name = target.partition(":")
    file = getattr(sys.modules.get(module), "__file__", None)
    return f"{file}:{name}" if module.startswith(PRIVATE) and file else target


def close() -> None:
    """End all children; a later `run_limited` starts new ones. Called at exit."""
    _POOL.close()


class _Pool:
    """Hands out children, at most one a core at a time, and takes back those that are still good."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._unlock()

    def _unlock(self) -> None:
        self._slots = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))
        self._lock = threading.Lock()

    def forget(self) -> None:
        """After a fork, in the new process: the children and whoever held the locks stayed with the parent."""
        self._unlock()
        for child in (*self._idle, *self._busy):
            child.disown()
        self._idle.clear()
        self._busy.clear()

    def run(self, request: bytes, target: str, seconds: float) -> Any:
        with self._slots:
            child = self._take()
            good = False
            try:
                reply = child.call(request, target, seconds)
                good = "last" not in reply and child.calls < CALLS_PER_CHILD
            finally:
                self._take_back(child, good=good)
        if "error" in reply:
            raise GradeError(f"{target} raised {reply['error']}")
        return reply["result"]

    def _take(self) -> _Child:
        with self._lock:
            child = self._idle.pop() if self._idle else _Child()
            self._busy.add(child)
            return child

    def _take_back(self, child: _Child, *, good: bool) -> None:
        with self._lock:
            keep = good and child in self._busy
            self._busy.discard(child)
            if keep:
                self._idle.append(child)
        if not keep:
            child.kill()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            busy, self._busy = self._busy, set()
        for child in busy:
            child.stop()  # the thread that waits for it sees the end of the pipe and reaps it
        for child in idle:
            child.kill()


class _Child:
    """One child process and the pipe to it; used by one thread at a time."""

    def __init__(self) -> None:
        self.calls = 0
        self._channel, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-P", "-m", "evalkit.scoring.answers.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the parent, and a kill reaches grandchildren
            )

    def call(self, request: bytes, target: str, seconds: float) -> Mapping[str, Any]:
        """Send one request; the reply is {"result": ...} or {"error": ...}, with "last" where the child ends itself."""
        self.calls += 1
        try:
            self._channel.send_bytes(request)
            started = self._receive(START_SECONDS)
            if started is None:
                raise GradeError(f"importing the module of {target} took longer than {START_SECONDS:g} s")
            if "error" in started:
                return started
            reply = self._receive(seconds * WALL_FACTOR)
        except (EOFError, OSError):
            self._await_end()
            self.kill()
            if self._process.returncode == -signal.SIGPROF:
                raise GradeTimeout(f"{target} used up {seconds:g} s of processor time") from None
            raise GradeError(f"the process that ran {target} ended with code {self._process.returncode}") from None
        if reply is None:
            raise GradeTimeout(f"{target} took longer than {seconds * WALL_FACTOR:g} s by the clock")
        return reply

    def _receive(self, seconds: float) -> Mapping[str, Any] | None:
        """The next message, or None where none came in time."""
        if not self._channel.poll(seconds):
            return None
        message: dict[str, Any] = json.loads(self._channel.recv_bytes(MESSAGE_BYTES))
        return message

    def _await_end(self) -> None:
        """Let a child that closed its pipe die by itself, so that its exit code tells why it did."""
        descriptor = os.pidfd_open(self._process.pid)
        try:
            wait([descriptor], DEATH_SECONDS)
        finally:
            os.close(descriptor)

    def disown(self) -> None:
        """Let go of the pipe, and of a process that is another's to reap."""
        self._channel.close()
        self._process.returncode = 0

    def stop(self) -> None:
        """End the child and all that it started."""
        if self._process.returncode is None:  # not reaped, so the number is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Stop the child, reap it, close the pipe."""
        self.stop()
        self._process.wait()
        self._channel.close()


def _environment() -> dict[str, str]:
    """What a child needs and no key: it reads text that a stranger's model wrote."""
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    # The child finds every module that this process finds, also where evalkit runs from a checkout.
    kept["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - may be gone
    kept["PYTHONHASHSEED"] = "0"  # sympy walks sets: the same question must get the same verdict tomorrow
    kept["OMP_NUM_THREADS"] = kept["OPENBLAS_NUM_THREADS"] = "1"
    return kept


_POOL: Final = _Pool()
atexit.register(close)
os.register_at_fork(after_in_child=_POOL.forget)


def _serve(channel: Connection) -> None:
    """Answer requests until the parent closes the pipe."""
    while True:
        try:
            request = json.loads(channel.recv_bytes())
        except EOFError:
            return
        try:
            function = _resolve(request["target"], request["libraries"])
            channel.send_bytes(b'{"started": true}')
            reply = _call_limited(function, request["args"], request["seconds"])
        except _ORDINARY_ERRORS as error:  # anything else ends this process, and the hook below says why
            reply = _described(error)
        channel.send_bytes(reply)


def _resolve(target: str, libraries: Sequence[str]) -> Callable[..., Any]:
    for library in libraries:
        import_module(library)
    module, _, name = target.rpartition(":")
    found = module_in(Path(module)) if module.endswith(".py") else import_module(module)
    function: Callable[..., Any] = getattr(found, name)
    return function


def _call_limited(function: Callable[..., Any], args: list[Any], seconds: float) -> bytes:
    """The call under a timer of the kernel's: SIGPROF's own action ends a process that no longer runs Python code."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        reply = json.dumps({"result": function(*args)}).encode()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if len(reply) > MESSAGE_BYTES:
        raise ValueError(f"the result has {len(reply)} bytes, more than {MESSAGE_BYTES}")
    return reply


def _described(error: BaseException, **more: Any) -> bytes:
    return json.dumps({"error": f"{type(error).__name__}: {str(error)[:500]}", **more}).encode()


def _main() -> None:
    import resource

    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    channel = Connection(descriptor)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.excepthook = lambda _kind, error, _trace: channel.send_bytes(_described(error, last=True))
    _serve(channel)


if __name__ == "__main__":
    _main()
