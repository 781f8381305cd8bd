"""The museum of regimes: where does `evalkit probe --sweep` find that faults of engines begin? `sweep.py [FAULT...]`

Each fault is one file in `regime_faults/`, with its source; its switch point is drawn from the seed, and it stands in a
small engine (`engine.py`) beside a right one. The regime must be named, and its beginning within a factor of two.
`--part tuned` or `aside` takes a half: those put aside by lot (a bit of the SHA-256 of the class's name) were not
looked at while the sweep was tuned; `--part faithful` the variants that are right: none may be found fault with.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp.test_utils import TestServer
from engine import Engine, OtherKernels, RegimeFault, Rounded
from engine import RegimeFault as Same

from evalkit.endpoint.settings import ClientSettings
from evalkit.examine.probe import Side
from evalkit.examine.sweep import Map, swept
from evalkit.model import Verdict
from evalkit.waits import hush

HERE = Path(__file__).resolve().parent
FACTOR = 2.1
"""Twice, and a little for the end of a text that lies across the beginning."""


def faults() -> Iterator[type[RegimeFault]]:
    """The class of every file."""
    for path in sorted((HERE / "regime_faults").glob("*.py")):
        module = importlib.import_module(f"regime_faults.{path.stem}")
        yield next(one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__)


def put_aside(kind: type[RegimeFault]) -> bool:
    """Whether a fault is of the half that nothing was tuned on."""
    return bool(hashlib.sha256(kind.__name__.encode()).digest()[0] & 1)


@dataclass(frozen=True)
class Variant:
    """A right engine that is another one: how it rounds, its chunk, its cache, its metrics."""

    name: str
    fault: type[RegimeFault] = Same
    chunk: int = 512
    capacity: int = 16_384
    metrics: bool = True


FAITHFUL = (
    Variant("the same"),
    Variant("other kernels", OtherKernels),
    Variant("low precision", Rounded),
    Variant("other chunk", chunk=200),
    Variant("small cache", OtherKernels, capacity=6_000),
    Variant("no metrics", Rounded, chunk=1000, metrics=False),
)


def side(name: str, url: str, in_flight: int = 64) -> Side:
    """An endpoint for the sweep."""

    @asynccontextmanager
    async def opened():
        yield ClientSettings((url,), "toy", concurrency=in_flight)

    return Side(name, opened)


async def mapped(candidate: Engine, seed: int, chosen: Sequence[str] = ()) -> Map:
    """The map of a candidate beside a right engine."""
    async with TestServer(Engine().app()) as one, TestServer(candidate.app()) as other:
        urls = [str(server.make_url("/v1")) for server in (one, other)]
        return await swept(side("right", urls[0]), side("candidate", urls[1]), chosen, seed)


@dataclass(frozen=True)
class Trial:
    """What the map of one engine said; `near` where the beginning is within a factor of two of the switch point."""

    found: frozenset[str]
    named: bool
    near: bool
    where: str
    tokens: tuple[int, int]
    seconds: float


def trial(name: str, seed: int) -> Trial:
    """One engine at one seed."""
    hush()
    kind = {one.__name__: one for one in faults()}.get(name)
    if kind is None:
        how = next(one for one in FAITHFUL if one.name == name)
        candidate = Engine(how.fault(seed), chunk=how.chunk, capacity=how.capacity, metrics=how.metrics)
    else:
        fault = kind(seed)
        candidate = Engine(fault, chunk=getattr(fault, "chunk", 512))
    made = asyncio.run(mapped(candidate, seed))
    wrong = {one.regime: one for one in made.places if one.verdict in {Verdict.DEGRADED, Verdict.INVALID}}
    place = None if kind is None else wrong.get(kind.regime)
    switch = candidate.fault.switch
    near = place is not None and (not switch or 1 / FACTOR <= (place.begins or 1) / switch <= FACTOR)
    where = "; ".join(f"{one.regime} {one.where}" for one in wrong.values())
    spent = [tuple(asked[key] for asked in made.asked.values()) for key in ("prompt_tokens", "completion_tokens")]
    told = f"{where} (from {switch})" if kind is not None else where
    return Trial(frozenset(wrong), place is not None, near, told, (max(spent[0]), max(spent[1])), made.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FAULT", help="files of faults (default: all of the parts)")
    parser.add_argument("--part", choices=["tuned", "aside", "faithful"], action="append", help="only this part")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each engine")
    parser.add_argument("--processes", type=int, default=1, help="sweeps at a time")
    options = parser.parse_args()
    parts = options.part or ["tuned", "aside", *(() if options.names else ("faithful",))]
    chosen = [one for one in faults() if ("aside" if put_aside(one) else "tuned") in parts]
    names = [one.__name__ for one in chosen if not options.names or one.__module__.rpartition(".")[2] in options.names]
    names += [one.name for one in FAITHFUL] if "faithful" in parts else []
    kinds = {one.__name__: one for one in chosen}
    print(
        "| engine | part | found | regime named | within twice | read | generated | seconds | map at the first seed |"
    )
    print("|" + " :-- |" * 9)
    totals, bad = Counter[str](), False
    with ProcessPoolExecutor(options.processes) as pool:
        for name in names:
            rows = list(pool.map(partial(trial, name), range(options.seeds)))
            kind = kinds.get(name)
            part = "faithful" if kind is None else "aside" if put_aside(kind) else "tuned"
            n, found = len(rows), sum(bool(one.found) for one in rows)
            named, near = sum(one.named for one in rows), sum(one.near for one in rows)
            read, made = (max(one.tokens[which] for one in rows) for which in (0, 1))
            shown = name if kind is None else f"[{kind.__module__.rpartition('.')[2]}]({kind.source})"
            spent = f"{read} | {made} | {sum(one.seconds for one in rows) / n:.1f}"
            print(
                f"| {shown} | {part} | {found}/{n} | {named}/{n} | {near}/{n} | {spent} | {rows[0].where} |", flush=True
            )
            totals.update({f"{part} runs": n, f"{part} found": found, f"{part} named": named, f"{part} near": near})
            bad |= found > 0 if kind is None else found < 0.9 * n or named < 0.8 * n
    print()
    for part in parts:
        told = (totals[f"{part} {what}"] for what in ("found", "runs", "named", "near"))
        print("{}: found {} of {}, regime named {}, beginning within twice {}".format(part, *told))
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(main())
