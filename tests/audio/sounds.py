"""Sounds for the tests of this folder, and how to find them again in a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def noise(seconds: float, sample_rate: int, seed: int = 1) -> NDArray[np.int16]:
    """White noise: no stretch of it looks like another, so that a lost or doubled sample shows."""
    wave = np.random.default_rng(seed).normal(0.0, 4000.0, round(seconds * sample_rate))
    samples: NDArray[np.int16] = np.clip(np.rint(wave), -32000, 32000).astype(np.int16)
    return samples


def speechlike(seconds: float, sample_rate: int, seed: int = 1) -> NDArray[np.int16]:
    """Bursts of noise, four a second, with pauses that are quiet but not empty."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    envelope = 0.05 + 0.95 * np.clip(np.sin(2 * np.pi * 4 * time) * np.sin(2 * np.pi * 0.4 * time), 0, 1)
    samples: NDArray[np.int16] = np.rint(noise(seconds, sample_rate, seed) * envelope).astype(np.int16)
    return samples


def tone(hz: float, seconds: float, sample_rate: int, amplitude: float = 20000.0) -> NDArray[np.float64]:
    """A sine, unrounded."""
    wave: NDArray[np.float64] = amplitude * np.sin(
        2 * np.pi * hz * np.arange(round(seconds * sample_rate)) / sample_rate + 0.3
    )
    return wave


def decibels(signal: NDArray[np.float64], rest: NDArray[np.float64]) -> float:
    """How much stronger a signal is than the rest, in dB."""
    return float(10 * np.log10(np.mean(np.square(signal)) / np.mean(np.square(rest))))


def find(recording: NDArray[np.int16], samples: NDArray[np.int16]) -> int:
    """Return where the first 64 of ``samples`` occur in ``recording``, or -1."""
    wanted, data = samples[:64].tobytes(), recording.tobytes()
    at = data.find(wanted)
    while at > 0 and at % 2:
        at = data.find(wanted, at + 1)
    return at // 2 if at >= 0 else -1
