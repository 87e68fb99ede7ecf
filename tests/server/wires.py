"""A plain WebSocket client for the server's tests: ``websocket-client``, with none of this package in between."""

from __future__ import annotations

import base64
import json
import time
from types import TracebackType
from typing import Any, cast

import websocket

from qwen_realtime.server import LocalServer

WAIT_S = 20.0


class Wire:
    """One connection. Usable in ``with``, which closes it.

    Args:
        server: to connect to.
        model: for the URL.
        key: for the header; empty sends none.
        **options: of ``websocket.WebSocket``.
    """

    def __init__(self, server: LocalServer, model: str, key: str = "any", **options: Any) -> None:
        header = [f"Authorization: Bearer {key}"] if key else []
        query = f"?model={model}" if model else ""
        self.socket = cast("Any", websocket.WebSocket(skip_utf8_validation=True, **options))
        self.socket.settimeout(WAIT_S)
        try:
            self.socket.connect(server.url + query, header=header, timeout=WAIT_S)
        except BaseException:
            self.socket.shutdown()
            raise
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close in order."""
        self.socket.close(timeout=2)
        self.socket.shutdown()  # close() alone leaves the socket open where the server closed first

    def send(self, event_type: str, **fields: Any) -> None:
        """Send an event."""
        self.socket.send(json.dumps({"type": event_type, "event_id": "event_client", **fields}))

    def send_audio(self, pcm: bytes, block: int = 3200) -> None:
        """Send sound in blocks."""
        for start in range(0, len(pcm), block):
            self.send("input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + block]).decode())

    def receive(self) -> dict[str, Any]:
        """The next event."""
        event: dict[str, Any] = json.loads(self.socket.recv())
        self.events.append(event)
        return event

    def until(self, *types: str) -> dict[str, Any]:
        """Read on until an event of one of the types has come."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            event = self.receive()
            if event["type"] in types:
                return event
        raise TimeoutError(f"none of {types} came, but {self.types}")

    def receive_close(self) -> tuple[int | None, str]:
        """Read on until the server closes; its code and reason, ``None`` where the connection just ended."""
        while True:
            try:
                opcode, data = self.socket.recv_data()
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                return None, ""
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big"), data[2:].decode()

    @property
    def types(self) -> list[str]:
        """What came so far, runs of one type as one."""
        names = [event["type"] for event in self.events]
        return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]

    @property
    def sound(self) -> bytes:
        """All sound that came."""
        return b"".join(
            base64.b64decode(event["delta"]) for event in self.events if event["type"] == "response.audio.delta"
        )
