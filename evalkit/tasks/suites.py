"""What a suite is: a row of the table, described by one YAML file; and packs, lists of suites."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from evalkit import resources
from evalkit.errors import SuiteError, did_you_mean

MAX_SUITE_FILE_BYTES = 1 << 20
_GENERATE = "generate_until"
_KNOWN_FIELDS = frozenset(
    {"label", "scorer", "rows", "repeats", "margin_pt", "chance", "licence", "gated", "headline", "strata", "tags"}
    | {"cluster", "weight", "source", "prepare", "options", "max_tokens", "needs", "about", "order", "part_of"}
)
_HEADLINES = frozenset({"micro", "macro", "nested"})


@dataclass(frozen=True, slots=True)
class Suite:
    """The description of one suite, as its YAML file gives it.

    `headline` says how item scores become the suite's number: "micro" (mean over items, by weight), "macro" (mean of
    the means of the outermost heading) or "nested" (mean of means at every level of `strata`). `strata` and
    `cluster` name fields of the documents; `cluster: pictures` means the very pictures. `tags` maps a heading to the
    field with the words (one or a list) under which an item is counted beside its stratum, in rows for information.
    `source` says where the data set is (see `evalkit.tasks.data`). `file` is None for a task of lm-eval's own library
    until it is located.
    """

    name: str
    label: str
    file: Path
    origin: str
    tasks: tuple[str, ...]
    scorer: str | None
    rows: int | None = None
    repeats: int = 1
    margin_pt: float = 2.0
    chance: float | None = None
    licence: str = "see the data set"
    gated: bool = False
    headline: str = "micro"
    strata: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    cluster: str | None = None
    weight: str | None = None
    max_tokens: int | None = None
    needs: tuple[str, ...] = ()
    order: str = "longest_first"
    about: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # the first where libyaml is there
    """SafeLoader that reads lm-eval's `!function` tag as the text behind it."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def read_yaml(path: Path) -> dict[str, Any]:
    """One lm-eval YAML file with its `include:` chain merged, functions left as text.

    Raises:
        SuiteError: where the file cannot be read, is no mapping, or includes itself.
    """
    return _read(path, ())


def _read(path: Path, seen: tuple[Path, ...], files: list[Path] | None = None) -> dict[str, Any]:
    """`read_yaml`; puts the files that were read into `files`."""
    resolved = path.resolve()
    if files is not None:
        files.append(resolved)
    if resolved in seen:
        raise SuiteError(f"{path}: include: the file includes itself; remove one of the include lines")
    try:
        if resolved.stat().st_size > MAX_SUITE_FILE_BYTES:
            raise SuiteError(f"{path}: larger than {MAX_SUITE_FILE_BYTES} bytes: this is no suite file")
        loaded = yaml.load(resolved.read_bytes(), Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SuiteError(f"{path}: is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise SuiteError(f"{path}: a suite file is a mapping of keys, not {type(loaded).__name__}")
    includes = loaded.pop("include", [])
    merged: dict[str, Any] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        inherited = _read(resolved.parent / include, (*seen, resolved), files)
        inherited.pop("task_list", None)
        merged.update(inherited)
    return merged | loaded


def chain(path: Path) -> list[Path]:
    """The file and every file that it includes, in the order in which they are read.

    Raises:
        SuiteError: as `read_yaml`.
    """
    files: list[Path] = []
    _read(path, (), files)
    return files


def parse_suite(path: Path, origin: str) -> Suite | None:
    """The suite that a YAML file describes, or None for a file without `metadata: evalkit:`.

    Raises:
        SuiteError: naming file and key, where a field is unknown or of the wrong kind.
    """
    raw = read_yaml(path)
    metadata = raw.get("metadata")
    fields = metadata.get("evalkit") if isinstance(metadata, dict) else None
    if not isinstance(fields, dict):
        return None
    name = raw.get("group") or raw.get("task")
    if not isinstance(name, str):
        raise SuiteError(f"{path}: task: a suite needs a name here")
    _check_fields(path, fields)
    if fields.get("part_of"):
        return None
    tasks = tuple(raw["task"]) if raw.get("group") else (name,)
    generation = raw.get("generation_kwargs") or {}
    return Suite(
        name=name,
        label=str(fields.get("label", name)),
        file=path,
        origin=origin,
        tasks=tuple(str(task) for task in tasks),
        scorer=fields.get("scorer"),
        rows=fields.get("rows"),
        repeats=int(fields.get("repeats", 1)),
        margin_pt=float(fields.get("margin_pt", 2.0)),
        chance=fields.get("chance"),
        licence=str(fields.get("licence", "see the data set")),
        gated=bool(fields.get("gated", False)),
        headline=str(fields.get("headline", "micro")),
        strata=tuple(fields.get("strata", ())),
        tags=fields.get("tags") or {},
        cluster=fields.get("cluster"),
        weight=fields.get("weight"),
        max_tokens=fields.get("max_tokens", generation.get("max_gen_toks")),
        needs=tuple(fields.get("needs", ())),
        order=str(fields.get("order", "longest_first")),
        about=" ".join(str(fields.get("about", "")).split()),
        source=fields.get("source") or {},
    )


def _check_fields(path: Path, fields: Mapping[str, Any]) -> None:
    for key in fields:
        if key not in _KNOWN_FIELDS:
            raise SuiteError(f"{path}: metadata.evalkit.{key}: unknown key{did_you_mean(key, _KNOWN_FIELDS, '')}")
    if fields.get("headline", "micro") not in _HEADLINES:
        raise SuiteError(f"{path}: metadata.evalkit.headline: one of {', '.join(sorted(_HEADLINES))}")
    for key, kind in (("repeats", int), ("rows", int), ("margin_pt", (int, float)), ("strata", list), ("tags", dict)):
        if key in fields and (not isinstance(fields[key], kind) or isinstance(fields[key], bool)):
            raise SuiteError(f"{path}: metadata.evalkit.{key}: {fields[key]!r} is of the wrong kind")


@dataclass(frozen=True, slots=True)
class Member:
    """One task of a suite that is a group: `needs` names what it cannot run without ("code_execution").

    `category` is the heading that it stands under, its own name where it says none.
    """

    name: str
    file: Path
    needs: tuple[str, ...]
    category: str


def members(suite: Suite) -> tuple[Member, ...]:
    """The tasks of a group, in the group's order, each with its file.

    Raises:
        SuiteError: where a task of the group has no file beside the group's.
    """
    files: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for path in sorted(suite.file.parent.rglob("*.yaml")):
        raw = read_yaml(path)
        if isinstance(raw.get("task"), str):
            files[raw["task"]] = (path, (raw.get("metadata") or {}).get("evalkit") or {})
    found = []
    for name in suite.tasks:
        if name not in files:
            raise SuiteError(f"{suite.file}: task: {name!r} has no file in {suite.file.parent}")
        path, fields = files[name]
        category = str((fields.get("options") or {}).get("category", name))
        found.append(Member(name, path, tuple(fields.get("needs", ())), category))
    return tuple(found)


def suite_files(folders: Sequence[Path] = ()) -> Iterator[tuple[str, Path]]:
    """Every suite file by search order (user's folders, EVALKIT_SUITES, evalkit's own): (origin, path)."""
    for folder in folders:
        if not folder.is_dir():
            raise SuiteError(f"suite_folders: {folder} is no folder")
        yield from ((str(folder), path) for path in sorted(folder.rglob("*.yaml")))
    for origin, folder in resources.suite_folders():
        if not folder.is_dir():
            raise SuiteError(f"{origin}: {folder} is no folder")
        for path in sorted(folder.rglob("*.yaml")):
            if "packs" not in path.relative_to(folder).parts:
                yield origin, path


def all_suites(folders: Sequence[Path] = ()) -> dict[str, Suite]:
    """All suites by name; where two folders have the same name, the first in search order is taken."""
    found: dict[str, Suite] = {}
    for origin, path in suite_files(folders):
        suite = parse_suite(path, origin)
        if suite is not None and suite.name not in found:
            found[suite.name] = suite
    return found


def _may_hold(path: Path, name: str) -> bool:
    """False where one of evalkit's own files cannot be that suite: its text has neither the name nor an include.

    Reading them all as YAML would be a sixth of what a run takes to start.
    """
    text = path.read_bytes()
    return name.encode() in text or b"include:" in text


def find_suite(name: str, folders: Sequence[Path] = ()) -> Suite:
    """The suite called `name`; else the lm-eval task or file of that name, as a suite with defaults.

    Raises:
        SuiteError: with the nearest names, where there is none.
    """
    for origin, path in suite_files(folders):
        if origin == "evalkit" and not _may_hold(path, name):
            continue
        suite = parse_suite(path, origin)
        if suite is not None and suite.name == name:
            return suite
    suites = all_suites(folders)

    foreign = find_foreign(name, folders)
    if foreign is not None:
        return foreign
    hint = did_you_mean(name, suites, "; `evalkit suites` lists them")
    raise SuiteError(f"no suite or lm-eval task is called {name!r}{hint}")


def is_generative(raw: Mapping[str, Any]) -> bool:
    """True where an lm-eval task generates text (the only kind a chat endpoint can be asked)."""
    return bool(raw.get("output_type", _GENERATE) == _GENERATE)


# ----------------------------------------------------------------
# Finds a generate_until task of lm-eval's own library, or of a folder of the user's, without indexing 14,683
# tasks


def library_folder() -> Path:
    """The folder of lm-eval's own task files, found without importing lm-eval's task layer."""
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.origin is None:
        raise SuiteError("lm-eval is not installed: reinstall flagos-evalkit")
    return Path(found.origin).parent / "tasks"


def find_foreign(name: str, folders: Sequence[Path]) -> Suite | None:
    """The lm-eval task `name` (or the YAML file of that path) as a suite with default tolerance, or None.

    Raises:
        SuiteError: where the task is there but no `generate_until` task.
    """
    for path in _candidates(name, folders):
        raw = read_yaml(path)
        if raw.get("task") != name and path.name != Path(name).name:
            continue
        if isinstance(raw.get("task"), list):
            raise SuiteError(
                f"{name!r} is a group of lm-eval tasks ({path}): name its tasks one by one, or write a suite file"
            )
        if not is_generative(raw):
            raise SuiteError(
                f"{name!r} is a {raw.get('output_type')} task ({path}): a chat endpoint gives no log-likelihoods; "
                "choose its generative variant"
            )
        if raw.get("doc_to_image") or raw.get("doc_to_audio"):
            raise SuiteError(
                f"{name!r} has pictures or sound ({path}): write a suite file for it that lists its pictures"
            )
        generation = raw.get("generation_kwargs") or {}
        metric = next((m.get("metric") for m in raw.get("metric_list") or [] if isinstance(m, dict)), "acc")
        return Suite(
            name=str(raw["task"]),
            label=str(raw.get("task_alias", raw["task"])),
            file=path,
            origin="lm-eval",
            tasks=(str(raw["task"]),),
            scorer=None,
            repeats=int(raw.get("repeats", 1)),
            max_tokens=generation.get("max_gen_toks", 256),
            about=f"lm-eval task; its metric {metric} is the score",
        )
    return None


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
            if path.stat().st_size < 1 << 20 and line.search(path.read_bytes()):
                yield path


# ----------------------------------------------------------------
# Packs: named lists of suites with tolerances, one YAML file each under `suites/packs/`


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as its file gives it: every entry of `suites` is a mapping with at least `name`."""

    name: str
    about: str
    file: Path
    suites: tuple[dict[str, Any], ...]


def all_packs(folders: Sequence[Path] = ()) -> dict[str, Pack]:
    """All packs by name; the first in search order is taken.

    Raises:
        SuiteError: naming the file that is no pack.
    """
    packs: dict[str, Pack] = {}
    for path in _files(folders):
        if path.stem not in packs:
            packs[path.stem] = _parse(path)
    return packs


def find_pack(name: str, folders: Sequence[Path] = ()) -> Pack:
    """The pack of that name.

    Raises:
        SuiteError: with the nearest name, where there is none.
    """
    packs = all_packs(folders)
    if name not in packs:
        raise SuiteError(f"no pack is called {name!r}{did_you_mean(name, sorted(packs))}")
    return packs[name]


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in (*folders, *(place for _origin, place in resources.suite_folders())):
        yield from sorted((folder / "packs").glob("*.yaml"))


def _parse(path: Path) -> Pack:
    raw = read_yaml(path)
    suites = raw.get("suites")
    if not isinstance(suites, list) or not suites:
        raise SuiteError(f"{path}: suites: a pack lists at least one suite here")
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in suites]
    if not all(isinstance(entry, dict) and entry.get("name") for entry in entries):
        raise SuiteError(f"{path}: suites: every entry is a name, or a mapping with a name")
    return Pack(path.stem, " ".join(str(raw.get("about", "")).split()), path, tuple(entries))
