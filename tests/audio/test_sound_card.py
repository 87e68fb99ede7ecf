"""PyAudio on the virtual sound card: what arrives, to the sample and in real time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyaudio
import pytest

from qwen_realtime.audio import lost
from qwen_realtime.audio.devices import PyAudioInput, PyAudioOutput
from qwen_realtime.audio.microphone import Microphone
from qwen_realtime.audio.pcm import resample
from qwen_realtime.audio.player import AudioPlayer
from qwen_realtime.errors import DeviceError
from tests.audio.punctual import in_real_time
from tests.audio.sounds import find, noise, speechlike
from tests.virtual_audio import virtual_audio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.virtual_audio import VirtualAudio

RATE = 24000


def gaps(recording: NDArray[np.int16], sound: NDArray[np.int16]) -> list[int]:
    """Check that the recording is the sound with nothing but silence put in, and return where in the sound.

    Fails on any sample that is missing, repeated or altered.
    """
    at, done, found = 0, 0, []
    while done < len(sound):
        step = find(recording[at:], sound[done:])
        assert step >= 0, f"sample {done} of {len(sound)} was not recorded"
        assert not np.any(recording[at : at + step]), f"something else was recorded before sample {done}"
        if done:
            found.append(done)
        at += step
        length = min(len(sound) - done, len(recording) - at)
        wrong = np.flatnonzero(recording[at : at + length] != sound[done : done + length])
        same = int(wrong[0]) if len(wrong) else length
        at, done = at + same, done + same
    assert not np.any(recording[at:]), "something followed"
    return found


@in_real_time
def test_thirty_seconds_through_a_jittery_network(sound_card: VirtualAudio) -> None:
    """Deltas of 100 ms that come up to 400 ms late, in bursts: every sample is heard once, with one underrun."""
    sound = speechlike(30.0, RATE)
    chance = np.random.default_rng(7)
    # The first is on time and the fourth late: that costs one underrun, after which the buffer is deep enough.
    delays = [0.0, 0.0, 0.0, 0.4, *chance.choice([0.0, 0.05, 0.2, 0.4], 296).tolist()]
    never = threading.Event()
    with sound_card.record() as recording, AudioPlayer() as player:
        started = time.monotonic()
        for number, delay in enumerate(delays):
            never.wait(max(0.0, started + number * 0.1 + delay - time.monotonic()))
            player.write(sound[number * 2400 : (number + 1) * 2400].tobytes(), tag="reply")
        assert player.drain(10)
        recording.wait_longer(0.3, RATE)
        heard = recording.samples
        assert player.played_ms == 30_000.0
    assert len(gaps(heard, sound)) == player.underruns
    assert player.underruns == 1


@in_real_time
def test_draining_means_heard(sound_card: VirtualAudio) -> None:
    """When ``drain`` returns, the last sample is on its way out of the card, and closing cuts nothing off."""
    sound = noise(1.0, RATE)
    with sound_card.record() as recording:
        with AudioPlayer() as player:
            player.write(sound)
            assert player.drain(5)
            at_drain = len(recording.samples)
        recording.wait_longer(0.3, RATE)
        heard = recording.samples
    assert gaps(heard, sound) == []
    end = find(heard, sound) + len(sound)
    assert abs(end - at_drain) / RATE < 0.15


@in_real_time
def test_pauses_between_replies_lose_nothing(sound_card: VirtualAudio) -> None:
    """The device rests after half a second and starts again, without a missing, doubled or foreign sample."""
    replies = [noise(0.4, RATE, seed) for seed in range(3)]
    with sound_card.record() as recording:
        with AudioPlayer() as player:
            for number, reply in enumerate(replies):
                player.write(reply, tag=number)
                assert player.drain(5)
                recording.wait_longer(0.2 if number else 0.9, RATE)
            assert player.underruns == 0
        recording.wait_longer(0.3, RATE)
        heard = recording.samples
    assert len(gaps(heard, np.concatenate(replies))) == 2


@in_real_time
def test_an_interruption_is_heard_exactly_as_reported(sound_card: VirtualAudio) -> None:
    """What the card played is what ``interrupt`` reported, to the sample, and it ends in a fade."""
    sound = noise(600.0, RATE)
    with sound_card.record() as recording:
        with AudioPlayer() as player:
            player.write(sound, tag="a")
            recording.wait_longer(0.5, RATE)
            started = time.perf_counter()
            playout = player.interrupt()
            took = time.perf_counter() - started
            assert player.drain(5)
        recording.wait_longer(0.3, RATE)
        heard = recording.samples
    begin = find(heard, sound)
    count = round(playout.heard_ms * RATE / 1000)
    assert took < 0.001
    assert 300 < playout.heard_ms < 700
    assert np.array_equal(heard[begin : begin + count - 120], sound[: count - 120])
    assert not np.any(heard[begin + count :])
    fade = heard[begin + count - 120 : begin + count].astype(float)
    assert np.all(np.abs(fade) <= np.abs(sound[count - 120 : count]) * np.linspace(1, 0, 120) + 1)


@in_real_time
def test_the_microphone_hears_every_sample(sound_card: VirtualAudio) -> None:
    """Two seconds said into the card come out of the microphone bit by bit, and closing does not hang."""
    said = noise(2.0, RATE)
    heard: list[bytes] = []
    with Microphone(RATE, block_ms=20) as microphone:
        process = sound_card.say(said)
        deadline = time.monotonic() + 15
        while sum(map(len, heard)) < 2 * len(said) + 2 * RATE or process.poll() is None:
            assert time.monotonic() < deadline
            heard.append(microphone.read(5) or b"")
        assert microphone.overflows == 0
        started = time.monotonic()
    assert time.monotonic() - started < 1.5
    assert gaps(np.frombuffer(b"".join(heard), np.int16), said) == []


def test_a_device_that_refuses_a_rate_is_opened_at_its_own(sound_card_48k: VirtualAudio) -> None:
    """PortAudio really refuses 24 and 16 kHz here: both directions are opened at 48 kHz."""
    for device in (PyAudioOutput("fixed"), PyAudioInput("fixed")):
        assert device.open(RATE, 20) == (48000, 1, 960)
        device.close()


def test_a_device_that_takes_nothing_is_lost(sound_card_48k: VirtualAudio) -> None:
    """Where PortAudio's own write would never return, there is a DeviceError after two seconds."""
    output = PyAudioOutput("fixed")
    block = np.zeros(output.open(48000, 20).block, np.int16)
    started = time.monotonic()

    def fill() -> None:
        for _ in range(100):
            output.write(block)

    with pytest.raises(DeviceError, match="took nothing"):
        fill()
    assert 2.0 <= time.monotonic() - started < 3.0
    output.close()
    assert time.monotonic() - started < 3.5


@pytest.fixture
def only_48k(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAudio refuses every other rate, with the error it has for that."""
    genuine = pyaudio.PyAudio.open

    def refusing(self: pyaudio.PyAudio, rate: int, *arguments: Any, **options: Any) -> Any:
        if rate != 48000:
            raise OSError(-9997, "Invalid sample rate")
        return genuine(self, rate, *arguments, **options)

    monkeypatch.setattr(pyaudio.PyAudio, "open", refusing)


@pytest.mark.usefixtures("only_48k")
@in_real_time
def test_a_device_of_one_rate_plays_and_hears(sound_card_48k: VirtualAudio) -> None:
    """What arrives through a device at 48 kHz is the resampled sound, bit by bit, in both directions."""
    sound = noise(2.0, RATE)
    with sound_card_48k.record() as recording:
        with AudioPlayer(RATE, device="vspeaker") as player:
            for at in range(0, len(sound), 2400):
                player.write(sound[at : at + 2400])
        recording.wait_longer(0.3, 48000)
        played = recording.samples
    wanted = resample(sound, RATE, 48000)
    assert gaps(played, wanted) == []

    said = noise(1.5, 48000)
    heard_bytes = b""
    with Microphone(16000) as microphone:
        process = sound_card_48k.say(said)
        deadline = time.monotonic() + 15
        while len(heard_bytes) < 2 * 16000 * 3 or process.poll() is None:
            assert time.monotonic() < deadline
            heard_bytes += microphone.read(5) or b""
    heard = np.frombuffer(heard_bytes, np.int16)
    # Where a sample at 16 kHz lies among those at 48 kHz depends on when listening began: one of three places.
    inner = [resample(np.roll(np.append(said, [0, 0]), shift), 48000, 16000)[100:-100] for shift in range(3)]
    places = [find(heard, candidate) for candidate in inner]
    assert sum(place >= 0 for place in places) == 1
    place, candidate = next((p, c) for p, c in zip(places, inner, strict=True) if p >= 0)
    assert np.array_equal(heard[place : place + len(candidate)], candidate)
    assert np.corrcoef(heard[place : place + len(candidate)], candidate)[0, 1] > 0.999


def test_a_sound_card_that_dies_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides notice, try again, and give up with a DeviceError; nothing hangs."""
    monkeypatch.setattr(lost, "REOPEN_DELAYS_S", (0.05,) * 3)
    with virtual_audio(RATE) as card:
        player, microphone = AudioPlayer(), Microphone()
        player.start()
        microphone.start()
        player.write(noise(5, RATE))
        assert microphone.read(5)
        card.stop()
        with pytest.raises(DeviceError):
            player.drain(20)
        with pytest.raises(DeviceError):
            list(microphone)
        started = time.monotonic()
        player.close()
        microphone.close()
        assert time.monotonic() - started < 5
    assert player.device_losses == microphone.device_losses == 1
