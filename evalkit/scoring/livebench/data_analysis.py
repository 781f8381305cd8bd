"""LiveBench data analysis: naming a column (cta), joining tables (tablejoin), reformatting a table."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from evalkit.errors import UNREADABLE, DataError
from evalkit.resources import Patterns
from evalkit.scoring.answers.worker import run_limited
from evalkit.scoring.livebench.extract import Grade, between, boxed, plain_box, truth_of
from evalkit.scoring.registry import name_of

if TYPE_CHECKING:
    import pandas as pd

_RE: Final = Patterns("data_analysis")
_FENCES: Final = ("```python", "```json", "```")
_LONGEST_LITERAL: Final = 100_000
_MARKS: Final = ("<solution>", "</solution>")


def grade_cta(doc: Mapping[str, Any], text: str) -> Grade:
    """The class name, letters, digits and underscores only; an answer that merely ends with it counts as well.

    Raises `DataError`: the truth has no such character.
    """
    raw = truth_of(doc)
    truth = _folded(raw)
    if not truth:
        raise DataError(f"{name_of(doc)} has a truth without letters or digits: {raw!r}.")
    found = plain_box(text) if "\\boxed{" in text else []
    answer = found[0] if found else text
    # The strict reading wants whole words: "id" at the end of "the class is id", not of "grid".
    words, wanted = [_folded(word) for word in answer.split()], len(raw.split())
    return Grade(
        value=float(_folded(answer).endswith(truth)),
        answer=answer.strip() or None,
        anchored=bool(found),
        strict=float("".join(words[-wanted:]) == truth),
    )


def grade_tablejoin(doc: Mapping[str, Any], text: str) -> Grade:
    """F1 over the column mapping, rounded to two decimals; a wrong value counts both as spurious and as missing.

    Raises `DataError`: the truth is not a mapping.
    """
    truth = _truth_mapping(doc)
    given = _mapping(text)
    hits = sum(bool(truth.get(key)) and truth[key] == value for key, value in given.items())
    spurious = len(given) - hits
    missing = sum(bool(truth.get(key)) for key in given) - hits + sum(not given.get(key) for key in truth)
    score = 2 * hits / (2 * hits + spurious + missing) if given else 0.0
    return Grade(
        value=round(score * 100) / 100,
        answer=str(given) if given else None,
        anchored=all(mark in text for mark in _MARKS) or text.count("```") > 1,
        metrics={"right": hits, "spurious": spurious, "missing": missing},
    )


def _folded(text: str) -> str:
    return _RE.not_word.sub("", text.lower())


def _truth_mapping(doc: Mapping[str, Any]) -> Mapping[Any, Any]:
    raw = doc.get("ground_truth")
    if isinstance(raw, dict) and raw:
        return raw
    text = truth_of(doc)
    try:
        truth = json.loads(text)
    except ValueError:
        truth = _literal(text)
    if not isinstance(truth, dict) or not truth:
        raise DataError(f"{name_of(doc)} has a truth that is not a mapping of column names.")
    return truth


def _mapping(text: str) -> dict[Any, Any]:
    """The mapping that the answer gives, without null values; empty where none can be read."""
    if bodies := between(text, *_MARKS):
        return _mapping(bodies[-1].strip())
    found = _literal(text)
    if found is None:
        found = _literal(_marked_literal(text).replace("null", "None"))
    return {key: value for key, value in found.items() if value is not None} if isinstance(found, dict) else {}


def _marked_literal(text: str) -> str:
    joined = text.replace("\n", "")
    for fence in _FENCES:
        if bodies := between(joined, fence, "```"):
            return bodies[-1]
    content = boxed(joined)
    return text if content is None else _RE.quoted_text.sub(r"'\1'", content).replace("\\", "")


def _literal(text: str) -> object:
    """The Python literal that the text is, None where it is none; data only, nothing is called or looked up."""
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


SECONDS: Final = 30.0  # processor time for reading and comparing two tables

FORMATS: Final = ("json", "jsonl", "html", "csv", "tsv", "markdown")


def grade_reformat_v1(doc: Mapping[str, Any], text: str) -> Grade:
    """Questions released before 2025-04-25: the prompt names the formats in a sentence."""
    found = _RE.sentence.search(_prompt(doc))
    return _grade(doc, text, found.group(2) if found else "", table_first=False)


def grade_reformat_v2(doc: Mapping[str, Any], text: str) -> Grade:
    """Questions released since 2025-04-25: the prompt names the formats on lines of their own."""
    found = _RE.target_line.findall(_prompt(doc))
    return _grade(doc, text, found[-1] if found else "", table_first=True)


def _prompt(doc: Mapping[str, Any]) -> str:
    prompt = doc.get("prompt")
    return prompt if isinstance(prompt, str) else ""


def _grade(doc: Mapping[str, Any], text: str, target: str, *, table_first: bool) -> Grade:
    wanted = target.strip().lower()
    if wanted not in FORMATS:
        raise DataError(f"{name_of(doc)}: its prompt names no target format among {', '.join(FORMATS)}.")
    truth, answer = truth_of(doc), clean_answer(text)
    verdict = "unreadable"
    if answer:
        verdict = run_limited(f"{__name__}:same_table", (wanted, truth, answer, table_first), SECONDS, ["pandas"])
    if verdict == "truth unreadable":
        raise DataError(f"{name_of(doc)}: its truth cannot be read as {wanted}.")
    return Grade(
        value=float(verdict == "same"),
        answer=answer or None,
        anchored="</solution>" in text or text.count("```") > 1,
        reason="no_answer" if verdict == "unreadable" else "",
    )


def clean_answer(text: str) -> str:
    """The table in the answer: the last solution block or fence, else all but the fence marks and introduction."""
    while bodies := between(text, "<solution>", "</solution>"):
        text = bodies[-1].strip()
    for fence in ("```json\n", "```html\n"):
        if bodies := between(text, fence, "```"):
            return _RE.introduction.sub("", bodies[-1].strip()).strip()
    text = _RE.first_fence.sub("", text).replace("&amp;", "&").replace("```", "").strip()
    return _RE.introduction.sub("", text).strip()


# What pandas makes of a text (types, missing values, repeated column names) is part of the official rule.
TOLERANCE: Final = 1e-6

_LARGEST: Final = 1e300
_SEPARATORS: Final = {"csv": ",", "tsv": "\t"}
_MOST_COLUMNS: Final = 1000
_MOST_LINES: Final = 1000
"""LiveBench's tables have some dozens: more is a model in a loop, and pandas takes time in the square of it."""


def same_table(target: str, truth: str, answer: str, table_first: bool) -> str:
    """One of "same", "different", "unreadable", "truth unreadable".

    `target` is the format both are read in; `table_first` is the newer order of trying the layouts of JSON. Where the
    answer as a whole does not do, a csv, tsv or jsonl table is looked for inside it.
    """
    true_table = read(target, truth, table_first=table_first)
    if true_table is None:
        return "truth unreadable"
    if separator := {**_SEPARATORS, "markdown": "|"}.get(target):
        answer = "\n".join(line for line in answer.split("\n") if line.count(separator) < _MOST_COLUMNS)
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
    import pandas as pd

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
    except UNREADABLE:
        return None
    # A scalar or a list of scalars reads as something else than a table.
    return table if isinstance(table, pd.DataFrame) else None


def _markdown(text: str) -> pd.DataFrame:
    import pandas as pd

    lines = text.strip().split("\n")
    without_rule = "\n".join([lines[0], *lines[2:]])
    table = pd.read_table(StringIO(without_rule), sep="|", header=0, skipinitialspace=True)
    return table.iloc[:, 1:-1]


def search(target: str, text: str, columns: Sequence[Any]) -> pd.DataFrame | None:
    """The table inside a text that says more than the table; csv and tsv by the header line, jsonl by the keys."""
    import pandas as pd

    names = [str(column) for column in columns]
    lines = text.strip().split("\n")
    if target == "jsonl":
        rows = [row for line in lines if all(name in line for name in names) and (row := _object(line))]
        return pd.DataFrame(rows) if rows else None
    if target not in _SEPARATORS:
        return None
    header = _SEPARATORS[target].join(names).strip()
    start = next((index for index, line in enumerate(lines) if line.strip() == header), None)
    end = min(len(lines), (start or 0) + _MOST_LINES)
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
