"""Published benchmarks and chips by the names that cards use, from `reports/benchmarks.yaml` and `chips.yaml`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import yaml

from evalkit.resources import data_folder

_MARKS: Final = re.compile(
    r"""[@_(\s-]*\b(?:pass|avg|mean|maj|cons)\s?@\s?\d*(?:/\d+)?\)?  # (Pass@1), @avg1, (Avg@16/8)
      | _?@avg\d*(?:/\d+)?                                                    # a mark without its number
      | \(\s*(?:acc\.?|em|exact\ match|chrf)\s*\)                    # (Acc.)
      | [_\s-]*\d+-?(?:few)?-?shots?\b                               # -0shot, _5fewshot
      | [_\s-]*\d+fewshot_?
      | \((?:transformers|vllm)\ version\)
      | \((?:invalid|incomplete)[^)]*\)
      | [↑↓]
    """,
    re.IGNORECASE | re.VERBOSE,
)
_VARIANT: Final = re.compile(r"[-_ ]((?:no)?think(?:ing)?)$", re.IGNORECASE)
_TRIALS: Final = re.compile(r"(?:pass|avg)\s?@?\s?(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as a label names it. `sizes` are its possible numbers of questions; `trials` what the label states.

    `name` is None where the label is not known; `key` is comparable in any case. `near_zero_is_real` marks tests on
    which a weak model may score almost nothing.
    """

    key: str
    variant: str
    name: str | None
    sizes: tuple[int, ...]
    chance: float | None
    near_zero_is_real: bool
    trials: int | None

    @property
    def identity(self) -> tuple[str, str]:
        """Equal for two labels that mean the same row."""
        return (self.name or self.key, self.variant)


def benchmark_of(label: str) -> Benchmark:
    """The benchmark that a row label means."""
    variant = _VARIANT.search(label.strip())
    stem = label.strip()[: variant.start()] if variant else label
    trials = _TRIALS.search(label)
    key = _key(_MARKS.sub(" ", stem))
    name = _names().get(key)
    entry = _catalogue()[name] if name else {}
    sizes = entry.get("n_of", {}).get(key, entry.get("n", []))
    return Benchmark(
        key=key,
        variant=variant[1].lower() if variant else "",
        name=name,
        sizes=tuple(sizes) if isinstance(sizes, list) else (sizes,),
        chance=entry.get("chance"),
        near_zero_is_real="floor" in entry,
        trials=int(trials[1]) if trials else None,
    )


def nearest_name(benchmark: Benchmark) -> str | None:
    """The known spelling that a label was perhaps meant to be."""
    near = difflib.get_close_matches(benchmark.key, _names(), n=1, cutoff=0.8)
    return _spellings()[near[0]] if near else None


def chip_of(text: str) -> str | None:
    """The last chip named in a card name or column head, by the name that counts."""
    found = [
        chip for token in re.split(r"[^A-Za-z0-9]+", text.lower()) for chip, names in _chips().items() if token in names
    ]
    return found[-1] if found else None


def _key(name: str) -> str:
    return "".join(re.findall(r"[^\W_]+", name.lower()))


@cache
def _catalogue() -> Mapping[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = yaml.safe_load((data_folder("reports") / "benchmarks.yaml").read_text("utf-8"))
    for entry in content.values():
        entry["n_of"] = {_key(name): sizes for name, sizes in entry.get("n_of", {}).items()}
    return content


@cache
def _names() -> Mapping[str, str]:
    return {_key(alias): name for name, entry in _catalogue().items() for alias in (*entry["names"], name)}


@cache
def _spellings() -> Mapping[str, str]:
    return {_key(alias): alias for entry in _catalogue().values() for alias in entry["names"]}


@cache
def _chips() -> Mapping[str, list[str]]:
    content: dict[str, list[str]] = yaml.safe_load((data_folder("reports") / "chips.yaml").read_text("utf-8"))
    return content
