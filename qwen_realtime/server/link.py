"""One client's socket: bytes in, handshake and messages out, and the other way round. Nothing here blocks.

The WebSocket protocol itself is the ``websockets`` package's, without its input and output. One thread owns a link, so
that a TLS connection is never touched by two, and the faults can write what no library would.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

__all__ = ["Closed", "Link", "Message", "text_frame"]

_BLOCK = 65536
# Read at most this much before others get their turn.
_READ_AT_ONCE = 1024 * 1024
_NO_RECONNECT = struct.pack("ii", 1, 0)

# At DEBUG the protocol logs all headers of the handshake; the one with the key is left out.
_protocol_log = logging.getLogger("qwen_realtime.server.websocket")
_protocol_log.addFilter(lambda record: "authorization" not in record.getMessage().lower())


class Message(NamedTuple):
    """A whole message: the payload of one or more frames."""

    payload: bytes
    is_text: bool


class Closed(NamedTuple):
    """The client sent a close frame, or hung up (then ``code`` is ``None``)."""

    code: int | None


Incoming = Request | Message | Closed


def text_frame(payload: bytes, first_byte: int = 0x81) -> bytes:
    """Return a frame as a server sends it; ``first_byte`` holds the end mark and the opcode, 0x81 for text."""
    if len(payload) < 126:
        return bytes((first_byte, len(payload))) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first_byte, 126, len(payload)) + payload
    return struct.pack("!BBQ", first_byte, 127, len(payload)) + payload


class Link:
    """The server's end of one connection.

    Args:
        sock: connected, and through the TLS handshake if it has one; this object owns it from here on.
        max_message_bytes: a longer message is answered with close code 1009.
    """

    def __init__(self, sock: socket.socket, max_message_bytes: int) -> None:
        self._sock = sock
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol = ServerProtocol(max_size=max_message_bytes, logger=_protocol_log)
        self._outgoing: deque[bytes] = deque()
        self.pending = 0  # bytes that the kernel has not taken yet
        self._fragments: list[bytes] = []
        self._fragments_are_text = True
        self._hang_up = False  # once everything is out
        self._is_shut = False  # this direction
        self._saw_end = False
        self.answers_pings = True
        self.ended = False

    def fileno(self) -> int:
        """The socket's number, for a selector."""
        return self._sock.fileno()

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent: the handshake is done and no close frame went either way."""
        return self._protocol.state is State.OPEN and not self.ended and not self._hang_up

    @property
    def is_hanging_up(self) -> bool:
        """Whether the connection will end once everything is out and the client has hung up too."""
        return self._hang_up

    @property
    def close_code(self) -> int | None:
        """The code of the first close frame of either side, or ``None`` where there was none."""
        theirs, ours = self._protocol.close_rcvd, self._protocol.close_sent
        frame = ours if theirs is None or self._protocol.close_rcvd_then_sent is False else theirs
        return frame.code if frame is not None else None

    @property
    def has_unread(self) -> bool:
        """Whether TLS holds bytes that a selector does not see."""
        return isinstance(self._sock, ssl.SSLSocket) and not self.ended and self._sock.pending() > 0

    # Out.

    def respond(self, request: Request, refusal: Response | None) -> bool:
        """Answer the handshake: refuse it, or accept it if it is a proper one; return whether it was accepted."""
        if self._protocol.eof_sent:  # what followed the request in the same segment was no WebSocket, and ended it
            return False
        response = refusal or self._protocol.accept(request)
        self._protocol.send_response(response)
        self._collect()
        return bool(response.status_code == 101)

    def refusal(self, status: int, body: str, content_type: str = "application/json") -> Response:
        """An HTTP response that refuses the handshake."""
        response = self._protocol.reject(status, body)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = content_type
        return response

    def send(self, payload: bytes) -> None:
        """Send a text message; without effect once the connection is closing."""
        if self.is_open:
            self._protocol.send_text(payload)
            self._collect()

    def send_binary(self, payload: bytes) -> None:
        """Send a binary message."""
        if self.is_open:
            self._protocol.send_binary(payload)
            self._collect()

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        if not self.ended:
            self._queue(data)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame after what was sent before."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._collect()

    def hang_up(self) -> None:
        """End the TCP connection, once everything is out, without a close frame.

        Unless both have sent a close frame only this direction is shut: closing a socket that holds unread bytes resets
        the connection, and the client could lose what it has yet to read. It hangs up in turn, or is abandoned.
        """
        self._hang_up = True

    def reset(self) -> None:
        """Break the TCP connection at once, so that the client sees a reset."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RECONNECT)
        self._end()

    @property
    def wants_write(self) -> bool:
        """Whether something waits to go out."""
        return bool(self._outgoing)

    def flush(self) -> None:
        """Write what the kernel takes now."""
        while self._outgoing and not self.ended:
            block = self._outgoing[0]
            try:
                sent = self._sock.send(block)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError):
                return
            except OSError:
                self._end()
                return
            self.pending -= sent
            if sent == len(block):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = block[sent:]
        if self._hang_up and self._protocol.close_rcvd is not None and self._protocol.close_sent is not None:
            self._end()
        elif self._hang_up and not self._is_shut:
            self._is_shut = True
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._end()

    def _queue(self, data: bytes) -> None:
        self._outgoing.append(data)
        self.pending += len(data)

    def _collect(self) -> None:
        for data in self._protocol.data_to_send():
            if not data:
                self._hang_up = True
            elif self.answers_pings or data[:1] != b"\x8a":
                self._queue(data)

    # In.

    def read(self) -> Iterator[Incoming]:
        """Yield what has arrived."""
        taken = 0
        while taken < _READ_AT_ONCE and not self.ended:
            try:
                data = self._sock.recv(_BLOCK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                yield from self._take_end()
                return
            taken += len(data)
            if not self._is_shut:
                self._protocol.receive_data(data)
                yield from self._events()

    def _take_end(self) -> Iterator[Incoming]:
        if not self._saw_end:
            self._saw_end = True
            self._protocol.receive_eof()
            yield from self._events()
            yield Closed(None)
        self.flush()
        self._end()

    def _events(self) -> Iterator[Incoming]:
        events = self._protocol.events_received()
        self._collect()
        for event in events:
            if isinstance(event, Request):
                yield event
            elif isinstance(event, Frame):
                yield from self._frame(event)

    def _frame(self, frame: Frame) -> Iterator[Incoming]:
        if frame.opcode is Opcode.CLOSE:
            yield Closed(self.close_code)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self._fragments_are_text = frame.opcode is Opcode.TEXT
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                payload = b"".join(self._fragments)
                self._fragments.clear()
                yield Message(payload, self._fragments_are_text)

    def _end(self) -> None:
        self.ended = True
        self._outgoing.clear()
        self.pending = 0
        with contextlib.suppress(OSError):
            self._sock.close()

    def abandon(self) -> None:
        """Close the socket now, whatever is left."""
        if not self.ended:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
            self._end()
