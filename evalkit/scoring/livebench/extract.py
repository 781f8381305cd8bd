"""Where LiveBench prompts ask for the answer (tags, boxes, bold text), and what a grader hands back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, TypeVar

from evalkit.errors import DataError
from evalkit.scoring.registry import name_of, required

_OPEN, _CLOSE = "<solution>", "</solution>"
_T = TypeVar("_T")


def between(text: str, opening: str, closing: str) -> list[str]:
    """The texts between each opening and the next closing mark, not overlapping, possibly over several lines."""
    found: list[str] = []
    position = 0
    while (start := text.find(opening, position)) >= 0:
        start += len(opening)
        end = text.find(closing, start)
        if end < 0:
            break
        found.append(text[start:end])
        position = end + len(closing)
    return found


def between_on_line(text: str, opening: str, closing: str) -> list[str]:
    """As `between`, but both marks have to stand on one line."""
    return [body for line in text.split("\n") for body in between(line, opening, closing)]


def solutions(text: str) -> list[str]:
    """The bodies of single-line solution tags."""
    return between_on_line(text, _OPEN, _CLOSE)


def malformed_solutions(text: str) -> list[str]:
    """The bodies of `</solution>...</solution>` on one line, a slip that LiveBench forgives in some tasks."""
    return between_on_line(text, _CLOSE, _CLOSE)


def boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` without dollar signs, or of the last `\fbox{...}` where no box is.

    LiveBench reads a `\boxed ` followed by a space first, up to the next dollar sign, wherever it stands.
    None where there is no box or its braces do not close.
    """
    if "\\boxed " in text:
        return text.rsplit("\\boxed ", 1)[1].split("$", 1)[0]
    mark = "\\boxed" if "\\boxed" in text else "\\fbox"
    _, found, inside = text.rpartition(mark)
    if not found or not inside.startswith("{"):
        return None
    depths = accumulate((character == "{") - (character == "}") for character in inside)
    end = next((position for position, depth in enumerate(depths) if depth == 0), None)
    return None if end is None else inside[1:end].replace("$", "").replace("fbox", "boxed")


def plain_box(text: str) -> list[str]:
    r"""The content of `boxed` without `\text{}` and backslashes; nothing where there is no box."""
    content = boxed(text)
    return [] if content is None else [without_marks(content, "\\text{", "}", "\\")]


def without_marks(text: str, *marks: str) -> str:
    """The text with every occurrence of the marks taken out, one mark after another."""
    for mark in marks:
        text = text.replace(mark, "")
    return text


def distance(first: Sequence[_T], second: Sequence[_T]) -> int:
    """The Levenshtein distance between two sequences: insertions, deletions and substitutions cost 1 each."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            diagonal, row[j] = row[j], diagonal if a == b else 1 + min(diagonal, row[j], row[j - 1])
    return row[-1]


OFFICIAL_MISS: Final = "official_miss"
"""The official rule gave less than the answer, read sensibly, deserves (e.g. `Answer: A` where `AAAA` was asked)."""

OFFICIAL_LOOSE: Final = "official_loose"
"""The official rule gave more than the answer, read sensibly, deserves (e.g. `1073` for the truth `073`)."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one answer. `value` in [0, 1] is the official score and stays the primary one.

    `strict` is evalkit's own reading of the same answer in [0, 1], None where the official rule needs no second
    opinion; the two together decide the flags. `anchored` says that the answer stood in the place the prompt asks
    for, so that it counts even when the text was cut off at the token limit. `reason` "" means: from the value, and
    "no_answer" where there is neither value nor answer.
    """

    value: float
    answer: str | None = None
    anchored: bool = False
    strict: float | None = None
    reason: str = ""
    flags: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """No answer is said to be none."""
        if not self.reason and self.answer is None and not self.value:
            object.__setattr__(self, "reason", "no_answer")

    @property
    def all_flags(self) -> tuple[str, ...]:
        """The grader's own flags and, where the official rule and evalkit's reading part, which way they do."""
        if self.strict is None or self.strict == self.value:
            return self.flags
        return (*self.flags, OFFICIAL_MISS if self.strict > self.value else OFFICIAL_LOOSE)


def truth_of(doc: Mapping[str, Any]) -> str:
    """The ground truth of a question, never empty.

    Raises `DataError`: the truth is missing, empty or not text. An empty truth would be contained in every answer.
    """
    truth = required(doc, "ground_truth")
    if not isinstance(truth, str):
        raise DataError(f"{name_of(doc)}: 'ground_truth' must be text, not {truth!r:.80}")
    return truth
