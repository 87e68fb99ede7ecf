"""How long each turn took, from the end of speech to the first sample heard: the times that users feel.

All times are ``time.monotonic()`` seconds, taken on the receiving thread when the message arrived, so that slow
handlers do not show in them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields

from .events import (
    ClientEvent,
    ConversationItemCreate,
    Event,
    InputAudioBufferCommit,
    InputAudioBufferCommitted,
    InputAudioBufferSpeechStopped,
    InputTextBufferAppend,
    ResponseAudioDelta,
    ResponseAudioTranscriptDelta,
    ResponseAudioTranscriptText,
    ResponseCreate,
    ResponseCreated,
    ResponseDone,
    ResponseTextDelta,
    ResponseTextText,
)

__all__ = ["Metrics", "Spread", "TurnMetrics"]

TURNS_KEPT = 1000

# Replies that may be in progress; an interrupted one may have no end of its own.
REPLIES_KEPT = 64


@dataclass
class TurnMetrics:
    """The times of one turn; ``None`` where that has not happened, or does not happen in this family.

    Attributes:
        asked: the client asked: a commit, ``response.create``, or (TTS) the first text.
        speech_stopped: voice activity detection saw the end of speech.
        committed: the utterance was closed.
        first_text: the first text of the reply came.
        first_audio: its first audio came.
        first_heard: its first sample was heard, where a player is attached.
        done: the reply was complete.
        response_id: of the reply.
    """

    asked: float | None = None
    speech_stopped: float | None = None
    committed: float | None = None
    first_text: float | None = None
    first_audio: float | None = None
    first_heard: float | None = None
    done: float | None = None
    response_id: str = ""

    @property
    def began(self) -> float | None:
        """From when the user waits: the end of speech, or the request."""
        return self.speech_stopped or self.asked or self.committed

    def waited_ms(self, what: str) -> float | None:
        """Milliseconds from :attr:`began` to one of the other times, such as ``"first_audio"``."""
        began, then = self.began, getattr(self, what)
        return None if began is None or then is None else (then - began) * 1000


@dataclass(frozen=True)
class Spread:
    """The spread of one figure over the turns, in milliseconds."""

    count: int
    p50: float
    p95: float


WAITS = ("first_text", "first_audio", "first_heard", "done")

_TEXTS = (ResponseTextDelta, ResponseTextText, ResponseAudioTranscriptDelta, ResponseAudioTranscriptText)


class Metrics:
    """The turns of a session, the last thousand. Written on the receiving and the sending threads, read anywhere.

    Attributes:
        turns: oldest first; the last one may be in progress.
    """

    def __init__(self) -> None:
        self.turns: deque[TurnMetrics] = deque(maxlen=TURNS_KEPT)
        self._waiting = TurnMetrics()  # for its reply
        self._replies: dict[str, TurnMetrics] = {}  # in progress, by response
        self._texts: set[str] = set()  # responses whose first text has come; so that content costs one look
        self._audios: set[str] = set()
        self._first_heard: Callable[[str], float | None] | None = None

    def listen_to(self, first_heard: Callable[[str], float | None]) -> None:
        """Ask a player when the first sample of a response was heard."""
        self._first_heard = first_heard

    def requested(self, event: ClientEvent) -> None:
        """See what the client sends."""
        first_text = isinstance(event, InputTextBufferAppend) and self._waiting.asked is None
        if first_text or isinstance(event, (InputAudioBufferCommit, ResponseCreate, ConversationItemCreate)):
            self._waiting.asked = time.monotonic()

    def observe(self, event: Event) -> None:
        """See what the server sends, on the receiving thread."""
        if isinstance(event, ResponseAudioDelta):
            if event.response_id not in self._audios:
                self._audios.add(event.response_id)
                self._reply(event.response_id).first_audio = time.monotonic()
        elif isinstance(event, _TEXTS):
            if event.response_id not in self._texts:
                self._texts.add(event.response_id)
                self._reply(event.response_id).first_text = time.monotonic()
        elif isinstance(event, InputAudioBufferSpeechStopped):
            self._waiting.speech_stopped = time.monotonic()
        elif isinstance(event, InputAudioBufferCommitted):
            self._waiting.committed = time.monotonic()
        elif isinstance(event, ResponseCreated):
            self._reply(event.response_id)
        elif isinstance(event, ResponseDone):
            self._end(event.response_id)

    def _reply(self, response_id: str) -> TurnMetrics:
        """The turn of a response; the first event of a response ends the waiting for it."""
        turn = self._replies.get(response_id)
        if turn is None:
            turn, self._waiting = self._waiting, TurnMetrics()
            turn.response_id = response_id
            self._replies[response_id] = turn
            self.turns.append(turn)
            if len(self._replies) > REPLIES_KEPT:
                self._forget(next(iter(self._replies)))
        return turn

    def _end(self, response_id: str) -> None:
        self._reply(response_id).done = time.monotonic()
        self._forget(response_id)

    def _forget(self, response_id: str) -> None:
        self._replies.pop(response_id)
        self._texts.discard(response_id)
        self._audios.discard(response_id)

    def settle(self) -> None:
        """Fill in when replies were heard, as far as the player knows by now."""
        if self._first_heard is None:
            return
        for turn in list(self.turns):
            if turn.first_heard is None and turn.first_audio is not None:
                turn.first_heard = self._first_heard(turn.response_id)

    def summary(self) -> dict[str, Spread]:
        """Median and 95th percentile of the waits, in milliseconds from the end of speech or the request.

        Keys are ``first_text``, ``first_audio``, ``first_heard`` and ``done``, as far as there are any.
        """
        self.settle()
        summary: dict[str, Spread] = {}
        for what in WAITS:
            waits = sorted(ms for turn in list(self.turns) if (ms := turn.waited_ms(what)) is not None)
            if waits:
                summary[what] = Spread(len(waits), _percentile(waits, 50), _percentile(waits, 95))
        return summary

    def rows(self) -> list[dict[str, float | str | None]]:
        """The turns as dicts, for CSV or JSON."""
        self.settle()
        return [{field.name: getattr(turn, field.name) for field in fields(TurnMetrics)} for turn in list(self.turns)]


def _percentile(ordered: list[float], percent: int) -> float:
    """The smallest value that is not below ``percent`` of all, of an ordered list."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
