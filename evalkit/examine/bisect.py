"""Which operators are guilty? A search by halving over sets of switched-on operators.

With a set on, the candidate passes or fails. What the search says of an operator was seen, never inferred: each culprit
failed with nothing else on, alone or together with a named few.

    none on: passes      all on: fails      halve: the shortest beginning of the list that fails ends with a culprit
    the culprit alone: fails -> guilty; passes -> halve again for what it needs beside it
    all but the culprits: passes -> done; fails -> halve what is left

Where several sets can be tried at the same time, `ahead` says which the search will ask for next, whatever it hears.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from evalkit.config import EndpointConfig, redact_url
from evalkit.errors import ConfigError, EndpointError, RunError, UsageError
from evalkit.examine import probe
from evalkit.examine.fidelity import overall_fidelity
from evalkit.examine.probe_report import FORWARD, SELF, assess
from evalkit.files import digest, write_whole
from evalkit.model import Reason, Verdict, said
from evalkit.options import BisectOptions, RunOptions
from evalkit.render.words import say_all
from evalkit.run.plan import served
from evalkit.run.sides import load
from evalkit.waits import finished

Operators: TypeAlias = frozenset[str]
Fails: TypeAlias = Callable[[Operators], bool]  # whether the candidate fails with a set of operators on

MOST_CULPRITS: Final = 16
MOST_LOOKS: Final = 8
"""Different suppositions can lead to the same set: so many times the sets that are wanted are looked through."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search ended with.

    `culprits` are sets of operators that were seen to fail with nothing else on. A set of several fails only together:
    the operator from which it was found passes alone, and where failures grow with the set, each of them is needed.
    `complete` says that with all culprits off, everything else on passes. `passes_all` and `fails_none` say why there
    was nothing to search for: all on passes, or the candidate fails with none on.
    """

    culprits: tuple[Operators, ...] = ()
    complete: bool = True
    passes_all: bool = False
    fails_none: bool = False


def most_tests(operators: int, culprits: int) -> int:
    """The most sets that `search` tests where each of so many culprits fails by itself: k * (ceil(log2 n) + 2) + 2.

    Two for none and all; for each culprit a halving, one alone, and one of all the rest. No search can do with fewer
    than log2 of the number of possible sets of culprits, about k * log2(n / k) + 1.44 k.
    """
    halving = (operators - 1).bit_length() if operators > 1 else 0
    return culprits * (halving + 2) + 2


def search(names: Sequence[str], fails: Fails, most_culprits: int = MOST_CULPRITS) -> Found:
    """Find culprits among the names; ends early, and says so, after `most_culprits` of them.

    No set is asked for twice. A candidate whose failures do not grow with the set (one operator hides another's fault)
    is met too: each round begins at a set that was seen to pass and one that was seen to fail.

    Raises `ValueError`: there are no names, or one is there twice.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError("the operators must be at least one, and none of them twice")
    fails = cache(fails)
    if fails(frozenset()):
        return Found(complete=False, fails_none=True)
    left = list(names)
    culprits: list[Operators] = []
    passing = 0  # so many from the beginning of `left` were seen to pass together
    while fails(frozenset(left)):
        if len(culprits) == most_culprits:
            return Found(tuple(culprits), complete=False)
        at = _shortest(fails, left, (), (passing, len(left))) - 1
        culprit = _with_company(fails, left, at)
        culprits.append(culprit)
        # A beginning that loses a member was not seen to pass without it.
        passing = at if len(culprit) == 1 else 0
        left = [name for name in left if name not in culprit]
    return Found(tuple(culprits), passes_all=not culprits)


def ahead(names: Sequence[str], most_culprits: int, seen: Mapping[Operators, bool], count: int) -> list[Operators]:
    """Up to `count` sets that `search` asks for after what was seen: the one it needs, then those of either answer.

    `seen` says of sets whether they failed. With 2**d - 1 sets at a time, d halvings are decided at once. Empty where
    the search is at its end.
    """
    wanted: list[Operators] = []
    supposed: deque[dict[Operators, bool]] = deque([{}])
    looked = 0
    while supposed and len(wanted) < count and looked < MOST_LOOKS * count:
        looked += 1
        answers = supposed.popleft()
        try:
            search(names, {**seen, **answers}.__getitem__, most_culprits)
        except KeyError as unknown:
            question: Operators = unknown.args[0]  # the set whose result the search cannot go on without
            if question not in wanted:
                wanted.append(question)
            supposed += ({**answers, question: True}, {**answers, question: False})
    return wanted


def _shortest(fails: Fails, names: Sequence[str], beside: Sequence[str], seen: tuple[int, int]) -> int:
    """A length at which the beginning of `names`, with `beside` on too, fails, while one shorter it passes.

    `seen` are a length that was seen to pass and one that was seen to fail.
    """
    passing, failing = seen
    while failing - passing > 1:
        middle = (passing + failing) // 2
        if fails(frozenset(names[:middle]).union(beside)):
            failing = middle
        else:
            passing = middle
    return failing


def _with_company(fails: Fails, names: Sequence[str], at: int) -> Operators:
    """The operator at a place, or, where it passes alone, with those before it that it fails together with.

    The beginning of `names` up to the place was seen to fail.
    """
    group = [names[at]]
    while at > 0 and not fails(frozenset(group)):
        at = _shortest(fails, names, group, (0, at)) - 1
        group.append(names[at])
    return frozenset(group)


Kind: TypeAlias = Literal["verdict", "crash"]
Kept = TypeVar("Kept")
REASON_CHARACTERS: Final = 2_000
TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Result:
    """One set of operators and what the candidate did with it on.

    `verdict` is DEGRADED for a crash. The numbers are those of the reference's texts on the candidate, in nats per
    token; None where there are none. `seconds` is the time it took, the start of the server included.
    """

    on: tuple[str, ...]
    kind: Kind
    verdict: Verdict
    reasons: tuple[Reason, ...]
    tokens: int = 0
    k3: float | None = None
    nll_shift: float | None = None
    mean_abs: float | None = None
    max_abs: float | None = None
    seconds: float = 0.0


def key(on: Operators) -> str:
    """What tells the files of one set of operators from those of the others."""
    return digest(sorted(on))[:16]


class Bench:
    """Measures sets of operators: one short fidelity probe for each, every result kept in a folder.

    The reference is asked once. A candidate is started with a set on and gives the reference's texts and its own
    another reading; a server that does not come up, or dies, twice is a result too: a crash. What lies in the folder is
    not asked again. `candidate` gives the side that serves with a set on.

        bisect.json        what is compared, so that a folder is not used for another bisect
        reference.json     the reference's texts, scored twice
        probe-DIGEST.json  one set of operators and its result

    `clock` is in seconds. `meant` is what decides the results beside the set: another value refuses the folder.
    """

    def __init__(
        self,
        folder: Path,
        meant: Mapping[str, Any],
        sides: tuple[probe.Side, Callable[[Operators], probe.Side]],
        plan: probe.Plan,
        clock: Callable[[], float],
    ) -> None:
        self.folder = folder
        self.asked = 0
        self.stored = 0
        self._reference, self._candidate = sides
        self._plan = plan
        self._clock = clock
        self._known: probe.Material | None = None
        self._asking = asyncio.Lock()
        self._open(meant)

    async def measure(self, on: Operators) -> Result:
        """The result of a set: stored, or asked and stored.

        Raises `EndpointError`: the reference does not answer, or cannot be probed; `StorageError`: the disk refuses.
        """
        path = self.folder / f"probe-{key(on)}.json"
        if path.exists():
            self.stored += 1
            return _read(path, Result)
        async with self._asking:
            reference = await self._reference_side()
        started = self._clock()
        found = await self._asked(on, reference)
        result = replace(found, seconds=round(self._clock() - started, 3))
        self.asked += 1
        _write(path, result)
        return result

    def _open(self, meant: Mapping[str, Any]) -> None:
        about, path = digest(meant), self.folder / "bisect.json"
        if path.exists():
            if _read(path, dict).get("digest") != about:
                raise RunError(f"{self.folder}: holds a bisect of other endpoints or settings: name another with --out")
            return
        _write(path, {"digest": about, **meant})

    async def _reference_side(self) -> probe.Material:
        path = self.folder / "reference.json"
        if self._known is None and path.exists():
            self._known = _read(path, probe.Material)
        if self._known is None:
            async with probe.open_session(self._reference, self._plan) as session:
                self._known = await probe.reference_part(session, await session.draw(self._plan))
            _write(path, self._known)
        return self._known

    async def _asked(self, on: Operators, reference: probe.Material) -> Result:
        """What a set does; a crash is believed when it comes twice, because a busy machine has crashes of its own."""
        names = tuple(sorted(on))
        for _ in range(TRIES):
            try:
                return await self._probed(on, reference)
            except EndpointError as error:
                crash = Result(names, "crash", Verdict.DEGRADED, (said(str(error)[:REASON_CHARACTERS]),))
                if isinstance(error, probe.NotSupportedError):
                    if not on:
                        raise
                    break
        return crash

    async def _probed(self, on: Operators, reference: probe.Material) -> Result:
        async with probe.open_session(self._candidate(on), self._plan) as session:
            made = await probe.candidate_part(session, await session.draw(self._plan), reference)
            costs = session.asked()
        return _judged(tuple(sorted(on)), probe.Findings(self._plan, reference, made, {"candidate": costs}))


@dataclass(frozen=True, slots=True)
class Bisection:
    """A bisect of operators `names`: what was found, and the result of every set that was asked for.

    So many probes were `asked`, so many `stored` before; all are in `folder`.
    """

    names: tuple[str, ...]
    found: Found
    results: Mapping[Operators, Result]
    asked: int
    stored: int
    folder: Path

    @property
    def exit_code(self) -> int:
        """0 where nothing is guilty, 1 where something is, 3 where the candidate fails with everything off."""
        if self.found.fails_none:
            return 3
        return 1 if self.found.culprits else 0

    def document(self) -> dict[str, Any]:
        """What `evalkit bisect --json` prints."""
        found, results = self.found, self.results
        return {
            "kind": "bisect",
            "operators": list(self.names),
            **asdict(found),
            "culprits": [{"together": len(one) > 1, **asdict(results[one])} for one in found.culprits],
            "probes": len(results),
            "asked": self.asked,
            "results": [asdict(result) for result in results.values()],
        }


async def run(
    names: Sequence[str], bench: Bench, tell: Callable[[int, Result], None], most_culprits: int, at_once: int = 1
) -> Bisection:
    """Search with a bench, with at most so many servers at once; `tell` hears every result with its number from 1.

    Where everything on is shown to be worse (or crashes), a set fails that is; where everything on is only not shown
    equivalent, a set fails that is not either.

    Raises `EndpointError`: the reference does not answer, or cannot be compared with the candidate with nothing on;
    `StorageError`: the disk refuses.
    """
    results: dict[Operators, Result] = {}
    running: dict[asyncio.Task[Result], Operators] = {}
    try:
        while wanted := ahead(names, most_culprits, _failed(names, results), at_once):
            _keep_busy(wanted, bench, running, at_once)
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                on = running.pop(task)
                if not task.cancelled():
                    results[on] = task.result()
                    tell(len(results), results[on])
    finally:
        for task in running:
            if not task.cancelling():  # a second time would interrupt the stopping itself
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    found = search(names, _failed(names, results).__getitem__, most_culprits)
    return Bisection(tuple(names), found, results, bench.asked, bench.stored, bench.folder)


def _keep_busy(
    wanted: Sequence[Operators], bench: Bench, running: dict[asyncio.Task[Result], Operators], at_once: int
) -> None:
    """Stop what is no longer wanted, and start what is: a server that is still being stopped counts as one."""
    for task, on in running.items():
        if on not in wanted and not task.cancelling():
            task.cancel()
    free = at_once - len(running)
    for on in [on for on in wanted if on not in running.values()][:free]:
        running[asyncio.get_running_loop().create_task(bench.measure(on))] = on


def _failed(names: Sequence[str], results: Mapping[Operators, Result]) -> dict[Operators, bool]:
    """Whether each set failed, as everything on means it. Raises `EndpointError`: nothing on cannot be judged."""
    none, everything = results.get(frozenset()), results.get(frozenset(names))
    if none is not None and none.verdict is Verdict.INVALID:
        raise EndpointError(f"with nothing on, the candidate cannot be judged: {say_all(none.reasons)}")
    failing = {Verdict.DEGRADED}
    if everything is not None and everything.verdict is not Verdict.EQUIVALENT:
        shown = everything.verdict is Verdict.DEGRADED
        failing = failing if shown else set(Verdict) - {Verdict.EQUIVALENT}
    # With nothing on only what is shown to be worse counts, or there would be nothing to search for.
    return {on: result.verdict in (failing if on else {Verdict.DEGRADED}) for on, result in results.items()}


def _judged(names: tuple[str, ...], findings: probe.Findings) -> Result:
    """The verdict over the reference's texts and the candidate's own: the reference is not asked a second time."""
    report = assess(findings)
    judged = {name: one for name, one in report.judged.items() if name in {FORWARD, SELF}}
    verdict, reasons = overall_fidelity(judged) if judged else (report.verdict, report.reasons)
    result = Result(names, "verdict", verdict, reasons)
    if (forward := report.comparisons[FORWARD]) is None:
        return result
    k3, shift, mean, most = forward.k3.point, forward.nll_shift.point, forward.mean_abs, forward.max_abs
    return replace(result, tokens=forward.tokens, k3=k3, nll_shift=shift, mean_abs=mean, max_abs=most)


def _read(path: Path, kind: type[Kept]) -> Kept:
    """What lies in a file of the folder; a `RunError` where it is not what was written there."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path}: cannot be read: remove it, and it is asked for again") from error


def _write(path: Path, document: object) -> None:
    write_whole(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))


MARK: Final = "{}"


@dataclass(frozen=True, slots=True)
class Switch:
    """A key of the candidate's configuration that lists operators: those that are on, or those that are off.

    `template` is the key's value with {} for the comma list.
    """

    key: str
    template: str
    lists_off: bool

    def override(self, on: Operators, names: Sequence[str]) -> str:
        """The `--set` that switches exactly these operators on; the list keeps the order of `names`."""
        listed = ",".join(name for name in names if (name in on) is not self.lists_off)
        return f"{self.key}={orjson.dumps(self.template.replace(MARK, listed)).decode()}"


def operators(given: str | Sequence[str]) -> list[str]:
    """The names of a list, a comma list, or a file behind an @ (one a line, or commas; # begins a comment).

    Raises `UsageError`: the file cannot be read, there is no name, or one is there twice.
    """
    if isinstance(given, str):
        text = given
        if text.startswith("@"):
            try:
                content = Path(text[1:]).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"--operators {text}: cannot be read: {error}") from error
            text = ",".join(line.partition("#")[0] for line in content.splitlines())
        given = text.split(",")
    names = [name.strip() for name in given if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"--operators: {twice[0]!r} is there twice")
    if not names:
        raise UsageError("--operators: names no operator; give a comma list, or @FILE with one name a line")
    return names


def switch_of(on_key: str | None, off_key: str | None) -> Switch:
    """The switch that KEY or KEY=TEMPLATE says, of operators that are on or off; one of the two is given.

    Raises `UsageError`: for both or neither, or a template without {}.
    """
    if (on_key is None) == (off_key is None):
        raise UsageError("give --on KEY (the key lists what is on) or --off KEY (it lists what is off), one of the two")
    key, equals, template = (on_key or off_key or "").partition("=")
    if equals and MARK not in template:
        raise UsageError(f"--{'on' if on_key else 'off'} {key}: its template needs {{}} where the list belongs")
    return Switch(key, template or MARK, lists_off=on_key is None)


def bench_of(reference: Path, candidate: Path, names: list[str], options: BisectOptions) -> Bench:
    """What measures sets of operators, as a call asks for it.

    Each set has a server log of its own: a server's last words must be its own.

    Raises `UsageError`: for a mistake in a file or an option.
    """
    switch = switch_of(options.on, options.off)
    first = load(reference, RunOptions(overrides=options.overrides), reference=True)

    def config_with(on: Operators) -> EndpointConfig:
        return load(candidate, RunOptions(overrides=(*options.overrides, switch.override(on, names))))

    second = config_with(frozenset(names))
    if second.launch is None:
        raise ConfigError(f"{candidate}: launch: is needed, because every set of operators is another server")
    said = [one.limits.concurrency for one in (first, second) if isinstance(one.limits.concurrency, int)]
    asked = probe.Plan(probe.neutral_prompts(options.prompts), options.tokens, greedy=0, at_once=min(said, default=8))
    folder = Path(options.out or first.runs / f"{first.name}--{second.name}-bisect")
    meant = {
        "reference": {**served(first), "urls": [redact_url(url) for url in first.urls]},
        "candidate": served(second),
        "operators": names,
        "switch": asdict(switch),
        "plan": {"prompts": options.prompts, "tokens": options.tokens},
    }
    sides = probe.side_of(first), lambda on: probe.side_of(config_with(on), folder / f"server-{key(on)}.log")
    return Bench(folder, meant, sides, asked, time.monotonic)


def found(reference: Path, candidate: Path, options: BisectOptions, heard: Callable[[int, Result], None]) -> Bisection:
    """The operators that make a candidate fail; `heard` is called with every result and its number from 1.

    Raises `EndpointError`: the reference does not answer, or cannot be compared with the candidate with nothing on.
    """
    names = operators(options.operators)
    bench = bench_of(reference, candidate, names, options)
    return finished(run(names, bench, heard, options.most, options.at_once))
