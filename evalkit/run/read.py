"""Reads a stored run into the columns that a comparison takes; needs no data set, no lm-eval and no network."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from evalkit.compare.columns import ItemText, ReplyText, Side, SuiteFacts, SuiteSide
from evalkit.errors import RunError
from evalkit.model import fraction
from evalkit.run import columnar, journal, manifest
from evalkit.run import rows as store
from evalkit.run.rows import Files, Stored, StoredSuite

# What is sent and decides no answer.
_NO_SAMPLING = frozenset({"model", "logprobs", "top_logprobs"})
UNJUDGED_SHARE = 0.01
"""Above this share of answers that the judge could not grade there is no verdict."""


def is_run(path: Path) -> bool:
    """True where a folder is a run of evalkit's."""
    return (path / manifest.NAME).is_file()


def read_run(folder: Path, plan: str | None = None) -> Side:
    """The side that a run folder holds, as of its last session, or of the last one with the plan of that digest.

    Raises:
        RunError: where the folder is no run, was never scored, or is damaged.
    """
    with _without_collector():
        return _read_run(folder, plan)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keeps Python from looking for garbage in cycles among millions of rows that hold none: a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read_run(folder: Path, plan: str | None) -> Side:
    about = manifest.latest(folder, plan)
    files = Files(store.items_path(folder, about["plan"]), store.scores_path(folder, about["plan"]))
    if not files.scores.exists():
        raise RunError(f"{folder}: has no scores yet: run `evalkit score` with its configuration file")
    stored = columnar.load(files)
    texts = _Texts(folder, about["plan"], stored)
    suites = {
        block["suite"]: SuiteSide(
            _facts(block, suite, about["name"]),
            suite.samples,
            suite.options,
            suite.second,
        )
        for block in about["suites"]
        if (suite := stored.suites.get(block["suite"])) is not None
    }
    notes = () if plan is not None else tuple(_narrower(about, manifest.sessions(folder)))
    return Side(manifest.identity(folder, about), about["config"], suites, texts.reply, texts.item, notes)


def _facts(block: Mapping[str, Any], suite: StoredSuite, name: str) -> SuiteFacts:
    parameters = {
        f"sampling.{key}": str(value) for key, value in block["parameters"].items() if key not in _NO_SAMPLING
    }
    notes = list(block["notes"])
    if block["items"] < (block["rows"] or block["items_in_data"]):
        notes.append(f"{block['items']} of {block['rows'] or block['items_in_data']} items")
    notes.extend(_judge_noise(suite, name))
    return SuiteFacts(
        suite=block["suite"],
        label=block["label"],
        margin=fraction(block["margin_pt"]),
        headline=block["headline"],
        chance=block["chance"],
        gated=block["gated"],
        licence=block["licence"],
        greedy=block["parameters"].get("temperature") == 0,
        repeats=block["repeats"],
        notes=tuple(notes),
        defects=tuple(_defects(block, suite, name)),
        digests={**block["digests"], **parameters},
        step=1.0 if block["right_or_wrong"] else None,
    )


def _narrower(about: Mapping[str, Any], sessions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What an earlier session of the run asked and the one that is read did not: a folder means its last session."""
    asked = {block["suite"]: block for block in about["suites"]}
    most: dict[str, tuple[int, int]] = {}
    for session in sessions:
        if session["plan"] != about["plan"]:
            for block in session["suites"]:
                size = block["items"], block["repeats"]
                most[block["suite"]] = max(size, most.get(block["suite"], size), key=prod)
    less = []
    for suite, (items, repeats) in most.items():
        block = asked.get(suite)
        if block is None:
            less.append(f"{suite} not at all")
        elif block["items"] * block["repeats"] < items * repeats:
            less.append(f"{suite} {block['items']} items x {block['repeats']} of {items} x {repeats}")
    if less:
        yield (
            f"{about['name']}: what its last session asked is compared, less than an earlier one asked "
            f"({', '.join(less)}): run it again as before to compare all that is stored"
        )


def _judge_noise(suite: StoredSuite, name: str) -> Iterator[str]:
    """How much of a judged mean is the judge's own: the SD over its repeats; the interval holds it in any case."""
    if suite.gradings > 1:
        sd_pt = 100 * suite.judge_variance**0.5 / len(suite.samples)
        yield (
            f"{name}: each answer graded up to {suite.gradings} times; the judge's own noise in the mean is "
            f"{sd_pt:.2f} points (SD)"
        )
    elif suite.gradings and not suite.second:
        yield f"{name}: each answer graded once: the judge's own noise is in the interval, but not measured by itself"


def _defects(block: Mapping[str, Any], suite: StoredSuite, name: str) -> Iterator[str]:
    """Why a suite that must be whole is not; without any answer at all another rule speaks."""
    rows = len(suite.samples)
    if block.get("complete") and 0 < suite.unanswered < rows:
        yield (
            f"{name}: {suite.unanswered} of {rows} requests have no answer; a suite with pictures or a judge is judged "
            "only when all have one: run again, which asks what is missing"
        )
    if suite.unjudged > UNJUDGED_SHARE * rows:
        yield (
            f"{name}: {suite.unjudged} of {rows} answers are unjudged; at most {UNJUDGED_SHARE * 100:g} % may be: "
            "run again, which asks the judge for what is missing"
        )


class _Texts:
    """Fetches stored texts when they are needed: replies by their place in the journal, questions from an index."""

    def __init__(self, folder: Path, plan: str, stored: Stored) -> None:
        self._files = [folder / name for name in stored.journals]
        self._documents = store.docs_path(folder, plan)
        self._places = {name: (suite.offset, suite.file) for name, suite in stored.suites.items()}

    def reply(self, suite: str, row: int) -> ReplyText | None:
        """The stored reply of one sample."""
        offsets, files = self._places[suite]
        if offsets[row] < 0:
            return None
        file = self._files[files[row] if len(files) else 0]
        record = journal.read_at(journal.Place(file, int(offsets[row]), None))
        reply = journal.stored_reply(record)
        return ReplyText(reply.content, reply.reasoning, _logprobs(record["body"]))

    def item(self, suite: str, item: str) -> ItemText | None:
        """Question and target of one item."""
        offset = self._index().get((suite, item))
        if offset is None:
            return None
        row = store.read_at(self._documents, offset)
        return ItemText(row["question"], row["target"])

    @cache  # noqa: B019 - one object a run, for the life of the process
    def _index(self) -> dict[tuple[str, str], int]:
        return {(row["s"], row["i"]): offset for offset, row in store.read_places(self._documents)}


def _logprobs(body: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    choices = body.get("choices") or [{}]
    content = ((choices[0] or {}).get("logprobs") or {}).get("content") or []
    return tuple(
        (str(entry.get("token")), float(entry["logprob"])) for entry in content if entry.get("logprob") is not None
    )
