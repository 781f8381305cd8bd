"""Through the command line: replicas of which one comes back, a number in flight that is found, two stacks in turn."""

import fcntl
import http.server
import json
import os
import socket
import stat
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from stored_run import journal_records

from evalkit.run import manifest

ITEMS = 200
IN_FLIGHT = 4


class Replica:
    """One server of several; it listens only from `begin` on. `answers` is told each question before it is answered."""

    def __init__(self, answers=lambda _text: None):
        outer = self
        self.asked = []
        self.in_flight = self.most = 0
        self.lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def send(self, document):
                data = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.send({"object": "list", "data": [{"id": "m", "object": "model"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = body["messages"][-1]["content"]
                with outer.lock:
                    outer.asked.append(text)
                    outer.in_flight += 1
                    outer.most = max(outer.most, outer.in_flight)
                try:
                    answers(text)
                finally:
                    with outer.lock:
                        outer.in_flight -= 1
                message = {"role": "assistant", "content": "Paris"}
                usage = {"prompt_tokens": 5, "completion_tokens": 2}
                self.send({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage, "model": "m"})

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.server_bind()  # the port is taken, and refuses connections until it listens
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.began = False

    def begin(self):
        if not self.began:
            self.began = True
            self.server.server_activate()
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def close(self):
        if self.began:
            self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def replica():
    made = []

    def make(*arguments):
        made.append(Replica(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def endpoint_of_another_model(endpoint):
    endpoint.model = "other"
    return endpoint.url


def endpoint(tmp_path, name, **more):
    path = tmp_path / f"{name}.yaml"
    fixed = {"name": name, "model": "m", "suites": ["demo"], "runs": str(tmp_path / "runs")}
    path.write_text(json.dumps(fixed | more))
    return path


def test_a_dead_replica_comes_back_and_nothing_is_lost(replica, tmp_path, run_evalkit):
    back = threading.Event()
    late = replica(lambda _text: back.set())

    def answers(_text):
        # The second replica begins to listen early in the run; this one is slow until the other is asked again.
        if len(first.asked) == 12:
            late.begin()
        if not back.is_set():
            time.sleep(0.3)

    first = replica(answers).begin()
    path = endpoint(tmp_path, "ref", base_urls=[first.url, late.url], limits={"concurrency": IN_FLIGHT})
    done = run_evalkit("run", path, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    (suite,) = json.loads(done.stdout)["suites"]
    assert (suite["valued"], suite["without_value"]) == (ITEMS, [])
    both = Counter(first.asked + late.asked)
    assert (len(both), set(both.values())) == (ITEMS, {1}), "each question is answered once, wherever"
    assert len(late.asked) >= 20, "the replica that came back takes its share"
    assert max(first.most, late.most) <= IN_FLIGHT


def test_a_replica_that_is_gone_from_the_start_keeps_no_run_from_the_others(
    replica, tmp_path, run_evalkit, unused_tcp_port_factory
):
    files = []
    for name in ("ref", "cand"):
        gone = f"http://127.0.0.1:{unused_tcp_port_factory()}/v1"
        suites = [{"name": "demo", "limit": 8}]
        files.append(endpoint(tmp_path, name, base_urls=[gone, replica().begin().url], suites=suites))
    done = run_evalkit("compare", *files, "--json", env={"EVALKIT_NO_DOCTOR": "0"})
    assert json.loads(done.stdout)["suites"][0]["coverage"] == 1.0, done.stderr
    assert done.stderr.count("addresses: connection refused at http") == 2, "and it is said"


def test_a_replica_that_serves_another_model_is_a_mistake(replica, endpoint_of_another_model, tmp_path, run_evalkit):
    path = endpoint(tmp_path, "ref", base_urls=[replica().begin().url, endpoint_of_another_model])
    done = run_evalkit("run", path)
    assert done.returncode == 2
    assert f"'m' is not served at {endpoint_of_another_model}" in done.stderr


def test_replicas_are_balanced_by_what_is_in_flight(replica, tmp_path, run_evalkit):
    def slowly(_text):
        """Ten times as slow as the other one, however fast that is on this machine."""
        before, deadline = len(quick.asked), time.monotonic() + 20
        while len(quick.asked) < before + 10 and len(quick.asked) + len(slow.asked) < ITEMS:
            assert time.monotonic() < deadline, "nothing is sent to the quick one"
            time.sleep(0.002)

    quick, slow = replica().begin(), replica(slowly).begin()
    path = endpoint(tmp_path, "ref", base_urls=[quick.url, slow.url], limits={"concurrency": IN_FLIGHT})
    done = run_evalkit("run", path, "--quiet")
    assert done.returncode == 0, done.stderr
    assert len(quick.asked) + len(slow.asked) == ITEMS
    assert len(quick.asked) > 2 * len(slow.asked) > 0, "turns alone would give each the half"
    assert slow.most <= IN_FLIGHT // 2 + 1


def test_the_number_in_flight_is_found_said_and_stored(replica, tmp_path, run_evalkit):
    ref, cand = (replica(lambda _text: time.sleep(0.02)).begin() for _ in range(2))
    files = [
        endpoint(tmp_path, name, base_url=server.url, limits={"concurrency": "auto"})
        for name, server in (("ref", ref), ("cand", cand))
    ]
    done = run_evalkit("compare", *files, "--json")
    assert json.loads(done.stdout)["suites"][0]["coverage"] == 1.0, done.stderr
    numbers = []
    for name, server in (("ref", ref), ("cand", cand)):
        said = [line for line in done.stderr.splitlines() if f"{name}: " in line and "requests in flight" in line]
        assert len(said) == 1, done.stderr
        found = manifest.latest(tmp_path / "runs" / name).in_flight
        assert found.why in said[0]
        assert 1 < server.most <= 2 * found.number, "the number before, where twice as many gave no more"
        numbers.append(found.number)
    assert numbers[0] == numbers[1], "both sides of a comparison use the same"


# ---------------------------------------------------------------- FlagScale, two stacks in turn

STAND_IN = """#!{python}
import os, pathlib, re, subprocess, sys

if "--help" in sys.argv:
    raise SystemExit
verb, name, file = sys.argv[1:4]
port = re.search(r"port: (\\d+)", pathlib.Path(file).read_text())[1]
with open(os.environ["RECORD"], "a") as record:
    record.write(f"{{verb}} {{name}} USE_FLAGGEMS={{os.environ.get('USE_FLAGGEMS')}} GEMS_VENDOR={{os.environ.get('GEMS_VENDOR')}}\\n")
logs = pathlib.Path("outputs", name, "serve_logs")
(logs / "pids").mkdir(parents=True, exist_ok=True)
script = f"nohup {python} {engine} {{port}} >> {{logs}}/host_0_localhost.output 2>&1 & echo $! > {{logs}}/pids/host.pid"
subprocess.run(script, shell=True, check=True)
"""

ENGINE = Path(__file__).with_name("stand_in.py")  # with a lock for the only GPU


@pytest.fixture
def flagscale(tmp_path):
    """A stand-in `flagscale` on the PATH, two serve configurations and the endpoints' files; gives the environment."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "flagscale"
    program.write_text(STAND_IN.format(python=sys.executable, engine=ENGINE))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    for (name, switch), listener in zip((("ref", False), ("cand", True)), held, strict=True):
        serve = {"engine_args": {"model": "/m", "served_model_name": "m"}, "serve_id": "vllm_model", "engine": "vllm"}
        port = listener.getsockname()[1]
        text = f"experiment:\n  exp_name: {name}_m\n  exp_dir: outputs/{name}_m\n  task: {{type: serve}}\n"
        text += f"  runner:\n    deploy:\n      port: {port}\n  envs: {{USE_FLAGGEMS: {str(switch).lower()}}}\n"
        (tmp_path / f"{name}.serve.yaml").write_text(f"{text}serve: {json.dumps([serve])}\n")
        launch = {"kind": "flagscale", "flaggems": switch, "vendor": "nvidia", "sequential": True, "cwd": str(tmp_path)}
        more = {"flagscale": f"{name}.serve.yaml", "launch": {**launch, "ready_seconds": 60, "stop_seconds": 20}}
        path = endpoint(tmp_path, name, suites=[{"name": "demo", "limit": 6}], **more)
        document = json.loads(path.read_text())
        del document["model"]
        path.write_text(json.dumps(document))
    for listener in held:
        listener.close()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "RECORD": str(tmp_path / "record"), "GPU": str(tmp_path / "gpu")}


def test_two_flagscale_stacks_take_turns_on_one_gpu(flagscale, tmp_path, run_evalkit):
    done = run_evalkit("compare", tmp_path / "ref.yaml", tmp_path / "cand.yaml", "--json", env=flagscale)
    assert json.loads(done.stdout)["suites"][0]["coverage"] == 1.0, done.stdout + done.stderr
    assert (tmp_path / "record").read_text().splitlines() == [
        "serve ref_m USE_FLAGGEMS=0 GEMS_VENDOR=nvidia",
        "serve cand_m USE_FLAGGEMS=1 GEMS_VENDOR=nvidia",
    ]
    for name in ("ref", "cand"):
        assert str(journal_records(tmp_path / "runs" / name)).count("'Paris'") >= 6
    # A lock that can be had: neither engine is left.
    with (tmp_path / "gpu").open("w") as gpu:
        fcntl.flock(gpu, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_engine_that_does_not_come_up_is_explained(flagscale, tmp_path, run_evalkit):
    with (tmp_path / "gpu").open("w") as gpu:
        fcntl.flock(gpu, fcntl.LOCK_EX | fcntl.LOCK_NB)  # somebody else has the GPU
        done = run_evalkit("run", tmp_path / "ref.yaml", env=flagscale)
    assert done.returncode == 3
    assert "BlockingIOError" in done.stderr, "the engine's own log is shown"
    assert "host_0_localhost.output" in done.stderr


def of_operators(folder, name, env, operators=None):
    listed = {"FLAGGEMS_ENABLE_OPLIST_PATH": str(folder / f"{name}.txt")}
    launch = {"kind": "command", "argv": [sys.executable, str(ENGINE), "{port}"], "sequential": True}
    written = {} if operators is None else {"OPERATORS": operators}
    env = {**env, **listed, **written, "FLAGGEMS_LOG_PATH": str(folder / "none.txt")}
    return endpoint(folder, name, suites=[{"name": "demo", "limit": 24}], launch={**launch, "env": env})


@pytest.mark.parametrize(
    ("ran", "sentence"),
    [
        ("mm add", "cand ran 2 operators of FlagGems."),
        ("", "CUDA is compared with CUDA"),
        (None, "That FlagOS was active on cand is not proven: no list that is newer"),
    ],
)
def test_a_candidate_of_flagos_is_held_to_the_operators_that_ran(tmp_path, run_evalkit, ran, sentence):
    reference = of_operators(tmp_path, "ref", {})
    candidate = of_operators(tmp_path, "cand", {"USE_FLAGGEMS": "1"}, ran)
    done = run_evalkit("compare", reference, candidate, "--margin", "50", env={"USE_FLAGGEMS": "1"})
    assert sentence in " ".join(done.stdout.split()), done.stdout + done.stderr
    said = [manifest.latest(tmp_path / "runs" / name).endpoint for name in ("ref", "cand")]
    assert said[0]["switches"] == "VLLM_PLUGINS=, USE_FLAGGEMS=0, VLLM_FL_PREFER_ENABLED=false"
    assert said[1]["switches"] == "USE_FLAGGEMS=1"
    assert said[1].get("operators") == {"mm add": "2: add, mm", "": "0"}.get(ran)
    made = tmp_path / "runs" / "ref--cand"
    card = run_evalkit("card", made, "--style", "evalkit", "--chip", "Ascend", "--partial", "--allow-invalid")
    assert ("2 operators of FlagGems ran" in card.stdout) == (ran == "mm add")


def test_two_stacks_may_take_turns_at_one_port(tmp_path, run_evalkit):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    launch = {"kind": "command", "argv": [sys.executable, str(ENGINE), str(port)], "sequential": True}
    where = {"base_url": f"http://127.0.0.1:{port}/v1", "launch": launch, "suites": [{"name": "demo", "limit": 6}]}
    files = [endpoint(tmp_path, name, **where) for name in ("ref", "cand")]
    done = run_evalkit("compare", *files, "--json")
    assert json.loads(done.stdout)["suites"][0]["coverage"] == 1.0, done.stdout + done.stderr
