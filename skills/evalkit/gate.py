"""Judges two results of one benchmark as a pipeline's steps wrote them, with the keys of its accuracy_compare.py.

REFERENCE and CANDIDATE are gpqa_native.json and gpqa_flagos.json (`score` in percent of `total_questions`), evalscope's
report of a data set (`metrics`, each with `score` and `num`), or evalscope's reviews: a .jsonl file, or a folder with
reviews/. With reviews on both sides questions are paired, and far fewer of them decide.

Exits as `evalkit compare` does, or with --their-codes: 0 aligned, 1 not aligned, 2 not decided. `evalkit gate` runs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from evalkit import codec
from evalkit.config.yaml import read_bytes
from evalkit.errors import DataError, EvalkitError
from evalkit.files import json_lines, write_whole
from evalkit.model import Reason, Verdict, fraction
from evalkit.publish.cards import benchmark_of
from evalkit.publish.published import PublishedJudgment, PublishedRow, judge_items, judge_row
from evalkit.publish.tables import row_document
from evalkit.render.words import say
from evalkit.stats.paired import Scores, pair_scores
from evalkit.stats.tails import proportion

_ASKED: Final = ("benchmark", "mode", "temperature", "max_tokens")
"""What of a result says how it was asked: other words on the other side make another number."""
_WHOLE = 0.98
"""The share of the other side's questions that a side must have, as in `evalkit compare`: lost ones are seldom easy."""


@dataclass(frozen=True, slots=True)
class Result:
    """One result: `score` is a fraction, `n` how many questions were asked; `samples` are scores by question."""

    path: Path
    said: Mapping[str, Any]
    score: float | None
    n: int
    samples: Mapping[str, list[float]] = field(default_factory=dict)


def read_result(path: Path) -> Result:
    """A result of either program. Raises `UsageError`: it cannot be read, or is none."""
    if path.is_dir() or path.suffix == ".jsonl":
        return _reviews(path, sorted(path.rglob("reviews/**/*.jsonl")) if path.is_dir() else [path])
    try:
        said, whole = orjson.loads(read_bytes(path)), 100
        if said.get("metrics"):
            counted, whole = said["metrics"][0], 1
            said = {"model": said.get("model_name"), "benchmark": said.get("dataset_name"), "score": counted["score"]}
            said["total_questions"] = counted["num"]
        score, n = said["score"], int(said["total_questions"])
        proportion(1, n)
        return Result(path, said, None if score is None else proportion(float(score), whole), n)
    except (AttributeError, KeyError, TypeError, ValueError):
        told = "score (percent) and total_questions, or evalscope's metrics with score (0 to 1) and num"
        raise DataError(f"{path}: is no result: it needs {told}") from None


def _reviews(path: Path, files: list[Path]) -> Result:
    samples: dict[str, list[float]] = {}
    for file in files:
        for number, _offset, row in json_lines(file):
            try:
                about = row["sample_score"]
                question = row["index"] if about.get("group_id") is None else about["group_id"]
                value = float(next(iter(about["score"]["value"].values())))
            except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
                raise DataError(f"{file}:{number}: is no review of evalscope's with a score") from None
            samples.setdefault(f"{file.name}:{question}", []).append(value)
    if not samples:
        raise DataError(f"{path}: holds no review of evalscope's (reviews/MODEL/*.jsonl)")
    mean = sum(sum(scores) / len(scores) for scores in samples.values()) / len(samples)
    named = {"model": files[0].parent.name, "benchmark": files[0].stem.rpartition("_")[0]}
    return Result(path, named, mean, len(samples), samples)


def judged(one: Result, two: Result, margin_pt: float, alpha: float) -> PublishedJudgment:
    """What two results decide at a margin: by question where both have them, else by their means."""
    label, margin = str(one.said.get("benchmark") or "gpqa_diamond"), fraction(margin_pt)
    broken = (side for side in (one, two) if side.said.get("service_crashed") or side.said.get("error"))
    wrong = [Reason("gate.broken", {"file": str(side.path)}) for side in broken]
    for key in _ASKED:
        told = [side.said.get(key) for side in (one, two)]
        if None not in told and told[0] != told[1]:
            values = {"reference": str(told[0])[:80], "candidate": str(told[1])[:80]}
            wrong.append(Reason("differ.setting", {"key": key, **values}))
    if min(one.n, two.n) < _WHOLE * max(one.n, two.n):
        values = {"reference": f"{one.n:,}", "candidate": f"{two.n:,}"}
        wrong.append(Reason("differ.setting", {"key": "number of questions", **values}))
    if wrong:
        return PublishedJudgment(label, Verdict.INVALID, wrong[0], one.score, two.score, None, margin)
    if one.samples and two.samples:
        codes = {name: code for code, name in enumerate({**one.samples, **two.samples})}
        return judge_items(label, pair_scores(_column(one, codes), _column(two, codes)), margin, alpha)
    chance, size, apart = benchmark_of(label).chance, min(one.n, two.n), one.n != two.n
    row = PublishedRow(label, one.score, two.score, 1e-4, (size,), chance, margin=margin, graded=apart)
    return judge_row(row, alpha)


def _column(result: Result, codes: Mapping[str, int]) -> Scores:
    rows = ((codes[name], *row) for name, scores in result.samples.items() for row in enumerate(scores))
    return Scores(*map(np.array, zip(*rows, strict=True)))


def document(one: Result, two: Result, found: PublishedJudgment, margin_pt: float) -> dict[str, Any]:
    """The verdict with the keys of `accuracy_compare.py`; points, positive where the candidate is worse.

    `aligned` is evalkit's word: true, false, or null where nothing is decided; `more_questions` then says what decides.
    """
    sides = {}
    for name, side in (("v1", one), ("v2", two)):
        about = {key: str(side.said.get(key) or "unknown")[:200] for key in ("model", "mode")}
        sides[name] = {"path": str(side.path), "score": side.score and round(100 * side.score, 2), **about}
    drop = None if one.score is None or two.score is None else round(100 * (one.score - two.score), 2)
    wanted = (found.needed or 0) if found.verdict is Verdict.INCONCLUSIVE else 0
    return {
        **sides,
        **row_document(found),
        "threshold": margin_pt,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "diff": drop and abs(drop),
        "drop": drop,
        "v2_vs_v1": drop and -drop,
        "aligned": {"EQUIVALENT": True, "ELEVATED": True, "DEGRADED": False}.get(found.verdict.value),
        "message": say(found.reason),
        "paired": bool(one.samples and two.samples),
        "more_questions": wanted and max(1, wanted - (found.n_items or 0)),
    }


def main() -> int:
    """Reads, judges and prints; gives the exit code."""
    parser = argparse.ArgumentParser("evalkit gate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path, metavar="REFERENCE")
    parser.add_argument("candidate", type=Path, metavar="CANDIDATE")
    parser.add_argument("--threshold", type=float, default=5.0, metavar="POINTS", help="tolerance (default 5)")
    parser.add_argument("--alpha", type=float, default=0.05, help="level of each one-sided test (default 0.05)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON document to this file, too")
    parser.add_argument("--their-codes", action="store_true", help="exit as accuracy_compare.py does")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    asked = parser.parse_args()
    if not 0 < asked.threshold < 100 or not 0 < asked.alpha < 0.5:
        parser.error("--threshold must lie between 0 and 100, --alpha between 0 and 0.5")
    try:
        sides = read_result(asked.reference), read_result(asked.candidate)
        found = judged(*sides, asked.threshold, asked.alpha)
        told = document(*sides, found, asked.threshold)
        if asked.output is not None:
            write_whole(asked.output, codec.dump(told, indent=1).encode() + b"\n")
    except EvalkitError as error:
        print(f"evalkit: {error}", file=sys.stderr)
        return error.exit_code
    more = f"; {told['more_questions']:,} more questions decide" if told["more_questions"] else ""
    print(codec.dump(told, indent=1) if asked.json else f"{found.verdict.value}: {told['message']}{more}")
    return {True: 0, False: 1}.get(told["aligned"], 2) if asked.their_codes else found.verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
