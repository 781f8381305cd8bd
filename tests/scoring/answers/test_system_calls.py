"""The filter of system calls: its table, what it answers on both machines, and what a program meets in the sandbox."""

import errno
import json
import platform
import re
import struct
from pathlib import Path

import pytest

from evalkit.scoring.answers import sandbox
from evalkit.scoring.answers.sandbox import Limits
from evalkit.scoring.answers.system_calls import NEWEST, REFUSED, seccomp_filter

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALLOW, KILL = "allow", "kill"
NEW_USER, SIGCHLD = 0x10000000, 17


def answer(machine, number, first=0, audit=None):
    """What the filter answers to a call: as the kernel runs it."""
    data = struct.pack("<iIQQ", number, audit or MACHINES[machine][0], 0, first)
    lines = list(struct.iter_unpack("<HBBI", seccomp_filter(machine)))
    tests = {0x15: lambda a, k: a == k, 0x25: lambda a, k: a > k, 0x45: lambda a, k: bool(a & k)}
    at = held = 0
    while True:
        code, holds, fails, value = lines[at]
        at += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(value) or errno.errorcode[value & 0xFFFF]
        else:
            at += holds if tests[code](held, value) else fails


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_the_kernels(machine):
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not installed")
    named = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text()))
    column = MACHINES[machine][1]
    table = {name: numbers[column] for name, numbers in REFUSED.items() if numbers[column] is not None}
    assert table == {name: int(named[name]) for name in table}


@pytest.mark.parametrize(
    ("machine", "clone", "sockets", "ordinary"),
    [("x86_64", 56, (41, 53), (0, 1, 9, 57, 59)), ("aarch64", 220, (198, 199), (63, 64, 222, 221))],
)
def test_what_is_refused_and_what_is_not(machine, clone, sockets, ordinary):
    for numbers in REFUSED.values():
        number = numbers[MACHINES[machine][1]]
        assert number is None or answer(machine, number) == "EPERM"
    for number in sockets:
        assert answer(machine, number, 1) == ALLOW
        for family in (0, 2, 10, 16, 17, 40):  # none, IPv4, IPv6, netlink, packets, VSOCK
            assert answer(machine, number, family) == "EAFNOSUPPORT"
    assert answer(machine, clone, SIGCHLD) == ALLOW
    for bit in (0x20000, *(1 << n for n in range(25, 31))):
        assert answer(machine, clone, SIGCHLD | bit) == "EPERM"
    assert answer(machine, 435) == "ENOSYS", "clone3"
    assert [answer(machine, number) for number in ordinary] == [ALLOW] * len(ordinary)
    assert answer(machine, NEWEST) == ALLOW
    assert answer(machine, NEWEST + 1) == answer(machine, 0x40000000) == "ENOSYS", "newer ones, and those of x32"
    assert answer(machine, ordinary[0], audit=0x40000003) == KILL, "calls of i386"


def test_there_is_no_filter_for_a_machine_without_a_table():
    assert seccomp_filter("riscv64") is None


# ---------------------------------------------------------------- in the sandbox


@pytest.fixture
def inside():
    """Runs a program in the sandbox; what it prints as JSON."""
    if why := sandbox.available():
        pytest.skip(why)

    def run(program):
        outcome = sandbox.run({"main.py": program.encode()}, b"", Limits(seconds=20))
        assert outcome.exit_code == 0, outcome.stderr
        return json.loads(outcome.stdout)

    return run


CALLS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    return 0 if libc.syscall(number, *arguments, *[0] * (6 - len(arguments))) >= 0 else ctypes.get_errno()
"""


def test_no_program_can_make_them(inside):
    column = MACHINES[platform.machine()][1]
    numbers = {name: both[column] for name, both in REFUSED.items() if both[column] is not None}
    told = inside(f"{CALLS}print(json.dumps({{name: call(n) for name, n in {numbers!r}.items()}}))")
    assert told == dict.fromkeys(numbers, errno.EPERM)


def test_no_program_makes_a_namespace_of_its_own_or_a_socket_to_anywhere(inside):
    clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    program = f"""{CALLS}
import socket
told = {{"clone": call({clone}, {NEW_USER | SIGCHLD}), "clone3": call(435), "newer": call({NEWEST + 1})}}
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK, 38):
    try:
        socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        told[str(int(family))] = error.errno
print(json.dumps(told))
"""
    families = {str(number): errno.EAFNOSUPPORT for number in (2, 10, 16, 17, 40, 38)}
    assert inside(program) == {"clone": errno.EPERM, "clone3": errno.ENOSYS, "newer": errno.ENOSYS} | families


def test_programs_that_fork_thread_and_talk_among_themselves_run_as_ever(inside):
    program = """
import asyncio, json, multiprocessing, subprocess, sys, threading
def work(pipe):
    pipe.send("from a process")
ours, theirs = multiprocessing.Pipe()
process = multiprocessing.Process(target=work, args=(theirs,))
process.start()
told = [ours.recv()]
process.join()
thread = threading.Thread(target=told.append, args=("from a thread",))
thread.start()
thread.join()
told.append(subprocess.run([sys.executable, "-c", "print('from a program')"], capture_output=True, text=True).stdout.strip())
told.append(asyncio.run(asyncio.sleep(0, "from a loop")))
print(json.dumps(told))
"""
    assert inside(program) == ["from a process", "from a thread", "from a program", "from a loop"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="calls of i386 exist on x86-64 only")
def test_calls_of_i386_end_the_program():
    if why := sandbox.available():
        pytest.skip(why)
    program = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    outcome = sandbox.run({"main.py": program.encode()}, b"", Limits(seconds=20))
    # SIGSYS of the filter's, or SIGSEGV of a kernel that knows no such calls
    assert outcome.exit_code in {128 + 31, 128 + 11}, outcome
