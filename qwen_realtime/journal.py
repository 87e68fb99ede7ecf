"""What was sent and not yet answered, so that a new connection can take it up: one journal per kind of family.

A journal is fed with what the client sends and with what the server answers, in order, and it says at a reconnection
what to send again. It does no I/O and has no lock: the client's sending gate guards it.

What it relies on: an utterance that is completed (ASR) or answered (LiveTranslate, Omni) has been dealt with up to its
``audio_end_ms``, or up to its commit in manual mode; a response that is done has spoken the text before it (TTS).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from .events import (
    ClientEvent,
    ConversationItemCreate,
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    Event,
    InputAudioBufferAppend,
    InputAudioBufferClear,
    InputAudioBufferCommit,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
    InputTextBufferAppend,
    InputTextBufferClear,
    InputTextBufferCommit,
    Lost,
    ResponseAudioDelta,
    ResponseAudioTranscriptDone,
    ResponseCreate,
    ResponseDone,
    ResponseTextDone,
    ServerEvent,
    SessionFinish,
)
from .protocol import Family

__all__ = ["AudioJournal", "ConversationJournal", "Journal", "TextJournal", "journal_for"]


class Journal:
    """Base: remembers that the session is being finished, which every family sends again."""

    def __init__(self) -> None:
        self._finishing = False

    def sent(self, event: ClientEvent) -> None:
        """Note what the client sends, before it is sent."""
        if isinstance(event, SessionFinish):
            self._finishing = True

    def sent_audio(self, pcm: bytes) -> None:
        """Note input audio."""

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """Note what the server sends.

        Returns:
            The event as the user shall see it, with the first connection's clock; ``None`` where the user has seen it.
        """
        return event

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        """Begin anew on a fresh session: what to send again, and what cannot be brought back."""
        return self._end([]), Lost()

    def _end(self, events: list[ClientEvent]) -> list[ClientEvent]:
        return [*events, SessionFinish()] if self._finishing else events


class TextJournal(Journal):
    """TTS: the text whose audio has not arrived whole. What has arrived of it is dropped when it comes again."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: deque[ClientEvent] = deque()  # appends and commits since the last response that is done
        self._delivered = 0  # bytes of audio that the user has had of the pending text
        self._skip = 0  # bytes still to be dropped on this connection

    def sent(self, event: ClientEvent) -> None:
        super().sent(event)
        if isinstance(event, (InputTextBufferAppend, InputTextBufferCommit)):
            self._pending.append(event)
        elif isinstance(event, InputTextBufferClear):
            while self._pending and isinstance(self._pending[-1], InputTextBufferAppend):
                self._pending.pop()

    def received(self, event: ServerEvent) -> ServerEvent | None:
        if isinstance(event, ResponseAudioDelta):
            dropped = min(self._skip, len(event.delta))
            self._skip -= dropped
            self._delivered += len(event.delta) - dropped
            if dropped == len(event.delta) and dropped:
                return None
            return msgspec.structs.replace(event, delta=event.delta[dropped:]) if dropped else event
        if isinstance(event, ResponseDone):
            self._spoken()
        return event

    def _spoken(self) -> None:
        """The pending text up to the first commit has been spoken; all of it where nothing was committed."""
        committed = any(isinstance(each, InputTextBufferCommit) for each in self._pending)
        while self._pending:
            spoken = self._pending.popleft()
            if committed and isinstance(spoken, InputTextBufferCommit):
                break
        self._delivered = self._skip = 0

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        self._skip = self._delivered
        return self._end(list(self._pending)), Lost()


class AudioJournal(Journal):
    """ASR and LiveTranslate: the audio since the last completed utterance, bounded in seconds.

    Args:
        sample_rate: of the input, Hz; asked when it is needed, since the server confirms it.
        kept_s: how much audio is kept at most; what is older than that is lost when the connection breaks.
    """

    def __init__(self, kept_s: float) -> None:
        super().__init__()
        self.sample_rate = 16000
        self._kept_s = kept_s
        self._sent: deque[bytes | ClientEvent] = deque()  # audio and commits not dealt with, oldest first
        self._begin_ms = 0.0  # where the oldest audio kept lies on the first connection's clock
        self._kept_bytes = 0
        self._base_ms = 0.0  # where this connection's clock began on the first one's
        self._ends: dict[str, float] = {}  # ends of utterances that are not completed, by item
        self._dropped_ms = 0.0

    def sent(self, event: ClientEvent) -> None:
        super().sent(event)
        if isinstance(event, InputAudioBufferAppend):
            self.sent_audio(event.audio)
        elif isinstance(event, InputAudioBufferCommit):
            self._sent.append(event)
        elif isinstance(event, InputAudioBufferClear):
            self._forget(float("inf"))

    def sent_audio(self, pcm: bytes) -> None:
        self._sent.append(pcm)
        self._kept_bytes += len(pcm)
        over = self._kept_bytes - int(self._kept_s * self.sample_rate) * 2
        if over > 0:
            self._dropped_ms += self._forget(self._begin_ms + self._ms(over))

    @property
    def kept_ms(self) -> float:
        """How much audio is kept, in milliseconds."""
        return self._ms(self._kept_bytes)

    def _ms(self, size: int) -> float:
        return size * 500 / self.sample_rate

    def _forget(self, until_ms: float) -> float:
        """Let the audio before a moment go; returns how much that was, in milliseconds."""
        forgotten = 0.0
        while self._sent:
            first = self._sent[0]
            if isinstance(first, bytes):
                room = until_ms - self._begin_ms
                if room <= 0:
                    break
                size = min(len(first), int(min(room, 1e9) * self.sample_rate / 500) & ~1)
                if size == 0:
                    break
                self._kept_bytes -= size
                self._begin_ms += self._ms(size)
                forgotten += self._ms(size)
                if size < len(first):
                    self._sent[0] = first[size:]
                    break
            elif until_ms <= self._begin_ms:
                break
            self._sent.popleft()
        return forgotten

    def received(self, event: ServerEvent) -> ServerEvent | None:
        if isinstance(event, InputAudioBufferSpeechStarted):
            return msgspec.structs.replace(event, audio_start_ms=round(event.audio_start_ms + self._base_ms))
        if isinstance(event, InputAudioBufferSpeechStopped):
            end_ms = event.audio_end_ms + self._base_ms
            self._ends[event.item_id or ""] = end_ms
            return msgspec.structs.replace(event, audio_end_ms=round(end_ms))
        if isinstance(event, self._completions()):
            self._completed(event)
        return event

    def _completions(self) -> tuple[type[Event], ...]:
        """The events by which an utterance is dealt with."""
        return (ConversationItemInputAudioTranscriptionCompleted, ConversationItemInputAudioTranscriptionFailed)

    def _completed(self, event: Any) -> None:
        end_ms = self._ends.pop(getattr(event, "item_id", None) or "", None)
        if end_ms is not None:
            self._forget(end_ms)
        else:
            self._forget_commit()

    def _forget_commit(self) -> None:
        """Manual mode: let everything up to the oldest commit go."""
        if not any(isinstance(each, InputAudioBufferCommit) for each in self._sent):
            return
        while self._sent:
            first = self._sent.popleft()
            if isinstance(first, bytes):
                self._kept_bytes -= len(first)
                self._begin_ms += self._ms(len(first))
            else:
                break

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        self._base_ms = self._begin_ms
        self._ends.clear()
        events = [InputAudioBufferAppend(audio=each) if isinstance(each, bytes) else each for each in self._sent]
        lost = Lost(
            audio_ms=self._dropped_ms,
            notes=("input audio older than the journal keeps",) if self._dropped_ms else (),
        )
        self._dropped_ms = 0.0
        return self._end(events), lost


class AnswerJournal(AudioJournal):
    """LiveTranslate: an utterance is dealt with when its response is done."""

    def _completions(self) -> tuple[type[Event], ...]:
        return (ResponseDone,)

    def _completed(self, event: Any) -> None:  # noqa: ARG002 - a response does not name its utterance
        if self._ends:  # responses end in the order of the utterances
            self._forget(self._ends.pop(next(iter(self._ends))))
        else:
            self._forget_commit()


class ConversationJournal(AnswerJournal):
    """Omni: the audio of the turn in progress, and the conversation so far as text items.

    What was said by voice in turns that are over comes back as its transcript; a turn in progress comes back as its
    audio. Images do not come back, and are counted as lost.
    """

    def __init__(self, kept_s: float) -> None:
        super().__init__(kept_s)
        self._items: list[dict[str, Any]] = []
        self._turn: list[dict[str, Any]] = []  # what was said in the turn in progress, by voice and by the model
        self._asked: ResponseCreate | None = None  # a response.create that has no response yet, or none that is done
        self._images = 0

    def sent(self, event: ClientEvent) -> None:
        super().sent(event)
        if isinstance(event, ConversationItemCreate):
            self._items.append(event.item)
        elif isinstance(event, ResponseCreate):
            self._asked = event
        elif event.type == "input_image_buffer.append":
            self._images += 1

    def received(self, event: ServerEvent) -> ServerEvent | None:
        if isinstance(event, ConversationItemInputAudioTranscriptionCompleted):
            self._say("user", "input_text", event.transcript)
        elif isinstance(event, ResponseTextDone):
            self._say("assistant", "text", event.text)
        elif isinstance(event, ResponseAudioTranscriptDone):
            self._say("assistant", "text", event.transcript)
        elif isinstance(event, ResponseDone):
            self._asked = None
            self._items += self._turn
            self._turn = []
        return super().received(event)

    def _say(self, role: str, kind: str, text: str) -> None:
        if text:
            self._turn.append({"type": "message", "role": role, "content": [{"type": kind, "text": text}]})

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        events, lost = super().resume()
        self._turn = []
        history: list[ClientEvent] = [ConversationItemCreate(item=item) for item in self._items]
        if self._asked is not None:
            events.append(self._asked)
        if self._images:
            notes = (*lost.notes, f"{self._images} images that had been sent")
            lost = msgspec.structs.replace(lost, events=lost.events + self._images, notes=notes)
            self._images = 0
        return [*history, *events], lost


def journal_for(family: Family, kept_s: float) -> Journal:
    """The journal that a family needs."""
    if family is Family.TTS:
        return TextJournal()
    kind = {
        Family.ASR: AudioJournal,
        Family.LIVE_TRANSLATE: AnswerJournal,
        Family.OMNI: ConversationJournal,
    }[family]
    return kind(kept_s)
