"""The mask that a client lays over what it sends (RFC 6455, section 5.3), as fast as goes without compiled code.

Half of what sending audio costs is this. Python's own long integers take 12 us for 100 ms of audio and numpy takes 3,
but loading numpy takes 80 ms and 18 MB. So it is used where it is loaded anyway, as with a microphone, an array or a
sound file, and is loaded where that pays: by a client that sends for long.
"""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = ["load_numpy", "masked"]

# A shorter payload is masked faster by integers.
_MANY_BYTES = 512


def masked(payload: bytes, key: bytes) -> bytes:
    """A payload under a key of four bytes; the same again gives the payload."""
    size = len(payload)
    words = (size + 3) // 4
    numpy = sys.modules.get("numpy") if size >= _MANY_BYTES else None
    uint32 = getattr(numpy, "uint32", None)  # another thread may just be importing it
    if numpy is None or uint32 is None:
        # one operation on two long integers; the key's surplus bytes are cut off
        number = int.from_bytes(payload, "little") ^ int.from_bytes(key * words, "little")
        return number.to_bytes(4 * words, "little")[:size]
    padded = payload if size == 4 * words else payload + bytes(4 * words - size)
    result: bytes = (numpy.frombuffer(padded, uint32) ^ numpy.frombuffer(key, uint32)).tobytes()
    return result if size == 4 * words else result[:size]


def load_numpy() -> None:
    """Let masking be fast from now on; blocks for about 80 ms where numpy is not loaded yet."""
    with suppress(Exception):  # integers do as well; on an old processor numpy raises a RuntimeError
        import numpy  # noqa: F401
