"""A scripted WebSocket peer on loopback, with framing of its own, so that it can break every rule on purpose.

A script is a function that gets one :class:`Link` per connection and runs on a thread of the peer's.
:func:`polite` is the script of a server that behaves.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from qwen_realtime.sockets import DuplexSocket

__all__ = [
    "ConnectProxy",
    "Frame",
    "Link",
    "Peer",
    "Script",
    "created",
    "frame",
    "greet",
    "greet_only",
    "polite",
    "read_and_write_at_once",
    "serve",
    "silent",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# Nothing on loopback takes longer, unless it never comes.
PATIENCE_S = 10.0

Script: TypeAlias = "Callable[[Link], None]"


class Frame(NamedTuple):
    """One frame of the client, unmasked."""

    opcode: int
    payload: bytes

    @property
    def message(self) -> Any:
        """The payload as JSON."""
        return json.loads(self.payload)


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, masked: bool = False) -> bytes:
    """A frame as a server sends it; ``masked`` and ``rsv`` make it a wrong one."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask_bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", len(payload))
    if masked:
        mask = os.urandom(4)
        return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + payload


def created(model: str = "qwen3-tts-flash-realtime", **session: Any) -> dict[str, Any]:
    """A ``session.created`` event."""
    return {
        "event_id": "event_created",
        "type": "session.created",
        "session": {"object": "realtime.session", "model": model, "id": "sess_1", **session},
    }


class Link:
    """The peer's end of one connection.

    Attributes:
        path: what the client asked for.
        headers: of its request, names in lower case.
        events: the JSON messages that it sent.
        frames: all frames that it sent.
        stop: set when the peer is being closed; a script that holds a connection waits for it.
    """

    def __init__(self, sock: socket.socket, stop: threading.Event) -> None:
        self.sock = sock
        self.stop = stop
        self.path = ""
        self.headers: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.frames: list[Frame] = []
        self.ended = False  # nothing more will be read
        self._arrived = threading.Condition()  # guards events, frames and ended
        self._writing = threading.Lock()  # guards the order of what is sent: the script and the test both may
        self._buffer = b""

    # The handshake.

    def read_request(self) -> None:
        """Read the client's HTTP request."""
        while b"\r\n\r\n" not in self._buffer:
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionError("the client hung up before its request was whole")
            self._buffer += chunk
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.path = lines[0].split(" ")[1]
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def switch_protocols(self) -> bytes:
        """The response that accepts the handshake."""
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()  # noqa: S324 - RFC 6455 has it
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ).encode()

    def accept(self, then: bytes = b"") -> None:
        """Make the handshake, and send more in the same segment."""
        self.read_request()
        self.raw(self.switch_protocols() + then)

    def answer(self, status: str, body: bytes = b"", **headers: str) -> None:
        """Read the request and answer with HTTP: ``answer("401 Unauthorized", b"no", Retry_After="3")``."""
        self.read_request()
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.raw(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    # Sending.

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        with self._writing:
            self.sock.sendall(data)

    def text(self, payload: bytes | str) -> None:
        """Send a text frame."""
        self.raw(frame(payload.encode() if isinstance(payload, str) else payload))

    def send(self, event: Mapping[str, Any] | str, **fields: Any) -> None:
        """Send an event: a whole one, or its type and fields."""
        message = {"type": event, **fields} if isinstance(event, str) else dict(event)
        self.text(json.dumps(message))

    def close(self, code: int | None = 1000, reason: bytes = b"") -> None:
        """Send a close frame, of any code and length."""
        self.raw(frame(b"" if code is None else struct.pack("!H", code) + reason, CLOSE))

    def cut(self) -> None:
        """End the connection without a close frame."""
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection by a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # Receiving, on the script's thread.

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            chunk = self.sock.recv(65536)
            if not chunk:
                raise ConnectionError("the client hung up")
            self._buffer += chunk
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def receive(self) -> Frame:
        """The client's next frame; records it."""
        first, second = self._take(2)
        assert second & 0x80, "a client must mask its frames"
        assert first & 0x80, "this client has no reason to send a message in pieces"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        mask = int.from_bytes(self._take(4) * (size // 4 + 1), "big")
        padded = self._take(size) + bytes(4 - size % 4)
        payload = (int.from_bytes(padded, "big") ^ mask).to_bytes(len(padded), "big")[:size]
        received = Frame(first & 0x0F, payload)
        with self._arrived:
            self.frames.append(received)
            if received.opcode == TEXT:
                self.events.append(received.message)
            self._arrived.notify_all()
        return received

    def receive_event(self, kind: str) -> dict[str, Any]:
        """The client's next event of a type, on the script's thread; what comes before is recorded only."""
        while True:
            received = self.receive()
            if received.opcode == TEXT and received.message["type"] == kind:
                return dict(received.message)

    def read_on(self) -> None:
        """Read and record until the client closes or hangs up, without answering."""
        with suppress(OSError):
            while self.receive().opcode != CLOSE:
                pass

    def end(self) -> None:
        """Tell waiters that nothing more will be read."""
        with self._arrived:
            self.ended = True
            self._arrived.notify_all()

    # Waiting, on the test's thread.

    def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait until the client has sent so many events of a type; the last of them."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if event["type"] == kind]

        with self._arrived:
            self._arrived.wait_for(lambda: len(found()) >= count or self.ended, PATIENCE_S)
            assert len(found()) >= count, f"the client sent {self.types}, not {count} of {kind}"
            return found()[count - 1]

    def wait_for_frame(self, opcode: int, count: int = 1) -> Frame:
        """Wait until the client has sent so many frames of a kind; the last of them."""

        def found() -> list[Frame]:
            return [each for each in self.frames if each.opcode == opcode]

        with self._arrived:
            self._arrived.wait_for(lambda: len(found()) >= count or self.ended, PATIENCE_S)
            assert len(found()) >= count, f"the client sent no {count} frames of kind {opcode:#x}"
            return found()[count - 1]

    @property
    def types(self) -> list[str]:
        """The types of what the client sent, in order."""
        return [event["type"] for event in self.events]


def silent(link: Link) -> None:
    """A server that accepts TCP connections and never says anything."""
    link.stop.wait(2 * PATIENCE_S)


def greet(link: Link) -> None:
    """Make the handshake and send ``session.created``."""
    link.accept()
    link.send(created())


def greet_only(link: Link) -> None:
    """A server that greets, and then answers nothing but the close frame."""
    greet(link)
    link.read_on()
    link.close()


def polite(link: Link) -> None:
    """A server that greets, confirms settings, finishes, and answers pings and the close frame."""
    greet(link)
    serve(link)


def serve(link: Link) -> None:
    """Answer as :func:`polite` does, after the greeting, until the client closes."""
    session = created()["session"]
    while True:
        received = link.receive()
        if received.opcode == CLOSE:
            link.close()
            return
        if received.opcode == PING:
            link.raw(frame(received.payload, PONG))
        elif received.opcode == TEXT:
            kind = received.message["type"]
            if kind == "session.update":
                session.update(received.message["session"])
                link.send("session.updated", session=session)
            elif kind == "session.finish":
                link.send("session.finished")


class _DuplexEnd:
    """A peer's end that two threads may use at once, as careful as the client's: a bare TLS socket ends under that."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._duplex = DuplexSocket(sock)
        self._deadline_s = deadline_s
        self.shutdown = self._duplex.shutdown

    def recv(self, size: int) -> bytes:
        self._duplex.settimeout(self._deadline_s)
        return self._duplex.recv(size)

    def sendall(self, data: bytes) -> None:
        self._duplex.write(data, time.monotonic() + self._deadline_s)


def read_and_write_at_once(link: Link, deadline_s: float = PATIENCE_S) -> None:
    """Let two threads of a script use its link, each call within a deadline."""
    end = _DuplexEnd(link.sock, deadline_s)
    link.sock = end  # type: ignore[assignment]
    link.cut = end.shutdown  # type: ignore[method-assign]


class Peer:
    """Listens on 127.0.0.1 and runs a script per connection.

    Args:
        script: runs on a thread of its own for each connection; its connection is closed when it returns.
        tls: a server context, for ``wss``.

    Attributes:
        failures: errors of scripts, but those of connections that ended.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://{host}:{self.port}/api-ws/v1/realtime"
        self.failures: list[BaseException] = []
        self._links: list[Link] = []
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._connected = threading.Condition()  # guards _links
        self._accepting = threading.Thread(target=self._accept, name="peer-accept", daemon=True)
        self._accepting.start()

    def link(self, number: int = 1) -> Link:
        """The connection of that number, as soon as it has been made."""
        with self._connected:
            assert self._connected.wait_for(lambda: len(self._links) >= number, PATIENCE_S), "nobody connected"
            return self._links[number - 1]

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stop.is_set():
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE_S * 3)
            thread = threading.Thread(target=self._run, args=(sock,), name="peer-script", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except OSError:  # the client refuses: what some tests want
                sock.close()
                return
        link = Link(sock, self._stop)
        with self._connected:
            self._links.append(link)
            self._connected.notify_all()
        try:
            self._script(link)
        except OSError:
            pass  # the client went: its own affair
        except BaseException as error:  # noqa: BLE001 - the test is told
            self.failures.append(error)
        finally:
            link.end()
            sock.close()

    def close(self) -> None:
        """Cut everything and join the threads."""
        self._stop.set()
        with suppress(OSError):  # wakes accept() on every system
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        self._accepting.join(PATIENCE_S)
        self._listener.close()
        for link in self._links:
            link.cut()
        deadline = time.monotonic() + PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a script of the peer does not end"


class ConnectProxy(Peer):
    """An HTTP proxy that knows CONNECT only.

    Args:
        behaviour: ``"accept"``, ``"refuse"`` (407), ``"hang"``, ``"hang up"`` or ``"reset"``.
    """

    def __init__(self, behaviour: str) -> None:
        self._behaviour = behaviour
        self.requests: list[tuple[str, dict[str, str]]] = []  # target and headers
        super().__init__(self._serve)
        self.url = f"http://127.0.0.1:{self.port}"

    def _serve(self, link: Link) -> None:
        link.read_request()
        self.requests.append((link.path, link.headers))
        if self._behaviour == "refuse":
            link.raw(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif self._behaviour == "hang":
            link.stop.wait(PATIENCE_S)
        elif self._behaviour == "reset":
            link.reset()
        elif self._behaviour == "accept":
            host, _, port = link.path.rpartition(":")
            self._relay(link.sock, socket.create_connection((host, int(port)), timeout=PATIENCE_S))

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_copy, args=(far, near), name="peer-relay", daemon=True)
        self._threads.append(back)
        back.start()
        _copy(near, far)
        back.join(PATIENCE_S)
        far.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
