"""The virtual sound card, once for each module that uses it. Missing programs are errors, never skipped tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.virtual_audio import VirtualAudio, virtual_audio

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def sound_card() -> Iterator[VirtualAudio]:
    """A virtual sound card at 24 kHz, the system's default for PyAudio."""
    with virtual_audio(24000) as card:
        yield card


@pytest.fixture(scope="module")
def sound_card_48k() -> Iterator[VirtualAudio]:
    """A virtual sound card at 48 kHz, with a device ``fixed`` that refuses every other rate."""
    with virtual_audio(48000) as card:
        yield card
