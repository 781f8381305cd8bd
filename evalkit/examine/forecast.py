"""What a comparison of two configurations would ask, suite by suite, and what that costs: without their data sets."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from evalkit.compare.columns import Side, SuiteSide
from evalkit.compare.validity import Policy, check_names
from evalkit.config import EndpointConfig
from evalkit.errors import RunError, UsageError
from evalkit.examine import comparability
from evalkit.examine.designing import Goal, cheapest
from evalkit.examine.looking import Looked, Trial, outcome
from evalkit.examine.planning import Judging, PlannedSuite, SuiteAsk, plan_suite
from evalkit.examine.priors import items_of
from evalkit.examine.simulating import Gate, simulate
from evalkit.examine.stored import ITEM_BYTES, SCORED_REQUEST_BYTES, answer_bytes
from evalkit.model import Verdict, fraction
from evalkit.options import PlanOptions, ProbeOptions
from evalkit.render.jinja import own
from evalkit.render.words import say
from evalkit.run import Observer
from evalkit.run.allot import allotted, bank_of
from evalkit.run.plan import Chosen, chosen_suites, identity_of, margin_pt_of, overall_margin_pt, sampling_of
from evalkit.run.read import is_run
from evalkit.run.repair import read_run
from evalkit.tasks.items import by_logprobs
from evalkit.tasks.suites import find_pack

PROBE: Final = ProbeOptions()
LOSSES_PT: Final = (0, 1, 2, 3, 5)  # points that every suite is worse by in what is simulated


@dataclass(frozen=True, slots=True)
class Chances:
    """How often a comparison ends how, were every suite worse by `loss_pt` points.

    `verdicts` are shares by verdict, all rounds included; `suites` the shares of EQUIVALENT by suite and `mean` that of
    the overall row (None for one suite), at one look at all answers.
    """

    loss_pt: float
    verdicts: Mapping[str, float]
    suites: Mapping[str, float]
    mean: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a comparison will cost and how often its gate gives which verdict; `problems` say what cannot be known.

    `suites` are what is asked, as configured or as `options.design` found it (`designed` is False where no design
    reaches the power). `chances` begin with equal stacks. `overall_margin` is that of the mean (a fraction).
    `rounds` are the most in which it is asked, and `expected` the share of each suite's samples that equal stacks take.
    `bytes_of` says by suite what is still to be asked will take on disk.
    """

    suites: tuple[PlannedSuite, ...]
    chances: tuple[Chances, ...]
    overall_margin: float
    problems: tuple[str, ...]
    options: PlanOptions
    bytes_of: Mapping[str, float] = field(default_factory=dict)
    designed: bool = False
    rounds: int = 1
    expected: Mapping[str, float] = field(default_factory=dict)

    @property
    def power(self) -> float:
        """The chance that equal stacks pass: every suite and their mean EQUIVALENT; 0 without suites."""
        return self.chances[0].verdicts[Verdict.EQUIVALENT.value] if self.chances else 0.0

    @property
    def can_decide(self) -> bool:
        """True where equal stacks pass with the wanted chance and nothing is left open."""
        return not self.problems and self.power >= self.options.power

    @property
    def tokens(self) -> tuple[float, float]:
        """What the reference and the candidate still have to generate, as far as lengths are known, with the probe."""
        sides = [sum(one.tokens[side] for one in self.suites if one.tokens is not None) for side in (0, 1)]
        return sides[0] + self.probe_tokens, sides[1] + self.probe_tokens

    @property
    def expected_tokens(self) -> tuple[float, float]:
        """What equal stacks generate on the mean, where rounds end early; the probe is left out."""
        parts = [(one.tokens, self.expected.get(one.suite, 1.0)) for one in self.suites if one.tokens is not None]
        return sum(tokens[0] * share for tokens, share in parts), sum(tokens[1] * share for tokens, share in parts)

    @property
    def probe_tokens(self) -> float:
        """The most that the probe before the suites generates on each side."""
        return float(PROBE.tokens * (PROBE.prompts + PROBE.greedy)) if self.suites else 0.0

    @property
    def hours(self) -> float:
        """Time of the slower side."""
        return max(self.tokens) / self.options.tokens_per_second / 3600

    @property
    def gpu_hours(self) -> tuple[float, float]:
        """GPU-hours of the reference and of the candidate."""
        per_token = self.options.gpus / self.options.tokens_per_second / 3600
        return self.tokens[0] * per_token, self.tokens[1] * per_token

    @property
    def disk_bytes(self) -> float:
        """What is still to be asked of both sides will take on disk, for all suites whose answers' length is known."""
        return sum(self.bytes_of.values())

    def document(self) -> dict[str, Any]:
        """What `evalkit plan --json` prints."""
        options = self.options
        return {
            **{name: getattr(options, name) for name in ("alpha", "power", "comparisons", "seed", "failures")},
            **{name: getattr(options, name) for name in ("tokens_per_second", "gpus", "design")},
            "overall_margin": self.overall_margin if len(self.suites) > 1 else None,
            "suites": [self._suite(one) for one in self.suites],
            "chances": [asdict(one) for one in self.chances],
            "problems": list(self.problems),
            "can_decide": self.can_decide,
            "rounds": self.rounds,
            "expected_tokens": self.expected_tokens,
            **{name: getattr(self, name) for name in ("tokens", "probe_tokens", "hours", "gpu_hours", "disk_bytes")},
        }

    def _suite(self, one: PlannedSuite) -> dict[str, Any]:
        said = {item.name: getattr(one, item.name) for item in fields(one) if item.name not in {"world", "judged"}}
        said |= {"judge_calls": one.judge_calls, "judge_tokens": one.judge_tokens}
        hours = one.hours(self.options.tokens_per_second)
        return {**said, "hours": hours, "disk_bytes": self.bytes_of.get(one.suite)}

    def pack(self) -> str:
        """The suites as the YAML of a pack, for `pack: FILE` and `--pack FILE`."""
        return own("pack.txt.j2", plan=self, percent_of=percent)


def percent(share: float) -> int:
    """Whole percent, rounded down: a power that is short of 80 % never reads as 80 %."""
    return math.floor(share * 100 + 1e-9)


def forecast(configs: tuple[EndpointConfig, EndpointConfig], options: PlanOptions, observer: Observer) -> Forecast:
    """Plans a comparison of a reference and a candidate; asks neither.

    Raises `UsageError`: for a suite that does not load, a number of items for a suite that is not planned, or two files
    that make the comparison INVALID, unless the options say `anyway`.
    """
    asks, problems = _asks(configs, options, observer)
    for name in options.items.keys() - {ask.suite for ask in asks}:
        planned = ", ".join(sorted(ask.suite for ask in asks))
        raise UsageError(f"--items: {name!r}: no such suite is planned; planned are {planned}")
    suites: list[PlannedSuite] = []
    for ask in asks:
        planned_suite = plan_suite(ask)
        if planned_suite is None:
            unknown = "how many items it has is not known without its data"
            problems.append(f"{ask.suite}: {unknown}: say --items {ask.suite}=N")
        else:
            suites.append(planned_suite)
    overall = _overall(configs, options)
    found = planned_suites(tuple(suites), overall, options, _rounds(configs, tuple(suites), options))
    found = replace(found, suites=tuple(_by_item(found.suites, configs[1])))
    by_name = {ask.suite: ask for ask in asks}
    for one in found.suites:
        told = one.obstacles(by_name[one.suite], options.power, options.alpha)
        problems += [f"{one.suite}: {sentence}" for sentence in told]
    return replace(found, problems=(*problems, *found.problems), bytes_of=_bytes_of(found.suites, configs))


def _by_item(suites: Sequence[PlannedSuite], candidate: EndpointConfig) -> Iterator[PlannedSuite]:
    """The suites with what the candidate is asked where a bank allots its repeats, as precise as those configured."""
    bank = bank_of(candidate)
    found = allotted(bank, {one.suite: one.repeats[1] for one in suites if one.suite in bank and not one.greedy})
    for one in suites:
        asked = sum(found[one.suite].values()) if one.suite in found else one.samples[1]
        tokens = one.tokens and (one.tokens[0], asked * (one.answer_tokens or 0.0))
        yield replace(one, samples=(one.samples[0], asked), tokens=tokens)


def _rounds(
    configs: tuple[EndpointConfig, EndpointConfig], suites: Sequence[PlannedSuite], options: PlanOptions
) -> int:
    """The most rounds in which `compare` asks: those of the candidate's pack, where answers are drawn."""
    config = configs[1]
    if options.rounds is not None:
        return options.rounds
    if config.pack is None or options.limit is not None or all(one.greedy for one in suites):
        return 1
    return find_pack(config.pack, config.suite_folders).rounds


def planned_suites(
    suites: tuple[PlannedSuite, ...], overall_margin: float, options: PlanOptions, rounds: int = 1
) -> Forecast:
    """The forecast of suites that are planned, or of their design; what they take on disk is left out."""
    gate = Gate({one.suite: one.world for one in suites}, overall_margin, options.alpha)
    problems, designed = [], False
    trial = Trial(rounds, {one.suite for one in suites if one.bank}, options.comparisons, options.seed)
    if options.design and suites:
        goal = Goal(options.power, options.most_repeats, options.subsets, trial)
        found = cheapest(gate, suites, goal)
        if found is None:
            problems.append(
                f"no {options.most_repeats} repeats reach the power of {options.power:g} with these margins"
            )
        else:
            suites, designed = found, True
            gate = replace(gate, suites={one.suite: one.world for one in suites})
    ends = {loss: outcome(gate.shifted(-fraction(loss)), trial) for loss in LOSSES_PT if suites}
    chances = tuple(_chances(gate, loss, found, options) for loss, found in ends.items())
    expected = ends[0].asked if ends else {}
    return Forecast(suites, chances, overall_margin, tuple(problems), options, {}, designed, rounds, expected)


def _chances(gate: Gate, loss_pt: float, ended: Looked, options: PlanOptions) -> Chances:
    found = simulate(gate.shifted(-fraction(loss_pt)), options.comparisons, options.seed)
    inside = {name: float(np.mean(verdicts == Verdict.EQUIVALENT)) for name, verdicts in found.suites.items()}
    mean = None if found.mean is None else float(np.mean(found.mean == Verdict.EQUIVALENT))
    return Chances(loss_pt, {one.value: share for one, share in ended.verdicts.items()}, inside, mean)


def _overall(configs: tuple[EndpointConfig, EndpointConfig], options: PlanOptions) -> float:
    """The tolerance of the mean over suites, by the rule of `Policy.overall`."""
    points = options.margin_pt if options.overall_margin_pt is None else options.overall_margin_pt
    own = (overall_margin_pt(config) for config in configs)
    policy = Policy(overall_margin=None if points is None else fraction(points))
    return policy.overall(*(None if one is None else fraction(one) for one in own))


OPTIONS_AN_ITEM: Final = 4  # so many requests an item takes by log-likelihood, in the suites that are known


def _bytes_of(suites: Sequence[PlannedSuite], configs: tuple[EndpointConfig, EndpointConfig]) -> dict[str, float]:
    """What is still to be asked will take on disk, by suite; without those whose answers' length is not known."""
    scored = {one.suite.name for one in chosen_suites(configs[0]) if by_logprobs(one.suite)}
    found = {}
    for gate in suites:
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
    stored = _stored(configs[0], observer), _stored(configs[1], observer)
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
    stored: tuple[Side | None, Side | None],
) -> SuiteAsk:
    name = pair[0].suite.name
    sampling = sampling_of(configs[0], pair[0])
    own, other = (None if side is None else side.suites.get(name) for side in stored)
    known = own or other
    repeats = tuple(_repeats(one, config) for one, config in zip(pair, configs, strict=True))
    items, rows = options.items.get(name, _items(pair)), pair[0].suite.rows
    if known is not None and name not in options.items and any(one.choice.partial_data for one in pair):
        items = min(items or len(known.samples.items), len(known.samples.items))
    bank = own is not None and items == len(own.samples.items) and own.facts.repeats >= repeats[0]
    return SuiteAsk(
        suite=name,
        label=pair[0].choice.label or pair[0].suite.label,
        items=items if items is not None or known is None else len(known.samples.items),
        repeats=(own.facts.repeats if bank and own is not None else repeats[0], repeats[1]),
        margin=margin,
        greedy=sampling.temperature == 0 or by_logprobs(pair[0].suite),
        right_or_wrong=pair[0].suite.right_or_wrong,
        limit=sampling.max_tokens or pair[0].suite.max_tokens,
        mean_tokens=options.tokens_per_answer,
        profile=sampling.profile,
        stored=known,
        bank=bank,
        judged=_judged(pair[0], configs),
        chance=pair[0].suite.chance,
        p_gold_margin=fraction(pair[0].suite.p_gold_margin_pt) if by_logprobs(pair[0].suite) else None,
        failed=_failed(known) if options.failures is None else options.failures,
        part=items if items is not None and rows is not None and items < rows else None,
    )


def _failed(known: SuiteSide | None) -> float:
    """The share of a stored run's samples without a score."""
    return 0.0 if known is None or not len(known.samples) else float(np.mean(np.isnan(known.samples.value)))


def _repeats(chosen: Chosen, config: EndpointConfig) -> int:
    if chosen.choice.repeats is not None:
        return int(chosen.choice.repeats)
    return int(chosen.suite.repeats) if sampling_of(config, chosen).temperature > 0 else 1


def _items(pair: tuple[Chosen, Chosen]) -> int | None:
    """The items that both sides are asked: the suite's rows, or the smaller limit."""
    known = [pair[0].suite.rows or items_of(pair[0].suite.name), *(one.choice.limit for one in pair)]
    return min((number for number in known if number is not None), default=None)


def _stored(config: EndpointConfig, observer: Observer) -> Side | None:
    """What an earlier run of a side holds; None where there is none."""
    folder = config.runs / config.name
    if not is_run(folder):
        return None
    try:
        return read_run(folder)
    except RunError as error:
        observer.notice(f"{error}; planning without it")
        return None
