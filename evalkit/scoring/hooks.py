"""The scorers as lm-eval's `process_results`, so that plain `lm_eval --include_path suites` gives evalkit's numbers.

A suite's YAML says `process_results: !function evalkit.scoring.hooks.choice`. `results` is what lm-eval hands over:
`[text]`, or `[[text, text, ...]]` where repeats are kept; repeats are averaged. lm-eval passes neither the reasoning
channel nor the finish reason, so a reply that was cut off is read as if it had ended.

A reply without a verdict (the grader ran out of time) is neither right nor wrong. It is left out of the average; where
no repeat has a verdict the hook returns no metric at all, which lm-eval takes: its mean is then over the other items,
as evalkit's is. A warning names the item. Raising would throw away a run of hours for one item, and 0 would be a
verdict that nobody reached.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.scoring.final import final_text_of
from evalkit.scoring.registry import scorer
from evalkit.scoring.truth import name_of

_LOG = logging.getLogger(__name__)

Doc = Mapping[str, Any]
Results = Sequence[str | Sequence[str]]


def choice(doc: Doc, results: Results) -> dict[str, float]:
    """Multiple choice; see `evalkit.scoring.choice.score`."""
    return accuracy("choice", doc, results)


def integer(doc: Doc, results: Results) -> dict[str, float]:
    """Integer answers; see `evalkit.scoring.integer.score`."""
    return accuracy("integer", doc, results)


def expression(doc: Doc, results: Results) -> dict[str, float]:
    """Mathematical expressions; see `evalkit.scoring.expression.score`."""
    return accuracy("expression", doc, results)


def short(doc: Doc, results: Results) -> dict[str, float]:
    """Short answers; see `evalkit.scoring.short.score`."""
    return accuracy("short", doc, results)


def theoremqa(doc: Doc, results: Results) -> dict[str, float]:
    """TheoremQA; see `evalkit.scoring.theoremqa.score`."""
    return accuracy("theoremqa", doc, results)


def livebench(doc: Doc, results: Results) -> dict[str, float]:
    """LiveBench; see `evalkit.scoring.livebench.dispatch.score`."""
    return accuracy("livebench", doc, results)


def mmmu(doc: Doc, results: Results) -> dict[str, float]:
    """MMMU; see `evalkit.scoring.multimodal.mmmu.score`."""
    return accuracy("mmmu", doc, results)


def mmmu_pro(doc: Doc, results: Results) -> dict[str, float]:
    """MMMU-Pro; see `evalkit.scoring.multimodal.mmmu_pro.score`."""
    return accuracy("mmmu_pro", doc, results)


def cmmmu(doc: Doc, results: Results) -> dict[str, float]:
    """CMMMU; see `evalkit.scoring.multimodal.cmmmu.score`."""
    return accuracy("cmmmu", doc, results)


def cii_bench(doc: Doc, results: Results) -> dict[str, float]:
    """CII-Bench; see `evalkit.scoring.multimodal.cii_bench.score`."""
    return accuracy("cii_bench", doc, results)


def blink(doc: Doc, results: Results) -> dict[str, float]:
    """BLINK; see `evalkit.scoring.multimodal.blink.score`."""
    return accuracy("blink", doc, results)


def mathvision(doc: Doc, results: Results) -> dict[str, float]:
    """MathVision; see `evalkit.scoring.multimodal.mathvision.score`."""
    return accuracy("mathvision", doc, results)


def ocrbench(doc: Doc, results: Results) -> dict[str, float]:
    """OCRBench; see `evalkit.scoring.multimodal.ocrbench.score`."""
    return accuracy("ocrbench", doc, results)


def judged(doc: Doc, results: Results) -> dict[str, float]:
    """Answers that a judge model grades; plain lm-eval has no judge, so none of them has a verdict."""
    return accuracy("judged", doc, results)


def accuracy(name: str, doc: Doc, results: Results) -> dict[str, float]:
    """{"acc": the mean value in [0, 1] of the replies under the scorer `name`}, or {} where none has a verdict.

    Raises:
        SuiteError: there is no such scorer.
        DataError: the document lacks what the scorer needs.
        ValueError: `results` is empty.
    """
    replies = [results[0]] if results and isinstance(results[0], str) else list(results[0] if results else ())
    if not replies:
        raise ValueError(f"{name_of(doc)} has no reply to score")
    grade = scorer(name)
    values = [value for reply in replies if (value := grade(doc, final_text_of(reply)).value) is not None]
    if not values:
        _LOG.warning("%s: the grader ran out of time, the item is left out of the mean", name_of(doc))
        return {}
    return {"acc": sum(values) / len(values)}
