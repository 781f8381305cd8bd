"""An event loop whose clock jumps to the next thing that is due: hours of waiting pass in milliseconds.

For coroutines without sockets. `run(main())` is `asyncio.run(main())` in such a loop; `@virtual.time` has a test run
in one.
"""

import asyncio
import functools
import selectors


class _Jumping(selectors.SelectSelector):
    """Never waits: where nothing is ready, the clock is moved on by what would have been waited, and a nanosecond else."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing is due and nothing will ever be: a deadlock")
            # A pass takes asyncio's resolution: what is due within it fires, and who looks again must find it is time.
            self.now += max(timeout, 1e-9)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now

    def pass_by(self, seconds):
        """Lets time go on while a coroutine holds the loop, as slow code would."""
        self._jumping.now += seconds


def run(coroutine):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


def time(test):
    """Runs a test that is a coroutine function in virtual time."""

    @functools.wraps(test)
    def in_virtual_time(*arguments, **named):
        run(test(*arguments, **named))

    return in_virtual_time
