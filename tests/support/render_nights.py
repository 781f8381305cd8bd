"""Invented nights: a suite that turns bad after FlagGems changed, one that recovers, one that never decides."""

from __future__ import annotations

from dataclasses import replace

from evalkit.model import Difference, Interval, Verdict, said


def comparison_of(example, day: int, verdicts: dict[str, str], build: str, **changes):
    """The comparison of a day in November 2026; suites by name with E, D, U (elevated), ? or X (invalid)."""
    words = {
        "E": Verdict.EQUIVALENT,
        "D": Verdict.DEGRADED,
        "U": Verdict.ELEVATED,
        "?": Verdict.INCONCLUSIVE,
        "X": Verdict.INVALID,
    }
    centres = {"E": -0.002, "D": -0.061, "U": 0.055, "?": -0.017, "X": None}
    suites = []
    for name, sign in verdicts.items():
        centre = centres[sign]
        interval = None if centre is None else Interval(centre - 0.012, centre + 0.013 + day / 10_000, 0.9)
        label = {"musr": "MuSR 多步推理", "gpqa_diamond": "GPQA Diamond"}.get(name, name.upper())
        suites.append(
            example.suite(
                name, label, words[sign], difference=centre, ci90=interval, reasons=(said(f"because {sign}"),)
            )
        )
    gravest = next(words[sign] for sign in "XDU?E" if sign in verdicts.values())
    whole = example.comparison()
    candidate = replace(whole.candidate, run_id=f"cand-{day:02d}", endpoint={"version": "0.28.0", "build": build})
    return replace(
        whole,
        candidate=candidate,
        suites=tuple(suites),
        verdict=gravest,
        exit_code=gravest.exit_code,
        macro=None,
        flips=(),
        differences=(
            Difference("launch.env.USE_FLAGGEMS", "(not set)", "1"),
            Difference("base_url", "http://a:1", "http://b:2"),
        ),
        created=f"2026-11-{day:02d}T02:00:00+00:00",
        **changes,
    )


def story(example):
    """Twelve nights. MuSR turns bad on the 6th, when FlagGems and the driver changed; AIME was bad from the 3rd to the 4th."""
    signs = {
        "gpqa_diamond": "EEEEE?EEEE?E",
        "musr": "EEEE?DDXDDDD",
        "aime24": "E?DDE?EEEEEU",
    }
    nights = []
    for index in range(12):
        day = index + 1
        gems, driver = ("5.3.4", "570.1") if day < 6 else ("5.3.5", "575.2")
        build = f"flaggems={gems} driver={driver} image=repo@sha256:{'aa' if day < 9 else 'bb'} night=2026-11-{day:02d}"
        nights.append(comparison_of(example, day, {name: row[index] for name, row in signs.items()}, build))
    return nights
