"""Whose turn it is in a worker: requests by job, one step of each job after another. Worker only."""

from __future__ import annotations

import threading
from collections import deque

from .messages import Feed, Request, Stop

# What may wait here, all jobs together, before reading stops and the sender's pipe fills: 17 minutes at 16 kHz.
_MOST_WAITING_BYTES = 32 * 1024 * 1024


class Schedule:
    """What there is to do, job by job, in turn. The reading thread puts, the main thread gets.

    ``_changed`` guards all fields; ``put`` waits on it while too much is waiting, ``next`` while nothing is.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: dict[int, deque[Request]] = {}
        self._turn: deque[int] = deque()
        self._bytes = 0
        self._ended = False

    def put(self, request: Request) -> None:
        """Add a request; a ``Stop`` drops what its job had waiting. Blocks while more than 32 MB of sound wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes <= _MOST_WAITING_BYTES)
            queue = self._requests.setdefault(request.job, deque())
            if isinstance(request, Stop):
                self._bytes -= sum(map(_size, queue))
                queue.clear()
            queue.append(request)
            self._bytes += _size(request)
            if request.job not in self._turn:
                self._turn.append(request.job)
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will come, and what waits is wanted no longer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def next(self) -> int | None:
        """Return the job whose turn it is; blocks until there is one, ``None`` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or bool(self._turn))
            return None if self._ended else self._turn.popleft()

    def take(self, job: int) -> Request | None:
        """Return the next request of a job, or ``None``."""
        with self._changed:
            queue = self._requests.get(job)
            if not queue:
                return None
            request = queue.popleft()
            self._bytes -= _size(request)
            self._changed.notify_all()
            return request

    def stop_requested(self, job: int) -> bool:
        """Whether a job's next request is ``Stop``: then what it is doing is wanted no longer."""
        with self._changed:
            queue = self._requests.get(job)
            return queue is not None and len(queue) > 0 and isinstance(queue[0], Stop)

    def again(self, job: int) -> None:
        """Put a job at the end of the turn if it has more to do; its queue is dropped when ``Stop`` came."""
        with self._changed:
            if job not in self._turn:
                self._turn.append(job)

    def forget(self, job: int) -> None:
        """Drop all traces of a job."""
        with self._changed:
            self._requests.pop(job, None)


def _size(request: Request) -> int:
    return len(request.pcm) if isinstance(request, Feed) else 0
