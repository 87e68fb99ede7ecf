"""TTS: text in, sound out (reference, section 2).

``server_commit``: a sentence is spoken as soon as it is complete. One response takes in all text until the client
commits or finishes, as in the recording. ``commit``: one response for each commit.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from ... import events as ev
from ...protocol import Family
from ..responses import SpeechResponseWriter
from ..usage import audio_tokens, characters, make_usage, text_tokens
from .base import Behaviour
from .encoding import Encoder, encoder
from .host import Host
from .speaker import Speaker, VoiceSettings

__all__ = ["TTSBehaviour", "take_sentences"]

_NONE_ACTIVE = "Conversation has none active response"
# A mark that ends a sentence: of wide scripts anywhere, of others before a blank, or last in the buffer after a word.
_SENTENCE = re.compile(
    r".*?(?:[。！？；…\n]+[”’」』）\"']*"
    r"|(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?:[.!?]+[\"'”’)]*(?=\s)|[!?]+[\"'”’)]*$|(?<=[^\W\d_]{2})\.$))",
    re.DOTALL,
)
# Text without an end is spoken too, once there is this much of it.
_ENOUGH = 200


def take_sentences(buffer: str) -> tuple[list[str], str]:
    """Divide a buffer into its complete sentences and the rest."""
    sentences: list[str] = []
    start = 0
    while found := _SENTENCE.match(buffer, start):
        sentences.append(found[0])
        start = found.end()
    while len(buffer) - start > _ENOUGH:
        end = start + _ENOUGH
        cut = max(buffer.rfind(mark, start + _ENOUGH // 4, end) for mark in ", ，、") + 1 or end
        sentences.append(buffer[start:cut])
        start = cut
    return [sentence for sentence in sentences if sentence.strip()], buffer[start:]


@dataclass
class _Utterance:
    """The text of one response, and how far it has come."""

    pieces: deque[str] = field(default_factory=deque)
    complete: bool = False
    text: str = ""
    writer: SpeechResponseWriter | None = None
    encoder: Encoder | None = None  # comes with the writer
    seconds: float = 0.0
    held: float = 0.0  # of these, seconds that the encoder has taken and not yet given
    failed: bool = False

    def add(self, pieces: list[str]) -> None:
        self.pieces.extend(pieces)
        self.text += "".join(pieces)

    def rest(self) -> bytes:
        """What the encoder still holds; ends it."""
        return self.encoder.finish() if self.encoder is not None else b""


class TTSBehaviour(Behaviour):
    """One session of speech synthesis."""

    family = Family.TTS

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._buffer = ""
        # The first utterance is the one being spoken; later ones wait for it.
        self._utterances: deque[_Utterance] = deque()
        self._speaker = Speaker(host, self._sound)
        self._busy = (
            False  # a piece is being spoken, or waits for room, or the utterance waits for its last sound to leave
        )
        self._finishing = False
        self.handlers.update(
            {
                ev.InputTextBufferAppend: self._append,
                ev.InputTextBufferCommit: self._commit,
                ev.InputTextBufferClear: self._clear,
                ev.ResponseCancel: self._cancel,
            }
        )

    def stop(self) -> None:
        """The connection is gone."""
        self._speaker.stop()
        self.host.lane.clear()
        for utterance in self._utterances:
            utterance.rest()

    @property
    def _server_commits(self) -> bool:
        return self.settings.get("mode") == "server_commit"

    def _append(self, event: ev.InputTextBufferAppend) -> None:
        limit = self.host.profile.max_text_tokens
        if limit and text_tokens(self._buffer + event.text) > limit:
            self.fail(event, f"Range of input length should be [1, {limit}].", code="InvalidParameter")
            return
        self._buffer += event.text
        self.host.record.text_characters += len(event.text)
        if self._server_commits:
            sentences, self._buffer = take_sentences(self._buffer)
            self._queue(sentences)

    def _queue(self, pieces: list[str], *, complete: bool = False) -> None:
        """Add text to the utterance that is still open, or to a new one."""
        if not self._utterances or self._utterances[-1].complete:
            if not pieces:
                return
            self._utterances.append(_Utterance())
        utterance = self._utterances[-1]
        utterance.add(pieces)
        utterance.complete = complete
        self._go_on()

    def _rest(self) -> list[str]:
        sentences, rest = take_sentences(self._buffer)
        self._buffer = ""
        return [*sentences, rest] if rest.strip() else sentences

    def _commit(self, event: ev.InputTextBufferCommit) -> None:
        in_progress = bool(self._utterances) and not self._utterances[-1].complete
        if not self._buffer.strip() and not in_progress:
            self.fail(event, "Error committing input text buffer: buffer is empty.", code="invalid_value")
            return
        self.host.emit(ev.InputTextBufferCommitted(item_id=""))
        self._queue(self._rest(), complete=True)

    def _clear(self, event: ev.InputTextBufferClear) -> None:
        if self._server_commits:
            self.fail(event, "only client commit mode supports clear operation", code="invalid_value")
            return
        self._buffer = ""
        self.host.emit(ev.InputTextBufferCleared())

    def _cancel(self, event: ev.ResponseCancel) -> None:
        """Stop the response in progress and drop its text; utterances that were committed after it are spoken."""
        utterance = self._utterances[0] if self._utterances else None
        if utterance is None or utterance.writer is None:
            self.fail(event, _NONE_ACTIVE)
            return
        self._speaker.stop()
        self.host.lane.clear()
        self._close(utterance, "incomplete")

    def end(self) -> None:
        """Speak what is left, then finish."""
        self._finishing = True
        self._queue(self._rest(), complete=True)
        self._go_on()  # where nothing was left, nothing else ends the session

    def _go_on(self) -> None:
        """Do the next thing there is to do, if the last is done."""
        if self._busy:
            return
        if not self._utterances:
            if self._finishing:
                self._finishing = False
                self.finished()
            return
        utterance = self._utterances[0]
        if utterance.pieces:
            self._busy = True
            self.host.lane.when_low(lambda: self._speak(utterance))
        elif utterance.complete:
            self._busy = True
            self._put(utterance, utterance.rest())
            self.host.lane.then(lambda: self._close(utterance, "failed" if utterance.failed else "completed"))

    def _speak(self, utterance: _Utterance) -> None:
        if utterance.writer is None:
            utterance.writer = SpeechResponseWriter(str(self.settings["voice"]))
            self.host.emit(utterance.writer.created())
            for event in utterance.writer.open_speech():
                self.host.emit(event)
            utterance.encoder = encoder(
                str(self.settings.get("response_format", "pcm")), self._how.sample_rate, self.setting("bit_rate")
            )
        self._speaker.say(utterance.pieces.popleft(), self._how, self._spoken)

    @property
    def _how(self) -> VoiceSettings:
        return VoiceSettings(
            voice=str(self.settings["voice"]),
            language=str(self.settings.get("language_type", "auto")).lower(),
            sample_rate=int(self.settings["sample_rate"]),
            rate=float(self.setting("speech_rate", 1.0)),
            pitch=float(self.setting("pitch_rate", 1.0)),
            volume=int(self.setting("volume", 50)),
        )

    def _sound(self, pcm: bytes, seconds: float) -> None:
        utterance = self._utterances[0]
        if utterance.encoder is not None:
            utterance.seconds += seconds
            utterance.held += seconds
            self._put(utterance, utterance.encoder.feed(pcm))

    def _put(self, utterance: _Utterance, sound: bytes) -> None:
        """Send encoded sound; an encoder may need several pieces for its first."""
        if sound and utterance.writer is not None:
            self.host.lane.put(utterance.writer.audio(sound), seconds=utterance.held)
            utterance.held = 0.0

    def _spoken(self, error: str | None) -> None:
        if error:
            self._utterances[0].failed = True
            self.engine_failed(error)
        self._busy = False
        self._go_on()

    def _close(self, utterance: _Utterance, status: str) -> None:
        self._utterances.popleft()
        utterance.rest()  # of one that was cancelled: nobody wants it
        self._busy = False
        if utterance.writer is not None:
            usage = make_usage(
                {"text_tokens": text_tokens(utterance.text)},
                {"text_tokens": 0, "audio_tokens": audio_tokens(utterance.seconds)},
            )
            usage = ev.Usage(
                characters=characters(utterance.text),
                total_tokens=usage.total_tokens,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                input_tokens_details=usage.input_tokens_details,
                output_tokens_details=usage.output_tokens_details,
            )
            for event in utterance.writer.end_speech(status, usage):
                self.host.emit(event)
        self._go_on()
