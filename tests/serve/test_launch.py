"""A launched server comes up, is told apart from a stranger, explains its failures, and never outlives evalkit."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path

import pytest

from evalkit.config import CommandLaunch, load_config
from evalkit.config.redact import spellings
from evalkit.errors import LaunchError
from evalkit.serve import launch
from evalkit.serve.launch import launched
from evalkit.serve.process import GUARD, Command, free_port, guarded

PATIENCE_SECONDS = 60

# A server with the habits of real ones, chosen by its arguments.
SERVER = """
import http.server, os, signal, subprocess, sys

port, habits = int(sys.argv[1]), sys.argv[2:]
print("serving on", port, "with", os.environ.get("GREETING", "no greeting"), flush=True)
if "stubborn" in habits:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "helper" in habits:
    helper = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    open("helper.pid", "w").write(str(helper.pid))
if "background" in habits and os.fork():
    os._exit(0)
if "background" in habits:
    os.setsid()
open("server.pid", "w").write(str(os.getpid()))
loading = 3 if "loading" in habits else 0

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global loading
        loading -= 1
        code = 503 if loading >= 0 else 401 if "locked" in habits else 200 if self.path == "/v1/models" else 404
        if self.path == "/crash":
            print("about to run out of luck", flush=True)
            os._exit(7)
        self.send_response(code)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text(SERVER)
    return tmp_path


def command(folder: Path, *habits: str, **changes) -> CommandLaunch:
    settings = {
        "kind": "command",
        "argv": [sys.executable, "server.py", "{port}", *habits],
        "cwd": folder,
        "ready_seconds": PATIENCE_SECONDS,
        "stop_seconds": PATIENCE_SECONDS,
    }
    return CommandLaunch.model_validate({**settings, **changes})


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone while it was read
        return False
    return state != "Z"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ends(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not runs(pid)


def status(url: str) -> int:
    with urllib.request.urlopen(url) as answer:
        return answer.status


def pid_in(file: Path) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(file.read_text())
        time.sleep(0.01)
    raise AssertionError(f"{file} was not written")


# ---------------------------------------------------------------- coming up


async def test_a_command_gets_a_free_port_and_is_gone_afterwards(folder):
    log = folder / "logs" / "server.log"
    async with launched(command(folder, env={"GREETING": "hello"}), None, log) as server:
        port = int(server.base_url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
        assert await asyncio.to_thread(status, f"{server.base_url}/models") == 200
        assert runs(server.pid)
        assert server.command.log_file == log
    assert not runs(server.pid)
    assert f"serving on {port} with hello" in log.read_text()


async def test_a_given_address_decides_the_port(folder):
    port = free_port()
    async with launched(command(folder), f"http://127.0.0.1:{port}/v1", folder / "log") as server:
        assert server.base_url == f"http://127.0.0.1:{port}/v1"
        assert await asyncio.to_thread(status, f"{server.base_url}/models") == 200


async def test_a_server_that_is_still_loading_is_waited_for(folder):
    async with launched(command(folder, "loading"), None, folder / "log") as server:
        assert await asyncio.to_thread(status, f"{server.base_url}/models") == 200


async def test_a_server_that_wants_a_key_is_up(folder):
    async with launched(command(folder, "locked"), None, folder / "log") as server:
        assert runs(server.pid)


async def test_the_configured_log_is_used_and_older_lines_stay(folder):
    log = folder / "mine.log"
    log.write_text("an older line\n")
    async with launched(command(folder, log=log), None, folder / "log") as server:
        assert server.command.log_file == log
    assert log.read_text().startswith("an older line\n--- ")
    assert not (folder / "log").exists()


async def test_a_command_that_goes_into_the_background_is_served_and_stopped(folder):
    async with launched(command(folder, "background"), None, folder / "log") as server:
        behind = pid_in(folder / "server.pid")
        assert await asyncio.to_thread(status, f"{server.base_url}/models") == 200
    assert not runs(behind)


def test_no_port_is_given_out_twice():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


# ---------------------------------------------------------------- not coming up


async def refused(config: CommandLaunch, log: Path, hint: str | None = None) -> str:
    with pytest.raises(LaunchError) as caught:
        async with launched(config, hint, log):
            raise AssertionError("the server should not have come up")
    return str(caught.value)


async def test_a_program_that_does_not_exist_is_named(folder):
    said = await refused(command(folder, argv=["no-such-server", "{port}"]), folder / "log")
    assert "`no-such-server " in said
    assert said.endswith("cannot be started: No such file or directory")


async def test_a_program_that_may_not_be_run_is_named(folder):
    said = await refused(command(folder, argv=["./server.py", "{port}"]), folder / "log")
    assert said.endswith("cannot be started: Permission denied")


async def test_a_working_folder_that_is_absent_is_named(folder):
    said = await refused(command(folder, cwd=folder / "absent"), folder / "log")
    assert said.endswith(f"its working folder {folder / 'absent'} does not exist")


async def test_a_log_that_cannot_be_written_is_named(folder):
    (folder / "log").mkdir()
    said = await refused(command(folder), folder / "log")
    assert str(folder / "log") in said
    assert "Is a directory" in said


async def test_a_server_that_dies_at_once_shows_its_last_words(folder):
    program = "import sys; print('loading'); sys.exit('CUDA error: no device')"
    said = await refused(command(folder, argv=[sys.executable, "-c", program, "{port}"]), folder / "log")
    assert "ended with exit code 1" in said
    assert set(said.splitlines()[-2:]) == {"    loading", "    CUDA error: no device"}


async def test_a_server_that_is_killed_says_by_what(folder):
    program = "import os; os.kill(os.getpid(), 9)"
    said = await refused(command(folder, argv=[sys.executable, "-c", program, "{port}"]), folder / "log")
    assert "was ended by SIGKILL, as happens when memory runs out; it wrote nothing to" in said


async def test_a_command_that_ends_well_is_no_server(folder):
    said = await refused(command(folder, argv=[sys.executable, "-c", "", "{port}"]), folder / "log")
    assert "ended with exit code 0; a server must stay in the foreground" in said


async def test_a_server_that_never_listens_is_given_up_and_stopped(folder):
    program = "import os, signal; open('server.pid', 'w').write(str(os.getpid())); print('warming up', flush=True); signal.pause()"
    config = command(folder, argv=[sys.executable, "-c", program, "{port}"], ready_seconds=2)
    said = await refused(config, folder / "log")
    assert "was not ready after 2 seconds (ready_seconds): nothing answers at http://127.0.0.1:" in said
    assert said.endswith("    warming up")
    assert not runs(pid_in(folder / "server.pid"))


async def test_a_server_that_waits_for_an_answer_shows_its_question(folder):
    program = "import signal; print('Passphrase of', 'key.pem: ', end='', flush=True); signal.pause()"
    said = await refused(
        command(folder, argv=[sys.executable, "-c", program, "{port}"], ready_seconds=4), folder / "log"
    )
    assert said.endswith("    Passphrase of key.pem:")


async def test_a_wrong_health_path_is_suspected(folder):
    said = await refused(command(folder, health_path="/ready", ready_seconds=5), folder / "log")
    assert "/ready answers HTTP 404; is health_path right?" in said


async def test_a_stranger_on_the_port_is_not_taken_for_the_server(folder):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        said = await refused(command(folder), folder / "log", f"http://127.0.0.1:{port}/v1")
    assert said.startswith(f"port {port} of 127.0.0.1 is already in use: stop what listens there")
    assert not (folder / "server.pid").exists()


async def test_messages_keep_secrets_and_cannot_steer_the_terminal(folder, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "from-the-shell-123")
    program = (
        "import os, sys; print('\\x1b[31mkey', os.environ['HF_TOKEN'], 'from-the-shell-123', '\\x07', "
        "'x' * 1000); sys.exit(3)"
    )
    config = command(
        folder,
        argv=[sys.executable, "-c", program, "--api-key", "on-the-line-4567", "{port}"],
        env={"HF_TOKEN": "hf_in_the_file"},
    )
    said = await refused(config, folder / "log")
    for secret in ("from-the-shell-123", "on-the-line-4567", "hf_in_the_file"):
        assert secret not in said
    last = said.splitlines()[-1]
    assert last.startswith("    key *** ***")
    assert last.isprintable()
    assert len(last) < 320
    log = (folder / "log").read_text()
    assert not [secret for secret in ("from-the-shell-123", "on-the-line-4567", "hf_in_the_file") if secret in log]


async def test_only_the_last_lines_of_this_start_are_shown(folder):
    (folder / "log").write_text("a line of an older start\n")
    program = "for n in range(5000): print('line', n)\nraise SystemExit(1)"
    said = await refused(command(folder, argv=[sys.executable, "-c", program, "{port}"]), folder / "log")
    shown = said.splitlines()[1:]
    assert shown == [f"    line {n}" for n in range(4980, 5000)]


# ---------------------------------------------------------------- what it is handed, and what stays in its log


async def test_a_server_gets_what_its_software_needs_and_nobody_elses_keys(folder, monkeypatch):
    passes = {
        "CUDA_VISIBLE_DEVICES": "1",
        "ASCEND_HOME_PATH": "/usr/local/Ascend",
        "MUSA_HOME": "/usr/local/musa",
        "MACA_PATH": "/opt/maca",
        "LD_LIBRARY_PATH": "/opt/maca/lib",
        "HF_HOME": "/models",
        "HTTPS_PROXY": "http://user:pw@proxy:8080",
        "VLLM_PLUGINS": "fl",
    }
    stays = {
        "JUDGE_KEY": "of-the-judge",
        "OTHER_SIDE": "of-the-other-side",
        "HF_TOKEN": "of-the-shell",
        "ADDRESS": "http://h/v1?code=of-the-address",
    }
    for name, value in (passes | stays).items():
        monkeypatch.setenv(name, value)
    other = folder / "other.yaml"
    other.write_text(
        "name: other\nmodel: m\nbase_url: http://127.0.0.1:9/v1\napi_key_env: OTHER_SIDE\nsuites: [demo]\n"
    )
    load_config(other)
    program = "import json, os; json.dump(dict(os.environ), open('seen.json', 'w'))"
    own = {"SERVER_KEY": "of-the-server"}
    said = await refused(command(folder, argv=[sys.executable, "-c", program, "{port}"], env=own), folder / "log")
    assert "ended with exit code 0" in said
    seen = json.loads((folder / "seen.json").read_text())
    assert seen.items() >= (passes | own).items()
    assert not seen.keys() & stays.keys()
    assert "of-the-" not in "".join(value for name, value in seen.items() if name not in own)
    log = (folder / "log").read_text()
    assert f"not handed on, unless launch.env says so: {', '.join(sorted(stays))}\n" in log
    assert "of-the-" not in log


async def test_the_log_is_for_its_owner_alone_also_where_it_was_there_before(folder):
    for log in (folder / "new", folder / "old"):
        if log.name == "old":
            log.write_text("an older line\n")
            log.chmod(0o644)
        async with launched(command(folder, log=log), None, folder / "log"):
            assert log.stat().st_mode & 0o777 == 0o600


# Prints a key in two halves, in base64, after a screenful without an end, and as it goes.
INDISCREET = """
import base64, os, signal, sys, time
key = os.environ["MY_KEY"].encode()

def say(*parts):
    for part in parts:
        os.write(1, part)
        time.sleep(0.05)

def end(*_):
    say(b"x" * 1_000_000, key, b"\\nended well\\n")
    os._exit(0)

signal.signal(signal.SIGTERM, end)
say(b"args: ", key[:7], key[7:], b"\\n", base64.b64encode(b"u:" + key + b"!"), b"\\r", b"y" * 65_530, key, b"z" * 70_000, b"\\n")
open("server.pid", "w").write(str(os.getpid()))
while True:
    say(b"again ", key, b"\\n")
"""


def test_no_key_is_ever_in_the_log_and_a_server_whose_evalkit_was_killed_says_its_last_words(folder):
    (folder / "indiscreet.py").write_text(INDISCREET)
    program = USER.replace("server.py", "indiscreet.py").replace("stop_seconds=0.3", 'env={"MY_KEY": KEY}')
    program = program.replace("import asyncio", 'KEY = "sk-planted-0123456789"\nimport asyncio', 1)
    user = subprocess.Popen([sys.executable, "-c", program], cwd=folder, stderr=subprocess.DEVNULL)
    server, log = pid_in(folder / "server.pid"), folder / "log"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b"again" not in (now := log.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.01)
    planted = (b"planted", base64.b64encode(b"u:sk-planted-0123456789!")[4:-4])
    assert now.count(b"***") >= 3, "each of them, while it runs"
    assert not [key for key in planted if key in now]
    user.kill()
    user.wait()
    assert ends(server)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (now := log.read_bytes()).endswith(b"x***\nended well\n") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert now.endswith(b"x***\nended well\n"), now[-100:]
    assert now.count(b"x") >= 1_000_000
    assert now.count(b"z") == 70_000
    assert not [key for key in planted if key in now]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_server_goes_on_where_the_disk_is_full(tmp_path):
    life, ours = os.pipe()
    told, telling = os.pipe()
    program = "print('line ' * 100_000); open('done', 'w').write('1')"
    command = [
        sys.executable,
        str(GUARD),
        str(life),
        str(telling),
        str(os.getpid()),
        "1",
        sys.executable,
        "-c",
        program,
    ]
    secrets = json.dumps(asdict(spellings(["sk-planted-0123456789"]))).encode()
    with Path("/dev/full").open("wb") as full:
        subprocess.run(
            command, input=secrets, stdout=full, cwd=tmp_path, pass_fds=(life, telling), timeout=60, check=True
        )
    assert b'{"exit": 0}' in os.read(told, 1000)
    assert (tmp_path / "done").exists()
    for descriptor in (life, ours, told, telling):
        os.close(descriptor)


# ---------------------------------------------------------------- being stopped


async def test_an_error_in_the_body_stops_the_server(folder):
    with pytest.raises(ZeroDivisionError):
        async with launched(command(folder), None, folder / "log") as server:
            _ = 1 / 0
    assert not runs(server.pid)


async def test_cancellation_stops_the_server_and_stays_a_cancellation(folder):
    up = asyncio.Event()
    pids = []

    async def use() -> None:
        async with launched(command(folder), None, folder / "log") as server:
            pids.append(server.pid)
            up.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await up.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not runs(pids[0])


async def test_cancellation_while_the_server_comes_up_leaves_nothing(folder):
    program = "import os, signal; open('server.pid', 'w').write(str(os.getpid())); signal.pause()"
    config = command(folder, argv=[sys.executable, "-c", program, "{port}"])

    async def use() -> None:
        async with launched(config, None, folder / "log"):
            raise AssertionError("it never listens")

    task = asyncio.create_task(use())
    pid = await asyncio.to_thread(pid_in, folder / "server.pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not runs(pid)


async def test_a_server_that_ignores_sigterm_is_killed(folder):
    async with launched(command(folder, "stubborn", stop_seconds=0.2), None, folder / "log") as server:
        assert runs(server.pid)
    assert not runs(server.pid)


async def test_what_the_server_started_in_a_session_of_its_own_goes_too(folder):
    async with launched(command(folder, "helper"), None, folder / "log"):
        helper = pid_in(folder / "helper.pid")
        assert runs(helper)
    assert not runs(helper)


async def test_a_server_that_dies_in_use_interrupts_the_body(folder):
    with pytest.raises(LaunchError) as caught:
        async with launched(command(folder), None, folder / "log") as server:
            crash = server.base_url.removesuffix("/v1") + "/crash"
            with contextlib.suppress(OSError):
                await asyncio.to_thread(status, crash)
            await asyncio.sleep(PATIENCE_SECONDS)
            raise AssertionError("nobody said that the server is gone")
    said = str(caught.value)
    assert said.startswith("while it was in use, `")
    assert "ended with exit code 7" in said
    assert said.endswith("    about to run out of luck")
    assert asyncio.current_task().cancelling() == 0


async def test_an_error_of_the_body_is_not_hidden_by_the_end_of_the_server(folder):
    with pytest.raises(ZeroDivisionError):
        async with launched(command(folder), None, folder / "log") as server:
            os.kill(server.pid, signal.SIGKILL)
            try:
                await asyncio.sleep(PATIENCE_SECONDS)
            except asyncio.CancelledError:
                _ = 1 / 0
    assert asyncio.current_task().cancelling() == 0


async def test_a_killed_guard_takes_the_server_with_it(folder):
    with pytest.raises(LaunchError, match="is gone, and so is its guard"):
        async with launched(command(folder), None, folder / "log") as server:
            os.kill(parent_of(server.pid), signal.SIGKILL)
            await asyncio.sleep(PATIENCE_SECONDS)
    assert ends(server.pid)


USER = """
import asyncio, signal, sys
from pathlib import Path
from evalkit.config import CommandLaunch
from evalkit.serve.launch import launched

# A shell has what it starts in the background ignore Ctrl-C, and that is handed on.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    argv = (sys.executable, "server.py", "{port}", "helper", *sys.argv[1:])
    async with launched(CommandLaunch(kind="command", argv=argv, stop_seconds=0.3), None, Path("log")):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("habit", ["polite", "stubborn"])
def test_nothing_outlives_an_evalkit_that_is_killed(folder, number, habit):
    user = subprocess.Popen(
        [sys.executable, "-c", USER, habit], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert user.stdout.readline() == b"up\n"
    server, helper = pid_in(folder / "server.pid"), pid_in(folder / "helper.pid")
    assert runs(server)
    assert runs(helper)
    user.send_signal(number)
    user.wait(PATIENCE_SECONDS)
    user.stdout.close()
    assert ends(server)
    assert ends(helper)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_still_loading_is_not_waited_for(folder, number):
    """It may take minutes to heed SIGTERM, and has answered nobody: ten minutes of `stop_seconds` are not for it."""
    files = {"name": "loads", "model": "m", "suites": ["demo"], "runs": str(folder / "runs")}
    argv = [sys.executable, "server.py", "{port}", "stubborn", "helper", "loads-for-ever"]
    launch = {"kind": "command", "argv": argv, "stop_seconds": 600, "cwd": str(folder), "health_path": "/never"}
    (folder / "loads.yaml").write_text(json.dumps({**files, "launch": launch}))
    program = [sys.executable, "-m", "evalkit", "run", "loads.yaml", "--quiet"]
    user = subprocess.Popen(program, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server, helper = pid_in(folder / "server.pid"), pid_in(folder / "helper.pid")
    user.send_signal(number)
    assert user.wait(PATIENCE_SECONDS) == 130
    assert ends(server)
    assert ends(helper)


async def test_a_command_without_a_server_can_be_waited_for(tmp_path):
    short = Command(argv=(sys.executable, "-c", "raise SystemExit(5)"), log_file=tmp_path / "log")
    async with guarded(short) as running:
        assert await running.ended == 5


async def test_an_address_is_needed_where_nothing_else_gives_one(folder):
    said = await refused(command(folder, argv=["server"]), folder / "log")
    assert said == "launch: a command needs {port} among its arguments, or base_url beside launch"


def test_the_guard_is_a_script_that_imports_nothing_of_evalkit():
    text = Path(launch.__file__).with_name("guard.py").read_text()
    assert "evalkit" not in "".join(line for line in text.splitlines() if line.startswith(("import", "from")))
