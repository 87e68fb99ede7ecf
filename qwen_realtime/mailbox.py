"""Events on their way from the receiving thread to the handlers: ordered, bounded in bytes, waking a selector."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable
from contextlib import suppress

from .errors import ConfigError
from .events import Event

__all__ = ["LIMIT_BYTES", "Mailbox"]

# About twenty minutes of speech: a handler may dream that long before the reading stops.
LIMIT_BYTES = 64 * 1024 * 1024


class Mailbox:
    """A queue with one producer, the receiving thread, and one consumer at a time.

    Nothing here waits but :meth:`get`, and no lock of ours is taken: the two byte counts have one writer each, and a
    producer that minds the bound asks :meth:`has_room` before it brings more.

    Args:
        limit_bytes: how much may wait, in bytes of messages.
        selectable: keep a descriptor that is readable while events wait.

    Attributes:
        on_room: called by the consumer when there is room again after :meth:`has_room` said no.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES, *, selectable: bool = False) -> None:
        self.on_room: Callable[[], object] = lambda: None
        self._limit = limit_bytes
        self._queue: queue.SimpleQueue[tuple[Event | None, int]] = queue.SimpleQueue()
        self._put_bytes = 0  # written by the producer
        self._got_bytes = 0  # written by the consumer
        self._stopped = False  # the producer waits for room, or is just about to
        self._unbounded = 0  # consumers that wait for the producer themselves: the bound must not stop it
        self._closing = False  # set once, by whoever closes: the producer must come to its end
        self._wake: tuple[socket.socket, socket.socket] | None = None
        if selectable:
            self._wake = socket.socketpair()
            for end in self._wake:
                end.setblocking(False)

    def put(self, event: Event, size: int) -> None:
        """Add an event; the receiving thread, and a recovering one what has no size."""
        if size:
            self._put_bytes += size
        self._queue.put((event, size))
        self.ring()

    def has_room(self) -> bool:
        """Whether the producer may bring more; where not, ``on_room`` is called when it may."""
        if not self._full():
            return True
        self._stopped = True
        if self._full():  # whoever makes room from now on sees that it is waited for
            return False
        self._stopped = False
        return True

    def _full(self) -> bool:
        return self._put_bytes - self._got_bytes > self._limit and not self._unbounded and not self._closing

    def _offer_room(self) -> None:
        if self._stopped and not self._full():
            self._stopped = False
            self.on_room()

    def put_last(self, event: Event | None) -> None:
        """Add the last event, or nothing but the end; never blocks."""
        if event is not None:
            self._queue.put((event, 0))
        self._queue.put((None, 0))
        self.ring()

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event, or ``None`` at the end. Blocks until there is one.

        Raises:
            queue.Empty: nothing came within ``timeout`` seconds.
        """
        event, size = self._queue.get(timeout=timeout) if timeout != 0 else self._queue.get_nowait()
        if size:
            self._got_bytes += size
            self._offer_room()
        return event

    def lift(self) -> None:
        """Suspend the bound: the consumer is about to wait for something that only the producer can bring."""
        self._unbounded += 1
        self._offer_room()

    def restore(self) -> None:
        """End one :meth:`lift`."""
        self._unbounded -= 1

    def let_end(self) -> None:
        """Drop the bound for good: the producer is being closed and must not be kept. From any thread."""
        self._closing = True
        self._offer_room()

    # The descriptor.

    def fileno(self) -> int:
        """A descriptor that is readable while events wait; only of a selectable box."""
        if self._wake is None:
            raise ConfigError("fileno() is for dispatch='manual'; here handlers run on their own thread")
        return self._wake[0].fileno()

    def hush(self) -> None:
        """Make the descriptor unreadable; emptying the box or :meth:`remind` must follow, so that no ring is missed."""
        if self._wake is not None:
            with suppress(BlockingIOError):
                while self._wake[0].recv(4096):
                    pass

    def remind(self) -> None:
        """Make the descriptor readable again, where something waits that was rung for already."""
        if not self._queue.empty():
            self.ring()

    def ring(self) -> None:
        """Make the descriptor readable."""
        if self._wake is not None:
            with suppress(OSError):  # full: it is readable; closed: nobody looks any more
                self._wake[1].send(b"\0")

    def close(self) -> None:
        """Give the descriptor back."""
        if self._wake is not None:
            for end in self._wake:
                end.close()
