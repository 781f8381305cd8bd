"""What an argument of `evalkit compare` is: a configuration, a run of evalkit's, lm-eval's output, a score table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from evalkit.compare.inputs import Side
from evalkit.errors import RunError, UsageError
from evalkit.foreign.choices import Choices

Kind: TypeAlias = Literal["config", "run", "lm_eval", "table"]
NAMES: dict[Kind, str] = {
    "config": "a configuration file",
    "run": "a run folder",
    "lm_eval": "an output folder of lm-eval",
    "table": "a score table",
}


def kind_of(path: Path) -> Kind:
    """What a path holds, by its name and its files.

    Raises:
        RunError: for a folder that holds neither a run nor lm-eval's output.
    """
    from evalkit.foreign.lm_eval_files import is_lm_eval
    from evalkit.foreign.tables import SUFFIXES
    from evalkit.run.read import is_run

    if not path.is_dir():
        return "table" if path.suffix in SUFFIXES else "config"
    if is_run(path):
        return "run"
    if is_lm_eval(path):
        return "lm_eval"
    raise RunError(
        f"{path}: is neither a run folder (no manifest.jsonl) nor an output folder of lm-eval (no samples_*.jsonl)"
    )


def read_side(path: Path, choices: Choices | None = None) -> Side:
    """The side that a run folder, an output folder of lm-eval or a score table holds; nothing is asked of an endpoint.

    Raises:
        UsageError: where it cannot be read, or is a configuration file.
    """
    kind = kind_of(path)
    if kind == "run":
        from evalkit.run.read import read_run

        return read_run(path)
    if kind == "lm_eval":
        from evalkit.foreign.lm_eval import read_lm_eval

        return read_lm_eval(path, choices or Choices())
    if kind == "table":
        from evalkit.foreign.tables import read_table

        return read_table(path, choices or Choices())
    raise UsageError(f"{path}: is a configuration file, not something that was stored")


def read_pair(reference: Path, candidate: Path, choices: Choices) -> tuple[Side, Side]:
    """Two stored sides of the same kind, with names of their own.

    Raises:
        UsageError: where they are of different kinds, or cannot be read.
    """
    kinds = kind_of(reference), kind_of(candidate)
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{reference} is {NAMES[kinds[0]]}, {candidate} is {NAMES[kinds[1]]}: their items have different names, so "
            "give two of one kind"
        )
    one, two = read_side(reference, choices), read_side(candidate, choices)
    if one.identity.name != two.identity.name:
        return one, two
    names = [_longer(path) for path in (reference, candidate)]
    if names[0] == names[1]:
        names = [f"{name}-{side}" for name, side in zip(names, ("reference", "candidate"), strict=True)]
    return _renamed(one, names[0]), _renamed(two, names[1])


def _longer(path: Path) -> str:
    whole = path.resolve()
    return f"{whole.parent.name}-{whole.stem if whole.suffix else whole.name}"


def _renamed(side: Side, name: str) -> Side:
    return replace(side, identity=replace(side.identity, name=name))
