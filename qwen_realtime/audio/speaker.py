"""The last leg of playing: volume, sample rate, channels, device. Used by the player's thread only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from qwen_realtime.audio.pcm import Resampler, spread_mono
from qwen_realtime.audio.schedule import faded
from qwen_realtime.audio.wav import WavWriter

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from qwen_realtime.audio.ports import AudioOutput

_log = logging.getLogger(__name__)


class Speaker:
    """Brings mono samples at the player's rate to a device that may want another rate and more channels.

    Args:
        output: the device.
        sample_rate: the player's rate, in Hz.
        block_ms: length of the blocks to come.
        tee: gets what is played (after volume, without silence): a path for a WAV file, closed at the end, or a
            writer that stays its owner's to close.
    """

    def __init__(
        self, output: AudioOutput, sample_rate: int, block_ms: float, tee: str | os.PathLike[str] | WavWriter | None
    ) -> None:
        self._output = output
        self._sample_rate = sample_rate
        self._block_ms = block_ms
        self._own_tee = tee is not None and not isinstance(tee, WavWriter)
        self._tee = WavWriter(tee, sample_rate) if tee is not None and not isinstance(tee, WavWriter) else tee
        self._resampler = Resampler(sample_rate, sample_rate)
        self._channels = 1
        self._silence = np.zeros(0, np.int16)
        self._gain: float | None = None

    @property
    def latency_ms(self) -> float:
        """How long (ms) from now until the sample written last is heard."""
        return self._output.latency_ms

    def open(self) -> None:
        """Open the device, again if need be; blocks on it.

        Raises:
            AudioError: it cannot be opened.
        """
        opened = self._output.open(self._sample_rate, self._block_ms)
        self._resampler = Resampler(self._sample_rate, opened.sample_rate)
        self._channels = opened.channels
        self._silence = np.zeros(max(1, opened.block // 2), np.int16)  # as long as the steps the player takes

    def play(self, samples: NDArray[np.int16], volume: float) -> bool:
        """Write one block, blocking while the device is full; return whether the device had run dry before it.

        Args:
            samples: int16 mono at the player's rate.
            volume: the gain wanted; a change is spread over the block.

        Raises:
            DeviceError: the device is gone; the block may be tried again after ``open``.
        """
        gain = volume if self._gain is None else self._gain
        if gain != 1.0 or volume != 1.0:
            samples = faded(samples, gain, volume)
        ran_dry = self._write(self._resampler.process(samples))
        self._gain = volume
        self._record(samples)
        return ran_dry

    def play_silence(self) -> bool:
        """Write what the resampler still held, and a block of silence; return as ``play`` does.

        Raises:
            DeviceError: the device is gone.
        """
        return self._write(np.concatenate((self._resampler.flush(), self._silence)))

    def rest(self) -> bool:
        """Let the device stop until the next block; return as ``play`` does.

        Raises:
            DeviceError: the device is gone.
        """
        self._output.rest()
        return False

    def close_device(self) -> None:
        """Let the device go; again is allowed."""
        self._output.close()

    def close(self) -> None:
        """Let the device go, and close the recording if it is ours."""
        self.close_device()
        if self._own_tee and self._tee is not None:
            self._tee.close()

    def _write(self, samples: NDArray[np.int16]) -> bool:
        return bool(len(samples) and self._output.write(spread_mono(samples, self._channels)))

    def _record(self, samples: NDArray[np.int16]) -> None:
        if self._tee is None:
            return
        try:
            self._tee.write(samples)
        except OSError:
            _log.exception("cannot record to %s any more; playing goes on", self._tee.path)
            self._tee = None
