"""`evalkit plan REF CAND`: what a comparison will cost and which of its gates can decide, before anything is asked."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli import options

if TYPE_CHECKING:
    from evalkit.compare.columns import Side
    from evalkit.compare.planning import Ask, Judging, PlannedGate
    from evalkit.config import EndpointConfig
    from evalkit.run.plan import Chosen


def _number(_context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A number that is one: a range lets NaN through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number", param=parameter)
    return value


@click.command("plan")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@options.overrides
@options.limit
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="[SUITE=]POINTS",
    help="Tolerance in percentage points, for all suites or for one, in place of the files' own.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Level of each one-sided test.",
)
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Wanted chance of EQUIVALENT for each suite, were the stacks equal.",
)
@click.option(
    "--items", multiple=True, metavar="SUITE=N", help="How many items a suite has, where its description does not say."
)
@click.option(
    "--most-repeats",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Repeats beyond this are too many.",
)
@click.option(
    "--tokens-per-second",
    type=click.FloatRange(0, 1e9, min_open=True),
    callback=_number,
    default=1000.0,
    show_default=True,
    help="What each endpoint generates in all; both are asked at once.",
)
@click.option(
    "--tokens-per-answer",
    type=click.FloatRange(0, 1e9, min_open=True),
    callback=_number,
    help="Mean length of an answer, where no stored run tells (then a quarter of max_tokens is assumed).",
)
@options.as_json
def command(reference: Path, candidate: Path, **given: Any) -> int:
    """Plan a comparison of two endpoints without asking either, and without their data sets.

    For each suite: items x repeats, the chance that equal stacks come out EQUIVALENT, the repeats that would be
    needed, tokens, hours, the most calls of a judge, and whether the gate can decide at all. A stored run of the
    reference gives its measured variances and lengths; what is assumed otherwise is said. Exits 0 where every gate
    can decide, else 4.
    """
    from evalkit.compare.planning import plan_gate
    from evalkit.stats.power import Goal

    configs = [options.load(path, given["overrides"], given["limit"]) for path in (reference, candidate)]
    given["items"] = read_items(given["items"])
    asks, unknown = _asks(configs[0], configs[1], given)
    for name in given["items"].keys() - {ask.suite for ask in asks}:
        hint = f"planned are {', '.join(sorted(ask.suite for ask in asks))}"
        raise click.BadParameter(f"{name!r}: no such suite is planned; {hint}", param_hint="--items")
    planned = [
        (ask, plan_gate(ask, Goal(ask.margin, given["alpha"], given["power"]), given["most_repeats"])) for ask in asks
    ]
    gates = [gate for _ask, gate in planned if gate is not None]
    unknown += [
        f"{ask.suite}: how many items it has is not known without its data: say --items {ask.suite}=N"
        for ask, gate in planned
        if not gate
    ]
    if given["as_json"]:
        click.echo(_document(gates, unknown, given))
    else:
        _print(gates, unknown, given)
    return 0 if gates and not unknown and all(gate.can_decide for gate in gates) else 4


def read_items(texts: tuple[str, ...]) -> dict[str, int]:
    """The numbers of items by name that NAME=N texts say.

    Raises:
        click.BadParameter: for a text that says none.
    """
    items: dict[str, int] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise click.BadParameter(f"{text!r} is not NAME=N", param_hint="--items")
        items[name] = int(number)
    return items


def _asks(reference: EndpointConfig, candidate: EndpointConfig, given: dict[str, Any]) -> tuple[list[Ask], list[str]]:
    """What is asked of both sides, suite by suite, and a sentence for every suite that cannot be compared."""
    from evalkit.cli.judging import check_margins, read_margins
    from evalkit.run.plan import chosen_suites

    sides = [{one.suite.name: one for one in chosen_suites(config)} for config in (reference, candidate)]
    _drop_unjudged(sides, (reference, candidate))
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    check_margins(given, names)
    margins, default = read_margins(given["margins"])
    stored = _stored(reference)
    asks, problems = [], []
    for name in names:
        pair = sides[0].get(name), sides[1].get(name)
        if pair[0] is None or pair[1] is None:
            problems.append(f"{name}: only the {'candidate' if pair[0] is None else 'reference'} runs it: INVALID")
            continue
        margin = margins.get(name, default)
        own = [_margin_pt(one) / 100 for one in pair if one is not None]
        if margin is None and own[0] != own[1]:
            both = f"{own[0] * 100:g} and {own[1] * 100:g} points"
            problems.append(f"{name}: the two files name different margins, {both}: INVALID; choose with --margin")
        asks.append(
            _ask((pair[0], pair[1]), (reference, candidate), own[0] if margin is None else margin, given, stored)
        )
    return asks, problems


def _drop_unjudged(sides: list[dict[str, Chosen]], configs: tuple[EndpointConfig, EndpointConfig]) -> None:
    """Takes out, and says, what a run leaves out: suites that need a judge, where none is named."""
    for side, config in zip(sides, configs, strict=True):
        for name in [name for name, one in side.items() if "judge" in one.suite.needs and config.judge is None]:
            label = side.pop(name).suite.label
            click.echo(
                f"evalkit: {config.name}: {label} is not run: it needs a judge; name one under `judge:`", err=True
            )


def _judged(chosen: Chosen, configs: tuple[EndpointConfig, EndpointConfig]) -> tuple[Judging, Judging] | None:
    """How both sides' answers are graded; one judge grades only answers of the first side a second time."""
    judges = configs[0].judge, configs[1].judge
    if "judge" not in chosen.suite.needs or judges[0] is None or judges[1] is None:
        return None
    from evalkit.compare.planning import Judging
    from evalkit.run.plan import identity_of

    one, two = ((identity_of(judge).digest, judge.base_url, judge.repeats) for judge in judges if judge is not None)
    again = 0 if one == two else judges[1].noise_items
    return Judging(judges[0].repeats, judges[0].noise_items), Judging(judges[1].repeats, again)


def _margin_pt(chosen: Chosen) -> float:
    return float(chosen.suite.margin_pt if chosen.choice.margin_pt is None else chosen.choice.margin_pt)


def _ask(
    pair: tuple[Chosen, Chosen],
    configs: tuple[EndpointConfig, EndpointConfig],
    margin: float,
    given: dict[str, Any],
    stored: Side | None,
) -> Ask:
    from evalkit.compare.planning import Ask
    from evalkit.run.plan import sampling_of

    name = pair[0].suite.name
    sampling = sampling_of(configs[0], pair[0])
    known = None if stored is None else stored.suites.get(name)
    repeats = tuple(_repeats(one, config) for one, config in zip(pair, configs, strict=True))
    items = given["items"].get(name, _items(pair))
    bank = known is not None and items == len(known.samples.items) and known.facts.repeats >= repeats[0]
    return Ask(
        suite=name,
        label=pair[0].choice.label or pair[0].suite.label,
        items=items if items is not None or known is None else len(known.samples.items),
        repeats=(repeats[0], repeats[1]),
        margin=margin,
        greedy=sampling.temperature == 0,
        limit=sampling.max_tokens or pair[0].suite.max_tokens,
        mean_tokens=given["tokens_per_answer"],
        stored=known,
        bank=bank,
        judged=_judged(pair[0], configs),
    )


def _repeats(chosen: Chosen, config: EndpointConfig) -> int:
    if chosen.choice.repeats is not None:
        return int(chosen.choice.repeats)
    from evalkit.run.plan import sampling_of

    return int(chosen.suite.repeats) if sampling_of(config, chosen).temperature > 0 else 1


def _items(pair: tuple[Chosen, Chosen]) -> int | None:
    """The items that both sides are asked: the suite's rows, or the smaller limit."""
    limits = [one.choice.limit for one in pair if one.choice.limit is not None]
    rows = pair[0].suite.rows
    known = [*limits, *([rows] if rows is not None else [])]
    return min(known) if known and (rows is not None or limits) else None


def _stored(config: EndpointConfig) -> Side | None:
    """What an earlier run of the reference holds; None where there is none."""
    from evalkit.errors import RunError
    from evalkit.run.read import is_run, read_run

    folder = config.runs / config.name
    if not is_run(folder):
        return None
    try:
        return read_run(folder)
    except RunError as error:
        click.echo(f"evalkit: {error}; planning without it", err=True)
        return None


def percent(share: float) -> int:
    """Whole percent, rounded down: a power that is short of 80 % never reads as 80 %."""
    return math.floor(share * 100 + 1e-9)


def _document(gates: list[PlannedGate], unknown: list[str], given: dict[str, Any]) -> str:
    import orjson

    from evalkit.compare.planning import power_of_all

    speed = given["tokens_per_second"]
    document = {
        "alpha": given["alpha"],
        "power": given["power"],
        "tokens_per_second": speed,
        "suites": [{**asdict(gate), "hours": gate.hours(speed)} for gate in gates],
        "problems": unknown,
        "power_of_all": power_of_all(gates),
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _print(gates: list[PlannedGate], unknown: list[str], given: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evalkit.compare.planning import power_of_all
    from evalkit.compare.verdict import amount

    speed = given["tokens_per_second"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("suite", "items", "k", "margin", "power", "k needed", "tokens", "hours", "decides"):
        table.add_column(head, justify="left" if head in {"suite", "decides"} else "right", no_wrap=head != "suite")
    for gate in gates:
        k = "/".join(dict.fromkeys(str(repeats) for repeats in gate.repeats))
        hours = gate.hours(speed)
        table.add_row(
            Text(gate.label),
            f"{gate.items:,}",
            k,
            f"±{gate.margin * 100:g}",
            f"{percent(gate.power)} %",
            "-" if gate.needed_repeats is None else str(gate.needed_repeats),
            "?" if gate.tokens is None else amount(sum(gate.tokens)),
            "?" if hours is None else f"{hours:.1f}",
            "yes" if gate.can_decide else "NO",
        )
    console = Console()
    console.print(table)
    for gate in gates:
        judged = f"; at most {gate.judge_calls:,} judge calls" if gate.judge_calls else ""
        console.print(Text(f"{gate.label}: {gate.note}; variance {gate.variance}; length {gate.length}{judged}"))
    for sentence in unknown:
        console.print(Text(sentence))
    if gates:
        tokens = sum(sum(gate.tokens) for gate in gates if gate.tokens is not None)
        hours = sum(gate.hours(speed) or 0.0 for gate in gates)
        samples = sum(sum(gate.samples) for gate in gates)
        calls = sum(gate.judge_calls for gate in gates)
        judged = f"at most {calls:,} judge calls, " if calls else ""
        cost = f"{samples:,} samples, {judged}{amount(tokens)} tokens, "
        cost += f"{hours:.1f} hours at {speed:g} tokens/s on each side"
        suites = "the only suite" if len(gates) == 1 else f"all {len(gates)} suites"
        chance = f"{suites} would be EQUIVALENT with a chance of {percent(power_of_all(gates))} %"
        console.print(Text(f"in all {cost}; were the stacks equal, {chance}"))
