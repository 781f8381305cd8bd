"""What a bisect asks: one short fidelity probe for each set of switched-on operators, every result kept in a folder.

The reference is asked once. A candidate is started with a set on and gives the reference's texts and its own another
reading; a server that does not come up, or dies, is a result too: a crash. What lies in the folder is not asked again.

    bisect.json        what is compared, so that a folder is not used for another bisect
    reference.json     the reference's texts, scored twice
    probe-DIGEST.json  one set of operators and its result
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import orjson

from evalkit.digest import digest
from evalkit.endpoint.bisect import Found, Operators, Search, search
from evalkit.endpoint.fidelity import (
    Findings,
    Material,
    NotSupportedError,
    Plan,
    ReferenceSide,
    Side,
    candidate_part,
    open_session,
    reference_part,
)
from evalkit.endpoint.fidelity_report import FORWARD, SELF, assess
from evalkit.endpoint.forcing import Drawn
from evalkit.errors import EndpointError, RunError, StorageError
from evalkit.model import Verdict
from evalkit.stats.divergence import Choice, ScoredText
from evalkit.stats.fidelity import overall

Kind: TypeAlias = Literal["verdict", "crash"]
REASON_CHARACTERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Result:
    """One set of operators and what the candidate did with it on.

    `verdict` is DEGRADED for a crash. The numbers are those of the reference's texts on the candidate, in nats per
    token; None where there are none. `seconds` is the time it took, the start of the server included.
    """

    on: tuple[str, ...]
    kind: Kind
    verdict: Verdict
    reasons: tuple[str, ...]
    tokens: int = 0
    k3: float | None = None
    nll_shift: float | None = None
    mean_abs: float | None = None
    max_abs: float | None = None
    seconds: float = 0.0

    @property
    def effect(self) -> str:
        """The result in a few words: the crash's cause, or the verdict and its size."""
        if self.kind == "crash":
            return f"crash: {self.reasons[0].splitlines()[0] if self.reasons else 'no reason is known'}"
        if self.k3 is None:
            return f"{self.verdict.value}: {'; '.join(self.reasons)}"
        return (
            f"{self.verdict.value}, k3 {self.k3:.2g} and mean |Δ logprob| {self.mean_abs:.2g} nats per token "
            f"over {self.tokens} tokens"
        )


class Bench:
    """Measures sets of operators: `candidate` gives the side that serves with a set on.

    `clock` is in seconds. `meant` is what decides the results beside the set: another value refuses the folder.
    """

    def __init__(
        self,
        folder: Path,
        meant: Mapping[str, Any],
        sides: tuple[Side, Callable[[Operators], Side]],
        plan: Plan,
        clock: Callable[[], float],
    ) -> None:
        self.folder = folder
        self.asked = 0
        self.stored = 0
        self._reference, self._candidate = sides
        self._plan = plan
        self._clock = clock
        self._known: ReferenceSide | None = None
        self._open(meant)

    async def measure(self, on: Operators) -> Result:
        """The result of a set: stored, or asked and stored.

        Raises:
            EndpointError: the reference does not answer, or cannot be probed.
            StorageError: the disk refuses.
        """
        path = self.folder / f"probe-{digest(sorted(on))[:16]}.json"
        if path.exists():
            self.stored += 1
            return _result(_read(path))
        reference = await self._reference_side()
        started = self._clock()
        found = await self._asked(on, reference)
        result = _timed(found, self._clock() - started)
        self.asked += 1
        _write(path, {**asdict(result), "verdict": result.verdict.value})
        return result

    def _open(self, meant: Mapping[str, Any]) -> None:
        about, path = digest(meant), self.folder / "bisect.json"
        if path.exists():
            if _read(path).get("digest") != about:
                raise RunError(f"{self.folder}: holds a bisect of other endpoints or settings: name another with --out")
            return
        _write(path, {"digest": about, **meant})

    async def _reference_side(self) -> ReferenceSide:
        path = self.folder / "reference.json"
        if self._known is None and path.exists():
            self._known = _reference(_read(path))
        if self._known is None:
            async with AsyncExitStack() as stack:
                session = await open_session(stack, self._reference, self._plan)
                self._known = await reference_part(session, await session.draw(self._plan))
            _write(path, asdict(self._known))
        return self._known

    async def _asked(self, on: Operators, reference: ReferenceSide) -> Result:
        names = tuple(sorted(on))
        try:
            async with AsyncExitStack() as stack:
                session = await open_session(stack, self._candidate(on), self._plan)
                own = await session.draw(self._plan)
                made = await candidate_part(session, own, reference.material)
                costs = session.asked()
        except NotSupportedError as error:
            if not on:
                raise
            return Result(names, "crash", Verdict.DEGRADED, (str(error)[:REASON_CHARACTERS],))
        except EndpointError as error:
            return Result(names, "crash", Verdict.DEGRADED, (str(error)[:REASON_CHARACTERS],))
        nothing = (None,) * len(self._plan.prompts)
        return _judged(names, Findings(self._plan, reference, made, nothing, {"candidate": costs}))


@dataclass(frozen=True, slots=True)
class Bisected:
    """The end of a bisect: what was found, and the result of every set that was asked for."""

    found: Found
    results: Mapping[Operators, Result]


async def run(names: Sequence[str], bench: Bench, tell: Callable[[int, Result], None], most_culprits: int) -> Bisected:
    """Search with a bench; `tell` hears every result with its number from 1.

    Where everything on is shown to be worse (or crashes), a set fails that is; where everything on is only not shown
    equivalent, a set fails that is not either.

    Raises:
        EndpointError: the reference does not answer, or cannot be compared with the candidate with nothing on.
        StorageError: the disk refuses.
    """
    steps: Search = search(names, most_culprits)
    results: dict[Operators, Result] = {}
    everything = frozenset(names)
    failing: frozenset[Verdict] = frozenset({Verdict.DEGRADED})
    try:
        on = next(steps)
        while True:
            results[on] = await bench.measure(on)
            tell(len(results), results[on])
            if not on and results[on].verdict is Verdict.INVALID:
                why = "; ".join(results[on].reasons)
                raise EndpointError(f"with nothing on, the candidate cannot be judged: {why}")
            if on == everything and results[on].verdict not in {Verdict.DEGRADED, Verdict.EQUIVALENT}:
                failing = frozenset(Verdict) - {Verdict.EQUIVALENT}
            on = steps.send(results[on].verdict in failing)
    except StopIteration as end:
        return Bisected(end.value, results)


def _judged(names: tuple[str, ...], findings: Findings) -> Result:
    """The verdict over the reference's texts and the candidate's own: the reference is not asked a second time."""
    report = assess(findings)
    judged = {name: one for name, one in report.judged.items() if name in {FORWARD, SELF}}
    verdict, reasons = overall(judged) if judged else (report.verdict, report.reasons)
    forward = report.comparisons[FORWARD]
    if forward is None:
        return Result(names, "verdict", verdict, reasons)
    return Result(
        on=names,
        kind="verdict",
        verdict=verdict,
        reasons=reasons,
        tokens=forward.tokens,
        k3=forward.k3.point,
        nll_shift=forward.nll_shift.point,
        mean_abs=forward.mean_abs,
        max_abs=forward.max_abs,
    )


def _timed(result: Result, seconds: float) -> Result:
    return replace(result, seconds=round(seconds, 3))


def _result(row: Mapping[str, Any]) -> Result:
    lists = {"on": tuple(row["on"]), "reasons": tuple(row["reasons"]), "verdict": Verdict(row["verdict"])}
    return Result(**{**row, **lists})


def _reference(row: Mapping[str, Any]) -> ReferenceSide:
    material = row["material"]
    return ReferenceSide(
        Material(
            tuple(None if ids is None else tuple(ids) for ids in material["prompts"]),
            tuple(map(_drawn, material["texts"])),
            tuple(map(_drawn, material["greedy"])),
        ),
        tuple(map(_scored, row["scored"])),
        tuple(map(_scored, row["again"])),
    )


def _drawn(row: Mapping[str, Any] | None) -> Drawn | None:
    if row is None:
        return None
    scores = _scored(row["scores"])
    return Drawn(tuple(row["ids"]), ScoredText(()) if scores is None else scores)


def _scored(row: Mapping[str, Any] | None) -> ScoredText | None:
    if row is None:
        return None
    choices = tuple(None if choice is None else Choice(**choice) for choice in row["choices"])
    return ScoredText(tuple(row["logprobs"]), choices)


def _read(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise RunError(f"{path}: cannot be read: remove it, and it is asked for again") from error
    return read


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all: an interrupted bisect leaves no half result."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as out:
            out.write(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        Path(temporary).replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
