"""Makes the dictionary that journals are compressed with: what replies of vLLM, SGLang and llama.cpp have in common.

    python benchmarks/journal_dictionary.py FILE

It is trained on invented replies, whose prose is this project's own pages and the phrases below, and ships with evalkit
as `evalkit/run/journal-ID.zdict`. A journal names the dictionary that it was written with: one that has been released
is never changed, and a new one gets another id.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import zstandard

from evalkit.run.records import DICTIONARY_ID

ROOT = Path(__file__).resolve().parents[1]
SIZE = 32 << 10
SAMPLES = 6000
DRAW = random.Random(1)
Server: TypeAlias = Callable[[dict[str, Any], dict[str, Any], str], dict[str, Any]]

PHRASES = (
    """
Okay, so I need to figure out|Okay, let's see. The problem is asking|Let me think about this step by step.
|First, I need to|Let's break it down.|Wait, let me check that again.|Wait, but|Hmm, that doesn't seem right.
|Hmm, let me think.|Let me double-check the calculation.|So the answer should be|Therefore, the answer is
|Thus, we have|Alternatively, maybe|But wait, the question says|That gives us|Now, let's consider
|Let me verify:|which means that|we can write this as|Since the|Given that|Let's denote|Suppose that
|Substituting into the equation, we get|Simplifying, we find|Let's compute|Let me recall the formula for
|On the other hand,|However,|So, putting it all together,|In conclusion,|The correct answer is option
|The final answer is|Looking at the options:|Option A is|Option B|Option C|Option D|**Final Answer**
|### Step 1:|### Solution|Answer: A|Answer: B|Answer: C|Answer: D|The answer is (A).|The answer is (B).
|The answer is (C).|The answer is (D).|\\boxed{|\\frac{1}{2}|\\sqrt{2}|\\cdot|\\times|\\left(|\\right)|\\text{
|\\begin{align*}|\\end{align*}|$x = $|$$\n|\\(|\\)|\\[|\\]|<think>\n|\n</think>\n\n|```python\ndef |```\n\n
|    return |for i in range(|if n == 0:
|import |print(|class Solution:|self.|else:|首先,|因此,答案是|我们需要|根据题意,|所以|选项
|正确答案是|让我们|设|则|解:|the probability that|the number of|the sum of|the value of|is equal to|such that
|the function|the derivative of|the integral|the area of the triangle|the radius of the circle|per second
|kilometers|energy|velocity|temperature|molecule|reaction|cells|government|economic|according to|in order to
|as well as|it is important to|for example,|the following|because of|between the
""".replace("\n|", "|")
    .strip()
    .split("|")
)


def text(sentences: list[str], count: int) -> str:
    """Invented prose."""
    parts = [DRAW.choice(PHRASES) if DRAW.random() < 0.6 else DRAW.choice(sentences) for _ in range(count)]
    numbers = [str(DRAW.randrange(10 ** DRAW.randrange(1, 4))) for _ in parts]
    return "".join(
        f"{part} {number if DRAW.random() < 0.3 else ''}{DRAW.choice([' ', ' ', '. ', chr(10), chr(10) * 2])}"
        for part, number in zip(parts, numbers, strict=True)
    )


def vllm(message: dict[str, Any], usage: dict[str, Any], stop: str) -> dict[str, Any]:
    """A reply of vLLM's, of a plugin of it, and of what serves it."""
    whole = {"role": "assistant", "content": message["content"], "refusal": None, "annotations": None, "audio": None,
             "function_call": None, "tool_calls": [], "reasoning": message["reasoning"],
             "reasoning_content": message["reasoning"]}  # fmt: skip
    choice = {"index": 0, "message": whole, "logprobs": None, "finish_reason": stop, "stop_reason": None,
              "token_ids": None}  # fmt: skip
    usage = {**usage, "prompt_tokens_details": None}
    return {"id": f"chatcmpl-{DRAW.getrandbits(128):032x}", "object": "chat.completion", **made(), "choices": [choice],
            "service_tier": None, "system_fingerprint": None, "usage": usage, "prompt_logprobs": None,
            "prompt_token_ids": None, "kv_transfer_params": None}  # fmt: skip


def sglang(message: dict[str, Any], usage: dict[str, Any], stop: str) -> dict[str, Any]:
    """A reply of SGLang's."""
    whole = {"role": "assistant", "content": message["content"], "reasoning_content": message["reasoning"],
             "tool_calls": None}  # fmt: skip
    choice = {"index": 0, "message": whole, "logprobs": None, "finish_reason": stop, "matched_stop": 151645}
    usage = {**usage, "prompt_tokens_details": None, "reasoning_tokens": 0}
    return {"id": f"{DRAW.getrandbits(128):032x}", "object": "chat.completion", **made(), "choices": [choice],
            "usage": usage, "metadata": {"weight_version": "default"}}  # fmt: skip


def llama(message: dict[str, Any], usage: dict[str, Any], stop: str) -> dict[str, Any]:
    """A reply of llama.cpp's server."""
    whole = {"role": "assistant", "content": message["content"], "reasoning_content": message["reasoning"] or ""}
    choice = {"finish_reason": stop, "index": 0, "message": whole}
    times = {"cache_n": 0, "prompt_n": 36, "prompt_ms": DRAW.random() * 99, "prompt_per_token_ms": DRAW.random() * 9,
             "prompt_per_second": DRAW.random() * 999, "predicted_n": 9, "predicted_ms": DRAW.random() * 999,
             "predicted_per_token_ms": DRAW.random() * 9, "predicted_per_second": DRAW.random() * 99}  # fmt: skip
    return {"choices": [choice], **made(), "system_fingerprint": "b7000-0123abc", "object": "chat.completion",
            "usage": usage, "id": f"chatcmpl-{DRAW.getrandbits(160):032x}", "timings": times}  # fmt: skip


def streamed(message: dict[str, Any], usage: dict[str, Any], stop: str) -> dict[str, Any]:
    """A reply that came in pieces, with the log-probabilities of its tokens."""
    tokens = [{"token": DRAW.choice(PHRASES)[:4], "logprob": -DRAW.random(), "bytes": [32, 97], "top_logprobs": []}
              for _ in range(4)]  # fmt: skip
    whole = {"role": "assistant", "content": message["content"]}
    choice = {"index": 0, "message": whole, "logprobs": {"content": tokens}, "finish_reason": stop}
    return {"id": f"chatcmpl-{DRAW.getrandbits(128):032x}", "object": "chat.completion", **made(), "choices": [choice],
            "usage": usage}  # fmt: skip


def echoed(message: dict[str, Any], usage: dict[str, Any], stop: str) -> dict[str, Any]:
    """A reply to a request by log-likelihood, as it is stored."""
    letter = DRAW.choice([" A", " B", " C", " D"])
    told = {"text_offset": [3012, 3014], "token_logprobs": [-DRAW.random() * 9, -DRAW.random()],
            "tokens": [letter, "\n"], "top_logprobs": [{letter: -DRAW.random(), " C": -0.5}, {"\n": -0.1}]}  # fmt: skip
    choice = {"index": 0, "text": f"{letter}\n", "logprobs": told, "finish_reason": "length", "stop_reason": None,
              "token_ids": None, "prompt_logprobs": None, "prompt_token_ids": None}  # fmt: skip
    del message, stop
    return {"id": f"cmpl-{DRAW.getrandbits(128):032x}", "object": "text_completion", **made(), "choices": [choice],
            "service_tier": None, "system_fingerprint": None, "usage": {**usage, "prompt_tokens_details": None},
            "kv_transfer_params": None,
            "echo_dropped": {"tokens": 800, "sha256": f"{DRAW.getrandbits(256):064x}"}}  # fmt: skip


def made() -> dict[str, Any]:
    """When, and by which model."""
    return {"created": DRAW.randrange(1_780_000_000, 1_900_000_000), "model": DRAW.choice(["Qwen/Qwen3-8B", "model"])}


def record(number: int, sentences: list[str], server: Server | None = None) -> bytes:
    """A journal's record of an invented outcome."""
    said = {"record": "reply", "suite": DRAW.choice(["mmlu", "gpqa_diamond", "math_500", "livebench"]),
            "item": f"{number}", "repeat": number % 4, "seed": DRAW.getrandbits(31),
            "at": DRAW.randrange(1_780_000_000, 1_900_000_000) + 0.125, "seconds": round(DRAW.random() * 90, 4),
            "attempts": 1, "address": "http://127.0.0.1:8000/v1"}  # fmt: skip
    if number % 50 == 0:
        failed = {"kind": "timeout", "status": None, "detail": "no answer within 600 s"}
        return orjson.dumps({**said, "record": "failure", **failed})
    prompt, completion = DRAW.randrange(3000), DRAW.randrange(9000)
    usage = {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}
    thought = text(sentences, DRAW.randrange(1, 30)) if DRAW.random() < 0.4 else None
    message = {"content": text(sentences, DRAW.randrange(1, 12)), "reasoning": thought}
    server = server or DRAW.choices([vllm, sglang, llama, streamed, echoed], [6, 2, 2, 1, 1])[0]
    return orjson.dumps({**said, "body": server(message, usage, DRAW.choice(["stop", "stop", "length"]))})


def content(sentences: list[str]) -> bytes:
    """What is matched against: prose and phrases, then every server's record whole, the most usual last."""
    ends = [record(1, sentences, server) for server in (echoed, streamed, llama, sglang, vllm)]
    ends = [record(0, sentences), *ends]
    prose = " ".join([*sentences, *PHRASES]).encode()[-(SIZE - sum(map(len, ends))) :]
    return prose + b"".join(ends)


def main() -> int:
    """Writes the dictionary: the statistics that zstd finds in the samples, before content of our own choice."""
    pages = " ".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    sentences = [part.strip() for part in pages.replace("\n", " ").split(". ") if 20 < len(part) < 200]
    samples = [record(number, sentences) for number in range(SAMPLES)]
    trained = zstandard.train_dictionary(SIZE, samples, dict_id=DICTIONARY_ID, level=9).as_bytes()
    # Its head ends with the three offsets that zstd begins with; what it chose as content is worse than whole records.
    offsets = struct.pack("<3I", 1, 4, 8)
    Path(sys.argv[1]).write_bytes(trained[: trained.index(offsets) + len(offsets)] + content(sentences))
    return 0


if __name__ == "__main__":
    sys.exit(main())
