"""One WebSocket connection as messages in and out, once the handshake (:mod:`.handshake`) is made.

Frames are written and read here and not by websocket-client: its reader checks UTF-8 in pure Python (95 % of the vendor
SDK's cost), asks the socket three times per frame, has no size limit and gives up on close reasons that are too long,
which the service sends.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from contextlib import suppress

from .errors import ConnectionClosed, ProtocolError
from .masking import masked
from .sockets import DuplexSocket

__all__ = ["Transport"]

_TEXT, _BINARY, _CONTINUATION = 0x1, 0x2, 0x0
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA

# What RFC 6455 allows in a control frame.
_MAX_CONTROL_BYTES = 125

# Frames looked at before other connections have their turn, where they make no message: pings, or pieces of one.
_TURN = 64

# How long the end waits for a writer, which the cut socket wakes: a thread of all sessions waits here.
_WRITER_S = 1.0


class Transport:
    """A connected WebSocket. One thread receives; any thread sends.

    Args:
        sock: past the handshake.
        max_message_bytes: a longer message is a ``ProtocolError``, before it is read.
        send_timeout: seconds after which a peer that does not read is given up.

    Attributes:
        heard_at: when something last came, be it a part of a frame, on ``time.monotonic()``: a sign of life.
        has_more: whether the last :meth:`take` has left frames that may be whole.
    """

    def __init__(self, sock: DuplexSocket, *, max_message_bytes: int, send_timeout: float) -> None:
        self._sock = sock
        self._max_message_bytes = max_message_bytes
        self._send_timeout = send_timeout
        # Guards the order of frames; waited for no longer than send_timeout. One that knows its owner, so that Ctrl-C
        # between taking it and knowing so does not leave it taken.
        self._write_lock = threading.RLock()
        self._close_sent = False
        self._broken = ""  # why nothing can be written any more
        # What has come and was not taken yet, the buffer from _taken on and the pieces after it, is the receiving
        # thread's own, as all down to has_more.
        self._buffer = b""
        self._taken = 0
        self._pieces: list[bytes] = []
        self._parts: list[bytes] = []  # of a fragmented message
        self._parts_bytes = 0
        self._pong: bytes | None = None  # that is owed
        self.heard_at = time.monotonic()
        self.has_more = False

    # Receiving, on one thread.

    def receive(self, timeout: float) -> bytes | None:
        """The payload of the next text message; answers pings meanwhile.

        Args:
            timeout: seconds; ``None`` is returned when no message came in that time.

        Raises:
            ConnectionClosed: the other side closed, or the connection broke.
            ProtocolError: a frame that cannot be; the connection is of no use any more.
        """
        deadline = time.monotonic() + timeout
        while (message := self.take()) is None:
            if not self.has_more and not self._sock.wait_readable(deadline):
                return None
        return message

    def take(self) -> bytes | None:
        """The next text message, where it is there, without waiting; raises as :meth:`receive` does.

        ``None`` also after many frames without a message, so that a flood of them keeps nobody else waiting.
        """
        self.answer_ping()
        self.has_more = True
        for _ in range(_TURN):
            frame = self._frame()
            if frame is None:
                self.has_more = False
                break
            final, opcode, payload = frame
            if opcode == _TEXT and final and not self._parts:
                return payload
            if opcode in (_TEXT, _CONTINUATION):
                message = self._joined(final, opcode, payload)
                if message is not None:
                    return message
            elif opcode == _PING:
                self._pong = payload
                self.answer_ping()
            elif opcode == _CLOSE:
                raise self._closed_by_server(payload)
            elif opcode == _BINARY:
                raise ProtocolError("the server sent a binary frame; this protocol has text frames only")
            elif opcode != _PONG:
                raise ProtocolError(f"the server sent a frame of the unknown kind {opcode:#x}")
        return None

    @property
    def at_rest(self) -> bool:
        """Whether all that had come at the last read has been taken."""
        return self._taken == len(self._buffer) and not self._pieces

    def _frame(self) -> tuple[int, int, bytes] | None:
        """One frame as (final, opcode, payload); ``None`` when it is not whole yet."""
        if not self._have(2):
            return None
        first, second = self._buffer[self._taken], self._buffer[self._taken + 1]
        if first & 0x70 or second & 0x80:
            raise ProtocolError("the server sent a frame with reserved bits or a mask: is it a WebSocket server?")
        size, head = second & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if not self._have(head):
                return None
            (size,) = struct.unpack_from("!H" if head == 4 else "!Q", self._buffer, self._taken + 2)
        elif first & 0x0F >= _CLOSE and not first & 0x80:
            raise ProtocolError("the server sent a control frame in pieces")
        if size > _MAX_CONTROL_BYTES and first & 0x0F in (_PING, _PONG):  # close frames of the service may be longer
            raise ProtocolError(f"the server sent a ping or pong of {size} bytes")
        if size > self._max_message_bytes:
            raise ProtocolError(
                f"a message of {size} bytes is over the limit of {self._max_message_bytes}",
                hint="raise max_message_bytes if you expect it",
            )
        if not self._have(head + size):
            return None
        start = self._taken + head
        self._taken = start + size
        return first & 0x80, first & 0x0F, self._buffer[start : self._taken]

    def _have(self, count: int) -> bool:
        """Have ``count`` bytes from ``_taken`` on in the buffer; ``False`` when they have not come yet."""
        missing = count - (len(self._buffer) - self._taken)
        if missing <= 0:
            return True
        missing -= sum(map(len, self._pieces))
        while missing > 0:
            piece = self._read()
            if piece is None:
                return False
            self._pieces.append(piece)  # joined once, when there are enough of them
            missing -= len(piece)
        self._buffer = b"".join((self._buffer[self._taken :], *self._pieces))
        self._taken = 0
        self._pieces.clear()
        return True

    def _read(self) -> bytes | None:
        try:
            piece = self._sock.take()
        except (OSError, ValueError) as error:
            raise ConnectionClosed(f"the connection broke: {error}", by="network") from error
        if piece == b"":
            raise ConnectionClosed("the connection ended without a close frame", by="network")
        if piece is not None:
            self.heard_at = time.monotonic()
        return piece

    def _joined(self, final: int, opcode: int, payload: bytes) -> bytes | None:
        """The whole message, when this is its last piece."""
        if (opcode == _TEXT) is bool(self._parts):
            raise ProtocolError("the server sent the pieces of a message out of order")
        if payload or not self._parts:
            self._parts.append(payload)
        self._parts_bytes += len(payload)
        if self._parts_bytes > self._max_message_bytes:
            raise ProtocolError(
                f"a message in pieces is over the limit of {self._max_message_bytes} bytes",
                hint="raise max_message_bytes if you expect it",
            )
        if not final:
            return None
        message, self._parts, self._parts_bytes = b"".join(self._parts), [], 0
        return message

    def _closed_by_server(self, payload: bytes) -> ConnectionClosed:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        reason = payload[2:].decode("utf-8", "replace")
        answered = self._close_sent
        self.send_close(1000, timeout=0.0)
        shown = f"{code} {reason}".strip() if code is not None else "no code"
        return ConnectionClosed(
            "closed" if answered else f"the server closed the connection: {shown}",
            code=code,
            reason=reason,
            by="client" if answered else "server",
        )

    # Sending, from any thread.

    def send(self, payload: bytes) -> None:
        """Send one text message.

        Blocks until the system has taken it, at most ``send_timeout``.

        Raises:
            ConnectionClosed: the connection is closed, breaks, or the other side does not read.
        """
        self._write(_masked_frame(payload, _TEXT), self._send_timeout)

    def ping(self) -> None:
        """Send a ping where that goes without waiting; on the receiving thread."""
        self._write_at_once(_masked_frame(b"", _PING))

    def answer_ping(self) -> bool:
        """Send the pong that is owed, if any, where that goes without waiting; ``False`` while it is still owed."""
        if self._pong is not None and (self._close_sent or self._write_at_once(_masked_frame(self._pong, _PONG))):
            self._pong = None
        return self._pong is None

    def _write_at_once(self, frame: bytes) -> bool:
        """Write a control frame between two messages; ``False`` where the socket or its lock is taken."""
        if not self._write_lock.acquire(blocking=False):
            return False
        try:
            if self._broken or self._close_sent:
                return True
            return self._sock.write_at_once(frame)
        except (OSError, ValueError) as error:
            self._break(f"the connection broke while sending: {error}")
            raise ConnectionClosed(self._broken, by="network") from error
        finally:
            self._write_lock.release()

    def send_close(self, code: int, reason: str = "", *, timeout: float) -> None:
        """Send the close frame, once; a connection that cannot be written to is left to :meth:`shutdown`."""
        if self._close_sent:
            return
        shortened = reason.encode()[:123].decode("utf-8", "ignore")  # half a character is no UTF-8
        payload = struct.pack("!H", code) + shortened.encode()
        with suppress(ConnectionClosed):
            self._write(_masked_frame(payload, _CLOSE), timeout, closing=True)

    def _write(self, frame: bytes, timeout: float, *, closing: bool = False) -> None:
        deadline = time.monotonic() + timeout
        try:
            if not self._write_lock.acquire(True, timeout):
                raise ConnectionClosed(
                    f"sending took over {timeout:g} s: the server does not read",
                    by="network",
                    hint="it may be overloaded",
                )
            if self._broken or self._close_sent:
                raise ConnectionClosed(self._broken or "the connection is closed", by="client")
            self._close_sent = closing
            self._write_whole(frame, deadline)
        except (OSError, ValueError) as error:
            if isinstance(error, ConnectionClosed):
                raise
            self._break(
                f"sending took over {timeout:g} s: the server does not read"
                if isinstance(error, TimeoutError)
                else f"the connection broke while sending: {error}"
            )
            raise ConnectionClosed(self._broken, by="network") from error
        finally:
            try:  # noqa: SIM105 - what that offers may be interrupted too
                self._write_lock.release()
            except RuntimeError:  # it was not taken
                pass

    def _write_whole(self, frame: bytes, deadline: float) -> None:
        try:
            self._sock.write(frame, deadline)
        except (OSError, ValueError):
            raise
        except BaseException:  # Ctrl-C
            self._break("a send was broken off")
            raise

    def _break(self, why: str) -> None:
        """Part of a frame may be out, and nothing can follow it: tell the receiving thread."""
        self._broken = why
        self._sock.shutdown()

    # The end.

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    @property
    def broken(self) -> str:
        """Why a write failed, where one did."""
        return self._broken

    def shutdown(self) -> None:
        """Cut the connection, from any thread; the receiving thread wakes."""
        self._sock.shutdown()

    def dispose(self) -> None:
        """Give the socket back; the receiving thread's last act. Waits for a writer to notice the end."""
        self._sock.shutdown()
        held = self._write_lock.acquire(timeout=_WRITER_S)
        self._broken = self._broken or "the connection is closed"
        self._sock.close()
        if held:
            self._write_lock.release()


def _masked_frame(payload: bytes, opcode: int) -> bytes:
    """A whole message as a frame, masked as a client must."""
    size, key = len(payload), os.urandom(4)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, size)
    return b"".join((head, key, masked(payload, key)))
