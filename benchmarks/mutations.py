"""Damages stored runs at random and looks whether anything false is believed: 2,100 mutations of what a run leaves.

    python benchmarks/mutations.py [--seed N] [--each N]

Journal, scores, items and manifest of an invented run have bits flipped, pieces cut out, cut off, inserted, doubled and
swapped, and hold well-formed entries of another shape, with a checksum that fits. Each damaged folder is read as
`evalkit compare` reads it, and graded as `evalkit score` grades it. What may come of it: a sentence (a user's mistake,
exit 2); the same scores as before; or fewer scores, with a word on what is missing. The exit code is 1 where a score
changed or is missing without a word, or where anything else than such a sentence was raised.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from evalkit import api
from evalkit.compare.columns import Side
from evalkit.errors import EvalkitError
from evalkit.model import Reply, Usage
from evalkit.options import JudgeOptions
from evalkit.rounds import judged_stored
from evalkit.run import items, journal, manifest
from evalkit.run.parquet import sealed
from evalkit.run.plan import prepare
from evalkit.run.records import framed, packed, read_records
from evalkit.run.repair import read_run
from evalkit.run.sides import load

NAMES = ("reference", "candidate")
SPAN = 400  # bytes at most that are cut, doubled, inserted or swapped
FILES = {"journal": journal.NAME, "scores": "scores-*.parquet", "items": "items-*.parquet", "manifest": manifest.NAME}
Values = dict[tuple[str, str, int], float]


# ---------------------------------------------------------------- two runs


def write_runs(home: Path) -> tuple[Path, Path]:
    """Two runs of the demonstration's suite, as `evalkit run` leaves them; no endpoint is asked."""
    for seed, name in enumerate(NAMES):
        draw = random.Random(seed)
        config = home / f"{name}.yaml"
        config.write_text(
            f"name: {name}\nbase_url: http://127.0.0.1:9/v1\nmodel: m\nbuild: {name}\nruns: {home / 'runs'}\n"
            "suites: [{name: demo, repeats: 2, limit: 20}]\nsampling: {temperature: 0.7}\n"
        )
        side = prepare(load(config, api.RunOptions()))
        with journal.Journal(side.folder) as out:
            for at, (suite, item, repeat) in enumerate(side.plan.samples()):
                out.append(packed(side.plan.request(suite, item, repeat), reply(item.target, draw), 1.8e9 + at))
        api.score(config)
        # An earlier session that asked less: what is read must be the last one.
        api.score(config, api.RunOptions(limit=7))
        api.score(config)
    return home / "runs" / NAMES[0], home / "runs" / NAMES[1]


def reply(target: str, draw: random.Random) -> Reply:
    """An invented reply, right three times in four."""
    text = f"Let me see. {'So ' * draw.randrange(9)}the answer is: {target if draw.random() < 0.75 else 'none'}"
    message = {"role": "assistant", "content": text}
    body = {
        "id": f"chatcmpl-{draw.getrandbits(128):032x}",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": len(text) // 4},
    }
    return Reply(text, "", "stop", Usage(40, len(text) // 4), "m", draw.random(), orjson.dumps(body))


# ---------------------------------------------------------------- mutations of bytes


def flip(data: bytes, draw: random.Random) -> bytes:
    """One to three bits."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def span(data: bytes, draw: random.Random) -> tuple[int, int]:
    """A piece of the file."""
    start = draw.randrange(len(data))
    return start, min(len(data), start + draw.randint(1, SPAN))


def cut_out(data: bytes, draw: random.Random) -> bytes:
    """A piece is gone."""
    start, end = span(data, draw)
    return data[:start] + data[end:]


def cut_off(data: bytes, draw: random.Random) -> bytes:
    """The end is gone."""
    return data[: draw.randrange(len(data))]


def insert(data: bytes, draw: random.Random) -> bytes:
    """Something foreign stands in between."""
    start, end = span(data, draw)
    return data[:start] + draw.randbytes(end - start) + data[start:]


def double(data: bytes, draw: random.Random) -> bytes:
    """A piece stands there twice, the second time anywhere."""
    start, end = span(data, draw)
    place = draw.randrange(len(data))
    return data[:place] + data[start:end] + data[place:]


def swap(data: bytes, draw: random.Random) -> bytes:
    """Two pieces have changed places."""
    (a, b), (c, d) = sorted((span(data, draw), span(data, draw)))
    b, c = min(b, c), max(b, c)
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


# ---------------------------------------------------------------- entries of another shape


def misshapen(value: Any, draw: random.Random) -> Any:
    """A JSON object, somewhere in which a key is gone, new or of another type."""
    changed = copy.deepcopy(value)
    inside = changed
    while draw.random() < 0.5 and (nested := [one for one in inside.values() if isinstance(one, dict) and one]):
        inside = draw.choice(nested)
    key = draw.choice(list(inside))
    others = [None, True, -1, 1e300, "x", [], {}, [[]], {"x": 1}, "\0"]
    match draw.randrange(3):
        case 0:
            del inside[key]
        case 1:
            inside[draw.choice(["x", "", "record", "key"])] = draw.choice(others)
        case _:
            inside[key] = draw.choice([other for other in others if type(other) is not type(inside[key])])
    return changed


def reshape_journal(path: Path, draw: random.Random) -> bytes:
    """A record says something else than a record says."""
    data = path.read_bytes()
    places = [offset for offset, _record in read_records(path)]
    number = draw.randrange(len(places))
    start, end = places[number], [*places, len(data)][number + 1]
    (record,) = [one for offset, one in read_records(path) if offset == start]
    said = {"record": "reply", **{name: getattr(record, name) for name in record.__slots__ if name != "key"}}
    return data[:start] + framed(record.key, orjson.dumps(misshapen(said, draw))) + data[end:]


def reshape_manifest(path: Path, draw: random.Random) -> bytes:
    """A session says something else than a session says."""
    *lines, _end = path.read_bytes().splitlines(keepends=True)
    number = draw.randrange(len(lines))
    lines[number] = orjson.dumps(misshapen(orjson.loads(lines[number]), draw)) + b"\n"
    content = b"".join(lines)
    return content + manifest.end_line(content)


def reshape_table(path: Path, draw: random.Random) -> bytes:
    """A table lacks a column, has one of another type or one more, or was made from something else."""
    table = pq.read_table(path)
    number = draw.randrange(table.num_columns)
    name = table.column_names[number]
    match draw.randrange(4):
        case 0:
            table = table.drop_columns([name])
        case 1:
            table = table.set_column(number, name, [[draw.choice(["", "x"])] * len(table)])
        case 2:
            table = table.append_column("more", [[1] * len(table)])
        case _:
            said = orjson.loads(table.schema.metadata[b"evalkit"]) or {"format": 1}
            table = table.replace_schema_metadata({"evalkit": orjson.dumps(misshapen(said, draw))})
    out = pa.BufferOutputStream()
    with pq.ParquetWriter(out, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"crc32c": "0" * 8})
    return sealed(out.getvalue().to_pybytes())


BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits flipped": flip, "cut out": cut_out, "cut off": cut_off, "inserted": insert, "doubled": double,
    "swapped": swap,
}  # fmt: skip
SHAPES: dict[str, Callable[[Path, random.Random], bytes]] = {
    "journal": reshape_journal, "manifest": reshape_manifest, "scores": reshape_table, "items": reshape_table,
}  # fmt: skip
RESHAPED = "other shape"


# ---------------------------------------------------------------- what comes of it


@dataclass(frozen=True)
class Bench:
    """The undamaged run, what it says, and where damaged copies lie."""

    folder: Path
    other: Path
    scratch: Path
    values: Values
    verdict: str

    def damaged(self, target: str, kind: str, draw: random.Random) -> Path:
        """A copy of the run with one file mutated."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.copytree(self.folder.parent, self.scratch)
        folder = self.scratch / self.folder.name
        path = draw.choice(sorted(folder.glob(FILES[target])))
        mutate = BYTES.get(kind)
        content = path.read_bytes()
        changed = content
        while changed == content:
            changed = SHAPES[target](path, draw) if mutate is None else mutate(content, draw)
        path.unlink()
        path.write_bytes(changed)
        items.forget()
        return folder

    def read(self, folder: Path) -> str:
        """What comes of a damaged folder where it is compared."""
        try:
            side = read_run(folder)
            if values_of(side) != self.values or len(side.suites["demo"].samples) != len(self.values):
                return self._judged(side, said=bool(side.notes))
            made = judged_stored((folder, self.other), JudgeOptions()).comparison
        except EvalkitError as error:
            return "said" if error.exit_code == 2 else f"raised {error!r}"
        return "the same" if made.verdict.value == self.verdict else f"another verdict: {made.verdict.value}"

    def score(self, folder: Path) -> str:
        """What comes of a damaged folder where it is graded again."""
        config = self.folder.parents[1] / f"{self.folder.name}.yaml"
        try:
            done = api.score(config, api.RunOptions(overrides=(f"runs={folder.parent}",)))
        except EvalkitError as error:
            return "said" if error.exit_code == 2 else f"raised {error!r}"
        if values_of(done.side) == self.values:
            return "the same"
        # The command says how many samples of those planned have a score, and ends with 3 where it is not all.
        told = any(suite["valued"] < suite["planned"] for suite in done.summary()["suites"])
        return self._judged(done.side, said=told)

    def _judged(self, side: Side, *, said: bool) -> str:
        left = values_of(side)
        if changed := [cell for cell, value in left.items() if self.values.get(cell) != value]:
            return f"silent change: {changed[:3]}"
        return "fewer, said" if said else "silent loss"


def values_of(side: Side) -> Values:
    """The scores of a side."""
    return {
        (name, suite.samples.items.name[item], int(repeat)): value
        for name, suite in side.suites.items()
        for item, repeat, value in zip(suite.samples.item, suite.samples.repeat, suite.samples.value, strict=True)
        if not math.isnan(value)
    }


def trials(bench: Bench, target: str, kind: str, seed: int, each: int) -> list[str]:
    """What came of every mutation of one kind of one file, read in both ways, the first way's first."""
    mine = replace(bench, scratch=bench.scratch / f"{target} {kind}")
    found = []
    for way in (mine.read, mine.score):
        for number in range(each):
            folder = mine.damaged(target, kind, random.Random(f"{seed} {target} {kind} {number}"))
            try:
                found.append(way(folder))
            except Exception as error:  # noqa: BLE001 - what must not be
                found.append(f"exception {error!r}")
    return found


GOOD = ("the same", "said", "fewer, said")


def main() -> int:
    """Prints what came of the mutations; 1 where something false was believed, or an exception got out."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--each", type=int, default=75, help="mutations of each kind of each file")
    chosen = options.parse_args()
    started = time.monotonic()
    memory = Path("/dev/shm")
    kinds = [(target, kind) for target in FILES for kind in (*BYTES, RESHAPED)]
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch,
        ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool,
    ):
        folders = write_runs(Path(scratch))
        verdict = judged_stored(folders, JudgeOptions()).comparison.verdict.value
        bench = Bench(*folders, Path(scratch) / "damaged", values_of(read_run(folders[0])), verdict)
        underway = [pool.submit(trials, bench, *one, chosen.seed, chosen.each) for one in kinds]
        results = dict(zip(kinds, (one.result() for one in underway), strict=True))
    print(f"{'file':<10}{'mutation':<14}{'the same':>10}{'said':>7}{'fewer, said':>13}{'WRONG':>7}")
    wrong = []
    for (target, kind), found in results.items():
        counts = Counter(one if one in GOOD else "WRONG" for one in found)
        widths = zip((*GOOD, "WRONG"), (10, 7, 13, 7), strict=True)
        print(f"{target:<10}{kind:<14}" + "".join(f"{counts[name]:>{width}}" for name, width in widths))
        wrong += [f"{target}, {kind}, {at % chosen.each}: {one}" for at, one in enumerate(found) if one not in GOOD]
    mutations = len(results) * chosen.each
    print(f"{mutations:,} mutations, each read in two ways, in {time.monotonic() - started:.0f} s: {len(wrong)} wrong")
    print(*wrong[:20], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
