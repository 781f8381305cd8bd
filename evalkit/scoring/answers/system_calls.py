"""The system calls that no program in the sandbox may make, as a seccomp filter for bubblewrap's --seccomp.

Refused are what shares memory outside the limits on files and processes, what makes namespaces and mounts, what loads
or drives parts of the kernel, what looks into other processes, and all sockets but those between a program's own
processes. Whatever is newer than this table does not exist in the sandbox. The numbers are those of the kernel's
`asm/unistd_64.h` and `asm-generic/unistd.h`.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Name: number for x86-64, number for AArch64 (None: there is no such call).
REFUSED: Final[dict[str, tuple[int, int | None]]] = {
    # System V shared memory, semaphores and message queues; POSIX message queues; files without a file system
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # Namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    # Keys, and programs in the kernel or on its behalf
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    # Other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "move_pages": (279, 239), "migrate_pages": (256, 238),
    # The machine
    "reboot": (169, 142), "acct": (163, 89), "syslog": (103, 116), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "swapon": (167, 224), "swapoff": (168, 225), "vhangup": (153, 58), "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162),
}  # fmt: skip
NEWEST: Final = 451  # the last call that this table was held against; x32's numbers lie far above

# `code` in struct sock_filter
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_GREATER: Final = 0x25
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
# Places in struct seccomp_data; both machines are little-endian.
_NUMBER: Final = 0
_MACHINE: Final = 4
_FIRST_ARGUMENT: Final = 16
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERROR: Final = 0x00050000
_NEW_NAMESPACES: Final = 0x7E020000  # all of CLONE_NEW*, but the one that `clone` cannot be told


@dataclass(frozen=True, slots=True)
class _Machine:
    """What differs between machines: the kernel's AUDIT_ARCH_*, the column of the table, three calls' numbers."""

    audit: int
    column: int
    clone: int
    sockets: tuple[int, int]


_CLONE3: Final = 435
_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 0, 56, (41, 53)),
    "aarch64": _Machine(0xC00000B7, 1, 220, (198, 199)),
}


def seccomp_filter(machine: str = "") -> bytes | None:
    """The filter as an array of `struct sock_filter`; None for a machine without a table. Default: this one."""
    found = _MACHINES.get(machine or platform.machine())
    return b"".join(_instructions(found)) if found is not None else None


def _instructions(machine: _Machine) -> Iterator[bytes]:
    yield _line(_LOAD, _MACHINE)
    yield from _unless(_EQUAL, machine.audit, _line(_RETURN, _KILL))  # calls of another kind: 32 bits
    yield _line(_LOAD, _NUMBER)
    yield from _if(_GREATER, NEWEST, _refused(errno.ENOSYS))
    for numbers in REFUSED.values():
        number = numbers[machine.column]
        if number is not None:
            yield from _if(_EQUAL, number, _refused(errno.EPERM))
    # Its flags lie in memory, where no filter can look: the C library falls back to `clone`.
    yield from _if(_EQUAL, _CLONE3, _refused(errno.ENOSYS))
    yield from _if(
        _EQUAL,
        machine.clone,
        _line(_LOAD, _FIRST_ARGUMENT),
        *_if(_ANY_BIT, _NEW_NAMESPACES, _refused(errno.EPERM)),
        _line(_RETURN, _ALLOW),
    )
    for number in machine.sockets:
        yield from _if(
            _EQUAL,
            number,
            _line(_LOAD, _FIRST_ARGUMENT),
            *_unless(_EQUAL, socket.AF_UNIX, _refused(errno.EAFNOSUPPORT)),
            _line(_RETURN, _ALLOW),
        )
    yield _line(_RETURN, _ALLOW)


def _if(test: int, value: int, *then: bytes) -> Iterator[bytes]:
    yield struct.pack("<HBBI", test, 0, len(then), value)
    yield from then


def _unless(test: int, value: int, *then: bytes) -> Iterator[bytes]:
    yield struct.pack("<HBBI", test, len(then), 0, value)
    yield from then


def _line(code: int, value: int) -> bytes:
    return struct.pack("<HBBI", code, 0, 0, value)


def _refused(error: int) -> bytes:
    return _line(_RETURN, _ERROR | error)
