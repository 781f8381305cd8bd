"""LiveBench: evalkit's scores on stored answers beside the scores that LiveBench's own scripts wrote for them.

    python benchmarks/agreement_livebench.py [FOLDER]

FOLDER holds questions/CATEGORY.TASK.jsonl (the data set's rows) and judged_answers/CATEGORY.TASK.jsonl (question_id,
model, answer, score); the default is the folder of real rows beside the checkout. Answers whose question has no ground
truth or tests there cannot be checked and are counted apart. Every difference is listed by question id; ends with 1
if one of them is not explained in docs/agreement-livebench.md, or if fewer than 99.5 % agree.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agreement.report import json_lines

from evalkit.model import FinalText, Score
from evalkit.scoring import livebench
from evalkit.scoring.livebench import instructions

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT.parent / "shared" / "data" / "livebench"
EXPLANATIONS = ROOT / "docs" / "agreement-livebench.md"
ENOUGH = 0.995
SAME = 1e-6
TIME_LIMITED = "amps_hard_derivatives"


@dataclass(frozen=True)
class Outcome:
    """One stored answer with its question's document, the score that LiveBench's scripts gave, and evalkit's."""

    doc: dict[str, Any]
    judged: dict[str, Any]

    @cached_property
    def score(self) -> Score:
        """What evalkit makes of the answer."""
        return livebench.score(self.doc, FinalText(self.judged["answer"]))

    @property
    def agrees(self) -> bool:
        """True where both scores are the same number."""
        return self.score.value is not None and abs(self.score.value - float(self.judged["score"])) < SAME


def load(folder: Path) -> tuple[dict[str, list[Outcome]], Counter[str]]:
    """(the checkable answers by category.task, the numbers of those that are not checkable)."""
    checkable: dict[str, list[Outcome]] = {}
    others: Counter[str] = Counter()
    for path in sorted((folder / "judged_answers").glob("*.jsonl")):
        questions = folder / "questions" / path.name
        found = {row["question_id"]: row for row in json_lines(questions)} if questions.is_file() else {}
        for judged in json_lines(path):
            if row := found.get(judged["question_id"]):
                checkable.setdefault(path.stem, []).append(Outcome(livebench.normalise(row), judged))
            else:
                others[path.stem] += 1
    return checkable, others


def report(name: str, outcomes: list[Outcome], explained: str) -> int:
    """Print one task's agreement and its differences; the number of those without an explanation."""
    agree = sum(outcome.agrees for outcome in outcomes)
    print(f"{name:40} {agree:5} of {len(outcomes):5}  {agree / len(outcomes):7.1%}")
    unexplained = 0
    for outcome in outcomes:
        if not outcome.agrees:
            judged, score = outcome.judged, outcome.score
            why = explanation(outcome, explained)
            unexplained += not why
            value = "none" if score.value is None else f"{score.value:g}"
            print(
                f"    {judged['question_id']} {judged['model']}: official {judged['score']:g}, evalkit {value}"
                f" ({', '.join((score.reason, *score.flags))}), {why or 'not explained yet'}"
            )
    return unexplained


def explanation(outcome: Outcome, explained: str) -> str:
    """Why a difference is no fault of evalkit's, "" where nobody has said so."""
    if outcome.doc["question_id"] in explained:
        return "explained"
    # The official run gave 0 to comparisons that took longer than 4 s; no other subtask has any.
    timed_out = outcome.judged["score"] == 0 and outcome.score.value == 1
    return "official time limit" if timed_out and outcome.doc.get("subtask") == TIME_LIMITED else ""


def main(arguments: list[str]) -> int:
    """Print the agreement per task and in all."""
    folder = Path(arguments[0]) if arguments else DEFAULT
    checkable, others = load(folder)
    if not checkable:
        print(f"{folder} holds no judged answers with questions: name a folder with questions/ and judged_answers/.")
        return 2
    if missing := instructions.unavailable():
        print(missing)
        return 2
    explained = EXPLANATIONS.read_text(encoding="utf-8") if EXPLANATIONS.is_file() else ""
    begin = time.monotonic()
    everything = [outcome for outcomes in checkable.values() for outcome in outcomes]
    # One thread a core; the costly graders work in child processes.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        agree = sum(pool.map(lambda outcome: outcome.agrees, everything))
    seconds = time.monotonic() - begin
    unexplained = sum(report(name, outcomes, explained) for name, outcomes in checkable.items())
    print(f"{'all':40} {agree:5} of {len(everything):5}  {agree / len(everything):7.2%}   in {seconds:.0f} s")
    print("not checkable: " + (", ".join(f"{name} {number}" for name, number in others.items()) or "none"))
    return 1 if unexplained or agree < ENOUGH * len(everything) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
