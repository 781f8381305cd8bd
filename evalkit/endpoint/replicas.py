"""Which of several addresses takes the next request: the one with the fewest in flight that is fit.

Pure but for the clock, which is given. One address needs none of this and loses nothing by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

FAILURES_TO_REST: Final = 3
"""So many failures in a row, and a replica is left alone for a while."""
FIRST_REST_SECONDS: Final = 5.0
LONGEST_REST_SECONDS: Final = 60.0
TRIAL_SECONDS: Final = 10.0
"""How long a replica on trial is kept from further requests while the first has neither failed nor been answered."""


@dataclass(slots=True)
class Replica:
    """One address and how it has fared. Times are the clock's, in seconds."""

    url: str
    in_flight: int = 0
    failures: int = 0
    rest_seconds: float = FIRST_REST_SECONDS
    rests_until: float | None = None
    failed_at: float = float("-inf")
    rests_taken: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """One request's hold on a replica, to be given back once."""

    replica: Replica
    rests_taken: int

    @property
    def url(self) -> str:
        """The address to send the request to."""
        return self.replica.url


class Replicas:
    """Spreads requests over replicas and rests those that fail: no connection, or a 5xx in place of an answer.

    Three failures in a row take a replica out for 5 s. After that it gets one request on trial (another every 10 s
    while that one is open): if it fails again it is out for twice as long, up to 60 s; any answer brings it back at
    once. Where all are out, the one whose last failure is longest ago is used, so a lone replica is never refused.
    """

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = tuple(Replica(url) for url in urls)
        self._clock = clock
        self._turn = 0

    def take(self) -> Lease:
        """Choose a replica for one request; equals take turns."""
        replicas = self._replicas
        chosen = replicas[0] if len(replicas) == 1 else self._choose()
        self._turn += 1
        chosen.turn = self._turn
        chosen.in_flight += 1
        return Lease(chosen, chosen.rests_taken)

    def give_back(self, lease: Lease, reached: bool | None) -> None:
        """End a request's hold: `reached` says whether the replica answered, None where nobody knows."""
        replica = lease.replica
        replica.in_flight -= 1
        if reached:
            if replica.failures:
                replica.failures = 0
                replica.rests_until = None
                replica.rest_seconds = FIRST_REST_SECONDS
        elif reached is not None:
            self._failed(replica, lease)

    def _choose(self) -> Replica:
        now = self._clock()
        ready = [replica for replica in self._replicas if replica.rests_until is None or now >= replica.rests_until]
        if not ready:
            return min(self._replicas, key=lambda replica: (replica.failed_at, replica.turn))
        chosen = min(ready, key=lambda replica: (replica.in_flight, replica.turn))
        if chosen.rests_until is not None:
            chosen.rests_until = now + TRIAL_SECONDS
        return chosen

    def _failed(self, replica: Replica, lease: Lease) -> None:
        now = self._clock()
        replica.failed_at = now
        if lease.rests_taken != replica.rests_taken:
            return  # sent before the rest began: no news about how the replica fares after it
        replica.failures += 1
        if replica.failures >= FAILURES_TO_REST:
            replica.rests_until = now + replica.rest_seconds
            replica.rest_seconds = min(2 * replica.rest_seconds, LONGEST_REST_SECONDS)
            replica.rests_taken += 1
