"""A toy language model behind a loopback server that speaks as vLLM, SGLang, llama.cpp or `transformers serve` do.

The model is a fixed random function of the last two tokens and of the beginning of the prompt, so that any text has exact
log-probabilities; `noise` moves its logits as other kernels would. `faults` are the ways in which servers misbehave.
"""

import base64
import itertools
import json
import random
import threading
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

END, USER, ASSISTANT, SYSTEM = 0, 1, 2, 3
HALF = 9
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
WORDS = (
    *SPECIAL,
    *"amber basin cedar delta ember flint grove heron iris jade kelp lark maple nectar olive".split(),  # noqa: SIM905
    *"pearl quartz reed slate tulip umber vale willow yarrow zinc acorn birch clover dune elm".split(),  # noqa: SIM905
    *"fern gale harbor inlet juniper kite lagoon meadow nimbus orchid pebble quill ridge sable".split(),  # noqa: SIM905
    *"thistle union violet wren yonder zephyr arch brook cliff dawn echo frost glade".split(),  # noqa: SIM905
    *"hill isle jetty".split(),  # noqa: SIM905
)
V = len(WORDS)


class Model:
    """Logits of the next token; `template` is "chat", "plain" or "greeting" (which adds a system message)."""

    def __init__(self, noise=0.0, noise_seed=1, template="chat", broken=None):
        self.noise, self.noise_seed, self.template, self.broken = noise, noise_seed, template, broken
        self._known = {}

    def prompt(self, messages):
        ids = []
        if self.template == "greeting" and messages[0]["role"] != "system":
            ids += [SYSTEM, 4, *self.tokens("be kind and brief"), 5]
        for message in messages:
            content = message["content"]
            if not isinstance(content, str):
                content = " ".join(part.get("text", "") for part in content)
            role = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM}[message["role"]]
            ids += self.tokens(content) if self.template == "plain" else [role, 4, *self.tokens(content), 5]
        return [*ids, ASSISTANT, 4]

    @staticmethod
    def tokens(text):
        return [WORDS.index(w) if w in WORDS else 4 + zlib.crc32(w.encode()) % (V - 4) for w in text.split()]

    def logprobs(self, ids):
        """The log-probabilities of all tokens after `ids`."""
        key = tuple(ids)
        if key not in self._known:
            near = zlib.crc32(bytes(key[-2:]))
            far = zlib.crc32(bytes(key[:12]))
            logits = np.random.default_rng([near, 1]).normal(0, 1.6, V)
            logits += np.random.default_rng([near, far]).normal(0, 0.6, V)
            logits[END], logits[1:4] = 0.5, -12.0
            if self.noise:
                whole = zlib.crc32(bytes(key))
                logits += np.random.default_rng([whole, self.noise_seed]).normal(0, self.noise, V)
            values = logits - np.log(np.exp(logits).sum())
            if self.broken is not None and len(key) > 20:
                values[::7] = self.broken
            self._known[key] = values
        return self._known[key]


def top(values, k=2):
    order = np.argsort(-np.nan_to_num(values, nan=-1e9))[:k]
    return [(int(i), float(values[i])) for i in order]


class Toy:
    """The server; `requests` are the bodies by path, `defaults` what it fills into unset sampling parameters.

    What it does at random follows from `luck` and the number of the draw: as good as random to who asks, and no test
    fails once in sixty times.
    """

    def __init__(
        self, kind="vllm", model=None, faults=(), defaults=None, context=4096, sees="", name="toy", port=0, luck=0
    ):
        self.kind, self.model, self.faults = kind, model or Model(), set(faults)
        self.defaults = {"temperature": 1.0, "top_k": -1, "repetition_penalty": 1.0} | (defaults or {})
        self.context, self.sees, self.name = context, sees, name
        self.requests, self.sticky, self.in_flight, self.changed = [], None, 0, threading.Condition()
        self.pages, self.luck = {}, itertools.count(luck << 32)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

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
                self.send(*outer.get(self.path))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.among_others(self.path, body) as crowded:
                    answer = outer.post(self.path, body, crowded)
                self.send(*answer)  # no longer in flight: whoever has it may ask the next, and that one is alone

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

            def handle_error(self, *args):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.origin}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def among_others(self, path, body):
        """Holds a request in flight; True where another one is in flight with it.

        A noisy server gives the other one a moment to arrive, as a batch does: on a busy machine, requests that were
        sent at once come one by one.
        """
        with self.changed:
            self.requests.append((path, body))
            self.in_flight += 1
            self.changed.notify_all()
            crowded = self.in_flight > 1
            if "noisy" in self.faults and not crowded:
                crowded = self.changed.wait_for(lambda: self.in_flight > 1, timeout=0.05)
        try:
            yield crowded
        finally:
            with self.changed:
                self.in_flight -= 1

    def asked(self, path):
        return [body for asked, body in self.requests if asked == path]

    # ------------------------------------------------------------ pages

    def get(self, path):
        if path in self.pages:
            return 200, self.pages[path]
        owner = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llamacpp"}.get(self.kind, "someone")
        card = {"id": self.name, "object": "model", "owned_by": owner}
        if self.kind in {"vllm", "sglang"}:
            card["max_model_len"] = self.context
        if path == "/v1/models" and "no_list" in self.faults:
            return 500, b"Internal Server Error"
        pages = {"/v1/models": {"object": "list", "data": [card]}}
        if self.kind == "vllm":
            pages["/version"] = {"version": "0.24.0"}
        if self.kind == "sglang":
            pages["/get_model_info"] = {"model_path": "org/toy"}
            pages["/get_server_info"] = {"version": "0.5.9"}
        if self.kind == "llama.cpp":
            pages["/props"] = {
                "build_info": "b6000-toy",
                "total_slots": 2,
                "default_generation_settings": {"n_ctx": self.context, "params": {"temperature": 0.8, "top_k": 40}},
            }
        return (200, pages[path]) if path in pages else (404, {"detail": "Not Found"})

    def post(self, path, body, crowded):
        if path == "/v1/chat/completions":
            return self.chat(body, crowded)
        if self.kind == "transformers" and not isinstance(body.get("prompt", ""), str):
            return 400, {"detail": "prompt must be a string."}
        if path == "/v1/completions":
            return self.completions(body)
        if path == "/tokenize" and self.kind == "llama.cpp":
            return 200, {"tokens": [int(t) for t in body["content"].split(",")]}
        if path == "/tokenize" and self.kind in {"vllm", "sglang"} and "no_tokenize" not in self.faults:
            return 200, {"tokens": self.model.prompt(body["messages"]), "count": 1, "max_model_len": self.context}
        if path == "/apply-template" and self.kind == "llama.cpp":
            return 200, {"prompt": ",".join(map(str, self.model.prompt(body["messages"])))}
        if path == "/completion" and self.kind == "llama.cpp":
            return self.native_completion(body)
        if path == "/generate" and self.kind == "sglang":
            return self.generate(body)
        return 404, {"detail": "Not Found"}

    # ------------------------------------------------------------ generation

    def sampling(self, body):
        wanted = self.defaults | {k: v for k, v in body.items() if k in self.defaults and v is not None}
        if "sticky" in self.faults:
            self.sticky = self.sticky or wanted
            return self.sticky
        return wanted

    def draw(self, prompt, body, tokens, seed):
        """Token numbers and log-probabilities; the end token is the last where the text ended."""
        sampling = self.sampling(body)
        rng = (
            random.Random(seed)
            if seed is not None and "ignores_seed" not in self.faults
            else random.Random(next(self.luck))
        )
        ids, values = [], []
        for _ in range(tokens):
            scores = self.model.logprobs([*prompt, *ids])
            shown = np.nan_to_num(scores, nan=-50.0, neginf=-50.0)
            if sampling["repetition_penalty"] != 1.0:
                shown = shown.copy()
                shown[list(set(ids))] -= 4 * (sampling["repetition_penalty"] - 1.0)
            if sampling["temperature"] <= 0 or "always_greedy" in self.faults:
                token = int(np.argmax(shown))
            else:
                weights = np.exp(shown / sampling["temperature"])
                if sampling["top_k"] > 0:
                    weights[np.argsort(-weights)[sampling["top_k"] :]] = 0
                token = rng.choices(range(V), weights / weights.sum())[0]
            ids.append(token)
            values.append(float(scores[token]))
            if token == END and not body.get("ignore_eos"):
                break
        return ids, values

    def chat(self, body, crowded):
        unknown = set(body) & {"return_token_ids", "top_k", "min_p", "repetition_penalty"}
        if "reject_unknown" in self.faults and unknown:
            return 422, {"detail": f"Unexpected fields in the request: {unknown}"}
        if self.kind == "transformers" and body["model"] != self.name:
            return 400, {"detail": f"Server is pinned to '{self.name}'; requested '{body['model']}'."}
        seen = self.pictures(body["messages"])
        if seen is not None:
            return seen
        prompt = self.model.prompt(body["messages"])
        limit = body.get("max_tokens") or 16
        if len(prompt) + limit > self.context:
            return 400, {"error": {"message": f"maximum context length is {self.context} tokens"}}
        count = 1 if "no_n" in self.faults else body.get("n") or 1
        choices = []
        for index in range(count):
            seed = body.get("seed")
            work = list(prompt)
            if ("noisy" in self.faults and crowded) or "random" in self.faults:
                work[0] = (work[0] + 1 + next(self.luck) % (V - 1)) % V
            drawn = self.draw(work, body, limit, None if seed is None else seed + index)
            choices.append(self.choice(index, *drawn, body, limit))
            if body.get("return_token_ids") and "no_token_ids" not in self.faults and self.kind == "sglang":
                choices[-1]["prompt_token_ids"] = prompt
        made = sum(choice.pop("made") for choice in choices)
        revision = "@main" if self.kind == "transformers" else ""
        reply = {"id": "x", "object": "chat.completion", "model": self.name + revision, "choices": choices}
        if "no_usage" not in self.faults:
            reply["usage"] = {"prompt_tokens": len(prompt), "completion_tokens": made}
        if body.get("return_token_ids") and "no_token_ids" not in self.faults and self.kind == "vllm":
            reply["prompt_token_ids"] = prompt
        return 200, reply

    def choice(self, index, ids, values, body, limit):
        ended = ids[-1] == END
        kept = ids[:-1] if ended else ids
        text = " ".join(WORDS[i] for i in kept)
        reason = "stop" if ended else "length"
        for stop in body.get("stop") or []:
            if stop in text and "ignores_stop" not in self.faults:
                cut = text.index(stop) + (len(stop) if "keeps_stop" in self.faults else 0)
                text, reason = text[:cut], "stop"
        text += "<|im_end|>" if "leaks_template" in self.faults else ""
        text = f"<think>hmm</think>{text}" if "thinks_aloud" in self.faults else text
        message = {"role": "assistant", "content": text}
        if "swallows" in self.faults:
            message = {"role": "assistant", "content": None, "reasoning_content": text}
            reason = "stop"
        choice = {"index": index, "message": message, "finish_reason": reason, "made": len(ids)}
        if body.get("logprobs") and "no_logprobs" not in self.faults:
            entries = [{"token": WORDS[i], "logprob": v, "top_logprobs": []} for i, v in zip(ids, values, strict=True)]
            choice["logprobs"] = {"content": entries}
        return choice

    def pictures(self, messages):
        content = messages[-1]["content"]
        urls = (
            [p["image_url"]["url"] for p in content if p.get("type") == "image_url"]
            if isinstance(content, list)
            else []
        )
        if not urls or "drops_images" in self.faults:
            return None
        if not self.sees:
            return 500, {"error": {"message": "image input is not supported by this model"}}
        assert base64.b64decode(urls[0].partition(",")[2]).startswith(b"\x89PNG")
        message = {"role": "assistant", "content": f"The picture says {self.sees}."}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return 200, {"model": self.name, "choices": choices, "usage": {"prompt_tokens": 300, "completion_tokens": 5}}

    # ------------------------------------------------------------ log-probabilities of given tokens

    def scored(self, ids):
        """For every position but the first: the value of the token, and the two likeliest."""
        rows = []
        for position in range(1, len(ids)):
            values = self.model.logprobs(ids[:position])
            rows.append((ids[position], self.value(float(values[ids[position]])), top(values)))
        if "shifted" in self.faults:
            rows = [(token, rows[i - 1][1], tops) for i, (token, _, tops) in enumerate(rows)]
        return rows

    def value(self, value):
        if "zeros" in self.faults:
            return 0.0
        if "constant" in self.faults:
            return -1.25
        if "positive" in self.faults:
            return -value
        return -9999.0 if value == -np.inf and self.kind == "vllm" else value

    def completions(self, body):
        if "short_only" in self.faults and body.get("max_tokens", 16) > 16:
            return 500, {"error": {"message": "out of memory"}}
        given = body["prompt"] if isinstance(body["prompt"], list) else self.model.tokens(body["prompt"])
        ids, values = self.draw(given, body, max(1, body.get("max_tokens", 16)), body.get("seed"))
        choice = {
            "index": 0,
            "text": " ".join(WORDS[i] for i in ids),
            "finish_reason": "stop" if ids[-1] == END else "length",
        }
        usage = {"prompt_tokens": len(given), "completion_tokens": len(ids)}
        reply = {"id": "x", "model": self.name, "choices": [choice], "usage": usage}
        if self.kind != "vllm":
            return 200, reply
        if body.get("prompt_logprobs") is not None:
            if "echo_only" in self.faults:
                return 400, {"error": {"message": "prompt_logprobs is not available"}}
            if "ignores_prompt_logprobs" not in self.faults:
                choice["prompt_logprobs"] = [None, *(self.entry(row) for row in self.scored(given))]
        if body.get("logprobs") is not None:
            named = [
                (f"token_id:{i}", v, {f"token_id:{t}": x for t, x in top(self.model.logprobs([*given, *ids[:n]]))})
                for n, (i, v) in enumerate(zip(ids, values, strict=True))
            ]
            if ids[-1] == END and "no_end" in self.faults:
                named.pop()
            if body.get("echo") and "no_echo" not in self.faults:
                before = [
                    (f"token_id:{t}", v, {f"token_id:{i}": x for i, x in tops}) for t, v, tops in self.scored(given)
                ]
                named = [(f"token_id:{given[0]}", None, None), *before, *named]
            tokens, lps, tops = map(list, zip(*named, strict=True)) if named else ([], [], [])
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": lps, "top_logprobs": tops}
        return 200, reply

    @staticmethod
    def entry(row):
        token, value, tops = row
        said = {str(i): {"logprob": v, "rank": rank + 1} for rank, (i, v) in enumerate(tops)}
        said[str(token)] = {"logprob": value, "rank": said.get(str(token), {}).get("rank", 9)}
        return said

    def native_completion(self, body):
        forced = [int(token) for token, bias in body.get("logit_bias", []) if bias > 100]
        prompt = body["prompt"]
        if forced and "ignores_bias" not in self.faults:
            values = self.model.logprobs(prompt)
            ids, scores = forced[:1], [self.value(float(values[forced[0]]))]
        else:
            ids, scores = self.draw(prompt, body, body["n_predict"], body.get("seed"))
        ended = ids[-1] == END and not forced
        if ended and "no_end" in self.faults:
            ids, scores = ids[:-1], scores[:-1]
        entries = []
        for n, (token, value) in enumerate(zip(ids, scores, strict=True)):
            known = top(self.model.logprobs([*prompt, *ids[:n]]), body["n_probs"])
            likeliest = [{"id": i, "logprob": None if np.isnan(v) else self.value(v)} for i, v in known]
            shown = None if np.isnan(value) else value
            if token % 16 != HALF:  # the server is silent on what ends within a character
                entries.append({"id": token, "token": WORDS[token], "logprob": shown, "top_logprobs": likeliest})
        return 200, {
            "content": "",
            "tokens": ids,
            "completion_probabilities": entries,
            "tokens_predicted": len(ids),
            "stop_type": "eos" if ended else "limit",
            "timings": {"prompt_n": 1},
        }

    def generate(self, body):
        given, sampling = body["input_ids"], body["sampling_params"]
        ids, values = self.draw(given, sampling, sampling["max_new_tokens"], sampling.get("sampling_seed"))
        tops = [[[v, i, None] for i, v in top(self.model.logprobs([*given, *ids[:n]]))] for n in range(len(ids))]
        meta = {
            "prompt_tokens": len(given),
            "completion_tokens": len(ids),
            "finish_reason": {"type": "stop" if ids[-1] == END else "length"},
            "output_token_logprobs": [[v, i, None] for i, v in zip(ids, values, strict=True)],
            "output_top_logprobs": tops,
        }
        if ids[-1] == END and "no_end" in self.faults:
            meta["output_token_logprobs"].pop()
            meta["output_top_logprobs"].pop()
        start = body["logprob_start_len"]
        if start >= 0:
            rows = self.scored(given)[start:]
            meta["input_token_logprobs"] = [[None, given[start], None], *([v, t, None] for t, v, _ in rows)]
            meta["input_top_logprobs"] = [None, *([[x, i, None] for i, x in tops] for _, _, tops in rows)]
        return 200, {"text": "", "meta_info": meta}
