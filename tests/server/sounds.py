"""Real speech for the server's tests: recordings of people from Debian's ``pocketsphinx-testdata``, and Flite."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from qwen_realtime.audio.wav import read_wav
from qwen_realtime.server.engines import Engines

RATE_HZ = 16000
SILENCE = bytes(2 * RATE_HZ * 3 // 2)  # 1.5 s: more than any default of voice activity
_RECORDINGS = Path("/usr/share/pocketsphinx/test/data")


def recording(name: str) -> bytes:
    """A recording as s16le mono at 16 kHz; skips the test where the package is not installed."""
    path = _RECORDINGS / name
    if not path.exists():
        pytest.skip("the recordings are not installed: apt-get install pocketsphinx-testdata")
    return read_wav(path, sample_rate=RATE_HZ, mono=True).pcm


def spoken(engines: Engines, text: str) -> bytes:
    """A text spoken by the local engine, s16le mono at 16 kHz."""
    sound = bytearray()
    done = threading.Event()
    engines.synthesize(text, sample_rate=RATE_HZ, on_audio=sound.extend, on_done=lambda _: done.set())
    assert done.wait(20)
    return bytes(sound)
