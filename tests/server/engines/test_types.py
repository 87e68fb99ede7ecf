"""The values that go in and out."""

from __future__ import annotations

import pytest

from qwen_realtime.server.engines import Final, TurnDetection


@pytest.mark.parametrize(("threshold", "probability"), [(-1, 0.02), (0.2, 0.5), (1, 0.98), (-7, 0.02), (7, 0.98)])
def test_the_threshold_maps_onto_a_probability(threshold: float, probability: float) -> None:
    """The ends and the service's default are fixed points, and what is beyond the ends is cut."""
    assert TurnDetection(threshold=threshold).speech_probability == pytest.approx(probability)


def test_a_larger_threshold_wants_clearer_speech() -> None:
    """The mapping rises everywhere."""
    values = [TurnDetection(threshold=step / 20).speech_probability for step in range(-20, 21)]
    assert values == sorted(set(values))


def test_results_are_frozen_and_compare_by_value() -> None:
    """A result can be passed on without being copied."""
    result = Final("yes", 1, 2, "en")
    assert result == Final("yes", 1, 2, "en")
    with pytest.raises(AttributeError):
        result.text = "no"  # type: ignore[misc]
