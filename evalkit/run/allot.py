"""How often a side asks each item, by how answers vary in a stored run of the reference (`bank:`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.compare.pair import Floats, item_shares
from evalkit.config import EndpointConfig
from evalkit.errors import ConfigError
from evalkit.files import digest
from evalkit.run import journal, manifest
from evalkit.run.read import is_run, stored_side
from evalkit.stats.allocation import cheapest_repeats, steadied_variance
from evalkit.stats.paired import fold


def bank_of(config: EndpointConfig) -> Mapping[str, SuiteSide]:
    """The suites of the stored run that a side's `bank:` names; none where it names none.

    Raises `ConfigError`: there is no such run, it is the side's own, or it asked every item once.
    """
    if config.bank is None:
        return {}
    place, own = _place(config), config.runs / config.name
    begun = [{one.run_id for one in manifest.known(folder)} for folder in (own, config.bank)]
    if config.bank.resolve() == own.resolve() or begun[0] & begun[1]:
        told = "is this side's own run, or a copy of it"
        raise ConfigError(f"{place}: {told}: how often it is asked must not follow from its answers")
    if not is_run(config.bank):
        raise ConfigError(f"{place}: is no run folder: ask the reference first (`evalkit run`), or remove the key")
    suites = stored_side(config.bank).suites
    if not any(np.any(suite.samples.repeat > 0) for suite in suites.values()):
        raise ConfigError(f"{place}: asked every item once: without repeats nothing says how its answers vary")
    return suites


def bank_digest(config: EndpointConfig, served: Mapping[str, Any]) -> str:
    """SHA-256 over how far the journals of a side's bank reach; "" where it has none. `served` is what answers.

    Raises:
        ConfigError: it was another when the side's repeats were allotted, whose answers may have been looked at since.
    """
    found = "" if config.bank is None else digest(journal.extents(config.bank))
    before = manifest.known(config.runs / config.name) if found else []
    if any(one.bank not in {"", found} and one.served == served for one in before):
        told = "has other answers than when it allotted this side's repeats: give back the bank as it was"
        raise ConfigError(f"{_place(config)}: {told}, or give this side another `name:`")
    return found


def _place(config: EndpointConfig) -> str:
    return f"{config.where('bank') or config.name}: bank: {config.bank}"


def allotted(bank: Mapping[str, SuiteSide], repeats: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Repeats by suite and item that leave the mean over suites as precise as `repeats` of each item, at less cost.

    An answer costs the tokens that the bank's have on the mean. A suite that the bank did not repeat has no entry.
    """
    known = {name: _Spread.of(bank[name]) for name in repeats if np.any(bank[name].samples.repeat > 0)}
    if not known:
        return {}
    counted = all(one.tokens > 0 for one in known.values())
    found = cheapest_repeats(
        within=np.concatenate([one.within for one in known.values()]),
        share=np.concatenate([one.share for one in known.values()]),
        cost=np.concatenate([np.full(len(one.items), one.tokens if counted else 1.0) for one in known.values()]),
        repeats=np.concatenate([np.full(len(one.items), repeats[name]) for name, one in known.items()]),
    )
    ends = np.cumsum([len(one.items) for one in known.values()])[:-1]
    return {
        name: dict(zip(one.items, many.tolist(), strict=True))
        for (name, one), many in zip(known.items(), np.split(found, ends), strict=True)
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """A stored suite's answered items, with the variance of a repeat and the part of the headline of each.

    `tokens` is the mean length of an answer, NaN where unknown.
    """

    items: tuple[str, ...]
    within: Floats
    share: Floats
    tokens: float

    @classmethod
    def of(cls, side: SuiteSide) -> Self:
        samples, table = side.samples, side.samples.items
        k, _means, variance = fold(samples.item, samples.value, len(table))
        known = np.flatnonzero(k)
        share, _codes = item_shares(
            [table.stratum[i] for i in known.tolist()], table.weight[known], side.facts.headline
        )
        lengths = samples.completion_tokens[~np.isnan(samples.completion_tokens)]
        return cls(
            items=tuple(table.name[item] for item in known.tolist()),
            within=steadied_variance(k[known], variance[known]),
            share=share,
            tokens=float(lengths.mean()) if lengths.size else np.nan,
        )
