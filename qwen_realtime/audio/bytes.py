"""PCM as bytes, without numpy: what the sending path needs for every block.

Importing this module imports nothing but the standard library; numpy is loaded only when somebody passes an array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from qwen_realtime.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Audio: TypeAlias = bytes | bytearray | memoryview | NDArray[np.int16] | NDArray[np.float32] | NDArray[np.float64]

SAMPLE_BYTES = 2
"""Bytes in one sample: all PCM in this package is signed 16-bit little-endian."""

_BYTE_FORMATS = frozenset({"B", "b", "c", "h", "<h"})


def pcm_bytes(audio: Audio) -> bytes:
    """Return ``audio`` as bytes of 16-bit little-endian PCM; ``bytes`` come back as the same object.

    Args:
        audio: ``bytes``, ``bytearray`` or ``memoryview`` (any length, an odd byte passes through), or a one-dimensional
            numpy array: int16, or float32/float64 within -1…1 (clipped beyond).

    Raises:
        ConfigError: something else; the message names the type, dtype or shape, and the hint how to convert it.
    """
    if isinstance(audio, bytes):
        return audio
    if isinstance(audio, bytearray):
        return bytes(audio)
    if isinstance(audio, memoryview) and audio.format in _BYTE_FORMATS:
        return audio.tobytes()
    if isinstance(audio, str):
        raise ConfigError("audio is a str, not bytes", hint="pass raw PCM; for base64 text: base64.b64decode(text)")
    from qwen_realtime.audio.pcm import to_int16

    return to_int16(audio).tobytes()


class OddByteCarry:
    """Cuts a byte stream into whole samples: an odd last byte waits for the next chunk.

    Not thread-safe: one owner feeds it, in stream order.
    """

    def __init__(self) -> None:
        self._carry = b""

    @property
    def pending(self) -> int:
        """Bytes that wait for their other half: 0 or 1."""
        return len(self._carry)

    def feed(self, pcm: bytes) -> bytes:
        """Return all whole samples up to now; without a carried or odd byte that is ``pcm`` itself, not a copy."""
        if self._carry:
            pcm = self._carry + pcm
            self._carry = b""
        if len(pcm) % SAMPLE_BYTES:
            self._carry = pcm[-1:]
            pcm = pcm[:-1]
        return pcm

    def reset(self) -> None:
        """Forget a carried byte: the stream starts anew."""
        self._carry = b""
