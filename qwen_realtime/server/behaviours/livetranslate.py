"""LiveTranslate: speech in, its translation out while it is still being spoken (reference, section 5).

Utterances are interpreted one after another. What was said of the first is shown and spoken as it is confirmed; an
utterance that begins while the last one's translation is still being spoken waits for its turn.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ... import events as ev
from ...protocol import Family
from ...settings.checks import output_rate
from ...settings.rules import at_path
from ..engines.types import Failed, Final, Partial, SpeechStarted
from ..ids import new_id
from ..responses import ResponseWriter
from ..usage import SPEECH_TOKENS_PER_S, audio_tokens, make_usage, text_tokens
from .hearing import HearingBehaviour
from .host import Host
from .interpretation import Interpretation, Interpreter
from .speaker import Speaker, VoiceSettings

__all__ = ["LiveTranslateBehaviour"]

_PROMPT_TOKENS = 40  # the recorded first utterance counts about so many on top of its own text


class LiveTranslateBehaviour(HearingBehaviour):
    """One session of interpretation."""

    family = Family.LIVE_TRANSLATE
    default_silence_ms = 1000

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._conversation_id = new_id("conv")
        # The first is being shown and spoken, the last may still be listened to.
        self._queue: deque[Interpretation] = deque()
        self._current: Interpretation | None = None  # being listened to
        self._awaited: deque[str] = deque()  # manual mode: committed items
        self._speaker = Speaker(host, self._sound)
        self._busy = False  # a part is being spoken, or the end waits for the last sound to leave
        self._flushed = False
        self._input = {"text_tokens": 0, "audio_tokens": 0}
        self._output = {"text_tokens": 0, "audio_tokens": 0}

    # What is taken, and what is not.

    def updated_late(self, event: ev.SessionUpdate) -> None:
        """Another target language makes the service hang up."""
        target = at_path(event.session, "translation.language")
        if target not in (None, self.setting("translation.language")):
            self.host.close(1007, "Session update error")

    def handle(self, event: ev.ClientEvent) -> None:
        """Deal with one client event; the oldest model has neither commit nor clear."""
        manual = isinstance(event, (ev.InputAudioBufferCommit, ev.InputAudioBufferClear))
        if manual and not self.host.profile.takes_manual_audio:
            self.fail(event, f"Invalid event type: '{event.type}'.", code="invalid_value")
            return
        super().handle(event)

    # Speech coming in.

    def speech_started(self, result: SpeechStarted) -> None:
        """Speech began: an utterance to interpret."""
        super().speech_started(result)
        self._abandon()  # what a crashed recogniser left open
        self._begin(self.item_id)

    def cleared(self) -> None:
        """The utterance in progress ends with what is confirmed of it; a committed one is not touched."""
        if not self.manual:
            self._abandon()
            self._go_on()

    def _abandon(self) -> None:
        for interpretation in self._queue:
            if not interpretation.complete:
                interpretation.end(interpretation.source)
        self._current = None

    def _begin(self, item_id: str) -> None:
        translation = self.settings.get("translation") or {}
        interpreter = Interpreter(
            self.host.engines,
            source=self.source_language or "en",
            target=str(translation.get("language", "en")),
            phrases=at_path(translation, "corpus.phrases") or {},
        )
        skip = translation.get("same_language_skip_options") or {}
        same = interpreter.is_same_language
        self._current = Interpretation(
            item_id,
            interpreter,
            skips_text=same and bool(skip.get("skip_text")),
            skips_audio=same and bool(skip.get("skip_audio")),
        )
        self._queue.append(self._current)

    def partial(self, result: Partial) -> None:
        """Show source and translation so far; in manual mode nothing begins before the commit."""
        if self.manual or self._current is None:
            return
        if self._transcribes:
            self.host.emit(
                ev.ConversationItemInputAudioTranscriptionText(
                    **self._source_ids(self._current.item_id, self.source_language or "en"),
                    text=result.text,
                    stash=result.stash,
                )
            )
        self._current.hear(result.text, result.stash)
        self._go_on()

    def committed(self) -> None:
        """In manual mode the commit is confirmed, and starts the response by itself."""
        if self.manual:
            self.host.emit(ev.InputAudioBufferCommitted())
            self._begin(self.item_id)

    def final(self, result: Final | Failed) -> None:
        """The utterance is complete."""
        current = next((each for each in self._queue if not each.complete), None)
        if current is None:
            if isinstance(result, Failed):
                self.engine_failed(result.message)
            return
        if isinstance(result, Failed):
            error = ev.ErrorDetail(code=result.code, message=result.message, param=None)
            self.host.emit(
                ev.ConversationItemInputAudioTranscriptionFailed(item_id=current.item_id, content_index=0, error=error)
            )
            current.end("")
        else:
            current.end(result.text)
            if self._transcribes:
                current.transcript = ev.ConversationItemInputAudioTranscriptionCompleted(
                    **self._source_ids(current.item_id, result.language), transcript=result.text
                )
        self._input["text_tokens"] += _PROMPT_TOKENS + text_tokens(current.source)
        self._input["audio_tokens"] += audio_tokens(self.seconds_heard, self._input_tokens_per_s)
        self.heard_bytes = 0
        if self._speaks(current) or current is not self._queue[0]:
            self._tell_transcript(current)
        self._go_on()

    @property
    def _input_tokens_per_s(self) -> float:
        return SPEECH_TOKENS_PER_S if self._is_first_generation else 7.0

    @property
    def _is_first_generation(self) -> bool:
        return self.host.profile.model.startswith("qwen3-")

    @property
    def _transcribes(self) -> bool:
        return bool(self.setting("input_audio_transcription.model"))

    def _source_ids(self, item_id: str, language: str) -> dict[str, Any]:
        ids: dict[str, Any] = {"item_id": item_id, "content_index": 0, "language": language}
        if not self._is_first_generation:
            ids["emotion"] = "neutral"
        return ids

    def _tell_transcript(self, interpretation: Interpretation) -> None:
        transcript, interpretation.transcript = interpretation.transcript, None
        if transcript is not None:
            self.host.emit(transcript)

    # The translation going out.

    def _speaks(self, interpretation: Interpretation) -> bool:
        return "audio" in self.settings["modalities"] and not interpretation.skips_audio

    def _go_on(self) -> None:
        """Bring out what is new of the first utterance; go over to the next where it is complete."""
        while self._queue and not self._busy:
            first = self._queue[0]
            if first.has_text and not first.is_silent:
                self._open(first)
                self._show(first)
                if first.unspoken and self._speaks(first):
                    self._busy = True
                    self._speaker.say(first.unspoken.popleft(), self._how, self._spoken)
                    return
            if not first.complete:
                return
            if len(self.host.lane):
                self._busy = True
                self.host.lane.then(self._last_sound_left)
                return
            self._close(first)
        if self._queue and self._queue[0].has_text and not self._queue[0].is_silent:
            self._show(self._queue[0])
        if self._flushed and not self._queue:
            self._flushed = False
            self.finished()

    def _open(self, interpretation: Interpretation) -> None:
        if interpretation.writer is not None:
            return
        interpretation.writer = ResponseWriter(
            modalities=self.settings["modalities"],
            voice=str(self.settings["voice"]),
            output_audio_format=str(self.settings["output_audio_format"]),
            conversation_id=self._conversation_id,
            names_conversation_at_once=False,
        )
        self.host.emit(interpretation.writer.created())
        for event in interpretation.writer.open_message(interpretation.item_id):
            self.host.emit(event)

    def _show(self, interpretation: Interpretation) -> None:
        """Show the translation so far, if it is new and there is to be text."""
        shown = (interpretation.text, interpretation.stash)
        if interpretation.writer is None or interpretation.skips_text or interpretation.shown == shown:
            return
        interpretation.shown = shown
        self.host.emit(interpretation.writer.draft(*shown))

    @property
    def _how(self) -> VoiceSettings:
        return VoiceSettings(
            voice=str(self.settings["voice"]),
            language=str(self.setting("translation.language", "en")),
            sample_rate=output_rate(self.family, self.settings),
        )

    def _sound(self, pcm: bytes, seconds: float) -> None:
        first = self._queue[0]
        if first.writer is not None:
            first.seconds += seconds
            self.host.lane.put(first.writer.audio(pcm), seconds=seconds)

    def _spoken(self, error: str | None) -> None:
        if error:
            self.engine_failed(error)
        self._busy = False
        self._go_on()

    def _last_sound_left(self) -> None:
        self._busy = False
        self._go_on()

    def _close(self, interpretation: Interpretation) -> None:
        """Send the end of a response, in the recorded order: the text, then its source, then the rest."""
        self._queue.popleft()
        writer = interpretation.writer
        if writer is None:
            self._tell_transcript(interpretation)
            return
        for event in writer.end_content():
            self.host.emit(event)
        self._tell_transcript(interpretation)
        for event in writer.end_message():
            self.host.emit(event)
        self._output["text_tokens"] += text_tokens(writer.text)
        self._output["audio_tokens"] += audio_tokens(interpretation.seconds)
        self.host.emit(writer.done("completed", make_usage(self._input, self._output)))

    # The end.

    def flushed(self) -> None:
        """Everything was heard; what is left is brought out first."""
        self._abandon()
        self._flushed = True
        self._go_on()

    def stop(self) -> None:
        """The connection is gone."""
        super().stop()
        self._speaker.stop()
