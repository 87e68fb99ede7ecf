"""Settings of a session, one class per family; the model profiles; and the checks of one against the other."""

from .checks import Echo, check, compare_echo, input_rate, output_rate
from .fields import (
    ASRSettings,
    AudioFormat,
    AudioInput,
    AudioOutput,
    AudioSettings,
    LiveTranslateSettings,
    OmniSettings,
    Settings,
    Transcription,
    Translation,
    TTSSettings,
    TurnDetection,
)
from .profiles import DEFAULT_MODELS, PROFILES, ModelProfile, profile_of

__all__ = [
    "DEFAULT_MODELS",
    "PROFILES",
    "ASRSettings",
    "AudioFormat",
    "AudioInput",
    "AudioOutput",
    "AudioSettings",
    "Echo",
    "LiveTranslateSettings",
    "ModelProfile",
    "OmniSettings",
    "Settings",
    "TTSSettings",
    "Transcription",
    "Translation",
    "TurnDetection",
    "check",
    "compare_echo",
    "input_rate",
    "output_rate",
    "profile_of",
]
