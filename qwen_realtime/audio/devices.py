"""Sound cards through PyAudio; the only module that knows it, and only inside functions.

Measured traps of PyAudio 0.2.14 that this module keeps away from everybody else:

- It destroys the stream when it raises an under- or overflow, so these are never raised here, only counted.
- PortAudio drops what is still in its buffer when a stream stops, so silence is written first.
- Its blocking write has no deadline, so it is only called when there is room.
- Closing a stream during a blocking read deadlocks on some systems, so input arrives by callback.
- PortAudio lists the devices once, at the first of its overlapping uses; every open here is a new one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qwen_realtime.audio.ports import DeviceFormat
from qwen_realtime.audio.system import hushed, install_line
from qwen_realtime.errors import AudioUnavailable, DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

# Guards PortAudio's global state: its initialisation, its list of devices, opening and closing streams are not
# thread-safe. Held for as long as the sound system takes to open or close, never while a stream plays or records.
_portaudio = threading.Lock()
_PATIENCE_S = 10.0  # for the lock above: another device may hang in its driver

_TAIL_MS = 150  # silence before a stream stops: PortAudio drops its last 60 ms
_STALL_S = 2.0  # a device that brings or takes nothing for so long is taken for lost
_COMMON_RATES = (48000, 44100)
_FORMAT_REFUSALS = {-9999, -9998, -9997, -9994}  # host error, channels, rate, sample format: another may do


@dataclass(frozen=True)
class Device:
    """One device as the sound system lists it.

    Attributes:
        index: its number, good until devices come or go.
        name: as the system calls it.
        host_api: the sound system, such as ``ALSA``.
        inputs: input channels, 0 for an output.
        outputs: output channels, 0 for an input.
        sample_rate: its own rate, in Hz.
        default_input: whether it is the one used for input when none is named.
        default_output: the same for output.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    sample_rate: int
    default_input: bool = False
    default_output: bool = False


def list_devices() -> list[Device]:
    """Return all sound devices; empty where there is none. Blocks on the sound system, usually well under a second.

    Raises:
        AudioUnavailable: PyAudio is not installed.
        DeviceError: the sound system does not answer.
    """
    with _session() as audio:
        return _devices(audio)


def load_pyaudio() -> Any:
    """Import PyAudio and return the module.

    Raises:
        AudioUnavailable: it is not installed, or lacks its PortAudio library; the hint is the line that installs it.
    """
    try:
        import pyaudio
    except ImportError as error:
        raise AudioUnavailable(f"sound devices need PyAudio: {error}", hint=install_line()) from error
    return pyaudio


class PyAudioOutput:
    """A loudspeaker.

    Args:
        device: index, or part of its name (any case); ``None`` is the system's default.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self._device = device
        self._audio: Any = None
        self._stream: Any = None
        self._format = DeviceFormat(24000, 1, 480)
        self._room = 0  # frames that fit into the empty buffer
        self._resting = False
        self._tail_due = False  # sound was written, and silence has to push it out before the stream stops
        self._reach_ms = 0.0  # from the full buffer's last sample to the ear

    @property
    def latency_ms(self) -> float:
        """How long (ms) from now until the sample written last is heard, as far as the driver knows."""
        if self._stream is None:
            return 0.0
        with suppress(OSError):
            free = self._stream.get_write_available() * 1000.0 / self._format.sample_rate
            return float(max(0.0, self._reach_ms - free))
        return self._reach_ms

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
        """Open the device at this rate, or at its own if it refuses; blocks on the sound system.

        Raises:
            AudioUnavailable: PyAudio is not installed.
            DeviceError: no such device, or it refuses every rate.
        """
        self.close()
        self._audio, self._stream, self._format = _open("output", self._device, sample_rate, block_ms, {})
        self._resting = False
        self._room = self._stream.get_write_available()
        self._reach_ms = max(self._stream.get_output_latency() * 1000.0, self._room * 1000.0 / self._format.sample_rate)
        return self._format

    def write(self, block: NDArray[np.int16]) -> bool:
        """Take interleaved samples, blocking while the device's buffer is full; return whether it had run dry.

        Raises:
            DeviceError: the device is gone, or has taken nothing for two seconds.
        """
        step = self._format.block * self._format.channels
        with _device_errors("play"):
            if self._resting:
                self._stream.start_stream()
                self._resting = False
            dry = [self._write_when_free(block[at : at + step]) for at in range(0, len(block), step)]
        return any(dry)

    def rest(self) -> None:
        """Stop the stream until the next block: a running one without data has ALSA complain, and costs power.

        Raises:
            DeviceError: the device is gone.
        """
        with _device_errors("stop"):
            self._stream.stop_stream()
            self._resting = True
            self._tail_due = False

    def close(self) -> None:
        """Let what was written be heard, then let the device go; again is allowed."""
        if self._tail_due:
            self._tail_due = False
            with suppress(DeviceError):
                self.write(np.zeros(self._format.sample_rate * _TAIL_MS // 1000 * self._format.channels, np.int16))
        stream, self._stream = self._stream, None
        audio, self._audio = self._audio, None
        _close(audio, stream)

    def _write_when_free(self, samples: NDArray[np.int16]) -> bool:
        # PortAudio's own wait for room has no deadline, and never ends on some devices that stopped.
        frames = len(samples) // self._format.channels
        deadline = time.monotonic() + _STALL_S
        while (free := self._stream.get_write_available()) < frames:
            if time.monotonic() >= deadline:
                self._tail_due = False
                raise DeviceError(f"the sound device took nothing for {_STALL_S:.0f} s", hint="was it unplugged?")
            time.sleep((frames - free) / self._format.sample_rate + 0.001)
        self._stream.write(samples.tobytes(), frames, exception_on_underflow=False)
        self._tail_due = True
        return bool(free >= self._room)


class PyAudioInput:
    """A microphone.

    PortAudio's own thread brings the sound into a queue of two seconds; from a full queue it drops, and counts.

    Args:
        device: index, or part of its name (any case); ``None`` is the system's default.
    """

    def __init__(self, device: int | str | None = None) -> None:
        self._device = device
        self._audio: Any = None
        self._stream: Any = None
        self._arrived: queue.Queue[bytes] = queue.Queue()
        self._quiet_s = 0.0
        self.overflows = 0

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
        """Open the device at this rate, or at its own if it refuses; blocks on the sound system.

        Raises:
            AudioUnavailable: PyAudio is not installed.
            DeviceError: no such device, or it refuses every rate.
        """
        self.close()
        self._arrived = queue.Queue(maxsize=max(4, int(2000 / block_ms)))
        self._quiet_s = 0.0
        pyaudio = load_pyaudio()
        arrived = self._arrived

        def capture(pcm: bytes, _frames: int, _times: Mapping[str, float], status: int) -> tuple[None, int]:
            # Runs in PortAudio's thread: never waits, never raises.
            try:
                arrived.put_nowait(pcm)
            except queue.Full:
                self.overflows += 1
            if status & pyaudio.paInputOverflow:
                self.overflows += 1
            return None, pyaudio.paContinue

        self._audio, self._stream, opened = _open(
            "input", self._device, sample_rate, block_ms, {"stream_callback": capture}
        )
        return opened

    def read(self) -> NDArray[np.int16]:
        """Return the next block; empty if none comes within half a second.

        Raises:
            DeviceError: nothing came for two seconds: the device is gone.
        """
        try:
            pcm = self._arrived.get(timeout=0.5)
        except queue.Empty:
            self._quiet_s += 0.5
            if self._quiet_s >= _STALL_S:
                raise DeviceError(
                    f"the microphone brought nothing for {_STALL_S:.0f} s", hint="was it unplugged?"
                ) from None
            return np.empty(0, np.int16)
        self._quiet_s = 0.0
        return np.frombuffer(pcm, np.int16)

    def close(self) -> None:
        """Let the device go; again is allowed."""
        stream, self._stream = self._stream, None
        audio, self._audio = self._audio, None
        _close(audio, stream)


def _open(
    direction: Literal["input", "output"],
    device: int | str | None,
    sample_rate: int,
    block_ms: float,
    options: dict[str, Any],
) -> tuple[Any, Any, DeviceFormat]:
    """Return a PyAudio object, its running stream, and the format they agreed on."""
    pyaudio = load_pyaudio()
    with _session(keep=True) as audio:
        chosen = _choose(_devices(audio), direction, device)
        widest = chosen.inputs if direction == "input" else chosen.outputs
        refusals: list[str] = []
        for rate in dict.fromkeys((sample_rate, chosen.sample_rate, *_COMMON_RATES)):
            for channels in (1, 2) if widest > 1 else (1,):
                block = max(1, round(rate * block_ms / 1000))
                try:
                    stream = audio.open(
                        rate,
                        channels,
                        pyaudio.paInt16,
                        **{direction: True, f"{direction}_device_index": chosen.index},
                        frames_per_buffer=block,
                        **options,
                    )
                except (OSError, ValueError) as error:
                    refusals.append(f"{rate} Hz, {channels} ch: {_reason(error)}")
                    if error.args and error.args[0] not in _FORMAT_REFUSALS:
                        raise DeviceError(
                            f"the {direction} device {chosen.name!r} does not open: {_reason(error)}",
                            hint="another program may hold it, or it was unplugged; see qwen-realtime devices",
                        ) from error
                    continue
                if rate != sample_rate:
                    _log.info("%s refused %d Hz and was opened at %d Hz", chosen.name, sample_rate, rate)
                return audio, stream, DeviceFormat(rate, channels, block)
        raise DeviceError(
            f"the {direction} device {chosen.name!r} refused everything: {'; '.join(refusals)}",
            hint="another program may hold it; choose another with device=, see qwen-realtime devices",
        )


@contextmanager
def _session(*, keep: bool = False) -> Iterator[Any]:
    """Give a PyAudio object, under the lock; it is terminated at the end, or with ``keep`` only after an error."""
    pyaudio = load_pyaudio()
    if not _portaudio.acquire(timeout=_PATIENCE_S):
        raise DeviceError(
            f"the sound system has been busy for {_PATIENCE_S:.0f} s", hint="another device hangs in its driver"
        )
    try:
        with hushed():
            try:
                audio = pyaudio.PyAudio()
            except OSError as error:
                raise DeviceError(f"the sound system does not start: {_reason(error)}") from error
            try:
                yield audio
            except BaseException:
                keep = False
                raise
            finally:
                if not keep:
                    audio.terminate()
    finally:
        _portaudio.release()


def _close(audio: Any, stream: Any) -> None:
    if audio is None or not _portaudio.acquire(timeout=_PATIENCE_S):
        return
    try:
        with suppress(OSError):
            stream.stop_stream()
        with suppress(OSError):
            stream.close()
        audio.terminate()
    finally:
        _portaudio.release()


def _devices(audio: Any) -> list[Device]:
    def default(kind: str) -> int:
        with suppress(OSError):
            return int(getattr(audio, f"get_default_{kind}_device_info")()["index"])
        return -1

    default_input, default_output = default("input"), default("output")
    found = []
    for index in range(audio.get_device_count()):
        info = audio.get_device_info_by_index(index)
        found.append(
            Device(
                index,
                str(info["name"]),
                str(audio.get_host_api_info_by_index(info["hostApi"])["name"]),
                int(info["maxInputChannels"]),
                int(info["maxOutputChannels"]),
                int(info["defaultSampleRate"]),
                index == default_input,
                index == default_output,
            )
        )
    return found


def _choose(devices: list[Device], direction: Literal["input", "output"], wanted: int | str | None) -> Device:
    """Return the device meant by an index, part of a name, or nothing (the default)."""
    able = [one for one in devices if (one.inputs if direction == "input" else one.outputs) > 0]
    there_is = ", ".join(f"{one.index}: {one.name}" for one in able) or "none at all"
    if not able:
        hint = "plug one in, or use a stand-in: output=, source="
        raise DeviceError(f"there is no {direction} device", hint=hint)
    if wanted is None:
        for one in able:
            if one.default_input if direction == "input" else one.default_output:
                return one
        hint = "name one with device="
        raise DeviceError(f"there is no default {direction} device; there is: {there_is}", hint=hint)
    if isinstance(wanted, int):
        matches = [one for one in able if one.index == wanted]
    else:
        matches = [one for one in able if one.name.casefold() == wanted.casefold()]
        matches = matches or [one for one in able if wanted.casefold() in one.name.casefold()]
    if not matches:
        raise DeviceError(f"there is no {direction} device {wanted!r}", hint=f"there is: {there_is}")
    return matches[0]


@contextmanager
def _device_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SystemError, AttributeError) as error:
        raise DeviceError(
            f"the sound device stopped: cannot {doing}: {_reason(error)}", hint="was it unplugged?"
        ) from error


def _reason(error: BaseException) -> str:
    # PyAudio raises OSError(number, text) with the two sometimes swapped.
    return " ".join(str(part) for part in error.args if part) or type(error).__name__
