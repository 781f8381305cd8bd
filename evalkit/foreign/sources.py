"""What an argument of `evalkit compare` is: a configuration, a run of evalkit's, lm-eval's output, a score table."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from evalkit.compare.columns import Side
from evalkit.errors import RunError, UsageError, did_you_mean
from evalkit.foreign import Choices, Named
from evalkit.foreign.tables import SUFFIXES, Frame, read_table
from evalkit.model import Comparison

Kind: TypeAlias = Literal["config", "run", "lm_eval", "table"]
NAMES: dict[Kind, str] = {
    "config": "a configuration file",
    "run": "a run folder",
    "lm_eval": "an output folder of lm-eval",
    "table": "a score table",
}
_PLURALS: dict[Kind, str] = {
    "run": "runs of evalkit's own",
    "lm_eval": "output folders of lm-eval",
    "table": "score tables",
}
_ABOUT: dict[str, tuple[str, Kind]] = {
    "filters": ("--filter", "lm_eval"),
    "metrics": ("--metric", "lm_eval"),
    "dates": ("--dates", "lm_eval"),
    "headlines": ("--headline", "table"),
}
"""What a field of `Choices` is called on the command line, and what it is about."""


def kind_of(path: Path | Frame) -> Kind:
    """What a path holds, by its name and its files.

    Raises `RunError`: for a folder that holds neither a run nor lm-eval's output.
    """
    from evalkit.run.read import is_run

    if isinstance(path, Frame):
        return "table"
    if not path.is_dir():
        return "table" if path.suffix in SUFFIXES else "config"
    if is_run(path):
        return "run"
    from evalkit.foreign.lm_eval import is_lm_eval

    if is_lm_eval(path):
        return "lm_eval"
    raise RunError(
        f"{path}: is neither a run folder (no manifest.jsonl) nor an output folder of lm-eval (no samples_*.jsonl)"
    )


def read_side(path: Path | Frame, choices: Choices | None = None) -> Side:
    """The side that a run folder, an output folder of lm-eval or a score table holds; nothing is asked of an endpoint.

    Raises `UsageError`: where it cannot be read, or is a configuration file.
    """
    kind = kind_of(path)
    if isinstance(path, Frame) or kind == "table":
        return read_table(path, choices or Choices())
    if kind == "run":
        from evalkit.run.repair import read_run

        return read_run(path)
    if kind == "lm_eval":
        from evalkit.foreign.lm_eval import read_lm_eval

        return read_lm_eval(path, choices or Choices())
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder")
    raise UsageError(f"{path}: is a configuration file, not something that was stored")


def sides_of(comparison: Comparison, folder: Path | None) -> tuple[Side, Side]:
    """The two runs that a comparison was made from; `folder` is where it is stored: they may have moved with it.

    Raises `RunError`: where one is gone, or has become another.
    """
    sides = []
    for identity in (comparison.reference, comparison.candidate):
        run = Path(identity.path)
        for path in (run, folder.parent / run.name) if folder is not None else (run,):
            try:
                side = read_side(path)
            except (UsageError, OSError):
                continue
            if side.identity.run_id == identity.run_id:
                sides.append(side)
                break
        else:
            raise RunError(f"{run}: the run {identity.run_id} that was compared is not there any more")
    return sides[0], sides[1]


def read_pair(reference: Path | Frame, candidate: Path | Frame, choices: Choices) -> tuple[Side, Side]:
    """Two stored sides of the same kind, with names of their own.

    Raises `UsageError`: where they are of different kinds, or cannot be read, or nothing in them heeds a choice.
    """
    kinds = kind_of(reference), kind_of(candidate)
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{reference} is {NAMES[kinds[0]]}, {candidate} is {NAMES[kinds[1]]}: their items have different names, so "
            "give two of one kind"
        )
    for name, (option, about) in _ABOUT.items():
        if about != kinds[0] and getattr(choices, name) != getattr(Choices(), name):
            raise UsageError(f"{option}: has no effect on {_PLURALS[kinds[0]]}: it is about {_PLURALS[about]}")
    one, two = read_side(reference, choices), read_side(candidate, choices)
    _refuse_unknown(choices, (one, two), kinds[0])
    if one.identity.name != two.identity.name:
        return one, two
    names = [_longer(path) for path in (reference, candidate)]
    if names[0] == names[1]:
        names = [f"{name}-{side}" for name, side in zip(names, ("reference", "candidate"), strict=True)]
    return _renamed(one, names[0]), _renamed(two, names[1])


def _refuse_unknown(choices: Choices, sides: tuple[Side, Side], kind: Kind) -> None:
    """Raises where a choice is for a suite or task that neither side has, or for headings that nothing has."""
    items = {name: suite.samples.items for side in sides for name, suite in side.suites.items()}
    if kind == "lm_eval":
        # A task of a group is no suite of its own; it is the heading of its items.
        tasks = {task for one in items.values() for heading in one.stratum for task in heading}
        _refuse_names("--filter", choices.filters, "task", tasks)
        _refuse_names("--metric", choices.metrics, "task", tasks)
    if kind == "table":
        _refuse_names("--headline", choices.headlines, "suite", set(items))
        headed = {name for side in sides for name, suite in side.suites.items() if any(suite.samples.items.stratum)}
        for name in choices.headlines.by_suite.keys() - headed:
            raise UsageError(f"--headline {name}=...: has no effect here: no item of {name} has a stratum")
        if choices.headlines.everywhere is not None and not headed:
            raise UsageError("--headline: has no effect here: no item has a stratum")


def _refuse_names(option: str, named: Named, what: str, known: set[str]) -> None:
    for name in named.by_suite:
        if name not in known:
            raise UsageError(f"{option} {name}=...: no such {what} is compared{did_you_mean(name, sorted(known))}")


def _longer(path: Path | Frame) -> str:
    if isinstance(path, Frame):
        return path.name
    whole = path.resolve()
    return f"{whole.parent.name}-{whole.stem if whole.suffix else whole.name}"


def _renamed(side: Side, name: str) -> Side:
    return replace(side, identity=replace(side.identity, name=name))
