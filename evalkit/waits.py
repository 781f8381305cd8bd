"""Waiting: a line for the one who waits, shown where the command line does, and asynchronous work to its end.

`announce` logs at level INFO to one logger, which shows nothing until `show_on` is called: evalkit used as a library
stays silent.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

NOTICE_SECONDS: Final = 2.0  # a start-up that takes longer than this is announced

_LOG: Final = logging.getLogger(__name__)


def announce(sentence: str) -> None:
    """Say what is waited for, before the wait."""
    _LOG.info("%s", sentence)


def show_on(write: Callable[[str], None]) -> None:
    """Hand every announcement to `write` from now on."""
    _LOG.handlers[:] = [_Handler(write)]
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False


def hush() -> None:
    """Show no announcements any more."""
    _LOG.setLevel(logging.WARNING)


class _Handler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write the sentence alone."""
        self._write(record.getMessage())


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """What the coroutine gives, also where an event loop is running already, as in a notebook.

    There the work gets a thread and a loop of its own; Ctrl-C cancels it and waits until it has cleaned up.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Result]]] = Future()
    ended: Future[Result] = Future()

    async def in_task() -> Result:
        task = asyncio.ensure_future(work)
        begun.set_result((asyncio.get_running_loop(), task))
        return await task

    def in_thread() -> None:
        try:
            ended.set_result(asyncio.run(in_task()))
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits, whatever it is
            ended.set_exception(error)

    thread = threading.Thread(target=in_thread, name="evalkit")
    try:
        thread.start()
        return ended.result()
    except KeyboardInterrupt:
        if not ended.done():
            loop, task = begun.result()
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()
