"""The history for people: rows of tables, rounded as everywhere, and one HTML page with a plot for each suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from evalkit.publish.history import Episode, FactChange, Night, Series, SuiteNight, SuiteTrend, known_for
from evalkit.publish.known import Known
from evalkit.render import numbers
from evalkit.render import terminal as console
from evalkit.render.html import page_context, scale_to
from evalkit.render.jinja import own
from evalkit.render.numbers import Change
from evalkit.render.private import without_folders
from evalkit.render.rows import change_of, k_text
from evalkit.render.words import Language, words_of
from evalkit.resources import __version__, data_folder

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text


_MOST_SIGNS: Final = 30


@dataclass(frozen=True, slots=True)
class NightRow:
    """One night of one suite; scores in percent, the margin in points, "k" as tables print it, none of the mean."""

    night: Night
    result: SuiteNight
    k: str
    reference: Decimal | None
    candidate: Decimal | None
    margin: Decimal
    change: Change | None
    known: Known | None
    first_bad: bool


def night_rows(trend: SuiteTrend, known: Sequence[Known], last: int) -> tuple[NightRow, ...]:
    """The last nights of a suite, oldest first."""
    first_bad = {episode.first_bad.order for episode in trend.episodes}
    return tuple(
        NightRow(
            night=night,
            result=result,
            k="" if result is night.mean else k_text(result.k_reference, result.k_candidate),
            reference=_percent(result.reference),
            candidate=_percent(result.candidate),
            margin=numbers.shortest(numbers.points(result.margin), 1),
            change=change_of(result.difference, result.interval, result.margin),
            known=known_for(known, night, result),
            first_bad=night.order in first_bad,
        )
        for night, result in trend.points[-last:]
    )


def _percent(mean: float | None) -> Decimal | None:
    return None if mean is None else numbers.rounded(numbers.points(mean), 1)


def label_of(trend: SuiteTrend, language: Language) -> str:
    """What a suite is called, or the overall row."""
    return words_of(language)["overall"] if trend.points[-1][1] is trend.points[-1][0].mean else trend.label


def look_of(night: Night, language: Language, suite: str = "", *, short: bool = False) -> str:
    """The look at which a suite was decided, or the whole night; "" where all was asked at once."""
    rounds = night.rounds
    if rounds is None:
        return ""
    look = rounds.decided.get(suite, rounds.look)
    told = "{look}/{most}" if short else words_of(language)["look" if look else "look_fast"]
    return told.format(look=look, most=rounds.most)


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """A rich renderable: a row a suite with its signs night by night, and what is to be said of bad ones.

    With `suite` it is a row a night of that suite.
    """

    series: tuple[Series, ...]
    known: tuple[Known, ...] = ()
    last: int = _MOST_SIGNS
    suite: str | None = None
    language: Language = "en"
    ascii_only: bool = False

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the tables out for a console; rich calls this."""
        pen = replace(self, ascii_only=options.ascii_only)
        for number, one in enumerate(self.series):
            if number:
                yield ""
            if self.suite is None:
                yield from pen.overview(one)
                continue
            for trend in one.suites:
                if trend.suite == self.suite:
                    yield pen.heading(one, label_of(trend, self.language))
                    yield pen.nights(trend)
                    yield from pen.remarks(one, [trend])

    def overview(self, one: Series) -> RenderResult:
        """The table of a series, then a paragraph for each suite that is bad or known."""
        words = words_of(self.language)
        table = console.frame(ascii_only=self.ascii_only)
        for name in ("suite", "trend"):
            table.add_column(self._text(words[name]), overflow="fold")
        table.add_column(self._text(f"{words['last_night']}{words['colon']}{words['difference']}"), justify="right")
        table.add_column(self._text(words["margin"]), justify="right", no_wrap=True)
        table.add_column(self._text(words["verdict"]), no_wrap=True)
        for trend in one.suites:
            rows = night_rows(trend, self.known, min(self.last, _MOST_SIGNS))
            now = rows[-1]
            signs = (console.verdict_word(row.result.verdict, None, ascii_only=self.ascii_only) for row in rows)
            cells = (
                self._text(label_of(trend, self.language)),
                self._text("").join(signs),
                self._text(numbers.change_text(now.change)),
                self._text(f"±{now.margin:f}"),
            )
            table.add_row(*cells, self._marked(now, []))
        yield self.heading(one)
        if one.suites:
            yield table
        yield from self.remarks(one, one.suites, whole=True)

    def heading(self, one: Series, label: str = "") -> Text:
        """The name of the series and its nights; without a label, the look at which the last was decided, too."""
        words = words_of(self.language)
        span = words["nights"].format(n=len(one.nights), first=one.nights[0].night, last=one.nights[-1].night)
        parts = [one.name, label, span, look_of(one.nights[-1], self.language) if not label else ""]
        return self._text(words["semicolon"].join(filter(None, parts)))

    def nights(self, trend: SuiteTrend) -> Table:
        """A row a night, oldest first."""
        words = words_of(self.language)
        table = console.frame(ascii_only=self.ascii_only)
        table.add_column(self._text(words["night"]), no_wrap=True)
        rows = night_rows(trend, self.known, self.last)
        in_rounds = any(row.night.rounds for row in rows)
        for name in ("n_k", "ref", "cand", "difference", "margin", *["look_column"] * in_rounds):
            table.add_column(self._text(words[name]), justify="right", no_wrap=True)
        table.add_column(self._text(words["verdict"]))
        first_bad = words["first_bad"][:1].lower() + words["first_bad"][1:]  # it stands within a sentence
        for row in rows:
            verdict = self._marked(row, [first_bad] * row.first_bad)
            figures = (numbers.plain(row.reference), numbers.plain(row.candidate), numbers.change_text(row.change))
            asked = f"{row.result.n_items}×{row.k}" if row.k else str(row.result.n_items)
            cells = [row.night.night, asked, *figures, f"±{row.margin:f}"]
            cells += [look_of(row.night, self.language, trend.suite, short=True)] * in_rounds
            table.add_row(*map(self._text, cells), verdict)
        return table

    def remarks(self, one: Series, trends: Sequence[SuiteTrend], *, whole: bool = False) -> Iterator[Text]:
        """What is to be said of some suites, and of the `whole` last night, a paragraph each."""
        told = own(
            "history.txt.j2",
            self.language,
            series=one,
            trends=trends,
            whole=whole,
            known_of=lambda trend: known_for(self.known, *trend.points[-1]),
            label_of=label_of,
        )
        return map(self._text, told.splitlines())

    def _marked(self, row: NightRow, marks: list[str]) -> Text:
        """The verdict, and in brackets that it is known, and other marks."""
        words = words_of(self.language)
        verdict = console.verdict_word(row.result.verdict, self.language, ascii_only=self.ascii_only)
        marks = [words["known"]] * (row.known is not None) + marks
        if marks:
            verdict.append_text(self._text(words["open"] + words["list"].join(marks) + words["close"]))
        return verdict

    def _text(self, text: str) -> Text:
        return console.text(text, ascii_only=self.ascii_only)


# Made as the report is: one file, inline SVG, a policy that allows the page's own style and nothing else; no script.


_WIDEST_MARGINS: Final = 8.0  # the scale ends at this many of the largest margin; what lies beyond stands at the edge


def page(series: Sequence[Series], known: Sequence[Known], *, last: int = 60, language: Language = "en") -> str:
    """The page of all series: at most `last` nights of each suite, and every episode of bad nights."""
    folder = data_folder("reports")
    style = "".join((folder / "html" / name).read_text(encoding="utf-8") for name in ("report.css", "history.css"))
    context: dict[str, Any] = {
        **page_context(style, language),
        "series": [(one, [_view(trend, known, last) for trend in one.suites]) for one in series],
        "known": known,
        "label_of": label_of,
        "look_of": look_of,
        "version": __version__,
    }
    return own("history.html.j2", language, **context)


def _view(trend: SuiteTrend, known: Sequence[Known], last: int) -> dict[str, Any]:
    """One suite as the template shows it."""
    rows = night_rows(trend, known, last)
    return {
        "trend": trend,
        "rows": rows,
        "dated": _dated(rows),
        "scale": scale_to([row.result.margin for row in rows], [row.result.interval for row in rows], _WIDEST_MARGINS),
        "episodes": [_shown(episode) for episode in reversed(trend.episodes)],
    }


def _shown(episode: Episode) -> Episode:
    """The page is passed on: paths of what changed are shortened."""
    changed = []
    for one in episode.changed:
        before, after = without_folders(one.name, one.before or "", one.after or "")
        changed.append(FactChange(one.name, one.before and before, one.after and after))
    return replace(episode, changed=tuple(changed))


def _dated(rows: Sequence[NightRow]) -> list[int]:
    """The nights whose dates are printed: the first, the last, and first bad ones with room around them."""
    wanted = [0, len(rows) - 1, *(number for number, row in enumerate(rows) if row.first_bad)]
    kept: list[int] = []
    for number in wanted:
        if all(abs(number - other) / len(rows) > 0.14 for other in kept):
            kept.append(number)
    return kept
