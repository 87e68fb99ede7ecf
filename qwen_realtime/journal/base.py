"""The base of all journals."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..events import ClientEvent, InputAudioBufferAppend, Lost, ServerEvent, SessionFinish

__all__ = ["Journal", "Noted", "as_event"]

Noted = bytes | ClientEvent  # input audio as PCM, or any other event


class Journal:
    """Base: what was noted, in order, and that the session is being finished.

    Attributes:
        finishing: whether ``session.finish`` was sent; it is sent again after everything else.
        progress: grows whenever something was dealt with, or new output came.
        replaying: whether a session is being sent what was noted, and has not got all of it.
        unanswered: items of the :meth:`history` that the server has yet to take or refuse.
    """

    def __init__(self) -> None:
        self.finishing = False
        self.progress = 0
        self.replaying = False
        self.unanswered = 0
        self._sent: deque[Noted] = deque()  # not dealt with, oldest first
        self._noted = 0  # how many were ever appended to _sent
        self._up = True  # there is a session that gets what is noted

    def _note(self, what: Noted) -> None:
        self._sent.append(what)
        self._noted += 1

    def sent(self, event: ClientEvent) -> bool:
        """Note what the client sends, before it is sent; ``False`` where it makes no sense to this session."""
        if isinstance(event, SessionFinish):
            self.finishing = True
        return True

    def sent_audio(self, pcm: bytes) -> None:
        """Note input audio."""

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """Note what the server sends.

        Returns:
            The event as the user shall see it; ``None`` where the user has seen it before.
        """
        return event

    def configured(self, session: dict[str, Any]) -> None:
        """The settings in force."""

    def owes_reply(self) -> bool:
        """Whether the new session will answer something without anybody asking again."""
        return False

    def broke(self) -> None:
        """There is no session any more."""
        self._up = self.replaying = False

    def history(self) -> list[ClientEvent]:
        """What a fresh session has to know before :meth:`resume`; each is answered by an item or an error."""
        return []

    def resume(self) -> tuple[list[ClientEvent], Lost]:
        """Begin anew on a fresh session: what to send again, and what cannot be brought back."""
        self._up = self.replaying = True
        return [as_event(each) for each in self._sent], Lost()

    def mark(self) -> int:
        """A place for :meth:`since`: after all that is noted now."""
        return self._noted

    def since(self, mark: int) -> list[ClientEvent]:
        """What was noted after a mark."""
        count = min(self._noted - mark, len(self._sent))
        return [as_event(each) for each in list(self._sent)[len(self._sent) - count :]]


def as_event(noted: Noted) -> ClientEvent:
    """What was noted, as the event that it is."""
    return InputAudioBufferAppend(audio=noted) if isinstance(noted, bytes) else noted
