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
        self._lock = threading.Lock()  # guards the two below between the player's thread and the microphone's
        self._played = np.zeros(int(REMEMBERED_S * sample_rate), np.int16)  # the latest sound, oldest first
        self._until = time.monotonic()  # when its last sample is heard
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
            if gap > self._rate // 50:  # the player was silent for more than 20 ms
                self._append(np.zeros(min(gap, len(self._played)), np.int16))
                self._until = heard_at
            self._append(block)
            self._until += len(block) / self._rate

    def _append(self, block: NDArray[np.int16]) -> None:
        block = block[-len(self._played) :]
        self._played = np.concatenate((self._played[len(block) :], block))

    def process(self, pcm: bytes) -> bytes:
        """Clean a block that was captured just now: int16 mono; the same length comes back."""
        near = np.frombuffer(pcm, np.int16)
        with self._lock:
            # samples from the newest one noted back to the last one heard at this moment
            ahead = round((self._until - time.monotonic()) * self._rate)
            far = self._window(len(near), ahead)
        return bytes(self._canceller.process(near, far).astype("<i2", copy=False).tobytes())

    def _window(self, count: int, ahead: int) -> NDArray[np.int16]:
        """``count`` samples of what was played, ending ``ahead`` samples before the newest; silence beyond."""
        far = np.zeros(count, np.int16)
        end = len(self._played) - ahead
        start = end - count
        first, last = max(0, start), min(len(self._played), end)
        if first < last:
            far[first - start : last - start] = self._played[first:last]
        return far
