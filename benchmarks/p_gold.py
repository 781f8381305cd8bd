"""What the p(gold) row of a log-likelihood suite can show, on the stored GPU runs: `python benchmarks/p_gold.py`.

Of each stack in docs/validation/runs.tar.xz against the native one: the standard errors of right or wrong and of
p(gold), the loss that either shows with power 80 % (the 90 % interval lies below 0), and by drawing the items' own
differences anew, seeded: how often that loss is shown, and how often a loss of exactly the margin comes out EQUIVALENT.
Below it, the options' divergence and changes on the even and on the odd items.
"""

from __future__ import annotations

import argparse
import math
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.compare.options import option_rows
from evalkit.model import P_GOLD_MARGIN_PT, Verdict, fraction
from evalkit.run.repair import read_run
from evalkit.stats.methods import judge_difference
from evalkit.stats.paired import FloatArray, PairedItems, Scores, clustered_mean, pair_scores
from evalkit.stats.tails import normal_quantile

ARCHIVE: Final = Path(__file__).resolve().parents[1] / "docs" / "validation" / "runs.tar.xz"
STACKS: Final = ("native-again", "flaggems", "template", "truncated", "damaged", "rope")
SUITE: Final = "mmlu_logprob_lite"
MARGIN: Final = fraction(P_GOLD_MARGIN_PT)
SHOWN: Final = normal_quantile(0.95) + normal_quantile(0.80)


def stored(archive: Path = ARCHIVE) -> dict[str, SuiteSide]:
    """The log-likelihood suite of every stored run that has it."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
        sides = {name: read_run(Path(folder) / name) for name in ("native", *STACKS)}
    return {name: side.suites[SUITE] for name, side in sides.items()}


def paired(one: FloatArray, two: FloatArray, unseen: float = 1.0) -> PairedItems:
    """Two columns with an entry an item, item by item."""
    items = np.arange(one.size)
    made = pair_scores(*(Scores(items, items * 0, column) for column in (one, two)))
    return replace(made, unseen=unseen)


def p_gold(reference: SuiteSide, candidate: SuiteSide) -> PairedItems:
    """p(gold) of the items that both sides have, as the row takes it."""
    shared = sorted(reference.p_gold.keys() & candidate.p_gold.keys())
    one, two = (np.asarray([side.p_gold[key] for key in shared]) for side in (reference, candidate))
    return paired(one, two, max(0.01, float(np.abs(two - one).max())))


def right_or_wrong(reference: SuiteSide, candidate: SuiteSide) -> float:
    """The standard error of the difference of right or wrong over the items that both sides have."""
    one, two = (
        dict(zip((side.samples.items.name[item] for item in side.samples.item), side.samples.value, strict=True))
        for side in (reference, candidate)
    )
    gap = np.asarray([two[name] - score for name, score in one.items()])
    gap = gap[~np.isnan(gap)]
    return float(gap.std(ddof=1)) / math.sqrt(gap.size)


def drawn(items: PairedItems, loss: float, draws: int, seed: int) -> Iterator[PairedItems]:
    """The items' differences drawn anew, with a mean of -loss in the whole."""
    rng, gap = np.random.default_rng(seed), items.difference - items.difference.mean() - loss
    for _ in range(draws):
        chosen = gap[rng.integers(0, gap.size, gap.size)]
        # Only differences count; they are laid around a half so that both columns are probabilities.
        yield paired(0.5 - chosen / 2, 0.5 + chosen / 2, max(0.01, float(np.abs(chosen).max())))


def shares(items: PairedItems, loss: float, draws: int, seed: int = 1) -> tuple[float, float]:
    """How often a true loss is shown, and how often it comes out EQUIVALENT."""
    tests = [judge_difference(one, MARGIN) for one in drawn(items, loss, draws, seed)]
    equivalent = sum(test.decision is Verdict.EQUIVALENT for test in tests)
    return sum(test.ci90.high < 0 for test in tests) / draws, equivalent / draws


def half(side: SuiteSide, keys: list[tuple[str, int]]) -> SuiteSide:
    """The options of these items only."""
    return replace(side, options={key: side.options[key] for key in keys if key in side.options})


def main() -> None:
    """Both tables."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--draws", type=int, default=4000)
    draws = told.parse_args().draws
    sides = stored()
    native = sides["native"]
    print(
        "| stack | items | SE right or wrong, points | SE p(gold) | variance ratio | shown loss, right or wrong |",
        end="",
    )
    print(" shown loss, p(gold) | shown, drawn anew, % | EQUIVALENT at the margin, % |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in STACKS:
        items, plain = p_gold(native, sides[name]), 100 * right_or_wrong(native, sides[name])
        own = 100 * math.sqrt(clustered_mean(items.difference, items.traits).variance)
        loss = SHOWN * judge_difference(items, MARGIN).se
        shown, passed = shares(items, loss, draws)[0], shares(items, MARGIN, draws)[1]
        cells = [f"{plain:.3f}", f"{own:.3f}", f"{(plain / own) ** 2:.0f}", f"{SHOWN * plain:.2f}", f"{100 * loss:.3f}"]
        print(f"| {name} | {items.n_items} | {' | '.join(cells)} | {100 * shown:.1f} | {100 * passed:.1f} |")
    print("\n| stack | divergence, even items | odd | changes %, even | odd | alerts, even | odd |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in STACKS:
        keys = [sorted(native.options)[start::2] for start in (0, 1)]
        pairs = [(half(native, own), half(sides[name], own)) for own in keys]
        rows = [{row.name: row for row in option_rows(*pair)} for pair in pairs]
        nats = [f"{row['option_divergence'].candidate:.5f}" for row in rows]
        changes = [f"{100 * (row['option_changes'].candidate or 0):.1f}" for row in rows]
        alerts = [str(sum(one.alert is not None for one in row.values())) for row in rows]
        print(f"| {name} | {' | '.join([*nats, *changes, *alerts])} |")


if __name__ == "__main__":
    main()
