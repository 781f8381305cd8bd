"""Hostile programs in the sandbox: each is contained, and what it tried leaves no trace outside."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from evalkit.scoring.answers import sandbox
from evalkit.scoring.answers.sandbox import Ending, Limits, SandboxError

PATIENT = Limits(seconds=20)
QUICK = Limits(seconds=0.5)


@pytest.fixture
def needs_sandbox():
    if why := sandbox.available():
        pytest.skip(why)


def run(program, stdin=b"", limits=PATIENT):
    return sandbox.run({"main.py": program.encode()}, stdin, limits)


@pytest.mark.usefixtures("needs_sandbox")
class TestOrdinaryPrograms:
    def test_reads_input_and_prints(self):
        outcome = run("print(sum(map(int, input().split())))", b"19 23\n")
        assert (outcome.ending, outcome.exit_code, outcome.stdout) == (Ending.EXITED, 0, b"42\n")

    def test_an_error_has_its_exit_code_and_message(self):
        outcome = run("1 / 0")
        assert (outcome.ending, outcome.exit_code) == (Ending.EXITED, 1)
        assert "ZeroDivisionError" in outcome.stderr

    def test_scratch_space_is_private_and_gone_afterwards(self):
        assert run("open('/tmp/note', 'w').write('x'); print(open('/tmp/note').read())").stdout == b"x\n"
        assert run("import os; print(os.path.exists('/tmp/note'))").stdout == b"False\n"
        assert not Path("/tmp/note").exists()

    def test_further_files_lie_beside_the_program(self):
        files = {"main.py": b"print(open('/code/data.txt').read())", "data.txt": b"seen"}
        assert sandbox.run(files, b"", PATIENT).stdout == b"seen\n"

    def test_a_large_input_and_a_large_output_pass(self):
        text = b"word " * 200_000
        assert run("import sys; print(sys.stdin.read(), end='')", text).stdout == text

    def test_sets_are_walked_in_the_same_order_every_time(self):
        program = "print(list({str(number) for number in range(50)}))"
        assert run(program).stdout == run(program).stdout


@pytest.mark.usefixtures("needs_sandbox")
class TestHostilePrograms:
    def test_a_fork_bomb_ends_with_its_sandbox(self):
        outcome = run(
            "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass", limits=QUICK
        )
        assert outcome.ending is Ending.TIME
        assert not _left_behind()

    def test_the_number_of_processes_is_limited(self):
        program = (
            "import os, time\nstarted = 0\nwhile True:\n    try:\n        child = os.fork()\n    except OSError:\n        break\n"
            "    if child == 0:\n        time.sleep(60)\n    started += 1\nprint(started)"
        )
        outcome = run(program, limits=Limits(seconds=20, processes=16))
        assert 0 < int(outcome.stdout) < 16

    def test_children_left_behind_die_with_the_program(self):
        outcome = run("import os, time\nif os.fork() == 0:\n    time.sleep(600)")
        assert outcome.ending is Ending.EXITED
        assert outcome.seconds < 20
        assert not _left_behind()

    def test_endless_output_is_cut(self):
        outcome = run("while True: print('x' * 10_000)", limits=Limits(seconds=20, output_bytes=1 << 20))
        assert outcome.ending is Ending.OUTPUT
        assert len(outcome.stdout) < 2 << 20

    def test_endless_errors_are_cut_too(self):
        outcome = run("import sys\nwhile True: sys.stderr.write('x' * 10_000)", limits=QUICK)
        assert outcome.ending is Ending.TIME
        assert len(outcome.stderr) <= 4_000

    def test_sleeping_forever_is_ended(self):
        assert run("import time; time.sleep(10**9)", limits=QUICK).ending is Ending.TIME

    def test_working_forever_is_ended_also_when_the_signal_is_ignored(self):
        program = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
        outcome = run(program, limits=QUICK)
        assert outcome.ending is Ending.TIME or outcome.exit_code != 0

    def test_a_home_folder_cannot_be_read(self, tmp_path):
        secret = Path.home() / f".evalkit-sandbox-test-{os.getpid()}"
        secret.write_text("a key")
        try:
            outcome = run(f"print(open({str(secret)!r}).read())")
        finally:
            secret.unlink()
        assert outcome.exit_code == 1
        assert "FileNotFoundError" in outcome.stderr or "PermissionError" in outcome.stderr

    @pytest.mark.parametrize("place", ["/etc/passwd", "/proc/1/environ", "/var/log", "/sys/kernel"])
    def test_the_system_around_it_is_not_there(self, place):
        assert run(f"import os; print(os.path.exists({place!r}))").stdout == b"False\n"

    def test_the_environment_is_not_inherited(self, monkeypatch):
        monkeypatch.setenv("SOME_API_KEY", "secret")
        assert b"secret" not in run("import os; print(dict(os.environ))").stdout

    def test_no_socket_reaches_the_machine_itself(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            reached = threading.Event()
            thread = threading.Thread(target=_accept, args=(server, reached), daemon=True)
            thread.start()
            outcome = run(f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)")
        assert outcome.exit_code == 1
        assert not reached.is_set()

    def test_no_socket_reaches_the_world(self):
        outcome = run("import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)")
        assert "Address family not supported" in outcome.stderr

    @pytest.mark.parametrize(
        "place", ["/code/main.py", "/usr/evalkit-was-here", "/evalkit-was-here", "/dev/shm/x", "/bin/sh"]
    )
    def test_nothing_outside_can_be_written(self, place):
        outcome = run(f"open({place!r}, 'w')")
        assert outcome.exit_code == 1
        assert "Read-only file system" in outcome.stderr or "Permission" in outcome.stderr

    def test_the_interpreter_it_runs_in_cannot_be_changed(self):
        outcome = run("import os; open(os.path.dirname(os.__file__) + '/evalkit_was_here.py', 'w')")
        assert "Read-only file system" in outcome.stderr or "Permission" in outcome.stderr

    def test_scratch_space_is_limited(self):
        limits = Limits(seconds=20, scratch_bytes=1 << 20)
        assert run("open('/tmp/x', 'wb').write(b'x' * (2 << 20))", limits=limits).exit_code == 1
        many = "for n in range(100): open(f'/tmp/{n}', 'wb').write(b'x' * (1 << 19))"
        assert "No space left" in run(many, limits=limits).stderr

    def test_one_process_cannot_take_all_memory(self):
        outcome = run("x = bytearray(1 << 30)", limits=Limits(seconds=20, memory_bytes=512 << 20))
        assert outcome.exit_code == 1
        assert "MemoryError" in outcome.stderr

    def test_many_processes_together_cannot_either(self):
        program = "import os, time\nfor _ in range(3): os.fork()\nx = b'x' * (100 << 20)\ntime.sleep(60)"
        outcome = run(program, limits=Limits(seconds=20, memory_bytes=400 << 20))
        assert outcome.ending is Ending.MEMORY

    def test_it_has_no_rights_and_cannot_get_any(self):
        program = (
            "import os\ntry:\n    os.setuid(0)\nexcept OSError:\n    print('refused')\nelse:\n    print(os.getuid())"
        )
        assert run(program).stdout == b"refused\n"
        assert run("import os; print(os.getuid() == 0)").stdout == (b"False\n")

    def test_it_cannot_see_or_signal_other_processes(self):
        outcome = run(f"import os; os.kill({os.getpid()}, 9)")
        assert "ProcessLookupError" in outcome.stderr


class TestAvailability:
    def test_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
        _forget()
        assert (
            sandbox.available()
            == "programs are run in bubblewrap, and bwrap is not installed: apt-get install bubblewrap"
        )

    def test_an_old_version_is_refused(self, monkeypatch, tmp_path):
        _use(monkeypatch, _script(tmp_path, "echo bubblewrap 0.4.1"))
        assert "too old (bubblewrap 0.4.1)" in sandbox.available()

    def test_no_namespaces_is_said_in_bubblewraps_words(self, monkeypatch, tmp_path):
        body = '[ "$1" = --version ] && echo bubblewrap 0.8.0 || { echo "bwrap: No permissions to create new namespace" >&2; exit 1; }'
        _use(monkeypatch, _script(tmp_path, body))
        assert (
            sandbox.available()
            == "bubblewrap cannot build a sandbox here: bwrap: No permissions to create new namespace"
        )

    def test_other_systems_are_refused(self, monkeypatch):
        monkeypatch.setattr(sandbox.sys, "platform", "darwin")
        _forget()
        assert "Linux only" in sandbox.available()

    def test_a_machine_without_a_filter_of_calls_is_refused(self, monkeypatch):
        monkeypatch.setattr(sandbox, "seccomp_filter", lambda: None)
        _forget()
        assert "exists for x86-64 and AArch64 only" in sandbox.available()

    def test_running_without_it_is_no_verdict(self, monkeypatch):
        monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
        _forget()
        with pytest.raises(SandboxError):
            run("print(1)")

    @pytest.fixture(autouse=True)
    def fresh(self):
        yield
        _forget()


class TestWalls:
    """What the command asks of bubblewrap, where it cannot be run as well."""

    def options(self):
        return list(sandbox._walls(PATIENT, {}))

    @pytest.mark.parametrize(
        "option", ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--clearenv"]
    )
    def test_is_asked_for(self, option):
        assert option in self.options()

    def test_nothing_of_the_machine_is_bound_writable(self):
        assert not {"--bind", "--bind-try", "--dev-bind"} & set(self.options())

    def test_root_is_given_up(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        launch = sandbox._launch(PATIENT, 9)
        user = int(launch[launch.index("-c") + 2])
        assert user > 65_536

    def test_an_ordinary_user_gets_a_namespace_of_users(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert "--unshare-user" in self.options()
        assert sandbox._launch(PATIENT, 9)[sandbox._launch(PATIENT, 9).index("-c") + 2] == "0"

    def test_the_home_folder_is_not_among_the_folders(self):
        assert str(Path.home()) not in sandbox._interpreter_folders()


def test_memory_of_a_tree_of_processes_is_summed():
    assert sandbox.resident_bytes(os.getpid()) > 1 << 20
    assert sandbox._descendants(1, {1: 0, 2: 1, 3: 2, 4: 9}) == [1, 2, 3]
    assert sandbox._descendants(7, {1: 0}) == []


def _accept(server, reached):
    try:
        server.accept()
        reached.set()
    except OSError:
        pass


def _left_behind():
    """Programs of a sandbox that run now and do not end: what other tests run beside this one ends by itself."""
    left = _sandboxed_processes()
    ended_by = time.monotonic() + 60
    while left and time.monotonic() < ended_by:
        time.sleep(0.05)
        left &= _sandboxed_processes()
    return left


def _sandboxed_processes():
    """The processes on this machine that run a program of the sandbox."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"/code/main.py" in (entry / "cmdline").read_bytes().split(b"\0")[-3:]:
                    found.add(entry.name)
            except OSError:
                continue
    return found


def _script(folder, body):
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def _use(monkeypatch, path):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: str(path))
    _forget()


def _forget():
    sandbox.available.cache_clear()
    sandbox._bwrap.cache_clear()
