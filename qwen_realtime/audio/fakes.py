"""Stand-ins for sound devices, for tests and for programs without a sound card."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from qwen_realtime.audio.ports import DeviceFormat
from qwen_realtime.audio.wav import WavWriter, read_wav
from qwen_realtime.errors import DeviceError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray


class Pace:
    """Makes a caller wait as long as the samples it handed over last, ``speed`` times faster, or not at all."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._due = 0.0

    def follow(self, seconds: float) -> None:
        """Wait until sound of that length, handed over now, would have passed."""
        if self._speed is None:
            return
        now = time.monotonic()
        self._due = max(self._due, now) + seconds / self._speed
        if self._due > now:
            time.sleep(self._due - now)


class MemoryOutput:
    """Keeps what is played, silence included, in ``samples``.

    ``write`` returns at once, or with ``speed`` takes as long as the sound lasts, that many times faster. ``grip``
    holds writers until ``grant`` lets blocks through one by one, and ``unplug`` loses the device. Any thread may use
    it.

    Args:
        sample_rate: the only rate this device has, in Hz; ``None`` takes the one asked for.
        channels: how many channels the device wants.
        speed: 1 for a device's real pace, 20 for twenty times that, ``None`` for none.
        latency_ms: reported from each write to the ear.
        keep: keep the sound; without, it is only counted, in ``frames``.
    """

    def __init__(
        self,
        sample_rate: int | None = None,
        *,
        channels: int = 1,
        speed: float | None = None,
        latency_ms: float = 0.0,
        keep: bool = True,
    ) -> None:
        self.latency_ms = latency_ms
        self.frames = 0
        self.opens = 0
        self.rests = 0
        self.closed = True
        self._wanted_rate = sample_rate
        self._channels = channels
        self._keep = keep
        self._pace = Pace(speed)
        self._rate = sample_rate or 24000
        # Guards everything below and the counts above; `grant`, `let_go`, `unplug` and each write notify it.
        self._changed = threading.Condition()
        self._blocks: list[NDArray[np.int16]] = []
        self._granted: int | None = None  # blocks that may pass; None: all
        self._at_gate = False
        self._refusals = 0
        self._lost = False

    @property
    def samples(self) -> NDArray[np.int16]:
        """All samples so far, channels interleaved."""
        with self._changed:
            return np.concatenate(self._blocks) if self._blocks else np.empty(0, np.int16)

    @property
    def sample_rate(self) -> int:
        """The rate (Hz) it was opened with."""
        return self._rate

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
        """Get ready.

        Raises:
            DeviceError: it is unplugged.
        """
        with self._changed:
            if self._refusals:
                self._refusals -= 1
                raise DeviceError("the device is unplugged")
            self._lost = False
            self.opens += 1
            self.closed = False
            self._rate = self._wanted_rate or sample_rate
            return DeviceFormat(self._rate, self._channels, max(1, round(self._rate * block_ms / 1000)))

    def write(self, block: NDArray[np.int16]) -> bool:
        """Take a block; blocks as long as the sound lasts at ``speed``, and while gripped.

        Raises:
            DeviceError: it was unplugged.
        """
        with self._changed:
            self._at_gate = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._granted != 0 or self._lost)
            self._at_gate = False
            if self._lost:
                raise DeviceError("the device is unplugged")
            if self._granted is not None:
                self._granted -= 1
            self.frames += len(block) // self._channels
            if self._keep:
                self._blocks.append(block.copy())
            self._changed.notify_all()
        self._pace.follow(len(block) / self._channels / self._rate)
        return False

    def rest(self) -> None:
        """Count a rest."""
        self.rests += 1

    def close(self) -> None:
        """Let go; the samples stay."""
        self.closed = True

    def grip(self) -> None:
        """Hold every write from now on."""
        with self._changed:
            self._granted = 0

    def grant(self, blocks: int, timeout: float = 5.0) -> bool:
        """Let so many blocks through, and wait until they passed and the next is held; return whether that came."""
        with self._changed:
            self._granted = (self._granted or 0) + blocks
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._granted == 0 and self._at_gate, timeout)

    def let_go(self) -> None:
        """Let all writes through again."""
        with self._changed:
            self._granted = None
            self._changed.notify_all()

    def wait_for_frames(self, frames: int, timeout: float = 5.0) -> bool:
        """Wait until so many frames, silence included, were written; return whether they were in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.frames >= frames, timeout)

    def unplug(self, refusals: int = 0) -> None:
        """Lose the device: writes fail until it is opened again, which it refuses so many times."""
        with self._changed:
            self._lost = True
            self._refusals = refusals
            self._changed.notify_all()


class FileOutput:
    """Writes what is played, silence included, to a WAV file, as fast as it comes.

    Args:
        path: the file, replaced if it exists.
        sample_rate: its rate, in Hz; ``None`` takes the player's.
    """

    latency_ms = 0.0

    def __init__(self, path: str | os.PathLike[str], sample_rate: int | None = None) -> None:
        self._path = path
        self._rate = sample_rate
        self._writer: WavWriter | None = None

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
        """Make the file.

        Raises:
            DeviceError: it cannot be made.
        """
        rate = self._rate or sample_rate
        if self._writer is None:
            try:
                self._writer = WavWriter(self._path, rate)
            except OSError as error:
                raise DeviceError(f"cannot write {self._path}: {error.strerror}") from error
        return DeviceFormat(rate, 1, max(1, round(rate * block_ms / 1000)))

    def write(self, block: NDArray[np.int16]) -> bool:
        """Append a block; blocks on the disk only.

        Raises:
            DeviceError: the disk is full.
        """
        if self._writer is not None:
            try:
                self._writer.write(block)
            except OSError as error:
                raise DeviceError(f"cannot write {self._path}: {error.strerror}") from error
        return False

    def rest(self) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Close the file; again is allowed."""
        if self._writer is not None:
            self._writer.close()


class ArrayInput:
    """Says what is in an array, then ends.

    Args:
        samples: int16, of shape (frames,) or (frames, channels).
        sample_rate: the only rate this device has, in Hz.
        speed: 1 for a device's real pace, ``None`` for as fast as it is read.
    """

    def __init__(self, samples: NDArray[np.int16], sample_rate: int, *, speed: float | None = 1.0) -> None:
        self.overflows = 0
        self._samples = samples
        self._rate = sample_rate
        self._pace = Pace(speed)
        self._block = 0
        self._at = 0
        self._changed = threading.Condition()  # guards `_lost` and `_refusals`; the reader waits for nothing here
        self._lost = False
        self._refusals = 0

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:  # noqa: ARG002 - it has one rate only
        """Get ready; opened again, it goes on where it was.

        Raises:
            DeviceError: it is unplugged.
        """
        with self._changed:
            if self._refusals:
                self._refusals -= 1
                raise DeviceError("the device is unplugged")
            self._lost = False
        self._block = max(1, round(self._rate * block_ms / 1000))
        return DeviceFormat(self._rate, 1 if self._samples.ndim == 1 else self._samples.shape[1], self._block)

    def read(self) -> NDArray[np.int16] | None:
        """Return the next block, interleaved, at its pace; ``None`` at the end.

        Raises:
            DeviceError: it was unplugged.
        """
        with self._changed:
            if self._lost:
                raise DeviceError("the device is unplugged")
        block = self._samples[self._at : self._at + self._block]
        if not len(block):
            return None
        self._at += len(block)
        self._pace.follow(len(block) / self._rate)
        return block.reshape(-1)

    def close(self) -> None:
        """Let go."""

    def unplug(self, refusals: int = 0) -> None:
        """Lose the device: reads fail until it is opened again, which it refuses so many times."""
        with self._changed:
            self._lost = True
            self._refusals = refusals


class WavInput(ArrayInput):
    """Says what is in a WAV file, then ends.

    Args:
        source: path, bytes or open file.
        speed: 1 for a device's real pace, ``None`` for as fast as it is read.

    Raises:
        ConfigError: it is no PCM in a WAV file.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes | BinaryIO, *, speed: float | None = 1.0) -> None:
        wav = read_wav(source, mono=False)
        super().__init__(wav.samples, wav.sample_rate, speed=speed)
