"""Which grader a question gets: a table of tasks and release dates, read per question and never per run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.scoring.livebench.grade import Grade, name_of

Grader = Callable[[Mapping[str, Any], str], Grade]

# (kind of question, graded so from this release date on, module:function); the last row in force decides.
GRADERS: Final = (
    ("amc", "", "math_comp:grade_letter"),
    ("aime", "", "math_comp:grade_digits"),
    ("olympiad", "", "olympiad:grade"),
    ("amps_hard", "", "amps:grade"),
    ("web_of_lies_v2", "", "web_of_lies:grade_v2"),
    ("web_of_lies_v3", "", "web_of_lies:grade_v3"),
    ("zebra_puzzle", "", "zebra:grade_old"),
    ("zebra_puzzle", "2024-11-25", "zebra:grade_new"),
    ("spatial", "", "spatial:grade"),
    ("cta", "", "columns:grade_cta"),
    ("tablejoin", "", "columns:grade_tablejoin"),
    ("tablereformat", "", "tablereformat:grade_v1"),
    ("tablereformat", "2025-04-25", "tablereformat:grade_v2"),
    ("connections", "", "language:grade_connections_old"),
    ("connections", "2024-11-25", "language:grade_connections_new"),
    ("plot_unscrambling", "", "language:grade_plot"),
    ("typos", "", "language:grade_typos"),
    ("paraphrase", "", "instructions:grade"),
    ("simplify", "", "instructions:grade"),
    ("story_generation", "", "instructions:grade"),
    ("summarize", "", "instructions:grade"),
    ("lcb_generation", "", "coding:grade"),
    ("coding_completion", "", "coding:grade"),
)

CODING: Final = frozenset({"lcb_generation", "coding_completion"})
"""The kinds that run programs."""

# Rules that replaced those above and are not implemented: a question of that date must not get the old rule's number.
ENDED: Final = {
    "paraphrase": "2025-11-25",
    "simplify": "2025-11-25",
    "story_generation": "2025-11-25",
    "summarize": "2025-11-25",
}


def grader_of(doc: Mapping[str, Any]) -> Grader:
    """The grader for one question.

    Raises:
        DataError: no grader is known for its task and release date, or it has no release date.
    """
    kind, released = kind_of(doc), doc.get("release_date")
    if not isinstance(released, str) or not released:
        raise DataError(f"{name_of(doc)} has no release date: normalise the row first.")
    targets = [target for name, since, target in GRADERS if name == kind and since <= released]
    if not targets or released >= ENDED.get(kind, "9999"):
        raise DataError(f"{name_of(doc)}: evalkit has no grader for {kind!r} questions released on {released}.")
    module, _, function = targets[-1].partition(":")
    grader: Grader = getattr(import_module(f"{__package__}.{module}"), function)
    return grader


def kind_of(doc: Mapping[str, Any]) -> str:
    """The kind of question, from the subtask where there is one, else from the task."""
    key = str(doc.get("subtask") or doc.get("task") or "").lower()
    words = key.split("_")
    if words[0] in {"amc", "smc"} or words[1:2] == ["amc"]:
        return "amc"
    if words[0] in {"imo", "usamo"}:
        return "olympiad"
    if "amps_hard" in key:
        return "amps_hard"
    return "aime" if words[0] == "aime" else key
