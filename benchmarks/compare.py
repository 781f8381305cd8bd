"""How long comparing stored runs takes, start-up included: small runs, MMLU once and with repeats, 1,000,000 pairs.

    python benchmarks/compare.py [FOLDER]

Runs are invented and written to FOLDER (default: a temporary one): whole run folders, as `evalkit run` leaves them,
with items under headings, token counts, answers and replies. Each comparison is a process of its own, whose wall time,
processor time and peak memory are printed with the promise; the exit code is 1 where one is broken. Wall time counts,
so run it on a quiet machine.

Two goals stand below, as ratios to what others take on the same machine: loading 1,000,000 stored samples against
reading two fields of each with orjson, from lines of JSON with short keys, and the comparison of MMLU asked once
against `lm_eval --help`. They are printed with the goal and decide no exit code.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from evalkit.files import digest64
from evalkit.run import journal, tables
from evalkit.run.items import ItemRow
from evalkit.run.tables import Graded

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
import stored_run

REPLIES = 1000
WORDS = ("energy", "is", "conserved", "so", "the", "answer", "must", "be", "larger", "than", "before", "we", "see")


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
LOAD = "import sys; from pathlib import Path; from evalkit.run.repair import read_run; read_run(Path(sys.argv[1]))"
SHORT = {
    "k": "key", "j": "offset", "s": "suite", "i": "item", "r": "repeat", "v": "value", "st": "status", "why": "reason",
    "a": "answer", "h": "text", "n": "characters", "p": "prompt_tokens", "c": "completion_tokens", "sec": "seconds",
    "l": "lenient",
}  # fmt: skip
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
    shutil.rmtree(home, ignore_errors=True)
    draw = random.Random(seed)
    replies = [(f"{number:032x}", " ".join(draw.choices(WORDS, k=300))) for number in range(REPLIES)]
    offsets = [stored_run.write_reply(home / journal.NAME, text, key) for key, text in replies]
    names = [f"subject{number % 57}/{number:06x}" for number in range(case.items)]
    chances = [random.Random(text).betavariate(0.4, 0.27) for text in names]
    items = (item_row(text, n) for n, text in enumerate(names))
    rows = (
        score_row(text, repeat, draw.random() < chances[number], draw, offsets)
        for number, text in enumerate(names)
        for repeat in range(case.repeats)
    )
    stored_run.write_tables(home, rows, items, {"quiz": "choice@1"})
    sizes = {"repeats": case.repeats, "items": case.items, "items_in_data": case.items, "strata": ["subject"]}
    digests = {"data": "d", "prompts": "p", "scorer": "choice@1", "protocol": "1"}
    parameters = {"temperature": 0.7, "top_p": 1.0, "max_tokens": 4096}
    record = stored_run.suite_record(margin_pt=1.0, licence="", parameters=parameters, digests=digests, **sizes)
    stored_run.add_session(home, suites=[record], name=name, config={"name": name, "model": "m"})
    return home


def item_row(text: str, number: int) -> ItemRow:
    """A row of the table of items."""
    stratum = (text.partition("/")[0],)
    digests = {"document": digest64(f"d{number}"), "prompt": digest64(f"p{number}")}
    return ItemRow("quiz", text, "quiz", stratum, question=f"Question {text}?", target="A", **digests)


def score_row(text: str, repeat: int, right: bool, draw: random.Random, offsets: list[int]) -> Graded:
    """A row of the table of scores."""
    reply = draw.randrange(len(offsets))
    return Graded(
        suite="quiz",
        item=text,
        repeat=repeat,
        value=float(right),
        status="scored",
        reason="right" if right else "wrong",
        answer="A" if right else draw.choice("BCD"),
        text=draw.getrandbits(64),
        characters=1800,
        prompt_tokens=80 + len(text),
        completion_tokens=draw.randrange(200, 600),
        seconds=round(draw.uniform(2, 9), 4),
        lenient=float(right),
        key=f"{reply:032x}",
        offset=offsets[reply],
    )


def write_lines(run: Path, lines: Path) -> None:
    """The scores of a run as lines of JSON with short keys, for those who read two fields of each."""
    table = pq.ParquetFile(tables.scores_path(run, stored_run.PLAN))
    with lines.open("wb") as out:
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                row["text"] = f"{row['text']:016x}"
                said = {short: row[name] for short, name in SHORT.items()}
                out.write(orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE))


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    wall: float
    cpu: float
    mb: float
    code: int


def measure(command: list[str]) -> Taken:
    """Wall seconds, processor seconds, peak MB and exit code of a command."""
    # An installed package has its bytecode; a checkout may be told to write none and would be compiled every time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in {0, 1, 3, 4} and process.stderr is not None:
            sys.exit(process.stderr.read().decode())
    return Taken(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode)


def compare(sides: list[Path]) -> Taken:
    """What one `evalkit compare` takes."""
    out = sides[0].parent / "compared"
    shutil.rmtree(out, ignore_errors=True)
    return measure([sys.executable, "-m", "evalkit", "compare", *map(str, sides), "--out", str(out)])


def told(case: Case, taken: Taken) -> bool:
    """Print one measurement; true where the promise is kept."""
    promise = f"{case.seconds:g} s" + (f", {case.mb:g} MB" if case.mb else "")
    good = taken.wall <= case.seconds and (case.mb is None or taken.mb <= case.mb)
    said = f"{promise}: {'kept' if good else 'broken'}, exit {taken.code}"
    print(f"{case.name:<20}{taken.wall:>8.2f}{taken.cpu:>8.2f}{taken.mb:>7.0f}   {said}", flush=True)
    return good


def load_goal(root: Path, run: Path) -> None:
    """Print what loading takes over what reading two fields takes."""
    load = [sys.executable, "-c", LOAD, str(run)]
    taken = min((measure(load) for _ in range(3)), key=lambda taken: taken.cpu)
    lines = root / "samples.jsonl"
    write_lines(run, lines)
    plain = min(measure([sys.executable, "-c", TWO_FIELDS, str(lines)]).cpu for _ in range(3))
    print(
        f"\nload 1,000,000 samples: {taken.cpu:.2f} s of processor time, {taken.cpu / plain:.2f} x the {plain:.2f} s "
        f"of reading two fields (goal {LOAD_TIMES:g} x), {taken.mb:.0f} MB (goal {LOAD_MB:g})"
    )


def help_goal(once: float) -> None:
    """Print the start over lm-eval's; `once` is the wall time of the comparison of MMLU asked once."""
    peer = shutil.which("lm_eval")
    if peer is None:
        print("lm_eval is not installed: nothing to hold the start against")
        return
    measure([peer, "--help"])  # its bytecode is then there
    help_wall = min(measure([peer, "--help"]).wall for _ in range(3))
    print(
        f"compare 14,042 items: {once:.2f} s, {once / help_wall:.2f} x `lm_eval --help` "
        f"({help_wall:.2f} s; goal {HELP_TIMES:g} x)"
    )


def main(arguments: list[str]) -> int:
    """Print the measurements."""
    kept, runs, walls = True, [], []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(arguments[0]) if arguments else Path(temporary)
        print(f"{'comparison':<20}{'wall s':>8}{'cpu s':>8}{'MB':>7}   promise")
        for number, case in enumerate(CASES):
            folder = root / f"case{number}"
            names = enumerate(("reference", "candidate"), 1)
            # In a process of its own: what a process has used counts for those that it starts.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                sides = [pool.submit(write_run, folder, name, case, seed).result() for seed, name in names]
            runs.append(sides[0])
            taken = min((compare(sides) for _ in range(3)), key=lambda taken: taken.wall)
            kept &= told(case, taken)
            walls.append(taken.wall)
        load_goal(root, runs[MILLION])
        help_goal(walls[ONCE])
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
