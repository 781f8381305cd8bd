"""The forest plot: one small SVG for each suite on a common scale, and one for the axis. No text is scaled.

Positions are percentages of the width, so the plot fits any screen; colours come from the page's classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET  # only written here; nothing foreign is parsed

from evalkit.model import Interval, SuiteResult, Verdict

ROW_HEIGHT: Final = 34
_MIDDLE: Final = ROW_HEIGHT / 2
_WIDEST_MARGINS: Final = 3.0
"""The scale ends at this many of the largest margin, so that one outlier does not flatten all the others."""
_WIDEST_ALONE: Final = 15.0
_EDGE_PERCENT: Final = 2.5
_MOST_TICKS: Final = 7
SHAPES: Final = {
    Verdict.EQUIVALENT: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    Verdict.DEGRADED: "M-6,-5h12L0,6Z",
    Verdict.ELEVATED: "M-6,5h12L0,-6Z",
    Verdict.INCONCLUSIVE: "M0,-6L6,0L0,6L-6,0Z",
    Verdict.INVALID: "M-5,-5h10v10h-10Z",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps fractions in [-reach, reach] to percentages of the width."""

    reach: float

    def at(self, fraction: float) -> float:
        """The position of a fraction, held within the plot."""
        held = min(max(fraction, -self.reach), self.reach)
        return 50 + held / self.reach * (50 - _EDGE_PERCENT)


def scale_of(suites: Sequence[SuiteResult]) -> Scale:
    """The common scale of some suites; one alone flattens no other, and has all the room that it needs."""
    widest = _WIDEST_MARGINS if len(suites) > 1 else _WIDEST_ALONE
    return scale_to([suite.margin for suite in suites], [suite.ci90 for suite in suites if suite.ci90], widest)


def scale_to(margins: Sequence[float], intervals: Sequence[Interval], widest: float = _WIDEST_MARGINS) -> Scale:
    """A scale wide enough for every margin with room, no wider than `widest` times the largest."""
    margin = max(margins, default=0.0) or 0.01
    ends = [abs(end) for interval in intervals for end in (interval.low, interval.high)]
    return Scale(min(max([1.25 * margin, *(1.05 * end for end in ends)]), widest * margin))


def row_svg(suite: SuiteResult, scale: Scale) -> str:
    """The plot of one suite; its meaning is also in the text beside it, so it is hidden from screen readers."""
    svg = _svg()
    _rectangle(svg, "band", scale, Interval(-suite.margin, suite.margin, 0), (3, ROW_HEIGHT - 6))
    _line(svg, "zero", 50, (0, ROW_HEIGHT))
    if suite.noise_floor:
        _rectangle(svg, "noise", scale, suite.noise_floor, (ROW_HEIGHT - 9, 4))
    if suite.ci90 and suite.difference is not None:
        group = ET.SubElement(svg, "g", {"class": f"mark {suite.verdict.value}"})
        left, right = (f"{scale.at(end):.3f}%" for end in (suite.ci90.low, suite.ci90.high))
        ET.SubElement(group, "line", {"x1": left, "x2": right, "y1": f"{_MIDDLE:g}", "y2": f"{_MIDDLE:g}"})
        for end, direction in ((suite.ci90.low, -1), (suite.ci90.high, 1)):
            _whisker(group, scale, end, direction)
        if abs(suite.difference) <= scale.reach:
            place_shape(group, (scale.at(suite.difference), _MIDDLE), SHAPES[suite.verdict])
    return _text(svg)


def axis_svg(scale: Scale) -> str:
    """The axis in points."""
    svg = _svg()
    for tick in ticks(scale.reach * 100):
        x = scale.at(tick / 100)
        _line(svg, "tick", x, (0, 5))
        label = ET.SubElement(svg, "text", {"x": f"{x:.3f}%", "y": "20", "text-anchor": "middle"})
        label.text = f"{tick:+g}" if tick else "0"
    return _text(svg)


def marker_svg(verdict: Verdict) -> str:
    """The marker of a verdict, for the legend."""
    svg = ET.Element("svg", {"class": "marker", "width": "16", "height": "16", "aria-hidden": "true"})
    group = ET.SubElement(svg, "g", {"class": f"mark {verdict.value}", "transform": "translate(8,8)"})
    ET.SubElement(group, "path", {"d": SHAPES[verdict]})
    return _text(svg)


def ticks(reach: float) -> list[float]:
    """Round numbers in [-reach, reach], symmetric, at most seven."""
    step = next(
        base * 10.0**power
        for power in range(-6, 6)
        for base in (1, 2, 5)
        if 2 * int(reach / (base * 10.0**power) + 1e-9) + 1 <= _MOST_TICKS
    )
    count = int(reach / step + 1e-9)
    return [round(i * step, 9) for i in range(-count, count + 1)]


def _svg() -> ET.Element:
    return ET.Element("svg", {"class": "plot", "width": "100%", "height": str(ROW_HEIGHT), "aria-hidden": "true"})


def _rectangle(svg: ET.Element, name: str, scale: Scale, interval: Interval, vertical: tuple[float, float]) -> None:
    left, right = scale.at(interval.low), scale.at(interval.high)
    top, height = vertical
    box = {"x": f"{left:.3f}%", "width": f"{right - left:.3f}%", "y": f"{top:g}", "height": f"{height:g}"}
    ET.SubElement(svg, "rect", {"class": name, **box})


def _line(svg: ET.Element, name: str, x: float, vertical: tuple[float, float]) -> None:
    at = f"{x:.3f}%"
    ends = {"x1": at, "x2": at, "y1": f"{vertical[0]:g}", "y2": f"{vertical[1]:g}"}
    ET.SubElement(svg, "line", {"class": name, **ends})


def _whisker(group: ET.Element, scale: Scale, end: float, direction: int) -> None:
    """The end of an interval: a short upright, or an arrow where it lies beyond the scale."""
    beyond = abs(end) > scale.reach
    forward = 1 if end > 0 else -1
    path = (
        f"M{-6 * forward:g},-5L0,0L{-6 * forward:g},5"
        if beyond
        else f"M{-2 * direction:g},-5h{2 * direction:g}v10h{-2 * direction:g}"
    )
    place_shape(group, (scale.at(end), _MIDDLE), path, "open")


def place_shape(group: ET.Element, at: tuple[float, float], path: str, name: str = "full") -> None:
    """A path in pixels around a point: x in percent of the width, y in pixels."""
    x, y = at
    place = ET.SubElement(group, "svg", {"x": f"{x:.3f}%", "y": f"{y:g}", "overflow": "visible", "class": "at"})
    ET.SubElement(place, "path", {"d": path, "class": name})


def _text(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")
