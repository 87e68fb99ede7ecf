"""A listener seen from the server: feeds its worker, passes results on, and survives the worker's crash."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from .messages import Answer, Clear, Commit, Feed, Finish, Heard, Listen
from .process import Subscriber, WorkerProcess
from .types import Failed, Flushed, ListenResult

_Order = TypeVar("_Order", Commit, Clear, Finish)


class Listener:
    """One stream of sound being listened to; made by ``Engines.listen``.

    All methods may be called from any thread; they block only while the worker is 32 MB of sound behind. Results come
    on the thread ``qwen-engine-...``. When the worker crashes, ``Failed("engine_failed")`` is reported and listening
    goes on in a new one, with the clock where it was; the sound since the last result is lost. Once the engines are
    closed, or where no process can be started, the methods raise ``RealtimeError``.
    """

    def __init__(self, worker: WorkerProcess, opening: Listen, on_result: Callable[[ListenResult], None]) -> None:
        self._worker = worker
        self._opening = opening
        self._on_result = on_result
        # Keeps what is sent in order, with the fields below; held while writing to the worker.
        self._sending = threading.RLock()
        self._odd = b""
        self._fed_bytes = 0
        self._open = False
        self._finishing = False
        self._closed = False
        worker.subscribe(opening.job, Subscriber(self._take, self._lose))

    def feed(self, pcm: bytes) -> None:
        """Take sound, s16le mono; half a sample at the end is kept for the next call. Ignored after ``finish()``."""
        with self._sending:
            if self._closed or self._finishing:
                return
            pcm = self._odd + pcm
            whole = len(pcm) - len(pcm) % 2
            self._odd = pcm[whole:]
            self._ensure_open()
            self._fed_bytes += whole
            self._worker.send(Feed(self._opening.job, pcm[:whole]))

    def commit(self) -> None:
        """End the utterance (manual mode); its ``Final`` comes even if nothing was said."""
        self._order(Commit)

    def clear(self) -> None:
        """Forget the sound that no final result covers; the clock goes on. Results already on their way still come."""
        with self._sending:
            self._odd = b""
            self._order(Clear)

    def finish(self) -> None:
        """Nothing more will be fed: an open utterance is ended, and ``Flushed`` is the last result."""
        with self._sending:
            if not self._finishing:
                self._order(Finish)
                self._finishing = True

    def close(self) -> None:
        """Drop everything; no result comes after this, but for one that is being passed on right now. Idempotent."""
        with self._sending:
            self._closed = True
        self._worker.stop(self._opening.job)

    def _order(self, order: type[_Order]) -> None:
        with self._sending:
            if self._closed or self._finishing:
                return
            self._ensure_open()
            self._worker.send(order(self._opening.job))

    def _ensure_open(self) -> None:
        if not self._open:
            clock_ms = self._fed_bytes // 2 * 1000 // self._opening.sample_rate
            self._open = True
            self._worker.send(msgspec.structs.replace(self._opening, clock_ms=clock_ms))

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Heard):
            self._on_result(answer.result)

    def _lose(self, why: str) -> None:
        with self._sending:
            lost, self._open = self._open and not self._closed, False
            finishing = self._finishing
        if lost:
            self._on_result(Failed("engine_failed", why))
            if finishing:
                self._on_result(Flushed())
