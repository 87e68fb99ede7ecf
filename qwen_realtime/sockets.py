"""A connected socket that one thread may read while others write, with a deadline on everything.

Plain sockets and TLS alike are non-blocking here. A TLS object must not be touched by two threads at once, and must
not be waited for while it is held: both lose connections. So it is touched under a lock and waited for outside it.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["LONGEST_S", "DuplexSocket", "wait_for"]

# The system's waits end at some number of seconds: that of poll() at 24 days. Nobody waits for as long as this.
LONGEST_S = 1_000_000.0

CHUNK = 65536
POLLIN = getattr(select, "POLLIN", 1)
POLLOUT = getattr(select, "POLLOUT", 4)


class DuplexSocket:
    """One connected socket. One thread reads; writers take turns among themselves.

    Also looks enough like a socket for websocket-client to make its handshake on it.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        # guards the TLS object against reader and writer touching it at once; never held while waiting. A plain socket
        # could do without, but taking a lock that is free costs less than any way around it
        self._touch = threading.Lock()
        self._received = b""
        self._timeout: float | None = None

    def take(self) -> bytes | None:
        """Whatever has arrived, without waiting; ``None`` where that is nothing, ``b""`` at the end of the stream.

        A TLS record fits into ``CHUNK``, so the TLS object holds nothing back after a read.

        Raises:
            OSError: the connection broke.
        """
        if self._received:
            received, self._received = self._received, b""
            return received
        try:
            with self._touch:
                return self._sock.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def read_some(self, deadline: float) -> bytes:
        """Whatever has arrived, waiting for at least one byte; ``b""`` at the end of the stream.

        Args:
            deadline: on ``time.monotonic()``.

        Raises:
            TimeoutError: nothing came in time.
            OSError: the connection broke.
        """
        while (data := self.take()) is None:
            if not self.wait_readable(deadline):
                raise TimeoutError("nothing came in time")
        return data

    def write(self, data: bytes, deadline: float) -> None:
        """Write all of it.

        Args:
            data: the bytes.
            deadline: on ``time.monotonic()``.

        Raises:
            TimeoutError: the other side does not read; part of the data may be on its way.
            OSError: the connection broke.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                with self._touch:
                    sent = self._sock.send(rest)
            except (BlockingIOError, ssl.SSLWantWriteError):
                event = POLLOUT
            except ssl.SSLWantReadError:
                event = POLLIN
            else:
                if sent == len(rest):
                    return
                rest = memoryview(rest)[sent:]
                continue
            if not wait_for(self._sock, event, deadline):
                raise TimeoutError("the other side does not read")

    def write_at_once(self, data: bytes) -> bool:
        """Write a few bytes without waiting; ``False`` where the other side does not read.

        Asks first: what TLS has once been given must be given to it again until it is out.

        Raises:
            OSError: the connection broke, or did not take all of it.
        """
        if not wait_for(self._sock, POLLOUT, 0.0):
            return False
        with self._touch:
            sent = self._sock.send(data)
        if sent != len(data):
            raise OSError("the other side does not read")
        return True

    def wait_readable(self, deadline: float) -> bool:
        """Wait until something has arrived; ``False`` where nothing has by the deadline on ``time.monotonic()``."""
        return wait_for(self._sock, POLLIN, deadline)

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End both directions at once, from any thread; whoever waits is woken.

        The method of the TLS socket would drop the encryption first and hand the reader ciphertext, hence the base's.
        """
        with suppress(OSError):  # already gone
            socket.socket.shutdown(self._sock, how)

    def close(self) -> None:
        """Give the descriptor back; only when no other thread uses the socket."""
        self._sock.close()

    # What websocket-client needs for its handshake.

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes, within the timeout set before."""
        deadline = time.monotonic() + (self._timeout if self._timeout is not None else 60.0)
        data = self.read_some(deadline)
        self._received = data[size:]
        return data[:size]

    def send(self, data: bytes) -> int:
        """Send all of it, within the timeout set before."""
        self.write(data, time.monotonic() + (self._timeout if self._timeout is not None else 60.0))
        return len(data)

    def settimeout(self, timeout: float | None) -> None:
        """Bound the calls of the handshake, in seconds."""
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """The bound of the handshake's calls, in seconds."""
        return self._timeout

    def fileno(self) -> int:
        """The descriptor."""
        return self._sock.fileno()


if hasattr(select, "poll"):

    def wait_for(sock: socket.socket, event: int, deadline: float, cancelled: Callable[[], bool] | None = None) -> bool:
        """Wait until the socket is ready; ``False`` if the deadline passes, or ``cancelled()`` turns true, first."""
        poller = select.poll()
        poller.register(sock, event)
        while True:
            left = deadline - time.monotonic()
            if poller.poll(max(0, min(left, 0.1) * 1000 if cancelled else left * 1000)):
                return True
            if left <= 0 or (cancelled is not None and cancelled()):
                return False


else:  # Windows

    def wait_for(sock: socket.socket, event: int, deadline: float, cancelled: Callable[[], bool] | None = None) -> bool:
        """Wait until the socket is ready; ``False`` if the deadline passes, or ``cancelled()`` turns true, first."""
        reading, writing = ([sock], []) if event == POLLIN else ([], [sock])
        while True:
            left = deadline - time.monotonic()
            # short slices: a wait here cannot be ended by Ctrl-C
            if any(select.select(reading, writing, writing, max(0, min(left, 0.1)))):
                return True
            if left <= 0 or (cancelled is not None and cancelled()):
                return False
