"""Does a server draw its tokens as a request says? What it drew against what its own log-probabilities imply.

With every drawn token a server reports the likeliest tokens at that place, before temperature, penalties and nucleus.
From these follows how likely each token is under the parameters that were asked for, p, and under those that a server
may have used instead, q: none of them, greedy, the usual defaults. The product of q / p over all drawn tokens is an
e-value (V. Vovk and R. Wang, Annals of Statistics 49 (2021) 1736-1754): where the server does as asked, it reaches
10,000 with a chance of at most one in 10,000, whatever the model is. Each alternative is one bet of equal stake.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from evalkit.endpoint.body import at
from evalkit.examine.asker import Asker, Said, asked
from evalkit.model import Failure

LIMIT: Final = 10_000.0  # an e-value from here on is a finding
SLACK: Final = 1e-3
"""So large a share of draws may follow the raw distribution without being held against a server: last digits, ties."""
TOP: Final = 20  # likeliest tokens that are asked for; more are refused by servers as they come
PARTED: Final = 0.02
"""At most so large a share of tokens is drawn otherwise with the same seed because of other kernels."""
SAME_NATS: Final = 0.05
"""Log-probabilities nearer than this are the same: then they are reported before the parameters, not after."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Sampling parameters, as vLLM and llama.cpp mean them; cut-offs are only used at temperature 1.

    `of_prompt` says that penalties count the prompt's tokens too, as some servers have it.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    of_prompt: bool = False

    def chances(self, place: Place) -> dict[str, float]:
        """The chance of each listed token at a place, and of all others together under ""."""
        shifted = place.nats
        if self.frequency_penalty or self.presence_penalty:
            prompt = place.prompt if self.of_prompt else ()
            times = {token: place.before.count(token) + prompt.count(token.strip()) for token in shifted}
            each, once = self.frequency_penalty, self.presence_penalty
            shifted = {token: nats - each * times[token] - once * (times[token] > 0) for token, nats in shifted.items()}
        sharp = 1.0 / max(self.temperature, 1e-3)
        most = max(shifted.values())
        weights = {token: math.exp((nats - most) * sharp) for token, nats in shifted.items()}
        least = min(place.nats.values())
        # Tokens that are not listed are each at most as likely as the last that is.
        rest = place.rest * math.exp((sharp - 1.0) * (least - most) - most) if place.rest > 0 else 0.0
        total = sum(weights.values()) + rest
        kept = self._cut({token: weight / total for token, weight in weights.items()}, rest / total)
        whole = sum(kept.values())
        return {token: chance / whole for token, chance in kept.items()}

    def _cut(self, chances: dict[str, float], rest: float) -> dict[str, float]:
        if self.top_p == 1.0 and not self.top_k and not self.min_p:
            return {**chances, "": rest}
        ordered = sorted(chances.items(), key=lambda one: -one[1])
        kept, mass = dict[str, float](), 0.0
        for number, (token, chance) in enumerate(ordered):
            if (self.top_k and number >= self.top_k) or mass >= self.top_p or chance < self.min_p * ordered[0][1]:
                return kept
            kept[token] = chance
            mass += chance
        whole = not self.top_k and mass < self.top_p and self.min_p == 0.0
        return {**kept, "": rest} if whole else kept


@dataclass(frozen=True, slots=True)
class Place:
    """One drawn token: which, the log-probabilities (nats) of those likeliest there, the tokens drawn before it.

    `prompt` are the words of the question.
    """

    drawn: str
    nats: Mapping[str, float]
    before: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()

    @property
    def rest(self) -> float:
        """The chance of all tokens that are not listed."""
        return max(0.0, 1.0 - sum(map(math.exp, self.nats.values())))


INSTEAD: Final = {name: Rule(**said) for name, said in asked()["instead"].items()}
"""What servers were seen to do in place of what was asked."""


def alternatives(rule: Rule) -> dict[str, Rule]:
    """What a server may do in place of a rule: of `INSTEAD`, and what is near it."""
    found = {name: other for name, other in INSTEAD.items() if other != rule}
    if rule.top_k:
        found[f"top_k {rule.top_k + 1}"] = replace(rule, top_k=rule.top_k + 1)
    frequency, presence = rule.frequency_penalty, rule.presence_penalty
    if frequency or presence:
        found["the other penalty"] = replace(rule, frequency_penalty=presence, presence_penalty=frequency)
        found["half the penalty"] = replace(rule, frequency_penalty=frequency / 2, presence_penalty=presence / 2)
    return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """What drawn tokens say of a rule: the e-value against it, the alternative that they favour, how many they are."""

    e_value: float
    favours: str
    tokens: int

    @property
    def broken(self) -> bool:
        """True where the server does not draw as asked."""
        return self.e_value >= LIMIT


def held_against(rule: Rule, places: Sequence[Place], instead: Mapping[str, Rule] | None = None) -> Drawn:
    """Holds drawn tokens against the rule that they were asked for with, by bets on what may stand in its place."""
    instead = alternatives(rule) if instead is None else instead
    logs = dict.fromkeys(instead, 0.0)
    for place in places:
        raw = Rule().chances(place)
        asked = _chance(rule.chances(place), raw, place.drawn)
        for name, other in instead.items():
            logs[name] += math.log(_chance(other.chances(place), raw, place.drawn) / asked)
    if not places:
        return Drawn(1.0, "", 0)
    best = max(logs, key=lambda name: logs[name])
    stakes = [math.exp(min(700.0, log)) / len(logs) for log in logs.values()]
    return Drawn(min(sum(stakes), 1e300), best, len(places))


def unseeded(before: Sequence[Place], again: Sequence[Place]) -> float:
    """By how many nats a text drawn again with its seed is likelier if the seed is ignored.

    Other kernels, or another batch, part such texts at one token in fifty at most; without a seed each token is drawn
    anew, and comes again with its own chance.
    """
    total = 0.0
    for one, two in zip(before, again, strict=False):
        same = min(math.exp(one.nats.get(one.drawn, -math.inf)), 1.0 - PARTED)
        if one.drawn != two.drawn:
            return total + math.log((1.0 - same) / PARTED)
        total += math.log(max(same, 1e-6) / (1.0 - PARTED))
    return total


def _chance(chances: Mapping[str, float], raw: Mapping[str, float], drawn: str) -> float:
    """The chance of what was drawn, with the slack; a token that is not listed has that of all others together."""
    token = drawn if drawn in raw else ""
    return (1.0 - SLACK) * chances.get(token, 0.0) + SLACK * max(raw.get(token, 0.0), 1e-6)


def under(first: Mapping[tuple[str, ...], Place], prompt: str, document: Any) -> list[Place]:
    """The drawn tokens of a reply under other parameters than the plain one, whose first place of each prompt is known.

    Only the first where the server reports what is left after the parameters, not what they were applied to.
    """
    places = places_of(prompt, document)
    plain = first.get(places[0].prompt) if places else None
    if plain is None:
        return []
    token = max(plain.nats, key=lambda one: plain.nats[one])
    if abs(places[0].nats.get(token, -math.inf) - plain.nats[token]) <= SAME_NATS:
        return places
    return [replace(plain, drawn=places[0].drawn)]


def places_of(prompt: str, document: Any) -> list[Place]:
    """The drawn tokens of a chat reply with the log-probabilities around them; as far as they can be used."""
    content = at(document, "choices", 0, "logprobs", "content")
    found: list[Place] = []
    words = tuple(re.findall(r"\w+", prompt))
    for entry in content if isinstance(content, list) else ():
        listed = at(entry, "top_logprobs")
        nats: dict[str, float] = {}
        for one in listed if isinstance(listed, list) else ():
            token, value = str(at(one, "token")), at(one, "logprob")
            if isinstance(value, int | float) and not isinstance(value, bool) and -1e4 < value <= 1e-6:
                # Parts of a character may look alike: they count together.
                nats[token] = math.log(math.exp(value) + math.exp(nats.get(token, -math.inf)))
        if not nats or not isinstance(at(entry, "token"), str):
            break  # what was drawn before is unknown from here on
        found.append(Place(entry["token"], nats, tuple(place.drawn for place in found), words))
    return found


OPEN: Final[Sequence[str]] = asked()["open"]
ASKED: Final = {name: (Rule(**said), {"temperature": 1.0, **said}) for name, said in asked()["parameters"].items()}
NEUTRAL: Final[dict[str, Any]] = {"top_k": -1, "min_p": 0.0}
"""Switches off what a server would fill in; left out where it refuses them."""
DRAWN_TOKENS: Final = 12
SEEDS: Final = (1, 2)
CASES: Final = tuple((prompt, seed) for prompt in OPEN for seed in SEEDS)


async def sampler(asker: Asker) -> None:
    """Draws under each parameter, held against the server's own log-probabilities; seeds, choices, greedy decoding."""
    tried = await asker.ask(OPEN[0], max_tokens=1, temperature=1.0, seed=1, **NEUTRAL)
    draw = partial(_draw, asker, NEUTRAL if isinstance(tried, Said) else {})
    plain = await asyncio.gather(*(draw(*case, {"temperature": 1.0}) for case in CASES))
    raw, drawn = _places(places_of, plain), dict[str, list[Place]]()
    _judge(asker, "plain", Rule(), raw)
    for name, (_rule, fields) in ASKED.items():
        came = await asyncio.gather(*(draw(prompt, seed + 10, fields) for prompt, seed in CASES))
        drawn[name] = _places(partial(under, {place.prompt: place for place in raw if not place.before}), came)
    of_prompt = _penalised(asker, drawn)
    for name, (rule, _fields) in ASKED.items():
        _judge(asker, name, replace(rule, of_prompt=of_prompt), drawn[name])
    again = [await draw(*case, {"temperature": 1.0}) for case in CASES]
    _seeds(asker, plain, again)
    for prompt in OPEN[:2]:
        await _choices(asker, prompt)
    for last in (False, True):  # what is broken is broken twice
        said = await asker.ask(OPEN[1], max_tokens=2 * DRAWN_TOKENS, logprobs=True, top_logprobs=2)
        if last or isinstance(said, Failure) or not _unlikely(said):
            asker.hold("sampler.greedy", "temperature 0", said, _unlikely)
            return


async def _draw(
    asker: Asker, neutral: Mapping[str, Any], prompt: str, seed: int, fields: Mapping[str, Any]
) -> Said | Failure:
    """A few drawn tokens; every other seed's are streamed."""
    sent = {**neutral, "logprobs": True, "top_logprobs": TOP, "max_tokens": DRAWN_TOKENS, **fields}
    return await asker.ask(prompt, stream=seed % 2 == 0, seed=seed, **sent)


def _places(read: Callable[[str, Any], list[Place]], drawn: Sequence[Said | Failure]) -> list[Place]:
    pairs = zip(CASES, drawn, strict=True)
    return [place for (prompt, _), said in pairs if isinstance(said, Said) for place in read(prompt, said.document)]


def _penalised(asker: Asker, drawn: Mapping[str, Sequence[Place]]) -> bool:
    """Whether penalties count the prompt's tokens too; the API leaves that open, but two servers must do the same."""

    def shown(*, of_prompt: bool) -> bool:
        """By the e-value of both penalties' draws against the other reading."""
        found = 1.0
        for name in ("frequency_penalty", "presence_penalty"):
            rule, other = (replace(ASKED[name][0], of_prompt=one) for one in (not of_prompt, of_prompt))
            found *= held_against(rule, drawn[name], {"": other}).e_value
        return found >= LIMIT

    told = next((one for one in (True, False) if shown(of_prompt=one)), None)
    said = "the prompt's tokens too" if told else "those of the answer alone"
    asker.note("sampler.penalised", "both penalties", None if told is None else True, said=said)
    return bool(told)


def _judge(asker: Asker, name: str, rule: Rule, drawn: Sequence[Place]) -> None:
    found = held_against(rule, drawn)
    seen = f"{found.tokens} tokens were drawn as with {found.favours} (e-value {found.e_value:.1g})"
    asker.note(f"sampler.{name}", "draws", not found.broken if found.tokens >= len(OPEN) else None, seen)


def _seeds(asker: Asker, before: Sequence[Said | Failure], again: Sequence[Said | Failure]) -> None:
    """Whether seeds repeat their texts, whatever else is in flight, and whether two give two."""
    pairs = [
        (one, two) for one, two in zip(before, again, strict=True) if isinstance(one, Said) and isinstance(two, Said)
    ]
    parted = [(one, two) for one, two in pairs if one.text != two.text]
    # Half of each stake is kept back: a server may heed a seed here and there.
    bets = [
        0.5 + 0.5 * math.exp(unseeded(places_of("", one.document), places_of("", two.document))) for one, two in pairs
    ]
    seen = "".join(f"{one.text!r} becomes {two.text!r}" for one, two in parted[:1])
    kept = math.prod(bets) < LIMIT if any(bet != 1.0 for bet in bets) else None
    asker.note("sampler.seed", "same seeds", kept, f"as if there were no seed: {seen}")
    texts = [said.text for said in before if isinstance(said, Said)]
    if len(texts) == len(before):
        vary = any(texts[number] != texts[number + 1] for number in range(0, len(texts), 2))
        asker.note("sampler.seed_varies", "two seeds", vary, "all seeds give the same texts")


async def _choices(asker: Asker, prompt: str) -> None:
    """Several choices of one request are drawn apart; a repetition penalty, which not every server knows, does work."""
    said = await asker.ask(prompt, n=3, temperature=1.0, max_tokens=DRAWN_TOKENS)
    asker.hold("sampler.n", prompt, said, _same)
    one, two = await asyncio.gather(
        *(asker.ask(prompt, max_tokens=DRAWN_TOKENS, repetition_penalty=penalty) for penalty in (1.0, 2.0))
    )
    if isinstance(two, Failure):
        asker.failed("sampler.repetition_penalty", prompt, two)
    elif isinstance(one, Said):
        changed = (one.text, one.reasoning) != (two.text, two.reasoning)
        asker.note("sampler.repetition_penalty", prompt, True, said="has an effect" if changed else "changes nothing")


def _same(said: Said) -> str | None:
    choices = at(said.document, "choices")
    if not isinstance(choices, list) or len(choices) < 2:
        return None
    texts = {str(at(one, "message", "content")) for one in choices}
    return f"all {len(choices)} choices are {texts.pop()!r}" if len(texts) == 1 else ""


def _unlikely(said: Said) -> str | None:
    """The first token that is not the likeliest of those listed with it."""
    for place in places_of("", said.document):
        most = max(place.nats, key=lambda token: place.nats[token])
        if place.nats.get(place.drawn, -math.inf) < place.nats[most] - SAME_NATS:
            return f"{place.drawn!r} is not the likeliest token, {most!r} is"
    return "" if places_of("", said.document) else None
