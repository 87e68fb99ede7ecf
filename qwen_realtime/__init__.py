"""Talk to Alibaba's Qwen realtime speech services from ordinary, synchronous Python.

::

    from qwen_realtime import synthesize, transcribe, translate

    synthesize("Hello there.", out="hello.wav")
    print(transcribe("meeting.wav").text)
    print(translate("hello.wav", to="es").text)

Four clients, one per family: :class:`TTSClient`, :class:`ASRClient`, :class:`OmniClient`, :class:`LiveTranslateClient`.
Their handlers get typed events from :mod:`.events`. Sound goes through :class:`AudioPlayer` and :class:`Microphone`.
Importing this package imports neither numpy nor an audio library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import events
from .client import RealtimeClient, State
from .errors import (
    AudioError,
    AudioUnavailable,
    AuthenticationError,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    DeviceError,
    HandshakeError,
    ProtocolError,
    ProtocolViolation,
    RateLimitError,
    RealtimeError,
    ServerError,
    WaitTimeout,
    WouldDeadlock,
)
from .events import CloseInfo
from .families import ASRClient, LiveTranslateClient, OmniClient, TTSClient
from .helpers import synthesize, transcribe, translate
from .notices import RealtimeWarning
from .reconnect import ReconnectPolicy
from .results import Speech, Transcript, Translation
from .settings import ASRSettings, LiveTranslateSettings, OmniSettings, TTSSettings, TurnDetection
from .version import __version__

if TYPE_CHECKING:
    from .audio import AudioPlayer, Microphone, RingBuffer
    from .batch import Outcome, RateLimit, synthesize_many, transcribe_many

__all__ = [
    "ASRClient",
    "ASRSettings",
    "AudioError",
    "AudioPlayer",
    "AudioUnavailable",
    "AuthenticationError",
    "CloseInfo",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "DeviceError",
    "HandshakeError",
    "LiveTranslateClient",
    "LiveTranslateSettings",
    "Microphone",
    "OmniClient",
    "OmniSettings",
    "Outcome",
    "ProtocolError",
    "ProtocolViolation",
    "RateLimit",
    "RateLimitError",
    "RealtimeClient",
    "RealtimeError",
    "RealtimeWarning",
    "ReconnectPolicy",
    "RingBuffer",
    "ServerError",
    "Speech",
    "State",
    "TTSClient",
    "TTSSettings",
    "Transcript",
    "Translation",
    "TurnDetection",
    "WaitTimeout",
    "WouldDeadlock",
    "__version__",
    "events",
    "synthesize",
    "synthesize_many",
    "transcribe",
    "transcribe_many",
    "translate",
]

# These need numpy, which is heavy, or are seldom needed, so they are imported when they are first asked for.
_LATER = {
    **dict.fromkeys(("AudioPlayer", "Microphone", "RingBuffer"), ".audio"),
    **dict.fromkeys(("Outcome", "RateLimit", "synthesize_many", "transcribe_many"), ".batch"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LATER[name], __name__), name)
    globals()[name] = value
    return value
