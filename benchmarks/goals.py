"""The goals of speed, side by side with the least that can be called a harness and, where they are there, with others.

    python benchmarks/goals.py --bench ../shared/bench --data FOLDER [GROUP...]

BENCH holds the simulated server, `measure.py`, `perfect.py` and `peers/`; the items of its README are made in FOLDER
where they are absent. $TOOLS_PYTHON runs the server and perfect.py (uvloop, httptools, aiohttp, orjson); $LM_EVAL and
$NEL are lm-eval and NeMo Evaluator, each left out where it is not set. Every figure is printed with the goal that it
belongs to; only ratios within one run are worth quoting, and only on a quiet machine. It decides no exit code.

Groups: overhead, waiting, both, long, faults, resume, stream. Goals 17 and 18 are `benchmarks/compare.py`'s.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from compare import measure

HERE = Path(__file__).resolve().parent
EVALKIT = shlex.quote(str(HERE / "peers" / "evalkit" / "run.sh"))
QUEUE = "--slots 64 --tokens-mean 100 --tokens-p99 800 --tps 100 --cap-tokens 1000"
SHORT = "--slots 64 --tokens-mean 20 --tokens-p99 160 --tps 100"
ALIKE = tuple(f"--seed {seed} --length-corr 0.9 {QUEUE}" for seed in (1, 2))  # they agree on the items' lengths
STORED = 14_042
SETS = {
    "d1": ["main:1"],
    "d1k": ["main:1000"],
    "d2k": ["main:2000"],
    "d5k": ["main:5000"],
    "d14k": [f"main:{STORED + 1}"],
    "d5u": ["--until-varies", "a:40", "b:400", "c:120", "d:300", "e:140"],
}


@dataclass
class Bench:
    """Where everything is, and what was measured: rows by name."""

    bench: Path
    data: Path
    python: str
    runs: int
    rows: dict[str, list[dict]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        for name, what in SETS.items():
            if not (self.data / name).is_dir():
                command = [self.python, str(self.bench / "peers" / "prepare.py"), str(self.data / name), *what]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def perfect(self, names: str, folder: str, in_flight: int = 64) -> str:
        files = " ".join(str(self.data / folder / "items" / f"{name}.jsonl") for name in names.split(","))
        return f"{self.python} {self.bench / 'perfect.py'} -c {in_flight} --out {{dir}}/out.jsonl {files}"

    def evalkit(self, names: str, folder: str, in_flight: int = 64, more: str = "") -> str:
        return f"{EVALKIT} {self.data / folder} {in_flight} {names} {more}"

    def lm_eval(self, names: str, folder: str) -> str:
        tasks = ",".join(f"sim_{name}" for name in names.split(","))
        return f"{self.bench / 'peers' / 'lm_eval' / 'run.sh'} {self.data / folder} 64 {tasks}"

    def nemo(self, names: str, folder: str) -> str:
        return f"{self.bench / 'peers' / 'nemo_evaluator' / 'run.sh'} {self.data / folder} 64 '{names}'"

    def measure(self, name: str, command: str, *options: str, runs: int | None = None) -> list[dict]:
        """Rows of measure.py, kept under the name."""
        given = [self.python, self.bench / "measure.py", "--name", name, "--runs", str(runs or self.runs), *options]
        done = subprocess.run([*given, "--", command], capture_output=True, text=True, check=False)
        rows = [orjson.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not rows:
            print(f"  {name}: not measured: {done.stderr.strip()[-300:]}")
        self.rows[name] = rows
        for row in rows:
            server = row["server"]
            print(
                f"  {name}: rc {row['rc']}, wall {row['wall_s']:.2f} s, cpu {row['cpu_s'] or 0:.2f} s, "
                f"{row['rss_mib']} MiB, requests {server.get('received')} in {server.get('wall_s', 0):.2f} s",
                flush=True,
            )
        return rows

    def warm(self, *folders: str) -> None:
        """Runs of evalkit's that build the suites and write the bytecode, before those that count."""
        for name in folders:
            self.measure(f"warm-{name}", self.evalkit("main", name), runs=1)

    def median(self, name: str, key: str, *, of_server: bool = False) -> float:
        rows = self.rows.get(name) or []
        values = [(row["server"] if of_server else row).get(key) for row in rows]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else float("nan")

    def more(self, name: str, less: str, key: str) -> float:
        """By how much the median of one measurement is above another's."""
        return self.median(name, key) - self.median(less, key)


def say(number: object, what: str, figure: float, goal: float) -> None:
    """One goal: the ratio or figure, and whether it is reached."""
    reached = "reached" if figure <= goal else "not measured" if math.isnan(figure) else "MISSED"
    print(f"goal {number}: {what}: {figure:.3f} (goal {goal:g}): {reached}", flush=True)


def overhead(b: Bench) -> None:
    """Goals 1 to 5: zero latency, 5,000 items and 1."""
    b.warm("d1", "d5k")
    peers = {"LM_EVAL": ("lm-eval", b.lm_eval), "NEL": ("nemo", b.nemo)}
    others = {"perfect": b.perfect, **dict(peer for variable, peer in peers.items() if os.environ.get(variable))}
    for name, command in {"evalkit": b.evalkit, **others}.items():
        runs = 2 if name == "lm-eval" else b.runs
        b.measure(f"{name}-1", command("main", "d1"), runs=runs)
        b.measure(f"{name}-5k", command("main", "d5k"), runs=runs)
    b.measure("evalkit-5k-256", b.evalkit("main", "d5k", 256))
    b.measure("perfect-5k-256", b.perfect("main", "d5k", 256))
    each = {name: b.more(f"{name}-5k", f"{name}-1", "cpu_s") / 5 for name in ("evalkit", *others)}
    wide = {name: b.more(f"{name}-5k-256", f"{name}-1", "cpu_s") / 5 for name in ("evalkit", "perfect")}
    for what, figures in (("CPU ms per sample", each), ("                at 256 in flight", wide)):
        print(f"{what}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    say(1, "CPU per sample over lm-eval's", each["evalkit"] / each.get("lm-eval", float("nan")), 0.35)
    say("1b", "the same over perfect.py's", each["evalkit"] / each["perfect"], 2.4)
    say(2, "CPU per sample at 256 over 64 in flight", wide["evalkit"] / each["evalkit"], 1.3)
    print(f"        (perfect.py: {wide['perfect'] / each['perfect']:.3f})")
    walls = {name: b.median(f"{name}-5k", "wall_s") for name in ("lm-eval", "nemo") if name in others}
    fastest = min(walls.values(), default=float("nan"))
    say(3, "wall of 5,000 items over the fastest peer's", b.median("evalkit-5k", "wall_s") / fastest, 0.35)
    one = b.median("evalkit-1", "wall_s")
    say(4, "wall of 1 item over nemo's", one / b.median("nemo-1", "wall_s"), 1.0)
    say("4b", "wall of 1 item over lm-eval's", one / b.median("lm-eval-1", "wall_s"), 0.35)
    if os.environ.get("LM_EVAL"):
        ours, theirs = (_wall([*command, "--help"]) for command in ([_program()], [os.environ["LM_EVAL"]]))
        say(5, "--help over lm_eval --help", ours / theirs, 0.6)


def _program() -> str:
    return os.environ.get("EVALKIT", str(Path(sys.executable).with_name("evalkit")))


def _wall(command: list[str]) -> float:
    return statistics.median([measure(command).wall for _ in range(6)][1:])


def waiting(b: Bench) -> None:
    """Goals 6 and 7: one pool, no barrier."""
    for number, name, tasks, folder, goal in ((6, "one", "main", "d1k", 1.02), (7, "five", "a,b,c,d,e", "d5u", 1.03)):
        b.measure(f"evalkit-{name}", b.evalkit(tasks, folder), "--server", QUEUE, runs=1)
        b.measure(f"perfect-{name}", b.perfect(tasks, folder), "--server", QUEUE, runs=1)
        walls = [b.median(f"{who}-{name}", "wall_s", of_server=True) for who in ("evalkit", "perfect")]
        say(number, "request phase over perfect.py's", walls[0] / walls[1], goal)


@contextmanager
def servers(b: Bench, *options: str) -> Iterator[list[str]]:
    """Simulated servers with these options: their addresses."""
    with ExitStack() as started:
        urls = []
        for given in options:
            port = _free_port()
            command = [b.python, str(b.bench / "simserver.py"), "--port", str(port), *given.split()]
            process = started.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            started.callback(process.terminate)
            urls.append(f"http://127.0.0.1:{port}")
        for url in urls:
            _wait_for(url)
        yield urls


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            _stats(url)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url}: the simulated server did not start")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _stats(url: str) -> dict:
    with urllib.request.urlopen(f"{url}/stats", timeout=20) as answer:
        return json.loads(answer.read())


def _endpoint(b: Bench, folder: Path, name: str, url: str) -> Path:
    """The configuration of peers/evalkit/run.sh for a server, under a name of its own."""
    work = folder / name
    env = os.environ | {"SIM_BASE": f"{url}/v1", "SIM_DIR": str(work), "EVALKIT": "true"}
    subprocess.run(["bash", "-c", b.evalkit("main", "d1k")], env=env, check=True)
    text = (work / "endpoint.yaml").read_text().replace("name: sim\n", f"name: {name}\n")
    (work / "endpoint.yaml").write_text(text.replace(f"runs: {work / 'runs'}", f"runs: {folder / 'runs'}"))
    return work / "endpoint.yaml"


def both(b: Bench) -> None:
    """Goals 8 and 9: the second side knows the first one's lengths; two sides at once take as long as the slower."""
    with tempfile.TemporaryDirectory() as one, servers(b, *ALIKE) as urls:
        first, second = (_endpoint(b, Path(one), name, url) for name, url in zip("ab", urls, strict=True))
        _evalkit("run", first, "--quiet")
        _evalkit("compare", first, second, "--quiet", "--no-doctor")
        alone, ordered = (_stats(url)["wall_s"] for url in urls)
    b.measure("perfect-second", b.perfect("main", "d1k"), "--server", ALIKE[1], runs=1)
    plain = b.median("perfect-second", "wall_s", of_server=True)
    with tempfile.TemporaryDirectory() as one, servers(b, *ALIKE) as urls:
        sides = [_endpoint(b, Path(one), name, url) for name, url in zip("ab", urls, strict=True)]
        _evalkit("compare", *sides, "--quiet", "--no-doctor")
        together = max(_stats(url)["wall_s"] for url in urls)
    print(
        f"  first side {alone:.2f} s, second after it {ordered:.2f} s, perfect.py there {plain:.2f} s, "
        f"at once {together:.2f} s"
    )
    say(8, "second side's request phase over perfect.py's", ordered / plain, 0.85)
    say(9, "both at once over the slower side alone", together / max(alone, plain), 1.05)


def _evalkit(*arguments: object) -> None:
    done = subprocess.run([_program(), *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1, 3, 4}:
        print(f"  evalkit {arguments[0]}: {done.stderr.strip()[-400:]}")


def long(b: Bench) -> None:
    """Goal 10: 2,000 answers of 60 kB."""
    b.warm("d2k", "d1")
    b.measure("evalkit-2k", b.evalkit("main", "d2k"), "--server", "--zero-latency --slots 0 --long-bytes 60000", runs=1)
    b.measure("evalkit-1", b.evalkit("main", "d1"), runs=1)
    say(10, "MiB beyond the run of 1 item", b.more("evalkit-2k", "evalkit-1", "rss_mib"), 0.35 * 138)


def faults(b: Bench) -> None:
    """Goals 11 to 13: failures that heal, items that never succeed, a full queue."""
    server = ("--server", f"{SHORT} --p-5xx 0.02 --p-drop 0.01 --p-malformed 0.005")
    for name, command in (("evalkit", b.evalkit), ("perfect", b.perfect)):
        b.measure(f"{name}-faults", command("main", "d1k"), *server, runs=1)
    requests, walls = (
        [b.median(f"{name}-faults", key, of_server=True) for name in ("evalkit", "perfect")]
        for key in ("received", "wall_s")
    )
    say(11, "requests over perfect.py's", requests[0] / requests[1], 1.005)
    say("11b", "request phase over perfect.py's", walls[0] / walls[1], 1.2)
    for status in (400, 500):
        server = ("--server", f"{SHORT} --p-poison 0.005 --poison-status {status}")
        (row,) = b.measure(f"evalkit-{status}", b.evalkit("main", "d1k"), *server, runs=1)
        answered = row["server"]["unique_items_ok"]
        print(f"  {status} for ever: {answered} of 1,000 answered")
        say(12, f"exit code 3 and all others answered ({status})", float(row["rc"] != 3 or answered != 996), 0)
    server = ("--server", "--slots 32 --tokens-mean 20 --tokens-p99 160 --tps 100 --queue-limit 16")
    for name, command in (("evalkit", b.evalkit), ("perfect", b.perfect), ("nemo", b.nemo)):
        if name != "nemo" or os.environ.get("NEL"):
            b.measure(f"{name}-429", command("main", "d1k"), *server, runs=1)
    say(13, "requests per item", b.median("evalkit-429", "received", of_server=True) / 1000, 1.02)
    walls = [b.median(f"{name}-429", "wall_s", of_server=True) for name in ("nemo", "perfect")]
    best = min(wall for wall in walls if not math.isnan(wall))
    say("13b", "request phase over the best peer's", b.median("evalkit-429", "wall_s", of_server=True) / best, 1.1)


def resume(b: Bench) -> None:
    """Goals 14 and 15: kill -9 at half and the same command again; a run with 14,042 stored samples."""
    command = b.evalkit("main", "d1k")
    (row,) = b.measure("evalkit-kill", command, "--kill-at", "500", "--resume", command, "--server", SHORT, runs=1)
    say(14, "answered and sent again", row["resume"]["repeats_after_ok"], 8)
    starts = {
        "warm": ("warm", ""),
        "fresh": ("fresh", ""),
        "full": ("stored", f"--limit {STORED}"),
        "again": ("stored", ""),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (place, more) in starts.items():
            b.measure(name, f"env SIM_DIR={folder}/{place} {b.evalkit('main', 'd14k', more=more)}", runs=1)
    fresh, again = (b.median(name, "to_first_request_s") for name in ("fresh", "again"))
    print(f"  to the first request: fresh {fresh:.2f} s, with {STORED:,} stored {again:.2f} s")
    say(15, "seconds to the first request beyond a fresh start", again - fresh, 0.5)


def stream(b: Bench) -> None:
    """Goal 16: 250 events an answer."""
    server = ("--server", "--zero-latency --slots 0 --long-bytes 1000 --stream-chunks 250")
    for name in ("d1k", "d1"):
        b.measure(f"evalkit-stream-{name}", b.evalkit("main", name, more="--set stream=true"), *server)
    ours = 1000 * b.more("evalkit-stream-d1k", "evalkit-stream-d1", "cpu_s") / 999
    with tempfile.TemporaryDirectory() as folder:
        floor = f"{b.python} {b.bench / 'floor.py'} --client openai --stream -n 300"
        command = f"bash -c '{floor} --items {b.data}/d1k/items/main.jsonl >{folder}/line'"
        b.measure("openai-stream", command, *server, runs=1)
        theirs = json.loads(Path(folder, "line").read_text())["cpu_ms_per_req"]
    print(f"  CPU ms per request: evalkit {ours:.2f}, openai {theirs:.2f}")
    say(16, "CPU per request over openai's", ours / theirs, 0.1)


GROUPS = {group.__name__: group for group in (overhead, waiting, both, long, faults, resume, stream)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("groups", nargs="*", help=f"some of: {', '.join(GROUPS)}")
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    python = os.environ.get("TOOLS_PYTHON", sys.executable)
    bench = Bench(given.bench.resolve(), given.data.resolve(), python, given.runs)
    for name in given.groups or GROUPS:
        print(f"\n=== {name}: {GROUPS[name].__doc__}", flush=True)
        GROUPS[name](bench)


if __name__ == "__main__":
    main()
