"""The manifest of a run: one JSON line a session, saying what was asked of what, with which versions and digests.

The last line is the run's present meaning; earlier ones stay as its history. It never holds a secret.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evalkit import codec
from evalkit.errors import RunError, StorageError, UsageError
from evalkit.model import Reason, RunIdentity
from evalkit.resources import __version__
from evalkit.run.answerers import Answered

# A comparison of stored runs reads manifests and needs neither the task layer nor configurations: half a second.
if TYPE_CHECKING:
    from evalkit.config import EndpointConfig
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
class SuiteRecord:
    """What a session says of one suite: enough to judge it without its data set or lm-eval.

    `items` of `items_in_data` (or, where a suite says so itself, of `rows`) are asked, `repeats` times each;
    `complete` says that one missing answer withholds the verdict, `right_or_wrong` that scores are 1 or 0 and nothing
    between; `digests` name data, prompts, scorer and protocol.
    """

    suite: str
    label: str
    margin_pt: float
    parameters: Mapping[str, Any]
    digests: Mapping[str, str]
    repeats: int
    items: int
    items_in_data: int
    rows: int | None = None
    origin: str = ""
    headline: str = "micro"
    strata: Sequence[str] = ()
    chance: float | None = None
    gated: bool = False
    licence: str = ""
    complete: bool = False
    right_or_wrong: bool = False
    notes: Sequence[Reason] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many requests in flight were found to be right, whether the search came to its end, and a sentence."""

    number: int
    settled: bool
    why: str


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a run: what was asked of what, with which versions and digests; it never holds a secret.

    `plan` is the digest of the plan, `started` ISO 8601 in UTC, `served` what identifies the model that answers, and
    `endpoint` what the server said of itself. `answered` counts who gave the plan's answers, of earlier sessions too;
    `same_names` and `open_names` are what the endpoint calls the model, and what may be a name of it.
    """

    name: str
    plan: str
    started: str
    model: str
    served: Mapping[str, Any]
    versions: Mapping[str, str]
    endpoint: Mapping[str, str]
    config: Mapping[str, Any]
    suites: Sequence[SuiteRecord]
    in_flight: InFlight | None = None
    answered: Sequence[Answered] = ()
    same_names: Sequence[str] = ()
    open_names: Sequence[str] = ()
    format: int = 1

    @property
    def run_id(self) -> str:
        """Twelve digits that name the plan."""
        return self.plan[:12]

    def identity(self, path: str) -> RunIdentity:
        """Which run this is; the user's word on what is served there is part of the endpoint."""
        build = self.served.get("build")
        return RunIdentity(
            name=self.name,
            run_id=self.run_id,
            model=self.model,
            path=path,
            started=self.started,
            versions=self.versions,
            endpoint={**self.endpoint, **({"build": str(build)} if build else {})},
            sampling=self.suites[0].parameters if self.suites else {},
        )


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


def new_session(config: EndpointConfig, plan: Plan) -> Session:
    """The session that begins now: what is to be asked, before the endpoint said anything of itself."""
    from datetime import UTC, datetime

    from evalkit.config import public_dump

    return Session(
        name=config.name,
        plan=plan.digest,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        model=config.model,
        served=dict(plan.served),
        versions=versions(),
        endpoint={},
        config=public_dump(config),
        suites=[suite_record(suite) for suite in plan.suites],
        format=FORMAT,
    )


def suite_record(suite: PlannedSuite) -> SuiteRecord:
    """What a session says of one suite."""
    from evalkit.config import redacted
    from evalkit.run.plan import PROTOCOL_VERSION

    described = suite.loaded.suite
    return SuiteRecord(
        suite=suite.name,
        label=suite.label,
        margin_pt=suite.margin_pt,
        parameters=redacted(dict(suite.parameters)),
        digests={
            "data": suite.loaded.data_digest,
            "prompts": suite.loaded.prompt_digest,
            "scorer": suite.loaded.scorer_id,
            "protocol": str(PROTOCOL_VERSION),
        },
        repeats=suite.repeats,
        items=len(suite.loaded.items),
        items_in_data=suite.loaded.total_items,
        rows=described.rows,
        origin=described.origin,
        headline=described.headline,
        strata=list(described.strata),
        chance=described.chance,
        gated=described.gated,
        licence=described.licence,
        # Servers refuse pictures by their number and size: what is missing is then no chance sample, and published
        # tables of these suites rest on denominators that shrank.
        complete="judge" in described.needs or any(item.prompt.images for item in suite.loaded.items),
        right_or_wrong=described.right_or_wrong,
        notes=list(suite.loaded.notes),
        seed=suite.base_seed,
    )


def append(folder: Path, session: Session) -> None:
    """Adds a line to the folder's manifest.

    Raises:
        StorageError: where the disk refuses.
    """
    path = folder / NAME
    try:
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        with path.open("ab") as out:
            out.write((b"\n" if torn else b"") + orjson.dumps(session, option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def sessions(folder: Path) -> list[Session]:
    """The whole lines of the folder's manifest, the oldest first, that this evalkit can read."""
    lines = (folder / NAME).read_bytes().splitlines()
    return [_session(said) for line in lines if (said := _said(line)) is not None and said["format"] == FORMAT]


def latest(folder: Path, plan: str | None = None) -> Session:
    """The last whole line of the folder's manifest; with `plan`, the last one of the plan with that digest.

    Raises:
        RunError: where the folder is no run, lacks the plan, or was written by another version of evalkit.
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


def earlier(folder: Path) -> Session | None:
    """The last whole line of the manifest of a folder that is to be run again; None where nothing was written yet.

    Raises:
        RunError: where another version of evalkit wrote it.
    """
    try:
        return _last(folder / NAME, None)
    except FileNotFoundError:
        return None


def _last(path: Path, plan: str | None) -> Session | None:
    for line in reversed(path.read_bytes().splitlines()):
        said = _said(line)
        if said is None:
            continue
        if said["format"] != FORMAT:
            told = f"was written by another version of evalkit (format {said['format']}): use that version"
            raise RunError(f"{path}: {told}, or give the run another `name:`")
        if plan is None or said["plan"] == plan:
            return _session(said)
    return None


def _said(line: bytes) -> dict[str, Any] | None:
    """What a line says; None for one that a crash tore, and for what is no session of any version."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) and "format" in said and "plan" in said else None


def _session(said: Mapping[str, Any]) -> Session:
    """The session of a line.

    Raises:
        RunError: where the line lacks something, or says what no session does.
    """
    try:
        suites = []
        for suite in said["suites"]:
            notes = [codec.read(Reason, orjson.dumps(note)) for note in suite.get("notes", ())]
            suites.append(SuiteRecord(**{**suite, "notes": notes}))
        in_flight = said.get("in_flight") and InFlight(**said["in_flight"])
        answered = [Answered(**row) for row in said.get("answered", ())]
        return Session(**{**said, "suites": suites, "in_flight": in_flight, "answered": answered})
    except (KeyError, TypeError, UsageError) as error:
        raise RunError(
            f"{NAME}: the session of {said.get('started', 'unknown date')} is no session: {error}"
        ) from error
