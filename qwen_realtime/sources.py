"""Where input audio comes from: sound files, arrays, speech made before, or an iterable of blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from .audio.bytes import OddByteCarry, pcm_bytes
from .errors import ConfigError
from .results import Speech

if TYPE_CHECKING:
    from .audio.bytes import Audio

    AudioSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Speech | Audio | Iterable[Audio]
else:  # for those who read annotations at run time: a type is no reason to import numpy
    AudioSource = str | os.PathLike[str] | bytes | BinaryIO | Speech | Iterable[object]

__all__ = ["AudioSource", "pcm_blocks"]


def pcm_blocks(source: AudioSource, sample_rate: int, block_ms: int = 100) -> Iterator[bytes]:
    """Cut a source into blocks of int16 mono PCM.

    Args:
        source: the path, the bytes or the open file of a sound file of any rate and channel count, WAV or, with the
            extra ``codecs``, nearly any other kind; a :class:`~.results.Speech`; a numpy array (int16, or float32
            within −1…1) or bytes-like PCM already at ``sample_rate``; or an iterable of such PCM, for example a
            microphone.
        sample_rate: what the session reads, Hz.
        block_ms: the length of a block; the last may be shorter.

    Raises:
        ConfigError: it is none of these, or a file that cannot be read; the hint says what would help.
        AudioError: it is compressed speech that cannot be decoded.
    """
    size = sample_rate * block_ms // 1000 * 2
    if isinstance(source, io.IOBase):  # iterating over it would give lines
        source = source.read()
    if isinstance(source, Iterable) and not _whole(source):
        yield from _regrouped(source, size)
        return
    pcm = _pcm(source, sample_rate)
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]


def _whole(source: object) -> bool:
    """Whether a source is one piece of audio, not a series of pieces."""
    return isinstance(source, (str, bytes, bytearray, memoryview, os.PathLike, Speech)) or hasattr(source, "dtype")


def _pcm(source: object, sample_rate: int) -> bytes:
    if isinstance(source, (str, os.PathLike, bytes)):
        from .audio.compressed import read_audio

        return read_audio(source, sample_rate)
    if isinstance(source, Speech):
        return _resampled(source.pcm, source.sample_rate, sample_rate)
    if not isinstance(source, (bytearray, memoryview)) and not hasattr(source, "dtype"):
        raise ConfigError(f"cannot read audio from {type(source).__name__}", hint="pass a path, a file or an array")
    return pcm_bytes(source)  # type: ignore[arg-type]  # narrowed by its dtype


def _resampled(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    if from_hz == to_hz:
        return pcm
    import numpy as np

    from .audio.pcm import resample

    return resample(np.frombuffer(pcm, dtype=np.int16), from_hz, to_hz).tobytes()


def _regrouped(source: Iterable[object], size: int) -> Iterator[bytes]:
    carry, held = OddByteCarry(), b""
    for block in source:
        held += carry.feed(pcm_bytes(block))  # type: ignore[arg-type]  # pcm_bytes judges what it is
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if held:
        yield held
