"""The LiveBench scorer: the question's own grader, by task and release date, gives the official verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.scoring.answers import sandbox
from evalkit.scoring.answers.reply import unanswered
from evalkit.scoring.answers.worker import GradeError, GradeTimeout
from evalkit.scoring.livebench import instructions
from evalkit.scoring.livebench.extract import Grade, name_of

Grader = Callable[[Mapping[str, Any], str], Grade]

# (kind of question, graded so from this release date on, module:function); the last row in force decides.
GRADERS: Final = (
    ("amc", "", "mathematics:grade_letter"),
    ("aime", "", "mathematics:grade_digits"),
    ("olympiad", "", "mathematics:grade_olympiad"),
    ("amps_hard", "", "mathematics:grade_amps"),
    ("web_of_lies_v2", "", "reasoning:grade_v2"),
    ("web_of_lies_v3", "", "reasoning:grade_v3"),
    ("zebra_puzzle", "", "reasoning:grade_old"),
    ("zebra_puzzle", "2024-11-25", "reasoning:grade_new"),
    ("spatial", "", "reasoning:grade_spatial"),
    ("cta", "", "data_analysis:grade_cta"),
    ("tablejoin", "", "data_analysis:grade_tablejoin"),
    ("tablereformat", "", "data_analysis:grade_v1"),
    ("tablereformat", "2025-04-25", "data_analysis:grade_v2"),
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


# ----------------------------------------------------------------
# The LiveBench scorer: the question's own grader gives the official verdict, in every task
# Where the official rule misses an answer that is plainly there, or gives one away that is not, the score keeps the
# official value and carries a flag. No language model judges anything.


VERSION: Final = 1

_TAGS: Final = re.compile(r"</?(?:solution|PLOT_SUMMARY)>|\s+")
_LIBRARIES: Final = {"amps_hard": ("sympy", "lark", "math_verify"), "tablereformat": ("pandas", "lxml")}
_LONGEST_ANSWER: Final = 1_000  # characters; some answers are whole texts, which the journal has anyway
_SENTENCE_RULE: Final = "length_constraints:number_sentences"
_NO_PERMISSION: Final = (
    "runs programs that the model wrote: set allow_code_execution: true to let it, inside bubblewrap"
)


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """The official LiveBench score of one reply, in [0, 1]; `lenient` is evalkit's own reading where it has one.

    `doc` is what `rows.normalise` makes of a row. Coding questions also need `doc["allow_code_execution"]` true and
    bubblewrap; without, they count as not asked. A text that was cut off at the token limit is graded only where the
    answer stands in the place the prompt asks for.

    Raises:
        DataError: the question has no ground truth, tests or rules, or evalkit has no grader for it, or the data that
            its grader needs is not on this machine.
    """
    grader = grader_of(doc)
    if why := not_asked(doc):
        return Score(None, Status.NOT_ASKED, why)
    if nothing := unanswered(final):
        return nothing
    if not _TAGS.sub("", final.text):
        return Score(0.0, Status.EMPTY, "empty", lenient=0.0)
    try:
        grade = grader(doc, final.text)
    except GradeTimeout as error:
        return Score(None, Status.GRADE_ERROR, "grade_timeout", answer=str(error))
    except (GradeError, sandbox.SandboxError) as error:
        return Score(None, Status.GRADE_ERROR, "grade_error", answer=str(error))
    return _scored(grade, final)


def not_asked(doc: Mapping[str, Any]) -> str | None:
    """Why a question cannot be graded on this machine and is left out of the score; None where it can."""
    if kind_of(doc) not in CODING:
        return None
    return sandbox.available() if doc.get("allow_code_execution") is True else _NO_PERMISSION


def preflight(docs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """One sentence for each thing that grading these questions needs and this machine lacks; ask before the endpoint.

    Coding questions are not in it: what they lack makes them not asked (`not_asked`), not the run impossible.
    """
    documents = list(docs)
    kinds = {kind_of(doc) for doc in documents}
    lacking = [
        f"LiveBench's {kind} questions are graded with {library}, which is not installed: pip install {library}."
        for kind, libraries in _LIBRARIES.items()
        for library in libraries
        if kind in kinds and find_spec(library) is None
    ]
    counts_sentences = any(_SENTENCE_RULE in (doc.get("instruction_id_list") or ()) for doc in documents)
    return (*lacking, *([why] if counts_sentences and (why := instructions.unavailable()) else []))


def _scored(grade: Grade, final: FinalText) -> Score:
    answer = grade.answer and grade.answer[:_LONGEST_ANSWER]
    if final.truncated and not grade.anchored:
        return Score(0.0, Status.TRUNCATED, "truncated", answer=answer, lenient=grade.value)
    reason = grade.reason or {1.0: "right", 0.0: "wrong"}.get(grade.value, "partial")
    unread = grade.reason == "no_answer" and grade.value == 0
    return Score(
        value=grade.value,
        status=Status.NO_ANSWER if unread else Status.SCORED,
        reason="truncated_with_answer" if final.truncated else reason,
        answer=answer,
        lenient=grade.value if grade.strict is None else grade.strict,
        flags=grade.all_flags,
        metrics=grade.metrics,
    )
