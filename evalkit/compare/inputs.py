"""What a comparison is made from: one side's samples by column, whoever wrote them (evalkit, lm-eval, a table)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.model import RunIdentity


@dataclass(frozen=True, slots=True)
class Samples:
    """One suite on one side; one row a planned (item, repeat), all columns of the same length.

    `value` is in [0, 1], NaN where there is none; `status` holds `model.Status` values; `failure` a
    `model.FailureKind` or ""; `text_digest` is "" where there is no reply; token counts and seconds are NaN where
    unknown; `stratum` is the path of headings, `cluster` "" where an item stands for itself; `weight` is relative.
    """

    item: tuple[str, ...]
    repeat: NDArray[np.int32]
    value: NDArray[np.float64]
    status: tuple[str, ...]
    reason: tuple[str, ...]
    answer: tuple[str | None, ...]
    failure: tuple[str, ...]
    text_digest: tuple[str, ...]
    prompt_tokens: NDArray[np.float64]
    completion_tokens: NDArray[np.float64]
    seconds: NDArray[np.float64]
    lenient: NDArray[np.float64]
    truncated: NDArray[np.bool_]
    stratum: tuple[tuple[str, ...], ...]
    cluster: tuple[str, ...]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of planned samples."""
        return len(self.item)


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """What a side says about a suite beside its samples.

    `digests` must be equal on both sides for a comparison: data, prompts, scorer, sampling, max_tokens, ... by name;
    an empty value means "not known" and is not compared. `margin` is a fraction, None where the side gives none;
    `headline` is "micro", "macro" or "nested"; `greedy` says that temperature was 0.
    """

    suite: str
    label: str
    margin: float | None
    headline: str = "micro"
    chance: float | None = None
    gated: bool = False
    licence: str = ""
    greedy: bool = False
    repeats: int = 1
    notes: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SuiteSide:
    """One suite on one side."""

    facts: SuiteFacts
    samples: Samples


@dataclass(frozen=True, slots=True)
class ReplyText:
    """What a flip shows of one stored reply; `logprobs` are (token, log-probability) where the server gave them."""

    content: str
    reasoning: str
    logprobs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ItemText:
    """What a flip shows of an item."""

    question: str
    target: str


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison. `reply` and `item` fetch texts on demand (None where they are not stored)."""

    identity: RunIdentity
    config: Mapping[str, Any]
    suites: Mapping[str, SuiteSide]
    reply: Callable[[str, str, int], ReplyText | None]
    item: Callable[[str, str], ItemText | None]
    notes: tuple[str, ...] = ()
