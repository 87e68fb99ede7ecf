"""What the player decides, in virtual time: no thread, no device, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_realtime.audio.schedule import REST, SILENCE, Playout, Schedule
from tests.audio.sounds import noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_realtime.audio.tracks import Tag

RATE = 1000  # a sample is a millisecond
BLOCK = 20


class Device:
    """A schedule and a device that takes a block of 20 ms every 20 ms of virtual time, after a latency."""

    def __init__(self, prebuffer_ms: float = 60, latency_ms: float = 0) -> None:
        self.schedule = Schedule(RATE, BLOCK / 1000, prebuffer_ms / 1000, 3600)
        self.now = 0.0
        self.latency_s = latency_ms / 1000
        self.heard: list[NDArray[np.int16]] = []
        self.silences = 0
        self.rests = 0

    @property
    def sound(self) -> NDArray[np.int16]:
        """All sound that came, without silence."""
        return np.concatenate([np.empty(0, np.int16), *self.heard])

    def write(self, samples: NDArray[np.int16], tag: Tag = None) -> bool:
        """Write at the present moment."""
        return self.schedule.write(samples, tag, self.now)

    def run(self, ms: float) -> None:
        """Let time pass."""
        end = self.now + ms / 1000
        while self.now < end - 1e-9:
            block = self.schedule.due(self.now)
            if block is None:
                wake_at = self.schedule.wake_at()
                self.now = end if wake_at is None else min(end, max(wake_at, self.now + 1e-6))
            elif block is REST:
                self.rests += 1
                self.schedule.delivered(block, self.now, 0.0, False)
            else:
                self.now += (len(block.samples) or BLOCK) / 1000
                self.heard.append(block.samples)
                self.silences += block is SILENCE
                self.schedule.delivered(block, self.now, self.latency_s, False)


def test_playing_waits_for_the_prebuffer() -> None:
    """Nothing is due with 59 ms; with 60 ms it flows, unaltered."""
    device = Device(prebuffer_ms=60)
    sound = noise(0.1, RATE)
    device.write(sound[:59])
    assert device.schedule.due(0.0) is None
    device.write(sound[59:])
    device.run(100)
    assert np.array_equal(device.sound, sound)
    assert device.schedule.played == 100


def test_a_short_reply_plays_without_a_full_prebuffer() -> None:
    """When nothing more came for as long as the prebuffer, what there is plays."""
    device = Device(prebuffer_ms=60)
    device.write(noise(0.03, RATE))
    device.run(59)
    assert device.schedule.played == 0
    device.run(40)
    assert device.schedule.played == 30


@pytest.mark.parametrize("sign", ["end", "end_last", "next tag"])
def test_a_complete_reply_need_not_wait(sign: str) -> None:
    """The end of a tag, or sound of the next, starts playing at once."""
    device = Device(prebuffer_ms=60)
    device.write(noise(0.03, RATE), "a")
    if sign == "end":
        device.schedule.end("a")
    elif sign == "end_last":
        device.schedule.end_last()
    else:
        device.write(noise(0.01, RATE), "b")
    device.run(30)
    assert device.schedule.played >= 30


def test_running_dry_within_a_tag_is_one_underrun() -> None:
    """It is counted when the same tag goes on, and playing waits for 400 ms before it goes on."""
    device = Device()
    device.write(noise(0.1, RATE), "a")
    device.run(300)
    assert device.schedule.underruns == 0
    device.write(noise(0.1, RATE), "a")
    assert device.schedule.underruns == 1
    device.run(100)
    assert device.schedule.played == 100
    device.write(noise(0.3, RATE), "a")
    device.run(20)
    assert device.schedule.played == 120


def test_the_refill_grows_with_underruns_and_shrinks_without() -> None:
    """Twice as much after each underrun up to 1.6 s, and half as much after each tag without."""
    device = Device()
    waits = []
    for tag in "aaaaabcd":
        device.write(noise(0.5, RATE), tag)
        played, waited = device.schedule.played, 0
        while device.schedule.played == played and waited < 5000:
            device.run(BLOCK)
            waited += BLOCK
        waits.append(waited - BLOCK)
        device.run(600)
    # The writer falls quiet after half a second: where more than that is to wait, so much time passes.
    assert waits == [0, 0, 800, 1600, 1600, 1600, 800, 0]
    assert device.schedule.underruns == 4


@pytest.mark.parametrize(
    ("first", "second", "gap_ms", "ended", "counted"),
    [
        ("a", "a", 300, False, 1),
        ("a", "a", 3000, False, 1),
        ("a", "a", 300, True, 0),
        ("a", "b", 300, False, 0),
        (None, None, 300, False, 1),
        (None, None, 3000, False, 0),
    ],
)
def test_what_counts_as_an_underrun(first: Tag, second: Tag, gap_ms: float, ended: bool, counted: int) -> None:
    """Only sound missing within one tag; without a tag a long gap is the end of a speech."""
    device = Device()
    device.write(noise(0.1, RATE), first)
    if ended:
        device.schedule.end(first)
    device.run(100 + gap_ms)
    device.write(noise(0.1, RATE), second)
    assert device.schedule.underruns == counted


def test_the_device_latency_is_used_as_reserve() -> None:
    """While the device still has 60 ms, sound that comes 15 ms late is no underrun and leaves no gap."""
    device = Device(latency_ms=60)
    sound = noise(0.2, RATE)
    device.write(sound[:100])
    device.run(115)
    device.write(sound[100:])
    device.run(100)
    assert device.schedule.underruns == 0
    assert np.array_equal(device.sound[:200], sound)
    assert device.silences == 0


def test_silence_follows_the_sound_and_then_rest() -> None:
    """Half a second of silence, one rest, nothing more; new sound wakes the device."""
    device = Device()
    device.write(noise(0.1, RATE))
    device.run(5000)
    assert device.silences == 25
    assert device.rests == 1
    device.schedule.end_last()
    device.write(noise(0.1, RATE))
    device.run(5000)
    assert device.rests == 2


def test_an_interruption_fades_and_reports_what_was_heard() -> None:
    """What was played and the fade count as heard; the rest is discarded; silence follows."""
    device = Device()
    device.write(np.full(1000, 10000, np.int16), "a")
    device.write(noise(0.5, RATE), "b")
    device.run(200)
    playout = device.schedule.cut()
    assert playout == Playout("a", 205.0, {"a": 205.0, "b": 0.0}, 1295.0, 205.0)
    device.run(100)
    assert device.sound[200:].tolist() == [10000, 7500, 5000, 2500, 0]
    assert device.schedule.played == 205
    assert device.silences == 5


def test_what_is_with_the_device_counts_as_heard() -> None:
    """A block that the device is taking cannot be taken back."""
    device = Device()
    device.write(noise(0.2, RATE), "a")
    block = device.schedule.due(0.0)
    assert block is not None
    assert device.schedule.cut().heard == {"a": 25.0}
    device.schedule.delivered(block, 0.02, 0.0, False)
    device.run(100)
    assert device.schedule.played == 25


def test_interrupted_tags_stay_silent_and_others_play() -> None:
    """Late sound of every tag that was cut is dropped, that of a new one plays from its first whole sample."""
    device = Device()
    device.write(noise(0.1, RATE), "a")
    device.schedule.write(b"\x01", "b", 0.0)
    device.schedule.cut()
    assert not device.write(noise(0.1, RATE), "a")
    assert device.schedule.write(b"\x02\x03\x04\x05", "c", 0.0)
    device.run(200)
    assert device.sound.tobytes() == b"\x02\x03\x04\x05"


def test_a_reply_that_was_heard_to_its_end_is_cut_off_too() -> None:
    """An interruption in a gap drops what still comes of the last tag."""
    device = Device()
    device.write(noise(0.1, RATE), "a")
    device.run(500)
    assert device.schedule.cut().heard == {"a": 100.0}
    assert not device.write(noise(0.1, RATE), "a")
    assert device.schedule.underruns == 0


def test_sound_without_a_tag_plays_after_an_interruption() -> None:
    """It cannot be told from what comes next."""
    device = Device()
    device.write(noise(0.1, RATE))
    assert device.schedule.cut().tag is None
    assert device.write(noise(0.1, RATE))


def test_the_memory_of_tags_is_bounded() -> None:
    """A thousand replies later, an interrupted tag is forgotten; 255 later it is not."""
    device = Device()
    device.write(noise(0.1, RATE), "old")
    device.schedule.cut()
    for number in range(255):
        device.write(noise(0, RATE), number)
    assert not device.write(noise(0.01, RATE), "old")
    for number in range(1000):
        device.write(noise(0, RATE), number)
    assert device.write(noise(0.01, RATE), "old")


def test_a_pause_fades_out_and_in_and_loses_nothing() -> None:
    """After ``resume`` it goes on with the very next sample, at once; the gap is no underrun."""
    device = Device()
    sound = np.full(400, 10000, np.int16)
    device.write(sound, "a")
    device.run(100)
    device.schedule.pause()
    device.run(1000)
    assert device.schedule.played == 105
    assert device.schedule.wake_at() is None
    device.schedule.resume()
    device.run(300)
    device.run(100)
    assert device.schedule.played == 400
    assert device.schedule.underruns == 0
    assert device.sound[100:110].tolist() == [10000, 7500, 5000, 2500, 0, 0, 2500, 5000, 7500, 10000]


def test_the_first_sample_of_each_tag_has_its_time() -> None:
    """Counted back from when the block with it was taken, within the block, plus the device's latency."""
    device = Device(latency_ms=40)
    device.write(noise(0.07, RATE), "a")
    device.write(noise(0.07, RATE), "b")
    device.run(140)
    first, second = device.schedule.tracks["a"].first_heard, device.schedule.tracks["b"].first_heard
    assert first == pytest.approx(0.040)
    assert second == pytest.approx(0.110)


def test_the_end_is_when_the_device_is_through() -> None:
    """The quiet comes after the last sample and the latency, not before silence has pushed it out."""
    device = Device(latency_ms=200)
    device.write(noise(0.1, RATE))
    device.schedule.end_last()
    assert device.schedule.quiet_at is None
    device.run(100)
    assert device.schedule.quiet_at is None
    device.run(40)
    assert device.schedule.quiet_at == pytest.approx(0.3)


def test_a_device_that_ran_dry_in_the_midst_is_an_underrun() -> None:
    """Reported by the device when this thread came too late; before the first sound it is none."""
    device = Device()
    device.write(noise(0.1, RATE))
    for ran_dry in (True, True, False):
        block = device.schedule.due(0.0)
        assert block is not None
        device.schedule.delivered(block, 0.0, 0.0, ran_dry)
    assert device.schedule.underruns == 1


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, 400), st.sampled_from("abc")),
            st.tuples(st.just("run"), st.integers(0, 300), st.none()),
            st.tuples(st.just("pause"), st.just(0), st.none()),
            st.tuples(st.just("resume"), st.just(0), st.none()),
        ),
        max_size=25,
    ),
    prebuffer_ms=st.integers(0, 200),
    latency_ms=st.integers(0, 200),
)
def test_every_sample_plays_once_and_in_order(
    steps: list[tuple[str, int, str | None]], prebuffer_ms: int, latency_ms: int
) -> None:
    """Whatever happens but an interruption: in the end all samples were played, and counted for their tags."""
    device = Device(prebuffer_ms, latency_ms)
    written: dict[str, int] = {}
    total = 0
    for step, amount, tag in steps:
        if step == "write" and tag is not None:
            samples = np.arange(total + 1, total + amount + 1).astype(np.int16)
            assert device.write(samples, tag)
            written[tag] = written.get(tag, 0) + amount
            total += amount
        elif step == "run":
            device.run(amount)
        elif step == "pause":
            device.schedule.pause()
        else:
            device.schedule.resume()
    device.schedule.resume()
    device.schedule.end_last()
    device.run(total + 1000)
    assert device.schedule.played == len(device.sound) == total
    assert {tag: device.schedule.tracks[tag].played for tag in written} == written
    if not any(step == "pause" for step, _, _ in steps):
        assert device.sound.tolist() == list(range(1, total + 1))
