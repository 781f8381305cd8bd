"""The list of known differences: a YAML file with a suite, two dates and a reason each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from evalkit.errors import UsageError
from evalkit.render.history import Known, Series

_KEYS: Final = ("suite", "from", "until", "reason")


def read_known(path: Path) -> tuple[Known, ...]:
    """The known differences of a file.

    Raises:
        UsageError: the file cannot be read, or an entry is wrong; names the line and the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        entries = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(f"{path}{f' line {mark.line + 1}' if mark else ''}: this is not YAML in UTF-8") from None
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise UsageError(f"{path}: a list of known differences begins each entry with `- suite: NAME`")
    lines = [item.start_mark.line + 1 for item in node.value]
    return tuple(_entry(entry, line, f"{path} line {line}") for entry, line in zip(entries, lines, strict=True))


def _entry(entry: Any, line: int, place: str) -> Known:
    if not isinstance(entry, dict):
        raise UsageError(f"{place}: an entry has the keys {', '.join(_KEYS)}")
    for key in entry:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f": did you mean {near[0]!r}?" if near else f": it is one of {', '.join(_KEYS)}"
            raise UsageError(f"{place}: the key {key!r} is not known{hint}")
    missing = next((key for key in _KEYS if entry.get(key) in {None, ""}), None)
    if missing:
        raise UsageError(f"{place}: {missing} is missing: a known difference names {', '.join(_KEYS)}")
    since, until = _day(entry["from"], f"{place}: from"), _day(entry["until"], f"{place}: until")
    if until < since:
        raise UsageError(f"{place}: until: {until} is before {since}")
    return Known(str(entry["suite"]), since, until, str(entry["reason"]), line)


def _day(value: Any, place: str) -> date:
    """YAML reads an unquoted date as one already."""
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value) if isinstance(value, str) else _refuse(value, place)
    except ValueError:
        return _refuse(value, place)


def _refuse(value: Any, place: str) -> date:
    raise UsageError(f"{place}: {value!r} is no date: write it as 2026-11-21")


def remarks(known: Sequence[Known], series: Sequence[Series]) -> Iterable[str]:
    """A sentence for each entry that names a suite nobody ran, or that expired while the suite is still bad."""
    suites = {trend.suite for one in series for trend in one.suites}
    for entry in known:
        if entry.suite not in suites:
            near = difflib.get_close_matches(entry.suite, suites, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            yield f"line {entry.line}: no night has a suite {entry.suite!r}{hint}"
            continue
        for one in series:
            trend = next((trend for trend in one.suites if trend.suite == entry.suite), None)
            renewed = any(other.suite == entry.suite and other.until > entry.until for other in known)
            if trend is None or trend.lasting is None or renewed:
                continue
            last = trend.lasting.last_bad.night
            if date.fromisoformat(last) > entry.until:
                yield f"line {entry.line}: {entry.suite}: expired on {entry.until}, and the difference is still there"
