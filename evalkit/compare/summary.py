"""One side of one suite in numbers: counts by status, failures, tokens, latency; all beside the headline."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from evalkit.compare.headline import headline
from evalkit.compare.inputs import Samples, SuiteSide
from evalkit.model import SideSummary


def summarise(side: SuiteSide, standard_error: float | None) -> SideSummary:
    """The summary of a side; `standard_error` is that of its headline, None where there is none."""
    samples = side.samples
    tokens = _known(samples.completion_tokens)
    prompt = _known(samples.prompt_tokens)
    seconds = _known(samples.seconds)
    lenient = _known(samples.lenient)
    return SideSummary(
        mean=headline(side),
        standard_error=standard_error,
        planned=len(samples),
        valued=int((~np.isnan(samples.value)).sum()),
        k=repeats(samples),
        counts=dict(Counter(samples.status)),
        failures=dict(Counter(kind for kind in samples.failure if kind)),
        prompt_tokens=int(prompt.sum()) if prompt.size else None,
        completion_tokens_mean=float(tokens.mean()) if tokens.size else None,
        completion_tokens_p95=float(np.quantile(tokens, 0.95)) if tokens.size else None,
        latency_p50_seconds=float(np.median(seconds)) if seconds.size else None,
        lenient_mean=float(lenient.mean()) if lenient.size else None,
    )


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values[~np.isnan(values)])


def repeats(samples: Samples) -> float:
    """The harmonic mean of the repeats that have a value, over items that have one; 0 where none has."""
    valued = ~np.isnan(samples.value)
    counts = Counter(item for item, good in zip(samples.item, valued.tolist(), strict=True) if good)
    if not counts:
        return 0.0
    return len(counts) / sum(1.0 / count for count in counts.values())
