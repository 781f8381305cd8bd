"""The scorers as lm-eval's `process_results`, so that plain `lm_eval --include_path suites` gives evalkit's numbers.

A suite's YAML says `process_results: !function evalkit.scoring.hooks.choice`. `results` is what lm-eval hands over:
`[text]`, or `[[text, text, ...]]` where repeats are kept; repeats are averaged. lm-eval passes neither the reasoning
channel nor the finish reason, so a reply that was cut off is read as if it had ended.

A reply without a verdict (the grader ran out of time) is neither right nor wrong. It is left out of the average; where
no repeat has a verdict the hook returns no metric at all, which lm-eval takes: its mean is then over the other items,
as evalkit's is. A warning names the item. Raising would throw away a run of hours for one item, and 0 would be a
verdict that nobody reached.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lm_eval.api.samplers import ContextSampler

from evalkit.errors import SuiteError
from evalkit.model import FinalText, Score, Scorer, Status
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.registry import SCORERS, name_of, scorer

_LOG = logging.getLogger(__name__)

Doc = Mapping[str, Any]
Results = Sequence[str | Sequence[str]]
Hook = Callable[[Doc, Results], dict[str, float]]


def accuracy(rule: str | Scorer, doc: Doc, results: Results) -> dict[str, float]:
    """{"acc": the mean value in [0, 1] of the replies}, or {} where none has a verdict.

    `rule` is a scorer of evalkit's by its name, or a function of yours.

    Raises `SuiteError`: there is no such scorer; `DataError`: the document lacks what the scorer needs; `ValueError`:
    `results` is empty.
    """
    replies = [results[0]] if results and isinstance(results[0], str) else list(results[0] if results else ())
    if not replies:
        raise ValueError(f"{name_of(doc)} has no reply to score")
    grade = scorer(rule) if isinstance(rule, str) else rule
    values = [value for reply in replies if (value := grade(doc, final_text_of(reply)).value) is not None]
    if not values:
        _LOG.warning("%s: the grader ran out of time, the item is left out of the mean", name_of(doc))
        return {}
    return {"acc": sum(values) / len(values)}


def __getattr__(name: str) -> Hook:
    """The hook of the scorer `name`, so that `!function evalkit.scoring.hooks.NAME` is there for each of `SCORERS`.

    Of `judged` none has a verdict: plain lm-eval has no judge.
    """
    if name not in SCORERS or name == "option_logprobs":  # which reads log-probabilities, no text
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(accuracy, name)


# For plain lm-eval; evalkit computes its own headlines from the weights.


def weighted_choice(doc: Doc, results: Results) -> dict[str, tuple[float, float]]:
    """`process_results` of a multiple-choice suite whose documents carry their weight in `subsets`."""
    return {"acc": (accuracy("choice", doc, results)["acc"], float(doc["subsets"]))}


def weighted_mean(values: Sequence[tuple[float, float]]) -> float:
    """The mean of (value, weight) pairs by weight; the weights must not all be zero."""
    return sum(value * weight for value, weight in values) / sum(weight for _value, weight in values)


def needs_judge(doc: Doc, results: Results) -> dict[str, float]:  # noqa: ARG001 - lm-eval's call
    """`process_results` of a suite that a judge model grades: plain lm-eval has no judge, so there is no score."""
    return {}


# lm-eval draws shots from one pool for a whole task; MMLU wants those of the item's own subject. So the loader puts
# them into the document's field `shots`, the suite names the split of the items as its few-shot split (only then does
# lm-eval tell the sampler which item it is drawing for), and this sampler reads them from there.


class FromDocument(ContextSampler):  # type: ignore[misc] # lm-eval ships no types
    """The first n of the document's own `shots`, in their order."""

    def sample(
        self,
        n: int,
        eval_doc: dict[str, Any] | None = None,
        df: Any = None,  # noqa: ARG002 - lm-eval's signature
        **kwargs: Any,  # noqa: ARG002 - lm-eval's signature
    ) -> Sequence[dict[str, Any]]:
        """The shots for `eval_doc`.

        Raises `ValueError`: where lm-eval does not say for which document, or the document has fewer than n.
        """
        shots: list[dict[str, Any]] = list((eval_doc or {}).get("shots") or ())
        if len(shots) < n:
            raise ValueError(f"{n} few-shot examples are needed, the document has {len(shots)}")
        return shots[:n]


def scorer_of(task: Any) -> tuple[Callable[[Mapping[str, Any], FinalText], Score], str]:
    """A scorer that runs the task's first filter and takes its first metric; and the name of that rule.

    The names of filter and metric are part of the rule's identity, so a comparison never mixes two of them.

    Raises `SuiteError`: where the task has no metric whose values are numbers from 0 to 1.
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
