"""From a connected socket to a WebSocket: the handshake, and what a refusal means.

The only file that knows websocket-client, which makes the handshake.
"""

from __future__ import annotations

import json
import math
import socket
import time
from http.cookies import CookieError
from typing import Any

import websocket

from .dialing import Deadline, dial
from .endpoints import Endpoint
from .errors import AuthenticationError, HandshakeError, RateLimitError
from .sockets import DuplexSocket
from .transport import Transport

if not hasattr(websocket, "ABNF"):  # the package named "websocket" installs a module of the same name
    raise ImportError(
        "the module 'websocket' is not that of websocket-client: "
        "pip uninstall -y websocket && pip install --force-reinstall websocket-client"
    )

__all__ = ["open_transport"]

# What websocket-client is given in place of the key; and what is too short to be a secret.
_STAND_IN = b"<the API key>"
_SECRET_BYTES = 12

# No honest handshake response is longer.
_MAX_HANDSHAKE_BYTES = 64 * 1024

# A server that asks for more than a day is not waited for any longer; the system's waits end at some number too.
_LONGEST_WAIT_S = 86400.0


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
            # the first frames, with what was held back of them
            self._received, self._ready, self._held = self._ready + self._held, b"", b""
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
    told = f"HTTP {status}" + (f": {_said(text)}" if text else "")
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
    hint = "check the URL's path and the model's name" if status < 500 else "try again later"
    return HandshakeError(f"{endpoint.host} refused the connection: {told}", hint=hint, status=status, body=text)


def _said(body: str) -> str:
    """What a body says to people: the message in it, where it is JSON with one."""
    try:
        found = json.loads(body)
        detail = found.get("error", found)
        return str(detail["message"])
    except (ValueError, AttributeError, KeyError, TypeError):
        return body


def _seconds(text: str | None) -> float | None:
    """The seconds to wait that a ``Retry-After`` header means: a number of them, or a date."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        from email.utils import parsedate_to_datetime  # here, since importing the package shall stay light

        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), _LONGEST_WAIT_S) if math.isfinite(seconds) else None
