"""Where input audio comes from: WAV files, arrays, speech made before, or an iterable of blocks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from .audio.bytes import OddByteCarry, pcm_bytes
from .errors import ConfigError
from .results import Speech

if TYPE_CHECKING:
    from .audio.bytes import Audio

__all__ = ["AudioSource", "pcm_blocks"]

AudioSource: TypeAlias = "str | os.PathLike[str] | bytes | Speech | Audio | Iterable[Audio]"


def pcm_blocks(source: AudioSource, sample_rate: int, block_ms: int = 100) -> Iterator[bytes]:
    """Cut a source into blocks of int16 mono PCM.

    Args:
        source: the path or the bytes of a WAV file of any rate and channel count; a :class:`~.results.Speech`; a numpy
            array (int16, or float32 within −1…1) or bytes-like PCM already at ``sample_rate``; or an iterable of such
            PCM, for example a microphone.
        sample_rate: what the session reads, Hz.
        block_ms: the length of a block; the last may be shorter.

    Raises:
        ConfigError: it is none of these, or a file that is not WAV.
    """
    size = sample_rate * block_ms // 1000 * 2
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
    if isinstance(source, (str, os.PathLike)) or (isinstance(source, bytes) and source[:4] in (b"RIFF", b"RIFX")):
        from .audio.wav import read_wav

        return read_wav(source, sample_rate=sample_rate).pcm
    if isinstance(source, Speech):
        return _resampled(source.pcm, source.sample_rate, sample_rate)
    if isinstance(source, bytes):
        raise ConfigError(
            "bytes must be those of a WAV file",
            hint="for raw PCM pass a memoryview, a bytearray or a numpy array at the session's rate",
        )
    if not isinstance(source, (bytearray, memoryview)) and not hasattr(source, "dtype"):
        raise ConfigError(f"cannot read audio from {type(source).__name__}", hint="pass a path, WAV bytes or an array")
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
