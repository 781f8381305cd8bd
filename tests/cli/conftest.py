"""A deterministic OpenAI-compatible endpoint on loopback, invented rows for every suite."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

LETTERS = "ABCD"


def answer(messages):
    """Right for about two thirds of the prompts that hold a hint; the wording varies with the prompt."""
    text = messages[-1]["content"]
    fingerprint = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    hint = re.search(r"\(hint (\w+)\)", text)
    given = hint.group(1) if hint and fingerprint % 3 else LETTERS[fingerprint % 4]
    boxed = given if given.isdigit() else "12"
    if "boxed" in text:
        return f"Adding up, we get \\boxed{{{boxed}}}."
    forms = ("Answer: {}", "Let me see.\n\n**Answer: ({})**", "The answer is {}.", "Reasons.\nANSWER: {}", "{}")
    return forms[fingerprint % 5].format(given)


class Endpoint:
    """The server, its address, and what it was asked. `spoil` may turn a request into (status, body) of its own."""

    def __init__(self, model="loopback"):
        self.requests = []
        self.model = model
        self.answer = answer
        self.complete = None
        self.spoil = lambda body, number: None
        self.max_model_len = None
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def send(self, status, document):
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                if self.path != "/v1/models":
                    return self.send(404, {"error": {"message": "no such path"}})
                card = {"id": outer.model, "object": "model", "owned_by": "loopback"}
                if outer.max_model_len:
                    card["max_model_len"] = outer.max_model_len
                return self.send(200, {"object": "list", "data": [card]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/v1/completions" and outer.complete is not None:
                    outer.requests.append(body)
                    return self.send(200, outer.complete(body))
                if self.path != "/v1/chat/completions":
                    return self.send(404, {"error": {"message": "no such path"}})
                with outer._lock:
                    outer.requests.append(body)
                    number = len(outer.requests)
                spoiled = outer.spoil(body, number)
                if spoiled == "drop":
                    self.close_connection = True
                    return self.connection.close()
                if spoiled is not None:
                    return self.send(*spoiled)
                text = outer.answer(body["messages"])
                usage = {
                    "prompt_tokens": len(json.dumps(body["messages"])) // 4,
                    "completion_tokens": len(text) // 4 + 1,
                }
                choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                return self.send(200, {"id": "x", "model": outer.model, "choices": [choice], "usage": usage})

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *args):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def files(tmp_path):
    """Writes an endpoint's YAML for a toy server."""

    def write(name, server, **more):
        path = tmp_path / f"{name}.yaml"
        document = {"name": name, "base_url": server.url, "model": "toy", "runs": str(tmp_path / "runs")} | more
        path.write_text(json.dumps(document))
        return path

    return write


@pytest.fixture
def endpoint():
    server = Endpoint()
    yield server
    server.close()


@pytest.fixture
def other_endpoint():
    server = Endpoint()
    yield server
    server.close()


@pytest.fixture
def make_endpoint():
    """Further endpoints, closed at the end."""
    made = []

    def make():
        made.append(Endpoint())
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def answering():
    """Makes answers to the invented GPQA, whose right choices begin with "yes".

    `wrong` says for which fingerprints (0 to 5) of a question another letter is given.
    """

    def make(wrong):
        def answer(messages):
            text = messages[-1]["content"]
            right = re.search(r"([A-D])[).:]+ *yes", text) if isinstance(text, str) else None
            if right is None:
                return "OK."
            letter = right[1]
            return f"Answer: {'BCDA'['ABCD'.index(letter)] if wrong(sum(text.encode()) % 6) else letter}"

        return answer

    return make


def _jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def invented(tmp_path_factory):
    """A data folder with invented rows for every text suite of part one."""
    root = tmp_path_factory.mktemp("data")
    aime = [
        {"id": f"2099-I-{n}", "problem": f"What is {n}+{n}? (hint {2 * n})", "answer": f"{2 * n:03d}"}
        for n in range(30)
    ]
    _jsonl(root / "aime2024" / "aime2024.jsonl", aime)
    _jsonl(root / "aime2025" / "aime2025.jsonl", [{**row, "id": str(n)} for n, row in enumerate(aime)])
    for name, count in (("gpqa_diamond", 24), ("gpqa_main", 36), ("gpqa_extended", 48)):
        rows = []
        for n in range(count):
            row = {
                "Record ID": f"rec{n}",
                "Question": f"Question {n}? (hint {LETTERS[n % 4]})",
                "Correct Answer": f"yes {n}",
            }
            row |= {f"Incorrect Answer {i}": f"no {i} {n}" for i in (1, 2, 3)}
            rows.append({**row, "High-level domain": ("Physics", "Biology")[n % 2], "Subdomain": "x"})
        _jsonl(root / "gpqa" / f"{name}.jsonl", rows)
    for split, count in (("test", 20), ("dev", 5)):
        rows = [
            {
                "question": f"{s} {split} {n}? (hint {LETTERS[n % 4]})",
                "subject": s,
                "choices": [f"{s}{i}{n}" for i in LETTERS],
                "answer": n % 4,
            }
            for s in ("anatomy", "astronomy", "virology")
            for n in range(count)
        ]
        _jsonl(root / "mmlu" / f"{split}.jsonl", rows)
    for domain, count in (("murder_mysteries", 2), ("object_placements", 4), ("team_allocation", 3)):
        rows = [
            {
                "narrative": f"Story {n // 2} of {domain}.",
                "question": f"Who {n}? (hint {LETTERS[n % count]})",
                "choices": str([f"{domain} {i}" for i in range(count)]),
                "answer_index": n % count,
                "answer_choice": f"{domain} {n % count}",
            }
            for n in range(16)
        ]
        _jsonl(root / "musr" / f"{domain}.jsonl", rows)
    return root


@pytest.fixture
def config(tmp_path, invented):
    """Writes an endpoint's YAML and gives its path."""

    def write(name, url, suites=("aime24",), **more):
        lines = {
            "name": name,
            **({"base_url": url} if url else {}),
            "model": "loopback",
            "data": str(invented),
            "runs": str(tmp_path / "runs"),
        }
        lines["suites"] = [
            suite if isinstance(suite, dict) else {"name": suite, "partial_data": True} for suite in suites
        ]
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps({**lines, **more}))
        return path

    return write


@pytest.fixture
def store(tmp_path):
    """Stores a comparison as `evalkit compare` does and gives its folder."""
    from evalkit.render.document import to_json

    def write(comparison, name="reference--candidate"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "comparison.json").write_bytes(to_json(comparison))
        return folder

    return write


@pytest.fixture
def table(tmp_path):
    """Writes a score table of one or more suites: {name: scores by item and repeat}."""

    def write(name, suites, folder=tmp_path):
        lines = ["suite,item,repeat,score"]
        for suite, items in suites.items():
            for number, scores in enumerate(items):
                lines += [f"{suite},q{number},{k},{'' if s is None else s}" for k, s in enumerate(scores)]
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
