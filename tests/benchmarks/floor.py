"""The floor: a client that does nothing but what must be done, by hand.

One thread per session reads with one blocking ``recv``, cuts frames, decodes them with msgspec and calls the handler.
There are no deadlines, no checks, no close handshake, no errors and no queue between wire and handler, so nobody should
use it; it shows what Python and the kernel cost. It declares the few events it needs, so that it loads nothing of ours.
"""

from __future__ import annotations

import os
import socket
import threading
from binascii import b2a_base64
from collections.abc import Callable

import msgspec

__all__ = ["FloorSession"]


class _Event(msgspec.Struct, tag_field="type"):
    event_id: str = ""


class _Created(_Event, tag="session.created"):
    pass


class _Updated(_Event, tag="session.updated"):
    pass


class _Delta(_Event, tag="response.audio.delta"):
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0
    content_index: int = 0
    delta: bytes = b""


_decode = msgspec.json.Decoder(_Created | _Updated | _Delta).decode


class FloorSession:
    """One session, connected and configured; its thread lives as long as the connection.

    Args:
        port: of the server on this machine.
        on_delta: called with the event id and the PCM of each audio delta, on the reading thread.
    """

    def __init__(self, port: int, on_delta: Callable[[str, bytes], None]) -> None:
        self._on_delta = on_delta
        self._updated = threading.Event()
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = b2a_base64(os.urandom(16), newline=False)
        self._sock.sendall(
            b"GET /api-ws/v1/realtime?model=floor HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        threading.Thread(target=self._read, name="floor", daemon=True).start()
        self.send(b'{"event_id":"event_0","type":"session.update","session":{"voice":"Cherry"}}')
        self._updated.wait(10)

    def send(self, payload: bytes) -> None:
        """Send one text message as a masked frame."""
        size, key = len(payload), os.urandom(4)
        words = (size + 3) // 4
        masked = int.from_bytes(payload, "little") ^ int.from_bytes(key * words, "little")
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self._sock.sendall(head + key + masked.to_bytes(words * 4, "little")[:size])

    def append_text(self, text: str) -> None:
        """Send text that needs no escaping."""
        self.send(b'{"event_id":"event_0","type":"input_text_buffer.append","text":"%b"}' % text.encode())

    def append_audio(self, pcm: bytes) -> None:
        """Send input audio."""
        audio = b2a_base64(pcm, newline=False)
        self.send(b'{"event_id":"event_0","type":"input_audio_buffer.append","audio":"%b"}' % audio)

    def close(self) -> None:
        """Cut the connection."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        recv, on_delta = self._sock.recv, self._on_delta
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += recv(4096)
        at = buffer.index(b"\r\n\r\n") + 4
        while True:
            left = len(buffer) - at
            size, head = buffer[at + 1] if left >= 2 else 0, 2
            if size >= 126:
                head = 4 if size == 126 else 10
                size = int.from_bytes(buffer[at + 2 : at + head], "big") if left >= head else 1 << 40
            if left < 2 or left < head + size:
                chunk = recv(65536)
                if not chunk:
                    return
                buffer, at = buffer[at:] + chunk, 0
                continue
            at += head + size
            event = _decode(buffer[at - size : at])
            if type(event) is _Delta:
                on_delta(event.event_id, event.delta)
            elif type(event) is _Updated:
                self._updated.set()
