"""House styles of model cards: how the columns are headed, what the rows are called, scale and decimals. Data files.

A style is a YAML file: evalkit's own are in `reports/styles/`, a project's own is given by its path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evalkit.errors import UsageError
from evalkit.resources import data_folder

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_MOST_ANCESTORS: Final = 8


class Style(BaseModel):
    """One house style. `columns: scores` is the bare three-column table, `evidence` adds n, k, interval and margin.

    `reference` and `candidate` head their columns, with {model} and {chip}; `labels` names rows by suite, with {k};
    a suite without one keeps its own label. `chips` gives the house spelling of a chip by its lower-case name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: str
    columns: Literal["scores", "evidence"]
    first: Mapping[Literal["en", "zh"], str]
    reference: str
    candidate: str
    scale: Literal["percent", "fraction"]
    decimals: Annotated[int, Field(ge=0, le=6)]
    percent_sign: bool = False
    missing: str = "-"
    chips: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}

    @field_validator("reference", "candidate")
    @classmethod
    def _known_in_headers(cls, value: str) -> str:
        return _only(value, {"model", "chip"})

    @field_validator("labels")
    @classmethod
    def _known_in_labels(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        return {suite: _only(label, {"k"}) for suite, label in value.items()}

    def header(self, side: Literal["reference", "candidate"], model: str, chip: str) -> str:
        """The heading of a side's column."""
        house = self.chips.get(chip.lower(), chip)
        return _filled(self.reference if side == "reference" else self.candidate, {"model": model, "chip": house})

    def label(self, suite: str, own_label: str, k: str) -> str:
        """The row label of a suite that was asked `k` times."""
        return _filled(self.labels[suite], {"k": k}) if suite in self.labels else own_label


def style_names() -> tuple[str, ...]:
    """The names of evalkit's own styles, sorted."""
    return tuple(sorted(path.stem for path in (data_folder("reports") / "styles").glob("*.yaml")))


def load_style(name: str) -> Style:
    """A style by its name, or by the path of a YAML file.

    Raises:
        UsageError: no such style, or a file that is wrong; names the file and the key.
    """
    path = _path_of(name)
    try:
        return Style.model_validate(_merged(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from None


def _path_of(name: str, beside: Path | None = None) -> Path:
    """A path is taken as it is, from the folder of the file that names it; a bare word is one of evalkit's own."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name) if beside is None else beside / name
        if not path.is_file():
            raise UsageError(f"there is no style file {path}")
        return path
    if name not in style_names():
        near = difflib.get_close_matches(name, style_names(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"there is no style {name!r}: {hint}evalkit has {', '.join(style_names())}, or give a .yaml file"
        )
    return data_folder("reports") / "styles" / f"{name}.yaml"


def _merged(path: Path, depth: int = 0) -> dict[str, Any]:
    """The file's keys over those of the style it extends; `labels` and `chips` are merged key by key."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(f"{path}{f' line {mark.line + 1}' if mark else ''}: this is not YAML in UTF-8") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a style is a mapping of keys to values")
    parent_name = content.pop("extends", None)
    if parent_name is None:
        return content
    if depth >= _MOST_ANCESTORS:
        raise UsageError(f"{path}: extends: the styles extend one another in a circle")
    parent = _merged(_path_of(str(parent_name), beside=path.parent), depth + 1)
    for key in ("labels", "chips"):
        if isinstance(content.get(key), dict) and isinstance(parent.get(key), dict):
            content[key] = {**parent[key], **content[key]}
    return {**parent, **content}


def _only(text: str, known: set[str]) -> str:
    unknown = sorted(set(_PLACEHOLDER.findall(text)) - known)
    if unknown:
        raise ValueError(
            f"{{{unknown[0]}}} is not known here, only {', '.join(f'{{{name}}}' for name in sorted(known))}"
        )
    return text


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)
