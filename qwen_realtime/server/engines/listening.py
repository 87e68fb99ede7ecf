"""One listener in its worker: sound in, results out. Worker only; knows frames, not pipes.

Everything is driven by whole frames, so results do not depend on how the sound was cut up or how fast it came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from qwen_realtime.audio.pcm import Resampler

from .recognition import Ear, Segment
from .turns import FRAME_MS, FRAME_SAMPLES, RATE_HZ, End, Onset, Pause, Resumption, Turn, TurnTracker
from .types import Failed, Final, Flushed, ListenResult, Partial, SpeechStarted, SpeechStopped, TurnDetection
from .vad import Samples, VoiceActivity

# A manual listener has no threshold of its own; the balanced one finds the pauses.
_MANUAL = TurnDetection()
_PARTIAL_FRAMES = 3
# Decoders that hear the onset cold lose the first word.
_LEAST_PADDING_MS = 300
# A segment that never pauses is cut, so that neither the decoder's memory nor the draft grows without end.
_LONGEST_SEGMENT_FRAMES = 30_000 // FRAME_MS


class Listening:
    """Finds utterances in a stream and has them recognised.

    Args:
        sample_rate: of what is fed, Hz.
        turn_detection: how utterances end; ``None`` for manual mode, where only ``commit`` ends one and neither
            ``SpeechStarted`` nor ``SpeechStopped`` is reported.
        activity: this stream's voice activity detector.
        ear: this stream's recognition, or ``None`` to report edges only.
        language: what ``Final.language`` says.
        failure: reported for each utterance instead of a transcript, where recognition cannot be had.
        clock_ms: position of the first sample.
        emit: takes the results, in order.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        turn_detection: TurnDetection | None,
        activity: VoiceActivity,
        ear: Ear | None,
        language: str,
        failure: Failed | None,
        clock_ms: int,
        emit: Callable[[ListenResult], None],
    ) -> None:
        settings = turn_detection or _MANUAL
        self._manual = turn_detection is None
        self._resampler = Resampler(sample_rate, RATE_HZ) if sample_rate != RATE_HZ else None
        self._activity = activity
        self._ear = ear
        self._language = language
        self._failure = failure
        self._clock_ms = clock_ms
        self._emit = emit
        self._turns = TurnTracker(settings.speech_probability, None if self._manual else settings.silence_duration_ms)
        padding = max(_LEAST_PADDING_MS, min(settings.prefix_padding_ms, 1000))
        self._recent: deque[Samples] = deque(maxlen=padding // FRAME_MS + 6)
        self._rest = np.zeros(0, np.int16)
        self._frames = 0
        self._padding = 0
        self._reset_utterance()

    def _reset_utterance(self) -> None:
        self._segment: Segment | None = None
        self._segment_frames = 0
        self._confirmed = ""
        self._start_frame = 0
        self._last_partial = Partial("", "")

    def _forget_utterance(self) -> None:
        if self._ear is not None:
            self._ear.forget()
        self._reset_utterance()

    def feed(self, pcm: bytes) -> None:
        """Take whole samples, s16le mono."""
        samples = np.frombuffer(pcm, np.int16)
        if self._resampler is not None:
            samples = self._resampler.process(samples)
        self._take(samples)

    def commit(self) -> None:
        """End the utterance of manual mode: its ``Final`` comes even if it is empty."""
        padding = self._end_stream_frame()
        if not self._turns.in_utterance:
            self._start_frame = self._frames
        self._end_utterance(self._turns.speech_end)
        self._turns.reset()
        # The silence was not fed: the clock must not count it.
        self._padding += padding

    def clear(self) -> None:
        """Forget the utterance in progress; the clock goes on."""
        if self._segment is not None:
            self._segment.end()
        self._turns.reset()
        self._recent.clear()
        self._forget_utterance()

    def finish(self) -> None:
        """End an open utterance and report ``Flushed``."""
        if self._resampler is not None:
            self._take(self._resampler.flush())
        self._end_stream_frame()
        if self._turns.in_utterance:
            self._end_utterance(self._turns.speech_end)
            self._turns.reset()
        self._emit(Flushed())

    def _end_stream_frame(self) -> int:
        # What is left of a frame is judged with silence behind it.
        missing = -len(self._rest) % FRAME_SAMPLES
        if missing:
            self._take(np.zeros(missing, np.int16))
        return missing

    def _take(self, samples: Samples) -> None:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._rest = samples[whole:]
        for start in range(0, whole, FRAME_SAMPLES):
            self._take_frame(samples[start : start + FRAME_SAMPLES])

    def _take_frame(self, frame: Samples) -> None:
        self._frames += 1
        self._recent.append(frame)
        turns = self._turns.push(self._activity.probability(frame))
        if self._segment is not None:
            self._segment.feed(frame)
            self._segment_frames += 1
        for turn in turns:
            self._apply(turn)
        if self._segment is not None:
            if self._segment_frames >= _LONGEST_SEGMENT_FRAMES:
                self._end_segment()
                self._begin_segment(0)
            elif self._segment_frames % _PARTIAL_FRAMES == 0:
                self._report_partial()

    def _apply(self, turn: Turn) -> None:
        if isinstance(turn, Onset):
            self._start_frame = turn.at
            if not self._manual:
                self._emit(SpeechStarted(self._ms(turn.at)))
            self._begin_segment(len(self._recent))
        elif isinstance(turn, Resumption):
            self._begin_segment(len(self._recent))
        elif isinstance(turn, Pause):
            self._end_segment()
            self._report_partial()
        elif isinstance(turn, End):
            self._end_utterance(turn.at)

    def _begin_segment(self, recent: int) -> None:
        if self._ear is None or self._failure is not None:
            return
        self._segment = self._ear.segment()
        self._segment_frames = 0
        if recent:
            self._segment.feed(np.concatenate(list(self._recent)[-recent:]))

    def _end_segment(self) -> None:
        if self._segment is None:
            return
        self._confirmed = _join(self._confirmed, self._segment.end())
        self._segment = None

    def _report_partial(self) -> None:
        draft = self._segment.draft() if self._segment is not None else ""
        stash = f" {draft}" if draft and self._confirmed else draft
        partial = Partial(self._confirmed, stash)
        if self._ear is not None and self._failure is None and partial != self._last_partial:
            self._last_partial = partial
            self._emit(partial)

    def _end_utterance(self, end_frame: int) -> None:
        self._end_segment()
        end_frame = max(self._start_frame, end_frame - self._activity.lag_frames)
        start_ms, end_ms = self._ms(self._start_frame), self._ms(end_frame)
        if not self._manual:
            self._emit(SpeechStopped(end_ms))
        if self._failure is not None:
            self._emit(self._failure)
        elif self._ear is not None:
            self._emit(Final(self._confirmed, start_ms, end_ms, self._language))
        self._forget_utterance()

    def _ms(self, frame: int) -> int:
        return max(0, self._clock_ms + (frame * FRAME_SAMPLES - self._padding) * 1000 // RATE_HZ)


def _join(confirmed: str, more: str) -> str:
    return f"{confirmed} {more}" if confirmed and more else confirmed or more
