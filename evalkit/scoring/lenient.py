"""The generous second reading of a reply to a multiple-choice question: for diagnosis only, never for the score.

Where it finds answers that the strict reading does not, the prompt or the strict patterns are at fault, not the model.
"""

from __future__ import annotations

import re
from typing import Final

from evalkit.scoring.markers import places
from evalkit.scoring.normalise import last_line
from evalkit.scoring.options import Options

_DENIED: Final = r"(?!\)?\s{0,3}(?:is|are|was|were)?\s{0,3}(?:not|n't|wrong|incorrect|false|fail|cannot|can't))"
_BRACKETED: Final = re.compile(rf"\(([A-Z])\){_DENIED}", re.IGNORECASE)
_ALONE: Final = re.compile(rf"(?<![\w'’])([A-Z])(?![\w'’]){_DENIED}")
_NUMBER: Final = re.compile(r"[(\[]?(\d{1,2})(?![\w%]|[.,]\d)")
_LINE_LENGTH: Final = 4000


def lenient_letter(text: str, options: Options) -> str | None:
    """What `text` (normalised, without markup; no strict answer in it) may mean; None where even that is open.

    The first of: the last bracketed letter, the last capital letter that stands alone (neither where the reply goes
    on to deny it), the option whose number stands after the last marker, the only option named in the last line.
    """
    for pattern in (_BRACKETED, _ALONE):
        letters = [letter for found in pattern.finditer(text) if (letter := found[1].upper()) in options.letters]
        if letters:
            return letters[-1]
    numbers = [int(found[1]) for place in places(text) if (found := _NUMBER.match(text, place.start))]
    if numbers and 1 <= numbers[-1] <= len(options.letters):
        return options.letters[numbers[-1] - 1]
    named = options.named_in(last_line(text)[1][-_LINE_LENGTH:])
    return next(iter(named)) if len(named) == 1 else None
