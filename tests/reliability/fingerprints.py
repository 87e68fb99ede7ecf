"""A recogniser that tells exactly what it was given: a committed utterance is "heard" as its length and checksum."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from qwen_realtime.server.behaviours.host import EngineSet
from qwen_realtime.server.engines.types import Final, Flushed, ListenResult

__all__ = ["Fingerprints", "fingerprint"]


def fingerprint(pcm: bytes) -> str:
    """What is heard in a sound: two different ones have two different fingerprints."""
    return f"{len(pcm)} bytes, {zlib.crc32(pcm):08x}"


class Fingerprints:
    """Engines for ASR in manual mode; everything is heard a moment after its commit, as a real recogniser would.

    Args:
        delay_s: of each result.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.listeners: list[_Listener] = []

    @property
    def engines(self) -> EngineSet:
        """For ``LocalServer``, which asks ASR for nothing else."""
        return cast("EngineSet", self)

    def listen(self, *, on_result: Callable[[ListenResult], None], **_: Any) -> _Listener:
        """Open a listener."""
        self.listeners.append(_Listener(on_result, self._delay_s))
        return self.listeners[-1]


class _Listener:
    """One stream; its thread tells results in order, each after a delay, until ``close`` or the end."""

    def __init__(self, on_result: Callable[[ListenResult], None], delay_s: float) -> None:
        self._on_result = on_result
        self._delay_s = delay_s
        self._heard = bytearray()
        self._results: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        threading.Thread(target=self._tell, name="fingerprints", daemon=True).start()

    def _tell(self) -> None:
        while (result := self._results.get()) is not None:
            if self._closed.wait(self._delay_s):
                return
            result()

    def feed(self, pcm: bytes) -> None:
        self._heard += pcm

    def commit(self) -> None:
        heard = Final(fingerprint(bytes(self._heard)), 0, len(self._heard) // 32, "en")
        self._heard.clear()
        self._results.put(partial(self._on_result, heard))

    def clear(self) -> None:
        self._heard.clear()

    def finish(self) -> None:
        self._results.put(partial(self._on_result, Flushed()))
        self._results.put(None)

    def close(self) -> None:
        self._closed.set()
        self._results.put(None)
