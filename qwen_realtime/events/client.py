"""Every event that a client sends, one class per wire type.

Sources: the client event pages of the four families (``shared/seeds`` 000, 001, 003) and, for Omni and for the newer
LiveTranslate events, the protocol reference, sections 4.3 and 5.3. Bytes are bytes here; base64 is the codec's.
"""

from __future__ import annotations

from typing import Any

from .base import UNSET, ClientEvent, UnsetType

__all__ = [
    "CLIENT_EVENTS",
    "ConversationItemCreate",
    "InputAudioBufferAppend",
    "InputAudioBufferClear",
    "InputAudioBufferCommit",
    "InputImageBufferAppend",
    "InputTextBufferAppend",
    "InputTextBufferClear",
    "InputTextBufferCommit",
    "ResponseCancel",
    "ResponseCreate",
    "SessionFinish",
    "SessionUpdate",
]


class SessionUpdate(ClientEvent, frozen=True, kw_only=True, tag="session.update"):
    """Change the session's settings (all families); answered by ``session.updated`` or ``error``."""

    session: dict[str, Any] = {}


class SessionFinish(ClientEvent, frozen=True, kw_only=True, tag="session.finish"):
    """No more input (all families; Omni's servers disagree): the rest comes, then ``session.finished``."""


class InputTextBufferAppend(ClientEvent, frozen=True, kw_only=True, tag="input_text_buffer.append"):
    """Add text to be spoken (TTS)."""

    text: str = ""


class InputTextBufferCommit(ClientEvent, frozen=True, kw_only=True, tag="input_text_buffer.commit"):
    """Speak the buffered text now (TTS)."""


class InputTextBufferClear(ClientEvent, frozen=True, kw_only=True, tag="input_text_buffer.clear"):
    """Discard the buffered text (TTS, commit mode)."""


class InputAudioBufferAppend(ClientEvent, frozen=True, kw_only=True, tag="input_audio_buffer.append"):
    """Add input audio: PCM int16 mono at the session's input rate (ASR, Omni, LiveTranslate)."""

    audio: bytes = b""


class InputAudioBufferCommit(ClientEvent, frozen=True, kw_only=True, tag="input_audio_buffer.commit"):
    """End the utterance in manual mode (ASR, Omni, LiveTranslate)."""


class InputAudioBufferClear(ClientEvent, frozen=True, kw_only=True, tag="input_audio_buffer.clear"):
    """Discard input audio that is not committed (Omni, LiveTranslate; tolerated by ASR)."""


class InputImageBufferAppend(ClientEvent, frozen=True, kw_only=True, tag="input_image_buffer.append"):
    """Add a JPEG image, after at least one audio append (Omni, LiveTranslate)."""

    image: bytes = b""


class ResponseCreate(ClientEvent, frozen=True, kw_only=True, tag="response.create"):
    """Ask for a reply (Omni: manual mode, text turns, after tool results)."""

    response: dict[str, Any] | UnsetType = UNSET


class ResponseCancel(ClientEvent, frozen=True, kw_only=True, tag="response.cancel"):
    """Stop the reply in progress (Omni; undocumented for TTS)."""


class ConversationItemCreate(ClientEvent, frozen=True, kw_only=True, tag="conversation.item.create"):
    """Add an item to the conversation: a message, or a function's output (Omni)."""

    item: dict[str, Any] = {}


CLIENT_EVENTS: dict[str, type[ClientEvent]] = {
    str(cls.__struct_config__.tag): cls for cls in ClientEvent.__subclasses__()
}
