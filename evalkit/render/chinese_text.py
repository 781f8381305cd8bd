"""Chinese on a terminal: lines break between its characters, not only at spaces, and none begins with a comma.

rich breaks a line at spaces alone, so that a Chinese sentence with a number in it falls into ragged pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, chop_cells
from rich.containers import Lines
from rich.measure import Measurement
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod

_WIDE: Final = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60"
HAS_WIDE: Final = re.compile(f"[{_WIDE}]")
# What stays on one line: a character or a word with the marks that open before it and close behind it.
_PIECE: Final = re.compile(rf"[（“《「(\[]*(?:[{_WIDE}]|[^\s{_WIDE}]+)?[，。；：、！？）”》」%…)\]]*\s*", re.DOTALL)
_LEAST_WIDTH: Final = 12


class ChineseText(Text):
    """A text that wraps as Chinese does."""

    def wrap(
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """The lines of the text in so many columns."""
        if no_wrap or self.no_wrap:
            return super().wrap(console, width, justify=justify, overflow=overflow, tab_size=tab_size, no_wrap=no_wrap)
        lines = Lines()
        for line in self.split(allow_blank=True):
            lines.extend(line.divide(list(_breaks(line.plain, width))))
        for line in lines:
            line.rstrip()
        if justify:
            lines.justify(console, width, justify=justify, overflow=overflow or "fold")
        return lines

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """From a few characters to the whole on one line."""
        least, most = super().__rich_measure__(console, options)
        longest = max((cell_len(piece.rstrip()) for piece in _PIECE.findall(self.plain)), default=0)
        return Measurement(min(least, max(_LEAST_WIDTH, longest)), most)


def _breaks(text: str, width: int) -> Iterator[int]:
    """Where lines begin, the first one apart."""
    start = place = 0
    for piece in _PIECE.findall(text):
        if cell_len(text[start:place] + piece.rstrip()) > width and place > start:
            yield place
            start = place
        place += len(piece)
        # A word that is wider than the line is cut where the line ends.
        while cell_len(text[start:place].rstrip()) > width:
            start += max(1, len(chop_cells(text[start:place], width)[0]))
            yield start
