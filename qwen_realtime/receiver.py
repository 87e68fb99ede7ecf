"""The thread that receives, ``qwen-receive``: one for all connections of the process.

A thread for each would be simpler. A thousand of them were measured: each woken ten times a second, they queue for the
interpreter in such numbers that at times the process does nothing but queue.

It may block on
    the selector only: no source waits for anything.
It is woken by
    data, a source's hour, and :meth:`Receiver.poke`.
It begins with the first connection and ends with the last.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple, Protocol

__all__ = ["Receiver", "Source", "Wish", "receive"]

log = logging.getLogger("qwen_realtime")

NEVER = float("inf")

# Hours of ended sources that are left where they are, so that not every end costs a look at all.
SPENT_HOURS = 16


class Wish(NamedTuple):
    """When a source wants its next step.

    Attributes:
        reading: as soon as something has come.
        by: at the latest, on ``time.monotonic()``.
    """

    reading: bool
    by: float


class Source(Protocol):
    """What the thread looks after; all but ``receiver`` is called on it, and must not wait.

    Attributes:
        receiver: that looks after it; ``None`` until one does.
    """

    receiver: Receiver | None

    def fileno(self) -> int:
        """The socket's descriptor."""

    def step(self) -> Wish | None:
        """Take what has come and do what is due; ``None`` at the end."""

    def end(self) -> None:
        """Dispose of the socket; called once, after the last step."""


def receive(source: Source) -> None:
    """Look after a source until its end; starts the thread where there is none."""
    global _receiver
    with _choosing:
        if _receiver is None:
            _receiver = Receiver()
        _receiver.adopt(source)


class Receiver:
    """The thread and its sources. What other threads may touch says so."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._new: deque[Source] = deque()  # appended to by any thread
        self._poked: deque[Source] = deque()  # appended to by any thread
        self._sources: set[Source] = set()
        self._reading: set[Source] = set()
        # The hours of the sources: a heap, and for each source the one of its entries that counts. The hour moves on
        # with all that comes, the entry only when it is reached.
        self._hours: list[tuple[float, int, Source]] = []
        self._hour_of: dict[Source, float] = {}
        self._turn = itertools.count()
        self._thread = threading.Thread(target=self._run, name="qwen-receive", daemon=True)

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return threading.current_thread() is self._thread

    def adopt(self, source: Source) -> None:
        """Look after one more; from any thread, which holds ``_choosing``.

        Wherever Ctrl-C breaks this off, a source has a ``receiver`` if and only if it is looked after.
        """
        if self._thread.ident is None:
            self._thread.start()
        source.receiver = self
        self._new.append(source)
        self._ring()

    def poke(self, source: Source) -> None:
        """Let a source have a step soon; from any thread. Nothing to one that has ended."""
        self._poked.append(source)
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # full: it will wake; closed: nobody is left
            self._bell.send(b"\0")

    # The thread.

    def _run(self) -> None:
        while self._sources or not self._may_go():
            try:
                self._look()
            except BaseException:
                log.exception("receiving failed; please report this")
                for source in list(self._sources):  # better all at their ends than none ever
                    self._let_go(source)
        self._selector.close()
        self._ear.close()
        self._bell.close()

    def _look(self) -> None:
        """Wait for something to do, and do it."""
        for key, _ in self._selector.select(self._patience()):
            if key.data is None:
                self._hush()
            else:
                self._step(key.data)
        while self._new:
            source = self._new.popleft()
            self._sources.add(source)
            self._step(source)
        while self._poked:
            self._step(self._poked.popleft())
        for source in self._due():
            self._step(source)

    def _may_go(self) -> bool:
        """With nothing left to look after, make room for a next thread, unless somebody has just come."""
        global _receiver
        with _choosing:
            if self._new:
                return False
            if _receiver is self:
                _receiver = None
            return True

    def _hush(self) -> None:
        with suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass

    def _patience(self) -> float | None:
        return max(0.0, self._hours[0][0] - time.monotonic()) if self._hours else None

    def _due(self) -> list[Source]:
        now, found = time.monotonic(), []
        while self._hours and self._hours[0][0] <= now:
            hour, _, source = heapq.heappop(self._hours)
            if self._hour_of.get(source) == hour:
                del self._hour_of[source]
                found.append(source)
        return found

    def _step(self, source: Source) -> None:
        if source not in self._sources:
            return
        wish = source.step()
        if wish is None:
            self._let_go(source)
            return
        if wish.reading is not (source in self._reading):
            self._read(source, wish.reading)
        if wish.by < self._hour_of.get(source, NEVER):
            self._hour_of[source] = wish.by
            heapq.heappush(self._hours, (wish.by, next(self._turn), source))

    def _read(self, source: Source, wanted: bool) -> None:
        if wanted:
            self._selector.register(source.fileno(), selectors.EVENT_READ, source)
            self._reading.add(source)
        else:
            self._selector.unregister(source.fileno())
            self._reading.discard(source)

    def _let_go(self, source: Source) -> None:
        self._sources.discard(source)
        self._hour_of.pop(source, None)
        if len(self._hours) > 2 * len(self._hour_of) + SPENT_HOURS:  # they keep what has ended in memory
            self._hours = [(hour, next(self._turn), each) for each, hour in self._hour_of.items()]
            heapq.heapify(self._hours)
        try:
            if source in self._reading:
                self._read(source, False)
            source.end()
        except Exception:
            log.exception("the end of a connection failed; please report this")


_choosing = threading.Lock()  # guards _receiver, and that it goes with nobody to look after
_receiver: Receiver | None = None


def _forget() -> None:
    """In a fork: the thread is not there, and its connections are the parent's."""
    global _choosing, _receiver
    _choosing, _receiver = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
