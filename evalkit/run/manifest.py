"""The manifest of a run: one JSON line a session, saying what was asked of what, with which versions and digests.

The last session is the run's present meaning; earlier ones stay as its history. It never holds a secret. The file is
written whole, and ends with a line that holds the CRC32C of all before it: a line that was lost or changed would be
another meaning.
"""

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c
import orjson

from evalkit import codec
from evalkit.errors import RunError, StorageError, UsageError
from evalkit.files import digest, write_whole
from evalkit.model import P_GOLD_MARGIN_PT, Reason, RunIdentity
from evalkit.parts import Part
from evalkit.resources import __version__

FORMAT = 1
_HEADLINES = ("micro", "macro", "nested")
NAME = "manifest.jsonl"
_PACKAGES = ("lm_eval", "datasets", "aiohttp", "openai", "orjson", "pillow", "numpy", "scipy", "math-verify", "sympy")


@dataclass(frozen=True, slots=True)
class Answered:
    """How many of a run's answers one answerer gave."""

    model: str
    fingerprint: str
    address: str
    answers: int


@dataclass(frozen=True, slots=True)
class SuiteRecord:
    """What a session says of one suite: enough to judge it without its data set or lm-eval.

    `items` of `items_in_data` (or, where a suite says so itself, of `rows`) are asked, `repeats` times each;
    `complete` says that one missing answer withholds the verdict, `right_or_wrong` that scores are 1 or 0 and nothing
    between; `digests` name data, prompts, scorer and protocol, `items_digest` the file of the items (`run.items`).
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
    p_gold_margin_pt: float = P_GOLD_MARGIN_PT
    gated: bool = False
    licence: str = ""
    complete: bool = False
    right_or_wrong: bool = False
    notes: Sequence[Reason] = ()
    seed: int = 0
    items_digest: str = ""


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many requests in flight were found to be right, whether the search came to its end, and a sentence."""

    number: int
    settled: bool
    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a session ended before all was answered: the side's cause and what to do, and what stopped single suites."""

    why: str = ""
    advice: str = ""
    suites: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What came of asking for stored answers again (`examine.recheck`): "same", or "open" where a server is too noisy.

    Of `asked` answers the first new reply differed from the stored one in `differing`, from the second new one in
    `own_differing`; of a suite by log-likelihood `nats` is their mean distance.
    """

    word: str
    asked: int
    differing: int
    own_differing: int
    nats: float | None = None
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a run: what was asked of what, with which versions and digests; it never holds a secret.

    `plan` is the digest of the plan, `started` ISO 8601 in UTC, `served` what identifies the model that answers, and
    `endpoint` what the server said of itself. `answered` counts who gave the plan's answers, of earlier sessions too;
    `same_names` and `open_names` are what the endpoint calls the model, and what may be a name of it; `stopped` is None
    where nothing ended the session early; `rechecked` says what came of asking for stored answers again; `part` is what
    of the plan was to be asked, None for all; `bank` is the digest of the bank that allotted its repeats, "" for none.
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
    overall_margin_pt: float | None = None
    stopped: Stopped | None = None
    rechecked: Rechecked | None = None
    part: Part | None = None
    format: int = 1
    nonce: str = ""
    bank: str = ""

    @property
    def run_id(self) -> str:
        """Twelve digits that name what was asked of whom, and when it was begun; `nonce` tells two of one second."""
        return digest([self.name, self.started, self.plan, *filter(None, [self.nonce])])[:12]

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


@cache
def versions() -> Mapping[str, str]:
    """evalkit's, Python's and the deciding packages' versions on this machine."""
    from importlib import metadata

    found = {"evalkit": __version__, "python": platform.python_version(), "platform": sys.platform}
    for package in (*_PACKAGES, "xllamacpp"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def with_items(session: Session, digests: Mapping[str, str]) -> Session:
    """The session with the digest of each suite's items, by suite."""
    return replace(session, suites=[replace(one, items_digest=digests[one.suite]) for one in session.suites])


def append(folder: Path, session: Session) -> tuple[str, ...]:
    """Adds a session to the folder's manifest; a sentence where that was damaged, and is begun anew.

    Raises `StorageError`: where the disk refuses.
    """
    path, said = folder / NAME, []
    try:
        lines = _lines(path) if path.exists() else []
    except RunError:
        aside = path.with_name("manifest.damaged")
        said.append(f"{path}: was damaged and is begun anew; the damaged one is kept as {aside.name}")
        try:
            path.replace(aside)
        except OSError as refused:
            raise StorageError(f"{aside}: cannot be written: {refused.strerror}") from refused
        lines = []
    content = b"".join([*lines, orjson.dumps(session, option=orjson.OPT_APPEND_NEWLINE)])
    write_whole(path, content + end_line(content))
    return tuple(said)


def end_line(content: bytes) -> bytes:
    """The line that ends a manifest of these lines."""
    return b'{"crc32c":"%08x"}\n' % google_crc32c.value(content)


def _lines(path: Path) -> list[bytes]:
    """The sessions' lines of a manifest; a `RunError` where it cannot be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path.parent}: is no run folder ({NAME}: {error.strerror})") from error
    end = data.rfind(b'{"crc32c":')
    if end <= 0 or data[end:] != end_line(data[:end]):
        raise RunError(
            f"{path}: is damaged: `evalkit run` or `evalkit score` with its configuration file makes it anew"
        )
    return data[:end].splitlines(keepends=True)


def sessions(folder: Path) -> list[Session]:
    """The sessions of the folder's manifest, the oldest first.

    Raises:
        RunError: where the folder is no run, its manifest is damaged, or was written by another version of evalkit.
    """
    return [_session(folder / NAME, line) for line in _lines(folder / NAME)]


def known(folder: Path) -> list[Session]:
    """As `sessions`; none where the folder is no run, or its manifest is damaged and will be begun anew."""
    try:
        lines = _lines(folder / NAME)
    except RunError:
        return []
    return [_session(folder / NAME, line) for line in lines]


def latest(folder: Path, plan: str | None = None) -> Session:
    """The last session of the folder's manifest; with `plan`, the last one of the plan with that digest.

    Raises:
        RunError: where the folder is no run, lacks the plan, is damaged, or was written by another version of evalkit.
    """
    path = folder / NAME
    for session in (_session(path, line) for line in reversed(_lines(path))):
        if plan is None or session.plan == plan:
            return session
    raise RunError(f"{path}: holds no session of the plan {(plan or '')[:12]}")


def earlier(folder: Path) -> Session | None:
    """The last session of a folder that is to be run again; None where none is written, or the manifest is damaged.

    Raises `RunError`: where another version of evalkit wrote it.
    """
    found = known(folder)
    return found[-1] if found else None


def _session(path: Path, line: bytes) -> Session:
    """The session of a line; a `RunError` where it lacks something, or says what no session does."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RunError(f"{path}: a session in it is none: {error}") from error
    if isinstance(said, dict) and said.get("format") != FORMAT:
        told = f"was written by another version of evalkit (format {said.get('format')}): use that version"
        raise RunError(f"{path}: {told}, or give the run another `name:`")
    try:
        return _sensible(codec.checked(codec.made_of(Session, said)))
    except UsageError as error:
        raise RunError(f"{path}: a session in it is none: {error}") from error


def _sensible(session: Session) -> Session:
    """The session; a `UsageError` where it says what none does, though its types allow it."""
    if not isinstance(session.config.get("base_urls") or [], list):
        raise UsageError("config: base_urls is no list")
    for one in session.suites:
        if one.headline not in _HEADLINES or not 0 < one.margin_pt <= 100 or not 0 <= (one.chance or 0.0) <= 1:
            raise UsageError(f"suites: {one.suite}: its headline, margin or chance is none")
    return session
