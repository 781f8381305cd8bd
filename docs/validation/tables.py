"""Prints the tables of docs/validation.md from the stored runs, probes and bisect; regenerate.sh calls it.

python docs/validation/tables.py RUNS PROBES BISECT
"""

# ruff: noqa: INP001, T201 - a script
from __future__ import annotations

import itertools
import json
import lzma
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefixes import SIZES, beginning, generated
from stored_probes import read_findings

from evalkit.examine.bisect import search
from evalkit.examine.probe_report import assess, enough
from evalkit.foreign import Choices
from evalkit.foreign.sources import read_pair
from evalkit.judging import Case, differences_of, judged
from evalkit.model import SuiteResult, Verdict
from evalkit.options import JudgeOptions
from evalkit.render.words import say_all
from evalkit.rounds import judged_stored

# What is stored with the page are scores, without the journals (with all their answers) that they were made from.
OPTIONS = JudgeOptions(stored=True)
PAIRS = (
    ("native", "native-again", "native-whole", "native-again-whole", "native-sampled", "native-again-sampled"),
    ("native", "flaggems", "native-whole", "flaggems-whole", "native-sampled", "flaggems-sampled"),
    ("native", "damaged"),
    ("native", "rope"),
    ("native", "template"),
    ("native", "truncated"),
    ("native-launched", "flaggems-all"),
)
BROKEN = (
    *(("native", fault) for fault in ("damaged", "rope", "template", "truncated")),
    ("native-launched", "flaggems-all"),
)


def suites(reference: Path, candidate: Path) -> tuple[SuiteResult, ...]:
    """One row a suite, as `evalkit compare` judges it."""
    found = judged_stored((reference, candidate), OPTIONS).comparison.suites
    for one in found:
        interval = "" if one.ci90 is None else f"{100 * one.ci90.low:+.2f} to {100 * one.ci90.high:+.2f}"
        shown = ["" if side.mean is None else f"{100 * side.mean:.2f}" for side in (one.reference, one.candidate)]
        alerts = [row.alert for row in one.behaviour if row.alert]
        because = say_all(alerts or (one.reasons if one.verdict is Verdict.INVALID else ()))
        cells = (candidate.name, one.label, f"{one.n_items}×{one.k_reference:g}", *shown, interval)
        print(f"| {' | '.join(cells)} | ±{100 * one.margin:g} | {one.verdict.value} | {because} |")
    return found


def found_after(runs: Path, reference: str, candidate: str, whole: Iterable[SuiteResult]) -> None:
    """For each INVALID suite the smallest of the sizes from which on its first items show that, and what they cost."""
    invalid = [one for one in whole if one.verdict is Verdict.INVALID and not one.row_of]
    fewest = {one.suite: one.n_items for one in invalid}
    standing = set(fewest)
    sides = read_pair(runs / reference, runs / candidate, Choices())
    for size in sorted(SIZES, reverse=True):
        case = Case((beginning(sides[0], size), beginning(sides[1], size)), differences_of(sides), runs)
        found = {one.suite: one for one in judged(case, OPTIONS).comparison.suites}
        standing = {name for name in standing if found[name].verdict is Verdict.INVALID}
        fewest |= {name: found[name].n_items for name in standing}
    for one in invalid:
        tokens = generated(beginning(sides[1], fewest[one.suite]).suites[one.suite])
        print(f"| {candidate} | {one.label} | {fewest[one.suite]} | {tokens} | {one.n_items} |")


def stored(path: Path) -> list[Any]:
    """The lines of a compressed file, each as JSON."""
    with lzma.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def probe(path: Path, tokens: Path) -> None:
    """One row a probe: the reference's texts on the candidate, and how few of them would have done."""
    told = json.loads(path.read_text())
    found = next(iter(told["comparisons"].values()))
    cells = [f"{found[name]['point']:.2g}" for name in ("k3", "nll_shift")]
    cells += [f"{found[name]:.2g}" for name in ("mean_abs", "max_abs")]
    greedy = f"{told['greedy']['identical']} of {told['greedy']['compared']}"
    findings = read_findings(stored(tokens))
    if assess(findings).verdict.value != told["verdict"]:
        raise SystemExit(f"{tokens}: its tokens do not give the verdict of {path}")
    fewest = enough(findings)
    after = "never" if fewest is None else f"{fewest.tokens} ({fewest.texts} texts)"
    print(f"| {path.stem} | {found['tokens']} | {' | '.join(cells)} | {greedy} | {told['verdict']} | {after} |")


def bisected(path: Path) -> None:
    """The search again, on the stored results of its sets: each set that it asks for, and what it finds."""
    first, *rows = stored(path)
    names: list[str] = first["operators"]
    results: dict[frozenset[str], Mapping[str, Any]] = {frozenset(names[at] for at in row["on"]): row for row in rows}
    numbers = itertools.count(1)

    def fails(on: frozenset[str]) -> bool:
        row = results[on]
        alone = f" ({', '.join(on)})" if len(on) == 1 else ""
        size = f"{row['k3']:.2g} | {row['mean_abs']:.2g} | {row['tokens']}"
        print(f"| {next(numbers)} | {len(on)}{alone} | {row['verdict']} | {size} | {row['seconds']:.0f} |")
        return bool(row["verdict"] == "DEGRADED")

    found = search(names, fails)
    guilty = "; ".join(" + ".join(sorted(culprit)) for culprit in found.culprits)
    print(f"\nGuilty of {len(names)}: {guilty}; {next(numbers) - 1} sets asked for, {len(results)} measured.")


def main(runs: Path, probes: Path, bisect: Path) -> None:
    """All tables."""
    print("| candidate | suite | n×k | ref. | cand. | difference, 90 % | margin | verdict | alerts |")
    print("|---|---|---|---|---|---|---|---|---|")
    whole = {
        second: suites(runs / first, runs / second)
        for pair in PAIRS
        for first, second in zip(pair[::2], pair[1::2], strict=True)
    }
    print("\n| candidate | suite | INVALID from so many items on | tokens generated for them | of items |")
    print("|---|---|---|---|---|")
    for first, second in BROKEN:
        found_after(runs, first, second, whole[second])
    print("\n| candidate | tokens | k3 | nll shift | mean abs. | max | greedy identical | verdict | after tokens |")
    print("|---|---|---|---|---|---|---|---|---|")
    for file in sorted(probes.glob("*.json")):
        probe(file, file.with_suffix(".jsonl.xz"))
    print("\n| probe | operators on | verdict | k3 | mean abs. | tokens | seconds |")
    print("|---|---|---|---|---|---|---|")
    bisected(bisect)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
