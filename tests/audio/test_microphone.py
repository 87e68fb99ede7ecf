"""The microphone's thread, on stand-ins for a device."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen_realtime.audio import lost
from qwen_realtime.audio.fakes import ArrayInput, WavInput
from qwen_realtime.audio.microphone import Microphone
from qwen_realtime.audio.pcm import mix_to_mono, resample
from qwen_realtime.audio.wav import wav_bytes
from qwen_realtime.errors import ConfigError, DeviceError
from tests.audio.sounds import noise

RATE = 16000


@pytest.fixture(autouse=True)
def fast_reopening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost devices are tried again without the real waits."""
    monkeypatch.setattr(lost, "REOPEN_DELAYS_S", (0.001,) * 6)


def test_blocks_are_the_sound() -> None:
    """Blocks of 100 ms, in order and complete; the last may be short; iterating ends with the source."""
    sound = noise(1.05, RATE)
    with Microphone(source=ArrayInput(sound, RATE, speed=None)) as microphone:
        blocks = list(microphone)
        assert microphone.overflows == 0
    assert [len(block) for block in blocks] == [3200] * 10 + [1600]
    assert b"".join(blocks) == sound.tobytes()
    assert not any(thread.name == "qwen-microphone" for thread in threading.enumerate())


def test_another_rate_and_more_channels_are_converted() -> None:
    """A stereo source at 44.1 kHz gives the mono sound at 16 kHz, with no seam at the borders of blocks."""
    frames = np.stack([noise(1.0, 44100, 1), noise(1.0, 44100, 2)], axis=1)
    microphone = Microphone(RATE, source=ArrayInput(frames, 44100, speed=None))
    heard = np.frombuffer(b"".join(microphone), np.int16)
    microphone.close()
    assert np.array_equal(heard, resample(mix_to_mono(frames), 44100, RATE))


def test_a_wav_file_can_speak() -> None:
    """``WavInput`` takes what ``read_wav`` takes."""
    sound = noise(0.3, 8000)
    microphone = Microphone(8000, source=WavInput(wav_bytes(sound, 8000), speed=None))
    assert b"".join(microphone) == sound.tobytes()
    microphone.close()


@pytest.mark.parametrize(
    "kind", ["path", "name", "bytes", "file", "array", "floats", "bytearray", "list", "generator of odd blocks"]
)
def test_files_arrays_and_blocks_can_speak(kind: str, tmp_path: Path) -> None:
    """Without a class around them."""
    sound = noise(0.2, RATE)
    pcm, path = sound.tobytes(), tmp_path / "speech.wav"
    path.write_bytes(wav_bytes(sound, RATE))
    sources: dict[str, Any] = {
        "path": path,
        "name": str(path),
        "bytes": path.read_bytes(),
        "file": io.BytesIO(path.read_bytes()),
        "array": sound,
        "floats": sound.astype(np.float32) / 32768,
        "bytearray": bytearray(pcm),
        "list": [pcm[:4000], sound[2000:]],
        "generator of odd blocks": (pcm[at : at + 999] for at in range(0, len(pcm), 999)),
    }
    with Microphone(source=sources[kind]) as microphone:
        heard = np.frombuffer(b"".join(microphone), np.int16)
    assert len(heard) == len(sound)
    assert np.abs(heard.astype(int) - sound).max() <= 1


class _Forgetful:
    """An input without ``close``."""

    overflows = 0

    def open(self, sample_rate: int, block_ms: float) -> None:
        """Open."""

    def read(self) -> None:
        """Read."""


@pytest.mark.parametrize("source", [7, object(), _Forgetful()], ids=lambda source: type(source).__name__)
def test_what_is_no_source_is_refused_at_once(source: Any) -> None:
    """Not on a thread, where nobody hears of it."""
    with pytest.raises(ConfigError, match="is no sound source: it has no") as caught:
        Microphone(source=source)
    assert caught.value.hint


def test_a_source_that_raises_is_a_device_error(caplog: pytest.LogCaptureFixture) -> None:
    """What came before it is heard."""

    def blocks() -> Iterator[bytes]:
        yield bytes(3200)
        raise OSError("the line is dead")

    with Microphone(source=blocks()) as microphone:
        assert len(microphone.read() or b"") == 3200
        with pytest.raises(DeviceError, match="the line is dead"):
            microphone.read()
    assert "no microphone any more" in caplog.text


def test_blocks_come_at_their_pace() -> None:
    """At the pace of a device, half a second takes half a second."""
    started = time.monotonic()
    with Microphone(source=ArrayInput(noise(0.5, RATE), RATE)) as microphone:
        assert len(list(microphone)) == 5
    assert 0.45 <= time.monotonic() - started < 2


def test_muting_sends_silence_at_the_same_pace() -> None:
    """As many blocks come while muted, all zeros, and the meter still shows what is heard."""
    with Microphone(source=ArrayInput(noise(1.0, RATE), RATE, speed=4)) as microphone:
        blocks = []
        for number, block in enumerate(microphone):
            blocks.append(block)
            if number == 2:
                microphone.mute()
                assert microphone.muted
            if number == 6:
                assert microphone.level == pytest.approx(4000 / 32768, rel=0.1)
                microphone.unmute()
    silent = [not any(block) for block in blocks]
    assert len(blocks) == 10
    assert silent[:3] == [False] * 3
    assert silent[4:7] == [True] * 3
    assert silent[9] is False


def test_the_meter_shows_the_level() -> None:
    """A full-scale square wave is 1, silence is 0."""
    square = np.where(np.arange(1600) % 2, 32767, -32768).astype(np.int16)
    microphone = Microphone(source=ArrayInput(square, RATE, speed=None))
    assert microphone.level == 0
    list(microphone)
    assert microphone.level == pytest.approx(1.0, abs=0.001)
    microphone.close()


def test_what_nobody_takes_is_dropped_oldest_first_and_counted() -> None:
    """With room for half a second, the last five blocks of ten are there, and five overflows are counted."""
    sound = noise(1.0, RATE)
    source = ArrayInput(sound, RATE, speed=None)
    microphone = Microphone(source=source, queue_s=0.5)
    microphone.start()
    for thread in threading.enumerate():
        if thread.name == "qwen-microphone":
            thread.join(5)
    assert microphone.overflows == 5
    assert b"".join(microphone) == sound[RATE // 2 :].tobytes()
    source.overflows = 3
    assert microphone.overflows == 8
    microphone.close()


def test_reading_has_a_deadline() -> None:
    """``read`` returns nothing when no block comes in time, and ``None`` after the end."""
    microphone = Microphone(source=ArrayInput(noise(0.1, RATE), RATE, speed=0.2))
    assert microphone.read(timeout=0.01) == b""
    assert len(microphone.read(timeout=5) or b"") == 3200
    assert microphone.read(timeout=5) is None
    microphone.close()


def test_closing_ends_an_iteration_in_another_thread() -> None:
    """Whoever iterates is let go, whatever waits; closing again is fine, and so is reading afterwards."""
    microphone = Microphone(source=ArrayInput(noise(60, RATE), RATE))
    taken: list[bytes] = []
    first = threading.Event()

    def consume() -> None:
        for block in microphone:
            taken.append(block)
            first.set()

    consumer = threading.Thread(target=consume, name="test-consumer", daemon=True)
    consumer.start()
    assert first.wait(5)
    started = time.monotonic()
    microphone.close()
    consumer.join(5)
    assert not consumer.is_alive()
    assert time.monotonic() - started < 1
    microphone.close()
    assert microphone.read() is None
    assert list(microphone) == []


def test_a_lost_device_comes_back() -> None:
    """Unplugged and refusing twice: listening goes on where it was."""
    sound = noise(1.0, RATE)
    source = ArrayInput(sound, RATE, speed=4)
    with Microphone(source=source) as microphone:
        blocks = [microphone.read(5) or b""]
        source.unplug(refusals=2)
        blocks += list(microphone)
        assert microphone.device_losses == 1
    assert b"".join(blocks) == sound.tobytes()


def test_a_device_that_stays_away_ends_the_iteration_with_its_error() -> None:
    """What was heard before comes first, then the error; it stays in ``error``."""
    source = ArrayInput(noise(60, RATE), RATE, speed=4)
    microphone = Microphone(source=source)
    assert microphone.read(5)
    source.unplug(refusals=100)
    with pytest.raises(DeviceError, match="unplugged"):
        list(microphone)
    assert isinstance(microphone.error, DeviceError)
    microphone.close()


def test_a_device_that_does_not_open_says_so() -> None:
    """From ``start``, ``with`` and iterating alike."""
    for use in (Microphone.start, Microphone.__enter__, list):
        source = ArrayInput(noise(1, RATE), RATE)
        source.unplug(refusals=100)
        microphone = Microphone(source=source)
        with pytest.raises(DeviceError, match="unplugged"):
            use(microphone)
        microphone.close()


def test_a_source_with_a_bug_is_a_device_error(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a user's own source raises is kept and logged with its traceback."""

    class Buggy(ArrayInput):
        def read(self) -> None:
            raise ZeroDivisionError("bug")

    microphone = Microphone(source=Buggy(noise(1, RATE), RATE))
    with pytest.raises(DeviceError, match="bug"):
        list(microphone)
    microphone.close()
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("setting", [{"sample_rate": 0}, {"block_ms": 0}, {"queue_s": 0}])
def test_settings_that_cannot_be_are_refused(setting: dict[str, Any]) -> None:
    """Before any thread or device."""
    with pytest.raises(ConfigError):
        Microphone(source=ArrayInput(noise(1, RATE), RATE), **setting)
