"""Conversation, recognition and interpreting: everything that hears."""

from .omni_realtime import (
    AudioFormat,
    AudioFormatConfig,
    AudioFormatType,
    AudioSampleRate,
    MultiModality,
    OmniRealtimeCallback,
    OmniRealtimeConversation,
    TranscriptionParams,
    TranslationParams,
)

__all__ = [
    "AudioFormat",
    "AudioFormatConfig",
    "AudioFormatType",
    "AudioSampleRate",
    "MultiModality",
    "OmniRealtimeCallback",
    "OmniRealtimeConversation",
    "TranscriptionParams",
    "TranslationParams",
]
