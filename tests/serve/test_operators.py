"""Which of FlagOS's switches a server gets, and what its list of operators says of it."""

from __future__ import annotations

import asyncio
import http.server
import os
import sys
import threading
import time

import pytest

from evalkit.config import EndpointConfig
from evalkit.serve import operators
from evalkit.serve.operators import OFF, names_of, proof, settled, switches

LISTED = """\
[DEBUG] flag_gems.ops.mm.mm: GEMS MM
[DEBUG] flag_gems.runtime.backend._ascend.ops.addmm.addmm_out: GEMS_ASCEND ADDMM_OUT
[DEBUG] flag_gems.ops.mm.mm: GEMS MM
[INFO] flag_gems.utils.code_cache.load: 3 kernels from /root/.flaggems
a sentence of four words
"""


def config(**keys):
    return EndpointConfig.model_validate({"name": "cand", "model": "m", "suites": ["demo"], **keys})


def started(env=None, *, sequential=False, **keys):
    launch = {"kind": "command", "argv": ["vllm", "serve", "{port}"], "env": env or {}, "sequential": sequential}
    return config(launch=launch, **keys)


def proven(one, began=0.0):
    return asyncio.run(proof(one, began))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in (*operators.SWITCHES, *operators.LISTS):
        monkeypatch.delenv(name, raising=False)


def test_a_list_names_each_operator_once_whatever_the_backend():
    assert names_of(LISTED) == ["addmm_out", "mm"]
    assert names_of("softmax\nmm\n\nadd.Tensor\n") == ["add.Tensor", "mm", "softmax"]
    assert len(names_of("\n".join(f"op{n}" for n in range(5_000)))) == operators.MOST_NAMES


def test_a_silent_reference_is_started_without_flagos_whatever_is_exported(monkeypatch):
    monkeypatch.setenv("USE_FLAGGEMS", "1")
    monkeypatch.setenv("VLLM_FL_OOT_BLACKLIST", "mm")
    one = settled(started(), reference=True)
    assert one.launch.env == {**OFF, "VLLM_FL_OOT_BLACKLIST": "mm"}
    assert switches(one)["flagos"] == "off"


def test_what_a_file_says_of_the_reference_stands():
    assert settled(started({"USE_FLAGGEMS": "1"}), reference=True).launch.env == {"USE_FLAGGEMS": "1"}
    assert settled(started({"USE_FLAGGEMS": "0"}), reference=True).launch.env == OFF
    assert settled(started({"VLLM_PLUGINS": "fl"}), reference=True).launch.env == {"VLLM_PLUGINS": "fl"}


def test_an_inherited_switch_of_a_candidate_is_on_record(monkeypatch):
    monkeypatch.setenv("USE_FLAGGEMS", "1")
    one = settled(started({"GEMS_VENDOR": "nvidia"}))
    assert one.launch.env == {"USE_FLAGGEMS": "1", "GEMS_VENDOR": "nvidia"}
    assert switches(one) == {"switches": "USE_FLAGGEMS=1", "flagos": "on"}


def test_a_server_that_is_not_started_here_inherits_nothing(monkeypatch):
    monkeypatch.setenv("USE_FLAGGEMS", "1")
    assert switches(settled(config(base_url="http://h:1/v1"), reference=True)) == {}


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"VLLM_PLUGINS": "fl"}, "on"),
        ({"VLLM_PLUGINS": "fl,other", "USE_FLAGGEMS": "0"}, "off"),
        ({"VLLM_PLUGINS": ""}, "off"),
        ({"VLLM_FL_PREFER_ENABLED": "true"}, "on"),
        ({"GEMS_VENDOR": "nvidia"}, None),
    ],
)
def test_flagos_is_on_by_its_nearest_switch(env, word):
    assert switches(started(env)).get("flagos") == word


def test_the_list_of_a_started_server_is_proof_only_where_it_is_newer(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(LISTED)
    one = started({"USE_FLAGGEMS": "1", "FLAGGEMS_ENABLE_OPLIST_PATH": str(listed), "FLAGGEMS_LOG_PATH": "/nowhere"})
    assert proven(one) == {"operators": "2: addmm_out, mm"}
    told = proven(one, time.time() + 60)["operators_absent"]
    assert "newer than the server's start" in told
    assert str(listed) in told
    listed.write_text("")
    assert proven(one) == {"operators": "0"}


def test_a_reference_beside_the_candidate_does_not_take_its_list(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(LISTED)
    env = {**OFF, "FLAGGEMS_ENABLE_OPLIST_PATH": str(listed)}
    assert proven(started(env)) == {}
    assert proven(started(env, sequential=True)) == {"operators": "2: addmm_out, mm"}


def test_a_list_is_read_from_a_path_or_a_command(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("mm\n")
    there = {"base_url": "http://h:1/v1"}
    assert proven(config(**there, operators=str(listed)), time.time() + 60) == {"operators": "1: mm"}
    command = [sys.executable, "-c", "print('add')"]
    assert proven(config(**there, operators={"command": command})) == {"operators": "1: add"}


def test_a_command_is_bounded_and_gets_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-not-for-a-command")
    monkeypatch.setattr(operators, "LIST_BYTES", 10)
    talks = "import os, itertools; [print('k' + str('SOME_API_KEY' in os.environ)) for _ in itertools.count()]"
    one = config(base_url="http://h:1/v1", operators={"command": [sys.executable, "-c", talks]})
    assert proven(one) == {"operators": "2: kFa, kFalse"}


def test_what_gives_no_list_is_said(tmp_path, monkeypatch):
    there = {"base_url": "http://h:1/v1"}
    fails = config(**there, operators={"command": [sys.executable, "-c", "raise SystemExit(3)"]})
    assert "exit code 3" in proven(fails)["operators_absent"]
    assert "no list is at" in proven(config(**there, operators=str(tmp_path / "none")))["operators_absent"]
    os.mkfifo(tmp_path / "pipe")
    assert "no list is at" in proven(config(**there, operators=str(tmp_path / "pipe")))["operators_absent"]
    (tmp_path / "page").write_text("<html><body>not found</body></html>\n")
    assert "no operator" in proven(config(**there, operators=str(tmp_path / "page")))["operators_absent"]
    monkeypatch.setattr(operators, "SECONDS", 0.2)
    waits = config(**there, operators={"command": [sys.executable, "-c", "import time; time.sleep(600)"]})
    assert "nothing within 0.2 s" in proven(waits)["operators_absent"]


def test_a_list_is_fetched_from_an_address():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/list" else 404)
            self.end_headers()
            self.wfile.write(LISTED.encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        there = {"base_url": "http://h:1/v1"}
        assert proven(config(**there, operators={"url": f"{address}/list"})) == {"operators": "2: addmm_out, mm"}
        assert "404" in proven(config(**there, operators={"url": f"{address}/other"}))["operators_absent"]
        server.shutdown()


@pytest.mark.parametrize("said", [{}, {"path": "a", "url": "http://h/l"}])
def test_operators_are_in_one_place(said):
    with pytest.raises(ValueError, match="operators needs one of path, url and command"):
        config(base_url="http://h:1/v1", operators=said)
