"""One listener's results, with a scripted detector and ear."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_realtime.server.engines import (
    Failed,
    Final,
    Flushed,
    ListenResult,
    Partial,
    SpeechStarted,
    SpeechStopped,
    TurnDetection,
)
from qwen_realtime.server.engines.listening import Listening
from qwen_realtime.server.engines.vad import Samples

LOUD, QUIET = 1000, 0


class LevelActivity:
    """Any sound is speech."""

    lag_frames = 0

    def probability(self, frame: Samples) -> float:
        """Return 1 for a frame with sound in it."""
        return float(np.any(frame))


class CountingEar:
    """Hears one word per 100 ms and knows how much sound each segment got."""

    def __init__(self) -> None:
        self.segments: list[int] = []

    def segment(self) -> CountingEar:
        """Begin a segment."""
        self.segments.append(0)
        return self

    def forget(self) -> None:
        """Learn nothing."""

    def feed(self, samples: Samples) -> None:
        """Count."""
        self.segments[-1] += len(samples)

    def draft(self) -> str:
        """Return what may change."""
        return f"draft{self.segments[-1]}"

    def end(self) -> str:
        """Return what stays."""
        return f"segment{len(self.segments)}"


def sound(*runs: tuple[int, int]) -> bytes:
    """Return runs of (level, ms) at 16 kHz as bytes."""
    return np.concatenate([np.full(ms * 16, level, np.int16) for level, ms in runs]).tobytes()


def listener(
    results: list[ListenResult],
    *,
    manual: bool = False,
    silence_ms: int = 640,
    ear: CountingEar | None = None,
    failure: Failed | None = None,
    clock_ms: int = 0,
    sample_rate: int = 16000,
) -> Listening:
    """Return a listener with scripted parts."""
    return Listening(
        sample_rate=sample_rate,
        turn_detection=None if manual else TurnDetection(silence_duration_ms=silence_ms),
        activity=LevelActivity(),
        ear=ear,
        language="en",
        failure=failure,
        clock_ms=clock_ms,
        emit=results.append,
    )


def without_partials(results: list[ListenResult]) -> list[ListenResult]:
    """Return the results that do not depend on drafts."""
    return [result for result in results if not isinstance(result, Partial)]


def test_an_utterance_is_told_in_order() -> None:
    """Start, drafts, confirmed parts, stop, final; the edges are those of the sound."""
    results: list[ListenResult] = []
    listening = listener(results, ear=CountingEar())
    listening.feed(sound((QUIET, 960), (LOUD, 960), (QUIET, 480), (LOUD, 480), (QUIET, 1600)))
    listening.finish()
    assert without_partials(results) == [
        SpeechStarted(960),
        SpeechStopped(2880),
        Final("segment1 segment2", 960, 2880, "en"),
        Flushed(),
    ]
    partials = [result for result in results if isinstance(result, Partial)]
    assert partials[0].text == ""
    assert Partial("segment1", "") in partials
    assert any(partial.text == "segment1" and partial.stash.startswith(" draft") for partial in partials)


def test_confirmed_text_only_grows() -> None:
    """Each partial's text begins with the one before, and the final text with all of them."""
    results: list[ListenResult] = []
    listening = listener(results, ear=CountingEar(), silence_ms=960)
    listening.feed(sound(*[(LOUD, 640), (QUIET, 480)] * 6, (QUIET, 1600)))
    texts = [result.text for result in results if isinstance(result, (Partial, Final))]
    assert len(set(texts)) == 7
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


def test_partials_come_every_hundred_milliseconds_at_most() -> None:
    """Ten seconds of speech give about a hundred drafts."""
    results: list[ListenResult] = []
    listener(results, ear=CountingEar()).feed(sound((LOUD, 10_000)))
    assert 95 <= sum(isinstance(result, Partial) for result in results) <= 105


def test_the_decoder_hears_the_sound_before_the_onset() -> None:
    """Some 300 ms come before the speech and after it."""
    ear = CountingEar()
    listener([], ear=ear).feed(sound((QUIET, 2000), (LOUD, 960), (QUIET, 2000)))
    assert 960 + 550 < ear.segments[0] / 16 < 960 + 900


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 7000), min_size=1, max_size=40))
def test_the_division_into_blocks_does_not_matter(sizes: list[int]) -> None:
    """What comes fast and in odd pieces is heard as if it came slowly and evenly."""
    pcm = sound((QUIET, 500), (LOUD, 700), (QUIET, 400), (LOUD, 300), (QUIET, 1000))
    whole: list[ListenResult] = []
    listening = listener(whole, ear=CountingEar(), sample_rate=24000)
    listening.feed(pcm)
    listening.finish()
    pieces: list[ListenResult] = []
    listening = listener(pieces, ear=CountingEar(), sample_rate=24000)
    at = 0
    while at < len(pcm):
        for size in sizes:
            listening.feed(pcm[at : at + 2 * size])
            at += 2 * size
    listening.finish()
    assert pieces == whole


def test_manual_mode_ends_only_by_commit() -> None:
    """No edges are reported; every commit has its final, an empty one too."""
    results: list[ListenResult] = []
    listening = listener(results, manual=True, ear=CountingEar())
    listening.feed(sound((QUIET, 640), (LOUD, 640), (QUIET, 5120), (LOUD, 640)))
    assert without_partials(results) == []
    listening.commit()
    listening.feed(sound((QUIET, 960)))
    listening.commit()
    assert without_partials(results) == [
        Final("segment1 segment2", 640, 7040, "en"),
        Final("", 8000, 8000, "en"),
    ]


def test_finishing_manual_mode_transcribes_speech_that_waits() -> None:
    """Speech without a commit is not lost, and silence gives no final."""
    for level, finals in ((LOUD, 1), (QUIET, 0)):
        results: list[ListenResult] = []
        listening = listener(results, manual=True, ear=CountingEar())
        listening.feed(sound((level, 640)))
        listening.finish()
        assert sum(isinstance(result, Final) for result in results) == finals
        assert results[-1] == Flushed()


def test_the_clock_runs_through_clear_and_commit() -> None:
    """Positions are measured from the first byte ever fed; half a frame at a commit does not move them."""
    results: list[ListenResult] = []
    listening = listener(results, manual=True, ear=CountingEar())
    for _ in range(50):
        listening.feed(sound((QUIET, 1)))
        listening.commit()
    listening.clear()
    results.clear()
    listening.feed(sound((QUIET, 950), (LOUD, 640)))
    listening.commit()
    (final,) = without_partials(results)
    assert isinstance(final, Final)
    assert abs(final.audio_start_ms - 1000) <= 32


def test_clear_forgets_the_utterance() -> None:
    """Neither stop nor final follows; the next utterance is whole."""
    results: list[ListenResult] = []
    listening = listener(results, ear=CountingEar())
    listening.feed(sound((LOUD, 960)))
    listening.clear()
    listening.feed(sound((QUIET, 1920)))
    assert without_partials(results) == [SpeechStarted(0)]
    listening.feed(sound((LOUD, 640), (QUIET, 960)))
    assert without_partials(results)[1:] == [
        SpeechStarted(2880),
        SpeechStopped(3520),
        Final("segment2", 2880, 3520, "en"),
    ]


def test_a_failure_takes_the_place_of_the_transcript() -> None:
    """Edges are reported, and once per utterance the reason."""
    failure = Failed("unsupported_language", "no model")
    results: list[ListenResult] = []
    listener(results, ear=None, failure=failure).feed(sound(*[(LOUD, 640), (QUIET, 960)] * 2))
    assert results == [
        SpeechStarted(0),
        SpeechStopped(640),
        failure,
        SpeechStarted(1600),
        SpeechStopped(2240),
        failure,
    ]


def test_without_an_ear_there_are_edges_only() -> None:
    """Turn detection works without transcription."""
    results: list[ListenResult] = []
    listening = listener(results, clock_ms=5000)
    listening.feed(sound((LOUD, 640), (QUIET, 960)))
    listening.finish()
    assert results == [SpeechStarted(5000), SpeechStopped(5640), Flushed()]


def test_endless_speech_is_confirmed_in_parts() -> None:
    """Half a minute without a pause does not grow one draft for ever."""
    results: list[ListenResult] = []
    ear = CountingEar()
    listener(results, ear=ear).feed(sound((LOUD, 70_000)))
    assert len(ear.segments) == 3
    assert max(ear.segments) <= 31 * 16000


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_positions_do_not_depend_on_the_rate(rate: int) -> None:
    """Sound at any rate is put on the same clock."""
    results: list[ListenResult] = []
    listening = listener(results, sample_rate=rate)
    runs = ((QUIET, 960), (LOUD, 960), (QUIET, 960))
    pcm = np.concatenate([np.full(ms * rate // 1000, level, np.int16) for level, ms in runs])
    listening.feed(pcm.tobytes())
    started, stopped = results
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert abs(started.audio_start_ms - 960) <= 32
    assert abs(stopped.audio_end_ms - 1920) <= 32
