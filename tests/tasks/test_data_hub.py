"""A mirror of the Hub on loopback: fetched once at the pinned revision, then used without any call."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

REVISION = "a" * 40
ROWS = "".join(json.dumps({"id": f"2099-I-{n}", "problem": f"{n}+{n}?", "answer": 2 * n}) + "\n" for n in range(3))
FIELDS = {
    "rows": 3,
    "prepare": "evalkit.scoring.aime:aime",
    "options": {"year": 2099},
    "source": {"hub": "some/aime", "revision": REVISION, "splits": {"test": "train"}},
}
SCRIPT = """
import json, sys
from evalkit.errors import DataError
from evalkit.config.suite import check_fields
from evalkit.tasks import data
try:
    print(json.dumps(data.load_documents(check_fields(json.loads(sys.argv[1])), {})))
except DataError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(2)
"""


class Mirror:
    """Answers what `snapshot_download` asks of a hub; `gated` refuses as the Hub does."""

    def __init__(self):
        self.requests = []
        self.gated = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def reply(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if "Content_Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_GET(self):
                outer.requests.append(f"{self.command} {self.path}")
                if outer.gated:
                    return self.reply(403, b"{}", X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
                if self.path.startswith("/api/datasets/some/aime/revision/"):
                    about = {
                        "id": "some/aime",
                        "sha": REVISION,
                        "siblings": [{"rfilename": "data/train.jsonl"}, {"rfilename": "README.md"}],
                    }
                    return self.reply(200, json.dumps(about).encode(), Content_Type="application/json")
                if self.path.startswith("/api/datasets/some/aime/tree/"):
                    entry = {"type": "file", "path": "data/train.jsonl", "size": len(ROWS), "oid": "b" * 40}
                    return self.reply(200, json.dumps([entry]).encode(), Content_Type="application/json")
                if self.path == f"/datasets/some/aime/resolve/{REVISION}/data/train.jsonl":
                    etag = f'"{hashlib.sha1(ROWS.encode()).hexdigest()}"'
                    return self.reply(
                        200, ROWS.encode(), ETag=etag, X_Repo_Commit=REVISION, Content_Length=str(len(ROWS))
                    )
                return self.reply(404, b"{}", X_Error_Code="EntryNotFound")

            do_HEAD = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def mirror():
    server = Mirror()
    yield server
    server.close()


def load(home, endpoint, script=SCRIPT, fields=FIELDS, **more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "EVALKIT_"))}
    environment |= {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **more,
    }
    command = [sys.executable, "-c", script, json.dumps(fields)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_a_mirror_is_asked_once_and_then_never_again(mirror, tmp_path):
    first = load(tmp_path, mirror.url)
    assert first.returncode == 0, first.stderr
    assert [row["answer"] for row in json.loads(first.stdout)["test"]] == [0, 2, 4]
    asked = len(mirror.requests)
    assert asked
    assert not any("README" in path for path in mirror.requests), "only data files are fetched"
    second = load(tmp_path, mirror.url)
    assert second.stdout == first.stdout
    assert len(mirror.requests) == asked, mirror.requests[asked:]


def test_a_branch_s_commit_is_recorded_and_a_pinned_one_says_nothing(mirror, tmp_path):
    asked = """
import json, sys
from evalkit.config.suite import check_fields
from evalkit.render.words import say
from evalkit.tasks import data
data.load_documents(check_fields(json.loads(sys.argv[1])), {})
note = data.commit_note(check_fields(json.loads(sys.argv[1])).source, {})
print(note and say(note))
"""
    found = []
    for revision in ("main", REVISION):
        fields = {**FIELDS, "source": {**FIELDS["source"], "revision": revision}}
        done = load(tmp_path, mirror.url, script=asked, fields=fields)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.strip())
    assert found == [f"data of some/aime at commit {REVISION}; the suite's revision 'main' may move", "None"]


def test_a_gated_set_says_how_to_get_access(mirror, tmp_path):
    mirror.gated = True
    done = load(tmp_path, mirror.url)
    assert done.returncode == 2
    assert "some/aime is gated" in done.stderr
    assert "HF_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("offline", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_without_a_network_the_sentence_says_what_to_fetch(tmp_path, offline):
    done = load(tmp_path, "http://127.0.0.1:1", **offline)
    assert done.returncode == 2
    assert "is not on this machine" in done.stderr
    assert f"hf download --repo-type dataset some/aime --revision {REVISION}`" in done.stderr, "no short hash"
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
