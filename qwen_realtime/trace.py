"""Record what goes over the wire, as JSON lines, without keys and without audio."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import msgspec

__all__ = ["Trace"]

# Longer texts under these names are base64; their length tells enough. So is the delta of audio.
_BULKY = frozenset({"audio", "image"})
_AUDIO_DELTA = "response.audio.delta"


class Trace:
    """A file of ``{"t": seconds, "dir": "client" | "server", "event": {...}}`` lines. Any thread may record.

    Args:
        path: created or emptied.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lock = threading.Lock()  # guards the file; held for one write
        self._file = open(path, "wb")  # noqa: SIM115 - closed with the session
        self._began = time.monotonic()

    def record(self, direction: str, payload: bytes) -> None:
        """Record one message."""
        try:
            event = _shortened(msgspec.json.decode(payload))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            event = {"type": "", "undecodable_bytes": len(payload)}
        line = msgspec.json.encode({"t": round(time.monotonic() - self._began, 6), "dir": direction, "event": event})
        with self._lock:
            if not self._file.closed:
                self._file.write(line + b"\n")

    def close(self) -> None:
        """Write what is buffered and close the file; idempotent."""
        with self._lock:
            self._file.close()


def _shortened(event: Any) -> Any:
    if isinstance(event, list):
        return [_shortened(each) for each in event]
    if not isinstance(event, dict):
        return event
    bulky = _BULKY | {"delta"} if event.get("type") == _AUDIO_DELTA else _BULKY
    return {
        key: f"<{len(value)} characters of base64>"
        if key in bulky and isinstance(value, str) and len(value) > 200
        else _shortened(value)
        for key, value in event.items()
    }
