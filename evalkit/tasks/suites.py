"""Finds suites and packs by name: in the user's folders, among evalkit's own, and in lm-eval's task library."""

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit import resources
from evalkit.config.suite import (
    ForeignFile,
    Pack,
    Suite,
    SuiteFields,
    check_suite,
    checked,
    is_suite,
    parse_pack,
    parse_suite,
    read_task,
    task_tree,
    text_of,
)
from evalkit.config.yaml import MAX_FILE_BYTES
from evalkit.errors import SuiteError, did_you_mean


def suite_files(folders: Sequence[Path] = ()) -> Iterator[tuple[str, Path]]:
    """Every suite file by search order (user's folders, EVALKIT_SUITES, evalkit's own): (origin, path)."""
    for origin, folder in _places(folders):
        if not folder.is_dir():
            raise SuiteError(f"{'suite_folders' if origin == str(folder) else origin}: {folder} is no folder")
        for path in sorted(folder.rglob("*.yaml")):
            if "packs" not in path.relative_to(folder).parts and not path.is_dir():
                yield origin, path


def _places(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    yield from ((str(folder), folder) for folder in folders)
    yield from resources.suite_folders()


def all_suites(folders: Sequence[Path] = ()) -> dict[str, Suite]:
    """All suites by name; where two folders have the same name, the first in search order is taken."""
    found: dict[str, Suite] = {}
    for origin, path in suite_files(folders):
        suite = parse_suite(path, origin)
        if suite is not None:
            found.setdefault(suite.name, suite)
    return found


def find_suite(name: str, folders: Sequence[Path] = ()) -> Suite:
    """The suite called `name`; else the lm-eval task or file of that name, as a suite with defaults.

    Raises `SuiteError`: with the nearest names, where there is none; or with all that is wrong with its file.
    """
    for origin, path in suite_files(folders):
        # Reading them all as YAML would be a sixth of what a run takes to start, and one that is broken is nobody's
        # business who did not ask for it: a file whose text has neither the name, of a task or group, nor an include
        # cannot be that suite.
        text = text_of(path)
        named = name.encode() in text and (b"task" in text or b"group" in text)
        if not named and b"include:" not in text:
            continue
        raw = read_task(path)
        if name in {raw.get("group"), raw.get("task") if isinstance(raw.get("task"), str) else None}:
            suite = parse_suite(path, origin, raw)
            if suite is not None and suite.name == name:
                return suite
    foreign = find_foreign(name, folders)
    if foreign is not None:
        return foreign
    raise SuiteError(f"no suite or lm-eval task is called {name!r}{_hint(name, folders)}")


def _hint(name: str, folders: Sequence[Path]) -> str:
    """What may have been meant by a name that nothing has: a file of that name, of another task, else a near name."""
    for _origin, path in suite_files(folders):
        if path.stem == name:
            task = read_task(path).get("task")
            return f": {path} {'has no `task:`' if task is None else f'says `task: {task}`'}"
    return did_you_mean(name, all_suites(folders), "; `evalkit suites` lists them")


# The tasks of a suite that is a group


@dataclass(frozen=True, slots=True)
class Member:
    """One task of a suite that is a group: its file, and what that says under `metadata: evalkit:`."""

    name: str
    file: Path
    fields: SuiteFields

    @property
    def category(self) -> str:
        """The heading that it stands under, its own name where it says none."""
        return str(self.fields.options.get("category", self.name))


def members(suite: Suite) -> tuple[Member, ...]:
    """The tasks of a group, in the group's order, each with its file.

    Raises `SuiteError`: where a task of the group has no file beside the group's, or a wrong one.
    """
    tasks = [(path, read_task(path)) for path in sorted(suite.file.parent.rglob("*.yaml"))]
    files = {raw["task"]: (path, raw) for path, raw in tasks if isinstance(raw.get("task"), str)}
    found = []
    for name in suite.tasks:
        if name not in files:
            hint = did_you_mean(name, files)
            raise SuiteError(f"{suite.file}: task: {name!r} has no file in {suite.file.parent}{hint}")
        path, raw = files[name]
        if not is_suite(raw):
            raise SuiteError(f"{path}: metadata.evalkit is missing: a task of {suite.name} says part_of: {suite.name}")
        found.append(Member(name, path, check_suite(path, raw).metadata.evalkit))
    return tuple(found)


# A generate_until task of lm-eval's own library, or of a folder of the user's, found without indexing 14,683 tasks


def library_folder() -> Path:
    """The folder of lm-eval's own task files, found without importing lm-eval's task layer."""
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.origin is None:
        raise SuiteError("lm-eval is not installed: reinstall flagos-evalkit")
    return Path(found.origin).parent / "tasks"


def find_foreign(name: str, folders: Sequence[Path]) -> Suite | None:
    """The lm-eval task `name` (or the YAML file of that path) as a suite with default tolerance, or None.

    Raises `SuiteError`: where the task is there but no `generate_until` task.
    """
    for path in _candidates(name, folders):
        raw = read_task(path)
        if raw.get("task") == name or path.name == Path(name).name:
            return parse_suite(path, str(path.parent), raw) or foreign_suite(name, path, raw)
    return None


def foreign_suite(name: str, path: Path, raw: Mapping[str, Any]) -> Suite:
    """An lm-eval task without a word for evalkit, as a suite with default tolerance.

    Raises `SuiteError`: where it is a group, has pictures, or does not generate text.
    """
    if isinstance(raw.get("task"), list):
        raise SuiteError(
            f"{name!r} is a group of lm-eval tasks ({path}): name its tasks one by one, or write a suite file"
        )
    file = checked(ForeignFile, raw, lambda: task_tree(path))
    if file.output_type != "generate_until":
        raise SuiteError(
            f"{name!r} is a {file.output_type} task ({path}): a chat endpoint gives no log-likelihoods; "
            "choose its generative variant"
        )
    if raw.get("doc_to_image") or raw.get("doc_to_audio"):
        raise SuiteError(f"{name!r} has pictures or sound ({path}): write a suite file for it that lists its pictures")
    metric = next((m.get("metric") for m in raw.get("metric_list") or [] if isinstance(m, dict)), "acc")
    return Suite(
        name=file.task,
        label=file.task_alias or file.task,
        file=path,
        origin="lm-eval",
        tasks=(file.task,),
        repeats=file.repeats,
        max_tokens=file.generation_kwargs.max_gen_toks or 256,
        about=f"lm-eval task; its metric {metric} is the score",
    )


def _candidates(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    direct = Path(name)
    if direct.suffix == ".yaml":
        if direct.is_file():
            yield direct
        return
    line = re.compile(rb"^task:\s*[\"']?" + re.escape(name.encode()) + rb"[\"']?\s*(#.*)?$", re.MULTILINE)
    for folder in (*folders, library_folder()):
        files = sorted(folder.rglob("*.yaml"))
        # A file named after its task is the usual case: looking there first saves reading thousands of files.
        files.sort(key=lambda path: path.stem != name)
        for path in files:
            if path.is_file() and path.stat().st_size < MAX_FILE_BYTES and line.search(path.read_bytes()):
                yield path


# Packs: named lists of suites with tolerances, one YAML file each under `suites/packs/`


def all_packs(folders: Sequence[Path] = ()) -> dict[str, Pack]:
    """All packs by name; the first in search order is taken.

    Raises `SuiteError`: naming what is wrong with a file that is no pack.
    """
    return {name: parse_pack(path) for name, path in _pack_files(folders).items()}


def find_pack(name: str, folders: Sequence[Path] = ()) -> Pack:
    """The pack of that name, or in that file (a path that ends in .yaml).

    Raises `SuiteError`: with the nearest name, where there is none; or with all that is wrong with its file.
    """
    if name.endswith(".yaml"):
        return parse_pack(Path(name))
    files = _pack_files(folders)
    if name not in files:
        raise SuiteError(f"no pack is called {name!r}{did_you_mean(name, sorted(files))}")
    return parse_pack(files[name])


def _pack_files(folders: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for _origin, folder in _places(folders):
        for path in sorted((folder / "packs").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found
