"""How long comparing stored runs takes, start-up included: small runs, MMLU once and with repeats, 1,000,000 pairs.

    python benchmarks/compare.py [FOLDER]

Runs are invented and written to FOLDER (default: a temporary one): whole run folders, as `evalkit run` leaves them,
with items under headings, token counts, answers and replies. Each comparison is a process of its own, whose wall time,
processor time and peak memory are printed with the promise; the exit code is 1 where one is broken. Wall time counts,
so run it on a quiet machine. "first" is with an empty cache: the files are parsed, and large ones kept by column, as
every `evalkit run` does at its end. "again" is any comparison after that.

Two goals stand below, as ratios to what others take on the same machine: loading 1,000,000 stored samples against
reading two fields of each line with orjson, and the comparison of MMLU asked once against `lm_eval --help`. They are
printed with the goal and decide no exit code.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from evalkit.run import manifest
from evalkit.run import rows as store

PLAN = "b" * 64
REPLIES = 1000


@dataclass(frozen=True)
class Case:
    """Two runs of so many items and repeats; `mb` is None where only time was promised."""

    name: str
    items: int
    repeats: int
    seconds: float
    mb: float | None


CASES = (
    Case("small runs", 200, 1, 1.0, None),
    Case("n = 14,042, k = 1", 14_042, 1, 5.0, 500.0),
    Case("n = 14,042, k = 4", 14_042, 4, 5.0, 500.0),
    Case("1,000,000 pairs", 250_000, 4, 20.0, None),
)
ONCE, MILLION = 1, 3  # the cases that the goals are about
LOAD_TIMES, LOAD_MB, HELP_TIMES = 1.3, 250.0, 1.5
LOAD = "import sys; from pathlib import Path; from evalkit.run.read import read_run; read_run(Path(sys.argv[1]))"
TWO_FIELDS = """import sys, orjson
rows = []
with open(sys.argv[1], "rb") as lines:
    for line in lines:
        row = orjson.loads(line)
        rows.append((row.get("i"), row.get("v")))
"""


def write_run(folder: Path, name: str, case: Case, seed: int) -> Path:
    """A run folder with one suite; the two sides of a case agree on the items and are right as often."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    offsets = write_journal(home, draw)
    names = [f"subject{number % 57}/{number:06x}" for number in range(case.items)]
    chances = [random.Random(text).betavariate(0.4, 0.27) for text in names]
    store.write_lines(store.items_path(home, PLAN), (item_row(text, n) for n, text in enumerate(names)))
    docs = ({"s": "quiz", "i": text, "target": "A", "question": f"Question {text}?", "doc": {}} for text in names)
    store.write_lines(store.docs_path(home, PLAN), docs)
    header = {"format": store.SCORES_FORMAT, "journals": ["journal.jsonl"]}
    rows = (
        score_row(text, repeat, draw.random() < chances[number], draw, offsets)
        for number, text in enumerate(names)
        for repeat in range(case.repeats)
    )
    store.write_lines(store.scores_path(home, PLAN), (row for part in ([header], rows) for row in part))
    (home / manifest.NAME).unlink(missing_ok=True)
    manifest.append(home, manifest_line(name, case))
    return home


def write_journal(home: Path, draw: random.Random) -> list[int]:
    """Some replies of a few hundred words, and where each begins."""
    words = ["energy", "is", "conserved", "so", "the", "answer", "must", "be", "larger", "than", "before", "we", "see"]
    offsets = []
    with (home / "journal.jsonl").open("wb") as out:
        for number in range(REPLIES):
            offsets.append(out.tell())
            text = " ".join(draw.choices(words, k=300))
            body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}}
            out.write(orjson.dumps({"t": "reply", "key": str(number), "seconds": 1.0, "body": body}) + b"\n")
    return offsets


def item_row(text: str, number: int) -> dict[str, object]:
    """A line of the items file."""
    return {
        "s": "quiz",
        "i": text,
        "task": "quiz",
        "stratum": [text.partition("/")[0]],
        "cluster": "",
        "weight": 1.0,
        "doc_hash": f"{number:064x}",
        "prompt": f"{number + 7:064x}",
    }


def score_row(text: str, repeat: int, right: bool, draw: random.Random, offsets: list[int]) -> dict[str, object]:
    """A line of the scores file."""
    answer = "A" if right else draw.choice("BCD")
    return {
        "k": f"{draw.getrandbits(128):032x}",
        "j": draw.choice(offsets),
        "s": "quiz",
        "i": text,
        "r": repeat,
        "v": float(right),
        "st": "scored",
        "why": "right" if right else "wrong",
        "a": answer,
        "h": f"{draw.getrandbits(64):016x}",
        "n": 1800,
        "p": 80 + len(text),
        "c": draw.randrange(200, 600),
        "sec": round(draw.uniform(2, 9), 4),
        "l": float(right),
    }


def manifest_line(name: str, case: Case) -> dict[str, object]:
    """The manifest of a run of one suite."""
    block = {
        "suite": "quiz",
        "label": "Quiz",
        "origin": "invented",
        "margin_pt": 1.0,
        "headline": "micro",
        "strata": ["subject"],
        "chance": 0.25,
        "gated": False,
        "licence": "none",
        "repeats": case.repeats,
        "items": case.items,
        "items_in_data": case.items,
        "rows": case.items,
        "seed": 0,
        "notes": [],
        "parameters": {"temperature": 0.7, "top_p": 1.0, "max_tokens": 4096},
        "digests": {"data": "d", "prompts": "p", "scorer": "choice@1", "protocol": "1"},
    }
    return {
        "format": manifest.FORMAT,
        "name": name,
        "run_id": PLAN[:12],
        "plan": PLAN,
        "started": "2026-01-01T00:00:00+00:00",
        "model": "acme-7b",
        "served": {},
        "versions": {},
        "endpoint": {},
        "config": {"name": name, "model": "acme-7b"},
        "suites": [block],
    }


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    wall: float
    cpu: float
    mb: float
    code: int


@dataclass(frozen=True)
class Place:
    """Where the runs lie, and evalkit's cache."""

    root: Path

    @property
    def cache(self) -> Path:
        """A cache of the benchmark's own: the user's may know its runs already."""
        return self.root / "cache"

    def empty_cache(self) -> None:
        """Make the next command the first one."""
        shutil.rmtree(self.cache, ignore_errors=True)

    def measure(self, command: list[str]) -> Taken:
        """Wall seconds, processor seconds, peak MB and exit code of a command."""
        # An installed package has its bytecode; a checkout may be told to write none and would be compiled every time.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["EVALKIT_CACHE"] = str(self.cache)
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
            _pid, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in {0, 1, 3, 4} and process.stderr is not None:
                sys.exit(process.stderr.read().decode())
        return Taken(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode)

    def compare(self, sides: list[Path]) -> Taken:
        """What one `evalkit compare` takes."""
        out = sides[0].parent / "compared"
        shutil.rmtree(out, ignore_errors=True)
        return self.measure([sys.executable, "-m", "evalkit", "compare", *map(str, sides), "--out", str(out)])


def told(case: Case, which: str, taken: Taken) -> bool:
    """Print one measurement; true where the promise is kept."""
    promise = f"{case.seconds:g} s" + (f", {case.mb:g} MB" if case.mb else "")
    good = taken.wall <= case.seconds and (case.mb is None or taken.mb <= case.mb)
    said = f"{promise}: {'kept' if good else 'broken'}, exit {taken.code}"
    print(f"{case.name:<20}{which:<7}{taken.wall:>8.2f}{taken.cpu:>8.2f}{taken.mb:>7.0f}   {said}", flush=True)
    return good


def load_goal(place: Place, run: Path) -> None:
    """Print what loading takes, the first time and again, over what reading two fields takes."""
    place.empty_cache()
    load = [sys.executable, "-c", LOAD, str(run)]
    first = place.measure(load)
    again = min((place.measure(load) for _ in range(3)), key=lambda taken: taken.cpu)
    two_fields = [sys.executable, "-c", TWO_FIELDS, str(store.scores_path(run, PLAN))]
    plain = min(place.measure(two_fields).cpu for _ in range(3))
    print(f"\nload 1,000,000 samples (goal {LOAD_TIMES:g} x the {plain:.2f} s of reading two fields, {LOAD_MB:g} MB)")
    for which, taken in (("first", first), ("again", again)):
        print(f"  {which}: {taken.cpu:.2f} s of processor time, {taken.cpu / plain:.2f} x, {taken.mb:.0f} MB")


def help_goal(place: Place, once: float) -> None:
    """Print the start over lm-eval's; `once` is the wall time of the comparison of MMLU asked once."""
    peer = shutil.which("lm_eval")
    if peer is None:
        print("lm_eval is not installed: nothing to hold the start against")
        return
    place.measure([peer, "--help"])  # its bytecode is then there
    help_wall = min(place.measure([peer, "--help"]).wall for _ in range(3))
    print(
        f"compare 14,042 items: {once:.2f} s, {once / help_wall:.2f} x `lm_eval --help` "
        f"({help_wall:.2f} s; goal {HELP_TIMES:g} x)"
    )


def main(arguments: list[str]) -> int:
    """Print the measurements."""
    kept, runs, walls = True, [], []
    with tempfile.TemporaryDirectory() as temporary:
        place = Place(Path(arguments[0]) if arguments else Path(temporary))
        print(f"{'comparison':<27}{'wall s':>8}{'cpu s':>8}{'MB':>7}   promise")
        for number, case in enumerate(CASES):
            folder = place.root / f"case{number}"
            sides = [write_run(folder, name, case, seed) for seed, name in enumerate(("reference", "candidate"), 1)]
            runs.append(sides[0])
            place.empty_cache()
            kept &= told(case, "first", place.compare(sides))
            again = min((place.compare(sides) for _ in range(3)), key=lambda taken: taken.wall)
            kept &= told(case, "again", again)
            walls.append(again.wall)
        load_goal(place, runs[MILLION])
        help_goal(place, walls[ONCE])
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
