"""Omni: a conversation by voice or text, with functions and pictures (reference, section 4).

Choices where the reference knows nothing or sources disagree:

* An interruption by new speech ends with ``response.done``, status ``incomplete``; a cancellation has none, as it
  was measured.
* ``max_tokens`` ends an answer with status ``incomplete``.
* A refused voice gives the documented error in place of a response.
* ``session.finish`` is taken unless the server was told otherwise.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from ... import events as ev
from ...protocol import Family
from ...settings.checks import output_rate
from ...settings.rules import at_path, flatten
from ..engines.types import Failed, Final, Partial, SpeechStarted, ToolCall
from ..ids import new_id, obfuscation
from ..responses import ResponseWriter
from ..usage import audio_tokens, make_usage, text_tokens
from ..validation import Fault
from .hearing import HearingBehaviour
from .host import Host, Timer
from .items import parse_item, text_of
from .reply import SpokenReply
from .speaker import VoiceSettings

__all__ = ["OmniBehaviour"]

_NONE_ACTIVE = "Conversation has none active response"
_NO_INPUT = "Error creating response: the conversation has no input of the user."
_COMMON_ERROR = "<400> InternalError.Algo.InvalidParameter: Voice '{}' is not supported."
_VOICE_FIXED = "Cannot update the voice after audio was produced."
_FORMAT_FIXED = "Cannot update the audio format after audio was sent."
_IDLE = "Are you still there?"
_PICTURES = re.compile(r"\b(picture|image|photo|see|camera|video|look)", re.IGNORECASE)
# A 480p picture at one token for each 32 by 32 pixels.
_IMAGE_TOKENS = 300


class OmniBehaviour(HearingBehaviour):
    """One session of conversation."""

    family = Family.OMNI
    domain = "assistant"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._dialogue = host.engines.dialogue(host.options.clock)
        self._conversation_id = new_id("conv")
        self._last_item_id: str | ev.UnsetType = ev.UNSET
        self._awaited: deque[str] = deque()  # committed items whose transcript is yet to come
        self._draft = Partial("", "")  # manual mode: of what is not committed
        self._said: str | None = None  # the user's last message
        self._typed = False
        self._answered = True
        self._calls: dict[str, str] = {}  # names of the functions that were called, by call id
        self._results = 0  # of functions, not yet answered
        self._reply: SpokenReply | None = None
        self._writer: ResponseWriter | None = None  # of the response in progress
        self._wants_done = True  # whether that one ends with response.done
        self._input_tokens: dict[str, int] = {}
        self._wanted: ev.ResponseCreate | None = None  # came while a transcript was awaited
        self._has_spoken = False
        self._context_tokens = 0
        self._seen_images = 0
        self._idle: Timer | None = None
        self._idle_said = False
        self._flushed = False
        self.handlers.update(
            {
                ev.ResponseCreate: self._create_response,
                ev.ResponseCancel: self._cancel,
                ev.ConversationItemCreate: self._create_item,
            }
        )

    # Settings.

    def handle(self, event: ev.ClientEvent) -> None:
        """Deal with one client event; some servers do not know ``session.finish``."""
        if isinstance(event, ev.SessionFinish) and not self.host.options.omni_finish:
            self.fail(event, "invalid event type", code="invalid_value")
            return
        super().handle(event)

    def update(self, event: ev.SessionUpdate) -> None:
        """Take over settings; some are fixed once sound has gone one way or the other."""
        new = flatten(event.session)
        voice = new.get("voice") or new.get("audio.output.voice")
        if self._has_spoken and voice not in (None, self.settings.get("voice")):
            self.fail(event, _VOICE_FIXED, code="cannot_update_voice", param="session.voice")
            return
        if self.host.state.audio_started:
            for path, value in new.items():
                is_format = path.startswith("audio.input.format.") or path == "input_audio_format"
                if is_format and value != at_path(self.settings, path):
                    self.fail(event, _FORMAT_FIXED, code="invalid_value", param=f"session.{path}")
                    return
        super().update(event)

    def settings_changed(self) -> None:
        """Listen anew if need be, and start to wait for a silent user."""
        super().settings_changed()
        self._await_silence()

    # Speech coming in.

    def commit_in_vad_mode(self, event: ev.InputAudioBufferCommit) -> None:
        """The service has an error of its own for this."""
        self.fail(event, "Internal service error: null", kind=ev.UNSET, code="InternalError")

    def speech_started(self, result: SpeechStarted) -> None:
        """Speech began, which interrupts an answer."""
        super().speech_started(result)
        self._idle_said = False
        self._stop_waiting()
        if self._reply is not None and self.setting("turn_detection.interrupt_response", True):
            self._wants_done = True
            self._reply.stop()

    def partial(self, result: Partial) -> None:
        """Show the draft; in manual mode there is no item to show it for until the commit."""
        if not self.manual:
            self._show(self.item_id, result)
        elif self._awaited:
            self._show(self._awaited[0], result)
        else:
            self._draft = result

    def _show(self, item_id: str, draft: Partial) -> None:
        if not self._transcribes:
            return
        self.host.emit(
            ev.ConversationItemInputAudioTranscriptionDelta(
                item_id=item_id,
                content_index=0,
                text="",
                stash=draft.text + draft.stash,
                language=self.source_language or "en",
                emotion="neutral",
                obfuscation=obfuscation(),
            )
        )

    @property
    def _transcribes(self) -> bool:
        return self.settings.get("input_audio_transcription") is not None

    def committed(self) -> None:
        """The utterance, and the pictures with it, become an item."""
        self.host.emit(ev.InputAudioBufferCommitted(item_id=self.item_id))
        content = (ev.ContentPart(type="input_audio"),)
        self._add_item(
            ev.Item(
                id=self.item_id,
                object="realtime.item",
                type="message",
                status="completed",
                role="user",
                content=content,
            )
        )
        self._awaited.append(self.item_id)
        self._take_images()
        if self._draft.text or self._draft.stash:
            self._show(self.item_id, self._draft)
            self._draft = Partial("", "")

    def _add_item(self, item: ev.Item) -> None:
        self.host.emit(ev.ConversationItemCreated(previous_item_id=self._last_item_id, item=item))
        self._last_item_id = str(item.id)

    def final(self, result: Final | Failed) -> None:
        """The transcript is there: tell it, and answer if the server or the client wants an answer."""
        if not self._awaited:
            if isinstance(result, Failed):
                self.engine_failed(result.message)
            return
        item_id = self._awaited.popleft()
        text = ""
        if isinstance(result, Failed):
            error = ev.ErrorDetail(code=result.code, message=result.message, param=None)
            self.host.emit(
                ev.ConversationItemInputAudioTranscriptionFailed(item_id=item_id, content_index=0, error=error)
            )
        else:
            text = result.text
            if self._transcribes:
                self.host.emit(
                    ev.ConversationItemInputAudioTranscriptionCompleted(
                        item_id=item_id, content_index=0, transcript=text
                    )
                )
        self._hear(text, typed=False)
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._create_response(wanted)
        elif self._answers_by_itself and self._reply is None:
            self._respond({})

    def _hear(self, text: str, *, typed: bool) -> None:
        if not self._answered and self._typed and typed and self._said:
            text = f"{self._said}\n{text}"
        self._said, self._typed, self._answered = text, typed, False
        self._idle_said = False
        self._take_images()

    def _take_images(self) -> None:
        self._seen_images += self.images
        self.images = 0

    # Items.

    def _create_item(self, event: ev.ConversationItemCreate) -> None:
        item = parse_item(event.item)
        if isinstance(item, Fault):
            self.fail(event, item.message, code=item.code, param=item.param)
        elif item.type == "function_call_output":
            self._take_output(event, item)
        else:
            text = text_of(item)
            self._context_tokens += text_tokens(text)
            self._add_item(item)
            if item.role == "user":
                self._stop_waiting()
                self._hear(text, typed=True)

    def _take_output(self, event: ev.ConversationItemCreate, item: ev.Item) -> None:
        name = self._calls.pop(item.call_id or "", None)
        if name is None:
            message = f"No function call has the id {item.call_id!r}."
            self.fail(event, message, code="invalid_value", param="item.call_id")
            return
        self._dialogue.tool_result(str(item.call_id), name, str(item.output))
        self._results += 1
        self._context_tokens += text_tokens(str(item.output))
        self._add_item(item)

    # Answers.

    def _create_response(self, event: ev.ResponseCreate) -> None:
        if self._reply is not None:
            return  # the service ignores it without a word
        if self._awaited:
            self._wanted = event
            return
        if self._said is None and not self._results:
            self.fail(event, _NO_INPUT, code="invalid_value")
            return
        overrides = event.response if isinstance(event.response, dict) else {}
        modalities = overrides.get("modalities")
        if modalities is not None and sorted(modalities) not in (["text"], ["audio", "text"]):
            message = f"Invalid modalities: {modalities}. Supported combinations are: ['text'] and ['audio', 'text']."
            self.fail(event, message, code="invalid_value", param="response.modalities")
            return
        self._respond(overrides)

    def _respond(self, overrides: dict[str, Any], text: str | None = None) -> None:
        """Answer what was said last, or say ``text``."""
        self._stop_waiting()
        self._answered = True
        modalities = overrides.get("modalities") or self.settings["modalities"]
        voice = str(self.setting("audio.output.voice") or self.settings["voice"])
        profile = self.host.profile
        if "audio" in modalities and (
            voice in profile.refused_voices or (profile.voices and voice not in profile.voices)
        ):
            self.fail(None, _COMMON_ERROR.format(voice), kind=ev.UNSET, code="COMMON_ERROR")
            self._ended()
            return
        instructions = str(overrides.get("instructions") or self.setting("instructions", ""))
        calls: tuple[ToolCall, ...] = ()
        if text is None:
            text, calls = self._think(instructions)
        writer = ResponseWriter(
            modalities=modalities,
            voice=voice,
            output_audio_format=str(self.settings["output_audio_format"]),
            conversation_id=self._conversation_id,
        )
        self._writer = writer
        self._input_tokens = {
            "text_tokens": self._context_tokens + text_tokens(instructions) + text_tokens(str(self._tools or "")),
            "audio_tokens": audio_tokens(self.seconds_heard),
            "video_tokens": self._seen_images * _IMAGE_TOKENS,
        }
        self._wants_done = True
        if calls:
            self._call(writer, calls)
            return
        self._context_tokens += text_tokens(text)
        how = VoiceSettings(voice=voice, sample_rate=output_rate(Family.OMNI, self.settings))
        wav = self.setting("audio.output.format.type") == "wav"
        self._reply = SpokenReply(self.host, writer, text, how=how, wav=wav, on_end=self._replied)
        if self.setting("max_tokens"):
            self._reply.limit(max(1, int(self.settings["max_tokens"]) * 3 // 4))
        self._has_spoken = self._has_spoken or writer.speaks
        self._reply.start(self._last_item_id)
        self._last_item_id = writer.item_id

    @property
    def _tools(self) -> list[dict[str, Any]]:
        return list(self.settings.get("tools") or ())

    def _think(self, instructions: str) -> tuple[str, tuple[ToolCall, ...]]:
        if self._results:
            self._results = 0
            said, typed = "", False
        else:
            said, typed = self._said or "", self._typed
            self._context_tokens += 0 if typed else text_tokens(said)
        if said and self._seen_images and _PICTURES.search(said):
            count = "one picture" if self._seen_images == 1 else f"{self._seen_images} pictures"
            return f"I have received {count}, but a local stand-in cannot see what they show.", ()
        reply = self._dialogue.reply(said, tools=self._tools, instructions=instructions, typed=typed)
        return reply.text, reply.tool_calls

    def _call(self, writer: ResponseWriter, calls: tuple[ToolCall, ...]) -> None:
        """Ask the client to call functions."""
        self.host.emit(writer.created())
        for call in calls:
            call_id, events = writer.function_call(call.name, call.arguments_json, self._last_item_id)
            self._calls[call_id] = call.name
            self._last_item_id = writer.item_id
            for event in events:
                self.host.emit(event)
        tokens = sum(text_tokens(call.name + call.arguments_json) for call in calls)
        self._finish_response(writer, "completed", {"text_tokens": tokens})

    def _replied(self, status: str, seconds: float) -> None:
        self._reply = None
        writer = self._writer
        if writer is not None and self._wants_done:
            output = {"text_tokens": text_tokens(writer.text), "audio_tokens": audio_tokens(seconds)}
            self._finish_response(writer, status, output)
        else:
            self._ended()

    def _finish_response(self, writer: ResponseWriter, status: str, output: dict[str, int]) -> None:
        self.host.emit(writer.done(status, make_usage(self._input_tokens, output)))
        self._ended()

    def _ended(self) -> None:
        """No response is in progress any more."""
        self._writer = None
        self.heard_bytes = 0
        self._seen_images = 0
        if not self._answered and not self._typed and not self._awaited and self._answers_by_itself:
            self._respond({})  # said while an answer that must not be interrupted was spoken
            return
        self._await_silence()
        self._finish_if_done()

    @property
    def _answers_by_itself(self) -> bool:
        return not self.manual and bool(self.setting("turn_detection.create_response", True))

    def _cancel(self, event: ev.ResponseCancel) -> None:
        if self._reply is None:
            self.fail(event, _NONE_ACTIVE)
            return
        self._wants_done = False
        self._reply.stop()

    # A silent user.

    def _await_silence(self) -> None:
        self._stop_waiting()
        detection = self.settings.get("turn_detection")
        if not isinstance(detection, dict) or detection.get("type") != "server_vad" or self._idle_said:
            return
        timeout_ms = detection.get("idle_timeout_ms")
        if timeout_ms and self._reply is None:
            self._idle = self.host.later(float(timeout_ms) / 1000, self._speak_by_itself)

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _speak_by_itself(self) -> None:
        if self._reply is None and not self._awaited:
            self._idle_said = True
            self._respond({}, _IDLE)

    # The end.

    def flushed(self) -> None:
        """Everything was heard; an answer in progress is brought to its end."""
        self._flushed = True
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._flushed and self._reply is None:
            self._flushed = False
            self._idle_said = True
            self._stop_waiting()
            self.finished()

    def stop(self) -> None:
        """The connection is gone."""
        super().stop()
        self._stop_waiting()
        if self._reply is not None:
            self._reply.drop()
