"""Ctrl-C: what runs is closed in order, and the program ends within a second even where that hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from . import terminal

__all__ = ["Interrupts"]

PATIENCE_S = 0.8
FLUSH_S = 0.1


class Interrupts:
    """In ``with``, on the main thread: the first Ctrl-C raises ``KeyboardInterrupt`` there, and starts the clock.

    One thread, ``qwen-interrupt``, waits for the first Ctrl-C, which wakes it, and then for the end of the block; when
    that does not come in time, or at a second Ctrl-C, the program ends at once.

    Args:
        status: the exit status then.
    """

    def __init__(self, status: int) -> None:
        self._status = status
        self._pressed = threading.Event()
        self._over = threading.Event()
        self._before: Any = None
        self._terminal = terminal.settings()
        self._thread = threading.Thread(target=self._watch, name="qwen-interrupt", daemon=True)

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._pressed.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._pressed.is_set():
            self._exit()
        self._pressed.set()
        raise KeyboardInterrupt

    def _watch(self) -> None:
        self._pressed.wait()
        if not self._over.wait(PATIENCE_S):
            self._exit()

    def _exit(self) -> None:
        """End without farewells: whatever would say them hangs. What was written is flushed where that works."""
        # whoever is stuck in a write holds the stream's lock: a thread of its own waits for it, and not for long
        flushing = threading.Thread(target=_flush, name="qwen-flush", daemon=True)
        flushing.start()
        flushing.join(FLUSH_S)
        terminal.restore(self._terminal)  # a display that was cut short may have hidden keys and cursor
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")
        os._exit(self._status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
