"""`evalkit compare A B`: the main job. Configurations, run folders or other people's files; exits with the verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from evalkit.cli import before, ci_output, judging, options

if TYPE_CHECKING:
    from evalkit.compare.columns import Side
    from evalkit.config import EndpointConfig
    from evalkit.foreign.choices import Choices
    from evalkit.model import Comparison, Difference
    from evalkit.run.execute import SideRun


_SECTIONS: Final = {
    "What is asked": ("--set", "--limit", "--no-doctor", "--probe", "--rerun-on-fail"),
    "How it is judged": ("--margin", "--pack", "--alpha", "--on-inconclusive"),
    "What is stored": ("--out", "--flips", "--include-questions"),
    "What is printed": ("--behaviour", "--quiet", "--json"),
    "Files for CI": ("--junit", "--openmetrics"),
    "Files of other programs": ("--filter", "--metric", "--dates", "--headline"),
}


@click.command("compare", cls=options.Sectioned, sections=_SECTIONS)
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@options.overrides
@options.limit
@judging.judging_options
@click.option(
    "--rerun-on-fail",
    is_flag=True,
    help="Ask the DEGRADED suites of the candidate once more with other seeds; only two failures in a row fail.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="[TASK=]NAME",
    help="lm-eval folders: the filter whose scores count, where a task has several.",
)
@click.option(
    "--metric", "metrics", multiple=True, metavar="[TASK=]NAME", help="lm-eval folders: the metric that is the score."
)
@click.option(
    "--dates",
    type=click.Choice(["latest", "repeats"]),
    help="lm-eval folders with several runs of a task: take the last, or each as a repeat.",
)
@click.option(
    "--headline",
    "headlines",
    multiple=True,
    metavar="[SUITE=]RULE",
    help="Score tables with a stratum column: micro (mean over items) or macro (mean over strata, the default).",
)
@before.options
@ci_output.options
@options.quiet
@options.as_json
def command(reference: Path, candidate: Path, **given: Any) -> int:
    """Compare CANDIDATE with REFERENCE: run what is missing, pair, judge, print the table.

    Both are an endpoint's YAML file (what is missing is asked first), the folder of a stored run (nothing is asked),
    two output folders of `lm_eval --log_samples`, or two score tables (CSV, JSONL, Parquet with the columns suite,
    item, repeat, score and optionally cluster, stratum, status). A stored run may stand against a YAML file: it is
    then the bank that a night's candidate is held against.

    Exits 0 equivalent, 1 degraded or elevated, 3 invalid, 4 inconclusive; 2 for a mistake in what was given.
    """
    from evalkit.foreign.sources import kind_of

    kinds = kind_of(reference), kind_of(candidate)
    if "config" in kinds:
        return _with_endpoints((reference, candidate), kinds, given)
    _no_endpoint_options(given)
    case = _stored_case(reference, candidate, _choices(given))
    judging.check_margins(given, [name for side in case.sides for name in side.suites])
    return _show(judging.judge(case, judging.policy(given, case)), case.home, given)


def _show(comparison: Comparison, home: Path, given: dict[str, Any]) -> int:
    code = judging.show(comparison, home, given)
    ci_output.write(comparison, given["out"] or home, given)
    return code


def _choices(given: dict[str, Any]) -> Choices:
    from evalkit.foreign.choices import HEADLINES, Choices, Named

    return Choices(
        filters=Named.parse("--filter", given["filters"]),
        metrics=Named.parse("--metric", given["metrics"]),
        headlines=Named.parse("--headline", given["headlines"], HEADLINES),
        dates=given["dates"],
    )


def _no_endpoint_options(given: dict[str, Any]) -> None:
    """An option that has no effect on stored sides is a mistake, not a wish."""
    from evalkit.errors import UsageError

    context = click.get_current_context()
    for name in ("overrides", "limit", "rerun_on_fail", "probe"):
        if given[name] and context.get_parameter_source(name) is not ParameterSource.ENVIRONMENT:
            option = "--set" if name == "overrides" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{option}: has no effect here: nothing is asked of an endpoint")


def _stored_case(reference: Path, candidate: Path, choices: Choices) -> judging.Case:
    from evalkit.cli.noise import noise_floors
    from evalkit.errors import UsageError
    from evalkit.foreign.sources import read_pair

    if reference.resolve() == candidate.resolve():
        raise UsageError(
            f"{candidate}: both sides are the same: nothing can differ (`evalkit aa` shows a side's own noise)"
        )
    sides = read_pair(reference, candidate, choices)
    home = reference.parent / f"{sides[0].identity.name}--{sides[1].identity.name}"
    return judging.Case(sides, _differences(sides), home, noise=noise_floors(sides[0]))


def _differences(sides: tuple[Side, Side]) -> tuple[Any, ...]:
    if not sides[0].config and not sides[1].config:
        return ()
    from evalkit.leaves import stored_differences

    return stored_differences(sides[0].config, sides[1].config)


# ---------------------------------------------------------------- with endpoints to ask


def _with_endpoints(paths: tuple[Path, Path], kinds: tuple[str, str], given: dict[str, Any]) -> int:
    from evalkit.errors import UsageError

    for name in ("filters", "metrics", "headlines", "dates"):
        if given[name]:
            option = name if name == "dates" else name.removesuffix("s")
            raise UsageError(f"--{option}: has no effect on runs of evalkit's own")
    for path, kind in zip(paths, kinds, strict=True):
        if kind not in {"config", "run"}:
            other = paths[1 - paths.index(path)]
            if kind == "table" and other.suffix not in {".yaml", ".yml"}:
                raise UsageError(f"{other}: a score table ends in .csv, .jsonl or .parquet")
            raise UsageError(f"{path}: only a run folder of evalkit's can stand against a configuration file")
    configs = tuple(
        options.load(path, given["overrides"], given["limit"]) if kind == "config" else None
        for path, kind in zip(paths, kinds, strict=True)
    )
    planned = _plan(paths, configs, given)
    try:
        case = _ask(planned, given)
    except before.StoppedError as stopped:
        return _show(_not_asked(planned, stopped, given), planned.home, given)
    chosen = judging.policy(given, case)
    comparison = judging.judge(case, chosen)
    if given["rerun_on_fail"] and configs[1] is not None:
        case, comparison = _rerun(case, comparison, configs[1], given)
    return _show(comparison, case.home, given)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A comparison with endpoints to ask, before they are; a side that is a stored run has no configuration.

    `found` are the differences of two configurations.
    """

    folders: tuple[Path, Path]
    configs: tuple[EndpointConfig | None, ...]
    sides: tuple[SideRun | None, ...]
    found: tuple[Difference, ...]
    names: tuple[str, str]

    @property
    def home(self) -> Path:
        """The comparison's folder."""
        return self.folders[0].parent / f"{self.names[0]}--{self.names[1]}"


def _plan(paths: tuple[Path, Path], configs: tuple[EndpointConfig | None, ...], given: dict[str, Any]) -> _Planned:
    """What is to be asked, and where it is stored; says in what two configurations differ."""
    from evalkit.config import differences
    from evalkit.run import execute, manifest

    folders = [
        path if config is None else config.runs / config.name for path, config in zip(paths, configs, strict=True)
    ]
    _two_folders(paths, folders, configs)
    both = [config for config in configs if config is not None]
    found = differences(*both) if len(both) == 2 else None
    if found is not None and not given["quiet"] and not given["as_json"]:
        _show_differences(found)
    known: dict[str, Any] = {}
    sides = tuple(None if config is None else execute.prepare(config, known) for config in configs)
    judging.check_margins(given, [suite.name for side in sides if side is not None for suite in side.plan.suites])
    names = [
        manifest.latest(folder)["name"] if config is None else config.name
        for folder, config in zip(folders, configs, strict=True)
    ]
    return _Planned((folders[0], folders[1]), configs, sides, found or (), (names[0], names[1]))


def _ask(planned: _Planned, given: dict[str, Any]) -> judging.Case:
    """Asks what is missing on the sides that have a configuration, and reads both.

    Raises:
        StoppedError: what is found before the suites are asked says that they should not be.
    """
    from evalkit.cli.noise import noise_floors
    from evalkit.cli.run import problems, run_with_display
    from evalkit.run.read import read_run

    bank = planned.sides[0] is None or planned.sides[0].missing == 0
    asked = [side for side in planned.sides if side is not None]
    first = before.Before(asked, given, given["out"] or planned.home)
    first.ahead()
    outcomes = run_with_display(asked, quiet=given["quiet"], examine=first.examiner())
    trouble = [sentence for outcome in outcomes for sentence in problems(outcome)]
    sides = (read_run(planned.folders[0]), read_run(planned.folders[1]))
    found = planned.found
    if len(asked) == 1:
        sides = _of_the_gate(sides, 0 if planned.sides[0] is None else 1)
        found = _differences(sides)
    return judging.Case(sides, found, planned.home, tuple(trouble), bank, noise_floors(sides[0]), first.probe)


def _not_asked(planned: _Planned, stopped: before.StoppedError, given: dict[str, Any]) -> Comparison:
    """The comparison where the suites were not asked: what was found before is its verdict."""
    from datetime import UTC, datetime

    from evalkit.compare.judge import not_asked
    from evalkit.config import public_dump
    from evalkit.run import manifest

    now = datetime.now(UTC).isoformat(timespec="seconds")
    runs = []
    for folder, side in zip(planned.folders, planned.sides, strict=True):
        if side is None:
            line = manifest.latest(folder)
        else:
            config = side.config
            session = manifest.Session(config.name, now, config.model, public_dump(config), {})
            line = manifest.manifest_line(session, side.plan)
        runs.append(manifest.identity(folder, line))
    made = not_asked((runs[0], runs[1]), stopped.verdict, stopped.reasons, judging.policy(given), now)
    return replace(made, probe=stopped.probe, differences=planned.found)


def _two_folders(paths: tuple[Path, Path], folders: list[Path], configs: tuple[EndpointConfig | None, ...]) -> None:
    from evalkit.errors import ConfigError

    if folders[0].resolve() == folders[1].resolve():
        name = next(config.name for config in configs if config is not None)
        raise ConfigError(f"{paths[1]}: name: both sides are called {name!r}: give each a name of its own")


def _of_the_gate(sides: tuple[Side, Side], stored: int) -> tuple[Side, Side]:
    """The configuration says what is compared: suites that only the stored run has are left out."""
    asked = sides[1 - stored].suites
    kept = replace(sides[stored], suites={name: suite for name, suite in sides[stored].suites.items() if name in asked})
    return (kept, sides[1]) if stored == 0 else (sides[0], kept)


def _show_differences(found: tuple[Any, ...]) -> None:
    if not found:
        click.echo("the two configurations are the same but for their files", err=True)
        return
    click.echo("reference and candidate differ in:", err=True)
    for one in found:
        click.echo(f"  {one.key}: {one.reference} | {one.candidate}", err=True)


def _rerun(
    case: judging.Case, first: Comparison, config: EndpointConfig, given: dict[str, Any]
) -> tuple[judging.Case, Comparison]:
    """A DEGRADED night: one independent second run of the failed suites, judged in the place of the first."""
    from evalkit.cli.run import problems, run_with_display
    from evalkit.compare.judge import degraded_suites, second_look, with_second_run
    from evalkit.run import execute
    from evalkit.run import execute as again
    from evalkit.run.read import read_run

    suites = degraded_suites(first)
    if not suites:
        return case, first
    click.echo(f"DEGRADED: {', '.join(suites)}: asking the candidate again with other seeds", err=True)
    second = execute.prepare(again.second_config(config, suites, again.RERUN_SEEDS))
    (outcome,) = run_with_display([second], quiet=given["quiet"])
    rerun = read_run(second.folder, second.plan.digest)
    again.restore(config)
    sides = (case.sides[0], with_second_run(case.sides[1], rerun))
    case = replace(case, sides=sides, trouble=(*case.trouble, *problems(outcome)))
    return case, second_look(first, judging.judge(case, judging.policy(given, case)))
