"""Does a server draw its tokens as a request says? What it drew against what its own log-probabilities imply.

With every drawn token a server reports the likeliest tokens at that place, before temperature, penalties and nucleus.
From these follows how likely each token is under the parameters that were asked for, p, and under those that a server
may have used instead, q: none of them, greedy, the usual defaults. The product of q / p over all drawn tokens is an
e-value (V. Vovk and R. Wang, Annals of Statistics 49 (2021) 1736-1754): where the server does as asked, it reaches
10,000 with a chance of at most one in 10,000, whatever the model is. Each alternative is one bet of equal stake.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from evalkit.endpoint.body import at

LIMIT: Final = 10_000.0
"""An e-value from here on is a finding."""
SLACK: Final = 1e-3
"""So large a share of draws may follow the raw distribution without being held against a server: last digits, ties."""
TOP: Final = 20
"""Likeliest tokens that are asked for; more are refused by servers as they come."""
SAME_NATS: Final = 0.05
"""Log-probabilities nearer than this are the same: then they are reported before the parameters, not after."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Sampling parameters, as vLLM and llama.cpp mean them; cut-offs are only used at temperature 1."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0

    def chances(self, place: Place) -> dict[str, float]:
        """The chance of each listed token at a place, and of all others together under ""."""
        times = {token: place.before.count(token) for token in place.nats}
        penalty = {token: self.frequency_penalty * n + self.presence_penalty * (n > 0) for token, n in times.items()}
        shifted = {token: nats - penalty[token] for token, nats in place.nats.items()}
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
    """One drawn token: which, the log-probabilities (nats) of those likeliest there, and the tokens drawn before it."""

    drawn: str
    nats: Mapping[str, float]
    before: tuple[str, ...] = ()

    @property
    def rest(self) -> float:
        """The chance of all tokens that are not listed."""
        return max(0.0, 1.0 - sum(map(math.exp, self.nats.values())))


GREEDY: Final = Rule(temperature=0.05)
INSTEAD: Final[Mapping[str, Rule]] = {
    "temperature 1 and no cut-off": Rule(),
    "temperature 0": GREEDY,
    "temperature 0.3": Rule(temperature=0.3),
    "temperature 0.6": Rule(temperature=0.6),
    "temperature 0.8": Rule(temperature=0.8),
    "top_p 0.8": Rule(top_p=0.8),
    "top_p 0.95": Rule(top_p=0.95),
    "top_k 1": Rule(top_k=1),
    "min_p 0.05": Rule(min_p=0.05),
}
"""What servers were seen to do in place of what was asked."""


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


def held_against(rule: Rule, places: Sequence[Place]) -> Drawn:
    """Holds drawn tokens against the rule that they were asked for with."""
    instead = {name: other for name, other in INSTEAD.items() if other != rule}
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


def _chance(chances: Mapping[str, float], raw: Mapping[str, float], drawn: str) -> float:
    """The chance of what was drawn, with the slack; a token that is not listed has that of all others together."""
    token = drawn if drawn in raw else ""
    return (1.0 - SLACK) * chances.get(token, 0.0) + SLACK * max(raw.get(token, 0.0), 1e-6)


@dataclass(slots=True)
class Places:
    """Reads places off replies; `first` holds, by prompt, what the plain request reported for the first token."""

    first: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def plain(self, prompt: str, document: Any) -> list[Place]:
        """Those of a reply at temperature 1 without cut-offs, and remembers what its first token was drawn from."""
        places = places_of(document)
        if places:
            self.first.setdefault(prompt, places[0].nats)
        return places

    def under(self, prompt: str, document: Any) -> list[Place]:
        """Those of a reply under other parameters; only the first where the server reports what is left after them."""
        places, first = places_of(document), self.first.get(prompt)
        if not places or first is None:
            return []
        token = max(first, key=lambda one: first[one])
        if abs(places[0].nats.get(token, -math.inf) - first[token]) <= SAME_NATS:
            return places
        return [Place(places[0].drawn, first)]


def places_of(document: Any) -> list[Place]:
    """The drawn tokens of a chat reply with the log-probabilities around them; as far as they can be used."""
    content = at(document, "choices", 0, "logprobs", "content")
    found: list[Place] = []
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
        found.append(Place(entry["token"], nats, tuple(place.drawn for place in found)))
    return found
