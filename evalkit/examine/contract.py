"""Does an endpoint do what its API says, and do two do the same? Some 390 short requests a side.

A promise is a row like a suite: its cases are items that are kept or broken. Two endpoints are paired case by case: the
candidate is DEGRADED where it breaks what the reference keeps, by the rule that `reports/contract.toml` gives the
promise; what both break alike is no difference. One endpoint alone is held to what the protocol itself demands.
EQUIVALENT claims these cases only: of a fault that strikes one request in m, n kept cases miss (1 - 1 / m) ** n.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from evalkit.config import EndpointConfig
from evalkit.config.schema import differences
from evalkit.endpoint.settings import ClientSettings
from evalkit.examine.asker import Asker, Trial
from evalkit.examine.checks import Finding, finding
from evalkit.examine.doctor import subject_of
from evalkit.examine.draws import sampler
from evalkit.examine.promises import FIRM, TEXTS, formats, limits, marks, pictures, streams, thinking, tools
from evalkit.model import (
    CONTRACT,
    Comparison,
    Failure,
    Flips,
    Interval,
    Reason,
    RunIdentity,
    SideSummary,
    Status,
    SuiteResult,
    Value,
    Verdict,
)
from evalkit.publish import archive
from evalkit.render.words import say
from evalkit.resources import __version__, toml_file
from evalkit.serve.launch import opened
from evalkit.stats.tails import binomial_upper, normal_quantile, tango_limits
from evalkit.waits import announce

ALPHA: Final = 0.01
"""The chance, over all promises that a model may break, that a faithful candidate is DEGRADED by any (Bonferroni)."""
SECONDS: Final = 100, 60  # after the first so long, a slow server is asked for marks only, and for these so long


def catalogue() -> Mapping[str, Mapping[str, str]]:
    """The promises, in their order: how strictly each is held, and its name."""
    return toml_file("reports/contract.toml")


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one endpoint kept and broke, and what asking took; `answered` is False where nothing was answered.

    `left` counts requests that were not sent, as the server is too slow.
    """

    config: EndpointConfig
    started: str
    trials: tuple[Trial, ...]
    requests: int
    tokens: int
    seconds: float
    answered: bool = True
    left: int = 0

    def of(self, promise: str) -> dict[str, Trial]:
        """The trials of a promise by case."""
        return {one.case: one for one in self.trials if one.promise == promise}

    @property
    def identity(self) -> RunIdentity:
        """The endpoint as a side of a comparison."""
        cost = {"requests": f"{self.requests:,}", "tokens": f"{self.tokens:,}", "seconds": f"{self.seconds:.0f}"}
        config = self.config
        told = {} if config.build is None else {"build": config.build}
        return RunIdentity(config.name, f"{CONTRACT}{self.started}", config.model, "", self.started, told, cost, {})


async def signed(configs: Sequence[EndpointConfig], seed: int = 0) -> list[Sheet]:
    """The sheets of one or two endpoints, asked at the same time unless one of them is started in turn."""
    if any(config.launch is not None and config.launch.sequential for config in configs):
        return [await _sheet(config, seed) for config in configs]
    return list(await asyncio.gather(*(_sheet(config, seed) for config in configs)))


async def _sheet(config: EndpointConfig, seed: int) -> Sheet:
    async with opened(config, config.runs / config.name / "server.log") as settings:
        return await sheet_of(config, settings, seed)


async def sheet_of(config: EndpointConfig, settings: ClientSettings, seed: int = 0) -> Sheet:
    """The sheet of an endpoint that is up; `seed` chooses its marks."""
    started, clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), time.monotonic()
    announce(f"asking {config.name} some 390 short requests: tools, formats, streams, the sampler, marks")
    asker = Asker(subject_of(config, settings), at_once=4)
    asker.until = clock + SECONDS[0]
    try:
        greeting = await asker.ask(TEXTS[1], max_tokens=4)
        if isinstance(greeting, Failure):
            asker.note("load.answered", "greeting", None, greeting.detail)
        ways = await thinking(asker) if asker.answered else []
        for group in (tools, streams, limits, partial(formats, thinking=ways), sampler, pictures):
            if asker.answered:  # else it refuses everything, and would refuse all the rest in the same words
                await group(asker)
        if asker.answered:
            asker.until = time.monotonic() + SECONDS[1]
            await marks(asker, seed)
    finally:
        await asker.close()
    seconds = time.monotonic() - clock
    return Sheet(
        config, started, tuple(asker.trials), asker.requests, asker.tokens, seconds, asker.answered, asker.left
    )


def held(reference: Sheet, candidate: Sheet, created: str) -> Comparison:
    """Two sheets as a comparison whose suites are the promises; `created` is the moment as ISO 8601 text."""
    rows, untold = list[SuiteResult](), list[str]()
    silent = next((one for one in (reference, candidate) if not one.answered), None)
    for name, told in catalogue().items() if silent is None else ():
        row = _row(name, told, reference.of(name), candidate.of(name))
        if row is None:
            untold.append(told["name"])
        else:
            rows.append(row)
    left = [
        Reason("contract.left", {"name": one.config.name, "n": one.left, "requests": one.requests})
        for one in (reference, candidate)
        if one.left
    ]
    verdict = Verdict.over(row.verdict for row in rows)
    worst = tuple(row.label for row in rows if row.verdict is verdict)
    reason = Reason("contract.some", {"labels": worst})
    if verdict is Verdict.EQUIVALENT:
        reason = Reason("contract.all", {"all": len(rows)})
    elif silent is not None:
        reason = Reason("contract.silent", {"name": silent.config.name, "seen": silent.trials[0].seen})
    elif not rows:
        reason = Reason("contract.nothing")
    return Comparison(
        reference=reference.identity,
        candidate=candidate.identity,
        suites=tuple(rows),
        verdict=verdict,
        exit_code=verdict.exit_code,
        reasons=(reason,),
        macro=None,
        differences=differences(reference.config, candidate.config),
        alpha=ALPHA,
        created=created,
        evalkit_version=__version__,
        notes=(*left, *((Reason("contract.untold", {"labels": tuple(untold)}),) if untold else ())),
    )


@dataclass(frozen=True, slots=True)
class Alone:
    """What one endpoint made of a promise: cases that could be told, broken ones, what the first of these was."""

    promise: str
    name: str
    cases: int
    broken: int
    first: str
    problem: bool


def alone(sheet: Sheet) -> tuple[Alone, ...]:
    """What one endpoint made of each promise that it can be held to without another beside it."""
    found = []
    for promise, told in catalogue().items():
        trials = [one for one in sheet.of(promise).values() if one.kept is not None]
        broken = [one for one in trials if one.kept is False]
        if trials and told["held"] in {"certain", "firm"}:
            least = FIRM if told["held"] == "firm" and len(trials) >= FIRM else 1
            first = f"{broken[0].case}: {broken[0].seen}" if broken else ""
            problem = len(broken) >= least or any(one.again for one in broken)
            found.append(Alone(promise, told["name"], len(trials), len(broken), first, problem))
    return tuple(found)


def _row(
    name: str, told: Mapping[str, str], reference: Mapping[str, Trial], candidate: Mapping[str, Trial]
) -> SuiteResult | None:
    """A promise as a row, of the cases that are known of both, or refused by the candidate; None without any."""
    found = [(one, candidate[case]) for case, one in reference.items() if one.kept is not None and case in candidate]
    pairs = [(one, two) for one, two in found if two.kept is not None or two.refused]
    if not pairs:
        return None
    alike = told["held"] == "alike"
    lost = [
        (one, two)
        for one, two in pairs
        if one.kept and (two.refused or (one.said != two.said if alike else not two.kept))
    ]
    gained = sum(not one.kept and bool(two.kept) for one, two in pairs)
    both = sum(not one.kept and not two.kept for one, two in pairs)
    sure = len(lost) >= FIRM or any(two.again for _one, two in lost)
    verdict = _judged(told["held"], len(lost), gained, sure=sure)
    if lost:
        one, two = lost[0]
        seen = f"{two.said}, on the reference {one.said}" if alike and not two.refused else two.seen
        values: dict[str, Value] = {"n": len(pairs), "lost": len(lost), "case": two.case, "seen": seen}
        broken = verdict is Verdict.DEGRADED
        lead = Reason(f"lead.{told['lead']}")
        reason = Reason("contract.broken", {**values, "lead": lead}) if broken else Reason("contract.few", values)
    else:
        reason = Reason("contract.kept", {"n": len(pairs), **({"both": both} if both else {})})
    return _suite(name, told["name"], verdict, reason, (len(pairs), len(lost), gained, both))


def _judged(how: str, lost: int, gained: int, *, sure: bool) -> Verdict:
    """The verdict, of cases that only the candidate broke, and that only the reference did."""
    if not lost:
        return Verdict.EQUIVALENT
    if how == "model":
        level = ALPHA / sum(one["held"] == "model" for one in catalogue().values())
        shown = binomial_upper(lost, lost + gained, 0.5) <= level
    else:
        shown = gained == 0 and (sure or how != "firm")
    return Verdict.DEGRADED if shown else Verdict.INCONCLUSIVE


def _suite(name: str, label: str, verdict: Verdict, reason: Reason, counts: tuple[int, int, int, int]) -> SuiteResult:
    """A promise as a suite; `counts` are its cases, and those lost, gained and broken on both sides."""
    n, lost, gained, both = counts
    ends = {}
    for level in (0.90, 0.95):
        low, high = tango_limits(lost, gained, n, normal_quantile(0.5 + level / 2))
        ends[level] = Interval(float(low), float(high), level)

    def side(kept: int) -> SideSummary:
        return SideSummary(kept / n, None, n, n, 1.0, {Status.SCORED.value: n}, {})

    return SuiteResult(
        suite=name,
        label=label,
        verdict=verdict,
        reasons=(reason,),
        n_items=n,
        k_reference=1.0,
        k_candidate=1.0,
        reference=side(n - both - gained),
        candidate=side(n - both - lost),
        difference=(gained - lost) / n,
        ci90=ends[0.90],
        ci95=ends[0.95],
        margin=0.0,
        p_tost=None,
        p_difference=None,
        method="tango",
        coverage=1.0,
        flips=Flips(lost, gained, (lost + gained) / n),
    )


def found_before(folder: Path) -> Iterator[Finding]:
    """What the last contract that is stored in a folder, if there is one, found broken or left open."""
    if (folder / archive.NAME).exists():
        made = archive.read(folder)
        for row in made.suites:
            if row.verdict is not Verdict.EQUIVALENT:
                code = "contract.broken" if row.verdict is Verdict.DEGRADED else "contract.open"
                yield finding(code, name=row.label, said=say(row.reasons[0]), created=made.created)
