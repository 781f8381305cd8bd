"""Scores a reply with an lm-eval task's own filters and `process_results`, for tasks that evalkit has no scorer for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evalkit.errors import SuiteError
from evalkit.model import FinalText, Score, Status


def scorer_of(task: Any) -> tuple[Callable[[Mapping[str, Any], FinalText], Score], str]:
    """A scorer that runs the task's first filter and takes its first metric; and the name of that rule.

    The names of filter and metric are part of the rule's identity, so a comparison never mixes two of them.

    Raises:
        SuiteError: where the task has no metric whose values are numbers from 0 to 1.
    """
    chosen = task._filters[0]  # noqa: SLF001 - lm-eval offers no public list of filters
    metric = next(iter(task.aggregation()), None)
    if metric is None:
        raise SuiteError(f"{task.config.task}: has no metric; evalkit cannot score it")

    def score(document: Mapping[str, Any], final: FinalText) -> Score:
        if final.status is not None:
            return Score(0.0, final.status, reason=final.reason)
        filtered = _filtered(task, chosen, document, final.text)
        value = task.process_results(document, [filtered]).get(metric)
        if not isinstance(value, (int, float)) or not 0 <= float(value) <= 1:
            raise SuiteError(f"{task.config.task}: metric {metric!r} gave {value!r}, not a number from 0 to 1")
        answer = filtered if isinstance(filtered, str) else str(filtered)
        return Score(float(value), Status.SCORED, reason="right" if value == 1 else "wrong", answer=answer[:200])

    version = (task.config.metadata or {}).get("version", task.VERSION)
    return score, f"lm-eval:{task.config.task}/{chosen.name}/{metric}@{version}"


def _filtered(task: Any, chosen: Any, document: Mapping[str, Any], text: str) -> Any:
    from lm_eval.api.instance import Instance

    instance = Instance("generate_until", dict(document), ("", {}), 0, (task.config.task, 0, 1))
    instance.resps = [text]
    chosen.apply([instance])
    return instance.filtered_resps[chosen.name]
