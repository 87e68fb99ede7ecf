"""Take the player's sound out of what the microphone hears: WebRTC's echo canceller, by the extra ``aec``."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .audio.pcm import Resampler
from .errors import AudioUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .audio.player import AudioPlayer

__all__ = ["EchoCanceller"]

# How much of what was played is remembered; a longer way from the speaker to the microphone is no room's.
REMEMBERED_S = 2.0

# The canceller needs an unbroken stream, so the two clocks are brought together only when they are so far apart.
DRIFT_S = 0.04


class EchoCanceller:
    """Removes the echo of one player from blocks of one microphone.

    What is played is noted on the player's thread with the time at which it is heard; a block of the microphone is
    cleaned against what was heard while it was captured. The canceller itself finds the rest of the delay.

    Args:
        player: whose sound is the echo.
        sample_rate: of the microphone, Hz.

    Raises:
        AudioUnavailable: the library is missing.
    """

    def __init__(self, player: AudioPlayer, sample_rate: int) -> None:
        try:
            from pywebrtc_audio import EchoCanceller as Canceller
        except ImportError as error:
            raise AudioUnavailable(
                "echo='cancel' needs the library pywebrtc-audio", hint="pip install 'qwen-realtime[aec]'"
            ) from error
        self._canceller: Any = Canceller(sample_rate=sample_rate)
        self._rate = sample_rate
        self._resampler = Resampler(player.sample_rate, sample_rate)
        self._lock = threading.Lock()  # guards all below between the player's thread and the microphone's
        self._played = np.zeros(int(REMEMBERED_S * sample_rate), np.int16)  # the latest sound, oldest first
        self._count = 0  # of all samples noted so far; the newest has this number less one
        self._until = time.monotonic()  # when the newest is over
        self._next: int | None = None  # the number of the sample that the next block is cleaned against
        player.monitor = self._on_played

    def _on_played(self, samples: NDArray[np.int16], heard_at: float) -> None:
        """Note what the player gives to its device; on the player's thread.

        Args:
            samples: int16 mono at the player's rate.
            heard_at: when the first of them is heard, on ``time.monotonic()``.
        """
        block = self._resampler.process(samples)
        with self._lock:
            gap = round((heard_at - self._until) * self._rate)
            if gap > DRIFT_S * self._rate:  # the player was silent meanwhile
                self._append(np.zeros(min(gap, len(self._played)), np.int16))
                self._until = heard_at
            self._append(block)
            self._until += len(block) / self._rate

    def _append(self, block: NDArray[np.int16]) -> None:
        self._count += len(block)
        block = block[-len(self._played) :]
        self._played = np.concatenate((self._played[len(block) :], block))

    def process(self, pcm: bytes, captured_at: float | None = None) -> bytes:
        """Clean a block of the microphone.

        Args:
            pcm: int16 mono.
            captured_at: when its last sample was captured, on ``time.monotonic()``; ``None`` for just now.

        Returns:
            As much as was given.
        """
        near = np.frombuffer(pcm, np.int16)
        with self._lock:
            heard = self._until - (time.monotonic() if captured_at is None else captured_at)
            begin = self._count - round(heard * self._rate) - len(near)
            if self._next is None or abs(begin - self._next) > DRIFT_S * self._rate:
                self._next = begin
            far = self._window(self._next, len(near))
            self._next += len(near)
        return bytes(self._canceller.process(near, far).astype("<i2", copy=False).tobytes())

    def _window(self, begin: int, count: int) -> NDArray[np.int16]:
        """``count`` samples of what was played from the one with the number ``begin`` on; silence beyond either end."""
        far = np.zeros(count, np.int16)
        start = begin - (self._count - len(self._played))
        first, last = max(0, start), min(len(self._played), start + count)
        if first < last:
            far[first - start : last - start] = self._played[first:last]
        return far
