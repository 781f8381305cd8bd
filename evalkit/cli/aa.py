"""`evalkit aa REF`: the endpoint against itself, the noise floor that every difference is read against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli import judging, options

if TYPE_CHECKING:
    from evalkit.compare.columns import Side


@click.command("aa")
@click.argument("reference", type=click.Path(path_type=Path))
@options.overrides
@options.limit
@judging.judging_options
@options.quiet
@options.as_json
def command(reference: Path, **given: Any) -> int:
    """Compare an endpoint with itself: how large is a difference that means nothing?

    REFERENCE is the endpoint's YAML file: it is asked every item a second time, as a run of its own with the name
    NAME-aa and other seeds (a greedy endpoint is asked again all the same: batching and kernels make noise of their
    own). Or it is the folder of a stored run with repeats: then its odd repeats are held against its even ones, and
    nothing is asked.

    `evalkit compare` finds the result of a second run by itself: it shows the interval beside each difference as the
    noise floor, and says INVALID where the endpoint differs from itself. Exits as compare does; 1 means that the
    endpoint or the harness is not repeatable.
    """
    from evalkit.foreign.sources import kind_of

    case = _second_run(reference, given) if kind_of(reference) == "config" else _halves(reference, given)
    judging.check_margins(given, case.sides[0].suites)
    return judging.show(judging.judge(case, judging.policy(given)), case.home, given)


def _second_run(path: Path, given: dict[str, Any]) -> judging.Case:
    from evalkit.cli.noise import home_of, second_name
    from evalkit.cli.run import problems, run_with_display
    from evalkit.run import execute
    from evalkit.run import execute as again
    from evalkit.run.read import read_run

    config = options.load(path, given["overrides"], given["limit"])
    second = again.second_config(config, None, again.AA_SEEDS, second_name(config.name))
    known: dict[str, Any] = {}
    trouble: list[str] = []
    for one in (config, second):  # in turns: both would share the one endpoint's speed
        (outcome,) = run_with_display([execute.prepare(one, known)], quiet=given["quiet"])
        trouble += problems(outcome)
    sides = (read_run(config.runs / config.name), read_run(second.runs / second.name))
    return judging.Case(sides, (), home_of(config.runs, config.name), tuple(trouble))


def _halves(path: Path, given: dict[str, Any]) -> judging.Case:
    from evalkit.compare.noise import half
    from evalkit.errors import UsageError
    from evalkit.foreign.sources import read_side

    for name, option in (("overrides", "--set"), ("limit", "--limit")):
        if given[name]:
            raise UsageError(f"{option}: has no effect here: nothing is asked of an endpoint")
    whole = read_side(path)
    sides: tuple[Side, Side] = (half(whole, odd=False), half(whole, odd=True))
    if not sides[1].suites:
        raise UsageError(f"{path}: asked every item once: there are no halves; give the YAML file to ask a second time")
    home = path.parent / f"{sides[0].identity.name}--{sides[1].identity.name}"
    return judging.Case(sides, (), home)
