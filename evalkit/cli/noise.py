"""The stored noise floors of a reference: what `evalkit aa` left beside its run, where that is still about this run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli import stored

if TYPE_CHECKING:
    from evalkit.compare.columns import Side
    from evalkit.compare.policy import NoiseFloor
    from evalkit.model import Comparison, SuiteResult


def second_name(name: str) -> str:
    """The name of the second run of an endpoint, made by `evalkit aa`."""
    return f"{name}-aa"


def home_of(runs: Path, name: str) -> Path:
    """Where the comparison of an endpoint with itself is stored."""
    return runs / f"{name}--{second_name(name)}"


def noise_floors(reference: Side) -> dict[str, NoiseFloor]:
    """The floors by suite of the stored comparison of the reference with itself; empty where there is none.

    A suite counts where data, prompts and model are those of the reference.

    Raises:
        UsageError: where there is one that cannot be read.
    """
    run = Path(reference.identity.path)
    file = home_of(run.parent, reference.identity.name) / stored.NAME
    if not reference.identity.name or not file.is_file():
        return {}
    made = stored.read(file)
    floors = {suite.suite: floor_of(suite, made) for suite in made.suites}
    return {name: floor for name, floor in floors.items() if _is_about(name, made, reference)}


def floor_of(suite: SuiteResult, made: Comparison) -> NoiseFloor:
    """What a suite of a comparison of an endpoint with itself says."""
    from evalkit.compare.policy import NoiseFloor

    shares = [row.candidate for row in suite.behaviour if row.name == "identical texts"]
    source = f"`evalkit aa` of {made.created[:10]}, {suite.n_items} items asked {suite.k_candidate:g} times again"
    return NoiseFloor(suite.ci90, suite.verdict, source, shares[0] if shares else None)


def _is_about(name: str, made: Comparison, reference: Side) -> bool:
    found = next(suite for suite in made.suites if suite.suite == name)
    side = reference.suites.get(name)
    if side is None or made.reference.model != reference.identity.model:
        return False
    digests = side.facts.digests
    return (found.data_digest, found.protocol_digest) == (digests.get("data", ""), digests.get("prompts", ""))
