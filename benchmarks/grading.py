"""How long grading takes: LiveBench answers without coding, on as many threads as there are cores.

    python benchmarks/grading.py [FOLDER]

FOLDER as for agreement_livebench.py. Every distinct judged answer is graded once, on fresh worker processes, and the
time is given per 1,000 answers; the promise is 60 s on two cores. The processor time says the same on a busy machine.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import agreement_livebench as judged

from evalkit.scoring.answers import worker
from evalkit.scoring.livebench import instructions

PROMISED_SECONDS = 60.0


def processor_seconds() -> float:
    """What this process and its ended children have used."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(arguments: list[str]) -> int:
    """Print seconds per 1,000 answers by task and in all."""
    folder = Path(arguments[0]) if arguments else judged.DEFAULT
    checkable, _ = judged.load(folder)
    if not checkable:
        print(f"{folder} holds no judged answers with questions: name a folder with questions/ and judged_answers/.")
        return 2
    if missing := instructions.unavailable():
        print(missing)
        return 2
    total_seconds, total = 0.0, 0
    worker.close()  # what the workers have to import is a part of the time
    before = processor_seconds()
    print(f"{'task':40} {'answers':>7} {'seconds':>8} {'per 1,000':>10}")
    for name, answers in checkable.items():
        begin = time.monotonic()
        judged.grade(answers)
        seconds = time.monotonic() - begin
        total_seconds, total = total_seconds + seconds, total + len(answers)
        print(f"{name:40} {len(answers):7} {seconds:8.2f} {1000 * seconds / len(answers):10.1f}")
    print(f"{'all':40} {total:7} {total_seconds:8.2f} {1000 * total_seconds / total:10.1f}")
    worker.close()
    cores = len(os.sched_getaffinity(0))
    used = processor_seconds() - before
    on_two = 1000 * used / total / 2
    print(f"processor time {used:.1f} s: {on_two:.1f} s per 1,000 on two idle cores (here: {cores})")
    return 0 if on_two < PROMISED_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
