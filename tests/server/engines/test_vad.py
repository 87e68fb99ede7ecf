"""Speech or not, frame by frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qwen_realtime.server.engines import Engines
from qwen_realtime.server.engines.vad import EnergyActivity, Samples, SileroActivity, VoiceActivity


def probabilities(activity: VoiceActivity, samples: Samples) -> list[float]:
    """Return the probability of each whole frame."""
    return [activity.probability(samples[start : start + 512]) for start in range(0, len(samples) - 511, 512)]


@pytest.mark.parametrize("detector", [SileroActivity, EnergyActivity])
def test_speech_stands_out(
    engines: Engines, speak: Callable[..., bytes], detector: Callable[[], VoiceActivity]
) -> None:
    """A voice is told from the silence around it."""
    voice = np.frombuffer(speak(engines, "All the boats came home.", sample_rate=16000), np.int16)
    silence = np.random.default_rng(1).normal(0, 15, 32000).astype(np.int16)
    found = probabilities(detector(), np.concatenate([silence, voice, silence]))
    assert max(found[:60]) < 0.5
    assert np.mean(np.array(found[75:100]) > 0.5) > 0.8
    assert max(found[-50:]) < 0.5


def test_loud_noise_is_not_speech_to_silero() -> None:
    """The network tells a voice from noise; the level alone could not."""
    noise = np.random.default_rng(2).normal(0, 3000, 32000).astype(np.int16)
    assert np.mean(np.array(probabilities(SileroActivity(), noise)) > 0.5) < 0.05


def test_silence_costs_silero_nothing_and_spoils_nothing(engines: Engines, speak: Callable[..., bytes]) -> None:
    """Digital silence is not put to the network, and speech after it is found as at the start."""
    voice = np.frombuffer(speak(engines, "All the boats came home.", sample_rate=16000), np.int16)
    voice = voice[: len(voice) // 512 * 512]
    activity = SileroActivity()
    first = probabilities(activity, voice)
    assert probabilities(activity, np.zeros(512 * 20, np.int16))[-5:] == [0.0] * 5
    again = probabilities(activity, voice)
    assert np.mean(np.abs(np.array(first) - np.array(again))) < 0.05


def test_the_energy_floor_follows_steady_noise() -> None:
    """Noise that stays becomes the floor after some seconds."""
    noise = np.random.default_rng(3).normal(0, 200, 16000 * 20).astype(np.int16)
    found = probabilities(EnergyActivity(), noise)
    assert found[0] > 0.5
    assert max(found[-100:]) < 0.5
