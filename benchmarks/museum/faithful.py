"""Servers that are right and differ all the same, as ports of one model do: none of them may be found fault with."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from model import Fault

Fields = Mapping[str, Any]


class Same(Fault):
    """The reference once more."""


class OtherKernels(Fault):
    """Logits with an error of a thousandth of a nat, new for every request."""

    nats = 1e-3

    def logits(self, chances: dict[str, float], text: str, in_flight: int) -> dict[str, float]:
        return {word: nat + self.rng.gauss(0.0, self.nats) for word, nat in chances.items()}


class LowPrecision(OtherKernels):
    """Logits with an error of a hundredth of a nat, as in bfloat16."""

    nats = 1e-2


class OtherBatch(OtherKernels):
    """Kernels whose rounding depends on what else is in flight."""

    def logits(self, chances: dict[str, float], text: str, in_flight: int) -> dict[str, float]:
        return chances if in_flight < 2 else super().logits(chances, text, in_flight)


class OtherPort(Fault):
    """Another port of the same weights: errors of three thousandths of a nat, the same whenever it is asked."""

    def logits(self, chances: dict[str, float], text: str, in_flight: int) -> dict[str, float]:
        rng = random.Random(f"{self.seed}{text}")
        return {word: nat + rng.gauss(0.0, 3e-3) for word, nat in chances.items()}


class Restart(Fault):
    """A server that is started anew in the middle: thirty requests come in vain."""

    def settle(self) -> None:
        self.left = self.rng.randrange(20, 350)

    def refuses(self) -> bool:
        self.left -= 1
        return -30 <= self.left < 0


class Busy(Fault):
    """One request in thirty is refused for now, and answered when it comes again."""

    def refuses(self) -> bool:
        return self.rng.random() < 1 / 30


class Slow(Fault):
    """A reply takes ten times as long."""

    seconds = 0.05


class LargePieces(Fault):
    """A proxy that joins the pieces of a stream by threes."""

    def pieces(self, fields: Fields, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        joined: list[dict[str, Any]] = []
        for piece in pieces:
            (key, value), *_more = piece.items()
            if isinstance(value, str) and joined and key in joined[-1] and len(joined[-1][key].split()) < 3:
                joined[-1] = {key: joined[-1][key] + value}
            else:
                joined.append(piece)
        return joined


class SmallPieces(Fault):
    """A proxy that cuts the pieces of a stream into letters, and names the role in each."""

    def pieces(self, fields: Fields, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        cut: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        for piece in pieces:
            (key, value), *_more = piece.items()
            cut += [{"role": "assistant", key: letter} for letter in value] if isinstance(value, str) else [piece]
        return cut


class CallsAtOnce(Fault):
    """A parser that streams each call of a tool in one piece."""

    def pieces(self, fields: Fields, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        whole: dict[int, dict[str, Any]] = {}
        for piece in pieces:
            for call in piece.get("tool_calls", ()):
                begun = whole.setdefault(call["index"], {**call, "function": {**call["function"], "arguments": ""}})
                begun["function"]["arguments"] += call["function"]["arguments"]
        return [piece for piece in pieces if "tool_calls" not in piece] + [
            {"tool_calls": [one]} for one in whole.values()
        ]


class Verbose(Fault):
    """A server with fields of its own in every reply, and in its usage."""

    def reply(self, fields: Fields, reply: dict[str, Any], in_flight: int) -> dict[str, Any]:
        usage = {**reply["usage"], "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": None}
        return {**reply, "usage": usage, "timings": {"prompt_ms": 1.0}, "system_fingerprint": "other"}


class OtherNames(Fault):
    """A server that calls its thoughts `reasoning`, and gives calls ids of another form."""

    def reply(self, fields: Fields, reply: dict[str, Any], in_flight: int) -> dict[str, Any]:
        for choice in reply["choices"]:
            if "reasoning_content" in choice["message"]:
                choice["message"]["reasoning"] = choice["message"].pop("reasoning_content")
            for number, call in enumerate(choice["message"].get("tool_calls") or ()):
                call["id"] = f"functions.{call['function']['name']}:{number}"
        return reply


FAITHFUL = (
    Same,
    OtherKernels,
    LowPrecision,
    OtherBatch,
    OtherPort,
    Restart,
    Busy,
    Slow,
    LargePieces,
    SmallPieces,
    CallsAtOnce,
    Verbose,
    OtherNames,
)
