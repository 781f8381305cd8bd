"""The first program inside the sandbox: gives up root, lays the limits on itself, becomes the Python to be run.

Passed to the interpreter as text, not imported. Arguments: the user number to change to (0: stay), the file
descriptor to say "ready" on, the limits, and the command to become.
"""

from __future__ import annotations

import os
import resource
import sys


def main() -> None:
    """Become the program, under the limits."""
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


if __name__ == "__main__":
    main()
