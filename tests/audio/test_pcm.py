"""Conversion, channels and resampling."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_realtime.audio.pcm import Resampler, mix_to_mono, resample, spread_mono, to_int16
from qwen_realtime.errors import ConfigError
from tests.audio.sounds import decibels, noise, tone

PAIRS = [
    *((24000, 16000), (16000, 24000), (24000, 48000), (48000, 24000), (48000, 16000), (16000, 48000)),
    *((44100, 24000), (24000, 44100), (44100, 16000), (22050, 24000), (8000, 16000)),
]


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
@pytest.mark.parametrize("place", [0.01, 0.1, 0.5, 0.7, 0.8, 0.83, 0.85])
def test_tones_in_the_passband_keep_100_db(from_hz: int, to_hz: int, place: float) -> None:
    """A tone up to 0.85 of the lower Nyquist frequency comes out in place, with over 100 dB of signal to noise."""
    hz = place * min(from_hz, to_hz) / 2
    heard = Resampler(from_hz, to_hz).process_exact(tone(hz, 0.5, from_hz))
    edge = to_hz // 50
    wanted = tone(hz, 0.5, to_hz)[edge : len(heard) - edge]
    assert decibels(wanted, heard[edge : edge + len(wanted)] - wanted) > 100


@pytest.mark.parametrize(("from_hz", "to_hz"), [pair for pair in PAIRS if pair[0] > pair[1]])
@pytest.mark.parametrize("place", [1.05, 1.1, 1.2, 1.35, 1.7, 1.95])
def test_tones_that_cannot_be_are_gone(from_hz: int, to_hz: int, place: float) -> None:
    """A tone from 1.05 of the lower Nyquist frequency up leaves an alias of less than -90 dB."""
    hz = place * to_hz / 2
    if hz > 0.99 * from_hz / 2:
        hz = 0.99 * from_hz / 2
    sound = tone(hz, 0.5, from_hz)
    heard = Resampler(from_hz, to_hz).process_exact(sound)[to_hz // 50 : -to_hz // 50]
    assert decibels(heard, sound) < -90


def test_rounded_output_is_as_good_as_16_bits_allow() -> None:
    """The int16 output is the exact output rounded: 93 dB for a tone that is 4 dB below full scale."""
    heard = resample(np.rint(tone(1000, 0.5, 24000)).astype(np.int16), 24000, 16000)
    wanted = tone(1000, 0.5, 16000)
    assert decibels(wanted[500:-500], heard[500:-500] - wanted[500:-500]) > 90


@settings(max_examples=60, deadline=None)
@given(
    pair=st.sampled_from([*PAIRS, (24000, 24000), (11127, 16000)]),
    cuts=st.lists(st.integers(0, 900), max_size=8),
    seed=st.integers(0, 50),
    quiet=st.booleans(),
)
def test_output_does_not_depend_on_the_blocks(pair: tuple[int, int], cuts: list[int], seed: int, quiet: bool) -> None:
    """Any division into blocks gives the very same samples, in the very same number."""
    sound = noise(0.05, pair[0], seed)
    if quiet:  # small numbers make ties in rounding likely
        sound = np.sign(sound).astype(np.int16)
    resampler = Resampler(*pair)
    at, parts = 0, []
    for cut in cuts:
        parts.append(resampler.process(sound[at : at + cut]))
        at += cut
    parts += [resampler.process(sound[at:]), resampler.flush()]
    whole = resample(sound, *pair)
    assert np.array_equal(np.concatenate(parts), whole)
    assert len(whole) == -(-len(sound) * pair[1] // pair[0])


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_click_comes_out_at_its_time(from_hz: int, to_hz: int) -> None:
    """The filter's delay is not in the output: a click peaks at the same time before and after."""
    click = np.zeros(from_hz // 10, np.int16)
    click[from_hz // 20] = 20000
    peak = int(np.argmax(resample(click, from_hz, to_hz)))
    assert abs(peak / to_hz - from_hz // 20 / from_hz) <= 0.5 / to_hz


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS[:-1])
def test_sound_waits_for_two_milliseconds_at_most(from_hz: int, to_hz: int) -> None:
    """After one second in, at most 2 ms are not out yet."""
    resampler = Resampler(from_hz, to_hz)
    ready = len(resampler.process(noise(1.0, from_hz)))
    assert resampler.delay_ms <= 2.0
    assert ready / to_hz >= 0.998 - 1 / min(from_hz, to_hz)


def test_a_flushed_resampler_starts_anew() -> None:
    """After ``flush`` the same sound gives the same result as the first time."""
    resampler, sound = Resampler(24000, 44100), noise(0.1, 24000)
    first = np.concatenate((resampler.process(sound), resampler.flush()))
    second = np.concatenate((resampler.process(sound), resampler.flush()))
    assert np.array_equal(first, second)
    assert len(resampler.flush()) == 0


def test_equal_rates_pass_through() -> None:
    """Without a change of rate, the very same array comes back at once."""
    sound = noise(0.1, 24000)
    resampler = Resampler(24000, 24000)
    assert resampler.process(sound) is sound
    assert len(resampler.flush()) == 0
    assert resampler.delay_ms == 0


def test_resampling_is_far_faster_than_sound() -> None:
    """Blocks of 20 ms take less than a fiftieth of their length (a four-hundredth, on a quiet machine)."""
    resampler, sound = Resampler(24000, 48000), noise(4.0, 24000)
    started = time.perf_counter()
    for at in range(0, len(sound), 480):
        resampler.process(sound[at : at + 480])
    assert time.perf_counter() - started < 4.0 / 50


def test_loud_sound_is_clipped_not_wrapped() -> None:
    """A full-scale square wave overshoots in the filter, and stays at full scale."""
    square = np.where(np.arange(2400) // 40 % 2, 32767, -32768).astype(np.int16)
    heard = resample(square, 24000, 48000)
    assert heard.max() == 32767
    assert heard.min() == -32768
    assert np.all(np.sign(heard[80:-80:160][:10]) == np.sign(square[40:-40:80][:10]))


@pytest.mark.parametrize("rate", [0, -1, 768_001])
def test_a_rate_that_cannot_be_is_refused(rate: int) -> None:
    """The message names the rate, the hint the bounds."""
    with pytest.raises(ConfigError, match=str(rate)):
        Resampler(24000, rate)


def test_everything_that_is_pcm_becomes_int16() -> None:
    """Bytes, arrays of int16, and floats give the same samples; beyond full scale is clipped, NaN is silence."""
    samples = np.array([0, 1, -1, 32767, -32768], np.int16)
    for audio in (samples.tobytes(), bytearray(samples.tobytes()), memoryview(samples.tobytes()), samples):
        assert np.array_equal(to_int16(audio), samples)
    assert np.array_equal(to_int16(samples.astype(">i2")), samples)
    assert np.array_equal(to_int16(samples.astype(np.float32) / 32768), samples)
    assert to_int16(np.array([2.0, -2.0, np.nan, np.inf, -np.inf])).tolist() == [32767, -32768, 0, 32767, -32768]


@pytest.mark.parametrize(
    ("audio", "named"),
    [
        (b"abc", "3 bytes"),
        (np.zeros((2, 2), np.int16), r"\(2, 2\)"),
        (np.zeros(2, np.int32), "int32"),
        (np.zeros(2, np.uint8), "uint8"),
        (np.zeros(2, np.complex64), "complex64"),
        (np.array(5, np.int16), r"\(\)"),
    ],
)
def test_what_is_no_pcm_is_refused(audio: bytes, named: str) -> None:
    """The message names the dtype, shape or length, and there is a hint."""
    with pytest.raises(ConfigError, match=named) as caught:
        to_int16(audio)
    assert caught.value.hint


def test_channels_are_mixed_by_their_mean() -> None:
    """Loud channels do not overflow, and both layouts give the same."""
    frames = np.array([[32767, 32767], [-32768, -32768], [100, -100], [3, 4]], np.int16)
    assert mix_to_mono(frames).tolist() == [32767, -32768, 0, 4]
    assert mix_to_mono(frames.reshape(-1), 2).tolist() == [32767, -32768, 0, 4]
    assert spread_mono(frames[:, 0], 2).tolist() == [32767, 32767, -32768, -32768, 100, 100, 3, 3]


def test_half_a_frame_is_refused() -> None:
    """Three samples are no frames of two channels."""
    with pytest.raises(ConfigError, match="3 samples"):
        mix_to_mono(np.zeros(3, np.int16), 2)
