"""LiveBench: its rows as documents, and the scorer: the question's own grader, by task and date, gives the verdict.

The verdict is the official one, in every task. Where the official rule misses an answer that is plainly there, or gives
one away that is not, the score keeps the official value and carries a flag. No language model judges anything. Raw rows
come in two forms: as on the Hub (dates as timestamps) and as JSON lines (dates as text).
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from evalkit.errors import DataError, SuiteError
from evalkit.model import FinalText, Score, Status
from evalkit.resources import toml_file
from evalkit.scoring.answers import sandbox
from evalkit.scoring.answers.reply import first_turn, unanswered
from evalkit.scoring.answers.worker import GradeError, GradeTimeout
from evalkit.scoring.livebench import instructions
from evalkit.scoring.livebench.extract import Grade
from evalkit.scoring.registry import name_of
from evalkit.scoring.rows import Document, Row, Settings

VERSION: Final = 1

RELEASES: Final = ("2024-06-24", "2024-07-26", "2024-08-31", "2024-11-25")
"""The public releases; of later ones only parts are."""

_KEPT: Final = ("question_id", "category", "task")
_OPTIONAL: Final = (
    "subtask",
    "ground_truth",
    "instruction_id_list",
    "task_prompt",
    "question_title",
    "partial_solution",
    "public_test_cases",
    "private_test_cases",
)


def normalise(row: Mapping[str, Any]) -> dict[str, Any]:
    """The grading document of one raw row.

    Keys: question_id, category, task, prompt (the one turn), release_date and removal_date (ISO dates; "" where
    active), and, where the row has them, subtask, ground_truth, instruction_id_list, kwargs (nulls dropped),
    task_prompt, question_title, partial_solution, public_test_cases, private_test_cases, func_name.
    The column `release_date` of the source, an article's date, is not taken over.

    Raises `DataError`: a column that every row must have is missing, or a date is none.
    """
    if missing := [name for name in (*_KEPT, "turns", "livebench_release_date") if not row.get(name)]:
        raise DataError(f"LiveBench row {row.get('question_id', '?')} has no {missing[0]}.")
    doc = {name: row[name] for name in _KEPT}
    doc["prompt"] = row["turns"][0]
    doc["release_date"] = _iso_date(row, "livebench_release_date")
    doc["removal_date"] = _iso_date(row, "livebench_removal_date")
    doc |= {name: row[name] for name in _OPTIONAL if row.get(name) not in (None, "")}
    if row.get("kwargs") is not None:
        doc["kwargs"] = [
            {name: value for name, value in (kwargs or {}).items() if value is not None} for kwargs in row["kwargs"]
        ]
    if function := _function_name(row):
        doc["func_name"] = function
    return doc


def active_in(row: Mapping[str, Any], release: str) -> bool:
    """True where a raw row belongs to a release: published by then and not yet removed.

    A removal date after the release takes no row out of it: web_of_lies_v2 carries one and belongs to 2024-11-25.

    Raises `SuiteError`: the release is not one of the public ones.
    """
    if release not in RELEASES:
        raise SuiteError(f"LiveBench has no public release {release!r}: choose one of {', '.join(RELEASES)}.")
    removed = _iso_date(row, "livebench_removal_date")
    return _iso_date(row, "livebench_release_date") <= release and (removed == "" or removed > release)


def select(rows: Iterable[Mapping[str, Any]], release: str) -> list[dict[str, Any]]:
    """The normalised documents of the rows that are active in a release, in the rows' order."""
    return [normalise(row) for row in rows if active_in(row, release)]


def _iso_date(row: Mapping[str, Any], column: str) -> str:
    """The date as "YYYY-MM-DD", "" where the column is empty."""
    value = row.get(column)
    if value is None or value == "":
        return ""
    if isinstance(value, dt.date):  # datetime and pandas' Timestamp are dates
        return value.strftime("%Y-%m-%d")
    if isinstance(value, int | float):  # seconds since 1970, or milliseconds as pandas writes them
        seconds = value / 1000 if value > 1e11 else value
        return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%d")
    try:
        return dt.datetime.fromisoformat(str(value).strip()).strftime("%Y-%m-%d")
    except ValueError:
        raise DataError(f"LiveBench row {row.get('question_id', '?')}: {column} {value!r} is not a date.") from None


def _function_name(row: Mapping[str, Any]) -> str | None:
    """The function that a coding question asks for, None where it asks for a program."""
    original = row.get("original_json")
    try:
        original = json.loads(original) if isinstance(original, str) else original
        metadata = original.get("metadata") if isinstance(original, Mapping) else None
        metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
    except ValueError as error:
        raise DataError(f"LiveBench row {row.get('question_id', '?')}: original_json is not JSON ({error}).") from None
    name = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) and name else None


DEFAULT_RELEASE: Final = "2024-11-25"


def livebench(rows: Sequence[Row], settings: Settings) -> list[Document]:
    """The documents of `settings["task"]` in `settings["release"]`, with `id`, `target` and the permission to run code.

    Raises:
        DataError: where the release has no question of the task, or this machine lacks what its grader counts with.
    """
    release = str(settings.get("release") or DEFAULT_RELEASE)
    documents = select([row for row in rows if row.get("task") == settings["task"]], release)
    for document in documents:
        document["id"] = f"{document['task']}/{document['question_id']}"
        document["target"] = str(document.get("ground_truth", ""))
        document["allow_code_execution"] = bool(settings.get("allow_code_execution"))
    if not documents:
        raise DataError(f"LiveBench {settings['task']}: no question is active in release {release}")
    counted = any(_SENTENCE_RULE in (document.get("instruction_id_list") or ()) for document in documents)
    if counted and (why := instructions.unavailable()):
        raise DataError(why)
    return documents


Grader = Callable[[Mapping[str, Any], str], Grade]

GRADERS: Final[Mapping[str, Mapping[str, str]]] = toml_file("scoring/livebench/graders.toml")
"""By kind of question: the date of release from which on a rule is in force, and the rule, "module:function"."""

CODING: Final = frozenset({"lcb_generation", "coding_completion"})  # the kinds that run programs


def grader_of(doc: Mapping[str, Any]) -> Grader:
    """The grader for one question.

    Raises `DataError`: no grader is known for its task and release date, or it has no release date.
    """
    kind, released = kind_of(doc), doc.get("release_date")
    if not isinstance(released, str) or not released:
        raise DataError(f"{name_of(doc)} has no release date: normalise the row first.")
    targets = [target for since, target in GRADERS.get(kind, {}).items() if since <= released]
    if not targets or not targets[-1]:
        raise DataError(f"{name_of(doc)}: evalkit has no grader for {kind!r} questions released on {released}.")
    module, _, function = targets[-1].partition(":")
    grader: Grader = getattr(import_module(f"{__name__}.{module}"), function)
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


_TAGS: Final = re.compile(r"</?(?:solution|PLOT_SUMMARY)>|\s+")
_LONGEST_ANSWER: Final = 1_000  # characters; some answers are whole texts, which the journal has anyway
_SENTENCE_RULE: Final = "length_constraints:number_sentences"
_NO_PERMISSION: Final = (
    "runs programs that the model wrote: set allow_code_execution: true to let it, inside bubblewrap"
)


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """The official LiveBench score of one reply, in [0, 1]; `lenient` is evalkit's own reading where it has one.

    `doc` is what `normalise` makes of a row. Coding questions also need `doc["allow_code_execution"]` true and
    bubblewrap; without, they count as not asked. A text that was cut off at the token limit is graded only where the
    answer stands in the place the prompt asks for.

    Raises `DataError`: the question has no ground truth, tests or rules, or evalkit has no grader for it, or the data
    that its grader needs is not on this machine.
    """
    grader = grader_of(doc)
    if why := not_asked(doc):
        return Score(None, Status.NOT_ASKED, why)
    if nothing := unanswered(final):
        return nothing
    final = first_turn(final, speakers=False)
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


def _scored(grade: Grade, final: FinalText) -> Score:
    answer = grade.answer and grade.answer[:_LONGEST_ANSWER]
    if final.truncated and not grade.anchored:
        return Score(0.0, Status.TRUNCATED, "truncated", answer=answer, lenient=grade.value)
    reason = grade.reason or {1.0: "right", 0.0: "wrong"}.get(grade.value, "partial")
    unread = reason == "no_answer" and grade.value == 0
    return Score(
        value=grade.value,
        status=Status.NO_ANSWER if unread else Status.SCORED,
        reason="truncated_with_answer" if final.truncated else reason,
        answer=answer,
        lenient=grade.value if grade.strict is None else grade.strict,
        flags=grade.all_flags,
        metrics=grade.metrics,
    )
