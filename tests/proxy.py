"""A TCP proxy on loopback between a client and its server, which does to the bytes what bad networks do.

It knows nothing of TLS, and of WebSocket only how to cut the server's messages into fragments: what it else splits,
merges, delays or cuts is the byte stream.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Proxy", "Way"]

PATIENCE_S = 10.0
NEVER = float("inf")


@dataclass(frozen=True)
class Way:
    """What happens to the bytes of one direction.

    Args:
        delay_s: each piece arrives so much later.
        bytes_per_s: no more than this gets through.
        split: pieces of so many bytes, one at a time.
        merge_s: what arrives within so long is passed on at once.
        cut_at: the connection ends after so many bytes, in order.
        reset_at: it is reset after so many bytes.
        hole_at: after so many bytes nothing gets through any more, and nobody is told.
        fragments: text messages come in fragments of so many bytes, some empty, with pings between them; only on the
            way to the client, and not through TLS.
    """

    delay_s: float = 0.0
    bytes_per_s: float = NEVER
    split: int = 0
    merge_s: float = 0.0
    cut_at: float = NEVER
    reset_at: float = NEVER
    hole_at: float = NEVER
    fragments: int = 0


class Proxy:
    """Listens on 127.0.0.1 and passes on to a server; usable in ``with``.

    Args:
        url: the server's, ``ws://`` or ``wss://``.
        down: what happens on the way to the client.
        up: what happens on the way to the server.
        faulty: how many connections have these faults; later ones are passed on untouched. ``None`` is all.

    Attributes:
        url: to give to the client.
        connections: how many were made.
    """

    def __init__(self, url: str, *, down: Way = Way(), up: Way = Way(), faulty: int | None = None) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._ways = (down, up)
        self._faulty = faulty
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = parts._replace(
            netloc=f"{'localhost' if parts.scheme == 'wss' else '127.0.0.1'}:{self.port}"
        ).geturl()
        self.connections = 0
        self._relays: list[_Relay] = []
        self._refusing = False
        self._changed = threading.Condition()  # guards _relays, connections and _refusing
        self._accepting = threading.Thread(target=self._accept, name="proxy-accept", daemon=True)
        self._accepting.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._refusing:
                    _reset(near)
                    continue
                self.connections += 1
                healthy = self._faulty is not None and self.connections > self._faulty
            try:
                far = socket.create_connection(self._target, timeout=PATIENCE_S)
            except OSError:
                near.close()
                continue
            down, up = (Way(), Way()) if healthy else self._ways
            with self._changed:
                self._relays = [each for each in self._relays if each.alive]
                self._relays.append(_Relay(near, far, down, up))
                self._changed.notify_all()

    # What a test does to the connections there are.

    def _each(self, act: Callable[[_Relay], None]) -> None:
        with self._changed:
            relays = [each for each in self._relays if each.alive]
        for relay in relays:
            act(relay)

    @property
    def alive(self) -> int:
        """How many connections there are now."""
        with self._changed:
            return sum(each.alive for each in self._relays)

    @property
    def passed(self) -> int:
        """How many bytes have gone through the present connections, both ways together."""
        with self._changed:
            return sum(each.passed for each in self._relays if each.alive)

    def wait_for(self, number: int) -> None:
        """Wait until so many connections have been made."""
        with self._changed:
            made = self._changed.wait_for(lambda: self.connections >= number, PATIENCE_S)
            assert made, f"{self.connections} connections, not {number}"

    def cut(self) -> None:
        """End all connections in order, whatever is on its way."""
        self._each(_Relay.cut)

    def reset(self) -> None:
        """Reset all connections."""
        self._each(_Relay.reset)

    def black_hole(self) -> None:
        """Pass nothing on any more, and tell nobody: the connections are half open."""
        self._each(_Relay.black_hole)

    def refuse(self, refusing: bool = True) -> None:
        """Reset whoever connects, as a dead server's machine does."""
        with self._changed:
            self._refusing = refusing

    def close(self) -> None:
        """End everything and join the threads."""
        with self._changed:
            self._refusing = True
        with suppress(OSError):
            socket.socket.shutdown(self._listener, socket.SHUT_RDWR)
        with suppress(OSError):  # wakes accept() where shutdown does not
            socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
        self._listener.close()
        self._accepting.join(PATIENCE_S)
        for relay in self._relays:
            relay.close()


class _Relay:
    """One connection: two sockets and a thread for each way."""

    def __init__(self, near: socket.socket, far: socket.socket, down: Way, up: Way) -> None:
        self._ends = (near, far)
        for end in self._ends:
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._over = threading.Event()
        self._hole = threading.Event()
        self.passed = 0
        self._running = 2
        self._ending = threading.Lock()  # guards _running
        self._threads = [
            threading.Thread(target=self._run, args=(far, near, down), name="proxy-down", daemon=True),
            threading.Thread(target=self._run, args=(near, far, up), name="proxy-up", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return not self._over.is_set()

    def _pump(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        gone = 0
        fragmenter = _Fragmenter(way.fragments) if way.fragments else None
        with suppress(OSError):
            while data := source.recv(65536):
                if way.merge_s:
                    data = self._gather(source, data, way.merge_s)
                if fragmenter is not None:
                    data = fragmenter.feed(data)
                limit = min(way.cut_at, way.reset_at, way.hole_at)
                if gone + len(data) >= limit:
                    self._pass(target, data[: int(limit - gone)], way)
                    self._break(way)
                    return
                self._pass(target, data, way)
                gone += len(data)
        if not self._hole.is_set():
            self.cut()

    def _run(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        self._pump(source, target, way)
        with self._ending:
            self._running -= 1
            last = not self._running
        if last and self._over.is_set():
            self._dispose()

    def _break(self, way: Way) -> None:
        limit = min(way.cut_at, way.reset_at, way.hole_at)
        if way.cut_at == limit:
            self.cut()
        elif way.reset_at == limit:
            self.reset()
        else:
            self.black_hole()

    def _gather(self, source: socket.socket, data: bytes, seconds: float) -> bytes:
        self._over.wait(seconds)
        with suppress(BlockingIOError):
            while more := source.recv(65536, socket.MSG_DONTWAIT):
                data += more
        return data

    def _pass(self, target: socket.socket, data: bytes, way: Way) -> None:
        if way.delay_s:
            self._over.wait(way.delay_s)
        size = way.split or (max(1, int(way.bytes_per_s / 20)) if way.bytes_per_s != NEVER else max(1, len(data)))
        for start in range(0, len(data), size):
            if self._hole.is_set():
                return
            piece = data[start : start + size]
            began = time.monotonic()
            target.sendall(piece)
            self.passed += len(piece)
            if way.bytes_per_s != NEVER:
                self._over.wait(max(0.0, len(piece) / way.bytes_per_s - (time.monotonic() - began)))

    def cut(self) -> None:
        """End in order."""
        self._over.set()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End by a reset of the near end."""
        self._over.set()
        for end in self._ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)
        self._dispose()

    def black_hole(self) -> None:
        """Stay open and pass nothing on."""
        self._hole.set()

    def _dispose(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.close()

    def close(self) -> None:
        """End, and join the threads."""
        self.cut()
        deadline = time.monotonic() + PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a thread of the proxy does not end"
        self._dispose()


class _Fragmenter:
    """Rewrites what a server sends: each text message in fragments."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting = b""
        self._past_head = False

    def feed(self, data: bytes) -> bytes:
        """Bytes in, rewritten bytes out; what is not a whole frame waits."""
        self._waiting += data
        out = b""
        if not self._past_head:
            head, complete, rest = self._waiting.partition(b"\r\n\r\n")
            if not complete:
                return b""
            self._past_head, self._waiting = True, rest
            out = head + complete
        while (end := self._frame_end()) is not None:
            whole, self._waiting = self._waiting[: end[1]], self._waiting[end[1] :]
            out += self._fragmented(whole[end[0] :]) if whole[0] == 0x81 else whole
        return out

    def _frame_end(self) -> tuple[int, int] | None:
        if len(self._waiting) < 2:
            return None
        size, head = self._waiting[1] & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if len(self._waiting) < head:
                return None
            size = int.from_bytes(self._waiting[2:head], "big")
        return (head, head + size) if len(self._waiting) >= head + size else None

    def _fragmented(self, payload: bytes) -> bytes:
        pieces = [payload[start : start + self._size] for start in range(0, len(payload), self._size)]
        pieces[1:1] = [b""]
        out = b""
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            size = bytes([len(piece)]) if len(piece) < 126 else b"\x7e" + struct.pack("!H", len(piece))
            out += bytes([(0x80 if last else 0) | (0 if number else 1)]) + size + piece
            if not last and number % 7 == 0:
                out += b"\x89\x02hi"
        return out


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
