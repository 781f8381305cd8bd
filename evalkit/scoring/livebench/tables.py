"""Reads two tables with pandas and compares them. Runs only in a grading worker, hence pandas at the top.

What pandas makes of a text (types, missing values, repeated column names) is part of the official rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from io import StringIO
from typing import Any, Final

import pandas as pd

TOLERANCE: Final = 1e-6

_LARGEST: Final = 1e300
_SEPARATORS: Final = {"csv": ",", "tsv": "\t"}
# What pandas and lxml raise on text that is no table of the format; a missing library is not among them.
_UNREADABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


def same_table(target: str, truth: str, answer: str, table_first: bool) -> str:
    """One of "same", "different", "unreadable", "truth unreadable".

    `target` is the format both are read in; `table_first` is the newer order of trying the layouts of JSON. Where the
    answer as a whole does not do, a csv, tsv or jsonl table is looked for inside it.
    """
    true_table = read(target, truth, table_first=table_first)
    if true_table is None:
        return "truth unreadable"
    whole = read(target, answer, table_first=table_first)
    if whole is not None and same(true_table, whole):
        return "same"
    # The official rule looks into a readable answer again for two of the three formats only.
    inner = None if whole is not None and target == "tsv" else search(target, answer, list(true_table.columns))
    if inner is not None and same(true_table, inner):
        return "same"
    return "unreadable" if whole is None and inner is None else "different"


def read(target: str, text: str, *, table_first: bool) -> pd.DataFrame | None:
    """The table that the text is in the target format, or None."""
    if target == "json":
        orients = ("table", "index", "records") if table_first else ("index", "records", "lines", "table", "values")
        readings = (_attempt("jsonl" if orient == "lines" else "json", text, orient) for orient in orients)
        return next((table for table in readings if table is not None), None)
    return _attempt("new markdown" if target == "markdown" and table_first else target, text, "")


def _attempt(layout: str, text: str, orient: str) -> pd.DataFrame | None:
    try:
        match layout:
            case "json":
                table = pd.read_json(StringIO(text), orient=orient)
            case "jsonl":
                table = pd.read_json(StringIO(text), orient="records", lines=True)
            case "html":
                table = pd.concat(pd.read_html(StringIO(text), flavor="lxml"), axis=0)
            case "markdown":
                table = pd.read_table(StringIO(text), sep="|", header=0, index_col=1, skipinitialspace=True)
            case "new markdown":
                table = _markdown(text)
            case _:
                table = pd.read_csv(StringIO(text), sep=_SEPARATORS[layout])
    except _UNREADABLE:
        return None
    # A scalar or a list of scalars reads as something else than a table.
    return table if isinstance(table, pd.DataFrame) else None


def _markdown(text: str) -> pd.DataFrame:
    lines = text.strip().split("\n")
    without_rule = "\n".join([lines[0], *lines[2:]])
    table = pd.read_table(StringIO(without_rule), sep="|", header=0, skipinitialspace=True)
    return table.iloc[:, 1:-1]


def search(target: str, text: str, columns: Sequence[Any]) -> pd.DataFrame | None:
    """The table inside a text that says more than the table; csv and tsv by the header line, jsonl by the keys."""
    names = [str(column) for column in columns]
    lines = text.strip().split("\n")
    if target == "jsonl":
        rows = [row for line in lines if all(name in line for name in names) and (row := _object(line))]
        return pd.DataFrame(rows) if rows else None
    if target not in _SEPARATORS:
        return None
    header = _SEPARATORS[target].join(names).strip()
    start = next((index for index, line in enumerate(lines) if line.strip() == header), None)
    end = len(lines)
    while start is not None and end > start:
        # What follows the table may not parse: drop lines from the end until it does.
        table = _attempt(target, "\n".join(lines[start:end]), "")
        if table is not None:
            return table
        end -= 1
    return None


def _object(line: str) -> dict[str, Any] | None:
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def same(truth: pd.DataFrame, answer: pd.DataFrame) -> bool:
    """Same columns in any order, same number of rows, same cells; a column called index is left out."""
    ours, theirs = _columns(truth), _columns(answer)
    if ours is None or theirs is None or len(truth) != len(answer) or ours.keys() != theirs.keys():
        return False
    return all(_same_cell(a, b) for name in ours for a, b in zip(ours[name], theirs[name], strict=True))


def _columns(table: pd.DataFrame) -> dict[str, list[Any]] | None:
    """The columns by stripped name; None where a name is no text or stands twice."""
    names = [name.strip() if isinstance(name, str) else None for name in table.columns]
    if None in names or len(set(names)) != len(names):
        return None
    columns = {str(name): table.iloc[:, position].tolist() for position, name in enumerate(names)}
    columns.pop("index", None)
    return columns


def _same_cell(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.strip() == other.strip()
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    if isinstance(one, float | int) and isinstance(other, float | int):
        return one == other or (_is_small(one) and _is_small(other) and abs(one - other) < TOLERANCE)
    equal = one == other
    return equal if isinstance(equal, bool) else False


def _is_small(number: float) -> bool:
    # An integer beyond the range of floats cannot be subtracted from one.
    return abs(number) < _LARGEST
