"""What both kinds of ``AudioFormat`` have in common."""

from __future__ import annotations

from enum import Enum

__all__ = ["PcmFormat"]


class PcmFormat(Enum):
    """Base of the audio formats; a member's value is what its attributes hold, in this order.

    Attributes:
        format: ``"pcm"``.
        sample_rate: Hz.
        channels: ``"mono"``.
        bit_rate: ``"16bit"``, which is the sample's size.
        format_str: ``"pcm16"``, as older session objects have it.
    """

    def __init__(self, format: str, sample_rate: int, channels: str, bit_rate: str, format_str: str) -> None:
        self.format = format
        self.sample_rate = sample_rate
        self.channels = channels
        self.bit_rate = bit_rate
        self.format_str = format_str

    def __repr__(self) -> str:
        return self.format_str

    def __str__(self) -> str:
        return (
            f"{self.format.upper()} with {self.sample_rate}Hz sample rate, {self.channels} channel, "
            f"{self.bit_rate} bit rate:  {self.format_str}"
        )
