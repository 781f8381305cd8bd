"""The manifest of a run: one JSON line a session, saying what was asked of what, with which versions and digests.

The last line is the run's present meaning; earlier ones stay as its history. It never holds a secret.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evalkit import __version__
from evalkit.errors import RunError, StorageError
from evalkit.model import RunIdentity

# A comparison of stored runs reads manifests and needs neither the task layer nor configurations: half a second.
if TYPE_CHECKING:
    from evalkit.run.plan import Plan, PlannedSuite

FORMAT = 1
NAME = "manifest.jsonl"
_PACKAGES = (
    "lm_eval",
    "datasets",
    "aiohttp",
    "openai",
    "orjson",
    "pillow",
    "numpy",
    "scipy",
    "math-verify",
    "sympy",
    "xllamacpp",
)


@dataclass(frozen=True, slots=True)
class Session:
    """What a manifest line is made from. `started` is ISO 8601 in UTC; `endpoint` is what the server said of itself."""

    name: str
    started: str
    model: str
    config: Mapping[str, Any]
    endpoint: Mapping[str, str]


def versions() -> dict[str, str]:
    """evalkit's, Python's and the deciding packages' versions on this machine."""
    from importlib import metadata

    found = {"evalkit": __version__, "python": platform.python_version(), "platform": sys.platform}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def suite_block(suite: PlannedSuite) -> dict[str, Any]:
    """What a manifest says of one suite: enough to judge it without its data set or lm-eval."""
    from evalkit.config import redacted
    from evalkit.run.plan import PROTOCOL_VERSION

    described = suite.loaded.suite
    return {
        "suite": suite.name,
        "label": suite.label,
        "origin": described.origin,
        "margin_pt": suite.margin_pt,
        "headline": described.headline,
        "strata": list(described.strata),
        "chance": described.chance,
        "right_or_wrong": described.right_or_wrong,
        "gated": described.gated,
        "licence": described.licence,
        "repeats": suite.repeats,
        "items": len(suite.loaded.items),
        "items_in_data": suite.loaded.total_items,
        "rows": described.rows,
        "complete": _complete(suite),
        "notes": list(suite.loaded.notes),
        "seed": suite.base_seed,
        "parameters": redacted(dict(suite.parameters)),
        "digests": {
            "data": suite.loaded.data_digest,
            "prompts": suite.loaded.prompt_digest,
            "scorer": suite.loaded.scorer_id,
            "protocol": str(PROTOCOL_VERSION),
        },
    }


def _complete(suite: PlannedSuite) -> bool:
    """True where one missing answer withholds the verdict: servers refuse pictures by their number and size.

    What is missing is then no chance sample: published tables of these suites rest on denominators that shrank.
    """
    pictures = any(item.prompt.images for item in suite.loaded.items)
    return pictures or "judge" in suite.loaded.suite.needs


def manifest_line(session: Session, plan: Plan) -> dict[str, Any]:
    """The manifest line of a session."""
    return {
        "format": FORMAT,
        "name": session.name,
        "run_id": plan.digest[:12],
        "plan": plan.digest,
        "started": session.started,
        "model": session.model,
        "served": dict(plan.served),
        "versions": versions(),
        "endpoint": dict(session.endpoint),
        "config": dict(session.config),
        "suites": [suite_block(suite) for suite in plan.suites],
    }


def identity(folder: Path, line: Mapping[str, Any]) -> RunIdentity:
    """Which run a manifest line tells of; the user's word on what is served there is part of the endpoint."""
    build = line["served"].get("build")
    return RunIdentity(
        name=line["name"],
        run_id=line["run_id"],
        model=line["model"],
        path=str(folder),
        started=line["started"],
        versions=line["versions"],
        endpoint={**line["endpoint"], **({"build": str(build)} if build else {})},
        sampling=line["suites"][0]["parameters"] if line["suites"] else {},
    )


def append(folder: Path, line: Mapping[str, Any]) -> None:
    """Adds a line to the folder's manifest.

    Raises:
        StorageError: where the disk refuses.
    """
    path = folder / NAME
    try:
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        with path.open("ab") as out:
            out.write((b"\n" if torn else b"") + orjson.dumps(line) + b"\n")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def sessions(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of the folder's manifest, the oldest first, that this evalkit can read."""
    found = []
    for line in (folder / NAME).read_bytes().splitlines():
        try:
            manifest = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(manifest, dict) and manifest.get("format", FORMAT + 1) <= FORMAT:
            found.append(manifest)
    return found


def latest(folder: Path, plan: str | None = None) -> dict[str, Any]:
    """The last whole line of the folder's manifest; with `plan`, the last one of the plan with that digest.

    Raises:
        RunError: where the folder is no run, lacks the plan, or was written by a newer evalkit.
    """
    path = folder / NAME
    try:
        found = _last(path, plan)
    except OSError as error:
        raise RunError(f"{folder}: is no run folder ({NAME}: {error.strerror})") from error
    if found is not None:
        return found
    if plan is not None:
        raise RunError(f"{path}: holds no session of the plan {plan[:12]}")
    raise RunError(
        f"{path}: holds no whole line: nothing says what was run; `evalkit run` on its configuration writes it anew"
    )


def earlier(folder: Path) -> dict[str, Any] | None:
    """The last whole line of the manifest of a folder that is to be run again; None where nothing was written yet.

    Raises:
        RunError: where a newer evalkit wrote it.
    """
    try:
        return _last(folder / NAME, None)
    except FileNotFoundError:
        return None


def _last(path: Path, plan: str | None) -> dict[str, Any] | None:
    for line in reversed(path.read_bytes().splitlines()):
        try:
            manifest = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if not isinstance(manifest, dict) or "format" not in manifest:
            continue
        if manifest["format"] > FORMAT:
            raise RunError(f"{path}: was written by a newer evalkit (format {manifest['format']}): upgrade evalkit")
        if plan is None or manifest["plan"] == plan:
            return manifest
    return None
