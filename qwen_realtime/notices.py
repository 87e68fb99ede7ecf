"""Warnings to the programmer, shown at the programmer's own line."""

from __future__ import annotations

import sys
import warnings

__all__ = ["RealtimeWarning", "warn"]


class RealtimeWarning(UserWarning):
    """Something that will probably not do what was meant: a retired model, a setting without effect."""


def warn(message: str) -> None:
    """Warn at the nearest caller outside this package."""
    level, frame = 1, sys._getframe(0)
    package = __name__.partition(".")[0]
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RealtimeWarning, stacklevel=level)
