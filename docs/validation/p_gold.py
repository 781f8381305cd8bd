"""Scores the stripped runs' log-likelihood suite anew, from its stored log-probabilities and MMLU's rows.

    python docs/validation/p_gold.py MMLU_JSONL RUN... OUT

The runs were scored before evalkit kept it; it is what their scores hold since version 2 of the scorer.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq

from evalkit.run import manifest
from evalkit.run.parquet import Table, encoded
from evalkit.run.tables import SCORES, scores_path
from evalkit.scoring.multiple_choice import mmlu, score_logprobs

SUITE, SCORER = "mmlu_logprob_lite", "evalkit.scoring.multiple_choice:score_logprobs@2"


def rescored(row: dict[str, Any], answers: dict[str, str]) -> SimpleNamespace:
    """A row of scores, scored anew from its options."""
    said = dict(row["metrics"] or ())
    if row["suite"] == SUITE and said:
        values = [said[f"logprob_{letter}"] for letter in "ABCD"]
        found = score_logprobs({"answer": answers[row["item"]], "continuations": values}, values)
        row |= {"value": found.value, "status": found.status.value, "reason": found.reason, "answer": found.answer}
        said = dict(found.metrics)
    return SimpleNamespace(**{**row, "metrics": said})


def convert(run: Path, out: Path, answers: dict[str, str]) -> None:
    """Write the run to the folder `out`, its log-likelihood suite scored anew."""
    shutil.copytree(run, out, ignore=lambda _folder, names: [name for name in names if name == manifest.NAME])
    session = manifest.latest(run)
    scores = scores_path(run, session.plan)
    header = Table(scores, SCORES).header
    scorers = {name: SCORER if name == SUITE else scorer for name, scorer in header["scorers"].items()}
    rows = (rescored(row, answers) for row in pq.read_table(scores).to_pylist())
    (out / scores.name).write_bytes(encoded(SCORES, rows, {**header, "scorers": scorers}, compression="none"))
    suites = [replace(one, digests={**one.digests, "scorer": scorers[one.suite]}) for one in session.suites]
    manifest.append(out, replace(session, suites=suites))


if __name__ == "__main__":
    data, *runs, target = map(Path, sys.argv[1:])
    listed = [json.loads(line) for line in data.read_bytes().split(b"\n") if line]
    letters = {document["id"]: document["answer"] for document in mmlu(listed, {})}
    for folder in runs:
        convert(folder, target / folder.name, letters)
