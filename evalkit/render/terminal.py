"""What every table on a terminal is made of: its frame, foreign text made fit to be shown, and a verdict's sign."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from evalkit.model import Verdict
from evalkit.render.words import ASCII_SYMBOLS, SYMBOLS, Language, one_line, without_commands, word_of

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

_STYLES: Final = {
    Verdict.EQUIVALENT: "green",
    Verdict.DEGRADED: "bold red",
    Verdict.ELEVATED: "bold magenta",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.INVALID: "bold red",
}


def frame(*, ascii_only: bool, title: str | None = None) -> RichTable:
    """An empty table with a rule below its heads."""
    from rich import box
    from rich.table import Table

    return Table(
        title=None if title is None else text(title, ascii_only=ascii_only),
        title_justify="left",
        box=box.ASCII if ascii_only else box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )


def sheet(*heads: str, left: Collection[str]) -> RichTable:
    """An empty table without rules; the columns that are not to stand on the `left` hold numbers."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, justify="left" if head in left else "right", no_wrap=head not in left)
    return table


FIRST_WIDE: Final = "\u2e80"  # the first character of the scripts that are written without spaces


def text(content: str, *, ascii_only: bool) -> Text:
    """Foreign text: no markup, no control characters, and nothing that the console's encoding lacks."""
    from rich.text import Text

    line = without_commands(one_line(content))
    if ascii_only:
        line = line.replace("±", "+/-").replace("—", "-").replace("×", "x").replace("→", "->").replace("…", "...")
        line = line.encode("ascii", "replace").decode()
    if max(line, default="") >= FIRST_WIDE:
        from evalkit.render.chinese_text import HAS_WIDE, ChineseText

        if HAS_WIDE.search(line):
            return ChineseText(line)
    return Text(line)


def symbol(verdict: Verdict, *, ascii_only: bool) -> str:
    """The verdict's sign."""
    return (ASCII_SYMBOLS if ascii_only else SYMBOLS)[verdict]


def verdict_word(verdict: Verdict, language: Language | None, *, ascii_only: bool) -> Text:
    """Sign and word, coloured: never the colour alone; the sign where no language is named, for a row of nights."""
    sign = symbol(verdict, ascii_only=ascii_only)
    word = sign if language is None else f"{sign} {word_of('verdict', verdict.value, language)}"
    shown = text(word, ascii_only=ascii_only)
    shown.stylize(_STYLES[verdict])
    return shown
