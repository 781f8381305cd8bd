"""The history as a JSON document for machines: numbers as stored, fractions, candidate minus reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from evalkit.render.history import Episode, Known, Night, Series, SuiteNight, SuiteTrend, known_for

FORMAT: Final = 1


def document(
    series: Sequence[Series], known: Sequence[Known], *, suite: str | None = None, last: int = 60
) -> dict[str, Any]:
    """All series, or one suite of each: points oldest first, episodes of bad nights, known differences."""
    return {
        "format": FORMAT,
        "series": [
            {
                "name": one.name,
                "nights": len(one.nights),
                "suites": [_trend(trend, known, last) for trend in one.suites if suite in {None, trend.suite}],
            }
            for one in series
        ],
        "known": [_known(entry) for entry in known],
    }


def _trend(trend: SuiteTrend, known: Sequence[Known], last: int) -> dict[str, Any]:
    return {
        "suite": trend.suite,
        "label": trend.label,
        "points": [_point(night, result, known_for(known, night, result)) for night, result in trend.points[-last:]],
        "episodes": [_episode(episode) for episode in trend.episodes],
    }


def _point(night: Night, result: SuiteNight, known: Known | None) -> dict[str, Any]:
    interval = result.interval
    return {
        "night": night.night,
        "created": night.created,
        "candidate_run": night.candidate_run,
        "verdict": result.verdict.value,
        "n_items": result.n_items,
        "k_reference": result.k_reference,
        "k_candidate": result.k_candidate,
        "reference": result.reference,
        "candidate": result.candidate,
        "difference": result.difference,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "level": interval.level if interval else None,
        "margin": result.margin,
        "known": _known(known) if known else None,
    }


def _episode(episode: Episode) -> dict[str, Any]:
    return {
        "first_bad": episode.first_bad.night,
        "last_bad": episode.last_bad.night,
        "last_good": episode.last_good.night if episode.last_good else None,
        "recovered": episode.recovered.night if episode.recovered else None,
        "changed": [{"name": one.name, "before": one.before, "after": one.after} for one in episode.changed],
    }


def _known(entry: Known) -> dict[str, str]:
    return {
        "suite": entry.suite,
        "from": entry.since.isoformat(),
        "until": entry.until.isoformat(),
        "reason": entry.reason,
    }
