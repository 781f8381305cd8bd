"""Finds a generate_until task of lm-eval's own library, or of a folder of the user's, without indexing 14,683 tasks."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.errors import SuiteError
from evalkit.tasks.suite import Suite, is_generative, read_yaml


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
