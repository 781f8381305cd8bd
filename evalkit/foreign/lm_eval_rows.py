"""One line of an lm-eval samples file: which filter and metric count, its values, its replies, its question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from evalkit.errors import DataError
from evalkit.foreign.choices import Choices, Named


def choose_filter(path: Path, task: str, filters: Sequence[str], choices: Choices) -> str:
    """The filter whose scores count: the only one, or the one that is named.

    Raises:
        DataError: listing the filters, where one must be named or the named one is not there.
    """
    if not filters:
        raise DataError(f"{path}: holds no sample")
    return _choose(f"{path}: {task}", "filter", filters, choices.filters)


def choose_metric(where: str, task: str, row: Mapping[str, Any], choices: Choices) -> str:
    """The metric that is the score: the only one, or the one that is named.

    Raises:
        DataError: listing the metrics, where one must be named or the named one is not there.
    """
    metrics = [str(name) for name in row.get("metrics") or [] if name in row]
    if not metrics:
        raise DataError(f"{where}: {task} names no metric that it holds: this is no sample of lm-eval 0.4")
    return _choose(f"{where}: {task}", "metric", metrics, choices.metrics)


def _choose(where: str, what: str, there: Sequence[str], named: Named) -> str:
    task = where.rpartition(" ")[2]
    wanted = named.of(task)
    if wanted in there:
        return str(wanted)
    listed = ", ".join(there)
    if task in named.by_suite:
        raise DataError(f"{where} has no {what} {wanted!r}; there are: {listed}")
    if len(there) == 1:
        return there[0]
    if wanted is not None:
        raise DataError(f"{where} has no {what} {wanted!r}; there are: {listed}: name one with --{what} {task}=NAME")
    raise DataError(
        f"{where} has the {what}s {listed}: name the one that counts with --{what} NAME or --{what} {task}=NAME"
    )


def values_of(where: str, metric: str, row: Mapping[str, Any]) -> list[float]:
    """The item's scores: one, or one a reply where the metric is a list.

    Raises:
        DataError: where they are no numbers from 0 to 1.
    """
    value = row.get(metric)
    values: list[Any] = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, (int, float)) and 0.0 <= v <= 1.0 for v in values):
        raise DataError(
            f"{where}: metric {metric!r} is {str(value)[:60]}, not a score from 0 to 1 for each item: name another "
            "with --metric"
        )
    return [float(v) for v in values]


def reply_of(row: Mapping[str, Any]) -> list[str]:
    """The generated texts of the item's request, one a repeat; none for log-likelihood tasks."""
    requests = row.get("resps")
    if not isinstance(requests, list) or len(requests) != 1 or not isinstance(requests[0], list):
        return []
    return [reply for reply in requests[0] if isinstance(reply, str)]


def question_of(row: Mapping[str, Any]) -> str:
    """What was sent: the prompt's text, or the last user turn of a chat."""
    arguments = row.get("arguments")
    first: Any = None
    if isinstance(arguments, Mapping):
        first = next(iter(arguments.values()), None)
    elif isinstance(arguments, list) and arguments:
        first = arguments[0]
    if isinstance(first, Mapping):
        first = first.get("arg_0")
    elif isinstance(first, list) and first:
        first = first[0]
    return _last_turn(first) if isinstance(first, str) else ""


def _last_turn(prompt: str) -> str:
    """The prompt, or what the user said last where lm-eval stored a chat as JSON."""
    text = prompt.removeprefix('JsonChatStr(prompt="').removesuffix('")')
    if not text.lstrip().startswith("["):
        return prompt
    try:
        turns = orjson.loads(text)
    except orjson.JSONDecodeError:
        return prompt
    users = [turn for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
    return str(users[-1].get("content", "")) if users else prompt
