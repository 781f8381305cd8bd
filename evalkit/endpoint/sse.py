"""Server-sent events, incrementally: bytes in any pieces, whole events out.

Follows the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream": lines end in LF, CRLF or CR, several
`data` lines are joined by LF, lines that begin with a colon are comments, one leading byte-order mark is dropped, an
event without data is none. `id` and `retry` are for reconnecting, which a generation cannot do, and are ignored.
"""

from __future__ import annotations

from typing import TypeAlias

Event: TypeAlias = tuple[str, bytes]
"""An event's name ("" where the server gave none) and its data, not decoded."""

_BOM = b"\xef\xbb\xbf"


class SseParser:
    """Feed it the body of a `text/event-stream` as it arrives.

    A chunk may end anywhere: in a line end, in a character, in the byte-order mark. The work is linear in the number
    of bytes however they are cut; what is held is at most one event.
    """

    __slots__ = ("_after_cr", "_ends_line", "_fresh", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._ends_line = True
        self._after_cr = False
        self._fresh = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events that are now complete, in order."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._unix_lines(chunk)
        if not chunk:
            return []
        pieces = self._pieces
        meets_blank = self._ends_line and chunk[0] == 0x0A
        self._ends_line = chunk[-1] == 0x0A
        if not meets_blank and b"\n\n" not in chunk:
            pieces.append(chunk)
            return []
        pieces.append(chunk)
        blocks = b"".join(pieces).split(b"\n\n")
        pieces.clear()
        rest = blocks.pop()
        if rest:
            pieces.append(rest)
        return self._events(blocks)

    def finish(self) -> list[Event]:
        """The stream has ended: return the event that lacks its blank line, if there is one.

        The standard would drop it; servers are known to end `data: [DONE]` with a single line end, or with none.
        """
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return self._events([rest]) if rest else []

    def _unix_lines(self, chunk: bytes) -> bytes:
        """Every line end as LF; a CR at the end of the previous chunk has been counted, so its LF is dropped here."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk[-1] == 0x0D
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _events(self, blocks: list[bytes]) -> list[Event]:
        if self._fresh and blocks:
            self._fresh = False
            blocks[0] = blocks[0].removeprefix(_BOM)
        events: list[Event] = []
        for block in blocks:
            # Nearly every event of nearly every server is this one line.
            if block.startswith(b"data: ") and b"\n" not in block:
                if len(block) > 6:
                    events.append(("", block[6:]))
            elif block:
                event = _parse(block)
                if event is not None:
                    events.append(event)
        return events


def _parse(block: bytes) -> Event | None:
    """One event of several lines, or of a less usual form; None where it has no data."""
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    joined = b"\n".join(data)
    return (name.decode("utf-8", "replace"), joined) if joined else None
