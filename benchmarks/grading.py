r"""How long grading takes: every scorer on a megabyte of one thing repeated, and LiveBench's judged answers.

    python benchmarks/grading.py [loops [SCORER] | livebench [FOLDER]]

A model that lost its way repeats a character, a word, an opening bracket, its answer, up to the token limit. Each of
`LOOPS` stands bare, in a box, in tags, behind "Answer:" and as a formula, 40 kB long; what takes longest is read again
as 250 kB and as a megabyte. The promise: 2 s of processor time, and no more than in proportion to the length. What a
scorer has done in a child process is told apart: those have limits of their own. (Programs are read where there is a
sandbox, and `option_logprobs` reads no text.)

Then every distinct judged answer of LiveBench (coding aside; the folder as for agreement_livebench.py) is graded once,
on fresh worker processes; the promise is 60 s per 1,000 answers on two idle cores. Ends with 1 where one is broken.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agreement_livebench as judged

from evalkit.model import FinalText, Score
from evalkit.scoring.answers import judge, worker
from evalkit.scoring.livebench import instructions
from evalkit.scoring.registry import scorer

# ---------------------------------------------------------------- loops

GLANCE, SHORT, LONG = 40_000, 250_000, 1_000_000  # bytes
SLOWEST = 3  # of the glances, that are read again
MOST_SECONDS = 2.0
MOST_GROWTH = 6.0  # from SHORT to LONG; 4 is in proportion
TOO_FAST_SECONDS = 0.1  # to tell how it grows
LOOPS = {
    "one character": "a",
    "one word": "word ",
    "spaces": " ",
    "line ends": "\n",
    "box, open": r"\boxed{",
    "box": r"\boxed{3} ",
    "brace": "{",
    "bracket": "(",
    "brackets": "((x)",
    "marker": "Answer: ",
    "answer": "Answer: 3\n",
    "letter": "B is correct. ",
    "letters": "A and ",
    "tag": "<answer>",
    "tags": "<answer>3</answer> ",
    "solutions": "<solution>x</solution>\n",
    "digits": "1",
    "numbers": "1 2 3 ",
    "list": "1,",
    "sum": "1+",
    "fraction": r"\frac{1}{2} ",
    "fraction, open": r"\frac{",
    "root": r"\sqrt{",
    "formulas": "$x$ ",
    "relation": "x = ",
    "Chinese": "答案是",
    "verdict": "对",
    "fence": "```\n",
    "JSON": '{"answer": "A", ',
    "table": "| a | b |\n",
    "HTML": "<table><tr><td>",
    "bold": "**no** ",
    "half": "½",
    "marks": "\u0301",
    "option": "London, ",
    "further problem": "Question: what?\nAnswer: 3\n",
}
FORMS = ("{}", r"\boxed{{{}}}", "<answer>{}</answer>", "<solution>{}</solution>", "Answer: {}", "The answer is ${}$.")

CHOICES = {"choices": ["Paris in spring", "London", "a red box", "42 metres"], "answer": "B"}


def asked(task: str, truth: str | None, released: str = "2024-11-25", **more: Any) -> tuple[str, dict[str, Any]]:
    """A document of LiveBench, with its scorer."""
    return "livebench", {"id": f"q/{task}", "task": task, "ground_truth": truth, "release_date": released, **more}


def theorem(kind: str, answer: Any) -> tuple[str, dict[str, Any]]:
    """A document of TheoremQA, with its scorer."""
    return "theoremqa", {"answer": answer, "answer_type": kind}


RULES = {
    "prompt_to_repeat": "abc",
    "postscript_marker": "P.S.",
    "section_spliter": "Section",
    "num_sections": 2,
    "num_bullets": 3,
    "num_paragraphs": 2,
    "num_sentences": 3,
    "num_words": 30,
    "nth_paragraph": 1,
    "first_word": "x",
    "relation": "at least",
    "end_phrase": "bye",
    "keywords": ["cat"],
    "forbidden_words": ["dog"],
}
WORDS = "oak,elm,ash,fir,red,blue,green,pink"
TABLES = {
    "CSV format to JSON": '[{"a": 1}]',
    "JSON format to CSV": "a,b\n1,2\n",
    "CSV format to JSONL": '{"a": 1}\n',
    "CSV format to Markdown": "| a |\n|---|\n| 1 |\n",
    "CSV format to HTML": "<table><tr><th>a</th></tr></table>",
}
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("choice", {**CHOICES, "shot_header": "Question:"}),
    ("integer", {"answer": "33"}),
    ("expression", {"answer": r"\frac{1}{2}"}),
    ("short", {"answer": "Paris"}),
    theorem("float", 0.5),
    theorem("integer", 3),
    theorem("bool", True),
    theorem("option", "(b)"),
    theorem("list of integer", [1, 2]),
    theorem("list of float", [0.5, 0.25]),
    ("mmmu", {"type": "choice", **CHOICES}),
    ("mmmu", {"type": "open", "answers": ["0.5"]}),
    ("mmmu", {"type": "open", "answers": ["red box"]}),
    ("mmmu", {"type": "open", "answers": ["C"]}),
    ("mmmu_pro", CHOICES),
    ("cmmmu", {"type": "choice", **CHOICES, "answer": "AB"}),
    ("cmmmu", {"type": "true_false", "answer": "对"}),
    ("cmmmu", {"type": "fill", "answer": "25"}),
    ("cmmmu", {"type": "fill", "answer": "乙"}),
    ("cmmmu", {"type": "fill", "answer": "牛顿第二定律"}),
    ("cii_bench", CHOICES),
    ("blink", CHOICES),
    ("mathvision", {"type": "open", "answer": "0.5"}),
    ("mathvision", {"type": "choice", "choices": ["$1$", "$2$", r"$\frac{1}{2}$"], "answer": "B"}),
    ("ocrbench", {"answers": ["Paris"], "dataset": "x"}),
    ("ocrbench", {"answers": ["x ^ 2"], "dataset": "HME100k"}),
    ("judged", {"question": "?", "truth": "red"}),
    asked("zebra_puzzle", "1,red"),
    asked("zebra_puzzle", "red", "2024-07-26"),
    asked("web_of_lies_v2", "yes, no, yes", "2024-07-26"),
    asked("web_of_lies_v3", "yes, no, yes"),
    asked("spatial", "8", "2024-07-26"),
    asked("connections", WORDS),
    asked("connections", WORDS, "2024-06-24"),
    asked("plot_unscrambling", "A b. C d."),
    asked("typos", "the cat sat."),
    asked("cta", "id"),
    asked("tablejoin", '{"a": "x"}'),
    *(
        asked("tablereformat", truth, prompt=f"Please convert the Input Table from {way} format")
        for way, truth in TABLES.items()
    ),
    asked("olympiad", "1,2", subtask="imo"),
    asked("math_comp", "A", subtask="smc"),
    asked("math_comp", "033", subtask="aime"),
    asked("AMPS_Hard", r"\frac{1}{2}"),
    asked("summarize", None, instruction_id_list=[*instructions.RULES], kwargs=[RULES] * len(instructions.RULES)),
    asked("LCB_generation", "", allow_code_execution=True, public_test_cases='[{"input": "1", "output": "1"}]'),
)


@dataclass(frozen=True)
class Cost:
    """The processor seconds of one reading, here and in children, and what was read."""

    seconds: float
    in_children: float
    loop: str
    form: str

    @property
    def text(self) -> str:
        """What was read, in words."""
        return self.loop if self.form == "{}" else f"{self.loop} in {self.form.format('...')}"


def cost(name: str, document: Mapping[str, Any], loop: str, form: str, size: int) -> Cost:
    """The cost of one reading."""
    text = form.format(LOOPS[loop] * (size // len(LOOPS[loop].encode())))
    children, begin = seconds_of_children(), time.process_time()
    read(name, document, text)
    return Cost(time.process_time() - begin, seconds_of_children() - children, loop, form)


def read(name: str, document: Mapping[str, Any], text: str) -> Score | float | None:
    """A scorer's verdict on a text; of a judged suite what the text, as the judge's, would mean."""
    return judge.grade(text) if name == "judged" else scorer(name)(document, FinalText(text))


def seconds_of_children() -> float:
    """The processor time of all children, ended ones and those that live."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(FileNotFoundError):  # it has just ended
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
    return ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def loops(only: str) -> bool:
    """Print the slowest loop of every case; whether all keep the promise."""
    kept = True
    print(f"{'scorer':44} {'250 kB':>7} {'1 MB':>7} {'growth':>6} {'children':>8}  slowest")
    for name, document in CASES:
        if only not in {"", name}:
            continue
        read(name, document, "Answer: 1")  # what is imported and started takes its time once
        glances = [cost(name, document, loop, form, GLANCE) for loop in LOOPS for form in FORMS]
        slowest = sorted(glances, key=lambda cost: cost.seconds)[-SLOWEST:]
        worst = max((cost(name, document, one.loop, one.form, SHORT) for one in slowest), key=lambda cost: cost.seconds)
        long = worst
        if worst.seconds < 2 * MOST_SECONDS:
            long = cost(name, document, worst.loop, worst.form, LONG)
        growth = long.seconds / worst.seconds
        broken = long.seconds > MOST_SECONDS or (long.seconds > TOO_FAST_SECONDS and growth > MOST_GROWTH)
        kept = kept and not broken
        kind = document.get("task") or document.get("answer_type") or document.get("type") or ""
        print(
            f"{name + ' ' + kind:44} {worst.seconds:7.3f} {long.seconds:7.3f} {growth:6.1f} "
            f"{max(cost.in_children for cost in glances):8.1f}  {worst.text}{' BROKEN' * broken}",
            flush=True,
        )
    return kept


# ---------------------------------------------------------------- judged answers

PROMISED_SECONDS = 60.0


def judged_answers(folder: Path) -> bool:
    """Print seconds per 1,000 answers by task and in all; whether the promise is kept, also without data."""
    checkable, _ = judged.load(folder)
    if not checkable or (missing := instructions.unavailable()):
        print(missing if checkable else f"{folder} holds no questions/ with judged_answers/: LiveBench is left out.")
        return True
    total_seconds, total, cores = 0.0, 0, len(os.sched_getaffinity(0))
    worker.close()  # what the workers have to import is a part of the time
    before = time.process_time() + seconds_of_children()
    print(f"\n{'task':40} {'answers':>7} {'seconds':>8} {'per 1,000':>10}")
    for name, answers in checkable.items():
        begin = time.monotonic()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda outcome: outcome.score, answers))
        seconds = time.monotonic() - begin
        total_seconds, total = total_seconds + seconds, total + len(answers)
        print(f"{name:40} {len(answers):7} {seconds:8.2f} {1000 * seconds / len(answers):10.1f}")
    print(f"{'all':40} {total:7} {total_seconds:8.2f} {1000 * total_seconds / total:10.1f}")
    used = time.process_time() + seconds_of_children() - before
    on_two = 1000 * used / total / 2
    print(f"processor time {used:.1f} s: {on_two:.1f} s per 1,000 on two idle cores (here: {cores})")
    return on_two < PROMISED_SECONDS


def main(arguments: list[str]) -> int:
    """Print what is asked for, or both."""
    part, which = (*arguments, "", "")[:2]
    kept = [loops(which)] if part != "livebench" else []
    kept += [judged_answers(Path(which) if which else judged.DEFAULT)] if part != "loops" else []
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
