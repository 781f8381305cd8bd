"""The LiveBench scorer: the question's own grader gives the official verdict, in every task.

Where the official rule misses an answer that is plainly there, or gives one away that is not, the score keeps the
official value and carries a flag. No language model judges anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any, Final

from evalkit.model import FinalText, Score, Status
from evalkit.scoring import sandbox
from evalkit.scoring.final import unanswered
from evalkit.scoring.livebench import sentences
from evalkit.scoring.livebench.grade import Grade
from evalkit.scoring.livebench.graders import CODING, grader_of, kind_of
from evalkit.scoring.worker import GradeError, GradeTimeout

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
    return (*lacking, *([why] if counts_sentences and (why := sentences.unavailable()) else []))


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
