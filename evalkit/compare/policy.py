"""How strictly to judge, decided by whoever asks for the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from evalkit.compare.columns import SuiteSide
from evalkit.compare.validity import Rules
from evalkit.errors import UsageError, did_you_mean
from evalkit.model import DEFAULT_MARGIN_PT, Interval, Reason, Verdict, fraction

DEFAULT_MARGIN: Final = fraction(DEFAULT_MARGIN_PT)
"""The tolerance of a suite for which nobody names one (a fraction)."""

OnInconclusive: TypeAlias = Literal["fail", "warn", "pass"]


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """What the reference against itself showed for one suite: the interval of its difference, and from what.

    `interval` is None where there was none to be had; `text_agreement` is the share of identical replies.
    """

    interval: Interval | None
    verdict: Verdict
    source: Reason
    text_agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """`margins` are fractions by suite and stand over `default_margin`, which stands over the runs' own.

    `pack` names the pack that margins were taken from. `alpha` is the level of each one-sided test, `power` that of
    the needed repeats. `bank` says that the reference is a stored run that will not be asked again. `noise` holds
    noise floors by suite. `flips` bounds how many flips of a suite the comparison holds with their texts (None: all),
    `questions` lets it hold the questions of gated suites.
    """

    alpha: float = 0.05
    power: float = 0.80
    margins: Mapping[str, float] = field(default_factory=dict)
    default_margin: float | None = None
    pack: str = ""
    rules: Rules = field(default_factory=Rules)
    on_inconclusive: OnInconclusive = "fail"
    bank: bool = False
    noise: Mapping[str, NoiseFloor] = field(default_factory=dict)
    flips: int | None = 40
    questions: bool = False

    def margin(self, name: str, side: SuiteSide) -> float:
        """The tolerance of a suite, a fraction."""
        if name in self.margins:
            return self.margins[name]
        if self.default_margin is not None:
            return self.default_margin
        return DEFAULT_MARGIN if side.facts.margin is None else side.facts.margin

    def beyond_pack(self, margins: Mapping[str, float]) -> list[Reason]:
        """What to say of suites that the pack gives no tolerance for; `margins` are those they were judged by."""
        if not self.pack or self.default_margin is not None:
            return []
        return [
            Reason("note.pack", {"pack": self.pack, "suite": name, "margin": margin})
            for name, margin in margins.items()
            if name not in self.margins
        ]

    def margin_conflict(self, name: str, reference: SuiteSide, candidate: SuiteSide) -> list[Reason]:
        """A reason where the two sides name different tolerances and nobody chose."""
        one, two = reference.facts.margin, candidate.facts.margin
        chosen = name in self.margins or self.default_margin is not None
        if chosen or one is None or two is None or one == two:
            return []
        return [Reason("differ.margins", {"reference": one, "candidate": two})]


def check_names(margins: Iterable[str], compared: Iterable[str]) -> None:
    """Raises `UsageError` where a margin is for a suite that is not compared: it would silently not hold."""
    known = list(compared)
    for name in margins:
        if name not in known:
            raise UsageError(f"--margin {name}=...: no such suite is compared{did_you_mean(name, known)}")
