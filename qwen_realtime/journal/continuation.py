"""One response over two connections: what the user has had of it is not given again, and its id stays."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ..events import ResponseAudioDelta, ResponseCreated, ResponseDone, ResponseEvent, ServerEvent

__all__ = ["Continuation", "changed"]

E = TypeVar("E", bound=ServerEvent)


def changed(event: E, **fields: Any) -> E:
    """An event with other fields, which keeps the message it came as."""
    other = msgspec.structs.replace(event, **fields)
    other.__dict__.update(event.__dict__)
    return other


class Continuation:
    """Follows the response in progress, for a server that speaks the same again when it is told the same again.

    Audio is dropped by its length: a voice that is not the same twice to the millisecond is joined a moment off.

    Attributes:
        response: in progress, by the id that the user knows; empty where there is none.
    """

    def __init__(self) -> None:
        self.response = ""
        self._delivered = 0  # bytes of its audio that the user has had
        self._skip = 0  # bytes still to be dropped on this connection
        self._broken = ""  # the id of the response that a break cut, until it is begun again
        self._alias = ("", "")  # its id on this connection, and the one that the user knows

    def seen(self, event: ServerEvent) -> ServerEvent | None:
        """An event as the user shall see it; ``None`` for audio that has come before."""
        event = self._as_known(event)
        if isinstance(event, ResponseAudioDelta):
            return self._new_part(event)
        if isinstance(event, ResponseCreated):
            self.response = event.response.id
        elif isinstance(event, ResponseDone):
            self.over()
        return event

    def over(self) -> None:
        """The response is done; the next one is another."""
        self.response = self._broken = ""
        self.forget()

    def forget(self) -> None:
        """Drop nothing: what was delivered will not come again."""
        self._delivered = self._skip = 0

    def broke(self) -> None:
        """The connection broke; what the next one says first is the response in progress, if there is one."""
        self._broken = self.response
        self._skip = self._delivered
        self._alias = ("", "")

    def _as_known(self, event: ServerEvent) -> ServerEvent:
        if isinstance(event, ResponseCreated) and self._broken:
            self._alias, self._broken = (event.response.id, self._broken), ""
        new, known = self._alias
        if new and isinstance(event, ResponseEvent) and event.response_id == new:
            return changed(event, response_id=known)
        if new and isinstance(event, (ResponseCreated, ResponseDone)) and event.response.id == new:
            return changed(event, response=msgspec.structs.replace(event.response, id=known))
        return event

    def _new_part(self, event: ResponseAudioDelta) -> ResponseAudioDelta | None:
        dropped = min(self._skip, len(event.delta))
        self._skip -= dropped
        self._delivered += len(event.delta) - dropped
        if dropped and dropped == len(event.delta):
            return None
        return changed(event, delta=event.delta[dropped:]) if dropped else event
