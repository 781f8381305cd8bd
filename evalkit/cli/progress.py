"""What is said and shown while a command works, always on stderr: a live table on a terminal, else a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from evalkit.model import Comparison, Difference
from evalkit.run import Observer, Show

if TYPE_CHECKING:
    from evalkit.run.execute import Watch
    from evalkit.run.scheduler import Progress

LINE_EVERY_SECONDS = 60.0
REFRESH_SECONDS = 0.5


class Terminal(Observer):
    """Says on stderr what an observer hears; `quiet` shows no progress, `as_json` leaves stderr to what matters."""

    def __init__(self, *, quiet: bool, as_json: bool = False) -> None:
        self.quiet, self.as_json, self._look = quiet, as_json, ""

    def notice(self, sentence: str) -> None:
        """A warning, whatever else is not shown."""
        click.echo(f"evalkit: {sentence}", err=True)

    def step(self, sentence: str) -> None:
        """What is done now."""
        if not self.quiet:
            click.echo(f"evalkit: {sentence}", err=True)

    def looked(self, found: Comparison) -> None:
        """What the last look found, which stands under the live table from then on."""
        self._look = look_line(found)
        self.step(self._look)

    def differences(self, found: tuple[Difference, ...]) -> None:
        """In what the two configurations differ."""
        if self.quiet or self.as_json:
            return
        if not found:
            click.echo("the two configurations are the same but for their files", err=True)
            return
        click.echo("reference and candidate differ in:", err=True)
        for one in found:
            click.echo(f"  {one.key}: {one.reference} | {one.candidate}", err=True)

    @contextmanager
    def display(self, watch: Watch) -> Iterator[Show | None]:
        """A live table on a terminal; elsewhere what the event loop calls prints a line."""
        if self.quiet:
            yield None
        elif not sys.stderr.isatty():
            yield _line
        else:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)

            def shown() -> Any:
                return _table(watch, self._look)

            with Live(console=console, refresh_per_second=4, transient=True, get_renderable=shown):
                yield _refresh


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of one suite on one side."""

    side: str
    suite: str
    done: int
    planned: int
    failed: int
    tokens_per_second: float | None
    eta_seconds: float | None
    note: str


def rows(watch: Watch, now: float) -> list[Row]:
    """The rows of a watch at a moment of the event loop's clock."""
    return [_row(side, suite, p, now) for side, suites in watch.sides.items() for suite, p in suites.items()]


def _row(side: str, suite: str, progress: Progress, now: float) -> Row:
    fresh = progress.done - progress.stored
    elapsed = now - progress.started if progress.started is not None else 0.0
    left = progress.planned - progress.done - progress.failed
    return Row(
        side=side,
        suite=suite,
        done=progress.done,
        planned=progress.planned,
        failed=progress.failed,
        tokens_per_second=progress.completion_tokens / elapsed if elapsed > 1 and left else None,
        eta_seconds=elapsed / fresh * left if fresh and left else None,
        note="stopped" if progress.stopped else "done" if left <= 0 else "waiting" if progress.waits_for else "",
    )


def waits(watch: Watch) -> list[str]:
    """What is waited for where nothing is asked at present, each reason once."""
    return list(dict.fromkeys(p.waits_for for suites in watch.sides.values() for p in suites.values() if p.waits_for))


def duration(seconds: float | None) -> str:
    """Seconds for people: "45 s", "12 min", "3 h 05 min"."""
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


async def _line(watch: Watch) -> None:
    import asyncio  # .04 s of processor time that a comparison of stored runs need not take

    await asyncio.sleep(LINE_EVERY_SECONDS)
    now = asyncio.get_running_loop().time()
    parts = [
        f"{row.side}/{row.suite} {row.done}/{row.planned}"
        + (f" ({row.failed} failed)" if row.failed else "")
        + (f" {row.tokens_per_second:.0f} tok/s, {duration(row.eta_seconds)} left" if row.eta_seconds else "")
        for row in rows(watch, now)
    ]
    click.echo(f"{time.strftime('%H:%M:%S')} " + "; ".join([*parts, *waits(watch)]), err=True)


async def _refresh(_watch: Watch) -> None:
    import asyncio

    await asyncio.sleep(REFRESH_SECONDS)


def look_line(found: Comparison) -> str:
    """A look for the one who waits: its number, what error is left, and every row's interval so far, in points."""
    if found.rounds is None:
        return found.verdict.value
    rows = [(suite.label, suite.difference, suite.ci90) for suite in found.suites]
    if found.macro is not None:
        rows.insert(0, ("overall", found.macro.difference, found.macro.ci90))
    told = [
        f"{label} {100 * point:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
        for label, point, interval in rows
        if point is not None and interval is not None
    ]
    stands = f"look {found.rounds.look} of {found.rounds.most}: {found.verdict.value}"
    return f"{stands}, alpha left {found.rounds.alpha_left:.4f}: {'; '.join(told)}"


def _table(watch: Watch, look: str = "") -> Any:
    import asyncio

    from rich.text import Text

    from evalkit.render.terminal import sheet

    try:
        now = asyncio.get_running_loop().time()
    except RuntimeError:
        # rich draws from a thread of its own, where the loop's clock is the monotonic one.
        now = time.monotonic()
    table = sheet("side", "suite", "done", "failed", "tok/s", "left", left={"side", "suite"})
    table.caption_justify = "left"
    if waiting := [*waits(watch), *([look] if look else [])]:
        table.caption = Text("\n".join(waiting), style="yellow")  # a server's words, so no markup
    for row in rows(watch, now):
        speed = "" if row.tokens_per_second is None else f"{row.tokens_per_second:.0f}"
        ended = row.note or duration(row.eta_seconds)
        table.add_row(row.side, row.suite, f"{row.done}/{row.planned}", str(row.failed or ""), speed, ended)
    return table
