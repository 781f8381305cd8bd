"""Four endpoints that this script has evalkit start on your CPU: is a candidate still the model of the reference?

The reference is compared with a faithful port, a degraded one, and one with a single wrong constant, with evalkit's own
commands. The script exits with 0 exactly when the verdicts are the expected ones: EQUIVALENT, DEGRADED, INCONCLUSIVE.
"""
# ruff: noqa: INP001, S603, T201 - a script that people run, which runs evalkit and talks to them

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
REFERENCE = HERE / "reference.yaml"

# candidate: (what it is, the verdict that evalkit must give, and the exit code that stands for it)
CANDIDATES = {
    "faithful": ("another attention kernel, a 32-bit KV cache", "EQUIVALENT", 0),
    "degraded": ("a 4-bit KV cache without its protection", "DEGRADED", 1),
    "rope": ("RoPE base 10,000 in place of 100,000", "INCONCLUSIVE", 4),
}
INTERRUPTED = 130


class Stopped(Exception):  # noqa: N818 - not an error of this script
    """A command failed; its exit code becomes this script's, and it has said why."""


def main() -> int:
    """Runs the demonstration and gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=Path, default=HERE / "runs", help="folder for what comes back (default: %(default)s)"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="ask everything again, into a new folder beside the old one"
    )
    given = parser.parse_args()
    runs = given.runs / time.strftime("%Y%m%d-%H%M%S") if given.fresh else given.runs
    signal.signal(signal.SIGTERM, interrupt)
    started = time.monotonic()
    try:
        codes = demonstrate(runs)
    except Stopped as stopped:
        return int(stopped.args[0]) or 1
    except KeyboardInterrupt:
        return INTERRUPTED
    explain_rope(runs)
    return summarise(codes, time.monotonic() - started)


def interrupt(*_: object) -> None:
    """What Ctrl-C does, for SIGTERM too."""
    raise KeyboardInterrupt


def demonstrate(runs: Path) -> dict[str, int]:
    """Asks four endpoints at once, with one thread each, and compares; the exit code of every comparison."""
    one([sys.executable, str(HERE.parent / "standins" / "weights.py"), '{"weights_type": "F16"}'])
    degraded, rope = (evalkit("run", str(HERE / f"{name}.yaml"), "--quiet", runs=runs) for name in ("degraded", "rope"))
    # One thread a server takes what the cores have left: none waits for the slowest of a pair, nor for a comparison.
    with running(degraded, printing=False):
        with running(rope, printing=False):
            title("A faithful port", CANDIDATES["faithful"][0])
            print("(Beside this comparison, the two broken ports are asked as well.)\n", flush=True)
            codes = {"faithful": compare("faithful", runs)}
        title("A port with one wrong constant", CANDIDATES["rope"][0])
        codes["rope"] = compare("rope", runs)
    title("A port that saves too much", CANDIDATES["degraded"][0])
    codes["degraded"] = compare("degraded", runs)
    return codes


def title(text: str, what: str) -> None:
    """A heading before a comparison."""
    print(f"\n{'=' * 78}\n{text}: {what}\n{'=' * 78}", flush=True)


def evalkit(command: str, *arguments: str, runs: Path) -> list[str]:
    """A command line of evalkit's, with its runs in `runs`."""
    return [sys.executable, "-m", "evalkit", command, *arguments, "--set", f"runs={runs}"]


def compare(name: str, runs: Path) -> int:
    """`evalkit compare reference.yaml NAME.yaml`: the verdict's exit code; anything else stops the demonstration."""
    code = one(evalkit("compare", str(REFERENCE), str(HERE / f"{name}.yaml"), runs=runs), stop=False)
    if code not in {0, 1, 3, 4}:
        raise Stopped(code)
    return code


def one(command: Sequence[str], *, stop: bool = True) -> int:
    """Runs one command to its end."""
    with running(command, stop=stop) as codes:
        pass
    return codes[0]


@contextmanager
def running(*commands: Sequence[str], stop: bool = True, printing: bool = True) -> Iterator[list[int]]:
    """Runs commands side by side; at the end of the context all have ended, and their exit codes are in the list.

    Without `printing` only what is amiss is shown, which comes over stderr.
    """
    codes: list[int] = []
    output = None if printing else subprocess.DEVNULL
    processes = [subprocess.Popen(command, stdout=output) for command in commands]
    try:
        yield codes
        codes.extend(process.wait() for process in processes)
    finally:
        for process in processes:
            # Only after an interruption: evalkit then stops its servers before it ends.
            if process.poll() is None:
                process.terminate()
            process.wait()
    if stop and any(codes):
        raise Stopped(max(codes))


def answers(run: Path) -> dict[str, str]:
    """What a run's journal holds: the text of every item."""
    texts: dict[str, str] = {}
    for line in (run / "journal.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("record") == "reply":
            texts[record["item"]] = record["body"]["choices"][0]["message"]["content"]
    return texts


def same_texts(runs: Path, name: str) -> float:
    """The share of items to which a candidate gives the reference's very text."""
    reference, candidate = answers(runs / "reference"), answers(runs / name)
    return sum(text == candidate.get(item) for item, text in reference.items()) / len(reference)


def explain_rope(runs: Path) -> None:
    """Says what the accuracy of the third candidate does not show."""
    suite = json.loads((runs / "reference--rope" / "comparison.json").read_bytes())["suites"][0]
    worse, better, points = suite["flips"]["regressed"], suite["flips"]["improved"], 100 * suite["difference"]
    rope, faithful = same_texts(runs, "rope"), same_texts(runs, "faithful")
    print(
        f"""
What accuracy alone cannot see: the wrong constant moves it by {points:+.1f} points only, because {worse} items got
worse and {better} got better. With so many flips among 200 items evalkit does not pass this port, and it cannot
call it degraded either: INCONCLUSIVE. Yet only {rope:.0%} of its texts are the reference's, where the faithful
port gives {faithful:.0%}. This is another model, which happens to be about as good at these items."""
    )


def summarise(codes: dict[str, int], seconds: float) -> int:
    """Prints what was expected and what came, and gives 0 where all is as expected."""
    verdicts = {code: verdict for _, verdict, code in CANDIDATES.values()} | {3: "INVALID"}
    print(f"\n{'candidate':<10} {'expected':<13} {'verdict':<13} exit code")
    for name, (_, expected, _code) in CANDIDATES.items():
        print(f"{name:<10} {expected:<13} {verdicts[codes[name]]:<13} {codes[name]}")
    as_expected = all(codes[name] == code for name, (_, _, code) in CANDIDATES.items())
    ending = "all as expected" if as_expected else "NOT as expected"
    print(f"\n{ending}, in {seconds:.0f} s on {os.cpu_count()} cores")
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
