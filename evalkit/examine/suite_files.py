"""Checks files of suites and packs as a run would, before it: all keys, the data, and the scorer on made-up replies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evalkit.config.suite import FUNCTION_TAG, Suite, check_suite, is_suite, parse_pack, parse_suite, read_task
from evalkit.config.yaml import parse_file
from evalkit.errors import SuiteError, UsageError
from evalkit.model import Item, Reason, Score, Status, said
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.registry import graded
from evalkit.tasks.items import LoadedSuite, LoadOptions, by_logprobs, load_suite
from evalkit.tasks.suites import find_suite, foreign_suite, members

_FORMS = ("{}", "Answer: {}", "\\boxed{{{}}}")
"""How a model may give an answer: the first form that the scorer takes for right is used."""
_ODD = "xyzzy"


@dataclass(frozen=True, slots=True)
class Trial:
    """What the scorer made of one reply: `kind` is "right" (made of the item's target), "wrong" or "empty"."""

    kind: str
    reply: str
    score: Score


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of one file; `what` is suite, part (of a group), pack, or task (lm-eval's alone)."""

    file: Path
    what: str
    name: str
    problems: tuple[str, ...] = ()
    notes: tuple[Reason, ...] = ()
    loaded: LoadedSuite | None = None
    items: tuple[Item, ...] = ()
    trials: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)


def check_files(paths: Sequence[Path], options: LoadOptions, count: int = 1) -> Iterator[Checked]:
    """Checks files, and all below folders; `count` items of each suite are shown and tried.

    Every file is looked at, whatever is wrong with another.
    """
    folders = [path if path.is_dir() else path.parent for path in paths]
    named: dict[str, Path] = {}
    for path in paths:
        for file in _suite_files(path) if path.is_dir() else [path]:
            try:
                found = _checked(file, folders, options, count)
            except UsageError as error:
                lines = str(error).splitlines()
                told = tuple(line if str(file) in line else f"{file}: {line}" for line in lines)
                found = Checked(file, "file", file.stem, told)
            if found.what in {"suite", "pack"} and named.setdefault(f"{found.what} {found.name}", file) != file:
                twice = f"{file}: the {found.what} {found.name} is in {named[f'{found.what} {found.name}']} already"
                found = replace(found, problems=(*found.problems, f"{twice}: one of them needs another name"))
            yield found


def _suite_files(folder: Path) -> Iterator[Path]:
    """The suites and packs below a folder; an endpoint's file, which may lie beside them, is none."""
    for file in sorted(folder.rglob("*.yaml")):
        try:
            tree = parse_file(file, tags=(FUNCTION_TAG,))
        except UsageError:
            yield file  # what is wrong with it is said where it is checked
            continue
        if not set(tree.children()) & {"base_url", "base_urls", "launch", "flagscale", "extends"}:
            yield file


def _checked(file: Path, folders: Sequence[Path], options: LoadOptions, count: int) -> Checked:
    """One file; a `UsageError` where it cannot be loaded, with one line for each problem."""
    if "packs" in file.parts[-2:-1]:
        return _pack(file, folders)
    raw = read_task(file)
    if not is_suite(raw):
        return _tried(Checked(file, "task", file.stem), foreign_suite(file.stem, file, raw), options, count)
    fields = check_suite(file, raw).metadata.evalkit
    suite = parse_suite(file, str(file.parent), raw)
    if suite is None:
        return Checked(file, "part", file.stem, notes=(said(f"its data is checked with {fields.part_of}"),))
    if suite.tasks != (suite.name,):
        members(suite)
    return _tried(Checked(file, "suite", suite.name), suite, options, count)


def _pack(file: Path, folders: Sequence[Path]) -> Checked:
    pack = parse_pack(file)
    problems = []
    for number, choice in enumerate(pack.suites):
        try:
            find_suite(choice.name, [*folders, file.parent.parent])
        except SuiteError as error:
            problems.append(f"{file}: suites.{number}: {error}")
    return Checked(file, "pack", pack.name, tuple(problems), (said(f"{len(pack.suites)} suites"),))


def _tried(found: Checked, suite: Suite, options: LoadOptions, count: int) -> Checked:
    loaded = load_suite(suite, replace(options, limit=count + 1))  # one more, for a wrong answer
    notes = list(loaded.notes)
    trials: dict[str, tuple[Trial, ...]] = {}
    how = "log-probabilities" if by_logprobs(suite) else "a judge model" if suite.scorer == "judge" else ""
    if how:
        notes.append(said(f"graded by {how}: no reply is tried"))
    else:
        trials = {item.id: tuple(_trials(loaded, item)) for item in loaded.items[:count]}
    problems: list[str | SuiteError] = []
    told: list[str] = []
    if suite.rows not in {None, loaded.total_items} and suite.tasks == (suite.name,):
        rows = str(suite.error("rows", f"is {suite.rows}, the data set has {loaded.total_items} items here"))
        if suite.source.file:
            problems.append(rows)
        else:  # data from elsewhere may be a part of it
            told.append(rows)
    for identity, one in trials.items():
        for trial in one:
            if trial.score.status is Status.GRADE_ERROR:
                what = f"item {identity}, {trial.kind} reply {trial.reply[:60]!r}: {suite.scorer} {trial.score.reason}"
                problems.append(suite.error("scorer", what) if suite.scorer else what)
        right, wrong = (trial.score.value for trial in one[:2])
        if right is not None and wrong is not None and right <= wrong:
            told.append(f"item {identity}: the scorer gives the target {right:g} and a wrong answer {wrong:g}")
    return replace(
        found,
        problems=tuple(map(str, problems)),
        notes=(*notes, *map(said, told)),
        loaded=loaded,
        items=loaded.items[:count],
        trials=trials,
    )


def _trials(loaded: LoadedSuite, item: Item) -> Iterator[Trial]:
    """The scorer on a right, a wrong and an empty reply."""
    made = [_trial(loaded, item, "right", form.format(item.target)) for form in _FORMS]
    failed = (trial for trial in made if trial.score.status is Status.GRADE_ERROR)
    right = next(failed, next((trial for trial in made if trial.score.value == 1), made[0]))
    yield right
    other = next((other.target for other in loaded.items if other.target != item.target), _ODD)
    yield _trial(loaded, item, "wrong", _FORMS[made.index(right)].format(other))
    yield _trial(loaded, item, "empty", "")


def _trial(loaded: LoadedSuite, item: Item, kind: str, reply: str) -> Trial:
    right_or_wrong = loaded.suite.right_or_wrong
    return Trial(kind, reply, graded(loaded.score, item.doc, final_text_of(reply), right_or_wrong=right_or_wrong))
