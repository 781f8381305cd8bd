"""In which regimes do two endpoints differ, and where does that begin? `evalkit probe --sweep`, made into a map.

    sizes rise until one differs  ->  it is asked anew, and the reference against itself  ->  its beginning is halved

What a size shows is judged as the probe judges texts, by margins that the reference's own noise and the plainest regime
set. Two regimes are not blamed for one fault: where long prompts or full batches differ, no other regime is asked so.
"""

import math
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from evalkit.endpoint.body import at
from evalkit.endpoint.identity import Native, ServedModels, served_models
from evalkit.errors import EndpointError
from evalkit.examine.divergence import Divergence, ScoredText, divergence
from evalkit.examine.fidelity import LEAST_SEQUENCES, Margins, judge_divergence, margins
from evalkit.examine.forcing import Drawing, Unanswered
from evalkit.examine.probe import Plan, Side, neutral_prompts, open_session, told_apart
from evalkit.examine.regimes import PIECE, SHORT, Bench, Pair, Regime, Unaskable, names
from evalkit.examine.serving import context_of
from evalkit.model import Message, Verdict
from evalkit.waits import announce

LIMITS: Final = {True: (300_000, 50_000), False: (3_000_000, 200_000)}
"""Tokens that each side reads and generates at most; the first where reading takes a request for each token."""
UNTOLD_CONTEXT: Final = 4_096
MOST_IN_FLIGHT: Final = 256
POOL: Final = 24
"""So many of the built-in prompts, each with a short answer, are what prompts are made of."""
NEAR: Final = 2.0
"""How many times the plainest regime's difference another may show: ports differ by more or less everywhere."""


@dataclass(frozen=True, slots=True)
class Place:
    """A regime on the map. `verdict` is None where it was not asked, and `note` says why.

    It differs from the size `begins` on, up to `ends` where larger ones are right again; `right` is the largest size
    below that was right. k3 and the worst text are those of `begins`, else of all sizes. `counted` is what the server's
    own metrics said at the last size.
    """

    regime: str
    verdict: Verdict | None
    note: str = ""
    begins: int | None = None
    right: int | None = None
    ends: int | None = None
    sizes: tuple[int, ...] = ()
    k3: float | None = None
    worst_text: float | None = None
    counted: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0

    @property
    def where(self) -> str:
        """Where it begins, in words."""
        unit = names()[self.regime]["unit"]
        if self.begins is None:
            sizes = " to ".join(f"{size:,}" for size in sorted({*self.sizes[:1], *self.sizes[-1:]}))
            return "; ".join(filter(None, (f"{sizes} {unit}" if sizes else "", self.note)))
        if self.ends is not None:
            return f"{(self.right or 0) + 1:,} to {self.ends:,} {unit}"
        if self.right is None:
            return f"from the smallest size on ({self.begins:,} {unit})"
        return f"from {self.begins:,} {unit} on ({self.right:,} is right)"


@dataclass(frozen=True, slots=True)
class Map:
    """All regimes, what asking took on each side, and how often drafts of speculative decoding were accepted."""

    places: tuple[Place, ...]
    asked: Mapping[str, Mapping[str, Any]]
    seconds: float
    seed: int

    @property
    def verdict(self) -> Verdict:
        """The worst of the regimes that were asked."""
        found = {one.verdict for one in self.places}
        order = (Verdict.DEGRADED, Verdict.INVALID, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)
        return next((one for one in order if one in found), Verdict.INVALID)

    def document(self) -> dict[str, Any]:
        """As one JSON-able document."""
        places = [{**asdict(one), "name": names()[one.regime]["name"], "where": one.where} for one in self.places]
        told = {"kind": "fidelity sweep", "verdict": self.verdict, "exit_code": self.verdict.exit_code}
        return {**told, "places": places, "asked": self.asked, "seconds": self.seconds, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a size showed: both sides' texts, their divergence, and whether it is more than the margins allow.

    `reached` is False where the server's own counters say that the regime was not reached at this size.
    """

    texts: tuple[list[ScoredText], list[ScoredText]]
    found: Divergence | None
    differs: bool
    why: str = ""
    reached: bool = True


class Sweep:
    """A walk through regimes; `limits` are the tokens that each side may read and generate."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair, self.seed = pair, seed
        self.limits = LIMITS[any(bench.slow for bench in pair)]
        self.places: dict[str, Place] = {}
        self.tolerance: Margins
        self.noise: Divergence

    async def begin(self) -> None:
        """The reference against itself in the plainest regime, which sets the margins.

        Raises `EndpointError`: the reference does not repeat itself.
        """
        reference = self.pair[0]
        first, second = await Regime("plain").measure((reference, reference), SHORT, self._luck("plain", 0, 2))
        noise = divergence(first, second)
        if noise is None or not margins((noise,)).usable:
            raise EndpointError(f"{reference.name}: the reference does not repeat itself, so nothing can be held to it")
        self.noise, self.tolerance = noise, margins((noise,))

    async def walk(self, regime: Regime) -> None:
        """One regime on the map."""
        announce(f"sweep: {regime.words['name']}")
        started, before = time.perf_counter(), sum(sum(bench.spent) for bench in self.pair)
        tried: dict[int, Seen] = {}
        try:
            place = await self._walked(regime, tried)
        except (Unaskable, Unanswered) as error:
            why, verdict = (*error.args, None)[:2]
            place = Place(regime.name, verdict, str(why))
        reached = [seen for seen in tried.values() if seen.reached]
        if place.verdict is None and reached:
            place = self._pooled(regime, place, reached)
        tokens = sum(sum(bench.spent) for bench in self.pair) - before
        seconds = round(time.perf_counter() - started, 1)
        seen = dict(self.pair[1].seen) if tried else {}
        place = replace(place, sizes=tuple(sorted(tried)), counted=seen, tokens=tokens, seconds=seconds)
        self.places[regime.name] = place
        if regime.name == "plain" and place.begins is None and place.k3 is not None and place.worst_text is not None:
            k3, worst = max(self.tolerance.k3, NEAR * place.k3), max(self.tolerance.worst_text, NEAR * place.worst_text)
            self.tolerance = Margins(k3, max(k3, self.tolerance.stop), worst)

    async def _walked(self, regime: Regime, tried: dict[int, Seen]) -> Place:
        """Up the sizes until one differs; then where that begins and ends."""
        sizes, right, begins, note = self._sizes(regime), None, None, ""
        for size in sizes:
            if note := self._blocked(regime, size):
                break
            if not await self._differs(regime, size, tried):
                right = size
            elif await self._again(regime, size):
                begins = size
                break
        if begins is None:
            return Place(regime.name, None, note)
        ends, low, high = None, begins, sizes[-1]
        with suppress(Unaskable, Unanswered):  # what is found by then holds
            while right is not None and begins > 2 * right:
                middle = math.isqrt(begins * right)
                begins, right = (middle, right) if await self._differs(regime, middle, tried) else (begins, middle)
            if high > low and not self._blocked(regime, high) and not await self._differs(regime, high, tried):
                while high > 2 * low:
                    middle = math.isqrt(low * high)
                    low, high = (middle, high) if await self._differs(regime, middle, tried) else (low, middle)
                ends = low
        found, why = tried[begins].found, tried[begins].why
        k3, worst = (None, None) if found is None else (found.k3.point, found.worst_text)
        return Place(regime.name, Verdict.DEGRADED, why, begins, right, ends, k3=k3, worst_text=worst)

    def _sizes(self, regime: Regime) -> list[int]:
        """The sizes to be asked, rising, to the largest that both sides allow. Raises `Unaskable`: there is none."""
        most = min(regime.most(bench) for bench in self.pair)
        step = 4 if regime.words.get("coarse") and self.pair[0].slow else 2
        sizes = [int(regime.words["first"])]
        while sizes[-1] * step <= most:
            sizes.append(sizes[-1] * step)
        return sizes if sizes[-1] >= most else [*sizes, most]

    def _blocked(self, regime: Regime, size: int) -> str:
        """Why a size is not asked: another regime that it would bring about differs there, or the tokens are spent."""
        unit = regime.words["unit"]
        texts, length, tokens, at_once = regime.shape(size, self.pair[1])
        for name, own in (("prompt", max(length, tokens)), ("batch", at_once)):
            other = self.places.get(name)
            # A prompt that is half as long may still reach where the other begins, by its answer.
            if other is not None and other.begins is not None and name != regime.name and 2 * own > other.begins:
                return f"from {size:,} {unit} on it cannot be told from the {names()[name]['name']}"
        left = [limit - max(one.spent[n] for one in self.pair) for n, limit in enumerate(self.limits)]
        if texts * (length + tokens) > left[0] or texts * tokens > left[1]:
            return f"from {size:,} {unit} on it would take more tokens than a sweep may"
        return ""

    async def _differs(self, regime: Regime, size: int, tried: dict[int, Seen]) -> bool:
        tried[size] = await self._seen(regime, size, 0, self.pair)
        return tried[size].differs

    async def _again(self, regime: Regime, size: int) -> bool:
        """Whether fresh texts differ too. Raises `Unaskable`: the reference differs from itself there as well."""
        if not (await self._seen(regime, size, 1, self.pair)).differs:
            return False
        if (await self._seen(regime, size, 2, (self.pair[0], self.pair[0]))).differs:
            raise Unaskable(f"at {size:,} {regime.words['unit']} the reference differs from itself", Verdict.INVALID)
        return True

    async def _seen(self, regime: Regime, size: int, look: int, pair: Pair) -> Seen:
        try:
            texts = await regime.measure(pair, size, self._luck(regime.name, size, look))
        except Unaskable as error:
            if error.args[1:] != (Verdict.DEGRADED,):
                raise
            return Seen(([], []), None, differs=True, why=str(error.args[0]))
        found = divergence(*texts)
        if found is None and len(texts[0]) < LEAST_SEQUENCES:
            raise Unaskable("its texts end too soon to be judged")
        if found is None:
            return Seen(texts, None, differs=True, why="no token has a log-probability on both sides")
        strange = sum(found.events.first.get(kind, 0) for kind in ("nan", "impossible")) > found.tokens // PIECE
        reached = "above" not in regime.words or pair[1].seen.get(regime.words["shows"]) != 0
        return Seen(texts, found, self._judged(regime, found) is Verdict.DEGRADED or strange, reached=reached)

    def _judged(self, regime: Regime, found: Divergence) -> Verdict:
        one, wider = self.tolerance, float(regime.words.get("wider", 1))
        allowed = Margins(wider * one.k3, wider * one.stop, wider * one.worst_text)
        return judge_divergence(found, allowed, self.noise).verdict

    def _pooled(self, regime: Regime, place: Place, reached: Sequence[Seen]) -> Place:
        """A regime of which no size differs: equivalent where all of its texts together show it."""
        first, second = ([text for seen in reached for text in seen.texts[side]] for side in (0, 1))
        found = divergence(first, second)
        if found is None:
            return place
        shown = self._judged(regime, found) is Verdict.EQUIVALENT
        verdict = Verdict.EQUIVALENT if shown else Verdict.INCONCLUSIVE
        return replace(place, verdict=verdict, k3=found.k3.point, worst_text=found.worst_text)

    def _luck(self, *of: object) -> random.Random:
        return random.Random(f"{self.seed} {of}")  # noqa: S311 - what is asked, by seed


@asynccontextmanager
async def _bench(side: Side, traces: Sequence[tuple[Message, ...]] | None) -> AsyncIterator[Bench]:
    """An endpoint that is open; with `traces`, its texts are what prompts are made of."""
    async with open_session(side, Plan(())) as session, AsyncExitStack() as stack:
        settings, forcer = session.posts[0][0].settings, session.posts[0][1]
        watcher = await stack.enter_async_context(Native(settings, pauses_seconds=()))
        served = await served_models(settings)
        slots = sum(one.most_at_once for _, one in session.posts) if forcer.request_per_token else MOST_IN_FLIGHT
        context = context_of(served, session.identity, settings.model) or UNTOLD_CONTEXT
        bench = Bench(side.name, session.posts, watcher, context, min(slots, settings.concurrency))
        bench.capacity = int((await bench.metrics()).get("capacity", 0))
        if traces is not None:
            known = served.entries.get(settings.model, {}).get("meta") if isinstance(served, ServedModels) else None
            prompts = [await forcer.prompt_ids(messages) for messages in neutral_prompts(POOL)]
            drawn = [await forcer.draw(one, Drawing(PIECE, 1.0, seed)) for seed, one in enumerate(prompts)]
            bench.pool = [(*prompt, *text.ids) for prompt, text in zip(prompts, drawn, strict=True)]
            bench.traces = [await forcer.prompt_ids(trace) for trace in traces]
            told = at(known, "n_vocab")
            bench.vocabulary = told if isinstance(told, int) else max(map(max, (*bench.pool, *bench.traces)))
        yield bench


async def swept(
    reference: Side, candidate: Side, chosen: Sequence[str], seed: int, traces: Sequence[tuple[Message, ...]] = ()
) -> Map:
    """Walks through the chosen regimes, and those by which they are told apart; through all without any.

    `traces` are conversations that end with a long answer.

    Raises:
        NotSupportedError, EndpointError: as for the probe, and where the reference does not repeat itself.
    """
    started = time.perf_counter()
    wanted = {*(chosen or names()), *(name for one in chosen for name in names()[one].get("after", ())), "plain"}
    async with _bench(reference, traces) as first, _bench(candidate, None) as second:
        second.pool, second.traces, second.vocabulary = first.pool, first.traces, first.vocabulary
        first.most = second.most = min(first.most, second.most)
        sweep = Sweep((first, second), seed)
        await sweep.begin()
        for name in filter(wanted.__contains__, names()):
            if name == "decode" or "plain" not in sweep.places or sweep.places["plain"].begins is None:
                await sweep.walk(Regime(name))
        sides = zip(told_apart(reference.name, candidate.name), sweep.pair, strict=True)
        asked = {name: await bench.account() for name, bench in sides}
    return Map(tuple(sweep.places.values()), asked, round(time.perf_counter() - started, 1), seed)
