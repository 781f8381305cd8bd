"""What a grader hands back: the official verdict on one answer, and how evalkit reads the same answer itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from evalkit.errors import DataError

OFFICIAL_MISS: Final = "official_miss"
"""The official rule gave less than the answer, read sensibly, deserves (e.g. `Answer: A` where `AAAA` was asked)."""

OFFICIAL_LOOSE: Final = "official_loose"
"""The official rule gave more than the answer, read sensibly, deserves (e.g. `1073` for the truth `073`)."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one answer. `value` in [0, 1] is the official score and stays the primary one.

    `strict` is evalkit's own reading of the same answer in [0, 1], None where the official rule needs no second
    opinion; the two together decide the flags. `anchored` says that the answer stood in the place the prompt asks
    for, so that it counts even when the text was cut off at the token limit. `reason` "" means: from the value.
    """

    value: float
    answer: str | None = None
    anchored: bool = False
    strict: float | None = None
    reason: str = ""
    flags: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def all_flags(self) -> tuple[str, ...]:
        """The grader's own flags and, where the official rule and evalkit's reading part, which way they do."""
        if self.strict is None or self.strict == self.value:
            return self.flags
        return (*self.flags, OFFICIAL_MISS if self.strict > self.value else OFFICIAL_LOOSE)


def truth_of(doc: Mapping[str, Any]) -> str:
    """The ground truth of a question, never empty.

    Raises:
        DataError: the truth is missing, empty or not text. An empty truth would be contained in every answer.
    """
    truth = doc.get("ground_truth")
    if isinstance(truth, str) and truth.strip():
        return truth
    raise DataError(f"{name_of(doc)} has no ground truth: load the data set's own rows, not a prompts-only copy.")


def name_of(doc: Mapping[str, Any]) -> str:
    """How a question is called in a sentence for people."""
    return f"LiveBench question {doc.get('question_id', '?')} ({doc.get('task', 'no task')})"
