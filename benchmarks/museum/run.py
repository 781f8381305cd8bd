"""The fault museum: what does `evalkit contract` find of faults that real servers had? `run.py [FAULT...] --seeds N`

Each fault is one file in `faults/`, with its source; its switch point is drawn from the seed. It stands in a small
model server (`model.py`), once for each seed, and is held against a faithful one. The faithful variants below are held
against it likewise: none may be DEGRADED. A fault added as one more file is in the table.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer
from model import Fault, Model

from evalkit.config import EndpointConfig
from evalkit.examine.contract import Sheet, held, signed
from evalkit.model import Comparison, Verdict


class OtherKernels(Fault):
    """Logits with an error of a thousandth, new for every request."""

    noise = 1e-3


class LargePieces(Fault):
    """A proxy that joins the pieces of a stream."""

    def pieces(self, fields: Mapping[str, Any], pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Texts are joined by threes."""
        joined: list[dict[str, Any]] = []
        for piece in pieces:
            (key, value), *_more = piece.items()
            if isinstance(value, str) and joined and key in joined[-1] and len(joined[-1][key].split()) < 3:
                joined[-1] = {key: joined[-1][key] + value}
            else:
                joined.append(piece)
        return joined


class Verbose(Fault):
    """A server with fields of its own in every reply."""

    def reply(self, fields: Mapping[str, Any], reply: dict[str, Any], in_flight: int) -> dict[str, Any]:
        """Adds what nobody asked for."""
        return {**reply, "timings": {"prompt_ms": 1.0}, "system_fingerprint": "other"}


FAITHFUL = (Fault, OtherKernels, LargePieces, Verbose)


def faults() -> Iterator[type[Fault]]:
    """The class of every file."""
    for path in sorted(Path(__file__).with_name("faults").glob("*.py")):
        module = importlib.import_module(f"faults.{path.stem}")
        yield next(one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__)


async def sheet(fault: Fault, seed: int = 0) -> Sheet:
    """What a server with this fault kept and broke."""
    async with TestServer(Model(fault, thinks=True).app()) as server:
        values = {"name": type(fault).__name__, "base_url": str(server.make_url("/v1")), "model": "toy"}
        (made,) = await signed([EndpointConfig.model_validate(values)], seed)
    return made


def found(comparison: Comparison) -> set[str]:
    """The promises that the candidate is shown to break."""
    return {row.suite for row in comparison.suites if row.verdict is Verdict.DEGRADED}


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAULT", help="names of faults (default: all)")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    missed = 0
    print("| fault | found | named right | by | requests | tokens | seconds | source |")
    print("| :-- | --: | --: | :-- | --: | --: | --: | :-- |")
    for kind in [*faults(), *FAITHFUL]:
        if options.names and kind.__module__.rpartition(".")[2] not in options.names:
            continue
        seen, right, by, sheets = 0, 0, Counter[str](), []
        for seed in range(options.seeds):
            reference, candidate = await sheet(Fault(seed), seed), await sheet(kind(seed), seed)
            names = found(held(reference, candidate, candidate.started))
            seen, right = seen + bool(names), right + bool(names & {*kind.expected})
            by.update(names)
            sheets.append(candidate)
        missed += seen < 0.9 * options.seeds if kind.expected else seen > 0
        n = len(sheets)
        cost = [sum(numbers) / n for numbers in zip(*((s.requests, s.tokens, s.seconds) for s in sheets), strict=True)]
        told = ", ".join(f"{name} {count}" for name, count in by.most_common(3)) or "nothing"
        about = kind.source or "faithful"
        spent = f"{cost[0]:.0f} | {cost[1]:.0f} | {cost[2]:.1f}"
        print(f"| {kind.__name__} | {seen}/{n} | {right}/{n} | {told} | {spent} | {about} |", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
