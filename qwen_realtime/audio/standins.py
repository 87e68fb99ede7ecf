"""What may stand in for a device, beside the ports: a file's path, an array, blocks of PCM, whatever takes bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, cast

import numpy as np

from qwen_realtime.audio.bytes import OddByteCarry, pcm_bytes
from qwen_realtime.audio.fakes import ArrayInput, FileOutput, Pace, WavInput
from qwen_realtime.audio.ports import AudioInput, AudioOutput, DeviceFormat
from qwen_realtime.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_realtime.audio.bytes import Audio
else:  # for those who read annotations at run time
    Audio = bytes | bytearray | memoryview | np.ndarray

__all__ = ["BlocksInput", "InputLike", "OutputLike", "WriterOutput", "as_input", "as_output"]


class Writer(Protocol):
    """What takes PCM as bytes, such as an open file."""

    def write(self, data: bytes, /) -> object:
        """Take it."""


OutputLike: TypeAlias = AudioOutput | str | os.PathLike[str] | Writer | Callable[[bytes], object]
InputLike: TypeAlias = AudioInput | str | os.PathLike[str] | bytes | BinaryIO | Audio | Iterable[Audio]

_OUTPUT = ("latency_ms", "open", "write", "rest", "close")
_INPUT = ("overflows", "open", "read", "close")


def as_output(output: OutputLike) -> AudioOutput:
    """What an ``AudioPlayer`` can play to.

    Args:
        output: an ``AudioOutput``, the path of a WAV file to write, or what takes int16 mono PCM at the player's rate:
            a function, or an object that has ``write``, which stays its owner's to close.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(output, (str, os.PathLike)):
        return FileOutput(output)
    missing = [name for name in _OUTPUT if not hasattr(output, name)]
    if not missing:
        return cast("AudioOutput", output)
    write = getattr(output, "write", output)
    if not callable(write) or hasattr(output, "rest") or _opens(output):
        raise ConfigError(
            f"{type(output).__name__} is no sound output: it has no {missing[0]}",
            hint="pass an AudioOutput, a path, or what takes bytes",
        )
    return WriterOutput(write)


def as_input(source: InputLike, sample_rate: int) -> AudioInput:
    """What a ``Microphone`` can listen to.

    Args:
        source: an ``AudioInput``; the path, the bytes or the open file of WAV; an array or an iterable of blocks, both
            PCM at ``sample_rate``. All but the first are heard at a device's pace.
        sample_rate: of the microphone, Hz.

    Raises:
        ConfigError: it is none of these, or cannot be read.
    """
    if isinstance(source, (str, os.PathLike, bytes, io.IOBase)):
        return WavInput(cast("Any", source))
    if hasattr(source, "dtype") or isinstance(source, (bytearray, memoryview)):
        return ArrayInput(_samples(pcm_bytes(cast("Audio", source))), sample_rate)
    missing = [name for name in _INPUT if not hasattr(source, name)]
    if not missing:
        return cast("AudioInput", source)
    if not isinstance(source, Iterable) or _opens(source):
        raise ConfigError(
            f"{type(source).__name__} is no sound source: it has no {missing[0]}",
            hint="pass an AudioInput, a path, an array or blocks of PCM",
        )
    return BlocksInput(source, sample_rate)


def _opens(device: object) -> bool:
    """Whether it was meant as a device: then something was forgotten."""
    return callable(getattr(device, "open", None))


def _samples(pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(pcm, "<i2").astype(np.int16, copy=False)


class WriterOutput:
    """Gives what is played, silence included, to a function, as bytes of int16 mono.

    Args:
        write: takes them; what it returns is not looked at.
    """

    latency_ms = 0.0

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
        """Take any rate."""
        return DeviceFormat(sample_rate, 1, max(1, round(sample_rate * block_ms / 1000)))

    def write(self, block: NDArray[np.int16]) -> bool:
        """Pass a block on; blocks as long as the function does."""
        self._write(block.astype("<i2", copy=False).tobytes())
        return False

    def rest(self) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Nothing of ours to close."""


class BlocksInput:
    """Says what an iterable brings, at a device's pace or slower, then ends.

    Args:
        blocks: PCM, int16 mono or float within -1…1, of any lengths.
        sample_rate: of it, in Hz.
    """

    overflows = 0

    def __init__(self, blocks: Iterable[Audio], sample_rate: int) -> None:
        self._blocks = iter(blocks)
        self._rate = sample_rate
        self._carry = OddByteCarry()
        self._pace = Pace(1.0)
        self._last_s = 0.0  # length of the last block

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:  # noqa: ARG002 - it has one rate only
        """Get ready."""
        return DeviceFormat(self._rate, 1, max(1, round(self._rate * block_ms / 1000)))

    def read(self) -> NDArray[np.int16] | None:
        """Return the next block, not before the last one would have been spoken; ``None`` at the end."""
        # before, not after taking a block: one that comes live has waited long enough
        self._pace.follow(self._last_s)
        block = next(self._blocks, None)
        if block is None:
            return None
        samples = _samples(self._carry.feed(pcm_bytes(block)))
        self._last_s = len(samples) / self._rate
        return samples

    def close(self) -> None:
        """Let go."""
