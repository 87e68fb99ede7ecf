"""The session as a table: which event may come when, for client and server alike. No I/O, no clock.

Both ends keep one :class:`SessionState` and feed it every event in the order of the wire. It knows the session's
phase, the settings last confirmed, and the response in progress, and it says why a client event cannot be taken now.

Phases::

    AWAITING_SESSION --session.created--> READY --session.finish--> FINISHING --session.finished--> FINISHED

Sources: the client event pages (``shared/seeds`` 000, 001, 003) and the protocol reference, sections 1.3, 1.4, 2.5,
3.5, 4.5 and 5.5.
"""

from __future__ import annotations

import enum
from typing import Any

from . import events as ev

__all__ = ["CLIENT_EVENTS_OF", "CONTENT", "TRANSITIONS", "Family", "Phase", "SessionState"]


class Family(str, enum.Enum):
    """One of the four services that share the path ``/api-ws/v1/realtime``."""

    TTS = "tts"
    ASR = "asr"
    OMNI = "omni"
    LIVE_TRANSLATE = "livetranslate"


class Phase(enum.Enum):
    """How far a session has come."""

    AWAITING_SESSION = "awaiting session.created"
    READY = "ready"
    FINISHING = "finishing"
    FINISHED = "finished"


_LISTENING: frozenset[type[ev.ClientEvent]] = frozenset(
    {ev.SessionUpdate, ev.SessionFinish, ev.InputAudioBufferAppend, ev.InputAudioBufferCommit}
)

# The client events that each family's server takes.
CLIENT_EVENTS_OF: dict[Family, frozenset[type[ev.ClientEvent]]] = {
    Family.TTS: frozenset(
        {
            ev.SessionUpdate,
            ev.SessionFinish,
            ev.InputTextBufferAppend,
            ev.InputTextBufferCommit,
            ev.InputTextBufferClear,
            ev.ResponseCancel,
        }
    ),
    Family.ASR: _LISTENING | {ev.InputAudioBufferClear},
    Family.OMNI: _LISTENING
    | {
        ev.InputAudioBufferClear,
        ev.InputImageBufferAppend,
        ev.ResponseCreate,
        ev.ResponseCancel,
        ev.ConversationItemCreate,
    },
    Family.LIVE_TRANSLATE: _LISTENING | {ev.InputAudioBufferClear, ev.InputImageBufferAppend},
}

# What moves a session on; an event that has no row leaves the phase as it is.
TRANSITIONS: dict[tuple[Phase, type[ev.Event]], Phase] = {
    (Phase.AWAITING_SESSION, ev.SessionCreated): Phase.READY,
    (Phase.READY, ev.SessionFinish): Phase.FINISHING,
    (Phase.FINISHING, ev.SessionFinished): Phase.FINISHED,
    (Phase.READY, ev.SessionFinished): Phase.FINISHED,
}

# Server events that carry content only; they move nothing here, and there are many of them.
CONTENT = frozenset(
    {
        ev.ResponseAudioDelta,
        ev.ResponseTextDelta,
        ev.ResponseTextText,
        ev.ResponseAudioTranscriptDelta,
        ev.ResponseAudioTranscriptText,
        ev.ConversationItemInputAudioTranscriptionText,
        ev.ConversationItemInputAudioTranscriptionDelta,
    }
)

_INPUT = (
    ev.InputTextBufferAppend,
    ev.InputTextBufferCommit,
    ev.InputAudioBufferAppend,
    ev.InputAudioBufferCommit,
    ev.InputImageBufferAppend,
)

# Families whose servers refuse a session.update once input has begun (reference, section 1.4).
_UPDATED_ONCE = frozenset({Family.TTS, Family.ASR, Family.LIVE_TRANSLATE})


class SessionState:
    """Where one session stands. One thread at a time may call :meth:`advance`; reading needs no lock.

    Attributes:
        family: the service.
        phase: how far the session has come.
        session: the settings that the server last confirmed.
        session_id: the server's name for the session.
        response_id: the response in progress, or ``""``.
        input_started: whether any input has been sent.
        audio_started: whether any input audio has been sent.
        user_speaking: whether voice activity detection has seen an utterance begin and not end.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self._taken = CLIENT_EVENTS_OF[family]
        self.phase = Phase.AWAITING_SESSION
        self.session: dict[str, Any] = {}
        self.session_id = ""
        self.response_id = ""
        self.input_started = False
        self.audio_started = False
        self._stopping = False  # a cancel or new speech may end the response without a response.done
        self.user_speaking = False
        self._reply_due = False  # asked for, by the client or by voice activity, but not yet begun

    @property
    def response_active(self) -> bool:
        """Whether a response is in progress."""
        return bool(self.response_id)

    @property
    def owes_reply(self) -> bool:
        """Whether a response is in progress or will come without anybody asking again."""
        return bool(self.response_id) or self._reply_due

    @property
    def interrupts_itself(self) -> bool:
        """Whether the server cuts its reply when the user begins to speak."""
        detection = self.session.get("turn_detection")
        if self.family is not Family.OMNI or not detection or not isinstance(detection, dict):
            return False
        return bool(detection.get("interrupt_response", True))

    def refusal(self, kind: type[ev.ClientEvent]) -> str:
        """Why a client event of this class cannot be taken now, in words; empty where it can."""
        if self.phase is Phase.READY and kind in self._taken:
            if kind is ev.SessionUpdate and self.input_started and self.family in _UPDATED_ONCE:
                return "session already started: its settings cannot be changed after input began"
            if kind is ev.InputImageBufferAppend and not self.audio_started:
                return "append image before append audio"
            return ""
        name = str(kind.__struct_config__.tag)
        if kind not in self._taken:
            return f"{name} is not an event of {self.family.value}"
        return (
            f"{name} before session.created" if self.phase is Phase.AWAITING_SESSION else f"{name} after session.finish"
        )

    def advance(self, event: ev.Event) -> None:
        """Take one event of either side into account, in the order of the wire."""
        kind = type(event)
        self.phase = TRANSITIONS.get((self.phase, kind), self.phase)
        if isinstance(event, ev.SessionEvent):
            self.session = event.session
            self.session_id = str(event.session.get("id", self.session_id))
        elif kind in _INPUT:
            self.input_began(audio=kind is ev.InputAudioBufferAppend)
        elif isinstance(event, ev.ResponseCreated):
            self.response_id = event.response.id
            self._stopping = self._reply_due = False
        elif kind is ev.ResponseCreate:
            self._reply_due = True
        elif kind is ev.InputAudioBufferCommitted:
            self._reply_due = self.family is Family.LIVE_TRANSLATE or (
                self.family is Family.OMNI and bool(self.session.get("turn_detection"))
            )
        elif kind is ev.Error:
            self._reply_due = False
        elif kind is ev.ResponseCancel:
            self._stopping = self.response_active
        elif kind is ev.InputAudioBufferSpeechStarted:
            self._stopping = self.response_active and self.interrupts_itself
            self.user_speaking = True
        elif kind is ev.InputAudioBufferSpeechStopped:
            self.user_speaking = False
        elif isinstance(event, ev.ResponseOutputItemDone):
            if self._stopping and event.response_id == self.response_id:
                self.response_id = ""
        elif (isinstance(event, ev.ResponseDone) and event.response.id == self.response_id) or isinstance(
            event, ev.SessionFinished
        ):
            self.response_id = ""

    def input_began(self, *, audio: bool) -> None:
        """Take into account that input was sent; the short way for the audio path, which makes no event object."""
        self.input_started = True
        self.audio_started = self.audio_started or audio
