"""How often the fidelity probe passes, finds and stops a candidate at a known divergence, by the rule that judges.

    python benchmarks/probe_rule.py [--runs 1000] [--workers 2] [--seed 0]

Simulated probes of 64 prompts with texts of up to 128 tokens go through `assess`, which judges the real ones. Lengths,
log-probabilities and differences are those of the stored GPU probe of FlagGems (docs/validation/probes): whole texts
are drawn from it anew, and their differences stretched until k3 is what it should be. "stored" takes the differences as
they are, with signs of their own; "heavy" has a tail far longer than theirs (a normal number to the power 3.5: p99 13
times the mean, the largest of 8,000 about 60 times; measured of faithful servers were 20 and 46), and each text a
factor of its own (log-normal, 0.3). The reference's noise is the stored one. Prints one row a truth: the shares
EQUIVALENT, INCONCLUSIVE, DEGRADED and stopped; exits 1 where a share misses its bar.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from evalkit.examine.divergence import ScoredText
from evalkit.examine.forcing import Drawn
from evalkit.examine.probe import Findings, Material, Plan, Scores, neutral_prompts
from evalkit.examine.probe_report import assess

Shape: TypeAlias = Literal["stored", "heavy"]

PROMPTS: Final = 64
STORED: Final = Path(__file__).parent.parent / "docs" / "validation" / "probes" / "flaggems.jsonl.xz"
MARGIN, STOP = 0.004, 0.006
BOUNDS = (-6.0, 1.0)
"""No token loses or gains more nats: the probabilities of all must add up to 1, so that great gains are rare."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The least or most that a share may be; `outcome` is a verdict or "stopped"."""

    outcome: str
    least: float = 0.0
    most: float = 1.0


FAITHFUL: Final = (Bar("EQUIVALENT", least=0.95), Bar("stopped", most=0.0))
TRUTHS: Final = {
    6.4e-4: FAITHFUL,
    1.2e-3: FAITHFUL,
    1.5e-3: FAITHFUL,
    2.0e-3: FAITHFUL,
    MARGIN: (Bar("EQUIVALENT", most=0.05), Bar("DEGRADED", most=0.05)),
    STOP: (Bar("EQUIVALENT", most=0.0), Bar("stopped", most=0.05)),
    9.5e-3: (Bar("DEGRADED", least=0.95),),
}


@cache
def stored_texts() -> tuple[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]], ...]:
    """By prompt: log-probabilities, the differences of FlagGems from them, and the reference's own from decoding."""
    with lzma.open(STORED, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    texts = []
    for row in rows:
        decoded, read, other = (
            np.array(values, dtype=np.float64)
            for values in (
                row["decoded"]["reference"],
                row["reference_on_reference"],
                row["reference_on_candidate"],
            )
        )
        texts.append((read, other - read, read - decoded))
    return tuple(texts)


@cache
def stretch(shape: Shape, truth: float) -> float:
    """The factor by which differences are stretched so that k3 is `truth`, from 4,000 drawn texts; by bisection."""
    rng = np.random.default_rng(1)
    drawn = [differences(shape, 1.0, index % PROMPTS, rng) for index in range(4_000)]
    whole = np.concatenate(drawn)
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        bounded = np.clip(middle * whole, *BOUNDS)
        low, high = (middle, high) if np.mean(np.expm1(bounded) - bounded) < truth else (low, middle)
    return low


def differences(shape: Shape, factor: float, prompt: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """One text's differences, token by token, in nats."""
    found = stored_texts()[prompt][1]
    if shape == "heavy":
        drawn = rng.standard_normal(found.size)
        found = 0.01 * rng.lognormal(0, 0.3) * np.sign(drawn) * np.abs(drawn) ** 3.5
    else:
        found = found * rng.choice((-1.0, 1.0), found.size)
    return np.asarray(np.clip(factor * found, *BOUNDS))


def simulated(shape: Shape, truth: float, seed: int) -> Findings:
    """The findings of one probe whose candidate has a k3 of `truth` on both sides' texts."""
    rng = np.random.default_rng([seed, round(truth * 1e7)])
    factor = stretch(shape, truth)
    prompts = rng.integers(0, PROMPTS, PROMPTS)
    columns: dict[str, list[ScoredText]] = {}

    def keep(name: str, values: np.ndarray[Any, Any]) -> None:
        columns.setdefault(name, []).append(ScoredText(tuple(values.tolist())))

    for prompt in prompts:
        read, _, own = stored_texts()[prompt]
        keep("decoded", read - own)
        keep("reference_on_reference", read)
        keep("reference_again", read)
        keep("reference_on_candidate", read + differences(shape, factor, prompt, rng))
        other, _, decoding = stored_texts()[rng.integers(0, PROMPTS)]
        there = np.resize(other, read.size)
        keep("candidate_on_reference", there)
        keep("candidate_decoded", there - differences(shape, factor, prompt, rng))
        noise = np.resize(decoding, read.size) * rng.choice((-1.0, 1.0), read.size)
        keep("candidate_on_candidate", np.array(columns["candidate_decoded"][-1].logprobs) + noise)
    return _findings(columns)


def _findings(columns: dict[str, list[ScoredText]]) -> Findings:
    def material(decoded: str, *scores: str) -> Material:
        texts = tuple(Drawn(tuple(range(len(text.logprobs))), text, ended=True) for text in columns[decoded])
        found: dict[str, Scores] = {name: tuple(columns[name]) for name in scores}
        return Material(((1,),) * PROMPTS, texts, (), found)

    reference = material("decoded", "reference_again", "reference_on_reference", "candidate_on_reference")
    candidate = material("candidate_decoded", "reference_on_candidate", "candidate_on_candidate")
    return Findings(Plan(neutral_prompts(PROMPTS), greedy=0), reference, candidate, {})


def outcome(job: tuple[Shape, float, int]) -> tuple[str, bool, tuple[str, ...]]:
    """The verdict of one simulated probe, whether it stops a comparison, and the codes of what it found."""
    report = assess(simulated(*job))
    told = [reason.values.get("why") for reason in report.reasons]
    return report.verdict.value, report.stops, tuple(str(getattr(why, "code", "")) for why in told)


def row(shape: Shape, truth: float, found: Sequence[tuple[str, bool, tuple[str, ...]]]) -> tuple[str, list[str]]:
    """A truth's row of the table, and the bars that it misses."""
    counts = Counter(verdict for verdict, _stops, _codes in found)
    counts["stopped"] = sum(stops for _verdict, stops, _codes in found)
    counts["a finding"] = sum(bool({"probe.tail", "probe.worst_text"} & set(codes)) for _v, _s, codes in found)
    missed = []
    for bar in TRUTHS[truth]:
        share = counts[bar.outcome] / len(found)
        slack = 2 * (bar.most * (1 - bar.most) / len(found)) ** 0.5
        if not bar.least <= share <= bar.most + slack:
            missed.append(f"{shape} {truth:g}: {bar.outcome} {share:.1%}")
    names = ("EQUIVALENT", "INCONCLUSIVE", "DEGRADED", "stopped", "a finding")
    return f"| {shape} | {truth:g} | " + " | ".join(f"{counts[name] / len(found):.1%}" for name in names) + " |", missed


def main() -> int:
    """Simulate, print the table, say what is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000, help="simulated probes for each row")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| differences | k3, nats a token | EQUIVALENT | INCONCLUSIVE | DEGRADED | stopped | a finding |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    missed: list[str] = []
    shapes: tuple[Shape, ...] = ("stored", "heavy")
    with ProcessPoolExecutor(options.workers) as pool:
        for shape in shapes:
            for truth in TRUTHS:
                jobs = [(shape, truth, options.seed + run) for run in range(options.runs)]
                line, more = row(shape, truth, list(pool.map(outcome, jobs, chunksize=25)))
                print(line, flush=True)
                missed += more
    for one in missed:
        print(f"missed: {one}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
