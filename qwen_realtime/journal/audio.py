"""ASR and LiveTranslate: audio goes out, and is dealt with utterance by utterance."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ..events import (
    ClientEvent,
    ConversationItemCreated,
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    InputAudioBufferAppend,
    InputAudioBufferClear,
    InputAudioBufferCommit,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
    InputImageBufferAppend,
    Lost,
    ResponseDone,
    ServerEvent,
)
from .base import Journal, Noted
from .continuation import Continuation, changed

__all__ = ["AnswerJournal", "AudioJournal"]

MAX_IMAGES = 16

# A server that has said nothing for so long has found no speech in what it had got by then.
QUIET_S = 10.0

# Before the place where speech is said to begin, this much is kept: a fresh session may need it to notice. A multiple
# of the frames that detectors use (10, 20, 32 ms), so that the same sound falls into the same frames again.
LEAD_MS = 640.0


class AudioJournal(Journal):
    """ASR: the audio since the last completed utterance, bounded in seconds.

    Positions are milliseconds on the first connection's clock. Audio before ``_dealt_ms`` is dealt with; audio is kept
    from ``_begin_ms`` on; what lies between the two was dropped, and is lost should the connection break.

    Args:
        kept_s: how much audio is kept at most, in seconds.
        clock: seconds; tells how long ago something was sent.
    """

    def __init__(self, kept_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._kept_s = kept_s
        self._clock = clock
        self.sample_rate = 16000
        self._manual = False
        self._kept_bytes = 0
        self._images = 0
        self._lost_images = 0
        self._begin_ms = 0.0
        self._dealt_ms = 0.0
        self._base_ms = 0.0  # where this connection's clock began on the first one's
        self._speaking = False  # an utterance has begun and not stopped
        self._ends: dict[str, float] = {}  # where utterances stopped that are not dealt with, by item
        self._heard_at = clock()  # when the server last said anything
        self._marks: deque[tuple[float, float]] = deque()  # until where audio was sent at some times

    def configured(self, session: dict[str, Any]) -> None:
        """Take over the sample rate, and whether the client commits."""
        rate = session.get("sample_rate")
        self.sample_rate = rate if isinstance(rate, int) and rate > 0 else 16000
        self._manual = session.get("turn_detection", {}) is None

    # What the client sends.

    def sent(self, event: ClientEvent) -> bool:
        """Note what the client sends, before it is sent."""
        if isinstance(event, InputAudioBufferAppend):
            self.sent_audio(event.audio)
        elif isinstance(event, InputAudioBufferCommit):
            if self._manual and self._has_audio():  # any other is refused
                self._note(event)
        elif isinstance(event, InputAudioBufferClear):
            self._clear(event)
        elif isinstance(event, InputImageBufferAppend):
            self._note_image(event)
        return super().sent(event)

    def _has_audio(self) -> bool:
        return bool(self._sent) and any(
            isinstance(each, bytes)
            for each in _until(reversed(self._sent), lambda each: isinstance(each, InputAudioBufferCommit))
        )

    def _clear(self, event: InputAudioBufferClear) -> None:
        if self.replaying or self._ends or any(isinstance(each, InputAudioBufferCommit) for each in self._sent):
            self._note(event)  # some of the audio comes again; the server then forgets the rest of it again
        else:
            self._deal(self._begin_ms + self.kept_ms)
        self._speaking = False

    def _note_image(self, event: InputImageBufferAppend) -> None:
        self._note(event)
        self._images += 1
        if self._images > MAX_IMAGES:
            oldest = next(each for each in self._sent if isinstance(each, InputImageBufferAppend))
            self._sent.remove(oldest)
            self._images -= 1
            self._lost_images += 1

    def sent_audio(self, pcm: bytes) -> None:
        """Note input audio: int16 mono PCM."""
        self._note(pcm)
        self._kept_bytes += len(pcm)
        if self._up:
            self._mark_time()
        over = self._kept_bytes - int(self._kept_s * self.sample_rate) * 2
        if over > 0:
            self._forget(self._begin_ms + self._ms(over))

    def _mark_time(self) -> None:
        """Remember what was sent when; what a quiet server has had for long is dealt with."""
        now = self._clock()
        if not self._marks or now - self._marks[-1][0] > 1.0:
            self._marks.append((now, self._begin_ms + self.kept_ms))
        silent = now - self._heard_at > QUIET_S and not (self._manual or self._speaking or self._ends)
        while self._marks and now - self._marks[0][0] > QUIET_S:
            _, until_ms = self._marks.popleft()
            if silent:
                self._deal(until_ms)

    @property
    def kept_ms(self) -> float:
        """How much audio is kept, in milliseconds."""
        return self._ms(self._kept_bytes)

    def _ms(self, size: int) -> float:
        return size * 500 / self.sample_rate

    def _deal(self, until_ms: float) -> None:
        """Everything before a moment has been dealt with."""
        self._dealt_ms = max(self._dealt_ms, until_ms)
        self._ends = {item: end for item, end in self._ends.items() if end > until_ms}
        self._forget(until_ms)

    def _forget(self, until_ms: float) -> None:
        """Let go of the audio before a moment, and of the events before the audio that follows."""
        while self._sent:
            first = self._sent[0]
            if isinstance(first, bytes):
                size = min(len(first), int(max(0.0, until_ms - self._begin_ms) * self.sample_rate / 500 + 0.5) & ~1)
                self._kept_bytes -= size
                self._begin_ms += self._ms(size)
                if size < len(first):
                    self._sent[0] = first[size:]
                    return
            elif until_ms <= self._begin_ms:
                return
            self._take_first()

    def _take_first(self) -> Noted:
        first = self._sent.popleft()
        if isinstance(first, InputImageBufferAppend):
            self._images -= 1
        return first

    def _through_commit(self) -> None:
        """Manual mode: everything up to the oldest commit has been dealt with."""
        if any(isinstance(each, InputAudioBufferCommit) for each in self._sent):
            size = sum(
                len(each)
                for each in _until(self._sent, lambda each: isinstance(each, InputAudioBufferCommit))
                if isinstance(each, bytes)
            )
            self._deal(self._begin_ms + self._ms(size))
            while not isinstance(self._take_first(), InputAudioBufferCommit):
                pass

    # What the server sends.

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """Note what the server sends."""
        self._heard_at = self._clock()
        if isinstance(event, InputAudioBufferSpeechStarted):
            return self._started(event)
        if isinstance(event, InputAudioBufferSpeechStopped):
            return self._stopped(event)
        self._observe(event)
        return event

    def _started(self, event: InputAudioBufferSpeechStarted) -> InputAudioBufferSpeechStarted:
        at_ms = event.audio_start_ms + self._base_ms
        if not self._speaking and not self._ends:
            self._deal(at_ms - LEAD_MS)
        self._speaking = True
        return changed(event, audio_start_ms=round(at_ms)) if self._base_ms else event

    def _stopped(self, event: InputAudioBufferSpeechStopped) -> InputAudioBufferSpeechStopped:
        end_ms = event.audio_end_ms + self._base_ms
        self._speaking = False
        self._ends[event.item_id or ""] = end_ms
        return changed(event, audio_end_ms=round(end_ms)) if self._base_ms else event

    def _observe(self, event: ServerEvent) -> None:
        """See by which events an utterance is dealt with."""
        if isinstance(
            event, (ConversationItemInputAudioTranscriptionCompleted, ConversationItemInputAudioTranscriptionFailed)
        ):
            self._completed(event.item_id or "")

    def _completed(self, item_id: str) -> None:
        """An utterance has been dealt with, and those before it; without a name it is the oldest."""
        self.progress += 1
        if item_id in self._ends:
            self._deal(self._ends[item_id])
        elif self._ends:
            self._deal(min(self._ends.values()))
        else:
            self._through_commit()

    # Coming back.

    def broke(self) -> None:
        """There is no session any more."""
        super().broke()
        self._marks.clear()

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        """Begin anew on a fresh session: what to send again, and what cannot be brought back."""
        self._base_ms = self._begin_ms
        self._ends.clear()
        self._speaking = False
        events, _ = super().resume()
        kept = list(_after_audio(events))
        gone = max(0.0, self._begin_ms - self._dealt_ms)
        self._dealt_ms = self._begin_ms
        notes = ("input audio older than the journal keeps",) if gone else ()
        count, self._lost_images = len(events) - len(kept) + self._lost_images, 0
        return kept, Lost(audio_ms=gone, events=count, notes=notes)


def _until(noted: Iterable[Noted], end: Callable[[Noted], bool]) -> Iterable[Noted]:
    for each in noted:
        if end(each):
            return
        yield each


def _after_audio(events: Iterable[ClientEvent]) -> Iterable[ClientEvent]:
    """The events without the commits and images that a session refuses, because no audio is left before them."""
    audio = False
    for event in events:
        if audio or not isinstance(event, (InputAudioBufferCommit, InputImageBufferAppend)):
            yield event
        audio = audio or isinstance(event, InputAudioBufferAppend)


class AnswerJournal(AudioJournal):
    """LiveTranslate: an utterance is dealt with when its response is done, or when there was nothing to translate."""

    def __init__(self, kept_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(kept_s, clock)
        self._continuation = Continuation()
        self._answering = ""  # the utterance that the response in progress translates, where it is known
        self._answered = ""  # one whose response was done before its speech had stopped

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """Note what the server sends."""
        seen = self._continuation.seen(event)
        return super().received(seen) if seen is not None else None

    def _stopped(self, event: InputAudioBufferSpeechStopped) -> InputAudioBufferSpeechStopped:
        seen = super()._stopped(event)
        if event.item_id and event.item_id == self._answered:
            self._completed(event.item_id)
        return seen

    def _observe(self, event: ServerEvent) -> None:
        if isinstance(event, ConversationItemCreated) and event.item.role == "assistant":
            self._answering = event.previous_item_id or ""
        elif isinstance(event, ResponseDone):
            answered, self._answering = self._answering, ""
            if answered and self._speaking and answered not in self._ends:
                self._answered = answered
            else:
                self._completed(answered)
        elif isinstance(event, ConversationItemInputAudioTranscriptionFailed) or (
            isinstance(event, ConversationItemInputAudioTranscriptionCompleted) and not event.transcript.strip()
        ):
            self._completed(event.item_id or "")

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        """Begin anew on a fresh session: what to send again, and what cannot be brought back."""
        self._answering = self._answered = ""
        self._continuation.broke()
        return super().resume()
