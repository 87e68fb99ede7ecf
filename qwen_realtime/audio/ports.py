"""What a player and a microphone need of a device: the seam where files, memory or a telephone line fit in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class DeviceFormat(NamedTuple):
    """What a device was opened with: rate (Hz), interleaved channels, and the block (frames) that suits it."""

    sample_rate: int
    channels: int
    block: int


class AudioOutput(Protocol):
    """Where an ``AudioPlayer`` plays to. All methods are called by the player's thread only."""

    @property
    def latency_ms(self) -> float:
        """How long (ms) from now until the sample written last is heard."""

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
        """Get ready and say how; called again after ``close``. The rate may differ from the one wished.

        Raises:
            DeviceError: it cannot be opened.
        """

    def write(self, block: NDArray[np.int16]) -> bool:
        """Take interleaved samples, blocking while the device is full.

        Returns:
            Whether the device had played all it had before this block came: it ran dry.

        Raises:
            DeviceError: the device is gone.
        """

    def rest(self) -> None:
        """Nothing comes for a while: stop after all that was written is heard, and start again with the next block.

        Raises:
            DeviceError: the device is gone.
        """

    def close(self) -> None:
        """Let the device go, after all that was written is heard; again is allowed."""


class AudioInput(Protocol):
    """Where a ``Microphone`` listens. All methods are called by the microphone's thread only."""

    @property
    def overflows(self) -> int:
        """How often the device lost sound because nobody took it in time."""

    def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
        """Get ready and say how; called again after ``close``. The rate may differ from the one wished.

        Raises:
            DeviceError: it cannot be opened.
        """

    def read(self) -> NDArray[np.int16] | None:
        """Return interleaved samples; an empty array if there are none within half a second, ``None`` at the end.

        Raises:
            DeviceError: the device is gone.
        """

    def close(self) -> None:
        """Let the device go; again is allowed."""
