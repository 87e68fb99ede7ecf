"""Facts about the connection itself, delivered to handlers like any other event."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .base import ConnectionEvent

__all__ = ["CONNECTION_EVENTS", "CloseInfo", "Connected", "Disconnected", "Lost", "Reconnected", "Reconnecting"]


class CloseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection ended.

    Attributes:
        code: the WebSocket close code; ``None`` where no close frame came.
        reason: the text beside the code.
        by: ``"client"``, ``"server"`` or ``"network"``: who ended it.
        clean: whether the end was an orderly one: closed by us, or by the server after ``session.finished`` or with
            code 1000.
        error: the first cause, where there is one.
    """

    code: int | None = None
    reason: str = ""
    by: str = ""
    clean: bool = False
    error: BaseException | None = None


class Connected(ConnectionEvent, frozen=True, kw_only=True):
    """The session is open: ``session.created`` has arrived.

    Attributes:
        session_id: the server's name for the session.
        model: the model it runs.
    """

    type_name: ClassVar[str] = "connected"
    session_id: str = ""
    model: str = ""


class Disconnected(ConnectionEvent, frozen=True, kw_only=True):
    """The connection has ended; always the last event delivered, exactly once.

    Attributes:
        info: how it ended.
    """

    type_name: ClassVar[str] = "disconnected"
    info: CloseInfo

    @property
    def code(self) -> int | None:
        """The WebSocket close code; ``None`` where no close frame came."""
        return self.info.code

    @property
    def reason(self) -> str:
        """The text beside the code."""
        return self.info.reason

    @property
    def by(self) -> str:
        """Who ended it: ``"client"``, ``"server"`` or ``"network"``."""
        return self.info.by


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """What a reconnection could not bring back.

    Attributes:
        audio_ms: input audio that was not heard by the server, in milliseconds.
        events: client events that were not carried over.
        notes: what else, in words.
    """

    audio_ms: float = 0.0
    events: int = 0
    notes: tuple[str, ...] = ()


class Reconnecting(ConnectionEvent, frozen=True, kw_only=True):
    """The connection broke and another try is due.

    Attributes:
        attempt: 1 for the first try.
        delay: seconds until it is made.
        cause: how the last connection ended.
    """

    type_name: ClassVar[str] = "reconnecting"
    attempt: int
    delay: float
    cause: CloseInfo


class Reconnected(ConnectionEvent, frozen=True, kw_only=True):
    """The session goes on over a new connection.

    Attributes:
        attempts: how many tries it took.
        session_id: the new session's name.
        lost: what could not be brought back.
    """

    type_name: ClassVar[str] = "reconnected"
    attempts: int
    session_id: str = ""
    lost: Lost = Lost()


CONNECTION_EVENTS: dict[str, type[Any]] = {
    cls.type_name: cls for cls in (Connected, Disconnected, Reconnecting, Reconnected)
}
