"""Grades a run: one pass over the journal, each reply once, and a row for every sample that was planned."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from evalkit.compare.behaviour import ends_in_loop
from evalkit.errors import RunError
from evalkit.model import FinalText, Reply, Score, Status
from evalkit.run import journal
from evalkit.run import rows as store
from evalkit.run.plan import Plan
from evalkit.scoring.answers.reply import final_text
from evalkit.scoring.registry import graded, printable

Grader: TypeAlias = Callable[[Mapping[str, Any], Any], Score]
"""Takes a document and what came back for it: a final text, or the bodies of an item that is asked in parts."""

WHOSE_CHARACTERS: Final = 160
"""So much of suite, item and scorer is said before what a scorer raised."""
BATCH: Final = 8
"""Replies that a thread takes at a time: handing one over costs as much as grading a short one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One planned sample: what to grade its reply with."""

    suite: str
    item: str
    repeat: int
    document: Mapping[str, Any]
    grade: Grader
    scorer: str = ""
    right_or_wrong: bool = False
    part: int = 0
    parts: int = 1

    def score(self, reply: Any, grade: Grader | None = None) -> Score:
        """The verdict on a reply; where the scorer has none to give, its reason names suite, item and scorer."""
        found = graded(grade or self.grade, self.document, reply, right_or_wrong=self.right_or_wrong)
        if found.status is not Status.GRADE_ERROR or not found.reason.startswith(("raised ", "gave ")):
            return found
        whose = printable(f"{self.suite}, item {self.item}: scorer {self.scorer}", WHOSE_CHARACTERS)
        return replace(found, reason=f"{whose} {found.reason}")


Answered: TypeAlias = tuple[Mapping[str, Any], list[Wanted]]
"""A journal record of a reply, and the samples that it answers."""


def wanted_of(plan: Plan) -> dict[str, list[Wanted]]:
    """The samples of a plan by the key of their answer."""
    wanted: dict[str, list[Wanted]] = {}
    for key, suite, item, repeat in plan.keyed():
        number, part = divmod(repeat, len(item.prompts))
        described = suite.loaded.suite
        sample = Wanted(
            suite=suite.name,
            item=item.id,
            repeat=number,
            document=item.doc,
            grade=suite.loaded.score,
            scorer=described.scorer or suite.loaded.scorer_id,
            right_or_wrong=described.right_or_wrong,
            part=part,
            parts=len(item.prompts),
        )
        wanted.setdefault(key, []).append(sample)
    return wanted


def grade(folder: Path, plan: Plan, closing_tags: Sequence[str], *, again: bool = False, grades: str = "") -> Path:
    """Writes the plan's scores file and gives its path; a file that is still true is left as it is, unless `again`.

    `grades` is the digest of a judge's grades: other grades are other scores of the same replies.

    Raises:
        StorageError: where the disk refuses.
    """
    path = store.scores_path(folder, plan.digest)
    header = {
        "format": store.SCORES_FORMAT,
        "journal_bytes": sum(file.stat().st_size for file in journal.files(folder)),
        "closing_tags": list(closing_tags),
        "scorers": {suite.name: suite.loaded.scorer_id for suite in plan.suites},
        "journals": [file.name for file in journal.files(folder)],
    }
    if grades:
        header["grades"] = grades
    if not again and path.exists() and _header(path) == header:
        return path
    store.write_lines(path, _rows(folder, wanted_of(plan), closing_tags, header))
    return path


def _header(path: Path) -> dict[str, Any] | None:
    with suppress(RunError):
        return next(store.read_lines(path), None)
    return None


def _rows(
    folder: Path, wanted: dict[str, list[Wanted]], closing_tags: Sequence[str], header: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    yield header
    failures: dict[str, dict[str, Any]] = {}
    partial: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = {}
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="grade") as pool:
        underway: deque[Future[list[dict[str, Any]]]] = deque()
        batch: list[Answered] = []
        for record in _records(folder, wanted):
            if record["t"] == "failure":
                failures[record["key"]] = record
                continue
            samples = wanted.pop(record["key"])
            if samples[0].parts > 1:
                yield from _whole(record, samples, partial)
                continue
            batch.append((record, samples))
            if len(batch) == BATCH:
                underway.append(pool.submit(_graded_batch, batch, closing_tags))
                batch = []
            # Bounded, so that a journal of gigabytes is never held in memory.
            if len(underway) > 2 * workers:
                yield from underway.popleft().result()
        for future in underway:
            yield from future.result()
        yield from _graded_batch(batch, closing_tags)
    missing: set[tuple[str, str, int]] = set()
    for key, samples in wanted.items():
        for sample in samples:
            place = (sample.suite, sample.item, sample.repeat)
            if place not in missing:
                missing.add(place)
                yield _without_reply(sample, failures.get(key))


def _records(folder: Path, wanted: Mapping[str, list[Wanted]]) -> Iterator[dict[str, Any]]:
    """The journal's records that are still wanted when they are met, each with its `place`: file number and offset."""
    for number, file in enumerate(journal.files(folder)):
        for offset, record in journal.read_lines(file):
            if record["key"] in wanted and record["t"] in {"reply", "failure"}:
                yield {**record, "place": (number, offset)}


def _whole(
    record: dict[str, Any], samples: list[Wanted], partial: dict[tuple[str, str, int], dict[int, dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Gathers the parts of a sample; the row comes with the last of them."""
    for sample in samples:
        place = (sample.suite, sample.item, sample.repeat)
        parts = partial.setdefault(place, {})
        parts[sample.part] = record
        if len(parts) == sample.parts:
            del partial[place]
            yield _graded_parts([parts[n] for n in range(sample.parts)], sample)


def _graded_parts(records: list[dict[str, Any]], sample: Wanted) -> dict[str, Any]:
    from evalkit.scoring.multiple_choice import score_logprobs

    score = sample.score([record["body"] for record in records], score_logprobs)
    first = journal.stored_reply(records[0])
    return {**_source(records[0]), **_row(sample, first, score, FinalText(""))}


def _graded_batch(batch: Sequence[Answered], closing_tags: Sequence[str]) -> list[dict[str, Any]]:
    return [row for record, samples in batch for row in _graded(record, samples, closing_tags)]


def _graded(record: Mapping[str, Any], samples: list[Wanted], closing_tags: Sequence[str]) -> list[dict[str, Any]]:
    reply = journal.stored_reply(record)
    final = final_text(reply, tuple(closing_tags))
    rows = []
    for sample in samples:
        score = sample.score(final)
        if score.status is Status.GRADE_ERROR:
            # Graders are sensitive to load: one more try decides.
            score = sample.score(final)
        rows.append({**_source(record), **_row(sample, reply, score, final)})
    return rows


def _source(record: Mapping[str, Any]) -> dict[str, Any]:
    """Where the reply of a row is: its key, its byte in the journal, and the journal's number where it is not 0."""
    number, offset = record["place"]
    return {"k": record["key"], "j": offset, **({"jf": number} if number else {})}


def _row(sample: Wanted, reply: Reply, score: Score, final: FinalText) -> dict[str, Any]:
    row: dict[str, Any] = {
        "s": sample.suite,
        "i": sample.item,
        "r": sample.repeat,
        "v": score.value,
        "st": score.status.value,
        "why": score.reason,
        "a": score.answer,
        "h": "" if sample.parts > 1 else _digest_of(reply),
        "n": len(reply.reasoning) + len(reply.content),
        "p": reply.usage.prompt_tokens,
        "c": reply.usage.completion_tokens,
        "sec": round(reply.seconds, 4),
        "l": score.lenient,
        "cut": sample.parts == 1 and (final.truncated or reply.finish_reason == "length"),
    }
    # What is not there is left out: a file of a million rows is read in half the time.
    row = {key: value for key, value in row.items() if key == "v" or (value is not None and value is not False)}
    if ends_in_loop(reply.content or reply.reasoning):
        row["loop"] = True
    if score.flags:
        row["flags"] = list(score.flags)
    if score.metrics:
        row["m"] = dict(score.metrics)
    return row


def _digest_of(reply: Reply) -> str:
    """64 bits of SHA-256: equal where both the thinking and the answer are."""
    whole = f"{reply.reasoning}\x1f{reply.content}".encode(errors="surrogatepass")
    return hashlib.sha256(whole).hexdigest()[:16]


def _without_reply(sample: Wanted, failure: Mapping[str, Any] | None) -> dict[str, Any]:
    status = Status.NOT_ASKED if failure is None else Status.FAILED
    return {
        "s": sample.suite,
        "i": sample.item,
        "r": sample.repeat,
        "v": None,
        "st": status.value,
        "why": "" if failure is None else str(failure["detail"])[:200],
        "f": "" if failure is None else failure["kind"],
    }
