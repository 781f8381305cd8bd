"""`evalkit bisect REF CAND`: which operators make a candidate fail the fidelity probe; each set of them is a server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit.cli import options

if TYPE_CHECKING:
    from evalkit.config import EndpointConfig
    from evalkit.examine.bisect import Bisected, Operators, Result
    from evalkit.examine.probe import Plan, Side

MARK: Final = "{}"


@dataclass(frozen=True, slots=True)
class Switch:
    """A key of the candidate's configuration that lists operators: those that are on, or those that are off.

    `template` is the key's value with {} for the comma list.
    """

    key: str
    template: str
    lists_off: bool

    def override(self, on: Operators, names: Sequence[str]) -> str:
        """The `--set` that switches exactly these operators on; the list keeps the order of `names`."""
        listed = ",".join(name for name in names if (name in on) is not self.lists_off)
        return f"{self.key}={json.dumps(self.template.replace(MARK, listed), ensure_ascii=False)}"


@click.command("bisect")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--operators",
    required=True,
    metavar="A,B,...|@FILE",
    help="All operators: a comma list, or a file with one name a line.",
)
@click.option(
    "--on",
    "on_key",
    metavar="KEY[=TEMPLATE]",
    help="Key of the candidate's file that lists what is on, e.g. launch.env.GEMS_INCLUDE or 'launch.argv.9=--ops={}'.",
)
@click.option(
    "--off", "off_key", metavar="KEY[=TEMPLATE]", help="Key that lists what is off, e.g. launch.env.GEMS_UNUSED."
)
@click.option("--prompts", type=click.IntRange(8, 64), default=32, show_default=True, help="Prompts of each probe.")
@click.option("--tokens", type=click.IntRange(8, 4096), default=64, show_default=True, help="Longest text, in tokens.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Servers at a time: 3 decide two halvings at once, 7 three.",
)
@click.option("--most", type=click.IntRange(1), default=16, show_default=True, help="Stop after so many culprits.")
@options.overrides
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the probes' results (default: beside the runs); an interrupted bisect goes on from there.",
)
@options.quiet
@options.as_json
def command(reference: Path, candidate: Path, **given: Any) -> int:
    """Find the operators that make CANDIDATE fail the fidelity probe against REFERENCE.

    Both are endpoint YAML files; the candidate's has a launch section, and a key of it switches operators. With k
    guilty ones of n, at most k * (ceil(log2 n) + 2) + 2 servers are started, one after another. With --at-once, those
    that may be asked for next are started too, and stopped where they are no longer wanted. Operators that fail only
    together are named together; a server that does not come up or dies, twice, counts as failing. Exits 0 where
    nothing is guilty, 1 where something is, 3 where the candidate fails with everything off.
    """
    from evalkit.examine.bisect import most_tests, run

    names = operators(given["operators"])
    switch = _switch(given["on_key"], given["off_key"])
    bench = _bench(reference, candidate, names, switch, given)

    def tell(number: int, result: Result) -> None:
        if not given["quiet"]:
            click.echo(f"{number:3}: {len(result.on)} on: {result.effect}", err=True)

    if not given["quiet"]:
        bound = ", ".join(f"{most_tests(len(names), k)} for {k}" for k in (1, 2, 3))
        click.echo(f"{len(names)} operators; at most so many probes by the number of guilty ones: {bound}", err=True)
    bisected = asyncio.run(run(names, bench, tell, given["most"], given["at_once"]))
    if given["as_json"]:
        click.echo(json.dumps(document(bisected, names, bench.asked), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(lines(bisected, names)))
        click.echo(f"{bench.asked} probes asked, {bench.stored} were stored; all are in {bench.folder}", err=True)
    if bisected.found.fails_none:
        return 3
    return 1 if bisected.found.culprits else 0


def operators(text: str) -> list[str]:
    """The names of a comma list, or of a file behind an @ (one a line, or commas; # begins a comment).

    Raises:
        UsageError: the file cannot be read, there is no name, or one is there twice.
    """
    from evalkit.errors import UsageError

    if text.startswith("@"):
        try:
            content = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--operators {text}: cannot be read: {error}") from error
        text = ",".join(line.partition("#")[0] for line in content.splitlines())
    names = [name.strip() for name in text.split(",") if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--operators: {twice[0]!r} is there twice")
    if not names:
        raise UsageError("--operators: names no operator; give a comma list, or @FILE with one name a line")
    return names


def _switch(on_key: str | None, off_key: str | None) -> Switch:
    from evalkit.errors import UsageError

    if (on_key is None) == (off_key is None):
        raise UsageError("give --on KEY (the key lists what is on) or --off KEY (it lists what is off), one of the two")
    key, equals, template = (on_key or off_key or "").partition("=")
    if equals and MARK not in template:
        raise UsageError(f"--{'on' if on_key else 'off'} {key}: its template needs {{}} where the list belongs")
    return Switch(key, template or MARK, lists_off=on_key is None)


def _bench(reference: Path, candidate: Path, names: list[str], switch: Switch, given: Mapping[str, Any]) -> Any:
    from evalkit.cli.probe import side_of
    from evalkit.errors import ConfigError
    from evalkit.examine.bisect import Bench, key
    from evalkit.run.plan import served

    first = options.load(reference, given["overrides"])

    def config_with(on: Operators) -> EndpointConfig:
        loaded: EndpointConfig = options.load(candidate, (*given["overrides"], switch.override(on, names)))
        return loaded

    from evalkit.config.redact import redact_url

    second = config_with(frozenset(names))
    if second.launch is None:
        raise ConfigError(f"{candidate}: launch: is needed, because every set of operators is another server")
    plan = _plan(given, (first, second))
    folder = given["out"] or first.runs / f"{first.name}--{second.name}-bisect"
    meant = {
        "reference": {**served(first), "urls": [redact_url(url) for url in first.urls]},
        "candidate": served(second),
        "operators": names,
        "switch": asdict(switch),
        "plan": {"prompts": given["prompts"], "tokens": given["tokens"]},
    }

    def candidate_with(on: Operators) -> Side:
        # A log of its own: what a server wrote last must be its own words, also where several run.
        return side_of(config_with(on), folder / f"server-{key(on)}.log")

    sides = (side_of(first), candidate_with)
    return Bench(folder, meant, sides, plan, time.monotonic)


def _plan(given: Mapping[str, Any], configs: tuple[EndpointConfig, EndpointConfig]) -> Plan:
    from evalkit.examine.probe import Plan, neutral_prompts

    said = [config.limits.concurrency for config in configs if isinstance(config.limits.concurrency, int)]
    at_once = min(said, default=8)
    return Plan(neutral_prompts(given["prompts"]), given["tokens"], greedy=0, at_once=at_once)


def lines(bisected: Bisected, names: Sequence[str]) -> list[str]:
    """The result for people."""
    found, results = bisected.found, bisected.results
    if found.fails_none:
        none = results[frozenset()]
        return ["the candidate fails with every operator off, so none of them is the cause:", f"  {none.effect}"]
    if found.passes_all:
        everything = results[frozenset(names)]
        return ["nothing is guilty: with every operator on, the candidate passes:", f"  {everything.effect}"]
    told = []
    for culprit in found.culprits:
        one = results[culprit]
        alone = "alone" if len(culprit) == 1 else "only together"
        told.append(f"{' + '.join(sorted(culprit))} ({alone}): {one.effect}")
        told += [f"    {reason}" for reason in _why(one)]
    rest = frozenset(names) - {name for culprit in found.culprits for name in culprit}
    if not found.complete:
        told.append(f"there are more: the other {len(rest)} together still fail: {results[rest].effect} (--most)")
    elif rest:
        told.append(f"the other {len(rest)} operators on together: {results[rest].effect}")
    return told


def _why(result: Result) -> list[str]:
    """The verdict's reasons, or what the server that crashed wrote last."""
    if result.kind == "verdict":
        return list(result.reasons)
    return [line.strip() for reason in result.reasons for line in reason.splitlines()[1:]]


def document(bisected: Bisected, names: Sequence[str], asked: int) -> dict[str, Any]:
    """The result as one JSON-able document."""
    found, results = bisected.found, bisected.results
    culprits = [{"together": len(culprit) > 1, **_row(results[culprit])} for culprit in found.culprits]
    return {
        "kind": "bisect",
        "operators": list(names),
        "culprits": culprits,
        "complete": found.complete,
        "passes_all": found.passes_all,
        "fails_none": found.fails_none,
        "probes": len(results),
        "asked": asked,
        "results": [_row(result) for result in results.values()],
    }


def _row(result: Result) -> dict[str, Any]:
    return {**asdict(result), "verdict": result.verdict.value}
