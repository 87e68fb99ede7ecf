"""The buffer between whoever brings PCM and whoever plays it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from qwen_realtime.audio.bytes import OddByteCarry, pcm_bytes
from qwen_realtime.errors import AudioError, ConfigError
from qwen_realtime.locks import Condition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_realtime.audio.bytes import Audio


class RingBuffer:
    """A first-in, first-out buffer of int16 mono samples; any thread may write, read or clear.

    The samples live in one array that doubles when it is full, up to ``limit_s``. ``write`` never waits. A chunk that
    would pass the limit is refused whole with an ``AudioError``: dropping speech in silence would garble it, and a
    buffer that full (an hour, by default) says that nobody is reading. The array never shrinks.

    Args:
        sample_rate: in Hz; only relates samples to seconds.
        initial_s: seconds of room to begin with.
        limit_s: seconds that may wait at most; 3600 s at 24 kHz are 173 MB.

    Raises:
        ConfigError: a size that cannot be.
    """

    def __init__(self, sample_rate: int = 24000, *, initial_s: float = 2.0, limit_s: float = 3600.0) -> None:
        if sample_rate < 1 or not 0 < initial_s <= limit_s:
            raise ConfigError(
                f"a buffer of {initial_s} to {limit_s} s at {sample_rate} Hz cannot be",
                hint="give 0 < initial_s <= limit_s",
            )
        self.sample_rate = sample_rate
        self.limit = max(1, int(limit_s * sample_rate))
        # Guards everything below. Held for copying only; `write` and `close` wake waiting readers.
        self._changed = Condition()
        self._array = np.empty(max(1, int(initial_s * sample_rate)), np.int16)
        self._first = 0  # index of the oldest sample
        self._count = 0
        self._carry = OddByteCarry()
        self._closed = False

    def __len__(self) -> int:
        return self._count

    @property
    def buffered_ms(self) -> float:
        """How much waits to be read, in ms."""
        return self._count * 1000.0 / self.sample_rate

    @property
    def capacity(self) -> int:
        """Samples that fit before the array has to double."""
        return len(self._array)

    def write(self, pcm: Audio) -> int:
        """Append PCM and return how many whole samples it completed; never waits.

        Args:
            pcm: int16 mono, bytes of any length (an odd byte is kept for the next write) or an array.

        Raises:
            AudioError: the limit would be passed; nothing of ``pcm`` was taken.
            ConfigError: ``pcm`` is no PCM.
        """
        data = pcm_bytes(pcm)
        with self._changed:
            if self._closed:
                return 0
            count = (self._carry.pending + len(data)) // 2
            if self._count + count > self.limit:
                waiting_s, limit_s = self._count / self.sample_rate, self.limit / self.sample_rate
                raise AudioError(
                    f"{waiting_s:.0f} s of sound wait, and {limit_s:.0f} s is the limit",
                    hint="is anybody reading? else give limit_s",
                )
            samples = np.frombuffer(self._carry.feed(data), "<i2")
            self._make_room(count)
            start = (self._first + self._count) % len(self._array)
            until_end = len(self._array) - start
            self._array[start : start + count] = samples[:until_end]
            self._array[: max(0, count - until_end)] = samples[until_end:]
            self._count += count
            self._changed.notify_all()
            return count

    def read(self, frames: int, timeout: float | None = 0.0) -> NDArray[np.int16]:
        """Remove and return the oldest ``frames`` samples, or fewer if so many are not there in time.

        Args:
            frames: samples wanted.
            timeout: seconds to wait for all of them; 0 takes what is there, ``None`` waits until ``close``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._count < frames and not self._closed:
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    break
                self._changed.wait(remaining)
            frames = max(0, min(frames, self._count))
            samples = self._oldest(frames)
            self._first = (self._first + frames) % len(self._array)
            self._count -= frames
            return samples

    def clear(self) -> int:
        """Discard all samples and a carried byte; return how many samples. Takes the same time for any amount."""
        with self._changed:
            discarded = self._count
            self._first = self._count = 0
            self._carry.reset()
            return discarded

    def align(self) -> None:
        """Forget a carried odd byte: what comes next begins with a whole sample."""
        with self._changed:
            self._carry.reset()

    def close(self) -> None:
        """Let nothing more in: writes do nothing, and readers get what is left without waiting. Again is allowed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _oldest(self, frames: int) -> NDArray[np.int16]:
        until_end = len(self._array) - self._first
        if frames <= until_end:
            straight: NDArray[np.int16] = self._array[self._first : self._first + frames].copy()
            return straight
        wrapped: NDArray[np.int16] = np.concatenate((self._array[self._first :], self._array[: frames - until_end]))
        return wrapped

    def _make_room(self, count: int) -> None:
        needed = self._count + count
        capacity = len(self._array)
        if needed <= capacity:
            return
        while capacity < needed:
            capacity *= 2
        array = np.empty(min(capacity, self.limit), np.int16)
        array[: self._count] = self._oldest(self._count)
        self._array = array
        self._first = 0
