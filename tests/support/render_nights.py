"""Invented nights: a suite that turns bad after FlagGems changed, one that recovers, one that never decides.

From the third on they have an overall row, and the last three are asked in rounds.
"""

from __future__ import annotations

from dataclasses import replace

from evalkit.model import Difference, Interval, Macro, Rounds, Verdict, said


def comparison_of(example, day: int, verdicts: dict[str, str], build: str, overall: str, looks: Rounds | None):
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
        macro=mean(words[overall], MEANS[overall], len(suites)) if overall else None,
        rounds=looks,
        flips=(),
        differences=(
            Difference("launch.env.USE_FLAGGEMS", "(not set)", "1"),
            Difference("base_url", "http://a:1", "http://b:2"),
        ),
        created=f"2026-11-{day:02d}T02:00:00+00:00",
    )


MEANS = {"E": -0.001, "?": -0.012, "D": -0.026, "X": -0.012}


def mean(verdict: Verdict, centre: float, suites: int) -> Macro:
    """The overall row of a night."""
    interval = Interval(centre - 0.006, centre + 0.007, 0.9)
    told = (said(f"the mean is {verdict.value}"),)
    return Macro(0.704, 0.704 + centre, centre, interval, suites, "musr", 3 * centre, 0.015, verdict, told)


def story(example):
    """Twelve nights. MuSR turns bad on the 6th, when FlagGems and the driver changed; AIME was bad from the 3rd to the 4th."""
    signs = {
        "gpqa_diamond": "EEEEE?EEEE?E",
        "musr": "EEEE?DDXDDDD",
        "aime24": "E?DDE?EEEEEU",
    }
    overall = ("", "", *"EEE??XEDD?")
    looks = {
        10: Rounds(0, 5, 0.0, 0.05),
        11: Rounds(3, 5, 0.03, 0.02, {"gpqa_diamond": 1}),
        12: Rounds(5, 5, 0.05, 0.0, {"gpqa_diamond": 2, "musr": 4}),
    }
    nights = []
    for index in range(12):
        day = index + 1
        gems, driver = ("5.3.4", "570.1") if day < 6 else ("5.3.5", "575.2")
        build = f"flaggems={gems} driver={driver} image=repo@sha256:{'aa' if day < 9 else 'bb'} night=2026-11-{day:02d}"
        verdicts = {name: row[index] for name, row in signs.items()}
        nights.append(comparison_of(example, day, verdicts, build, overall[index], looks.get(day)))
    return nights
