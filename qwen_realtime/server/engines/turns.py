"""Where speech begins, pauses and ends, out of one speech probability per frame. No sound, no clock, no engine.

A frame is 512 samples at 16 kHz, 32 ms. Two thresholds keep a voice that fades from flickering: speech starts at the
higher one and goes on down to the lower one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

FRAME_SAMPLES = 512
FRAME_MS = 32
RATE_HZ = 16000

# Three frames in a row: a click or a key stroke is shorter, the shortest word is longer.
ONSET_FRAMES = 3
# A pause this long lets the decoder close what it heard; see recognition.py for what it costs.
PAUSE_FRAMES = 10
HYSTERESIS = 0.15


@dataclass(frozen=True)
class Onset:
    """An utterance began at frame ``at``."""

    at: int


@dataclass(frozen=True)
class Pause:
    """Speech has paused within the utterance since frame ``at``."""

    at: int


@dataclass(frozen=True)
class Resumption:
    """Speech went on at frame ``at`` after a pause."""

    at: int


@dataclass(frozen=True)
class End:
    """The utterance is over; its speech ended before frame ``at``."""

    at: int


Turn: TypeAlias = Onset | Pause | Resumption | End


class TurnTracker:
    """Turns probabilities into onsets, pauses and ends.

    Args:
        probability: at or above this a frame is speech, 0 to 1.
        silence_ms: silence that ends an utterance; ``None`` never ends one (manual mode).
    """

    def __init__(self, probability: float, silence_ms: int | None) -> None:
        self._on = probability
        self._off = max(probability - HYSTERESIS, probability / 2)
        self._end_frames = None if silence_ms is None else max(1, -(-silence_ms // FRAME_MS))
        self._frame = 0
        self.reset()

    @property
    def in_utterance(self) -> bool:
        """Whether an utterance is open."""
        return self._open

    @property
    def speech_end(self) -> int:
        """The frame before which the speech of the open utterance last ended."""
        return self._frame - self._silent

    def reset(self) -> None:
        """Forget the utterance in progress; the frame count goes on."""
        self._open = False
        self._paused = False
        self._voiced = 0  # frames in a row at or above the higher threshold
        self._rising = 0  # the same for the lower one: where a weak beginning began
        self._silent = 0

    def push(self, probability: float) -> list[Turn]:
        """Take the next frame's probability and return what it settles, in order; often nothing."""
        self._frame += 1
        self._voiced = self._voiced + 1 if probability >= self._on else 0
        self._rising = self._rising + 1 if probability >= self._off else 0
        if not self._open:
            if self._voiced < ONSET_FRAMES:
                return []
            self._open, self._silent = True, 0
            return [Onset(self._frame - self._rising)]
        return self._push_open(probability)

    def _push_open(self, probability: float) -> list[Turn]:
        if self._paused:
            # Silence goes on being counted until speech is certain again: a click must not postpone the end.
            if self._voiced >= ONSET_FRAMES:
                self._paused, self._silent = False, 0
                return [Resumption(self._frame - self._rising)]
            self._silent += 1
        else:
            self._silent = self._silent + 1 if probability < self._off else 0
        turns: list[Turn] = []
        start = self._frame - self._silent
        if not self._paused and self._silent >= PAUSE_FRAMES:
            self._paused = True
            turns.append(Pause(start))
        if self._end_frames is not None and self._silent >= self._end_frames:
            turns.append(End(start))
            self._open, self._paused, self._silent = False, False, 0
            # What was weak during this utterance is no part of the next one.
            self._rising = self._voiced
        return turns
