"""Plays PCM as it arrives, and knows to the sample what was heard."""

from __future__ import annotations

import logging
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen_realtime.audio.bytes import pcm_bytes
from qwen_realtime.audio.devices import PyAudioOutput, load_pyaudio
from qwen_realtime.audio.lost import LostDevice
from qwen_realtime.audio.schedule import REST, Block, Playout, Schedule
from qwen_realtime.audio.speaker import Speaker
from qwen_realtime.audio.standins import as_output
from qwen_realtime.errors import AudioError, ConfigError, DeviceError
from qwen_realtime.locks import Condition

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from qwen_realtime.audio.bytes import Audio
    from qwen_realtime.audio.standins import OutputLike
    from qwen_realtime.audio.tracks import Tag
    from qwen_realtime.audio.wav import WavWriter

_log = logging.getLogger(__name__)

_OPEN_TIMEOUT_S = 10.0
_DEVICE_TIMEOUT_S = 10.0  # a device that takes nothing for so long hangs
_JOIN_TIMEOUT_S = 5.0


class AudioPlayer:
    """Plays PCM on a sound card, or on anything that takes samples.

    One thread, ``qwen-player``, takes sound from a buffer and blocks on the device; every public method but ``start``,
    ``drain`` and ``close`` returns at once, whatever the device does, and may be called from any thread.

    Playing starts when ``prebuffer_ms`` wait, or less but nothing came for that time. When the buffer runs dry within
    a tag (an underrun), playing goes on when 400 ms wait, twice that after each further underrun, up to 1.6 s; each tag
    that plays through halves it again.

    A lost device is opened again, with up to six attempts in 6.3 s, and no sample is skipped. After that ``error`` is
    set, and ``write`` and ``drain`` raise it.

    In ``with``, a clean end plays everything (``drain``) and closes; after an exception, what waits is discarded.

    Args:
        sample_rate: of the PCM to come, in Hz. The device may have another.
        device: index of an output device or part of its name; ``None`` is the system's default. It is opened at the
            first ``write``, or by ``start`` or ``with``.
        block_ms: how much is given to the device at a time.
        prebuffer_ms: how much must wait before playing starts.
        output: plays instead of a device: see ``AudioOutput``, and ``MemoryOutput`` and ``FileOutput`` beside it; or
            the path of a WAV file, or what takes bytes: a function, or an object with ``write``.
        tee: a path for a WAV file, or a ``WavWriter``: gets what is played, without the silence between.
        limit_s: how much may wait, in seconds.

    Attributes:
        monitor: called on the player's thread with each block that has gone to the device, int16 mono before
            ``volume``, and the time on ``time.monotonic()`` at which its first sample is heard; it must return at once.

    Raises:
        ConfigError: a setting that cannot be.
        OSError: ``tee`` cannot be written.
    """

    def __init__(
        self,
        sample_rate: int = 24000,
        *,
        device: int | str | None = None,
        block_ms: float = 20,
        prebuffer_ms: float = 60,
        output: OutputLike | None = None,
        tee: str | os.PathLike[str] | WavWriter | None = None,
        limit_s: float = 3600.0,
    ) -> None:
        if not (1000 <= sample_rate <= 768_000 and 1 <= block_ms <= 1000 and prebuffer_ms >= 0):
            raise ConfigError(
                f"sample_rate={sample_rate}, block_ms={block_ms}, prebuffer_ms={prebuffer_ms} cannot be",
                hint="give 1000 to 768000 Hz, blocks of 1 to 1000 ms, a prebuffer of 0 ms or more",
            )
        self.sample_rate = sample_rate
        self._needs_pyaudio = output is None
        device_or_other = PyAudioOutput(device) if output is None else as_output(output)
        self._speaker = Speaker(device_or_other, sample_rate, block_ms, tee)  # its thread's only

        # Guards everything below. Held for bookkeeping and copying only, never while a device is at work. Whoever
        # changes something that the thread, `start` or `drain` waits for notifies it.
        self._changed = Condition()
        # half a block at a time: an interruption is then silent within a block, its fade included
        self._schedule = Schedule(sample_rate, block_ms / 2000, prebuffer_ms / 1000, limit_s)
        self._thread: threading.Thread | None = None
        self._opened = False
        self._closing = False
        self._error: AudioError | None = None
        self._lost = LostDevice("the sound device")  # its thread's only
        self._progress_at = 0.0  # when the device last took a block or was given one
        self._volume = 1.0
        self.monitor: Callable[[NDArray[np.int16], float], None] | None = None

    @property
    def underruns(self) -> int:
        """How often sound was missing in the midst of a tag, because it came or was handed on too late."""
        return self._schedule.underruns

    @property
    def buffered_ms(self) -> float:
        """How much (ms) waits, the block included that the device is taking."""
        with self._changed:
            return self._schedule.waiting * 1000.0 / self.sample_rate

    @property
    def played_ms(self) -> float:
        """How much sound (ms) the device has taken, silence not counted; exact to the sample."""
        return self._schedule.played * 1000.0 / self.sample_rate

    @property
    def playing(self) -> bool:
        """Whether sound flows: not before the prebuffer is full, not while dry or paused."""
        return self._schedule.playing

    @property
    def error(self) -> AudioError | None:
        """Why this player plays no more, or ``None``."""
        return self._error

    @property
    def device_losses(self) -> int:
        """How often the device was lost."""
        return self._lost.losses

    @property
    def volume(self) -> float:
        """The gain, 1 for unchanged sound; a change takes effect over the next block, without a click."""
        return self._volume

    @volume.setter
    def volume(self, volume: float) -> None:
        if not 0 <= volume <= 100:
            raise ConfigError(f"a volume of {volume} cannot be", hint="0 is silence, 1 leaves the sound as it is")
        self._volume = float(volume)

    def first_heard(self, tag: Tag = None) -> float | None:
        """Return when the first sample of ``tag`` was or will be heard, in ``time.monotonic`` seconds.

        ``None`` if the device has not taken it yet, or more than 256 tags were used since.
        """
        with self._changed:
            track = self._schedule.tracks.known(tag)
            return track.first_heard if track else None

    def start(self) -> None:
        """Open the device now; blocks until it is open, at most 10 s. Again is allowed.

        Raises:
            AudioUnavailable: PyAudio is not installed.
            DeviceError: the device cannot be opened.
        """
        self._begin()
        with self._changed:
            decided = self._changed.wait_for(lambda: self._opened or self._error or self._closing, _OPEN_TIMEOUT_S)
            if self._error:
                raise self._error
        if not decided:
            raise DeviceError(f"the sound device did not open within {_OPEN_TIMEOUT_S:.0f} s", hint="is it in use?")

    def write(self, pcm: Audio, tag: Tag = None) -> bool:
        """Add PCM behind what waits; never waits for the device.

        Args:
            pcm: int16 mono at ``sample_rate``; bytes of any length (half samples are completed by the next write of
                the same tag), or an array.
            tag: whose sound it is, such as the response's id; any hashable value.

        Returns:
            Whether it will be played: not after ``close``, and not if this tag was interrupted.

        Raises:
            ConfigError: ``pcm`` is no PCM.
            AudioUnavailable: at the first write, PyAudio is not installed.
            AudioError: the buffer's limit would be passed; nothing of ``pcm`` was taken.
            DeviceError: the device is gone for good.
        """
        data = pcm_bytes(pcm)
        self._begin()
        with self._changed:
            if self._error:
                raise self._error
            taken = not self._closing and self._schedule.write(data, tag, time.monotonic())
            self._changed.notify_all()
            return taken

    def mark_end(self, tag: Tag = None) -> None:
        """Say that nothing more of ``tag`` is coming: what waits plays at once, and what follows is no underrun."""
        with self._changed:
            self._schedule.end(tag)
            self._changed.notify_all()

    def interrupt(self) -> Playout:
        """Cut the sound: a fade of 5 ms after the block that is with the device, then silence.

        All that waits is discarded, and what still comes of the tags concerned (those that were heard or waited, and
        the last one written) is dropped; sound without a tag cannot be told apart and plays.

        Returns:
            What was heard, the fade and the block with the device included.
        """
        with self._changed:
            playout = self._schedule.cut()
            self._changed.notify_all()
            return playout

    def pause(self) -> None:
        """Fall silent within a block, with a short fade, and keep what waits; again is allowed."""
        with self._changed:
            self._schedule.pause()
            self._changed.notify_all()

    def resume(self) -> None:
        """Play on after ``pause``, at once and with a short fade; again is allowed."""
        with self._changed:
            self._schedule.resume()
            self._changed.notify_all()

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until everything written so far was heard, the device's latency included.

        While paused, that is not before ``resume``.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether everything was heard; ``False`` also if the player was closed meanwhile.

        Raises:
            DeviceError: the device is gone for good, or has taken nothing for 10 s.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._schedule.end_last()
            self._changed.notify_all()
            while True:
                now = time.monotonic()
                quiet_at = self._schedule.quiet_at
                if self._error:
                    raise self._error
                if quiet_at is not None and now >= quiet_at:
                    return not self._closing
                if self._closing or (deadline is not None and now >= deadline):
                    return False
                if self._schedule.in_flight and now - self._progress_at >= _DEVICE_TIMEOUT_S:
                    raise DeviceError(f"the sound device has taken nothing for {_DEVICE_TIMEOUT_S:.0f} s")
                wait = 1.0 if quiet_at is None else quiet_at - now
                self._changed.wait(wait if deadline is None else min(wait, deadline - now))

    def close(self) -> None:
        """Fall silent, discard what waits, let the device go; blocks for at most 5 s. Again is allowed."""
        with self._changed:
            if not self._closing:
                self._schedule.cut()
                self._closing = True
                self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._speaker.close()
            return
        thread.join(_JOIN_TIMEOUT_S)
        if thread.is_alive():
            _log.warning("the sound device hangs; the thread that waits for it is left behind")

    def attach(self, client: Any, **options: Any) -> Any:
        """Play the sound of ``client``'s replies, and fall silent when the user starts to speak.

        See ``qwen_realtime.voice.attach_player`` for the options and the result.
        """
        return import_module("qwen_realtime.voice").attach_player(self, client, **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._schedule.paused:
                self.drain()
        finally:
            self.close()

    def _begin(self) -> None:
        """Start the thread, unless it runs or the player is closed."""
        if self._thread is not None:
            return
        if self._needs_pyaudio:
            load_pyaudio()  # its absence is the caller's to hear, not the thread's
        with self._changed:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="qwen-player", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        """Give the device what is due until ``close``.

        Blocks on the device, and on ``_changed`` when nothing is due: a write, an interruption, a pause, the end of one
        or ``close`` wake it. Only a device that never returns from a call keeps it from ending.
        """
        try:
            self._speaker.open()
            with self._changed:
                self._opened = True
                self._changed.notify_all()
            while (block := self._next()) is not None:
                self._deliver(block)
        except AudioError as error:
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - an output of the user's own may raise anything
            self._give_up(DeviceError(f"the sound output failed: {error!r}"), cause=error)
        finally:
            self._speaker.close()

    def _next(self) -> Block | None:
        with self._changed:
            while True:
                now = time.monotonic()
                block = self._schedule.due(now)
                if self._closing and (block is None or not block.parts):
                    self._schedule.in_flight = None
                    return None
                if block is not None:
                    self._progress_at = now
                    return block
                wake_at = self._schedule.wake_at()
                self._changed.wait(None if wake_at is None else max(0.0, wake_at - now))

    def _deliver(self, block: Block) -> None:
        """Bring one block to the device, over as many devices as it takes."""
        while True:
            try:
                ran_dry = self._give(block)
                break
            except DeviceError as error:
                self._lost.get_back(error, self._reopen, self._closes_within)
        latency_s = self._speaker.latency_ms / 1000
        if self.monitor is not None and block.parts:
            heard_at = time.monotonic() + latency_s - len(block.samples) / self.sample_rate
            try:
                self.monitor(block.samples, heard_at)
            except Exception:  # noqa: BLE001 - the sound goes on without whoever listens in
                _log.exception("the monitor of the player failed, and is not called again")
                self.monitor = None
        self._lost.works()
        with self._changed:
            self._progress_at = time.monotonic()
            self._schedule.delivered(block, self._progress_at, latency_s, ran_dry)
            self._changed.notify_all()

    def _give(self, block: Block) -> bool:
        if block.parts:
            return self._speaker.play(block.samples, self._volume)
        return self._speaker.rest() if block is REST else self._speaker.play_silence()

    def _reopen(self) -> None:
        self._speaker.close_device()
        self._speaker.open()

    def _closes_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)

    def _give_up(self, error: AudioError, cause: Exception | None = None) -> None:
        if not self._closing:
            _log.error("no sound any more: %s", error, exc_info=cause)
        with self._changed:
            self._error = error
            self._schedule.cut()
            self._schedule.in_flight = None
            self._changed.notify_all()
