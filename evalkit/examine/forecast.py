"""What a comparison of two configurations would ask, suite by suite, and what that costs: without their data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from evalkit.compare.columns import Side
from evalkit.compare.validity import Policy, check_names
from evalkit.config import EndpointConfig
from evalkit.errors import RunError, UsageError
from evalkit.examine import comparability
from evalkit.examine.planning import Judging, PlannedGate, SuiteAsk, plan_gate, power_of_all
from evalkit.model import fraction
from evalkit.options import PlanOptions
from evalkit.render.words import say
from evalkit.run import Observer
from evalkit.run.plan import Chosen, chosen_suites, identity_of, margin_pt_of, sampling_of
from evalkit.run.read import is_run, read_run
from evalkit.run.stored import ITEM_BYTES, SCORED_REQUEST_BYTES, answer_bytes
from evalkit.stats.methods import Goal
from evalkit.tasks.items import by_logprobs


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a comparison will cost and which of its gates can decide; `problems` say what cannot be compared or known.

    `hours` of a gate are those of the slower side at `options.tokens_per_second`, both being asked at once; `bytes_of`
    says by suite what is still to be asked will take on disk, where the length of answers is known.
    """

    gates: tuple[PlannedGate, ...]
    problems: tuple[str, ...]
    options: PlanOptions
    bytes_of: Mapping[str, float] = field(default_factory=dict)

    @property
    def can_decide(self) -> bool:
        """True where every gate can decide and nothing is left open."""
        return bool(self.gates) and not self.problems and all(gate.can_decide for gate in self.gates)

    @property
    def power_of_all(self) -> float:
        """The chance that every suite comes out EQUIVALENT, were the stacks equal and the suites independent."""
        return power_of_all(self.gates)

    @property
    def hours(self) -> float:
        """Time of the slower side for all suites whose answers' length is known."""
        return sum(gate.hours(self.options.tokens_per_second) or 0.0 for gate in self.gates)

    @property
    def disk_bytes(self) -> float:
        """What is still to be asked of both sides will take on disk, for all suites whose answers' length is known."""
        return sum(self.bytes_of.values())

    def document(self) -> dict[str, Any]:
        """What `evalkit plan --json` prints."""
        speed = self.options.tokens_per_second
        return {
            "alpha": self.options.alpha,
            "power": self.options.power,
            "tokens_per_second": speed,
            "suites": [
                {**asdict(gate), "hours": gate.hours(speed), "disk_bytes": self.bytes_of.get(gate.suite)}
                for gate in self.gates
            ],
            "problems": list(self.problems),
            "power_of_all": self.power_of_all,
            "disk_bytes": self.disk_bytes,
        }


def percent(share: float) -> int:
    """Whole percent, rounded down: a power that is short of 80 % never reads as 80 %."""
    return math.floor(share * 100 + 1e-9)


def forecast(configs: tuple[EndpointConfig, EndpointConfig], options: PlanOptions, observer: Observer) -> Forecast:
    """Plans a comparison of a reference and a candidate; asks neither.

    Raises:
        UsageError: for a suite that does not load, a number of items for a suite that is not planned, or two files that
            make the comparison INVALID, unless the options say `anyway`.
    """
    asks, problems = _asks(configs, options, observer)
    for name in options.items.keys() - {ask.suite for ask in asks}:
        planned = ", ".join(sorted(ask.suite for ask in asks))
        raise UsageError(f"--items: {name!r}: no such suite is planned; planned are {planned}")
    gates = []
    for ask in asks:
        gate = plan_gate(ask, Goal(ask.margin, options.alpha, options.power), options.most_repeats)
        if gate is None:
            unknown = "how many items it has is not known without its data"
            problems.append(f"{ask.suite}: {unknown}: say --items {ask.suite}=N")
        else:
            gates.append(gate)
    return Forecast(tuple(gates), tuple(problems), options, _bytes_of(gates, configs))


OPTIONS_AN_ITEM: Final = 4
"""So many requests an item takes by log-likelihood, in the suites that are known."""


def _bytes_of(gates: Sequence[PlannedGate], configs: tuple[EndpointConfig, EndpointConfig]) -> dict[str, float]:
    """What is still to be asked will take on disk, by suite; without those whose answers' length is not known."""
    scored = {one.suite.name for one in chosen_suites(configs[0]) if by_logprobs(one.suite)}
    found = {}
    for gate in gates:
        sides = zip(gate.samples, gate.tokens or (None, None), configs, strict=True)
        if gate.suite in scored:
            answers = sum(gate.samples) * OPTIONS_AN_ITEM * SCORED_REQUEST_BYTES
        elif gate.tokens is None:
            continue
        else:
            answers = sum(
                samples * answer_bytes(tokens / samples, logprobs=config.logprobs)
                for samples, tokens, config in sides
                if samples and tokens is not None
            )
        found[gate.suite] = answers + gate.items * ITEM_BYTES
    return found


def _asks(
    configs: tuple[EndpointConfig, EndpointConfig], options: PlanOptions, observer: Observer
) -> tuple[list[SuiteAsk], list[str]]:
    """What is asked of both sides, suite by suite, and a sentence for all that makes a suite INVALID."""
    sides = _judged_suites(configs[0], observer), _judged_suites(configs[1], observer)
    stored = _stored(configs[0], observer)
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    check_names(options.margins_pt, names)
    problems = _unlike(configs, options)
    asks = []
    for name in (name for name in names if name in sides[0] and name in sides[1]):
        chosen = options.margins_pt.get(name, options.margin_pt)
        margin = fraction(margin_pt_of(sides[0][name]) if chosen is None else chosen)
        asks.append(_ask((sides[0][name], sides[1][name]), configs, margin, options, stored))
    return asks, problems


def _unlike(configs: tuple[EndpointConfig, EndpointConfig], options: PlanOptions) -> list[str]:
    """A sentence for all that makes a suite INVALID whatever is answered; a mistake unless it is planned `anyway`."""
    margins = {name: fraction(points) for name, points in options.margins_pt.items()}
    policy = Policy(margins=margins, default_margin=None if options.margin_pt is None else fraction(options.margin_pt))
    one, two = map(comparability.configured, configs)
    if not options.anyway:
        comparability.refuse_unlike(one, two, policy)
    return [f"{suite}: {say(reason)}: INVALID" for suite, reason in comparability.unlike(one, two, policy)]


def _judged_suites(config: EndpointConfig, observer: Observer) -> dict[str, Chosen]:
    """The suites of a side; says which a run leaves out, because they need a judge and none is named."""
    suites = {one.suite.name: one for one in chosen_suites(config)}
    for name in [name for name, one in suites.items() if "judge" in one.suite.needs and config.judge is None]:
        label = suites.pop(name).suite.label
        observer.notice(f"{config.name}: {label} is not run: it needs a judge; name one under `judge:`")
    return suites


def _judged(chosen: Chosen, configs: tuple[EndpointConfig, EndpointConfig]) -> tuple[Judging, Judging] | None:
    """How both sides' answers are graded; one judge grades only answers of the first side a second time."""
    judges = configs[0].judge, configs[1].judge
    if "judge" not in chosen.suite.needs or judges[0] is None or judges[1] is None:
        return None
    one, two = ((identity_of(judge).digest, judge.base_url, judge.repeats) for judge in judges if judge is not None)
    again = 0 if one == two else judges[1].noise_items
    return Judging(judges[0].repeats, judges[0].noise_items), Judging(judges[1].repeats, again)


def _ask(
    pair: tuple[Chosen, Chosen],
    configs: tuple[EndpointConfig, EndpointConfig],
    margin: float,
    options: PlanOptions,
    stored: Side | None,
) -> SuiteAsk:
    name = pair[0].suite.name
    sampling = sampling_of(configs[0], pair[0])
    known = None if stored is None else stored.suites.get(name)
    repeats = tuple(_repeats(one, config) for one, config in zip(pair, configs, strict=True))
    items = options.items.get(name, _items(pair))
    bank = known is not None and items == len(known.samples.items) and known.facts.repeats >= repeats[0]
    return SuiteAsk(
        suite=name,
        label=pair[0].choice.label or pair[0].suite.label,
        items=items if items is not None or known is None else len(known.samples.items),
        repeats=(repeats[0], repeats[1]),
        margin=margin,
        greedy=sampling.temperature == 0,
        limit=sampling.max_tokens or pair[0].suite.max_tokens,
        mean_tokens=options.tokens_per_answer,
        stored=known,
        bank=bank,
        judged=_judged(pair[0], configs),
    )


def _repeats(chosen: Chosen, config: EndpointConfig) -> int:
    if chosen.choice.repeats is not None:
        return int(chosen.choice.repeats)
    return int(chosen.suite.repeats) if sampling_of(config, chosen).temperature > 0 else 1


def _items(pair: tuple[Chosen, Chosen]) -> int | None:
    """The items that both sides are asked: the suite's rows, or the smaller limit."""
    known = [pair[0].suite.rows, *(one.choice.limit for one in pair)]
    return min((number for number in known if number is not None), default=None)


def _stored(config: EndpointConfig, observer: Observer) -> Side | None:
    """What an earlier run of the reference holds; None where there is none."""
    folder = config.runs / config.name
    if not is_run(folder):
        return None
    try:
        return read_run(folder)
    except RunError as error:
        observer.notice(f"{error}; planning without it")
        return None
