"""One WebSocket connection as messages in and out; the only client file that knows websocket-client.

websocket-client makes the handshake. Frames are written and read here: its own reader checks
UTF-8 in pure Python (95 % of the vendor SDK's cost), asks the socket three times per frame, has no size limit and
gives up on close reasons that are too long, which the service sends.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import suppress
from http.cookies import CookieError
from typing import Any

import websocket

from .dialing import Deadline, dial
from .endpoints import Endpoint
from .errors import (
    AuthenticationError,
    ConnectionClosed,
    HandshakeError,
    ProtocolError,
    RateLimitError,
)
from .sockets import DuplexSocket

if not hasattr(websocket, "ABNF"):  # the package named "websocket" installs a module of the same name
    raise ImportError(
        "the module 'websocket' is not that of websocket-client: "
        "pip uninstall -y websocket && pip install --force-reinstall websocket-client"
    )

__all__ = ["Transport", "open_transport"]

_TEXT, _BINARY, _CONTINUATION = 0x1, 0x2, 0x0
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA

# What websocket-client is given in place of the key; and what is too short to be a secret.
_STAND_IN = b"<the API key>"
_SECRET_BYTES = 12

# What RFC 6455 allows in a control frame.
_MAX_CONTROL_BYTES = 125

# No honest handshake response is longer.
_MAX_HANDSHAKE_BYTES = 64 * 1024


class Transport:
    """A connected WebSocket. One thread receives; any thread sends.

    Args:
        sock: past the handshake.
        max_message_bytes: a longer message is a ``ProtocolError``, before it is read.
        send_timeout: seconds after which a peer that does not read is given up.

    Attributes:
        heard_at: when something last came, be it a part of a frame, on ``time.monotonic()``: a sign of life.
    """

    def __init__(self, sock: DuplexSocket, *, max_message_bytes: int, send_timeout: float) -> None:
        self._sock = sock
        self._max_message_bytes = max_message_bytes
        self._send_timeout = send_timeout
        self._write_lock = threading.Lock()  # guards the order of frames; waited for no longer than send_timeout
        self._close_sent = False
        self._broken = ""  # why nothing can be written any more
        # What has come and was not taken yet, the buffer from _taken on and the pieces after it, is the receiving
        # thread's own, as all down to heard_at.
        self._buffer = b""
        self._taken = 0
        self._pieces: list[bytes] = []
        self._parts: list[bytes] = []  # of a fragmented message
        self._pong: bytes | None = None  # that is owed
        self.heard_at = time.monotonic()

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
            if not self._sock.wait_readable(deadline):
                return None
        return message

    def take(self) -> bytes | None:
        """The next text message, where it is there, without waiting; raises as :meth:`receive` does."""
        self.answer_ping()
        while (frame := self._frame()) is not None:
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
        self._parts.append(payload)
        size = sum(map(len, self._parts))
        if size > self._max_message_bytes:
            raise ProtocolError(
                f"a message in pieces is over the limit of {self._max_message_bytes} bytes",
                hint="raise max_message_bytes if you expect it",
            )
        if not final:
            return None
        message, self._parts = b"".join(self._parts), []
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
        payload = struct.pack("!H", code) + reason.encode()[:123]
        with suppress(ConnectionClosed):
            self._write(_masked_frame(payload, _CLOSE), timeout, closing=True)

    def _write(self, frame: bytes, timeout: float, *, closing: bool = False) -> None:
        deadline = time.monotonic() + timeout
        if not self._write_lock.acquire(timeout=timeout):
            raise ConnectionClosed(
                f"sending took over {timeout:g} s: the server does not read", by="network", hint="it may be overloaded"
            )
        try:
            if self._broken or self._close_sent:
                raise ConnectionClosed(self._broken or "the connection is closed", by="client")
            self._close_sent = closing
            self._sock.write(frame, deadline)
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
            self._write_lock.release()

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
        with self._write_lock:
            self._broken = self._broken or "the connection is closed"
            self._sock.close()


def _masked_frame(payload: bytes, opcode: int) -> bytes:
    """A whole message as a frame, masked as a client must; a quarter faster than websocket-client's."""
    size, key = len(payload), os.urandom(4)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, size)
    words = (size + 3) // 4
    # one operation on two long integers; the key's surplus bytes are cut off
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(key * words, "little")
    return b"".join((head, key, masked.to_bytes(4 * words, "little")[:size]))


class _HandshakeSocket(DuplexSocket):
    """A socket for the time of the handshake: it takes the bytes of one HTTP response and the deadline's time.

    websocket-client logs what it sends and receives, and repeats it in its errors, so it never sees the key: the header
    that it makes has a stand-in, which is replaced here, and a key that the server repeats is blacked out.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, key: str) -> None:
        super().__init__(sock)
        self._deadline = deadline
        self._key = key.encode()
        self._black = b"*" * len(self._key) if len(self._key) >= _SECRET_BYTES else self._key
        self._held = b""  # the end of what has come, where it may be the beginning of the key
        self._ready = b""  # for websocket-client
        self.response = b""  # what the server has answered so far, should websocket-client give up over it

    def recv(self, size: int) -> bytes:
        if len(self.response) >= _MAX_HANDSHAKE_BYTES:
            raise OSError("the response to the handshake has no end")
        if not self._ready:
            self._ready = self._blackened(self._take())
        data, self._ready = self._ready[:size], self._ready[size:]
        self.response += data
        head, complete, _ = self.response.partition(b"\r\n\r\n")
        if complete and head.split(b" ")[1:2] == [b"101"]:
            self._received, self._ready = self._ready, b""  # the first frames
        return data

    def _take(self) -> bytes:
        while True:
            # a short slice, so that close() can call it off
            until = time.monotonic() + min(self._deadline.left, 0.1)
            try:
                return self.read_some(until)
            except TimeoutError:
                if not self._deadline.left or self._deadline.cancelled():
                    raise

    def _blackened(self, data: bytes) -> bytes:
        """What has come, without the key, and without an end that may be the beginning of it."""
        while True:
            data = (self._held + data).replace(self._key, self._black)
            self._held = b""
            begun = next((n for n in range(min(len(self._key) - 1, len(data)), 0, -1) if data[-n:] == self._key[:n]), 0)
            if not begun or self._black is self._key:
                return data
            data, self._held = data[:-begun], data[-begun:]
            if data:
                return data
            more = self._take()
            if not more:
                data, self._held = self._held, b""
                return b"*" * len(data)
            data = more

    def send(self, data: bytes) -> int:
        self.settimeout(self._deadline.left)
        super().send(data.replace(_STAND_IN, self._key, 1))
        return len(data)


def open_transport(
    endpoint: Endpoint,
    key: str,
    deadline: Deadline,
    *,
    proxy: str | None = None,
    ssl_context: Any = None,
    max_message_bytes: int,
    send_timeout: float,
) -> Transport:
    """Connect and make the WebSocket handshake, in the caller's thread.

    Redirects are refused: the key goes nowhere else.

    Raises:
        ConnectError: why not: ``ConnectTimeout`` with the phase, ``HandshakeError`` with the HTTP status.
    """
    sock = _HandshakeSocket(dial(endpoint, deadline, proxy=proxy, ssl_context=ssl_context), deadline, key)
    try:
        _handshake(sock, endpoint, key, deadline)
    except BaseException:
        sock.close()
        raise
    return Transport(sock, max_message_bytes=max_message_bytes, send_timeout=send_timeout)


def _handshake(sock: _HandshakeSocket, endpoint: Endpoint, key: str, deadline: Deadline) -> None:
    client = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=False)
    try:
        client.connect(
            endpoint.url,
            socket=sock,
            # first, so that no other header's value is taken for the stand-in
            header=[
                f"Authorization: Bearer {_STAND_IN.decode()}",
                *(f"{name}: {value}" for name, value in endpoint.headers.items()),
            ],
            suppress_origin=True,
            redirect_limit=0,
        )
    # version 1.8 raises an IndexError over a status line that is none
    except (websocket.WebSocketException, CookieError, OSError, ValueError, IndexError) as error:
        if deadline.cancelled():
            raise deadline.missed("handshake", f"{endpoint.host} did not answer the handshake") from None
        status, headers, body = _http_answer(sock.response)
        if status not in (0, 101):
            raise _refused(endpoint, status, headers, body, key) from None
        if not deadline.left:
            raise deadline.missed("handshake", f"{endpoint.host} did not answer the handshake") from None
        raise HandshakeError(
            f"{endpoint.host}:{endpoint.port} did not answer as a WebSocket server: {error}", hint="check the URL"
        ) from error
    if client.getstatus() != 101:  # a redirect: some versions raise, others go on
        raise _refused(endpoint, *_http_answer(sock.response), key)


def _http_answer(response: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as far as they came: websocket-client gives up on answers that are cut or too long."""
    head, complete, body = response.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    if not complete or not version.startswith("HTTP/") or not rest[:3].isdecimal():
        return 0, {}, b""
    pairs = (line.partition(":") for line in lines[1:])
    return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}, body


def _refused(endpoint: Endpoint, status: int, headers: dict[str, str], body: bytes, key: str) -> HandshakeError:
    """The error for an HTTP answer in place of a handshake; a server that echoes the key does not get it shown."""
    text = body.decode("utf-8", "replace").replace(key, "***").strip()[:500]
    told = f"HTTP {status}" + (f": {text}" if text else "")
    if status in (401, 403):
        other = {"intl": "cn", "cn": "intl"}.get(endpoint.region)
        hint = "check the key" + (
            f"; a key of the other region needs region={other!r}" if other else "; a key works only in its own region"
        )
        return AuthenticationError(f"{endpoint.host} refused the key: {told}", hint=hint, status=status, body=text)
    if status == 429:
        wait = _seconds(headers.get("retry-after"))
        return RateLimitError(
            f"{endpoint.host} has had too many requests: {told}",
            hint=f"try again in {wait:g} s" if wait is not None else "try again later",
            status=status,
            body=text,
            retry_after=wait,
        )
    if 300 <= status < 400:
        where = headers.get("location", "elsewhere").replace(key, "***")
        return HandshakeError(
            f"{endpoint.host} redirects to {where}, which is not followed: the key would go there",
            hint="pass that URL if you trust it",
            status=status,
            body=text,
        )
    hint = "check the URL's path and the model's name" if status in (400, 404) else ""
    return HandshakeError(f"{endpoint.host} refused the connection: {told}", hint=hint, status=status, body=text)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return None
