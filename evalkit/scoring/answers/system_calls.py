"""The system calls that no program in the sandbox may make, as a seccomp filter for bubblewrap's --seccomp.

Refused are what shares memory outside the limits on files and processes, what makes namespaces and mounts, what loads
or drives parts of the kernel, what looks into other processes, and all sockets but those between a program's own
processes. Whatever is newer than this table does not exist in the sandbox. The numbers are those of the kernel's
`asm/unistd_64.h` and `asm-generic/unistd.h`.
"""

import errno
import platform
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from evalkit.resources import toml_file

REFUSED: Final[dict[str, tuple[int | None, ...]]] = {
    name: (*numbers, None)[:2] for name, numbers in toml_file("scoring/answers/system_calls.toml").items()
}
"""By name the numbers on x86-64 and on AArch64, None where there is no such call."""
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
