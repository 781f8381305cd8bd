"""How many bytes a run takes on disk, by kind of reply, beside the same replies as plain lines of JSON.

    python benchmarks/storage.py [FOLDER]

Two sides answer the same items with bodies of vLLM's. Texts are stored outputs of models where FOLDER (default:
`shared/data` beside the checkout) has LiveBench's judged answers, else prose of Python's own documentation, which
repeats itself less: a quarter of the JSON is no bar then. Journals, scores and items count. The last column is what the
doctor and `evalkit plan` say beforehand where they know how long the answers are. The exit code is 1 where a bar is
missed (a quarter of the JSON; 680 bytes for a short answer, 5,000 for a request by log-likelihood), or a forecast is
more than 30 % off.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evalkit.endpoint.body import parse_reply
from evalkit.examine.stored import ITEM_BYTES, SCORED_REQUEST_BYTES, answer_bytes, size_of
from evalkit.files import digest64
from evalkit.model import Prompt, Reply, Request
from evalkit.run import journal, tables
from evalkit.run.items import ItemRow, write_items
from evalkit.run.records import packed
from evalkit.run.tables import Graded

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
CHARACTERS_A_TOKEN = 4
PROMPT_CHARACTERS = 3_500  # five examples and the question
OFF = 0.3


@dataclass(frozen=True)
class Asked:
    """One request with its reply, and the row of its score."""

    request: Request
    reply: Reply
    row: Graded


@dataclass(frozen=True)
class Case:
    """A kind of replies: how many, how one is made, the bar (bytes an answer, or a share of JSON), and the forecast."""

    name: str
    count: int
    make: Callable[[Texts, int], Asked]
    most_bytes: float | None
    most_share: float | None
    forecast: Callable[[Asked], float]
    requests: int = 1  # of an item


class Texts:
    """Prose of models, and a random choice of it."""

    def __init__(self, folder: Path) -> None:
        self.draw = random.Random(1)
        files = sorted((folder / "livebench" / "judged_answers").glob("*.jsonl"))
        rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        self.real = bool(rows)
        self.answers = [str(row["answer"]) for row in rows]
        self.questions: dict[str, list[str]] = {}
        for row in rows:
            self.questions.setdefault(row["question_id"], []).append(str(row["answer"]))
        if not rows:
            from pydoc_data.topics import topics

            self.answers = [part for text in topics.values() for part in text.split("\n\n\n") if len(part) > 300]
            self.questions = {name: text.split("\n\n") for name, text in topics.items() if len(text) > 9000}

    def answer(self) -> str:
        """An answer of some hundred tokens."""
        return self.draw.choice(self.answers)

    def thinking(self) -> str:
        """Long thought: what several models wrote on a question, and on others like it, one after another."""
        parts: list[str] = []
        while sum(map(len, parts)) < 20_000:
            parts += self.draw.choice(list(self.questions.values()))
        return "\n\n".join(parts)


NOT_SAID = {"prompt_logprobs": None, "prompt_token_ids": None}


def body(texts: Texts, choice: dict[str, Any], prompt: int, tokens: int) -> bytes:
    """A reply of vLLM's around a choice, which is a text where it is no chat."""
    is_chat = "message" in choice
    usage = {"prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens}
    said = {"index": 0, **choice, "stop_reason": None, "token_ids": None, **({} if is_chat else NOT_SAID)}
    return orjson.dumps(
        {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{texts.draw.getrandbits(128):032x}",
            "object": "chat.completion" if is_chat else "text_completion",
            "created": 1_795_000_000 + texts.draw.randrange(10**6),
            "model": "Qwen/Qwen3-30B-A3B",
            "choices": [said],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": {**usage, "prompt_tokens_details": None},
            **(NOT_SAID if is_chat else {}),
            "kv_transfer_params": None,
        }
    )


def chat(texts: Texts, number: int, message: dict[str, Any], tokens: int, logprobs: Any = None) -> Asked:
    """A chat request with its reply."""
    whole = {"role": "assistant", "refusal": None, "annotations": None, "audio": None, "function_call": None,
             "tool_calls": [], "reasoning": None, "reasoning_content": None, **message}  # fmt: skip
    choice = {"message": whole, "logprobs": logprobs, "finish_reason": "stop"}
    return asked(texts, number, body(texts, choice, texts.draw.randrange(80, 900), tokens))


def asked(texts: Texts, number: int, raw: bytes, continuation: str = "") -> Asked:
    """A request with its reply."""
    request = Request(
        key=f"{texts.draw.getrandbits(128):032x}",
        suite="mmlu_pro",
        item=f"{number:05d}",
        repeat=0,
        prompt=Prompt(""),
        parameters={},
        seed=texts.draw.getrandbits(31),
        continuation=continuation,
    )
    reply = parse_reply(raw, chat=not continuation, seconds=texts.draw.uniform(1, 90))
    assert isinstance(reply, Reply)
    row = Graded(
        item=request.item,
        repeat=0,
        value=float(texts.draw.random() < 0.7),
        status="scored",
        reason="right",
        answer=texts.draw.choice("ABCDEFGHIJ"),
        text=digest64(reply.content),
        characters=len(reply.content) + len(reply.reasoning),
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        seconds=round(reply.seconds, 4),
        lenient=1.0,
        suite=request.suite,
        key=request.key,
    )
    return Asked(request, reply, row)


def short(texts: Texts, number: int) -> Asked:
    """A letter with a word."""
    text = f"{texts.draw.choice(['Answer: ', 'The answer is ', '**Answer**: ', ''])}{texts.draw.choice('ABCDEFGHIJ')}"
    return chat(texts, number, {"content": text}, 6)


def usual(texts: Texts, number: int) -> Asked:
    """An answer without thinking."""
    text = texts.answer()
    return chat(texts, number, {"content": text}, len(text) // CHARACTERS_A_TOKEN)


def thinking(texts: Texts, number: int) -> Asked:
    """An answer after long thought."""
    thought, text = texts.thinking(), texts.answer()
    tokens = (len(thought) + len(text)) // CHARACTERS_A_TOKEN
    return chat(texts, number, {"content": text, "reasoning_content": thought}, tokens)


def pieces(text: str) -> Iterator[str]:
    """Something like tokens."""
    for start in range(0, len(text), CHARACTERS_A_TOKEN):
        yield text[start : start + CHARACTERS_A_TOKEN]


def with_logprobs(texts: Texts, number: int) -> Asked:
    """An answer with the log-probability of each token."""
    text = texts.answer()
    content = [
        {"token": token, "logprob": -(texts.draw.random() ** 4) * 5, "bytes": list(token.encode()), "top_logprobs": []}
        for token in pieces(text)
    ]
    return chat(texts, number, {"content": text}, len(content), {"content": content})


def by_likelihood(texts: Texts, number: int) -> Asked:
    """One option of an item with five examples before it, whose prompt is echoed."""
    prompt = texts.thinking()[:PROMPT_CHARACTERS]
    tokens = [*pieces(prompt), " B", "\n"]
    values = [None, *(-texts.draw.random() * 9 for _ in tokens[1:])]
    top = [None, *({token: value, " x": -0.5} for token, value in zip(tokens[1:], values[1:], strict=True))]
    logprobs = {"text_offset": list(range(len(tokens))), "token_logprobs": values,
                "tokens": tokens, "top_logprobs": top}  # fmt: skip
    choice = {"text": "".join(tokens), "logprobs": logprobs, "finish_reason": "length"}
    return asked(texts, number, body(texts, choice, len(tokens) - 1, 1), " B")


def of_tokens(one: Asked, *, logprobs: bool = False) -> float:
    """The forecast for a chat reply of known length."""
    return answer_bytes(one.reply.usage.completion_tokens or 0, logprobs=logprobs)


CASES = (
    Case("chat, short answers", 7_000, short, 680.0, 0.25, of_tokens),
    Case("chat, answers", 1_500, usual, None, 0.25, of_tokens),
    Case("chat, long thinking", 300, thinking, None, 0.25, of_tokens),
    Case("chat, log-probabilities", 300, with_logprobs, None, 0.25, lambda one: of_tokens(one, logprobs=True)),
    Case("log-likelihood", 1_200, by_likelihood, 5_000.0, 0.25, lambda _one: SCORED_REQUEST_BYTES, 4),
)


def line_bytes(one: Asked) -> int:
    """The same as a plain line of JSON."""
    said = {"record": "reply", "key": one.request.key, "suite": one.request.suite, "item": one.request.item,
            "repeat": 0, "seed": one.request.seed, "at": 1_795_000_000.125, "seconds": round(one.reply.seconds, 4),
            "attempts": 1}  # fmt: skip
    return len(orjson.dumps({**said, "body": orjson.Fragment(one.reply.raw)})) + 1


def item(texts: Texts, suite: str, number: int) -> ItemRow:
    """An item with a question of usual length."""
    question = texts.answer()[:500]
    doc = {"id": f"{number}", "question": question, "choices": [question[:40]] * 4, "answer": "B"}
    traits = {"stratum": ("physics",), "document": digest64(question), "prompt": digest64(f"{suite}{number}")}
    texts_of = {"question": question, "target": "B", "doc": orjson.dumps(doc).decode()}
    return ItemRow(suite, f"{number:05d}", suite, **traits, **texts_of)


def measured(case: Case, texts: Texts, runs: Path) -> tuple[float, float, float]:
    """Bytes an answer of two sides on disk, as lines of JSON, and by the forecast."""
    listed = [item(texts, "mmlu_pro", number) for number in range(case.count // case.requests)]
    plain, forecast = 0, 0.0
    for side in ("one", "two"):
        folder = runs / side
        found = [case.make(texts, number) for number in range(case.count)]
        with journal.Journal(folder) as out:
            for number, one in enumerate(found):
                out.append(packed(one.request, one.reply, 1_795_000_000.0 + number / 7))
        header = {"plan": "", "scorers": {}, "journals": journal.extents(folder)}
        rows = (one.row for one in found[:: case.requests])
        tables.write_scores(tables.scores_path(folder, "0" * 64), rows, header)
        write_items(folder, listed)
        plain += sum(map(line_bytes, found)) + sum(len(orjson.dumps(row)) + 1 for row in listed)
        forecast += sum(map(case.forecast, found)) + ITEM_BYTES * len(listed) / 2
    count = 2 * case.count
    return size_of([runs]) / count, plain / count, forecast / count


def shared_items(texts: Texts, runs: Path) -> tuple[int, int]:
    """Bytes of the items of 15 suites on two sides: stored once, and as lines of JSON on each side."""
    plain = 0
    for suite in range(15):
        rows = [item(texts, f"suite{suite}", number) for number in range(700)]
        plain += 2 * sum(len(orjson.dumps(row)) + 1 for row in rows)
        for side in ("one", "two"):
            write_items(runs / side, rows)
    return size_of([runs]), plain


def main(arguments: Sequence[str]) -> int:
    """Prints the bytes; 1 where a bar is missed or a forecast is off."""
    texts, good = Texts(Path(arguments[0]) if arguments else DATA), True
    print(f"{'kind of reply':<26}{'answers':>8}{'bytes':>9}{'as JSON':>10}{'factor':>8}{'forecast':>10}")
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            size, plain, forecast = measured(case, texts, Path(scratch) / case.name)
            kept = case.most_bytes is None or size <= case.most_bytes
            kept &= case.most_share is None or size <= case.most_share * plain or not texts.real
            kept &= abs(forecast / size - 1) <= OFF
            good &= kept
            print(
                f"{case.name:<26}{case.count:>8,}{size:>9,.0f}{plain:>10,.0f}{plain / size:>8.1f}{forecast:>10,.0f}"
                f"{'' if kept else '   missed'}"
            )
        size, plain = shared_items(texts, Path(scratch) / "items")
    print(f"items of 2 sides x 15 suites x 700: {size:,} bytes, {plain:,} as lines of JSON, {plain / size:.1f} x")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
