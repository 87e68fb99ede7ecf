"""Samples as numpy arrays: conversion, channels, and a resampler that works block by block.

The resampler is a polyphase FIR filter (Kaiser window) that looks 32 samples of the *lower* rate ahead: 2 ms at
16 kHz, 1.3 ms at 24 kHz, 4 ms at 8 kHz. It is flat to 0.85 of the lower Nyquist frequency, and what lies above 1.05
of it is gone: tones below the one come out with more than 100 dB of signal to noise before rounding to 16 bits, tones
above the other leave less than -100 dB.

Its coefficients are rounded to multiples of 2**-32. Products with int16 samples and all their partial sums then fit
the 53 bits of a double exactly, so the order of summation does not matter: the output is the same, bit for bit, for
any division into blocks and on any BLAS.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from qwen_realtime.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_realtime.audio.bytes import Audio

_REACH = 32  # filter half-length in samples of the lower rate: sets the delay and, with the window, the transition
_CUTOFF = 0.95  # of the lower Nyquist frequency: the middle of the transition band, where the gain is one half
_KAISER_BETA = 10.0  # 100 dB of stopband; with _REACH this makes the transition 0.2 of the lower Nyquist frequency wide
_COEFFICIENT_STEP = 2.0**-32
_PIECE = 4096  # input samples filtered at once: bounds the scratch memory for long blocks
_MATRIX_LIMIT = 1 << 19  # entries; beyond it (unusual rate pairs) windows are gathered one output at a time
_HIGHEST_RATE = 768_000


def to_int16(audio: Audio) -> NDArray[np.int16]:
    """Return ``audio`` as a one-dimensional int16 array; bytes and int16 arrays are viewed, not copied.

    Args:
        audio: bytes-like 16-bit little-endian PCM of even length, or a one-dimensional array, int16 or
            float32/float64 within -1…1 (clipped beyond; NaN counts as silence).

    Raises:
        ConfigError: an odd number of bytes, another dtype, or more than one dimension.
    """
    if isinstance(audio, (bytes, bytearray)) or (isinstance(audio, memoryview) and audio.format in ("B", "b", "c")):
        if len(audio) % 2:
            raise ConfigError(
                f"{len(audio)} bytes are not whole 16-bit samples",
                hint="carry the odd byte over to the next chunk, as qwen_realtime.audio.OddByteCarry does",
            )
        return np.frombuffer(audio, dtype="<i2")
    array = np.asarray(audio)
    if array.ndim != 1:
        raise ConfigError(
            f"audio has shape {array.shape}, not one dimension",
            hint="mono only: pass audio[:, 0], or qwen_realtime.audio.mix_to_mono(audio)",
        )
    if array.dtype.kind == "i" and array.dtype.itemsize == 2:
        return array.astype(np.int16, copy=False)
    if array.dtype in (np.float32, np.float64):
        scaled = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=1.0, neginf=-1.0) * 32768.0
        return _round(scaled)
    raise ConfigError(
        f"audio has dtype {array.dtype}",
        hint="pass int16 samples (audio.astype('int16')), or float32 within -1…1",
    )


def mix_to_mono(samples: NDArray[np.int16], channels: int | None = None) -> NDArray[np.int16]:
    """Return the mean of all channels as mono.

    Args:
        samples: int16, either of shape (frames, channels), or interleaved in one dimension.
        channels: how many channels are interleaved; needed for one dimension only.

    Raises:
        ConfigError: the samples do not divide into whole frames.
    """
    if samples.ndim == 1:
        if channels is None or channels < 1 or len(samples) % channels:
            raise ConfigError(
                f"{len(samples)} samples do not divide into frames of {channels} channels",
                hint="pass whole frames, or an array of shape (frames, channels)",
            )
        samples = samples.reshape(-1, channels)
    if samples.shape[1] == 1:
        return samples[:, 0]
    return _round(samples.sum(axis=1, dtype=np.int64) / samples.shape[1])


def spread_mono(samples: NDArray[np.int16], channels: int) -> NDArray[np.int16]:
    """Return mono ``samples`` on ``channels`` equal channels, interleaved in one dimension."""
    return samples if channels == 1 else np.repeat(samples, channels)


def resample(samples: NDArray[np.int16], from_hz: int, to_hz: int) -> NDArray[np.int16]:
    """Return all of ``samples`` (int16 mono) at another rate: ``ceil(len * to_hz / from_hz)`` samples, time-aligned."""
    resampler = Resampler(from_hz, to_hz)
    return np.concatenate((resampler.process(samples), resampler.flush()))


class Resampler:
    """Changes the sample rate of a mono stream, block by block, with state kept between blocks.

    The output is time-aligned (the filter's delay is not in it) and does not depend on how the input is divided. Equal
    rates pass through. Not thread-safe: one owner feeds it, in stream order.

    Args:
        from_hz: rate of the input, 1 Hz to 768 kHz.
        to_hz: rate of the output, same bounds.

    Raises:
        ConfigError: a rate out of bounds.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        for rate in (from_hz, to_hz):
            if not 1 <= rate <= _HIGHEST_RATE:
                raise ConfigError(f"a sample rate of {rate} Hz cannot be", hint=f"give 1 to {_HIGHEST_RATE} Hz")
        common = gcd(from_hz, to_hz)
        self.from_hz = from_hz
        self.to_hz = to_hz
        self._up = to_hz // common
        self._down = from_hz // common
        self._filter = _Filter.of(self._up, self._down)
        self._restart()

    @property
    def delay_ms(self) -> float:
        """How much input (ms) must follow a moment before that moment comes out; 0 for equal rates."""
        return 0.0 if self.from_hz == self.to_hz else self._filter.reach * 1000.0 / self.from_hz

    def process(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take int16 mono samples and return what has become ready, possibly nothing."""
        if self.from_hz == self.to_hz:
            return samples
        return _round(self.process_exact(samples))

    def flush(self) -> NDArray[np.int16]:
        """Return what the filter still holds, as if silence followed, and start anew.

        In all, ``ceil(samples in * to_hz / from_hz)`` samples come out.
        """
        if self.from_hz == self.to_hz:
            return np.empty(0, np.int16)
        due = -(-self._taken * self._up // self._down) - self._given
        rest = self.process_exact(np.zeros(2 * self._filter.reach, np.int16))
        self._restart()
        return _round(rest[:due])

    def _restart(self) -> None:
        self._taken = 0  # input samples since the start
        self._given = 0  # output samples since the start
        # Input that is still needed: it begins with the window of the first output of the group in progress, and at
        # the start that is the silence before the sound.
        self._held: NDArray[np.float64] = np.zeros(self._filter.reach)

    def process_exact(self, samples: NDArray[np.int16] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Like ``process``, before rounding to 16 bits; for measurements. Equal rates are filtered too."""
        pieces = [self._advance(samples[at : at + _PIECE]) for at in range(0, len(samples), _PIECE)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0)

    def _advance(self, samples: NDArray[np.int16] | NDArray[np.float64]) -> NDArray[np.float64]:
        # Outputs come in groups of `up`, and each group moves on by `down` input samples; `skip` outputs of the first
        # group were given before.
        self._taken += len(samples)
        held: NDArray[np.float64] = np.concatenate((self._held, samples), dtype=np.float64)
        skip = self._given % self._up
        ready = max(0, ((len(held) - self._filter.taps) * self._up) // self._down + 1)
        if ready <= skip:
            self._held = held
            return np.empty(0)
        output = self._filter.apply(held, skip, ready)
        self._given += ready - skip
        self._held = held[ready // self._up * self._down :].copy()
        return output


class _Filter:
    """The coefficients for one rate pair, shared by all resamplers that use it; never changed once built."""

    def __init__(self, up: int, down: int) -> None:
        self.up = up
        self.down = down
        self.reach = _REACH * max(up, down) // up  # in input samples
        self.taps = 2 * self.reach + 1
        self.phases = _phases(up, down, self.reach)
        index = np.arange(up) * down
        self._start = index // up  # first input sample of each output's window, from the group's first
        self._phase = index % up
        self._width = int(self._start[-1]) + self.taps
        self._matrix: NDArray[np.float64] | None = None
        if self._width * up <= _MATRIX_LIMIT:
            self._matrix = np.zeros((self._width, up))
            for column, (start, phase) in enumerate(zip(self._start, self._phase, strict=True)):
                self._matrix[start : start + self.taps, column] = self.phases[phase]

    @staticmethod
    @lru_cache(maxsize=8)
    def of(up: int, down: int) -> _Filter:
        return _Filter(up, down)

    def apply(self, held: NDArray[np.float64], skip: int, ready: int) -> NDArray[np.float64]:
        """Return outputs ``skip`` to ``ready`` of the groups that start at ``held[0]``."""
        if self._matrix is None:
            wanted = np.arange(skip, ready)
            windows = sliding_window_view(held, self.taps)
            gathered: NDArray[np.float64] = np.einsum(
                "ij,ij->i", windows[wanted * self.down // self.up], self.phases[wanted * self.down % self.up]
            )
            return gathered
        groups = -(-ready // self.up)
        missing = (groups - 1) * self.down + self._width - len(held)
        if missing > 0:  # the last group's late outputs are computed from silence, and cut off below
            held = np.concatenate((held, np.zeros(missing)))
        step = held.strides[0]
        rows = as_strided(held, (groups, self._width), (self.down * step, step), writeable=False)
        output: NDArray[np.float64] = np.ascontiguousarray(rows) @ self._matrix
        return output.reshape(-1)[skip:ready]


def _phases(up: int, down: int, reach: int) -> NDArray[np.float64]:
    """Return the filter as an array (up, taps): row p is applied where the output lies p/up after an input sample."""
    offsets = np.arange(-reach, reach + 1)[None, :] - np.arange(up)[:, None] / up  # in input samples, from the output
    lower = min(1.0, up / down)  # lower rate / input rate
    position = offsets * lower / _REACH
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1.0 - position**2, 0.0, None))) * (np.abs(position) <= 1.0)
    phases = np.sinc(offsets * lower * _CUTOFF) * window
    # Each row sums to one: a constant comes out as itself at every phase.
    phases /= phases.sum(axis=1, keepdims=True)
    rounded: NDArray[np.float64] = np.rint(phases / _COEFFICIENT_STEP) * _COEFFICIENT_STEP
    return rounded


def _round(samples: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
