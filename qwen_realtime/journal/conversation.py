"""Omni's journal: the turn in progress as it was sent, and the turns that are over as text items.

What was said by voice in a turn that is over comes back as its transcript. A turn in progress comes back as its audio
and events, and is answered anew; a function that was called in it is called again, and the outputs that were meant for
the call before are not sent. Images of turns that are over do not come back, and are counted as lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..events import (
    ClientEvent,
    ConversationItemCreate,
    ConversationItemCreated,
    ConversationItemInputAudioTranscriptionCompleted,
    Error,
    InputAudioBufferCommit,
    InputAudioBufferCommitted,
    InputImageBufferAppend,
    Lost,
    ResponseAudioTranscriptDone,
    ResponseCancel,
    ResponseCreate,
    ResponseCreated,
    ResponseDone,
    ResponseFunctionCallArgumentsDone,
    ResponseTextDone,
    ServerEvent,
)
from .audio import AudioJournal

__all__ = ["ConversationJournal"]

# Items of the conversation that are kept; a model's memory ends somewhere too.
MAX_ITEMS = 500


@dataclass
class _Said:
    """Something in the conversation; ``item`` is ``None`` until the transcript comes, and empty if that is."""

    item: dict[str, Any] | None = None


def _message(role: str, kind: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


class ConversationJournal(AudioJournal):
    """Omni. A turn is over when a response that calls no function is done, or is cancelled."""

    def __init__(self, kept_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(kept_s, clock)
        self._answers_by_itself = True
        self._past: deque[_Said] = deque()  # of turns that are over
        self._spoken: dict[str, _Said] = {}  # by item; filled in when the transcript comes
        self._fresh: list[_Said] = []  # spoken, and not yet covered by a response
        self._covered: list[_Said] = []  # what the response in progress answers
        self._covered_ms = 0.0
        self._reply: list[str] = []
        self._response = ""  # in progress
        self._requests = 0  # how many times the client had asked when it began; all but one were ignored
        self._calls: set[str] = set()  # functions called on this connection and not answered
        self._calling = False  # functions were called, and the response that follows has not begun
        self._stale = False  # outputs for a connection before were held back, and so must be what asks for the answer
        self._promised = False  # the turn that the break cut will be answered
        self._lost_items = 0
        self._past_images = 0

    def configured(self, session: dict[str, Any]) -> None:
        """Take over the settings."""
        super().configured(session)
        detection = session.get("turn_detection")
        self._answers_by_itself = isinstance(detection, dict) and detection.get("create_response", True) is not False

    def owes_reply(self) -> bool:
        """Whether the turn that the break cut is still to be answered."""
        return self._promised

    # What the client sends.

    def sent(self, event: ClientEvent) -> bool:
        """Note what the client sends; ``False`` for the outputs of functions that another connection called."""
        if isinstance(event, ConversationItemCreate):
            if event.item.get("type") == "function_call_output":
                return self._takes_output(str(event.item.get("call_id")))
            self._note(event)
        elif isinstance(event, ResponseCreate):
            stale, self._stale = self._stale, False
            if stale and not self._calling:
                return False
            if not self._calling:
                self._note(event)
        elif isinstance(event, ResponseCancel) and self._response:
            self._turn_over()
        return super().sent(event)

    def _takes_output(self, call_id: str) -> bool:
        known = call_id in self._calls
        self._calls.discard(call_id)
        self._stale = self._stale or not known
        return known

    # What the server sends.

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """Note what the server sends; the answers to what the history said are not for the user."""
        if self.unanswered and isinstance(event, (ConversationItemCreated, Error)):
            self.unanswered -= 1
            self._lost_items += isinstance(event, Error)
            return None
        return super().received(event)

    def _observe(self, event: ServerEvent) -> None:
        if isinstance(event, InputAudioBufferCommitted):
            said = _Said()
            self._fresh.append(said)
            self._spoken[event.item_id or ""] = said
        elif isinstance(event, ConversationItemInputAudioTranscriptionCompleted):
            said = self._spoken.pop(event.item_id or "", _Said())
            said.item = _message("user", "input_text", event.transcript) if event.transcript else {}
        elif isinstance(event, (ResponseTextDone, ResponseAudioTranscriptDone)):
            self._say(event.text if isinstance(event, ResponseTextDone) else event.transcript)
        elif isinstance(event, ResponseFunctionCallArgumentsDone):
            self._calls.add(event.call_id)
            self._calling = True
        elif isinstance(event, ResponseCreated):
            self._begun(event.response.id)
        elif isinstance(event, ResponseDone) and event.response.id == self._response:
            if self._calling:
                self._response = ""
            else:
                self._turn_over()

    def _say(self, text: str) -> None:
        if text and text not in self._reply:  # it may come twice
            self._reply.append(text)

    def _begun(self, response_id: str) -> None:
        if self._response:  # the one before was interrupted, and had no end of its own
            self._turn_over()
        self._response = response_id
        self._calling = False
        self._requests = sum(isinstance(each, ResponseCreate) for each in self._sent)
        self._covered += self._fresh
        self._fresh = []
        self._covered_ms = max([self._covered_ms, *self._ends.values()])

    def _turn_over(self) -> None:
        """Everything that the response answers has been dealt with, and is history."""
        self.progress += 1
        for _ in range(self._requests):
            self._take_request()
        self._deal(self._covered_ms)
        reply = [_Said(_message("assistant", "text", " ".join(self._reply)))] if self._reply else []
        self._past.extend([*self._covered, *reply])
        while len(self._past) > MAX_ITEMS:
            self._past.popleft()
            self._lost_items += 1
        self._covered, self._reply = [], []
        self._response = ""
        self._requests = 0
        self._promised = False

    def _take_request(self) -> None:
        """Let go of what the oldest ``response.create`` asked about: items, and audio that was committed before it."""
        before = list(self._sent)[: self._index(ResponseCreate)]
        for _ in range(sum(isinstance(each, InputAudioBufferCommit) for each in before)):
            self._through_commit()
        at = self._index(ResponseCreate)
        head, tail = list(self._sent)[:at], list(self._sent)[at + 1 :]
        self._sent = deque([each for each in head if isinstance(each, (bytes, InputImageBufferAppend))] + tail)
        for each in head:
            if isinstance(each, ConversationItemCreate):
                self._past.append(_Said(each.item))

    def _index(self, kind: type[ClientEvent]) -> int:
        return next((i for i, each in enumerate(self._sent) if isinstance(each, kind)), len(self._sent))

    def _take_first(self) -> bytes | ClientEvent:
        first = super()._take_first()
        if isinstance(first, InputImageBufferAppend):
            self._past_images += 1
        elif isinstance(first, ConversationItemCreate):
            self._past.append(_Said(first.item))
        return first

    # Coming back.

    def broke(self) -> None:
        """There is no session any more."""
        super().broke()
        asked = any(isinstance(each, ResponseCreate) for each in self._sent)
        heard = bool(self._ends) and self._answers_by_itself
        self._promised = self._promised or bool(self._response) or self._calling or asked or heard

    def history(self) -> list[ClientEvent]:
        """The turns that are over, as items; what has no text is lost."""
        self._lost_items += sum(said.item is None for said in self._past)
        self._past = deque(said for said in self._past if said.item)
        self.unanswered = len(self._past)
        return [ConversationItemCreate(item=said.item) for said in self._past if said.item]

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        """Begin anew with the turn in progress."""
        self.unanswered = 0
        self._fresh, self._covered, self._reply = [], [], []
        self._spoken.clear()
        self._calls.clear()
        self._covered_ms = 0.0
        self._response = ""
        self._requests = 0
        self._calling = self._stale = False
        events, lost = super().resume()
        notes = list(lost.notes)
        if self._lost_items:
            notes.append(f"{self._lost_items} items of the conversation")
        if self._past_images:
            notes.append(f"{self._past_images} images")
        count = lost.events + self._lost_items + self._past_images
        self._lost_items = self._past_images = 0
        return events, Lost(audio_ms=lost.audio_ms, events=count, notes=tuple(notes))
