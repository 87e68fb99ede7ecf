"""What a behaviour stands on: the session that runs it, and the engines behind that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ... import events as ev
from ...protocol import SessionState
from ...settings.profiles import ModelProfile
from ..engines.types import Domain, ListenResult, Reply, Translation, TurnDetection
from ..pacing import Lane
from ..record import SessionRecord

__all__ = ["EngineSet", "Host", "Listener", "Options", "SpeechJob", "Timer"]


class SpeechJob(Protocol):
    """A text being spoken."""

    def cancel(self) -> None:
        """Stop; no callback comes after this."""


class Listener(Protocol):
    """A stream of sound being listened to."""

    def feed(self, pcm: bytes) -> None:
        """Take sound, s16le mono."""

    def commit(self) -> None:
        """End the utterance (manual mode)."""

    def clear(self) -> None:
        """Forget the sound that no final result covers."""

    def finish(self) -> None:
        """Nothing more comes: ``Flushed`` will be the last result."""

    def close(self) -> None:
        """Drop everything."""


class Dialogue(Protocol):
    """One conversation with the local stand-in for a language model."""

    def tool_result(self, call_id: str, name: str, output: str) -> None:
        """Take what a function returned; the next ``reply`` tells it."""

    def reply(
        self, text: str, *, tools: Sequence[Mapping[str, Any]] = (), instructions: str = "", typed: bool = False
    ) -> Reply:
        """Answer a message; an empty text goes on from the results of functions."""


class EngineSet(Protocol):
    """What behaviours use of :class:`~..engines.Engines`. Callbacks run on an engine's thread."""

    def synthesize(
        self,
        text: str,
        *,
        voice: str = "",
        language: str = "auto",
        sample_rate: int = 24000,
        rate: float = 1.0,
        pitch: float = 1.0,
        volume: int = 50,
        on_audio: Callable[[bytes], None],
        on_done: Callable[[str | None], None],
    ) -> SpeechJob:
        """Start speaking a text."""

    def listen(
        self,
        *,
        sample_rate: int,
        turn_detection: TurnDetection | None,
        language: str | None = None,
        hints: str = "",
        domain: Domain = "general",
        transcribe: bool = True,
        on_result: Callable[[ListenResult], None],
    ) -> Listener:
        """Open a listener."""

    def translate(self, text: str, *, source: str, target: str) -> Translation:
        """Translate a text; blocks for milliseconds."""

    def dialogue(self, clock: Callable[[], datetime] | None = None) -> Dialogue:
        """Begin a conversation."""


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """It will not happen. Idempotent."""


@dataclass(frozen=True)
class Options:
    """What the server was told about behaviours.

    Args:
        omni_finish: whether Omni takes ``session.finish``; the real servers disagree.
        clock: the dialogue's local time; ``None`` is the computer's.
    """

    omni_finish: bool = True
    clock: Callable[[], datetime] | None = None


class Host(Protocol):
    """The session that a behaviour belongs to. But for ``post`` everything is called on the session's own thread."""

    @property
    def profile(self) -> ModelProfile:
        """The model."""

    @property
    def engines(self) -> EngineSet:
        """The engines."""

    @property
    def options(self) -> Options:
        """What the server was told."""

    @property
    def state(self) -> SessionState:
        """The protocol's own account of the session."""

    @property
    def record(self) -> SessionRecord:
        """What is counted for tests."""

    @property
    def lane(self) -> Lane:
        """The events of responses, waiting to leave."""

    def emit(self, event: ev.ServerEvent) -> None:
        """Send an event now."""

    def post(self, action: Callable[[], None]) -> None:
        """Have the session's thread run something; from any thread, never blocks."""

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Have the session's thread run something after a while."""

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection once everything sent so far has left."""

    def finished(self) -> None:
        """``session.finished`` was sent."""
