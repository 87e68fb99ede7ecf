"""Getting a lost sound device back: headsets are unplugged, sound servers restart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from qwen_realtime.errors import DeviceError

__all__ = ["LostDevice"]

_log = logging.getLogger(__name__)

# before each try, in seconds
REOPEN_DELAYS_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

T = TypeVar("T")


class LostDevice:
    """What is known of a device's losses; for the one thread that uses the device.

    Args:
        name: of the device, for the log.

    Attributes:
        losses: how often it was lost.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._attempts = 0  # since it last worked: one that opens and fails at once must not be tried for ever
        self.losses = 0

    def works(self) -> None:
        """Take note that it does; the next loss is a new one."""
        self._attempts = 0

    def get_back(self, error: DeviceError, reopen: Callable[[], T], closes_within: Callable[[float], bool]) -> T:
        """Open it again; blocks for about six seconds at most.

        Args:
            error: how it was lost.
            reopen: tries; a ``DeviceError`` of it is a refusal.
            closes_within: waits for so many seconds; ``True`` as soon as nobody wants the device any more.

        Returns:
            What ``reopen`` returned.

        Raises:
            DeviceError: the last refusal, or ``error`` where nobody wants it any more.
        """
        _log.warning("%s was lost, trying to get it back: %s", self._name, error)
        self.losses += 1
        while self._attempts < len(REOPEN_DELAYS_S):
            delay = REOPEN_DELAYS_S[self._attempts]
            self._attempts += 1
            if closes_within(delay):
                break
            try:
                found = reopen()
            except DeviceError as refusal:
                error = refusal
            else:
                _log.warning("%s is back", self._name)
                return found
        raise error
