"""A connected socket that one thread may read while others write, with a deadline on everything.

A plain socket is waited for by the system itself, in the call that reads: half the price of asking first. A TLS object
must not be touched by two threads at once, and must not be waited for while it is held: both lose connections. So it is
non-blocking, touched under a lock and waited for outside it.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["DuplexSocket", "wait_for"]

POLLIN = getattr(select, "POLLIN", 1)
POLLOUT = getattr(select, "POLLOUT", 4)

CHUNK = 65536
# A read that waits holds its buffer meanwhile, so it is a small one; there is room for 100 ms of speech.
FIRST_CHUNK = 8192

# How far the wait of a plain socket may miss its deadline, in seconds: to set it anew for each read costs a call.
SLACK_S = 0.005


class _Plain:
    """A plain socket: blocking to read, by a timeout that the system keeps; non-blocking to write."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._timeout = 0.0  # that the system keeps; the reader's own
        self._size = FIRST_CHUNK  # of the next read; the reader's own
        self._keep(60.0)

    def _keep(self, timeout: float) -> None:
        whole, part = divmod(max(1000, int(timeout * 1e6)), 1_000_000)  # none at all would be for ever
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", whole, part))
        self._timeout = timeout

    def read(self, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left > 0 and abs(left - self._timeout) > SLACK_S:
            self._keep(left)
        try:
            data = self._sock.recv(self._size, 0 if left > 0 else socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise TimeoutError("nothing came in time") from None
        self._size = CHUNK if len(data) == self._size else FIRST_CHUNK
        return data

    def send(self, data: bytes | memoryview) -> int:
        return self._sock.send(data, socket.MSG_DONTWAIT)


class _Polled:
    """A socket that is asked before it is read: TLS, and plain ones where the system cannot do better (Windows)."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        # guards the TLS object against reader and writer touching it at once; never held while waiting
        self._touch = threading.Lock()
        self._readable = readiness_of(sock)
        # whether to wait before reading: asking a socket that has nothing costs as much as a wait. A TLS record fits
        # into a chunk, so the TLS object holds nothing back after a read.
        self._drained = False

    def read(self, deadline: float) -> bytes:
        while True:
            if self._drained and not self._readable(deadline):
                raise TimeoutError("nothing came in time")
            self._drained = True
            try:
                with self._touch:
                    data = self._sock.recv(CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except ssl.SSLWantWriteError:
                if not wait_for(self._sock, POLLOUT, deadline):
                    raise TimeoutError("nothing came in time") from None
                self._drained = False
                continue
            self._drained = len(data) < CHUNK
            return data

    def send(self, data: bytes | memoryview) -> int:
        with self._touch:
            return self._sock.send(data)


def _access(sock: socket.socket) -> _Plain | _Polled:
    if hasattr(socket, "MSG_DONTWAIT") and not isinstance(sock, ssl.SSLSocket):
        with suppress(OSError):  # a system with another idea of what a timeout looks like
            return _Plain(sock)
    return _Polled(sock)


class DuplexSocket:
    """One connected socket. One thread reads; writers take turns among themselves.

    Also looks enough like a socket for websocket-client to make its handshake on it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        access = _access(sock)
        self._read = access.read
        self._send = access.send
        self._received = b""
        self._timeout: float | None = None

    def read_some(self, deadline: float) -> bytes:
        """Whatever has arrived, waiting for at least one byte; ``b""`` at the end of the stream.

        Args:
            deadline: on ``time.monotonic()``.

        Raises:
            TimeoutError: nothing came in time.
            OSError: the connection broke.
        """
        if self._received:
            received, self._received = self._received, b""
            return received
        return self._read(deadline)

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
                sent = self._send(rest)
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

    def readiness_of(sock: socket.socket) -> Callable[[float], bool]:
        """:func:`wait_for` data of one socket, made once for all waits; for one thread at a time."""
        poller = select.poll()
        poller.register(sock, POLLIN)
        poll = poller.poll
        return lambda deadline: bool(poll(max(0.0, (deadline - time.monotonic()) * 1000)))

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

    def readiness_of(sock: socket.socket) -> Callable[[float], bool]:
        """:func:`wait_for` data of one socket; for one thread at a time."""
        return lambda deadline: wait_for(sock, POLLIN, deadline)
