"""TTS: text goes out, audio comes in."""

from __future__ import annotations

from collections import deque

from ..events import (
    ClientEvent,
    InputTextBufferAppend,
    InputTextBufferClear,
    InputTextBufferCleared,
    InputTextBufferCommit,
    Lost,
    ResponseAudioDelta,
    ResponseCancel,
    ResponseDone,
    ServerEvent,
)
from .base import Journal, Noted
from .continuation import Continuation

__all__ = ["TextJournal"]

# Text that waits to be spoken: some twenty hours of speech.
MAX_CHARACTERS = 1_000_000


class TextJournal(Journal):
    """TTS: the text whose audio has not arrived whole.

    To the user, a response that is begun anew is the one that was cut: see :class:`~.continuation.Continuation`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._characters = 0
        self._lost = 0
        self._continuation = Continuation()
        self._cancelled = False

    def sent(self, event: ClientEvent) -> bool:
        """Note what the client sends, before it is sent."""
        if isinstance(event, InputTextBufferAppend):
            self._note(event)
            self._characters += len(event.text)
            self._bound()
        elif isinstance(event, InputTextBufferClear) or (isinstance(event, InputTextBufferCommit) and self._has_text()):
            self._note(event)
        elif isinstance(event, ResponseCancel):
            self._cancelled = bool(self._continuation.response)
        return super().sent(event)

    def _has_text(self) -> bool:
        """Whether there is text that no commit follows: a commit of nothing is refused, and answered by nothing."""
        for each in reversed(self._sent):
            if isinstance(each, InputTextBufferCommit):
                return False
            if isinstance(each, InputTextBufferAppend) and each.text.strip():
                return True
        return False

    def _bound(self) -> None:
        while self._characters > MAX_CHARACTERS and len(self._sent) > 1:
            self._take_first()
            self._lost += 1
            self._continuation.forget()

    def _take_first(self) -> Noted:
        first = self._sent.popleft()
        if isinstance(first, InputTextBufferAppend):
            self._characters -= len(first.text)
        return first

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """Note what the server sends."""
        seen = self._continuation.seen(event)
        if isinstance(event, ResponseDone):
            self._spoken()
        elif isinstance(event, InputTextBufferCleared):
            self._cleared()
        elif isinstance(seen, ResponseAudioDelta):
            self.progress += 1
        return seen

    def _spoken(self) -> None:
        """The text up to the oldest commit has been spoken; all of it where nothing was committed."""
        committed = any(isinstance(each, InputTextBufferCommit) for each in self._sent)
        while self._sent and not (isinstance(self._take_first(), InputTextBufferCommit) and committed):
            pass
        self._continuation.over()
        self._cancelled = False
        self.progress += 1

    def _cleared(self) -> None:
        """The oldest clear has taken effect on the text between it and the commit before it."""
        noted = list(self._sent)
        at = next((i for i, each in enumerate(noted) if isinstance(each, InputTextBufferClear)), None)
        if at is None:
            return
        begin = at
        while begin and isinstance(noted[begin - 1], InputTextBufferAppend):
            begin -= 1
        self._sent = deque(noted[:begin] + noted[at + 1 :])
        self._characters = sum(len(each.text) for each in self._sent if isinstance(each, InputTextBufferAppend))

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        """Begin anew on a fresh session: what to send again, and what cannot be brought back."""
        if self._cancelled:
            self._spoken()
        self._continuation.broke()
        lost, self._lost = self._lost, 0
        events, _ = super().resume()
        return events, Lost(events=lost, notes=("more text than the journal keeps",) if lost else ())
