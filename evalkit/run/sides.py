"""Sides as a person asks for them: the file with what the options change, shown while they run, and summed up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.compare.columns import SuiteSide
from evalkit.compare.pair import headline
from evalkit.config import EndpointConfig, SuiteChoice, load_config, warnings_for
from evalkit.errors import ConfigError
from evalkit.model import Reason, said
from evalkit.options import RunOptions
from evalkit.run import Observer, execute
from evalkit.run.plan import SideRun, samplings
from evalkit.serve.facts import with_build
from evalkit.serve.flagscale import with_flagscale
from evalkit.serve.operators import settled
from evalkit.tasks.suites import find_pack
from evalkit.waits import finished


def load_all(paths: Sequence[Path], options: RunOptions) -> list[EndpointConfig]:
    """The configuration of one file, or of two, of which the first is the reference's; as `load`."""
    return [load(path, options, reference=path is paths[0] and len(paths) > 1) for path in paths]


def load(path: Path, options: RunOptions, *, reference: bool = False) -> EndpointConfig:
    """The configuration of a file, with what the options change; a pack's suites are limited too.

    Raises `ConfigError`: for any mistake in it.
    """
    if path.suffix == ".evalkit":
        taken = "`evalkit probe` and `contract` take one in the reference's place; name its run folder for `compare`"
        raise ConfigError(f"{path}: is a passport: {taken}")
    config = with_build(settled(load_config(path, options.overrides, with_flagscale), reference=reference))
    if options.limit is None:
        return config
    names = [entry.name for entry in find_pack(config.pack, config.suite_folders).suites] if config.pack else []
    choices = {choice.name: choice for choice in config.suites}
    for name in names:
        choices.setdefault(name, SuiteChoice(name=name, limit=options.limit))
    limited = []
    for choice in choices.values():
        smaller = options.limit if choice.limit is None else min(options.limit, choice.limit)
        # Going through the fields keeps `model_fields_set`, which tells what this file says from what a pack says.
        limited.append(choice.model_copy(update={"limit": smaller}))
    return config.model_copy(update={"suites": tuple(limited)})


def run_sides(
    sides: Sequence[SideRun], observer: Observer, examiner: Callable[[execute.Watch], execute.Examine] | None = None
) -> list[execute.Outcome]:
    """Runs the sides, shown by the observer, which then hears what was noticed on the way.

    `examiner` makes, from the watch, what looks at each endpoint before it is asked.
    """
    watch = execute.Watch()
    for side in sides:
        repeats = {suite.name: suite.repeats for suite in side.plan.suites}
        for sentence in warnings_for(side.config, repeats, samplings(side.config)):
            observer.notice(sentence)
    for sentence in finished(execute.look_at_judges(sides)):
        observer.notice(sentence)
    try:
        with observer.display(watch) as show:
            return finished(execute.run_sides(sides, watch, show, examiner and examiner(watch)))
    finally:
        for notice in watch.notices:
            observer.notice(notice)


def problems(outcome: execute.Outcome) -> list[Reason]:
    """A reason for everything that kept a side from being whole."""
    name, whole = outcome.side.config.name, str(outcome.problem or "")
    told = [
        Reason("note.stopped", {"name": name, "suite": suite, "why": why})
        for suite, why in outcome.stopped.items()
        # A side that is refused altogether stops its suites for the same reason: said once is enough.
        if not whole or (why.partition("): ")[2] or why) not in whole
    ]
    if whole:
        return [said(whole), *told]
    return [*told, Reason("note.unanswered", {"name": name, "n": outcome.failed})] if outcome.failed else told


def beside(outcome: execute.Outcome) -> list[Reason]:
    """What a comparison says of a side beside the cause that its run has stored, which is a reason of its own."""
    told = problems(outcome)
    return told[1:] if outcome.problem is not None and outcome.problem.why != "" else told


def suite_summary(name: str, suite: SuiteSide) -> dict[str, Any]:
    """What a run ended with in one suite: the number over the samples that have a value, and what has none and why."""
    these = suite.samples
    without = np.isnan(these.value)
    wrong = replace(suite, samples=replace(these, value=np.where(without, 0.0, these.value)))
    return {
        "suite": name,
        "label": suite.facts.label,
        "planned": len(these),
        "valued": int((~without).sum()),
        "mean": headline(suite),
        "mean_if_others_wrong": headline(wrong),
        "counts": these.status.counts(),
        "failures": {kind: count for kind, count in these.failure.counts().items() if kind},
        "without_value": [
            {
                "item": these.items.name[these.item[row]],
                "repeat": int(these.repeat[row]),
                "status": these.status[row],
                "failure": these.failure[row],
                "error": these.reason[row],
            }
            for row in np.flatnonzero(without & ~these.status.mask("not_asked")).tolist()
        ],
    }
