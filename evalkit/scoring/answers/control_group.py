"""A control group for one sandbox, where this process may make one: memory and processes, counted by the kernel.

It counts what limits on single processes cannot: pipes, sockets, files in memory, and the kernel's own memory for them.
Both hierarchies are used: one for all (version 2), or one for each controller (version 1).
"""

import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")

_OWN: Final = Path("/proc/self/cgroup")
_NUMBERS: Final = itertools.count()
_ENTER: Final = 'echo $$ >"$1" && echo $$ >"$2" && shift 2 && exec "$@"'
_REMOVE_SECONDS: Final = 10.0  # for the kernel to take down what was in it, on a busy machine


@dataclass(frozen=True, slots=True)
class Group:
    """A group that exists, by its folders: the same one twice where one hierarchy has all controllers."""

    memory: Path
    pids: Path

    def entered(self, command: Sequence[str]) -> list[str]:
        """The command that enters the group and becomes `command`."""
        files = (str(self.memory / "cgroup.procs"), str(self.pids / "cgroup.procs"))
        return ["/bin/sh", "-c", _ENTER, "sh", *files, *command]

    def ran_out_of_memory(self) -> bool:
        """True where the kernel has killed a process of the group for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            with suppress(FileNotFoundError):
                return bool(re.search(r"^oom_kill [1-9]", (self.memory / name).read_text(), re.MULTILINE))
        return False


@contextmanager
def control_group(memory_bytes: int, processes: int) -> Iterator[Group | None]:
    """A group with these limits for the length of the context; None where none can be made and entered here."""
    place = usable_place()
    if place is None:
        yield None
        return
    with _made(place, memory_bytes, processes) as group:
        yield group


@lru_cache(maxsize=1)
def usable_place() -> Group | None:
    """Below which groups can be made, entered and removed by this process; tried once."""
    place = find_place(ROOT, _OWN)
    if place is None:
        return None
    try:
        with _made(place, 64 << 20, 8) as group:
            tried = subprocess.run(group.entered(["/bin/true"]), capture_output=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return place if tried.returncode == 0 else None


def find_place(root: Path, own: Path) -> Group | None:
    """The nearest group from this process's own upward below which we may make some; None where there is none.

    `root` is where the hierarchies are mounted, `own` is /proc/self/cgroup.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    paths = {controller: path for _, controllers, path in lines for controller in controllers.split(",")}
    if (root / "cgroup.controllers").exists():
        place = next((above for above in _upward(root, paths.get("", "/")) if _hands_on(above)), None)
        return None if place is None else Group(place, place)
    memory, pids = (next(_upward(root / name, paths.get(name, "/")), None) for name in ("memory", "pids"))
    return None if memory is None or pids is None else Group(memory, pids)


def _upward(root: Path, path: str) -> Iterator[Path]:
    """The folders from a group up to the root that can be written; a container may not see its own path."""
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        if folder.is_relative_to(root) and os.access(folder / "cgroup.procs", os.W_OK) and os.access(folder, os.W_OK):
            yield folder


def _hands_on(folder: Path) -> bool:
    """True where groups below this one have both controllers."""
    try:
        return {"memory", "pids"} <= set((folder / "cgroup.subtree_control").read_text().split())
    except OSError:
        return False


@contextmanager
def _made(place: Group, memory_bytes: int, processes: int) -> Iterator[Group]:
    name = f"evalkit-{os.getpid()}-{next(_NUMBERS)}"
    group = Group(place.memory / name, place.pids / name)
    with ExitStack() as stack:
        for folder in dict.fromkeys((group.memory, group.pids)):
            folder.mkdir()
            stack.callback(_remove, folder)
        # The limit, then that on swap where the kernel counts it; of each hierarchy that is not here neither exists.
        whole = {"memory.max": memory_bytes, "memory.swap.max": 0}
        apart = {"memory.limit_in_bytes": memory_bytes, "memory.memsw.limit_in_bytes": memory_bytes}
        for name, limit in (whole | apart).items():
            if (group.memory / name).exists():
                (group.memory / name).write_text(str(limit))
        (group.pids / "pids.max").write_text(str(processes))
        yield group


def _remove(folder: Path) -> None:
    until = time.monotonic() + _REMOVE_SECONDS
    while folder.exists() and time.monotonic() < until:
        try:
            folder.rmdir()
        except OSError:  # busy: something in it is not quite dead
            time.sleep(0.005)
