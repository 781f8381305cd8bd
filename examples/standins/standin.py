"""What every stand-in does: takes its settings, tells in a file how it fares, says its trouble in one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

REFUSED: Final = 3
"""The exit code where a sentence says what is missing; it is evalkit's own for such a thing."""


class Refused(Exception):  # noqa: N818 - a sentence for whoever started the program
    """What is missing or wrong, and what may mend it."""


def run(work: Callable[[dict[str, Any], Callable[..., None]], None]) -> int:
    """Calls `work` with the settings, one JSON object as the program's argument, and gives the exit code.

    Its second argument is called with what is to be told, such as `port=8000`: all of it so far is one JSON object in
    the file that the setting `report` names, or on standard error where none is named.
    """
    settings = json.loads(sys.argv[1])
    told: dict[str, Any] = {}

    def tell(**what: object) -> None:
        told.update(what)
        if "report" not in settings:
            sys.stderr.write(f"{json.dumps(what)}\n")
            return
        report = Path(settings["report"])
        part = report.with_suffix(".part")
        part.write_text(json.dumps(told), encoding="utf-8")
        part.replace(report)  # a reader sees all of it or nothing

    try:
        work(settings, tell)
    except Refused as refusal:
        tell(error=str(refusal))
        return REFUSED
    return 0
