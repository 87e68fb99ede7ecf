"""The player's thread, on stand-ins for a device."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from qwen_realtime.audio import lost
from qwen_realtime.audio.fakes import FileOutput, MemoryOutput
from qwen_realtime.audio.player import AudioPlayer
from qwen_realtime.audio.wav import WavWriter, read_wav
from qwen_realtime.errors import AudioError, ConfigError, DeviceError
from tests.audio.sounds import find, noise

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from qwen_realtime.audio.ports import DeviceFormat

RATE = 24000
BLOCK = 240  # half of the 20 ms of a block: what the player hands over at a time


@pytest.fixture(autouse=True)
def fast_reopening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost devices are tried again without the real waits."""
    monkeypatch.setattr(lost, "REOPEN_DELAYS_S", (0.001,) * 6)


def wait_until_held(output: MemoryOutput) -> None:
    """Wait until the player's thread is inside ``write``."""
    assert output.grant(0)


def test_everything_is_heard_after_drain() -> None:
    """Played unaltered, in order, counted to the sample; the thread ends with the player."""
    output, sound = MemoryOutput(), noise(1.01, RATE)
    output.grip()
    player = AudioPlayer(output=output)
    for at in range(0, len(sound), 2401):
        assert player.write(sound[at : at + 2401], tag="a")
    output.let_go()
    assert player.drain(5)
    assert player.played_ms == 1010.0
    assert player.buffered_ms == 0
    assert player.underruns == 0
    player.close()
    assert np.array_equal(output.samples[find(output.samples, sound) :][: len(sound)], sound)
    assert not any(thread.name == "qwen-player" for thread in threading.enumerate())
    assert output.closed


def test_half_samples_find_their_other_half() -> None:
    """Chunks of odd length play as if they had been one."""
    output, sound = MemoryOutput(), noise(0.1, RATE)
    output.grip()
    with AudioPlayer(output=output) as player:
        pcm = sound.tobytes()
        for at in range(0, len(pcm), 333):
            player.write(pcm[at : at + 333])
        output.let_go()
    assert np.array_equal(output.samples[: len(sound)], sound)


def test_writing_never_waits_for_the_device() -> None:
    """With the device stuck, a minute is written at once, and interrupting takes less than a millisecond."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output)
    started = time.perf_counter()
    player.write(noise(60, RATE), tag="a")
    assert time.perf_counter() - started < 1.0
    wait_until_held(output)
    player.write(np.zeros(600 * RATE, np.int16), tag="a")
    started = time.perf_counter()
    playout = player.interrupt()
    took = time.perf_counter() - started
    assert playout.heard_ms == 15.0
    assert playout.discarded_ms == pytest.approx(660_000 - 15)
    assert took < 0.001
    output.let_go()
    player.close()


def test_an_interruption_is_silent_after_the_block_in_progress() -> None:
    """One block, a fade of 5 ms that falls evenly without a jump, then nothing but silence."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output)
    player.write(np.full(RATE, 8000, np.int16), tag="a")
    assert output.grant(3)
    playout = player.interrupt()
    output.let_go()
    assert player.drain(5)
    player.close()
    heard = output.samples
    assert playout.tag == "a"
    assert playout.heard_ms == player.played_ms == 45.0
    assert np.all(heard[: 4 * BLOCK] == 8000)
    fade = heard[4 * BLOCK : 4 * BLOCK + 120]
    assert np.all(np.abs(np.diff(fade.astype(int))) <= 8000 / 119 + 1)
    assert fade[0] == 8000
    assert not np.any(heard[4 * BLOCK + 120 :])


def test_late_sound_of_an_interrupted_reply_is_dropped() -> None:
    """The next reply plays, the interrupted one does not."""
    output = MemoryOutput()
    with AudioPlayer(output=output) as player:
        player.write(noise(0.05, RATE, seed=1), tag="old")
        player.interrupt()
        assert player.write(noise(0.5, RATE, seed=2), tag="old") is False
        assert player.write(noise(0.5, RATE, seed=3), tag="new") is True
    assert find(output.samples, noise(0.5, RATE, seed=2)) == -1
    assert find(output.samples, noise(0.5, RATE, seed=3)) >= 0


def test_draining_includes_the_latency_of_the_device() -> None:
    """With a device that is 150 ms away, the end comes 150 ms after the last sample was taken."""
    output = MemoryOutput(latency_ms=150)
    with AudioPlayer(output=output) as player:
        started = time.monotonic()
        player.write(noise(0.1, RATE), tag="a")
        assert player.drain(5)
        took = time.monotonic() - started
        first = player.first_heard("a")
    assert took >= 0.15
    assert first is not None
    assert 0.0 <= first - started <= took
    assert player.first_heard("never") is None


def test_draining_has_a_deadline() -> None:
    """With the device stuck, ``drain`` returns False in time."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output)
    player.write(noise(1, RATE))
    started = time.monotonic()
    assert player.drain(0.05) is False
    assert time.monotonic() - started < 2
    output.let_go()
    assert player.drain(5) is True
    player.close()


def test_an_idle_player_drains_at_once() -> None:
    """Nothing written: nothing to wait for, no thread, no device."""
    output = MemoryOutput()
    player = AudioPlayer(output=output)
    assert player.drain(0) is True
    player.close()
    player.close()
    assert output.opens == 0


def test_the_device_rests_between_replies() -> None:
    """After half a second of silence the device is let stop once, and the next reply is whole again."""
    output = MemoryOutput()
    with AudioPlayer(output=output) as player:
        for seed in (1, 2):
            player.write(noise(0.2, RATE, seed), tag=seed)
            assert player.drain(5)
            assert output.wait_for_frames(seed * (RATE // 5 + 50 * BLOCK))
    assert find(output.samples, noise(0.2, RATE, 2)) >= 0
    assert output.rests == 2


def test_pausing_keeps_what_waits() -> None:
    """Nothing flows while paused; what was left plays after ``resume``."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output)
    player.write(np.full(RATE // 2, 5000, np.int16))
    assert output.grant(2)
    player.pause()
    output.let_go()
    assert output.wait_for_frames(RATE // 2)
    assert player.played_ms == 35.0
    assert player.buffered_ms == 465.0
    assert not player.playing
    player.resume()
    assert player.drain(5)
    assert player.played_ms == 500.0
    player.close()


def test_volume_changes_without_a_jump() -> None:
    """A change is spread over one block; unity leaves every sample as it is; beyond full scale is clipped."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output)
    player.write(np.full(10 * BLOCK, 20000, np.int16))
    assert output.grant(2)
    player.volume = 0.5
    assert output.grant(3)
    player.volume = 3
    output.let_go()
    player.drain(5)
    player.close()
    heard = output.samples[: 10 * BLOCK].astype(int)
    assert np.all(heard[: 3 * BLOCK] == 20000)
    assert np.all(heard[4 * BLOCK : 6 * BLOCK] == 10000)
    assert heard[9 * BLOCK] == 32767
    assert np.abs(np.diff(heard)).max() <= 50000 / (BLOCK - 1) + 2
    with pytest.raises(ConfigError):
        player.volume = -1


def test_a_tee_gets_what_was_played(tmp_path: Path) -> None:
    """Without the silence between, as a path or as a writer that stays open."""
    sound = noise(0.3, RATE)
    with AudioPlayer(output=MemoryOutput(), tee=tmp_path / "a.wav") as player:
        player.write(sound[:3000])
        player.drain()
        player.write(sound[3000:])
    assert np.array_equal(read_wav(tmp_path / "a.wav").samples, sound)
    with WavWriter(tmp_path / "b.wav", RATE) as writer:
        with AudioPlayer(output=MemoryOutput(48000, channels=2), tee=writer) as player:
            player.write(sound)
        writer.write(sound)
    assert np.array_equal(read_wav(tmp_path / "b.wav").samples, np.concatenate((sound, sound)))


def test_a_full_disk_does_not_stop_the_sound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A tee that fails is logged and left; everything is heard."""

    class Broken(WavWriter):
        def write(self, pcm: object) -> None:
            raise OSError(28, "No space left on device")

    output, sound = MemoryOutput(), noise(0.3, RATE)
    with Broken(tmp_path / "full.wav", RATE) as writer, AudioPlayer(output=output, tee=writer) as player:
        player.write(sound)
    assert np.array_equal(output.samples[: len(sound)], sound)
    assert len(caplog.records) == 1
    assert "full.wav" in caplog.text


def test_a_device_of_another_rate_gets_another_rate() -> None:
    """At 48 kHz stereo the sound has twice the samples, on both channels, without its end missing."""
    output, sound = MemoryOutput(48000, channels=2), noise(0.5, RATE)
    with AudioPlayer(output=output) as player:
        player.write(sound)
    frames = output.samples.reshape(-1, 2)
    assert np.array_equal(frames[:, 0], frames[:, 1])
    assert np.abs(frames[: 2 * len(sound) : 2, 0].astype(int) - sound)[100:-100].max() < 20000
    assert np.any(frames[RATE - 20 : RATE])
    assert not np.any(frames[RATE + 100 :])


def test_a_lost_device_comes_back_without_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    """Unplugged in the midst and refusing twice: it is opened again, and not a sample is missing or doubled."""
    output, sound = MemoryOutput(), noise(0.5, RATE)
    output.grip()
    player = AudioPlayer(output=output)
    player.write(sound)
    assert output.grant(5)
    output.unplug(refusals=2)
    output.let_go()
    assert player.drain(5)
    player.close()
    assert np.array_equal(output.samples[: len(sound)], sound)
    assert player.device_losses == 1
    assert output.opens == 2
    assert player.error is None
    assert "lost" in caplog.text


def test_a_device_that_stays_away_is_an_error_and_nothing_hangs() -> None:
    """After six attempts ``error`` is set, ``drain`` and ``write`` raise it, ``close`` returns."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output)
    player.write(noise(0.5, RATE))
    assert output.grant(5)
    output.unplug(refusals=100)
    with pytest.raises(DeviceError, match="unplugged"):
        player.drain()
    assert isinstance(player.error, DeviceError)
    with pytest.raises(DeviceError):
        player.write(b"12")
    player.close()


def test_a_device_that_fails_at_every_block_is_given_up() -> None:
    """Opening alone is no progress: attempts are counted until a block was taken."""

    class Deaf(MemoryOutput):
        def write(self, block: NDArray[np.int16]) -> bool:
            raise DeviceError("deaf")

    output = Deaf()
    player = AudioPlayer(output=output)
    player.write(noise(0.5, RATE))
    with pytest.raises(DeviceError, match="deaf"):
        player.drain(5)
    assert output.opens == 7
    player.close()


def test_a_device_that_does_not_open_says_so_at_once() -> None:
    """``start`` and ``with`` raise what the device said; ``close`` afterwards is fine."""
    output = MemoryOutput()
    output.unplug(refusals=100)
    player = AudioPlayer(output=output)
    with pytest.raises(DeviceError, match="unplugged"), player:
        pytest.fail("the block must not run")
    player.close()


def test_an_output_with_a_bug_is_a_device_error(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a user's own output raises is kept, logged with its traceback, and never hangs anybody."""

    class Buggy(MemoryOutput):
        def write(self, block: NDArray[np.int16]) -> bool:
            raise ZeroDivisionError("bug")

    player = AudioPlayer(output=Buggy())
    player.write(noise(0.5, RATE))
    with pytest.raises(DeviceError, match="bug"):
        player.drain(5)
    player.close()
    assert "ZeroDivisionError" in caplog.text


def test_closing_discards_and_is_final() -> None:
    """``close`` does not play out what waits; later writes are refused quietly."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output)
    player.write(noise(5, RATE))
    wait_until_held(output)
    closer = threading.Thread(target=player.close, name="test-closer", daemon=True)
    closer.start()
    output.let_go()
    closer.join(5)
    assert not closer.is_alive()
    assert output.frames < RATE // 10
    assert player.write(b"1234") is False
    assert player.drain(1) is False


def test_an_exception_in_the_block_discards_what_waits() -> None:
    """``with`` drains after a clean end only."""
    output = MemoryOutput()
    output.grip()
    releaser = threading.Timer(0.05, output.let_go)

    def fail() -> None:
        with AudioPlayer(output=output) as player:
            player.write(noise(5, RATE))
            releaser.start()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    releaser.join()
    assert output.frames < RATE


def test_more_than_the_limit_is_refused_aloud() -> None:
    """Speech is never dropped in silence: the write that would pass the limit raises, and what waits plays."""
    output = MemoryOutput()
    output.grip()
    player = AudioPlayer(output=output, limit_s=1.0)
    player.write(noise(0.9, RATE))
    with pytest.raises(AudioError, match="limit"):
        player.write(noise(0.5, RATE))
    output.let_go()
    player.drain(5)
    assert player.played_ms == 900.0
    player.close()


def test_marking_the_end_starts_a_short_reply() -> None:
    """A long prebuffer is not waited for when nothing more is coming."""
    output = MemoryOutput()
    with AudioPlayer(output=output, prebuffer_ms=60_000) as player:
        player.write(noise(0.05, RATE), tag="a")
        player.mark_end("a")
        assert output.wait_for_frames(RATE // 20)


def test_playing_into_a_file(tmp_path: Path) -> None:
    """``FileOutput`` makes a WAV file at its own rate; one that cannot be made is a DeviceError."""
    path = tmp_path / "out.wav"
    with AudioPlayer(output=FileOutput(path, 48000)) as player:
        player.write(noise(0.5, RATE))
    wav = read_wav(path)
    assert wav.sample_rate == 48000
    assert wav.duration_ms >= 500
    broken = AudioPlayer(output=FileOutput(tmp_path / "no" / "out.wav"))
    with pytest.raises(DeviceError, match="cannot write"):
        broken.start()
    broken.close()


class _Sink:
    """Takes bytes, and can do nothing else; empty, and so false."""

    def __init__(self) -> None:
        self.pcm = b""

    def __len__(self) -> int:
        return 0

    def write(self, data: bytes) -> int:
        """Keep them."""
        self.pcm += data
        return len(data)


class _Forgetful(_Sink):
    """Opens, but never rests."""

    def open(self, sample_rate: int, block_ms: float) -> None:
        """Open."""


def test_what_takes_bytes_is_an_output() -> None:
    """An object with ``write``, an open file, which stays open, and a function."""
    sound, sink, file, blocks = noise(0.3, RATE), _Sink(), io.BytesIO(), list[bytes]()
    for output in (sink, file, blocks.append):
        with AudioPlayer(output=output) as player:
            player.write(sound)
        assert player.underruns == 0
    for pcm in (sink.pcm, file.getvalue(), b"".join(blocks)):
        assert find(np.frombuffer(pcm, np.int16), sound) >= 0


@pytest.mark.parametrize("output", [7, object(), _Forgetful()], ids=lambda output: type(output).__name__)
def test_what_is_no_output_is_refused_at_once(output: Any) -> None:
    """Not on a thread, where nobody hears of it."""
    with pytest.raises(ConfigError, match="is no sound output: it has no") as caught:
        AudioPlayer(output=output)
    assert caught.value.hint


@pytest.mark.parametrize("setting", [{"sample_rate": 0}, {"block_ms": 0}, {"prebuffer_ms": -1}])
def test_settings_that_cannot_be_are_refused(setting: dict[str, Any]) -> None:
    """Before any thread or device."""
    with pytest.raises(ConfigError):
        AudioPlayer(output=MemoryOutput(), **setting)


def test_many_threads_may_use_it(caplog: pytest.LogCaptureFixture) -> None:
    """Writers, interrupters and pausers at once leave a player that still plays, and no error."""
    output = MemoryOutput(keep=False)
    player = AudioPlayer(output=output)

    def hammer(number: int) -> None:
        for turn in range(60):
            player.write(noise(0.02, RATE, number), tag=(number, turn))
            (player.interrupt, player.pause, player.resume, player.first_heard)[turn % 4]()

    threads = [threading.Thread(target=hammer, args=(number,), name=f"test-{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    player.resume()
    before = player.interrupt().played_ms
    player.write(noise(0.5, RATE), tag="last")
    assert player.drain(5)
    assert player.played_ms >= before + 500
    assert player.error is None
    player.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def resident_kb() -> int:
    """Memory of this process that is in use, in kB."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def test_an_hour_plays_in_flat_memory() -> None:
    """An hour of replies at over twenty times their pace: exact to the sample, without growing by 2 MB."""
    output = MemoryOutput(keep=False)
    delta = noise(0.1, RATE).tobytes()
    started = time.monotonic()
    with AudioPlayer(output=output) as player:
        baseline = 0
        for second in range(3600):
            for _ in range(10):
                player.write(delta, tag=second // 7)
            assert player.drain(5)
            if second == 60:
                baseline = resident_kb()
        growth = resident_kb() - baseline
        assert player.played_ms == 3_600_000.0
    assert growth < 2048
    assert time.monotonic() - started < 180


def test_opening_tells_the_rate_and_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is asked for the player's rate and block length."""
    asked: list[tuple[int, float]] = []

    class Asked(MemoryOutput):
        def open(self, sample_rate: int, block_ms: float) -> DeviceFormat:
            asked.append((sample_rate, block_ms))
            return super().open(sample_rate, block_ms)

    with AudioPlayer(16000, block_ms=40, output=Asked()):
        pass
    assert asked == [(16000, 40)]
