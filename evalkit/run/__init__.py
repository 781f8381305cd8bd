"""Planning, scheduling and storing what is asked of one endpoint; here, who hears what happens during a call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, TypeAlias

from evalkit.model import Comparison, Difference

if TYPE_CHECKING:
    from evalkit.run.execute import Watch

Show: TypeAlias = "Callable[[Watch], Awaitable[None]]"
"""Called again and again while a run is in progress; it waits as long as it likes."""

_LOG: Final = logging.getLogger("evalkit")


class Observer:
    """Who hears what happens during a call. This one logs at level INFO to `evalkit`; override what is to be heard."""

    def notice(self, sentence: str) -> None:
        """Something that whoever asked should know: a warning, or what kept a run from being whole."""
        _LOG.info("%s", sentence)

    def step(self, sentence: str) -> None:
        """What is done now, for the one who waits."""
        _LOG.info("%s", sentence)

    def looked(self, found: Comparison) -> None:
        """What a look found, where a comparison is asked in rounds."""
        _LOG.info("look %s: %s", found.rounds and found.rounds.look, found.verdict.value)

    def differences(self, found: tuple[Difference, ...]) -> None:
        """In what the two configurations differ, before either is asked."""

    def display(self, watch: Watch) -> AbstractContextManager[Show | None]:  # noqa: ARG002 - for those who override it
        """A context for the time of a run, which gives what is called again and again to show the watch's counts."""
        return nullcontext()


SILENT: Final = Observer()
