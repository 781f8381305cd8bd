"""The fault museum: what is found of faults that real servers had, by what, and at what cost? `run.py [FAULT...]`

Each fault is one file in `faults/`, with its source; its switch point is drawn from the seed. It stands in a small
model server (`model.py`), once for each of `--seeds`, and is held by `contract` against a faithful one; with
`--beside`, once also by `doctor` and by a comparison of `codes.yaml`. The faithful variants of `faithful.py` follow,
`--faithful` times each: none may be found fault with. A fault that is added as one more file is in the table.

Half of the faults, by lot (a bit of the SHA-256 of their class's name), were put aside while the checks were tuned.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp.test_utils import TestServer
from faithful import FAITHFUL
from model import Fault, Model

import evalkit
from evalkit.config import EndpointConfig
from evalkit.examine.contract import Sheet, held, signed
from evalkit.model import Comparison, Verdict
from evalkit.options import CompareOptions

HERE = Path(__file__).resolve().parent


def faults() -> Iterator[type[Fault]]:
    """The class of every file that is about what a contract asks."""
    for path in sorted((HERE / "faults").glob("*.py")):
        module = importlib.import_module(f"faults.{path.stem}")
        own = (one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__)
        yield from (one for one in own if issubclass(one, Fault))


def put_aside(kind: type[Fault]) -> bool:
    """Whether a fault is of the half that nothing was tuned on."""
    return bool(hashlib.sha256(kind.__name__.encode()).digest()[0] & 1)


async def sheet(fault: Fault, seed: int = 0) -> Sheet:
    """What a server with this fault kept and broke."""
    async with TestServer(Model(fault, thinks=True).app()) as server:
        values = {"name": type(fault).__name__, "base_url": str(server.make_url("/v1")), "model": "toy"}
        (made,) = await signed([EndpointConfig.model_validate(values)], seed)
    return made


def found(comparison: Comparison) -> set[str]:
    """The promises that the candidate is shown to break."""
    return {row.suite for row in comparison.suites if row.verdict is Verdict.DEGRADED}


async def beside(fault: Fault) -> str:
    """What `doctor` and a comparison say of the fault: those of the two that find something amiss, with their cost."""
    with tempfile.TemporaryDirectory() as folder:
        one, two = Model(thinks=True), Model(fault, thinks=True)
        async with TestServer(one.app()) as reference, TestServer(two.app()) as candidate:
            files = []
            for name, server in (("reference", reference), ("candidate", candidate)):
                files.append(Path(folder, f"{name}.yaml"))
                about = f"name: {name}\nbase_url: {server.make_url('/v1')}\nmodel: toy\nruns: {folder}/runs\n"
                files[-1].write_text(f"{about}suite_folders: [{HERE}]\nsuites: [codes]\nlimits: {{concurrency: 8}}\n")
            diagnosis = await asyncio.to_thread(evalkit.doctor, *files, data=False)
            asked = two.requests
            made = await asyncio.to_thread(evalkit.compare, *files, CompareOptions(doctor=False, margin_pt=5))
        amiss = {one.check for one in diagnosis.between if one.severity in {"warning", "problem"}}
        names = [{one.check for one in report.problems} for report in diagnosis.reports]
        doctor = sorted(amiss | (names[1] - names[0]))
        row = made.value.suites[0]
        alerts = [one.name for one in row.behaviour if one.alert] if made.value.verdict is Verdict.EQUIVALENT else []
        compared = made.value.verdict.value if made.value.verdict is not Verdict.EQUIVALENT else ", ".join(alerts)
    told = (f"{', '.join(doctor) or 'nothing'} ({asked})", f"{compared or 'nothing'} ({two.requests - asked})")
    return f" {told[0]} | {told[1]} |"


@dataclass(frozen=True)
class Trial:
    """What a server at one seed was found to break, and what it cost; `beside` is what else finds something."""

    names: frozenset[str]
    requests: int
    tokens: int
    seconds: float
    beside: str = ""


@cache
def kinds() -> Mapping[str, type[Fault]]:
    """Every fault and faithful variant, by the name of its class."""
    return {kind.__name__: kind for kind in (*faults(), *FAITHFUL)}


@cache
def reference(seed: int) -> Sheet:
    """The faithful server at a seed."""
    return asyncio.run(sheet(Fault(seed), seed))


def trial(name: str, seed: int, more: bool) -> Trial:
    """A server at one seed against the faithful one; with `more`, by doctor and comparison too."""
    made = asyncio.run(sheet(kinds()[name](seed), seed))
    names = frozenset(found(held(reference(seed), made, made.started)))
    told = asyncio.run(beside(kinds()[name](seed))) if more else ""
    return Trial(names, made.requests, made.tokens, made.seconds, told)


@dataclass
class Row:
    """What became of one server at several seeds."""

    kind: type[Fault]
    trials: list[Trial]

    @property
    def seen(self) -> int:
        """At how many seeds something was found."""
        return sum(bool(one.names) for one in self.trials)

    @property
    def right(self) -> int:
        """At how many seeds a promise that the fault breaks was named."""
        return sum(bool(one.names & {*self.kind.expected}) for one in self.trials)

    def line(self) -> str:
        """The row of the table."""
        n = len(self.trials)
        costs = zip(*((one.requests, one.tokens, one.seconds) for one in self.trials), strict=True)
        requests, tokens, seconds = (sum(numbers) / n for numbers in costs)
        by = Counter(name for one in self.trials for name in sorted(one.names)).most_common(3)
        told = ", ".join(f"{name} {count}" for name, count in by) or "nothing"
        spent = f"{requests:.0f} | {tokens:.0f} | {seconds:.1f}"
        path = self.kind.__module__.rpartition(".")[2]
        source = f"[{path}]({self.kind.source})" if self.kind.source else self.kind.__name__
        return f"| {source} | {self.seen}/{n} | {self.right}/{n} | {told} | {spent} |{self.trials[0].beside}"


def summed(name: str, of: Sequence[Row]) -> str:
    """How many of these were found, and named right."""
    n = sum(len(row.trials) for row in of)
    seen, right = sum(row.seen for row in of), sum(row.right for row in of)
    return f"{name}: {len(of)} faults, found {seen} of {n}, named right {right} of {n}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="files of faults, classes of faithful variants (default: all)"
    )
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each fault")
    parser.add_argument("--faithful", type=int, default=24, help="seeds of each faithful variant")
    parser.add_argument("--beside", action="store_true", help="also what doctor and a comparison find, at one seed")
    parser.add_argument("--processes", type=int, default=1, help="servers that are asked at a time")
    options = parser.parse_args()
    chosen = [kind for kind in faults() if not options.names or kind.__module__.rpartition(".")[2] in options.names]
    asked = [(kind, options.seeds) for kind in chosen]
    asked += [(kind, options.faithful) for kind in FAITHFUL if not options.names or kind.__name__ in options.names]
    jobs = [(kind.__name__, seed, options.beside and seed == 0) for kind, seeds in asked for seed in range(seeds)]
    columns = ["server", "found", "named right", "by", "requests", "tokens", "seconds"]
    columns += ["doctor (requests)", "comparison (requests)"] if options.beside else []
    print(f"| {' | '.join(columns)} |\n|{' :-- |' * len(columns)}")
    made = []
    with ProcessPoolExecutor(options.processes) as pool:
        done = pool.map(trial, *zip(*jobs, strict=True))
        for kind, seeds in asked:
            made.append(Row(kind, [next(done) for _ in range(seeds)]))
            print(made[-1].line(), flush=True)
    faulty, right = [row for row in made if row.kind.expected], [row for row in made if not row.kind.expected]
    print(f"\n{summed('put aside', [row for row in faulty if put_aside(row.kind)])}")
    print(summed("the others", [row for row in faulty if not put_aside(row.kind)]))
    print(f"faithful: {sum(row.seen for row in right)} of {sum(len(row.trials) for row in right)} runs are flagged")
    missed = [row.kind.__name__ for row in faulty if row.seen < 0.9 * len(row.trials)]
    return int(bool(missed) or any(row.seen for row in right))


if __name__ == "__main__":
    raise SystemExit(main())
