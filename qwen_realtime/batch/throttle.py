"""At which rate jobs are handed out. No thread, no lock: one thread asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["RateLimit", "Throttle"]


@dataclass(frozen=True)
class RateLimit:
    """So many jobs in so many seconds, evenly spread; each job is one connection.

    Attributes:
        count: jobs.
        per_s: seconds.
    """

    count: float
    per_s: float = 60.0


class Throttle:
    """When the next job may be handed out. One thread asks.

    Args:
        rate: spreads jobs evenly; ``None`` for no limit.
        clock: seconds.
    """

    def __init__(self, rate: RateLimit | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = rate.per_s / rate.count if rate is not None else 0.0
        self._clock = clock
        self._next = clock()
        self._spread: list[float] = []  # longer distances between the next jobs

    @property
    def left(self) -> float:
        """Seconds until then; 0 for now."""
        return max(0.0, self._next - self._clock())

    def handed_out(self) -> None:
        """A job was handed out: the next must wait for its turn."""
        now = self._clock()
        every = max(self._every, self._spread.pop()) if self._spread else self._every
        # a little lateness is made up for, so that the rate is reached; a lot is not, so that it is not exceeded
        begun = now if now - self._next > every / 2 else self._next
        self._next = begun + every

    def pause(self, seconds: float, workers: int) -> None:
        """Hand out nothing for a while, and then not to all workers at the same moment."""
        self._next = max(self._next, self._clock() + seconds)
        self._spread = [seconds / workers] * workers
