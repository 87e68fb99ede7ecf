"""The terminal's own echo: keys pressed while lines are being redrawn would break them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    import termios
except ImportError:  # Windows, where keys are echoed by whoever reads them
    termios = None  # type: ignore[assignment]

__all__ = ["restore", "settings", "unechoed"]

_LOCAL_FLAGS = 3  # where they are in what tcgetattr returns


def settings() -> list[Any] | None:
    """How the terminal behind stdin is set; ``None`` where stdin is none."""
    if termios is None or sys.stdin is None or not sys.stdin.isatty():
        return None
    return termios.tcgetattr(sys.stdin)


def restore(before: list[Any] | None) -> None:
    """Set the terminal as it was."""
    if before is not None:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def unechoed() -> Iterator[None]:
    """Show no keys in the block; Enter, Ctrl-C and Ctrl-D do what they always do."""
    before = settings()
    if before is not None:
        quiet = list(before)
        quiet[_LOCAL_FLAGS] &= ~termios.ECHO
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        restore(before)
