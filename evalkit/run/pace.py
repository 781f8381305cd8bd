"""Who says how many requests are in flight: the configuration, or a finder that the sides of a comparison share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evalkit.config import EndpointConfig
from evalkit.errors import RunError
from evalkit.run import manifest
from evalkit.run.concurrency import Finder
from evalkit.run.plan import Plan


class Planned(Protocol):
    """What this module needs to know of a side."""

    @property
    def config(self) -> EndpointConfig:
        """The endpoint's configuration."""

    @property
    def plan(self) -> Plan:
        """What it is asked."""

    @property
    def folder(self) -> Path:
        """Where it is stored."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A side's way to its number of requests in flight: no finder where the configuration says a number."""

    finder: Finder | None = None
    leads: bool = True


def paces(sides: Sequence[Planned]) -> dict[str, Pace]:
    """The pace of every side, by its name.

    The number decides how a server batches, and so what it computes: the first side that leaves it open leads, the
    others take its number, and a run that goes on takes the number that it was begun with.
    """
    found: dict[str, Pace] = {}
    lead: Finder | None = None
    for side in sides:
        if side.config.limits.concurrency != "auto":
            found[side.config.name] = Pace()
        elif lead is None:
            lead = _begun(side) or Finder()
            found[side.config.name] = Pace(lead)
        else:
            found[side.config.name] = Pace(lead, leads=False)
    return found


def with_number(line: Mapping[str, Any], pace: Pace) -> dict[str, Any]:
    """A manifest line that says what was found; as a part of the configuration, so that a comparison sees it differ."""
    if pace.finder is None:
        return dict(line)
    return _told(line, pace.finder.number, settled=pace.finder.settled, why=pace.finder.sentence)


def as_before(line: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest line that says what the line before it says was found."""
    found = earlier.get("in_flight")
    if found is None or line["config"]["limits"]["concurrency"] != "auto":
        return dict(line)
    return _told(line, found["number"], settled=found["settled"], why=found["why"])


def _told(line: Mapping[str, Any], number: int, *, settled: bool, why: str) -> dict[str, Any]:
    config = {**line["config"], "limits": {**line["config"]["limits"], "concurrency": number}}
    return {**line, "config": config, "in_flight": {"number": number, "settled": settled, "why": why}}


def _begun(side: Planned) -> Finder | None:
    """The number that the run was begun with, where it was found."""
    try:
        found = manifest.latest(side.folder, side.plan.digest).get("in_flight")
    except RunError:
        return None
    if not found or not found["settled"]:
        return None
    return Finder(found["number"], settled=True, why="found when the run was begun")
