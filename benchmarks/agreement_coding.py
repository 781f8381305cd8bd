"""LiveBench coding: judged programs run against the examples printed in their prompts, in the sandbox.

    python benchmarks/agreement_coding.py [FOLDER]

FOLDER holds prompts_only/coding.TASK.jsonl (question_id, turns) and judged_answers/coding.TASK.jsonl; the default is
the folder of real rows beside the checkout. The tests themselves are in none of them, so this is a check from one side
only: a program that passed all official tests has to pass the examples too; one that failed may pass them. Ends
with 1 if an officially right program fails an example.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from agreement.report import json_lines
from agreement_livebench import DEFAULT

from evalkit.scoring.answers import sandbox
from evalkit.scoring.livebench import coding

TASKS = ("LCB_generation", "coding_completion")
SAMPLE = re.compile(r"Sample Input ?\d*\n+(.*?)\n+Sample Output ?\d*\n+(.*?)(?=\n\n|\Z)", re.DOTALL)
EXAMPLE = re.compile(r"Input: (.*?)\nOutput: (.*?)\n")
ARGUMENT = re.compile(r",\s*(?=[A-Za-z_]\w*\s*=)")
METHOD = re.compile(r"def (\w+)\(self")
STARTER = re.compile(r"```python\n(.*?)```", re.DOTALL)


def document(task: str, prompt: str) -> dict[str, Any] | None:
    """The grading document that the examples of a prompt make; None where it prints none that can be read."""
    starters = STARTER.findall(prompt) if task == "coding_completion" else []
    doc: dict[str, Any] = {
        "question_id": "",
        "task": task,
        "partial_solution": starters[-1].rstrip("\n") if starters else "",
    }
    examples = SAMPLE.findall(prompt)
    if not examples:
        doc["func_name"] = next(iter(METHOD.findall(prompt)), None)
        examples = [pair for found in EXAMPLE.findall(prompt) if (pair := call(*found))]
    if not examples or doc.get("func_name", "") is None:
        return None
    return {**doc, "public_test_cases": [{"input": given, "output": expected} for given, expected in examples]}


def call(given: str, expected: str) -> tuple[str, str] | None:
    """The arguments of "nums = [1,2], k = 3", one a line, and the result, if all are JSON."""
    values = [argument.partition("=")[2].strip() for argument in ARGUMENT.split(given)]
    try:
        for text in (*values, expected):
            json.loads(text)
    except ValueError:
        return None
    return "\n".join(values), expected


def main(arguments: list[str]) -> int:
    """Print how the official scores and the examples go together."""
    folder = Path(arguments[0]) if arguments else DEFAULT
    if why := sandbox.available():
        print(why)
        return 2
    found: Counter[tuple[str, float, str]] = Counter()
    for task in TASKS:
        prompts = {
            row["question_id"]: row["turns"][0] for row in json_lines(folder / f"prompts_only/coding.{task}.jsonl")
        }
        for judged in json_lines(folder / f"judged_answers/coding.{task}.jsonl"):
            doc = document(task, prompts.get(judged["question_id"], ""))
            grade = coding.grade(doc, judged["answer"]) if doc else None
            passes = "no examples" if grade is None else "pass" if grade.value else "fail"
            found[task, judged["score"], passes] += 1
    print(f"{'task':20} {'official':>8} {'examples':>12} {'programs':>9}")
    for (task, official, passes), number in sorted(found.items()):
        print(f"{task:20} {official:8g} {passes:>12} {number:9}")
    return 1 if any(found[task, 1, "fail"] for task in TASKS) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
