"""What the three families that listen have in common: the input audio buffer, voice activity, items, images."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from ... import events as ev
from ...errors import RealtimeError
from ...settings.checks import input_rate
from ..engines.types import (
    Domain,
    Failed,
    Final,
    Flushed,
    ListenResult,
    Partial,
    SpeechStarted,
    SpeechStopped,
    TurnDetection,
)
from ..ids import new_id
from .base import Behaviour
from .host import Host, Listener

__all__ = ["HearingBehaviour"]

MAX_AUDIO_BYTES = 15 * 1024 * 1024
_TOO_SMALL = "Error committing input audio buffer: buffer too small, or have no audio."


class HearingBehaviour(Behaviour):
    """A session that takes sound. Families say what a result means to them."""

    domain: ClassVar[Domain] = "general"
    default_silence_ms: ClassVar[int] = 800

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._listener: Listener | None = None
        self._listening_to: tuple[int, TurnDetection | None, str | None] = (0, None, None)
        self._fed_ms = 0.0
        self._offset_ms = 0.0  # of the listener's first sample
        self._uncommitted_bytes = 0  # manual mode: since the last commit or clear
        self.images = 0  # since the last utterance
        self.heard_bytes = 0  # since the last response, for its usage
        self.item_id = ""  # of the utterance in progress
        self.handlers.update(
            {
                ev.InputAudioBufferAppend: self._append,
                ev.InputAudioBufferCommit: self._commit,
                ev.InputAudioBufferClear: self._clear,
                ev.InputImageBufferAppend: self._append_image,
            }
        )

    # What families refine.

    def commit_in_vad_mode(self, event: ev.InputAudioBufferCommit) -> None:
        """A client commits although the server does."""
        self.fail(event, "input_audio_buffer.commit is not available in VAD mode.", code="invalid_value")

    def speech_started(self, result: SpeechStarted) -> None:
        """Speech began; ``item_id`` is new."""
        at = result.audio_start_ms + int(self._offset_ms)
        self.host.emit(ev.InputAudioBufferSpeechStarted(audio_start_ms=at, item_id=self.item_id))

    def partial(self, result: Partial) -> None:
        """Speech was recognised so far."""

    def speech_stopped(self, result: SpeechStopped) -> None:
        """Speech ended, and with it the utterance."""
        at = result.audio_end_ms + int(self._offset_ms)
        self.host.emit(ev.InputAudioBufferSpeechStopped(audio_end_ms=at, item_id=self.item_id))
        self.committed()

    def committed(self) -> None:
        """The utterance was closed, by voice activity or by the client."""

    def cleared(self) -> None:
        """What was not committed is forgotten, in the middle of an utterance perhaps."""

    def final(self, result: Final | Failed) -> None:
        """The utterance was recognised, or could not be."""

    def flushed(self) -> None:
        """After ``session.finish`` everything was heard."""
        self.finished()

    # Input.

    @property
    def manual(self) -> bool:
        """Whether the client ends utterances."""
        return self.settings.get("turn_detection") is None and "turn_detection" in self.settings

    @property
    def seconds_heard(self) -> float:
        """Sound since the last response, in seconds."""
        return self.heard_bytes / 2 / input_rate(self.settings)

    def _append(self, event: ev.InputAudioBufferAppend) -> None:
        if len(event.audio) > MAX_AUDIO_BYTES:
            self.fail(
                event,
                f"Invalid 'audio': {len(event.audio)} bytes are more than the maximum of {MAX_AUDIO_BYTES}.",
                code="invalid_value",
                param="audio",
            )
            return
        self.host.record.audio_bytes += len(event.audio)
        self._uncommitted_bytes += len(event.audio)
        self.heard_bytes += len(event.audio)
        self._order(lambda listener: listener.feed(event.audio))
        self._fed_ms += len(event.audio) * 500 / input_rate(self.settings)

    def _order(self, order: Callable[[Listener], None]) -> None:
        try:
            if self._listener is None:
                self._listener = self._listen()
            order(self._listener)
        except RealtimeError as error:
            self.engine_failed(str(error))

    def _listen(self) -> Listener:
        post = self.host.post
        listener: Listener | None = None
        self._listening_to = self._what_to_listen_to()
        # Positions are counted from the first sample of the session, a listener's from its own.
        self._offset_ms = self._fed_ms
        rate, turn_detection, language = self._listening_to

        def take(result: ListenResult) -> None:
            post(lambda: self._take(listener, result))

        listener = self.host.engines.listen(
            sample_rate=rate,
            turn_detection=turn_detection,
            language=language,
            hints=str(self.setting("input_audio_transcription.corpus.text", "")),
            domain=self.domain,
            on_result=take,
        )
        return listener

    def _turn_detection(self) -> TurnDetection | None:
        if self.manual:
            return None
        asked = self.settings.get("turn_detection") or {}
        default = TurnDetection()
        return TurnDetection(
            threshold=float(asked.get("threshold", default.threshold)),
            silence_duration_ms=int(asked.get("silence_duration_ms", self.default_silence_ms)),
            prefix_padding_ms=int(asked.get("prefix_padding_ms", default.prefix_padding_ms)),
        )

    @property
    def source_language(self) -> str | None:
        """The language spoken, if the client says."""
        language = self.setting("input_audio_transcription.language")
        return str(language) if language else None

    def settings_changed(self) -> None:
        """Listen anew if that is what changed; then what was being said is forgotten."""
        if self._listener is not None and self._listening_to != self._what_to_listen_to():
            self._listener.close()
            self._listener = None
            self._uncommitted_bytes = 0

    def _what_to_listen_to(self) -> tuple[int, TurnDetection | None, str | None]:
        return input_rate(self.settings), self._turn_detection(), self.source_language

    def _commit(self, event: ev.InputAudioBufferCommit) -> None:
        if not self.manual:
            self.commit_in_vad_mode(event)
            return
        if self._uncommitted_bytes < 2:
            self.fail(event, _TOO_SMALL)
            return
        self._uncommitted_bytes = 0
        self.item_id = new_id("item")
        self.committed()
        self._order(lambda listener: listener.commit())

    def _clear(self, event: ev.InputAudioBufferClear) -> None:  # noqa: ARG002 - it has no fields
        self._uncommitted_bytes = 0
        self._order(lambda listener: listener.clear())
        self.host.emit(ev.InputAudioBufferCleared())
        self.cleared()

    def _append_image(self, event: ev.InputImageBufferAppend) -> None:
        limit = self.host.profile.max_image_bytes
        if not event.image.startswith(b"\xff\xd8\xff"):
            self.fail(event, "Invalid image: only JPG and JPEG are supported.", code="invalid_value", param="image")
            return
        if limit and len(event.image) > limit:
            self.fail(
                event,
                f"Invalid image: {len(event.image)} bytes are more than the maximum of {limit}.",
                code="invalid_value",
                param="image",
            )
            return
        self.images += 1
        self.host.record.images += 1
        self.host.record.image_bytes += len(event.image)

    def end(self) -> None:
        """Have an open utterance recognised; in manual mode what was not committed is dropped."""
        if self._listener is None:
            self.flushed()
            return
        if self.manual:
            self._order(lambda listener: listener.clear())
        self._order(lambda listener: listener.finish())

    def stop(self) -> None:
        """The connection is gone."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.host.lane.clear()

    # Results, on the session's thread.

    def _take(self, listener: Listener | None, result: ListenResult) -> None:
        if listener is not self._listener:
            return
        if isinstance(result, SpeechStarted):
            self.item_id = new_id("item")
            self.speech_started(result)
        elif isinstance(result, Partial):
            self.partial(result)
        elif isinstance(result, SpeechStopped):
            self.speech_stopped(result)
        elif isinstance(result, Flushed):
            self.flushed()
        else:
            self.final(result)
