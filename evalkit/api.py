"""The calls of evalkit, typed: everything that the commands do. `import evalkit` has them all; nothing here prints.

    made = evalkit.compare("reference.yaml", "candidate.yaml", evalkit.CompareOptions(limit=50))
    made.verdict, made.exit_code, made.suites(), made.flips()

Calls work inside a running event loop too, as in a notebook. What goes wrong is an `EvalkitError` whose text is one
sentence for a person; what is said on the way is heard by an `Observer`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from evalkit import model
from evalkit.errors import EvalkitError, RunError, StorageError, UsageError, did_you_mean
from evalkit.files import check_place
from evalkit.options import (
    BisectOptions,
    CompareOptions,
    ContractOptions,
    JudgeOptions,
    PlanOptions,
    ProbeOptions,
    ReportOptions,
    RunOptions,
    SweepOptions,
    TableOptions,
    check_word,
)
from evalkit.run import SILENT, Observer

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    import pyarrow as pa

    from evalkit.compare.columns import Side
    from evalkit.examine.bisect import Bisection, Result
    from evalkit.examine.contract import Alone, Sheet
    from evalkit.examine.doctor import Diagnosis
    from evalkit.examine.forecast import Forecast
    from evalkit.examine.probe_report import FidelityReport
    from evalkit.examine.sweep import Map
    from evalkit.foreign.tables import Frame
    from evalkit.judging import Judged
    from evalkit.publish.tables import JudgedTable

PathLike: TypeAlias = "str | os.PathLike[str]"
Scores: TypeAlias = "PathLike | pd.DataFrame | pa.Table"
"""Something that was scored: a run folder, an output folder of lm-eval, a score table, or a frame with its columns."""
Language: TypeAlias = Literal["en", "zh"]
FlipKind: TypeAlias = Literal["regressed", "improved", "changed"]
FLIP_KINDS: Final[tuple[FlipKind, ...]] = ("regressed", "improved", "changed")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One side as it is stored; `asked` requests were sent by the call that made it.

    `problems` are sentences on what keeps it from being whole, `problem` is what stopped it early.
    """

    folder: Path
    side: Side = field(repr=False)
    asked: int = 0
    problems: tuple[str, ...] = ()
    problem: EvalkitError | None = None

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self.side.identity.name

    @property
    def whole(self) -> bool:
        """True where every planned sample has an answer."""
        return not self.problems

    def samples(self) -> pd.DataFrame:
        """One row a planned sample.

        Columns: suite, item, repeat (from 0), score (0 to 1, NaN where there is none), status, reason, answer, failure,
        prompt_tokens, completion_tokens, seconds, cluster, stratum (headings joined by " / "), weight.
        """
        from evalkit.frames import samples

        return samples(self.side)

    def to_dataset(self) -> datasets.Dataset:
        """The samples as a data set of Hugging Face's library; `push_to_hub` publishes it."""
        import datasets

        return datasets.Dataset.from_pandas(self.samples(), preserve_index=False)

    def summary(self) -> dict[str, Any]:
        """What `evalkit run --json` prints: by suite the number over the samples that have a value, and what has none.

        A sample without a value is listed with its item, repeat, status, failure and error.
        """
        from evalkit.run.sides import suite_summary

        suites = [suite_summary(name, suite) for name, suite in self.side.suites.items()]
        return {"run": str(self.folder), "asked": self.asked, "suites": suites}


def run(
    file: PathLike,
    options: RunOptions | None = None,
    observer: Observer = SILENT,
    *,
    stored: bool = False,
    again: bool = False,
) -> Run:
    """Asks one endpoint what is missing, grades it and stores every reply.

    Where some answers are stored and more are missing, a dozen are asked for again first; `stored` takes them as they
    are, and `again` asks for all anew (the old run is kept under another name).

    Raises `UsageError`: for a mistake in the file, a suite or its data, before anything is asked; where another server
    answers than the one that gave the stored answers; `StorageError`: where the disk refuses.
    """
    from evalkit.examine import recheck
    from evalkit.render.words import say
    from evalkit.run import journal, sides
    from evalkit.run.plan import prepare, refreshed
    from evalkit.run.repair import read_run

    if stored and again:
        raise UsageError("stored and again: take the stored answers or ask anew, not both")
    side = prepare(sides.load(Path(file), options or RunOptions()))
    if again:
        recheck.set_aside([side], observer)
    with journal.held([side.folder]):
        side = refreshed(side)
        found = recheck.reused(side, observer, stored=stored)[0] if side.missing else None
        if found is not None:
            observer.notice(say(recheck.note(side.config.name, found)))
        (outcome,) = sides.run_sides([replace(side, rechecked=found)], observer)
        problems = tuple(map(say, sides.problems(outcome)))
        read = read_run(side.folder, side.plan.digest)
    return Run(side.folder, read, outcome.asked, problems, outcome.problem)


def score(file: PathLike, options: RunOptions | None = None) -> Run:
    """Grades the stored replies of a run again, as its file says now; no endpoint is asked.

    Raises `RunError`: where there is no such run.
    """
    from evalkit.run import execute, journal, sides
    from evalkit.run.plan import prepare, refreshed
    from evalkit.run.repair import read_run
    from evalkit.waits import finished

    side = prepare(sides.load(Path(file), options or RunOptions()))
    if not side.folder.is_dir():
        raise RunError(f"{side.folder}: there is no such run: `evalkit run {file}` makes it")
    with journal.held([side.folder]):
        damaged = finished(execute.regrade(refreshed(side)))
        return Run(side.folder, read_run(side.folder, side.plan.digest), problems=damaged)


def load_run(folder: PathLike) -> Run:
    """A stored side: a run folder of evalkit's, an output folder of lm-eval, or a score table.

    Raises `UsageError`: where it cannot be read.
    """
    from evalkit.foreign.sources import read_side

    return Run(Path(folder), read_side(Path(folder)))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """A comparison: two sides, the judgment on each suite, and the verdict. A notebook shows its table.

    `value` has everything (`evalkit.model.Comparison`); `folder` is where it is stored, or was meant to be. Frames that
    need single samples read them from the two runs.
    """

    value: model.Comparison
    folder: Path | None = None
    file: Path | None = None
    sides: tuple[Side, Side] | None = None

    @property
    def verdict(self) -> model.Verdict:
        """The verdict over all suites."""
        return self.value.verdict

    @property
    def exit_code(self) -> int:
        """What the command line would end with: 0 equivalent, 1 degraded or elevated, 3 invalid, 4 inconclusive."""
        return self.value.exit_code

    def suites(self) -> pd.DataFrame:
        """One row a suite, all numbers as fractions, differences as candidate minus reference.

        Columns: suite, label, verdict, reasons, n_items, k_reference, k_candidate, reference, candidate, difference,
        ci90_low, ci90_high, ci95_low, ci95_high, margin, p_tost, p_difference, method, coverage, regressed, improved,
        churn.
        """
        from evalkit.frames import suites

        return suites(self.value)

    def items(self) -> pd.DataFrame:
        """One row an item that has a score on both sides.

        Columns: suite, item, stratum (headings joined by " / "), reference and candidate (mean scores), difference,
        k_reference, k_candidate (samples that count), share (of the suite's number, they sum to 1).

        Raises `RunError`: where the runs are gone, or have become others.
        """
        from evalkit.frames import items

        return items(self.value, self._runs())

    def flips(
        self,
        suite: str | None = None,
        kinds: Sequence[FlipKind] = FLIP_KINDS,
        *,
        item: str | None = None,
        most: int | None = None,
        include_questions: bool = False,
    ) -> pd.DataFrame:
        """The items that changed, the strongest evidence first, with both replies whole; at most `most`.

        Columns: the fields of `evalkit.model.Flip`. Where the runs are gone, those that the comparison holds.
        """
        import pandas as pd

        found, _whole = self.changed(suite, kinds, item=item, most=most, include_questions=include_questions)
        names = [one.name for one in model.Flip.__dataclass_fields__.values()]
        return pd.DataFrame([asdict(flip) for flip in found], columns=names)

    def changed(
        self,
        suite: str | None = None,
        kinds: Sequence[FlipKind] = FLIP_KINDS,
        *,
        item: str | None = None,
        most: int | None = None,
        include_questions: bool = False,
    ) -> tuple[list[model.Flip], bool]:
        """As `flips`, as values, and whether they are of the runs (else of what the comparison holds)."""
        from evalkit.compare.flips import Shown, changed

        names = [one.suite for one in self.value.suites]
        if suite is not None and suite not in names:
            raise UsageError(f"the comparison has no suite {suite!r}{did_you_mean(suite, names)}")
        for kind in kinds:
            check_word(kind, FLIP_KINDS, "kinds")
        try:
            sides = self._runs()
        except (RunError, UsageError):
            held = [flip for flip in self.value.flips if flip.kind in kinds and suite in {None, flip.suite}]
            gated = {one.suite for one in self.value.suites if one.gated and not include_questions}
            found = [flip.withheld() if flip.suite in gated else flip for flip in held if item in {None, flip.item}]
            return found[:most], False
        names = [name for name in names if suite in {None, name}]
        shown = Shown(whole=True, questions=include_questions)
        return changed(sides, names, kinds, item=item, most=most, shown=shown), True

    def _runs(self) -> tuple[Side, Side]:
        if self.sides is not None:
            return self.sides
        from evalkit.foreign.sources import sides_of

        return sides_of(self.value, self.folder)

    def report(self, form: str = "terminal", options: ReportOptions | None = None) -> str | bytes:
        """The comparison in a format: one of `evalkit report`, or the path of a template of your own, NAME.FORMAT.j2.

        terminal (100 columns), markdown, csv, latex, json, html, junit, openmetrics, summary.

        Raises `UsageError`: for another format, or an option that the format does not know.
        """
        from evalkit.render.report import rendered

        return rendered(self.value, form, options or ReportOptions())

    def explain(self, suite: str | None = None, *, language: Language = "en") -> str:
        """The verdict in three plain sentences a suite. Raises `UsageError`: where the comparison has no such suite."""
        from evalkit.render.report import explain

        check_word(language, ("en", "zh"), "language")
        return explain(self.value, suite, language=language)

    def card(
        self,
        style: str,
        *,
        chip: str = "",
        name: str = "",
        language: Language = "en",
        allow: Collection[Literal["invalid", "partial"]] = (),
    ) -> str:
        """A model card's table in Markdown, with what published figures need below it.

        `style` is one of evalkit's own by its name or a .yaml file, `name` the model's name to print. What is INVALID
        or unfinished, and what is a part of a data set, makes a card only where `allow` holds "invalid" or "partial".

        Raises `UsageError`: for a style that there is not or that wants a `chip`; for what must not be published.
        """
        from evalkit.publish.cards import CardSubject, card, load_style

        check_word(language, ("en", "zh"), "language")
        house = load_style(style)
        house.check_chip(style, chip)
        return card(self.value, house, CardSubject(chip, name), language=language, allow=allow)

    def store(self, folder: PathLike, observer: Observer = SILENT) -> Comparison:
        """Stores the comparison as `comparison.json` in a folder; an earlier one there is kept under another name.

        Raises `StorageError`: the folder cannot be written.
        """
        from evalkit.publish.archive import store

        file = store(self.value, Path(folder), observer.notice)
        return replace(self, folder=Path(folder), file=file)

    def __repr__(self) -> str:
        return f"<Comparison {self.verdict.value}: {self.value.reference.name} and {self.value.candidate.name}>"

    def __str__(self) -> str:
        """The table as `evalkit compare` prints it, 100 columns wide."""
        return str(self.report())

    def _repr_html_(self) -> str:
        """The table for a notebook; what models and servers said is escaped."""
        from evalkit.render.report import notebook

        return notebook(self.value)


def compare(
    reference: PathLike, candidate: PathLike, options: CompareOptions | None = None, observer: Observer = SILENT
) -> Comparison:
    """The main job: asks what is missing on two endpoints, pairs, judges, and stores the comparison.

    Both are an endpoint's YAML file, the folder of a stored run, two output folders of `lm_eval --log_samples`, or two
    score tables; a stored run may stand against a YAML file.

    Raises `UsageError`: for a mistake in what was given, before anything is asked; `EndpointError`: where an endpoint
    that is needed does not answer; `StorageError`: where the disk refuses.
    """
    from evalkit import judging
    from evalkit.foreign.sources import kind_of
    from evalkit.rounds import judged_stored

    paths, chosen = (Path(reference), Path(candidate)), options or CompareOptions()
    if chosen.out is not None:
        check_place(Path(chosen.out) / "comparison.json", "--out")
    if "config" in {kind_of(path) for path in paths}:
        from evalkit import spine

        return _kept(spine.compared(paths, chosen, observer), chosen, observer)
    judging.nothing_is_asked(chosen, *paths)
    return _kept(judged_stored(paths, chosen), chosen, observer)


def aa(reference: PathLike, options: CompareOptions | None = None, observer: Observer = SILENT) -> Comparison:
    """Compares an endpoint with itself: the noise floor that `compare` then shows beside each difference.

    A YAML file is asked every item a second time; of a stored run, odd repeats are held against even ones.

    Raises `UsageError, EndpointError, StorageError`: as `compare`.
    """
    from evalkit import judging
    from evalkit.foreign.sources import kind_of

    path, chosen = Path(reference), options or CompareOptions()
    if chosen.out is not None:
        check_place(Path(chosen.out) / "comparison.json", "--out")
    if kind_of(path) == "config":
        from evalkit import spine

        return _kept(spine.second_run(path, chosen, observer), chosen, observer)
    judging.nothing_is_asked(chosen, path)
    return _kept(judging.judged_halves(path, chosen), chosen, observer)


def judge(reference: Scores, candidate: Scores, options: JudgeOptions | None = None) -> Comparison:
    """Judges two things that were scored; no endpoint is asked, and nothing is stored unless `options.out` says where.

    A frame (pandas, or an Arrow table) has one row a sample with the columns of a score table: suite, item, repeat,
    score (0 to 1, or missing), and optionally cluster, stratum, status.

    Raises `UsageError`: for something that cannot be read, naming row and column; for two of different kinds.
    """
    from evalkit.rounds import judged_stored

    chosen = options or JudgeOptions()
    made = judged_stored((_scored("reference", reference), _scored("candidate", candidate)), chosen)
    found = Comparison(made.comparison, None, None, made.sides)
    return found if chosen.out is None else found.store(chosen.out)


def judge_tables(files: Sequence[PathLike], options: TableOptions | None = None) -> list[JudgedTable]:
    """Judges published tables: two means a row, a known number of items, no item scores.

    Files are model cards (Markdown), JSON lists of collected tables, or CSV files with the columns metric, reference,
    candidate and optionally n (items), k (repeats) and card. Intervals are unpaired.

    Raises `UsageError`: for a file that cannot be read or holds no table that compares two stacks.
    """
    from evalkit.publish.tables import judged_tables

    return judged_tables([Path(file) for file in files], options or TableOptions())


def load_comparison(path: PathLike) -> Comparison:
    """A stored comparison: its folder, or the `comparison.json` in it.

    Raises `UsageError`: there is none, or it cannot be read.
    """
    from evalkit.publish import archive

    given = Path(path)
    folder = given if given.is_dir() else given.parent
    return Comparison(archive.read(given), folder, folder / archive.NAME if given.is_dir() else given)


def _scored(name: str, scores: Scores) -> Path | Frame:
    from evalkit.foreign.tables import Frame

    return Path(scores) if isinstance(scores, (str, os.PathLike)) else Frame(name, scores)


def _kept(made: Judged, options: JudgeOptions, observer: Observer) -> Comparison:
    """Stores a comparison; where nobody named a folder and the usual one refuses, that is said and no failure."""
    from evalkit.render.words import say

    for note in made.comparison.notes:
        if note.code == "note.stored":
            observer.notice(say(note))
    folder = Path(options.out or made.home)
    found = Comparison(made.comparison, folder, None, made.sides)
    try:
        return found.store(folder, observer)
    except StorageError as error:
        if options.out is not None:
            raise
        observer.notice(f"{error}: name a folder with --out")
        return found


def plan(
    reference: PathLike, candidate: PathLike, options: PlanOptions | None = None, observer: Observer = SILENT
) -> Forecast:
    """What a comparison will cost and which of its gates can decide; asks nothing and needs no data set.

    Raises `UsageError`: for a mistake in what was given.
    """
    from evalkit.examine.forecast import forecast
    from evalkit.run import sides

    chosen = options or PlanOptions()
    asked = RunOptions(overrides=chosen.overrides, limit=chosen.limit)
    return forecast((sides.load(Path(reference), asked), sides.load(Path(candidate), asked)), chosen, observer)


def doctor(
    reference: PathLike,
    candidate: PathLike | None = None,
    options: RunOptions | None = None,
    *,
    data: bool = True,
    anyway: bool = False,
) -> Diagnosis:
    """Checks an endpoint with some sixty short requests; with two files, also what differs between the stacks.

    Nothing is stored and no data set is fetched; without `data` those on this machine are not looked at.

    Raises `UsageError`: for a mistake in a file; for two files that make a comparison INVALID, unless `anyway`;
    `LaunchError`: where an endpoint that evalkit was to start did not come up.
    """
    from evalkit import admission

    files = [Path(file) for file in (reference, candidate) if file is not None]
    return admission.diagnosed(files, options or RunOptions(), data=data, anyway=anyway)


@dataclass(frozen=True, slots=True)
class Contract:
    """What one endpoint kept and broke of its API's promises (`kept`), or two of them as a `comparison`."""

    sheets: tuple[Sheet, ...] = field(repr=False)
    kept: tuple[Alone, ...] = ()
    comparison: Comparison | None = None

    @property
    def exit_code(self) -> int:
        """That of the comparison; of one endpoint 3 where it breaks a promise, else 0."""
        if self.comparison is not None:
            return self.comparison.exit_code
        return 3 if not self.kept or any(one.problem for one in self.kept) else 0


def contract(
    reference: PathLike, candidate: PathLike | None = None, options: ContractOptions | None = None
) -> Contract:
    """Holds an endpoint to what its API promises, with some 390 short requests; with two files, one against the other.

    Two are paired case by case, and the comparison, whose suites are the promises, is stored beside their runs.

    Raises `UsageError`: for a mistake in a file; `LaunchError`: where an endpoint that evalkit was to start did not
    come up; `StorageError`: the disk refuses.
    """
    from evalkit import admission

    files = [Path(file) for file in (reference, candidate) if file is not None]
    sheets, kept, found, home = admission.contracted(files, options or ContractOptions())
    return Contract(sheets, kept, None if found is None else Comparison(found).store(home))


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What a fidelity probe found; `document` is what it stored in `folder` as `probe.json`."""

    report: FidelityReport = field(repr=False)
    document: dict[str, Any] = field(repr=False)
    folder: Path

    @property
    def verdict(self) -> model.Verdict:
        """EQUIVALENT, DEGRADED, INCONCLUSIVE or INVALID."""
        return self.report.verdict


def probe(
    reference: PathLike, candidate: PathLike, options: ProbeOptions | None = None, observer: Observer = SILENT
) -> Fidelity:
    """Compares the log-probabilities that two endpoints give the same texts, and stores what it found.

    The margin comes from the reference compared with itself. A detector of faults, no measure of quality.

    Raises:
        NotSupportedError: a server cannot score given tokens (an `EndpointError`).
        EndpointError: one of them does not answer.
        UsageError, StorageError: as `compare`.
    """
    from evalkit import admission

    return Fidelity(*admission.probed(Path(reference), Path(candidate), options or ProbeOptions(), observer))


def sweep(
    reference: PathLike, candidate: PathLike, options: SweepOptions | None = None, observer: Observer = SILENT
) -> Map:
    """Walks through regimes (prompt length, cache hits, batch, ...): where do two endpoints differ, from which size on?

    Raises as `probe`, and `EndpointError` where the reference does not repeat itself.
    """
    from evalkit import admission

    return admission.swept(Path(reference), Path(candidate), options or SweepOptions(), observer)


def bisect(
    reference: PathLike,
    candidate: PathLike,
    options: BisectOptions,
    heard: Callable[[int, Result], None] = lambda _number, _result: None,
) -> Bisection:
    """Finds the operators that make a candidate fail the fidelity probe; every set of them is a server.

    `heard` is called with every result and its number from 1. An interrupted bisect goes on from its folder.

    Raises `UsageError`: for a mistake in what was given; `EndpointError`: the reference does not answer, or cannot be
    compared with the candidate with nothing on; `StorageError`: the disk refuses.
    """
    from evalkit.examine.bisect import found

    return found(Path(reference), Path(candidate), options, heard)
