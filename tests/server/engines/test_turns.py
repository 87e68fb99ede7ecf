"""Onsets, pauses and ends out of probabilities."""

from __future__ import annotations

from qwen_realtime.server.engines.turns import End, Onset, Pause, Resumption, Turn, TurnTracker


def follow(tracker: TurnTracker, *runs: tuple[float, int]) -> list[Turn]:
    """Push runs of equal probabilities and return all turns."""
    return [turn for probability, count in runs for _ in range(count) for turn in tracker.push(probability)]


def test_an_utterance_starts_at_its_first_frame_and_ends_where_the_silence_began() -> None:
    """The positions are those of the edges, not of their detection."""
    tracker = TurnTracker(0.5, 320)
    assert follow(tracker, (0.0, 10), (0.9, 20), (0.0, 10)) == [Onset(10), Pause(30), End(30)]
    assert not tracker.in_utterance


def test_a_click_is_not_speech() -> None:
    """Two loud frames are too short for a word."""
    assert follow(TurnTracker(0.5, 320), (0.0, 5), (1.0, 2), (0.0, 50)) == []


def test_a_weak_beginning_belongs_to_the_utterance() -> None:
    """Frames above the lower threshold just before the onset are counted in."""
    assert follow(TurnTracker(0.5, 320), (0.0, 5), (0.4, 2), (0.9, 3)) == [Onset(5)]


def test_a_pause_and_a_resumption_stay_within_the_utterance() -> None:
    """A pause shorter than the silence that ends an utterance is reported as such."""
    turns = follow(TurnTracker(0.5, 960), (0.9, 10), (0.0, 15), (0.9, 10), (0.0, 30))
    assert turns == [Onset(0), Pause(10), Resumption(25), Pause(35), End(35)]


def test_a_click_does_not_postpone_the_end() -> None:
    """Silence goes on being counted through a noise that is too short for speech."""
    turns = follow(TurnTracker(0.5, 960), (0.9, 10), (0.0, 20), (1.0, 1), (0.0, 9))
    assert turns == [Onset(0), Pause(10), End(10)]


def test_the_probability_may_sag_to_the_lower_threshold() -> None:
    """Between the thresholds a voice goes on but does not begin."""
    assert follow(TurnTracker(0.5, 320), (0.4, 20)) == []
    assert follow(TurnTracker(0.5, 320), (0.6, 3), (0.4, 100)) == [Onset(0)]


def test_manual_mode_never_ends_an_utterance() -> None:
    """Without a silence there are pauses only."""
    tracker = TurnTracker(0.5, None)
    assert follow(tracker, (0.9, 10), (0.0, 1000)) == [Onset(0), Pause(10)]
    assert tracker.in_utterance
    assert tracker.speech_end == 10


def test_after_a_reset_the_frame_count_goes_on() -> None:
    """Positions are those of the stream, not of the utterance."""
    tracker = TurnTracker(0.5, 320)
    follow(tracker, (0.9, 10))
    tracker.reset()
    assert follow(tracker, (0.0, 10), (0.9, 3)) == [Onset(20)]


def test_the_next_utterance_begins_after_the_end_of_the_last() -> None:
    """Weak frames within an utterance's closing silence are not claimed by the next one."""
    turns = follow(TurnTracker(0.5, 960), (0.9, 5), (0.0, 10), (0.4, 25), (0.9, 3))
    assert [type(turn) for turn in turns] == [Onset, Pause, End, Onset]
    assert turns[-1] == Onset(35)
