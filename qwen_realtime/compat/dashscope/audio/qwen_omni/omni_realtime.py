"""The module in which the vendor's SDK defines these; programs import the parameter classes from here."""

from ...omni import (
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
