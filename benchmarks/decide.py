"""How often a pack's gate answers, and how often wrongly: `python benchmarks/decide.py [CELL...] --comparisons N`.

Seeded. Comparisons with a known truth are simulated as `evalkit plan` does it, with the weights, clusters and strata of
the suites; the first of each cell is also written as score tables and held against what `evalkit.judge` says of them.
Cells in which answers are also cut or refused go through the whole comparison each time: the tables are read once and
their scores drawn anew. Item chances come from a Beta distribution with mean 0.6; a loss
takes from each item in proportion to what it has, and every comparison asks the same items.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from simulation import beta_means

import evalkit
from evalkit.compare.columns import Labels, Side
from evalkit.compare.judge import compare
from evalkit.config.suite import Pack
from evalkit.examine.looking import Trial, outcome
from evalkit.examine.planning import SuiteAsk, plan_suite
from evalkit.examine.priors import Spread, items_of
from evalkit.examine.simulating import Drawn as Answers
from evalkit.examine.simulating import Gate, Shape, World, draws, judge
from evalkit.judging import policy
from evalkit.model import Comparison, Status, Verdict
from evalkit.options import JudgeOptions
from evalkit.stats.paired import FloatArray
from evalkit.tasks.items import by_logprobs
from evalkit.tasks.suites import find_pack, find_suite

MEAN: Final = 0.6


@dataclass(frozen=True, slots=True)
class Cell:
    """A truth: what every suite, or one of them, loses in points, how alike repeats are, and what fails for good.

    `bank` are the repeats of a stored reference, without which both sides are asked as the pack says, `rounds` the most
    rounds (None: the pack's), `failed` the share of requests that are never answered. With `unlike` answers are also
    cut, empty, refused, unreadable or in the reasoning channel, on both sides.
    """

    pack: str
    icc: float = 0.6
    all_pt: float = 0.0
    one_pt: Mapping[str, float] = field(default_factory=dict)
    bank: int | None = None
    rounds: int | None = 1
    failed: float = 0.0
    unlike: bool = False


STATUSES: Final = {
    Status.TRUNCATED: 0.1,
    Status.REASONING_ONLY: 0.02,
    Status.NO_ANSWER: 0.03,
    Status.REFUSED: 0.01,
    Status.EMPTY: 0.01,
}
"""Mean rates over items where answers are `unlike`; items differ by a Beta distribution of ICC 0.3."""


TEXT, SEEN, OMNI, NIGHT = "flagrelease-text", "flagrelease-multimodal", "flagrelease-omni", "nightly"

CELLS: Final = {
    "text, identical": Cell(TEXT),
    "text, identical, ICC .75": Cell(TEXT, icc=0.75),
    "text, all 1 worse": Cell(TEXT, all_pt=-1),
    "text, all at -margin": Cell(TEXT, all_pt=-1.5),
    "text, all 2 worse": Cell(TEXT, all_pt=-2),
    "text, all 3 worse": Cell(TEXT, all_pt=-3),
    "text, all 5 worse": Cell(TEXT, all_pt=-5),
    "text, AIME at -guard": Cell(TEXT, one_pt={"aime24": -10}),
    "text, GPQA at -guard": Cell(TEXT, one_pt={"gpqa_pooled": -4}),
    "text, LiveBench at -guard": Cell(TEXT, one_pt={"livebench": -4}),
    "text, MuSR at -guard": Cell(TEXT, one_pt={"musr": -4}),
    "text, TheoremQA at -guard": Cell(TEXT, one_pt={"theoremqa": -4}),
    "text, in rounds, identical": Cell(TEXT, rounds=None),
    "text, in rounds, all at -margin": Cell(TEXT, all_pt=-1.5, rounds=None),
    "text, in rounds, GPQA at -guard": Cell(TEXT, one_pt={"gpqa_pooled": -4}, rounds=None),
    "text, in rounds, LiveBench at -guard": Cell(TEXT, one_pt={"livebench": -4}, rounds=None),
    "text, in rounds, all 2 worse": Cell(TEXT, all_pt=-2, rounds=None),
    "text, in rounds, all 5 worse": Cell(TEXT, all_pt=-5, rounds=None),
    "multimodal, in rounds, identical": Cell(SEEN, rounds=None),
    "multimodal, in rounds, all at -margin": Cell(SEEN, all_pt=-1.5, rounds=None),
    "multimodal, in rounds, BLINK at -guard": Cell(SEEN, one_pt={"blink": -4}, rounds=None),
    "omni, in rounds, identical": Cell(OMNI, rounds=None),
    "omni, in rounds, all at -margin": Cell(OMNI, all_pt=-1.5, rounds=None),
    "multimodal, identical": Cell(SEEN),
    "multimodal, all at -margin": Cell(SEEN, all_pt=-1.5),
    "multimodal, all 2 worse": Cell(SEEN, all_pt=-2),
    "multimodal, BLINK at -guard": Cell(SEEN, one_pt={"blink": -4}),
    "omni, identical": Cell(OMNI),
    "omni, all at -margin": Cell(OMNI, all_pt=-1.5),
    "omni, all 2 worse": Cell(OMNI, all_pt=-2),
    "nightly, bank of 16, identical": Cell(NIGHT, bank=16),
    "nightly, bank of 16, all at -margin": Cell(NIGHT, all_pt=-2, bank=16),
    "nightly, bank of 16, all 3 worse": Cell(NIGHT, all_pt=-3, bank=16),
    "nightly, bank of 16, MuSR at -guard": Cell(NIGHT, one_pt={"musr": -5}, bank=16),
    "nightly, both fresh, identical": Cell(NIGHT),
    "nightly-logprob, bank of 16, identical": Cell(f"{NIGHT}-logprob", bank=16),
    "nightly-logprob, bank of 16, all at -margin": Cell(f"{NIGHT}-logprob", all_pt=-2, bank=16),
    "nightly-logprob, bank of 16, all 3 worse": Cell(f"{NIGHT}-logprob", all_pt=-3, bank=16),
    "text, identical, .1 % a side fail": Cell(TEXT, failed=0.001),
    "text, identical, .5 % fail, asked again": Cell(TEXT, failed=0.005**2),  # the last pass fails as often
    "text, identical, with rates": Cell(TEXT, unlike=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"of {', '.join(CELLS)} (default: all)")
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons for each cell")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    heads = (*(verdict.value for verdict in Verdict), ALERT)
    print(f"| cell | tokens of the candidate | comparisons | {' | '.join(heads)} |")
    print(f"| :-- | --: | --: |{' --: |' * len(heads)}")
    for name in options.cells or CELLS:
        found = counted(CELLS[name], options.comparisons, options.seed)
        shares = (f"{100 * found[head] / options.comparisons:.1f}" if head in found else "" for head in heads)
        print(
            f"| {name} | {tokens(CELLS[name]) / 1e6:.1f} M | {options.comparisons:,} | {' | '.join(shares)} |",
            flush=True,
        )


ALERT: Final = "an alert beside accuracy"


def counted(cell: Cell, comparisons: int, seed: int) -> Counter[str]:
    """How many of the cell's comparisons end with each verdict, and with an alert where answers are simulated too."""
    found: Counter[str] = Counter({verdict.value: 0 for verdict in Verdict})
    if not cell.unlike:
        held_against_tables(cell, seed)
        gate = gate_of(cell)
        bank = gate.suites if cell.bank else ()
        rounds = cell.rounds or find_pack(cell.pack).rounds
        shares = outcome(gate, Trial(rounds, bank, comparisons, seed)).verdicts
        found.update({verdict.value: round(share * comparisons) for verdict, share in shares.items()})
        return found
    found[ALERT] = 0
    for one in simulated(cell, comparisons, seed):
        found[one.verdict.value] += 1
        found[ALERT] += any(row.alert for suite in one.suites for row in suite.behaviour)
    return found


# ---------------------------------------------------------------- as `evalkit plan` simulates it


def asked(cell: Cell) -> Iterator[SuiteAsk]:
    """The suites of the cell's pack, as both sides are asked."""
    for one in find_pack(cell.pack).suites:
        suite = find_suite(one.name)
        repeats, items = one.repeats or suite.repeats, one.limit or suite.rows or items_of(one.name)
        margin = (one.margin_pt or suite.margin_pt) / 100
        greedy, bank = by_logprobs(suite), cell.bank is not None
        sides = (repeats if greedy else cell.bank or repeats, repeats)
        yield SuiteAsk(one.name, suite.label, items, sides, margin, greedy, suite.right_or_wrong, bank=bank)


def tokens(cell: Cell) -> float:
    """What the candidate generates, by the lengths of suites/priors.toml."""
    made = [plan_suite(ask) for ask in asked(cell)]
    return sum(one.tokens[1] for one in made if one is not None and one.tokens is not None)


def gate_of(cell: Cell) -> Gate:
    """The pack's gate at the cell's truth."""
    pack, spread, worlds = find_pack(cell.pack), Spread(MEAN, cell.icc, ""), {}
    for ask in asked(cell):
        made = plan_suite(ask)
        assert made is not None
        p = spread.chances(made.world.shape.items.size)
        drawn = made.world if ask.greedy else replace(made.world, reference=p, candidate=p)
        worlds[ask.suite] = replace(drawn, failed=cell.failed)
    assert pack.overall is not None
    losses = {name: (cell.all_pt + cell.one_pt.get(name, 0.0)) / 100 for name in worlds}
    return Gate(worlds, pack.overall.margin_pt / 100).shifted(losses)


def held_against_tables(cell: Cell, seed: int) -> None:
    """Raises `AssertionError` where a simulated comparison is judged otherwise than `evalkit.judge` judges its tables.

    A table has no weights, and counts strata alike: so do the simulated suites here.
    """
    gate = gate_of(cell)
    gate = replace(gate, suites={name: replace(one, shape=as_table(one.shape)) for name, one in gate.suites.items()})
    drawn = next(draws(gate, 1, seed))
    found, rng = judge(gate, drawn), np.random.default_rng(seed)
    sides = [
        pd.concat([_table(name, one, drawn[name], side, rng) for name, one in gate.suites.items()]) for side in (0, 1)
    ]
    told = evalkit.judge(sides[0], sides[1], JudgeOptions(pack=cell.pack, flips=0)).value
    assert {one.suite: one.verdict for one in told.suites} == {name: one[0] for name, one in found.suites.items()}
    assert told.macro is not None
    assert found.mean is not None
    assert (told.verdict, told.macro.verdict) == (found.overall[0], found.mean[0])


def as_table(shape: Shape) -> Shape:
    """The suite as a score table has it: without weights, strata alike."""
    parts = np.bincount(shape.stratum, weights=shape.items)[shape.stratum]
    return replace(shape, share=shape.items / parts / (shape.stratum.max() + 1))


def _table(name: str, world: World, drawn: Answers, side: int, rng: np.random.Generator) -> pd.DataFrame:
    """One side's answers of one comparison: which of a cluster's are right is all one."""
    shape, k = world.shape, world.repeats[side]
    cluster = np.repeat(np.arange(shape.items.size), shape.items * k)
    place = np.arange(cluster.size) - np.repeat(np.cumsum(shape.items * k) - shape.items * k, shape.items * k)
    order = np.lexsort((rng.random(cluster.size), cluster))
    score = np.empty(cluster.size)
    score[order] = place < drawn.right[side][0][cluster]
    gone = np.empty(cluster.size, np.bool_)
    gone[order] = place >= drawn.answered[side][0][cluster]
    score[gone] = np.nan
    columns = {"suite": name, "item": [f"{name}-{c}-{p // k}" for c, p in zip(cluster, place, strict=True)]}
    columns |= {"repeat": place % k, "score": score, "cluster": [f"{name}-{c}" for c in cluster]}
    columns["status"] = np.where(gone, Status.FAILED.value, Status.SCORED.value)
    strata = {"stratum": shape.stratum[cluster].astype(str)} if shape.stratum.any() else {}
    return pd.DataFrame({**columns, **strata})


# ---------------------------------------------------------------- the whole comparison each time


def simulated(cell: Cell, comparisons: int, seed: int) -> Iterator[Comparison]:
    """So many comparisons of the cell's pack."""
    rng, pack = np.random.default_rng(seed), find_pack(cell.pack)
    truths = [_chances(pack, cell, candidate=side == 1) for side in range(2)]
    tables = [pd.concat([_rows(name, p) for name, p in truth.items()], ignore_index=True) for truth in truths]
    rates = _rates(truths[0], rng) if cell.unlike else None
    options = JudgeOptions(pack=cell.pack, flips=0)
    sides: tuple[Side, Side] | None = None
    for _ in range(comparisons):
        drawn = [_drawn(truth, rates, rng) for truth in truths]
        if sides is None:
            said = [t.assign(score=d.score, status=d.words()) for t, d in zip(tables, drawn, strict=True)]
            told = evalkit.judge(said[0], said[1], options)
            assert told.sides is not None
            sides = told.sides
            made = _judged(sides, truths, drawn, options)
            assert (made.verdict, made.macro) == (told.value.verdict, told.value.macro)
            yield made
        else:
            yield _judged(sides, truths, drawn, options)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came back for each row of a table; `status` counts through `WORDS`."""

    score: FloatArray
    status: NDArray[np.int32]

    def words(self) -> list[str]:
        """The statuses as a table says them."""
        return [WORDS[code] for code in self.status.tolist()]


WORDS: Final = (Status.SCORED.value, *(status.value for status in STATUSES))


def _judged(
    sides: tuple[Side, Side], truths: list[dict[str, FloatArray]], drawn: list[Drawn], options: JudgeOptions
) -> Comparison:
    """The comparison of the two sides with other answers."""
    one, two = (_with(side, truth, came) for side, truth, came in zip(sides, truths, drawn, strict=True))
    return compare(one, two, policy(options), "")


def _with(side: Side, truth: Mapping[str, FloatArray], drawn: Drawn) -> Side:
    suites, ends = {}, np.cumsum([p.size for p in truth.values()])[:-1]
    for name, score, status in zip(truth, np.split(drawn.score, ends), np.split(drawn.status, ends), strict=True):
        samples, labels = side.suites[name].samples, Labels(status, WORDS)
        samples = replace(samples, value=score, status=labels, truncated=labels.mask(Status.TRUNCATED))
        suites[name] = replace(side.suites[name], samples=samples)
    return replace(side, suites=suites)


def _chances(pack: Pack, cell: Cell, *, candidate: bool) -> dict[str, FloatArray]:
    """The chance of a right answer by suite: a row an item, a column a repeat."""
    found = {}
    for one in pack.suites:
        suite = find_suite(one.name)
        p = beta_means(MEAN, cell.icc, one.limit or suite.rows or items_of(one.name) or 0)
        loss = (cell.all_pt + cell.one_pt.get(one.name, 0.0)) / 100 if candidate else 0.0
        found[one.name] = np.repeat((p * (1 + loss / p.mean()))[:, None], one.repeats or 1, axis=1)
    return found


def _rows(name: str, p: FloatArray) -> pd.DataFrame:
    n, k = p.shape
    return pd.DataFrame(
        {
            "suite": name,
            "item": np.repeat([f"{name}-{number:05}" for number in range(n)], k),
            "repeat": np.tile(np.arange(k), n),
        }
    )


def _rates(truth: Mapping[str, FloatArray], rng: np.random.Generator) -> FloatArray:
    """By row, the chances of the statuses up to each: an item's own, the same for all its repeats and both sides."""
    spread, found = 1 / 0.3 - 1, []
    for p in truth.values():
        items = np.stack([rng.beta(rate * spread, (1 - rate) * spread, p.shape[0]) for rate in STATUSES.values()])
        found.append(np.repeat(items / np.maximum(1.0, items.sum(axis=0)), p.shape[1], axis=1))
    return np.cumsum(np.concatenate(found, axis=1), axis=0)


def _drawn(truth: Mapping[str, FloatArray], rates: FloatArray | None, rng: np.random.Generator) -> Drawn:
    p = np.concatenate([chances.ravel() for chances in truth.values()])
    score = (rng.random(p.size) < p).astype(np.float64)
    status = np.zeros(p.size, dtype=np.int32)
    if rates is not None:
        place = (rng.random(p.size) >= rates).sum(axis=0)
        status = np.where(place < len(STATUSES), place + 1, 0).astype(np.int32)
        score[status > 0] = 0.0
    return Drawn(score, status)


if __name__ == "__main__":
    main()
