"""Every event that a server sends, one class per wire type, for all four families.

Sources: the server event pages of Omni and LiveTranslate (``shared/seeds`` 002, 004), the answers named by the client
event pages (000, 001, 003), and the protocol reference, sections 2.4, 3.4, 4.4 and 5.4, for the events of the current
model generations. Fields are lenient and all have defaults: the service changes without notice, and what a class does
not declare stays in ``event.raw``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .base import UNSET, ServerEvent, UnknownEvent, UnsetType

__all__ = [
    "SERVER_EVENTS",
    "ContentPart",
    "ConversationItemCreated",
    "ConversationItemInputAudioTranscriptionCompleted",
    "ConversationItemInputAudioTranscriptionDelta",
    "ConversationItemInputAudioTranscriptionFailed",
    "ConversationItemInputAudioTranscriptionText",
    "Error",
    "ErrorDetail",
    "InputAudioBufferCleared",
    "InputAudioBufferCommitted",
    "InputAudioBufferEvent",
    "InputAudioBufferSpeechStarted",
    "InputAudioBufferSpeechStopped",
    "InputTextBufferCleared",
    "InputTextBufferCommitted",
    "Item",
    "Response",
    "ResponseAudioDelta",
    "ResponseAudioDone",
    "ResponseAudioTranscriptDelta",
    "ResponseAudioTranscriptDone",
    "ResponseAudioTranscriptText",
    "ResponseContentPartAdded",
    "ResponseContentPartDone",
    "ResponseCreated",
    "ResponseDone",
    "ResponseEvent",
    "ResponseFunctionCallArgumentsDelta",
    "ResponseFunctionCallArgumentsDone",
    "ResponseOutputItemAdded",
    "ResponseOutputItemDone",
    "ResponsePartEvent",
    "ResponseTextDelta",
    "ResponseTextDone",
    "ResponseTextText",
    "SessionCreated",
    "SessionEvent",
    "SessionFinished",
    "SessionUpdated",
    "TranscriptionEvent",
    "Usage",
]


# What events are made of.


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, as the server tells it; ``code`` and ``param`` are often empty or absent in practice."""

    type: str | None | UnsetType = UNSET
    code: str | None | UnsetType = UNSET
    message: str | None | UnsetType = UNSET
    param: str | None | UnsetType = UNSET
    event_id: str | None | UnsetType = UNSET


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of an item's content: text, or audio with its transcript."""

    type: str | UnsetType = UNSET
    text: str | None | UnsetType = UNSET
    transcript: str | None | UnsetType = UNSET


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item of the conversation: a message, a function call, or a function's output."""

    id: str | UnsetType = UNSET
    object: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    status: str | None | UnsetType = UNSET
    role: str | None | UnsetType = UNSET
    content: tuple[ContentPart, ...] | None | UnsetType = UNSET
    call_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    arguments: str | None | UnsetType = UNSET
    output: Any = UNSET


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a response cost. LiveTranslate counts over the whole session, the others per response."""

    characters: int | UnsetType = UNSET
    total_tokens: int | UnsetType = UNSET
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    input_tokens_details: dict[str, Any] | None | UnsetType = UNSET
    output_tokens_details: dict[str, Any] | None | UnsetType = UNSET
    plugins: dict[str, Any] | None | UnsetType = UNSET


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A response as a whole: ``status`` is completed, failed, in_progress or incomplete."""

    id: str = ""
    object: str | UnsetType = UNSET
    conversation_id: str | None | UnsetType = UNSET
    status: str | UnsetType = UNSET
    modalities: tuple[str, ...] | UnsetType = UNSET
    voice: str | None | UnsetType = UNSET
    output_audio_format: str | UnsetType = UNSET
    output: tuple[Item, ...] | None | UnsetType = UNSET
    usage: Usage | None | UnsetType = UNSET


# Bases that a handler can be registered for, to take a whole group.


class SessionEvent(ServerEvent, frozen=True, kw_only=True, tag=""):
    """Base of ``session.created`` and ``session.updated``: the settings in force."""

    session: dict[str, Any] = {}


class InputAudioBufferEvent(ServerEvent, frozen=True, kw_only=True, tag=""):
    """Base of everything about the input audio buffer."""


class TranscriptionEvent(ServerEvent, frozen=True, kw_only=True, tag=""):
    """Base of everything about the transcription of input audio."""

    item_id: str | UnsetType = UNSET
    content_index: int | UnsetType = UNSET


class ResponseEvent(ServerEvent, frozen=True, kw_only=True, tag=""):
    """Base of everything about a response but its creation and end, which carry the whole response."""

    response_id: str = ""
    output_index: int | UnsetType = UNSET


class ResponsePartEvent(ResponseEvent, frozen=True, kw_only=True, tag=""):
    """Base of everything about one content part of a response."""

    item_id: str | UnsetType = UNSET
    content_index: int | UnsetType = UNSET


# The session.


class Error(ServerEvent, frozen=True, kw_only=True, tag="error"):
    """Something is wrong; whether the session survives depends on the error and the family."""

    error: ErrorDetail = ErrorDetail()


class SessionCreated(SessionEvent, frozen=True, kw_only=True, tag="session.created"):
    """The first event of every session, with the server's defaults."""


class SessionUpdated(SessionEvent, frozen=True, kw_only=True, tag="session.updated"):
    """The answer to ``session.update``: the settings now in force, the only proof that they were accepted."""


class SessionFinished(ServerEvent, frozen=True, kw_only=True, tag="session.finished"):
    """The answer to ``session.finish``, after everything else."""


# Input.


class InputTextBufferCommitted(ServerEvent, frozen=True, kw_only=True, tag="input_text_buffer.committed"):
    """The buffered text is being spoken (TTS)."""

    item_id: str | UnsetType = UNSET


class InputTextBufferCleared(ServerEvent, frozen=True, kw_only=True, tag="input_text_buffer.cleared"):
    """The buffered text is gone (TTS)."""


class InputAudioBufferSpeechStarted(
    InputAudioBufferEvent, frozen=True, kw_only=True, tag="input_audio_buffer.speech_started"
):
    """Speech began, ``audio_start_ms`` after the first sample of the session."""

    audio_start_ms: int = 0
    item_id: str | UnsetType = UNSET


class InputAudioBufferSpeechStopped(
    InputAudioBufferEvent, frozen=True, kw_only=True, tag="input_audio_buffer.speech_stopped"
):
    """Speech ended, ``audio_end_ms`` after the first sample of the session."""

    audio_end_ms: int = 0
    item_id: str | UnsetType = UNSET


class InputAudioBufferCommitted(InputAudioBufferEvent, frozen=True, kw_only=True, tag="input_audio_buffer.committed"):
    """The utterance is closed, by voice activity or by a commit."""

    previous_item_id: str | None | UnsetType = UNSET
    item_id: str | UnsetType = UNSET


class InputAudioBufferCleared(InputAudioBufferEvent, frozen=True, kw_only=True, tag="input_audio_buffer.cleared"):
    """The input audio that was not committed is gone."""


class ConversationItemCreated(ServerEvent, frozen=True, kw_only=True, tag="conversation.item.created"):
    """An item was added to the conversation."""

    previous_item_id: str | None | UnsetType = UNSET
    item: Item = Item()


# Transcription of input audio.


class ConversationItemInputAudioTranscriptionText(
    TranscriptionEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.text"
):
    """Speech as recognised so far (ASR, LiveTranslate).

    ``text`` is confirmed and will not change; ``stash`` is a draft that may. Show ``text + stash``.
    """

    text: str = ""
    stash: str = ""
    language: str | None | UnsetType = UNSET
    emotion: str | None | UnsetType = UNSET


class ConversationItemInputAudioTranscriptionDelta(
    TranscriptionEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.delta"
):
    """Speech as recognised so far (Omni): ``text + stash`` as a whole, not an increment."""

    text: str | UnsetType = UNSET
    stash: str | UnsetType = UNSET
    delta: str | UnsetType = UNSET
    language: str | None | UnsetType = UNSET
    emotion: str | None | UnsetType = UNSET
    obfuscation: str | UnsetType = UNSET


class ConversationItemInputAudioTranscriptionCompleted(
    TranscriptionEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.completed"
):
    """One utterance as finally recognised."""

    transcript: str = ""
    language: str | None | UnsetType = UNSET
    emotion: str | None | UnsetType = UNSET


class ConversationItemInputAudioTranscriptionFailed(
    TranscriptionEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.failed"
):
    """One utterance could not be recognised."""

    error: ErrorDetail = ErrorDetail()


# The response.


class ResponseCreated(ServerEvent, frozen=True, kw_only=True, tag="response.created"):
    """A response begins."""

    response: Response = Response()

    @property
    def response_id(self) -> str:
        """The response's id, under the name that the other response events use."""
        return self.response.id


class ResponseDone(ServerEvent, frozen=True, kw_only=True, tag="response.done"):
    """A response has ended: all of it but the audio, with what it cost."""

    response: Response = Response()

    @property
    def response_id(self) -> str:
        """The response's id, under the name that the other response events use."""
        return self.response.id


class ResponseOutputItemAdded(ResponseEvent, frozen=True, kw_only=True, tag="response.output_item.added"):
    """An output item begins: a message or a function call."""

    item: Item = Item()


class ResponseOutputItemDone(ResponseEvent, frozen=True, kw_only=True, tag="response.output_item.done"):
    """An output item has ended. Its content has three shapes on the wire: take the text from the part's end."""

    item: Item = Item()


class ResponseContentPartAdded(ResponsePartEvent, frozen=True, kw_only=True, tag="response.content_part.added"):
    """A content part begins."""

    part: ContentPart = ContentPart()


class ResponseContentPartDone(ResponsePartEvent, frozen=True, kw_only=True, tag="response.content_part.done"):
    """A content part has ended, with its whole text."""

    part: ContentPart = ContentPart()


class ResponseTextDelta(ResponsePartEvent, frozen=True, kw_only=True, tag="response.text.delta"):
    """More text (Omni, text only): an increment."""

    delta: str = ""


class ResponseTextText(ResponsePartEvent, frozen=True, kw_only=True, tag="response.text.text"):
    """The translation so far (LiveTranslate, text only): ``text`` is all that is confirmed, ``stash`` a draft."""

    text: str = ""
    stash: str = ""


class ResponseTextDone(ResponsePartEvent, frozen=True, kw_only=True, tag="response.text.done"):
    """The whole text (text only); also on interruption or cancellation."""

    text: str = ""


class ResponseAudioTranscriptDelta(ResponsePartEvent, frozen=True, kw_only=True, tag="response.audio_transcript.delta"):
    """More of the text that is being spoken (Omni): an increment."""

    delta: str = ""


class ResponseAudioTranscriptText(ResponsePartEvent, frozen=True, kw_only=True, tag="response.audio_transcript.text"):
    """The spoken translation so far (LiveTranslate): ``text`` is all that is confirmed, ``stash`` a draft."""

    text: str = ""
    stash: str = ""


class ResponseAudioTranscriptDone(ResponsePartEvent, frozen=True, kw_only=True, tag="response.audio_transcript.done"):
    """The whole text that was spoken."""

    transcript: str = ""


class ResponseAudioDelta(ResponsePartEvent, frozen=True, kw_only=True, tag="response.audio.delta"):
    """More audio: ``delta`` is bytes in the session's output format, int16 mono PCM by default."""

    delta: bytes = b""


class ResponseAudioDone(ResponsePartEvent, frozen=True, kw_only=True, tag="response.audio.done"):
    """The audio is complete; also on interruption or cancellation."""


class ResponseFunctionCallArgumentsDelta(
    ResponseEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"
):
    """More of a function call's arguments (Omni); may be missing for a call."""

    item_id: str | UnsetType = UNSET
    call_id: str = ""
    delta: str = ""
    obfuscation: str | UnsetType = UNSET


class ResponseFunctionCallArgumentsDone(
    ResponseEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.done"
):
    """A function call is complete (Omni): ``arguments`` is JSON text, which may begin with a space."""

    item_id: str | UnsetType = UNSET
    call_id: str = ""
    name: str = ""
    arguments: str = ""


def _declared(base: type[ServerEvent]) -> dict[str, type[ServerEvent]]:
    """All classes below ``base`` that have a wire type."""
    found: dict[str, type[ServerEvent]] = {}
    for cls in base.__subclasses__():
        if cls.__struct_config__.tag and cls is not UnknownEvent:
            found[str(cls.__struct_config__.tag)] = cls
        found.update(_declared(cls))
    return found


SERVER_EVENTS: dict[str, type[ServerEvent]] = _declared(ServerEvent)
