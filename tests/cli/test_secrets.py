"""Planted secrets turn up nowhere: not in a file that evalkit writes, not in a word that it says, debugging included.

The server is as indiscreet as servers are: it prints its environment and arguments when it starts, tells every header
back in error messages, and in fields of its good answers, in clear, in base64, and escaped.
"""

import base64
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading

import pyarrow.parquet as pq
import pytest
from stored_run import journal_records

from evalkit.run import journal

SERVER = r"""
import base64, http.server, json, os, sys

said = ["arguments:", *sys.argv, "environment:", str(dict(os.environ))]
print(*said, base64.b64encode(" ".join(said).encode()).decode(), flush=True)
count = 0

def escaped(text):
    return "".join(f"\\u{ord(c):04x}" for c in text)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        print("headers:", dict(self.headers), flush=True)

    def send(self, status, document):
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Request-Id", self.headers.get("Authorization", "none"))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/v1/models":
            card = {"id": "m", "object": "model", "owned_by": self.headers.get("Authorization"), "max_model_len": 9000}
            return self.send(200, {"object": "list", "data": [card]})
        if self.path == "/version":
            return self.send(200, {"version": "1.0 for " + self.headers.get("X-Team", "")})
        return self.send(404, {"error": {"message": f"no such path for {dict(self.headers)}"}})

    def do_POST(self):
        global count
        count += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            return self.send(404, {"error": {"message": f"no such path for {dict(self.headers)}"}})
        if count % 5 == 0:
            return self.send(400 if count % 2 else 503, {"error": {"message": f"not for you: {escaped(self.headers['Authorization'])}"}})
        message = {"role": "assistant", "content": "Paris, I think."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        told = self.headers.get("Authorization", "")
        self.send(200, {"id": told, "model": "m", "system_fingerprint": base64.b64encode(told.encode()).decode(), "choices": [choice], "usage": usage})

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

KEY, TEAM, TOKEN, OPTION, SHELL = (f"{name}-planted-4711" for name in ("sk", "team", "hf", "option", "shell"))
PLANTED = (KEY, TEAM, TOKEN, OPTION, SHELL)


@pytest.fixture
def files(tmp_path):
    """Two endpoint files: both start the indiscreet server, with secrets in every place that takes one."""
    (tmp_path / "server.py").write_text(SERVER)
    for name in ("ref", "cand"):
        launch = {
            "kind": "command",
            "argv": [sys.executable, str(tmp_path / "server.py"), "{port}", "--api-key", OPTION],
            "env": {"HF_TOKEN": "${PLANTED_TOKEN}"},
        }
        endpoint = {
            "name": name,
            "model": "m",
            "api_key_env": "PLANTED_KEY",
            "headers": {"X-Team": "${PLANTED_TEAM}"},
            "launch": launch,
            "suites": [{"name": "demo", "limit": 12}],
            "limits": {"retries": 1},
            "runs": "runs",
        }
        (tmp_path / f"{name}.yaml").write_text(json.dumps(endpoint))
    return tmp_path


@pytest.fixture
def say(files, run_evalkit):
    """Runs a command with everything of the user's in a folder of its own; gives the exit code and all that it said."""
    home = files / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EVALKIT_", "HF_", "XDG_"))}
    planted = {"PLANTED_KEY": KEY, "PLANTED_TEAM": TEAM, "PLANTED_TOKEN": TOKEN, "SOME_PASSWORD": SHELL}
    own = {"HOME": str(home), "HF_HUB_OFFLINE": "1", "EVALKIT_CACHE": str(home / "cache"), "TMPDIR": str(home)}

    def run(*arguments):
        done = run_evalkit("--debug", *arguments, cwd=files, environment=kept | planted | own)
        return done.returncode, done.stdout + done.stderr

    return run


def everything_under(folder):
    found = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}
    # What is compressed is looked through in the clear.
    for path in found:
        if path.name == journal.NAME:
            found[path] += json.dumps(journal_records(path.parent), ensure_ascii=False).encode()
        elif path.suffix == ".parquet":
            found[path] += str(pq.read_table(path).to_pylist()).encode()
    return found


def clean(said):
    """No planted value, and no half of one either, nor what is read as one."""
    said += re.sub(r"\\{1,4}u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), said)
    for encoded in re.findall(r"[A-Za-z0-9+/]{12,}", said):
        for start in range(4):
            whole = encoded[start : start + (len(encoded) - start) // 4 * 4]
            said += base64.b64decode(whole).decode("latin-1")
    return not any(secret in said or secret[: len(secret) // 2 + 4] in said for secret in PLANTED)


def test_no_planted_secret_is_said_or_stored(files, say):
    mine = {files / name for name in ("server.py", "ref.yaml", "cand.yaml")}
    for arguments, codes in (
        (("doctor", "ref.yaml"), {0, 3}),
        (("doctor", "ref.yaml", "cand.yaml", "--json"), {0, 3}),
        (("probe", "ref.yaml", "cand.yaml"), {3}),
        (("run", "ref.yaml"), {0, 3}),
        (("run", "ref.yaml", "--json"), {0, 3}),
        (("compare", "--no-doctor", "ref.yaml", "cand.yaml", "--json"), {0, 1, 3, 4}),
        (("compare", "--no-doctor", "ref.yaml", "cand.yaml"), {0, 1, 3, 4}),
        (("report", "runs/ref--cand", "--format", "html", "--out", "report.html"), {0}),
        (("report", "runs/ref--cand", "--format", "json", "--out", "report.json"), {0}),
        (("report", "runs/ref--cand", "--format", "markdown", "--out", "report.md"), {0}),
        (("explain", "runs/ref--cand"), {0}),
        (("flips", "runs/ref--cand"), {0}),
        (
            ("run", "ref.yaml", "--set", "base_url=http://user:sk-planted-4711@127.0.0.1:1/v1"),
            {0},
        ),  # nothing left to ask
        (("run", "ref.yaml", "--set", f"api_key_env={KEY}"), {2}),
        (
            (
                "run",
                "ref.yaml",
                "--set",
                "name=other",
                "--set",
                "launch.argv=[nosuchprogram, --token, option-planted-4711, '{port}']",
            ),
            {3},
        ),
    ):
        code, said = say(*arguments)
        assert code in codes, f"{arguments}: {code}\n{said}"
        assert clean(said), f"{arguments}\n{said}"
    stored = {path: data for path, data in everything_under(files).items() if path not in mine}
    names = {path.name for path in stored}
    assert {"manifest.jsonl", "comparison.json", "report.html", "server.log"} <= names or names == set(), names
    assert b"environment:" in stored[files / "runs" / "ref" / "server.log"], "the server did print what it knows"
    for path, data in stored.items():
        assert clean(data.decode("utf-8", "replace")), path


def test_the_secrets_did_reach_the_server(files, say):
    """Or the test above would pass for want of anything to leak."""
    (files / "server.py").write_text(SERVER.replace('print("headers:"', 'open("seen.txt", "a").write(str(sys.argv) + str(dict(os.environ)) + str(dict(self.headers))); print("headers:"'))  # fmt: skip
    say("run", "ref.yaml")
    seen = (files / "seen.txt").read_text()
    assert [secret for secret in PLANTED if secret not in seen] == [SHELL], "which nobody gave to the server"


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_userinfo_of_an_address_is_refused_and_not_shown(files, say, command):
    endpoint = json.loads((files / "ref.yaml").read_text())
    del endpoint["launch"]
    (files / "ref.yaml").write_text(json.dumps(endpoint | {"base_url": f"http://user:{KEY}@127.0.0.1:9/v1"}))
    code, said = say(command, "ref.yaml")
    assert code == 2
    assert "ref.yaml:1: base_url" in said
    assert clean(said)


def test_a_key_in_the_query_of_an_address_is_said_and_stored_nowhere(files, say, server):
    def answer(path):
        where, _, query = path.partition("?")
        assert f"subscription-key={KEY}" in query, "it did reach the server"
        if where.endswith("/models") and not where.startswith("/broken"):
            return 200, {}, {"object": "list", "data": [{"id": "m"}]}
        if where.startswith("/v1/chat"):
            return 200, {}, CHAT | {"id": path}
        return 500 if where.startswith("/broken") else 404, {}, {"error": {"message": f"nothing under {path}"}}

    url = server(answer).url
    gone = "http://127.0.0.1:9/v1"
    for name, base in (("good", url), ("same", url), ("broken", url.replace("/v1", "/broken/v1")), ("gone", gone)):
        endpoint = json.loads((files / "ref.yaml").read_text()) | {"name": name}
        del endpoint["launch"]
        address = {"base_url": base + "?subscription-key=${PLANTED_KEY}&api-version=7"}
        (files / f"{name}.yaml").write_text(json.dumps(endpoint | address))
    mine = set(everything_under(files))
    for arguments in (
        *(("doctor", f"{name}.yaml") for name in ("good", "broken", "gone")),
        ("doctor", "good.yaml", "--json"),
        *(("run", f"{name}.yaml", "--json") for name in ("good", "broken", "gone")),
        ("probe", "good.yaml", "same.yaml"),
        ("compare", "--no-doctor", "good.yaml", "same.yaml"),
    ):
        code, said = say(*arguments)
        assert code in {0, 3, 4}, said
        assert clean(said), f"{arguments}\n{said}"
    for path, data in everything_under(files).items():
        assert path in mine or clean(data.decode("utf-8", "replace")), path


# ---------------------------------------------------------------- where a key is sent

CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}]}


@pytest.fixture
def server():
    """Starts HTTP servers: `server(answer, tls)` gives one whose `seen` are the headers of its requests."""
    servers = []

    def start(answer, tls=None):
        seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen.append(dict(self.headers))
                status, headers, document = answer(self.path)
                data = json.dumps(document).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

        made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            made.socket = context.wrap_socket(made.socket, server_side=True)
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(made)
        made.url = f"http{'s' * (tls is not None)}://127.0.0.1:{made.server_address[1]}/v1"
        made.seen = seen
        return made

    yield start
    for made in servers:
        made.shutdown()
        made.server_close()


def well(path):
    return 200, {}, {"object": "list", "data": [{"id": "m"}]} if path.endswith("/models") else CHAT


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is needed to make a certificate")
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    asked = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    command = [*asked.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.mark.parametrize("command", ["run", "doctor", "probe"])
def test_certificates_are_verified_and_an_authority_of_ones_own_is_a_setting(
    server, certificate, config, run_evalkit, command
):
    secure = server(well, certificate)
    suites = [{"name": "demo", "limit": 3}]
    once = {"retries": 0}  # a probe finds no log-probabilities here, and asking again is not what is looked at
    files = [config("ref", secure.url, suites, model="m", api_key_env="PLANTED_KEY", limits=once)]
    files += [config("cand", secure.url, suites, model="m", limits=once)] * (command == "probe")
    done = run_evalkit(command, *files, env={"PLANTED_KEY": KEY})
    assert done.returncode == 3
    assert "ca_file" in done.stdout + done.stderr
    assert not secure.seen, "nothing was asked of a server that nobody vouches for"
    own = ("--set", f"tls.ca_file={certificate[0]}")
    trusted = run_evalkit(command, *files, *own, env={"PLANTED_KEY": KEY})
    assert secure.seen, trusted.stdout + trusted.stderr
    assert secure.seen[0]["Authorization"] == f"Bearer {KEY}"
    if command == "run":
        assert trusted.returncode == 0, trusted.stdout + trusted.stderr


@pytest.mark.parametrize("command", ["run", "doctor", "probe"])
@pytest.mark.parametrize("status", [302, 308])
def test_no_command_follows_a_redirect_to_another_host_with_the_key(server, config, run_evalkit, command, status):
    elsewhere = server(well)
    here = server(lambda path: (status, {"Location": elsewhere.url.removesuffix("/v1") + path}, {}))
    files = [config("ref", here.url, ["demo"], model="m", api_key_env="PLANTED_KEY")]
    files += [config("cand", here.url, ["demo"], model="m")] * (command == "probe")
    done = run_evalkit(command, *files, env={"PLANTED_KEY": KEY})
    assert done.returncode == 3, done.stdout + done.stderr
    assert here.seen
    assert not elsewhere.seen
    assert clean(done.stdout + done.stderr)
