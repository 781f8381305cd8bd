"""Grades a run: one pass over the journal, each reply once, and a row for every sample that was planned."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from evalkit.compare.behaviour import ends_in_loop
from evalkit.compare.columns import NO_TEXT
from evalkit.compare.garbage import garbage_of
from evalkit.endpoint.echo import continuation_logprob, echoed_logprobs
from evalkit.errors import RunError
from evalkit.files import digest64
from evalkit.model import FinalText, Item, Reply, Score, Status
from evalkit.run import journal, tables
from evalkit.run.parquet import FORMAT, Table
from evalkit.run.plan import Plan, PlannedSuite
from evalkit.run.records import Damage, FailureRecord, Record, ReplyRecord, read_records, told
from evalkit.run.tables import Graded
from evalkit.scoring.answers.reply import final_text
from evalkit.scoring.registry import graded, printable

Grader: TypeAlias = Callable[[Mapping[str, Any], Any], Score]
"""Takes a document and what came back: a final text, or the log-probabilities of an item that is asked in parts."""

Cell: TypeAlias = tuple[str, str, int]  # suite, item and repeat

WHOSE_CHARACTERS: Final = 160  # so much of suite, item and scorer is said before what a scorer raised
BATCH: Final = 8  # replies that a thread takes at a time: handing one over costs as much as grading a short one


@dataclass(frozen=True, slots=True)
class Wanted:
    """One planned sample, or, where its options are asked one by one, a `part` of it."""

    suite: PlannedSuite
    item: Item
    repeat: int
    part: int = 0

    @property
    def cell(self) -> Cell:
        """Which sample it is."""
        return self.suite.name, self.item.id, self.repeat

    @property
    def parts(self) -> int:
        """How many requests the sample takes."""
        return len(self.item.prompts)

    def score(self, reply: Any, grade: Grader | None = None) -> Score:
        """The verdict on a reply; where the scorer has none to give, its reason names suite, item and scorer."""
        loaded = self.suite.loaded
        right_or_wrong = loaded.suite.right_or_wrong
        found = graded(grade or loaded.score, self.item.doc, reply, right_or_wrong=right_or_wrong)
        if found.status is not Status.GRADE_ERROR or not found.reason.startswith(("raised ", "gave ")):
            return found
        scorer = loaded.suite.scorer or loaded.scorer_id
        whose = printable(f"{self.suite.name}, item {self.item.id}: scorer {scorer}", WHOSE_CHARACTERS)
        return replace(found, reason=f"{whose} {found.reason}")


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply, the number of its journal, the byte at which its record begins, and the samples that it answers."""

    reply: ReplyRecord
    journal: int
    offset: int
    samples: Sequence[Wanted]


def wanted_of(plan: Plan) -> dict[str, list[Wanted]]:
    """The samples of a plan by the key of their answer."""
    wanted: dict[str, list[Wanted]] = {}
    for key, suite, item, repeat in plan.keyed():
        number, part = divmod(repeat, len(item.prompts))
        wanted.setdefault(key, []).append(Wanted(suite, item, number, part))
    return wanted


def grade(folder: Path, plan: Plan, closing_tags: Sequence[str], *, again: bool = False, grades: str = "") -> Path:
    """Writes the plan's scores file and gives its path; a file that is still true is left as it is, unless `again`.

    `grades` is the digest of a judge's grades: other grades are other scores of the same replies.

    Raises `StorageError`: where the disk refuses.
    """
    path = tables.scores_path(folder, plan.digest)
    header = {
        "plan": plan.digest,
        "closing_tags": list(closing_tags),
        "scorers": {suite.name: suite.loaded.scorer_id for suite in plan.suites},
        "journals": journal.extents(folder),
    }
    if grades:
        header["grades"] = grades
    if not again and _is_true(path, header):
        return path
    tables.write_scores(path, _rows(folder, wanted_of(plan), closing_tags), header)
    return path


def _is_true(path: Path, header: Mapping[str, Any]) -> bool:
    """True where a table of scores was made from what the header says."""
    if path.exists():
        with suppress(RunError):
            return Table(path, tables.SCORES).header == {**header, "format": FORMAT}
    return False


def _rows(folder: Path, wanted: dict[str, list[Wanted]], closing_tags: Sequence[str]) -> Iterator[Graded]:
    failures: dict[str, FailureRecord] = {}
    partial: dict[Cell, dict[int, Answered]] = {}
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="grade") as pool:
        underway: deque[Future[list[Graded]]] = deque()
        batch: list[Answered] = []
        for number, offset, record in _records(folder, wanted):
            if isinstance(record, FailureRecord):
                failures[record.key] = record
                continue
            answered = Answered(record, number, offset, wanted.pop(record.key))
            if answered.samples[0].parts > 1:
                yield from _whole(answered, partial)
                continue
            batch.append(answered)
            if len(batch) == BATCH:
                underway.append(pool.submit(_graded, batch, closing_tags))
                batch = []
            # Bounded, so that a journal of gigabytes is never held in memory.
            if len(underway) > 2 * workers:
                yield from underway.popleft().result()
        for future in underway:
            yield from future.result()
        yield from _graded(batch, closing_tags)
    missing: set[Cell] = set()
    for key, samples in wanted.items():
        for sample in samples:
            if sample.cell not in missing:
                missing.add(sample.cell)
                yield _without_reply(sample, failures.get(key))


def _records(folder: Path, wanted: Mapping[str, list[Wanted]]) -> Iterator[tuple[int, int, Record]]:
    """The journals' records that are still wanted when they are met: number of the journal, offset, record."""
    for number, file in enumerate(journal.files(folder)):
        for offset, record in read_records(file):
            if not isinstance(record, Damage) and record.key in wanted:
                yield number, offset, record


def _whole(answered: Answered, partial: dict[Cell, dict[int, Answered]]) -> Iterator[Graded]:
    """Gathers the parts of a sample; the row comes with the last of them."""
    from evalkit.scoring.multiple_choice import score_logprobs

    for sample in answered.samples:
        parts = partial.setdefault(sample.cell, {})
        parts[sample.part] = answered
        if len(parts) == sample.parts:
            del partial[sample.cell]
            echoes = [echoed_logprobs(parts[n].reply.body) for n in range(sample.parts)]
            texts = sample.item.doc["continuations"]
            score = sample.score(list(map(continuation_logprob, echoes, texts)), score_logprobs)
            yield _row(sample, parts[0], parts[0].reply.reply(), score)


def _graded(batch: Sequence[Answered], closing_tags: Sequence[str]) -> list[Graded]:
    rows = []
    for answered in batch:
        reply = answered.reply.reply()
        final = final_text(reply, tuple(closing_tags))
        for sample in answered.samples:
            score = sample.score(final)
            if score.status is Status.GRADE_ERROR:
                # Graders are sensitive to load: one more try decides.
                score = sample.score(final)
            rows.append(_row(sample, answered, reply, score, final))
    return rows


def _row(sample: Wanted, answered: Answered, reply: Reply, score: Score, final: FinalText | None = None) -> Graded:
    """The row of a sample; where its options were asked one by one, `reply` is the first one's and no text is final."""
    whole = f"{reply.reasoning}\x1f{reply.content}"
    return Graded(
        suite=sample.suite.name,
        item=sample.item.id,
        repeat=sample.repeat,
        value=score.value,
        status=score.status.value,
        reason=score.reason,
        answer=score.answer,
        lenient=score.lenient,
        text=NO_TEXT if final is None else digest64(whole),
        characters=len(whole) - 1,
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        seconds=round(reply.seconds, 4),
        truncated=final is not None and (final.truncated or reply.finish_reason == "length"),
        loops=ends_in_loop(reply.content or reply.reasoning),
        garbage="" if final is None else garbage_of(reply, sample.item.prompt),
        address=answered.reply.address,
        at=answered.reply.at or None,
        flags=score.flags,
        metrics=score.metrics,
        key=answered.reply.key,
        journal=answered.journal,
        offset=answered.offset,
    )


def _without_reply(sample: Wanted, failure: FailureRecord | None) -> Graded:
    return Graded(
        suite=sample.suite.name,
        item=sample.item.id,
        repeat=sample.repeat,
        value=None,
        status=(Status.NOT_ASKED if failure is None else Status.FAILED).value,
        reason="" if failure is None else told(failure, gated=sample.suite.loaded.suite.gated)[:200],
        failure="" if failure is None else failure.kind,
        address="" if failure is None else failure.address,
        at=None if failure is None else failure.at or None,
    )
