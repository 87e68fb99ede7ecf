"""The engines of the local server: speech, listening, translation and dialogue, offline and honest about it.

``Engines`` is all that a server needs; the values that go in and out are in ``types``.
"""

from .dialogue import Dialogue
from .engines import Engines, SpeechJob
from .listener import Listener
from .types import (
    Domain,
    Failed,
    Final,
    Flushed,
    ListenResult,
    Partial,
    Reply,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    Translation,
    TurnDetection,
)

__all__ = [
    "Dialogue",
    "Domain",
    "Engines",
    "Failed",
    "Final",
    "Flushed",
    "ListenResult",
    "Listener",
    "Partial",
    "Reply",
    "SpeechJob",
    "SpeechStarted",
    "SpeechStopped",
    "ToolCall",
    "Translation",
    "TurnDetection",
]
