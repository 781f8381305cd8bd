"""The first program inside the sandbox: gives up root, lays the limits on itself, becomes the Python to be run.

Passed to the interpreter as text and never imported. Arguments: the user number to change to (0: stay), the file
descriptor to say "ready" on, the limits, and the command to become.
"""

import os
import resource
import sys

_user, _ready, _cpu_seconds, _memory, _processes, _file_bytes, _files = map(int, sys.argv[1:8])

if _user:
    os.setgroups([])
    os.setresgid(_user, _user, _user)
    os.setresuid(_user, _user, _user)  # with it go the last capabilities

for _kind, _soft, _hard in (
    (resource.RLIMIT_CPU, _cpu_seconds, _cpu_seconds + 1),
    (resource.RLIMIT_AS, _memory, _memory),
    (resource.RLIMIT_NPROC, _processes, _processes),
    (resource.RLIMIT_FSIZE, _file_bytes, _file_bytes),
    (resource.RLIMIT_NOFILE, _files, _files),
    (resource.RLIMIT_CORE, 0, 0),
):
    resource.setrlimit(_kind, (_soft, _hard))

os.set_inheritable(_ready, False)
os.write(_ready, b"ready")
os.execv(sys.argv[8], sys.argv[8:])  # noqa: S606 - no shell is wanted
