"""A lost device is asked for again, for a while, and not after its owner has closed."""

from __future__ import annotations

import pytest

from qwen_realtime.audio import lost
from qwen_realtime.audio.lost import LostDevice
from qwen_realtime.errors import DeviceError

GONE = DeviceError("unplugged")


class Device:
    """Refuses to open so many times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.tries = 0
        self.waits: list[float] = []

    def open(self) -> str:
        """Open, or refuse."""
        self.tries += 1
        if self.tries <= self.refusals:
            raise DeviceError(f"refusal {self.tries}")
        return "open"

    def closes_within(self, seconds: float) -> bool:
        """Note the wait; nobody closes."""
        self.waits.append(seconds)
        return False


def test_it_is_tried_with_longer_and_longer_waits() -> None:
    """Until it opens."""
    device, headset = Device(3), LostDevice("the headset")
    assert headset.get_back(GONE, device.open, device.closes_within) == "open"
    assert device.waits == list(lost.REOPEN_DELAYS_S[:4])
    assert headset.losses == 1


def test_the_last_refusal_is_the_reason() -> None:
    """When it does not come back."""
    device = Device(100)
    with pytest.raises(DeviceError, match=f"refusal {len(lost.REOPEN_DELAYS_S)}"):
        LostDevice("the headset").get_back(GONE, device.open, device.closes_within)


def test_one_that_opens_and_fails_at_once_is_given_up() -> None:
    """The tries are counted from when it last worked."""
    device, headset = Device(0), LostDevice("the headset")
    for _ in lost.REOPEN_DELAYS_S:
        headset.get_back(GONE, device.open, device.closes_within)
    with pytest.raises(DeviceError, match="unplugged"):
        headset.get_back(GONE, device.open, device.closes_within)
    headset.works()
    assert headset.get_back(GONE, device.open, device.closes_within) == "open"


def test_a_close_ends_the_trying() -> None:
    """The device is not opened for nobody."""
    device = Device(0)
    with pytest.raises(DeviceError, match="unplugged"):
        LostDevice("the headset").get_back(GONE, device.open, lambda _: True)
    assert device.tries == 0
