"""Brings what a microphone hears, block by block."""

from __future__ import annotations

import logging
import threading
from collections import deque
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_realtime.audio.devices import PyAudioInput, load_pyaudio
from qwen_realtime.audio.lost import LostDevice
from qwen_realtime.audio.pcm import Resampler, mix_to_mono
from qwen_realtime.audio.standins import as_input
from qwen_realtime.errors import AudioError, ConfigError, DeviceError
from qwen_realtime.locks import Condition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from qwen_realtime.audio.standins import InputLike

_log = logging.getLogger(__name__)

_OPEN_TIMEOUT_S = 10.0
_JOIN_TIMEOUT_S = 5.0


class Microphone:
    """Captures sound as blocks of PCM; iterate over it, in any one thread.

    One thread, ``qwen-microphone``, blocks on the device and keeps up to ``queue_s`` of sound for whoever iterates;
    when nobody takes it in time, the oldest blocks are dropped and counted. A device that does not have
    ``sample_rate`` is used at its own and resampled; several channels are mixed down.

    A lost device is opened again, with up to six attempts in 6.3 s. After that iterating raises its error.

    Iterating opens the device, and ends with ``close`` or with the source; ``with`` opens it and closes.

    Args:
        sample_rate: of the blocks, in Hz.
        device: index of an input device or part of its name; ``None`` is the system's default.
        block_ms: length of the blocks; only the last one may be shorter.
        source: is heard instead of a device: see ``AudioInput``, and ``ArrayInput`` and ``WavInput`` beside it; or, at
            a device's pace, WAV (path, bytes or open file), an array, or an iterable of blocks.
        queue_s: how much may wait to be taken, in seconds.

    Raises:
        ConfigError: a setting that cannot be.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        *,
        device: int | str | None = None,
        block_ms: float = 100,
        source: InputLike | None = None,
        queue_s: float = 10.0,
    ) -> None:
        if not (1000 <= sample_rate <= 768_000 and 5 <= block_ms <= 10_000 and queue_s > 0):
            raise ConfigError(
                f"sample_rate={sample_rate}, block_ms={block_ms}, queue_s={queue_s} cannot be",
                hint="give 1000 to 768000 Hz, blocks of 5 to 10000 ms, a queue of more than 0 s",
            )
        self.sample_rate = sample_rate
        self.block_ms = block_ms
        self._needs_pyaudio = source is None
        self._input = PyAudioInput(device) if source is None else as_input(source, sample_rate)  # its thread's only
        self._block = max(1, round(sample_rate * block_ms / 1000))

        # Guards everything below; held for a moment only. Each block, the end and `close` notify it.
        self._changed = Condition()
        self._queue: deque[bytes] = deque()
        self._queue_limit = max(1, round(queue_s * 1000 / block_ms))
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._opened = False
        self._closing = False
        self._ended = False
        self._error: AudioError | None = None
        self._lost = LostDevice("the microphone")  # its thread's only
        self._muted = False
        self._level = 0.0

    @property
    def overflows(self) -> int:
        """How often sound was lost: blocks that nobody took in time, and losses that the device reported."""
        return self._dropped + self._input.overflows

    @property
    def device_losses(self) -> int:
        """How often the device was lost."""
        return self._lost.losses

    @property
    def error(self) -> AudioError | None:
        """Why this microphone hears no more, or ``None``."""
        return self._error

    @property
    def level(self) -> float:
        """How loud the last block was, 0 to 1 (root mean square of full scale); measured while muted, too."""
        return self._level

    @property
    def muted(self) -> bool:
        """Whether silence comes instead of what is heard."""
        return self._muted

    def mute(self) -> None:
        """Bring silence from the next block on, at the same pace: the session at the other end stays alive."""
        self._muted = True

    def unmute(self) -> None:
        """Bring what is heard again."""
        self._muted = False

    def start(self) -> None:
        """Open the device now; blocks until it is open, at most 10 s. Again is allowed.

        Raises:
            AudioUnavailable: PyAudio is not installed.
            DeviceError: the device cannot be opened.
        """
        if self._thread is None and self._needs_pyaudio:
            load_pyaudio()  # its absence is the caller's to hear, not the thread's
        with self._changed:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="qwen-microphone", daemon=True)
                self._thread.start()
            decided = self._changed.wait_for(lambda: self._opened or self._error or self._closing, _OPEN_TIMEOUT_S)
            if self._error and not self._opened:
                raise self._error
        if not decided:
            raise DeviceError(f"the microphone did not open within {_OPEN_TIMEOUT_S:.0f} s", hint="is it in use?")

    def read(self, timeout: float | None = None) -> bytes | None:
        """Return the oldest block that waits, as bytes of int16 mono, opening the device if need be.

        Args:
            timeout: seconds to wait for a block at most.

        Returns:
            The block; ``b""`` if none came in time; ``None`` when the source has ended, or after ``close``.

        Raises:
            AudioUnavailable: PyAudio is not installed.
            DeviceError: the device cannot be opened, or is gone for good.
        """
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended or self._closing, timeout)
            if self._closing:
                return None
            if self._queue:
                return self._queue.popleft()
            if self._error:
                raise self._error
            return None if self._ended else b""

    def __iter__(self) -> Iterator[bytes]:
        """Yield blocks of PCM, int16 mono, until ``close`` or the end of the source; see ``read`` for the errors."""
        while (block := self.read()) is not None:
            yield block

    def close(self) -> None:
        """Stop listening and let the device go; blocks for half a second or a block. Again is allowed."""
        with self._changed:
            self._closing = True
            self._queue.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            return
        thread.join(_JOIN_TIMEOUT_S)
        if thread.is_alive():
            _log.warning("the microphone hangs; the thread that waits for it is left behind")

    def attach(self, client: Any, **options: Any) -> Any:
        """Stream what is heard into ``client.append_audio``.

        See ``qwen_realtime.voice.attach_microphone`` for the options and the result.
        """
        return import_module("qwen_realtime.voice").attach_microphone(self, client, **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        """Cut what the device brings into blocks until ``close`` or its end.

        Blocks on the device's ``read`` only, which returns within half a second even if there is nothing to hear; that
        is how long ``close`` waits for this thread.
        """
        try:
            self._listen()
        except AudioError as error:
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - a source of the user's own may raise anything
            self._give_up(DeviceError(f"the sound source failed: {error!r}"), cause=error)
        finally:
            self._input.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _listen(self) -> None:
        resampler, channels = self._open()
        held = np.empty(0, np.int16)
        while not self._closing:
            try:
                heard = self._input.read()
            except DeviceError as error:
                resampler, channels = self._lost.get_back(error, self._reopen, self._closes_within)
                continue
            if heard is None:
                new = resampler.flush()
            else:
                if len(heard):
                    self._lost.works()
                new = resampler.process(mix_to_mono(heard, channels))
            held = np.concatenate((held, new))
            while len(held) >= self._block:
                self._put(held[: self._block])
                held = held[self._block :]
            if heard is None:
                self._put(held)
                return

    def _open(self) -> tuple[Resampler, int]:
        opened = self._input.open(self.sample_rate, self.block_ms)
        with self._changed:
            self._opened = True
            self._changed.notify_all()
        return Resampler(opened.sample_rate, self.sample_rate), opened.channels

    def _put(self, samples: NDArray[np.int16]) -> None:
        if not len(samples):
            return
        level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) / 32768.0
        pcm = bytes(2 * len(samples)) if self._muted else samples.astype("<i2", copy=False).tobytes()
        with self._changed:
            self._level = level
            if len(self._queue) >= self._queue_limit:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(pcm)
            self._changed.notify_all()

    def _reopen(self) -> tuple[Resampler, int]:
        self._input.close()
        return self._open()

    def _closes_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)

    def _give_up(self, error: AudioError, cause: Exception | None = None) -> None:
        if not self._closing:
            _log.error("no microphone any more: %s", error, exc_info=cause)
        with self._changed:
            self._error = error
            self._changed.notify_all()
