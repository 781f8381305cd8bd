"""Four endpoints that this script has evalkit start on your CPU: is a candidate still the model of the reference?

The reference is compared with a faithful port, a degraded one, and one with a single wrong constant, with evalkit's own
commands. The script exits with 0 exactly when the verdicts are the expected ones: EQUIVALENT, DEGRADED, INCONCLUSIVE.
With --pictures the endpoints read pictures, which one of them damages: EQUIVALENT, DEGRADED.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PICTURES = HERE.with_name("demo-multimodal")

# candidate: (what it is, and the verdict that evalkit must give)
CANDIDATES = {
    "faithful": ("another attention kernel, a 32-bit KV cache", "EQUIVALENT"),
    "degraded": ("a 4-bit KV cache without its protection", "DEGRADED"),
    "rope": ("RoPE base 10,000 in place of 100,000", "INCONCLUSIVE"),
}
OF_PICTURES = {
    "faithful": ("the same pictures by another way", "EQUIVALENT"),
    "degraded": ("pictures at 70 % and as JPEG", "DEGRADED"),
}
VERDICTS = {0: "EQUIVALENT", 1: "DEGRADED", 3: "INVALID", 4: "INCONCLUSIVE"}
INTERRUPTED = 130


class Stopped(Exception):  # noqa: N818 - not an error of this script
    """A command failed; its exit code becomes this script's, and it has said why."""


def main() -> int:
    """Runs the demonstration and gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", action="store_true", help="the demonstration with pictures")
    parser.add_argument("--runs", type=Path, help="folder for what comes back (default: beside the endpoints' files)")
    parser.add_argument(
        "--fresh", action="store_true", help="ask everything again, into a new folder beside the old one"
    )
    given = parser.parse_args()
    runs = given.runs or (PICTURES if given.pictures else HERE) / "runs"
    if given.fresh:
        runs /= time.strftime("%Y%m%d-%H%M%S")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        codes = demonstrate_pictures(runs) if given.pictures else demonstrate(runs)
    except Stopped as stopped:
        return int(stopped.args[0]) or 1
    except KeyboardInterrupt:
        return INTERRUPTED
    seconds = time.monotonic() - started
    if not given.pictures:
        explain_rope(runs)
    return summarise(codes, seconds, OF_PICTURES if given.pictures else CANDIDATES)


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


def demonstrate_pictures(runs: Path) -> dict[str, int]:
    """Compares the endpoints that read pictures, one pair after the other; the exit code of every comparison."""
    codes = {}
    for name, (what, _verdict) in OF_PICTURES.items():
        title(name, what)
        codes[name] = compare(name, runs, PICTURES)
    return codes


def title(text: str, what: str) -> None:
    """A heading before a comparison."""
    print(f"\n{'=' * 78}\n{text}: {what}\n{'=' * 78}", flush=True)


def evalkit(command: str, *arguments: str, runs: Path) -> list[str]:
    """A command line of evalkit's, with its runs in `runs`."""
    return [sys.executable, "-m", "evalkit", command, *arguments, "--set", f"runs={runs}"]


def compare(name: str, runs: Path, folder: Path = HERE) -> int:
    """`evalkit compare reference.yaml NAME.yaml`: the verdict's exit code; anything else stops the demonstration."""
    files = [str(folder / f"{side}.yaml") for side in ("reference", name)]
    code = one(evalkit("compare", *files, runs=runs), stop=False)
    if code not in VERDICTS:
        raise Stopped(code)
    return code


def one(command: Sequence[str], *, stop: bool = True) -> int:
    """Runs one command to its end."""
    with running(command, stop=stop) as process:
        process.wait()
    return process.returncode


@contextmanager
def running(command: Sequence[str], *, stop: bool = True, printing: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command beside the context, at whose end it has ended; without `printing` only what is amiss is shown.

    That comes over stderr.
    """
    process = subprocess.Popen(command, stdout=None if printing else subprocess.DEVNULL)
    try:
        yield process
        process.wait()
    finally:
        # Only after an interruption: evalkit then stops its servers before it ends.
        if process.poll() is None:
            process.terminate()
        process.wait()
    if stop and process.returncode:
        raise Stopped(process.returncode)


def explain_rope(runs: Path) -> None:
    """Says what the accuracy of the third candidate does not show."""
    files = [runs / f"reference--{name}" / "comparison.json" for name in ("rope", "faithful")]
    suites = [json.loads(file.read_bytes())["suites"][0] for file in files]
    rope, faithful = (
        row["candidate"] for one in suites for row in one["behaviour"] if row["name"] == "identical_texts"
    )
    flips, points = suites[0]["flips"], 100 * suites[0]["difference"]
    worse, better = flips["regressed"], flips["improved"]
    print(
        f"""
What accuracy alone cannot see: the wrong constant moves it by {points:+.1f} points only, because {worse} items got
worse and {better} got better. With so many flips among 200 items evalkit does not pass this port, and it cannot
call it degraded either: INCONCLUSIVE. Yet only {rope:.0%} of its texts are the reference's, where the faithful
port gives {faithful:.0%}. This is another model, which happens to be about as good at these items."""
    )


def summarise(codes: dict[str, int], seconds: float, candidates: Mapping[str, tuple[str, str]] = CANDIDATES) -> int:
    """Prints what was expected and what came, and gives 0 where all is as expected."""
    print(f"\n{'candidate':<10} {'expected':<13} {'verdict':<13} exit code")
    for name, (_, expected) in candidates.items():
        print(f"{name:<10} {expected:<13} {VERDICTS[codes[name]]:<13} {codes[name]}")
    as_expected = all(VERDICTS[codes[name]] == expected for name, (_, expected) in candidates.items())
    ending = "all as expected" if as_expected else "NOT as expected"
    print(f"\n{ending}, in {seconds:.0f} s on {os.cpu_count()} cores")
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
