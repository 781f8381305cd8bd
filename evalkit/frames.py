"""Runs and comparisons as pandas frames; the columns are those that `evalkit.api` documents."""

from typing import Any

import numpy as np
import pandas as pd

from evalkit.compare.columns import Side, SuiteSide
from evalkit.compare.pair import align
from evalkit.model import Comparison, SuiteResult
from evalkit.render.words import say_all

_TEXTS = ("status", "reason", "answer", "failure")
_NUMBERS = ("prompt_tokens", "completion_tokens", "seconds")


def samples(side: Side) -> pd.DataFrame:
    """One row a planned sample of a side."""
    made = [_samples(name, suite) for name, suite in side.suites.items()]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def _samples(name: str, suite: SuiteSide) -> pd.DataFrame:
    these = suite.samples
    about = these.items
    texts = {key: pd.Categorical.from_codes(getattr(these, key).codes, getattr(these, key).names) for key in _TEXTS}
    by_item = {
        "cluster": np.asarray(about.cluster, dtype=object)[these.item],
        "stratum": _headings(about.stratum)[these.item],
        "weight": about.weight[these.item],
    }
    return pd.DataFrame(
        {
            "suite": name,
            "item": np.asarray(about.name, dtype=object)[these.item],
            "repeat": these.repeat,
            "score": these.value,
            **{key: column.astype(object) for key, column in texts.items()},
            **{key: getattr(these, key) for key in _NUMBERS},
            **by_item,
        }
    )


def _headings(strata: tuple[tuple[str, ...], ...]) -> Any:
    return np.asarray([" / ".join(path) for path in strata], dtype=object)


def suites(comparison: Comparison) -> pd.DataFrame:
    """One row a suite of a comparison."""
    return pd.DataFrame([_suite(one) for one in comparison.suites], columns=list(_SUITE_COLUMNS))


_SUITE_COLUMNS = (
    *("suite", "label", "verdict", "reasons", "n_items", "k_reference", "k_candidate", "reference", "candidate"),
    *("difference", "ci90_low", "ci90_high", "ci95_low", "ci95_high", "margin", "p_tost", "p_difference", "method"),
    *("coverage", "regressed", "improved", "churn"),
)


def _suite(one: SuiteResult) -> dict[str, Any]:
    intervals = {"ci90": one.ci90, "ci95": one.ci95}
    same = {name: getattr(one, name) for name in _SUITE_COLUMNS if hasattr(one, name)}
    return {
        **same,
        "verdict": one.verdict.value,
        "reasons": say_all(one.reasons),
        "reference": one.reference.mean,
        "candidate": one.candidate.mean,
        **{f"{name}_{end}": getattr(ci, end, np.nan) for name, ci in intervals.items() for end in ("low", "high")},
        **{name: getattr(one.flips, name) for name in ("regressed", "improved", "churn")},
    }


_ITEM_NUMBERS = {
    "reference": "reference_mean",
    "candidate": "candidate_mean",
    "difference": "difference",
    "k_reference": "reference_k",
    "k_candidate": "candidate_k",
}
"""What a column of the items is called among the pairs."""


def items(comparison: Comparison, sides: tuple[Side, Side]) -> pd.DataFrame:
    """One row an item that has a score on both sides."""
    made = [_items(one.suite, sides) for one in comparison.suites if all(one.suite in side.suites for side in sides)]
    columns = ["suite", "item", "stratum", *_ITEM_NUMBERS, "share"]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)


def _items(name: str, sides: tuple[Side, Side]) -> pd.DataFrame:
    aligned = align(sides[0].suites[name], sides[1].suites[name])
    paired, layout = aligned.paired, aligned.layout
    codes = np.zeros(0, dtype=np.int64) if paired is None else paired.item
    return pd.DataFrame(
        {
            "suite": name,
            "item": np.asarray(layout.items, dtype=object)[codes],
            "stratum": _headings(layout.strata)[codes],
            **{column: getattr(paired, field, np.zeros(0)) for column, field in _ITEM_NUMBERS.items()},
            "share": np.zeros(0) if paired is None else paired.weight / paired.weight.sum(),
        }
    )
