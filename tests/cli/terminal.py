"""A terminal for the program to run in: what it shows is collected, keys are pressed."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading

__all__ = ["Terminal"]

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """The program in a terminal of its own; in ``with``, it is ended at the end.

    Args:
        arguments: of the program.
        columns: of the terminal.
    """

    def __init__(self, *arguments: object, columns: int = 80) -> None:
        self._parent, child = os.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._changed = threading.Condition(threading.RLock())  # guards what was shown; each piece notifies it
        self._shown = bytearray()
        self._ended = False
        command = [sys.executable, "-m", "qwen_realtime", *map(str, arguments)]
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
        self.process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
        os.close(child)
        self._thread = threading.Thread(target=self._collect, name="test-terminal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._thread.join(10)
        os.close(self._parent)

    @property
    def raw(self) -> str:
        """Everything that was shown, with the codes that move the cursor and colour it."""
        with self._changed:
            return self._shown.decode(errors="replace")

    @property
    def text(self) -> str:
        """Everything that was shown, also what is gone, without those codes."""
        return _CONTROL.sub("", self.raw)

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        """Wait until a text has been shown."""
        with self._changed:
            there = self._changed.wait_for(lambda: self._ended or text in self.text, seconds)
        assert there, f"no {text!r} in {self.text!r}"
        assert text in self.text, f"it ended without {text!r}: {self.text!r}"

    def press(self, keys: str) -> None:
        """Press keys, as the characters that they send."""
        os.write(self._parent, keys.encode())

    def end(self, seconds: float = 20.0) -> int:
        """Wait until the program has ended; its status."""
        status = self.process.wait(seconds)
        self._thread.join(10)
        return status

    def _collect(self) -> None:
        while piece := self._read():
            with self._changed:
                self._shown += piece
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read(self) -> bytes:
        try:
            return os.read(self._parent, 65536)
        except OSError:  # the other end is closed: so ends a terminal
            return b""
