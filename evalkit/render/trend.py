"""The history as one HTML page: for each suite a plot of its differences night by night, and the table behind it.

Made as the report is: one file, inline SVG, a policy that allows the page's own style and nothing else; no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from xml.etree import ElementTree as ET  # only written here; nothing foreign is parsed

from markupsafe import Markup

from evalkit import __version__
from evalkit.model import Verdict
from evalkit.render.forest import SHAPES, Scale, marker_svg, place_shape, scale_to, ticks
from evalkit.render.history import Episode, FactChange, Known, Series, SuiteTrend
from evalkit.render.history_rows import NightRow, night_rows, stopped_night
from evalkit.render.html import policy
from evalkit.render.jinja import fill
from evalkit.render.private import without_folders
from evalkit.render.words import WORDS, Language
from evalkit.resources import data_folder

HEIGHT: Final = 150
_TOP: Final = 8
_BOTTOM: Final = 22
"""Pixels kept free above and below the nights; the dates stand below."""
_WIDEST_MARGINS: Final = 8.0
"""The scale ends at this many of the largest margin; what lies beyond stands at the edge."""
_LEFT: Final = 5.0
_RIGHT: Final = 1.5
"""Percent of the width kept free for the axis and for the last marker."""


@dataclass(frozen=True, slots=True)
class _TrendView:
    """One suite as the template shows it."""

    trend: SuiteTrend
    plot: Markup
    rows: tuple[NightRow, ...]
    episodes: tuple[Episode, ...]


def page(series: Sequence[Series], known: Sequence[Known], *, last: int = 60, language: Language = "en") -> str:
    """The page of all series: at most `last` nights of each suite, and every episode of bad nights."""
    folder = data_folder("reports")
    style = "".join((folder / "html" / name).read_text(encoding="utf-8") for name in ("report.css", "history.css"))
    context: dict[str, Any] = {
        "words": WORDS[language],
        "language": language,
        "html_language": {"en": "en", "zh": "zh-CN"}[language],
        "policy": policy(style),
        # The style is evalkit's own file; the plots hold numbers, dates and fixed words, written as XML.
        "style": Markup(style),  # noqa: S704
        "stopped": [stopped_night(one, language) for one in series],
        "series": [(one, [_view(trend, known, last) for trend in one.suites]) for one in series],
        "known": known,
        "markers": {verdict.value: Markup(marker_svg(verdict)) for verdict in Verdict},  # noqa: S704
        "version": __version__,
    }
    return fill(folder / "history.html.j2", context)


def _view(trend: SuiteTrend, known: Sequence[Known], last: int) -> _TrendView:
    rows = night_rows(trend, known, last)
    # The policy and the escaping of ElementTree make the plot safe; it holds no foreign text but dates.
    episodes = tuple(map(_shown, reversed(trend.episodes)))
    return _TrendView(trend, Markup(trend_svg(rows)), rows, episodes)  # noqa: S704


def _shown(episode: Episode) -> Episode:
    """The page is passed on: paths of what changed are shortened."""
    return replace(episode, changed=tuple(map(_without_folders, episode.changed)))


def _without_folders(change: FactChange) -> FactChange:
    before, after = without_folders(change.name, change.before or "", change.after or "")
    return FactChange(change.name, before if change.before else change.before, after if change.after else change.after)


def trend_svg(rows: Sequence[NightRow]) -> str:
    """The plot of one suite: time to the right, the difference in points upwards; hidden from screen readers.

    The table below the plot says the same in words.
    """
    svg = ET.Element("svg", {"class": "plot trend", "width": "100%", "height": str(HEIGHT), "aria-hidden": "true"})
    intervals = [row.result.interval for row in rows if row.result.interval]
    scale = scale_to([row.result.margin for row in rows], intervals, _WIDEST_MARGINS)
    for number, row in enumerate(rows):
        _band(svg, scale, row.result.margin, (number, len(rows)))
    _axis(svg, scale)
    for number, row in enumerate(rows):
        x = _x(number + 0.5, len(rows))
        if row.first_bad:
            _line(svg, "first", (x, x), (_TOP, HEIGHT - _BOTTOM))
        _mark(svg, scale, x, row)
    for number in _dated(rows):
        x = _x(number + 0.5, len(rows))
        anchor = "end" if number == len(rows) - 1 and len(rows) > 1 else "start" if number == 0 else "middle"
        _label(svg, (x, HEIGHT - 6), rows[number].night.night, anchor)
    return ET.tostring(svg, encoding="unicode")


def _x(position: float, count: int) -> float:
    """Percent of the width; the nights stand evenly."""
    return _LEFT + position / count * (100 - _LEFT - _RIGHT)


def _y(scale: Scale, fraction: float) -> float:
    """Pixels from the top; held within the plot."""
    held = min(max(fraction, -scale.reach), scale.reach)
    return round(_TOP + (1 - held / scale.reach) / 2 * (HEIGHT - _TOP - _BOTTOM), 2)


def _band(svg: ET.Element, scale: Scale, margin: float, place: tuple[int, int]) -> None:
    """The margin behind one night: it may be another every night."""
    number, count = place
    left, right = _x(number, count), _x(number + 1, count)
    top, bottom = _y(scale, margin), _y(scale, -margin)
    box = {"x": f"{left:.3f}%", "width": f"{right - left:.3f}%", "y": f"{top:g}", "height": f"{bottom - top:g}"}
    ET.SubElement(svg, "rect", {"class": "band", **box})


def _axis(svg: ET.Element, scale: Scale) -> None:
    for tick in ticks(scale.reach * 100):
        y = _y(scale, tick / 100)
        _line(svg, "zero" if tick == 0 else "grid", (_LEFT, 100 - _RIGHT), (y, y))
        _label(svg, (_LEFT - 0.6, y + 4), f"{tick:+g}" if tick else "0", "end")


def _mark(svg: ET.Element, scale: Scale, x: float, row: NightRow) -> None:
    """The interval and the verdict's marker; without an interval the marker stands on the ground."""
    group = ET.SubElement(svg, "g", {"class": f"mark {row.result.verdict.value}{' known' if row.known else ''}"})
    interval = row.result.interval
    if interval is None or row.result.difference is None:
        place_shape(group, (x, HEIGHT - _BOTTOM), SHAPES[row.result.verdict])
        return
    _line(group, "", (x, x), (_y(scale, interval.high), _y(scale, interval.low)))
    for end in (interval.low, interval.high):
        _end(group, scale, x, end)
    place_shape(group, (x, _y(scale, row.result.difference)), SHAPES[row.result.verdict])


def _end(group: ET.Element, scale: Scale, x: float, end: float) -> None:
    """The end of an interval: a short line across, or an arrow where it lies beyond the scale."""
    if abs(end) <= scale.reach:
        place_shape(group, (x, _y(scale, end)), "M-4,0h8", "open")
    else:
        away = 5 if end > 0 else -5
        place_shape(group, (x, _y(scale, end)), f"M-5,{away}L0,0L5,{away}", "open")


def _line(svg: ET.Element, name: str, horizontal: tuple[float, float], vertical: tuple[float, float]) -> None:
    ends = {"x1": f"{horizontal[0]:.3f}%", "x2": f"{horizontal[1]:.3f}%", "y1": f"{vertical[0]:g}"}
    ET.SubElement(svg, "line", {**({"class": name} if name else {}), **ends, "y2": f"{vertical[1]:g}"})


def _label(svg: ET.Element, at: tuple[float, float], text: str, anchor: str) -> None:
    label = ET.SubElement(svg, "text", {"x": f"{at[0]:.3f}%", "y": f"{at[1]:g}", "text-anchor": anchor})
    label.text = text


def _dated(rows: Sequence[NightRow]) -> list[int]:
    """The nights whose dates are printed: the first, the last, and first bad ones with room around them."""
    if not rows:
        return []
    wanted = [0, len(rows) - 1, *(number for number, row in enumerate(rows) if row.first_bad)]
    kept: list[int] = []
    for number in wanted:
        if all(abs(number - other) / len(rows) > 0.14 for other in kept):
            kept.append(number)
    return kept
