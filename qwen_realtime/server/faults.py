"""Faults that the local server commits on request, as a list of small values.

A fault says what happens and when: at the ``nth`` event of the type ``on``, on which ``connection`` (1 is the
server's first; ``None`` is any), and how many ``times`` in the server's life. ``on`` names an event of the server or of
the client; ``"*"`` is any event of the server. Behaviours know nothing of faults: they sit between session and socket.

::

    LocalServer(faults=[
        Reject(status=429, retry_after=0.2),                       # the first handshake
        CutMidFrame(on="response.audio.delta", nth=3),             # then, in mid-sentence
        Reset(on="input_audio_buffer.append", nth=20, connection=3),
    ])

In place of a fault may stand its class or its name, such as ``"no pong"``, where nothing else is to be said, and an
object as a JSON file has it: ``{"fault": "cut mid-frame", "on": "response.audio.delta"}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .. import events as ev
from ..settings.rules import at_path

__all__ = [
    "BinaryFrame",
    "CloseWith",
    "CutMidFrame",
    "Delay",
    "Drop",
    "DropSetting",
    "Duplicate",
    "ErrorEvent",
    "Expire",
    "Fault",
    "InvalidUtf8",
    "LateDelta",
    "LongReason",
    "MalformedJson",
    "NoPong",
    "OddAudio",
    "Oversized",
    "RateLimit",
    "Reject",
    "Reset",
    "Silent",
    "Stall",
    "UnknownType",
]

EXHAUSTED = (
    "The free tier of the model has been exhausted. If you wish to continue access the model on a paid basis, please "
    'disable the "use free tier only" mode in the management console.'
)
THROTTLED = "To many requests. Your requests are being throttled due to system capacity limits."


class WireControl(Protocol):
    """What a fault can do to a connection."""

    def deliver(self, event: ev.ServerEvent) -> None:
        """Send an event that no fault sees."""

    def deliver_raw(self, data: bytes) -> None:
        """Send bytes as they are."""

    def deliver_text(self, payload: bytes) -> None:
        """Send a text message as it is."""

    def deliver_binary(self, payload: bytes) -> None:
        """Send a binary message."""

    def hold(self, seconds: float) -> None:
        """Send nothing more until then; what comes meanwhile is kept in order."""

    def mute(self) -> None:
        """Send nothing more at all."""

    def cut(self, event: ev.ServerEvent) -> None:
        """Send half of an event's frame and hang up."""

    def reset(self) -> None:
        """Break the TCP connection."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, which may break the rules, and hang up."""

    def expire(self) -> None:
        """Do what the session limit does."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Base of all faults.

    Args:
        on: type of the event at which it happens.
        nth: at which event of that type, counted from 1 for each connection.
        connection: on which connection of the server, counted from 1; ``None`` is any.
        times: how often in the server's life; 0 is always.
    """

    on: str = "*"
    nth: int = 1
    connection: int | None = None
    times: int = 1

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:  # noqa: ARG002
        """Do what comes before the server's event; return the event to send, or ``None`` to send none."""
        return event

    def after(self, wire: WireControl) -> None:
        """Do what comes after the server's event has left, or after the client's has arrived."""


class _Standing(Fault):
    """Base of faults that hold for a whole connection."""


@dataclass(frozen=True, kw_only=True)
class Reject(_Standing):
    """Refuse the handshake with an HTTP status; ``retry_after`` in seconds."""

    status: int = 503
    body: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Silent(_Standing):
    """Accept the handshake and never say a word."""


@dataclass(frozen=True, kw_only=True)
class NoPong(_Standing):
    """Leave pings without an answer."""


@dataclass(frozen=True, kw_only=True)
class OddAudio(_Standing):
    """Send sound in pieces of an odd number of bytes; in all it is the same sound."""


@dataclass(frozen=True, kw_only=True)
class LateDelta(_Standing):
    """Send one more sound delta of a response after its cancellation or interruption is complete."""


@dataclass(frozen=True, kw_only=True)
class Delay(Fault):
    """Hold the event, and all that follow, for some seconds."""

    seconds: float = 1.0

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Start to hold."""
        wire.hold(self.seconds)
        return event


@dataclass(frozen=True, kw_only=True)
class Stall(Fault):
    """Send nothing after the event; the connection stays open and answers pings."""

    def after(self, wire: WireControl) -> None:
        """Fall silent."""
        wire.mute()


@dataclass(frozen=True, kw_only=True)
class Drop(Fault):
    """Leave the event out."""

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Swallow it."""
        del wire, event
        return None


@dataclass(frozen=True, kw_only=True)
class Duplicate(Fault):
    """Send the event twice, with two event ids, as LiveTranslate was seen to do."""

    on: str = "response.text.done"

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Send it a first time."""
        wire.deliver(event)
        return event


@dataclass(frozen=True, kw_only=True)
class CutMidFrame(Fault):
    """Send half of the event's frame, then end the TCP connection."""

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Cut."""
        wire.cut(event)
        return None


@dataclass(frozen=True, kw_only=True)
class Reset(Fault):
    """Reset the TCP connection after the event has left or arrived."""

    def after(self, wire: WireControl) -> None:
        """Reset."""
        wire.reset()


@dataclass(frozen=True, kw_only=True)
class CloseWith(Fault):
    """Close with a code and a reason after the event."""

    code: int = 1011
    reason: str = ""

    def after(self, wire: WireControl) -> None:
        """Close."""
        wire.close(self.code, self.reason)


@dataclass(frozen=True, kw_only=True)
class LongReason(CloseWith):
    """Close with a reason longer than the 123 bytes that the standard allows, as the real service does."""

    on: str = "session.created"
    code: int = 1007
    reason: str = EXHAUSTED


@dataclass(frozen=True, kw_only=True)
class ErrorEvent(Fault):
    """Send an ``error`` event after the event."""

    kind: str = "server_error"
    code: str = "InternalError"
    message: str = "Internal service error: null"

    def after(self, wire: WireControl) -> None:
        """Send it."""
        wire.deliver(ev.Error(error=ev.ErrorDetail(type=self.kind, code=self.code, message=self.message)))


@dataclass(frozen=True, kw_only=True)
class RateLimit(Fault):
    """Send the service's rate limit error after the event and close 1011; ``Reject(status=429)`` is the other way."""

    on: str = "session.created"

    def after(self, wire: WireControl) -> None:
        """Complain and close."""
        message = "Requests rate limit exceeded, please try again later."
        wire.deliver(ev.Error(error=ev.ErrorDetail(code="Throttling.RateQuota", message=message)))
        wire.close(1011, THROTTLED)


@dataclass(frozen=True, kw_only=True)
class Expire(Fault):
    """Let the session limit be reached after the event."""

    def after(self, wire: WireControl) -> None:
        """Expire."""
        wire.expire()


@dataclass(frozen=True, kw_only=True)
class MalformedJson(Fault):
    """Send a text message that is not JSON before the event."""

    payload: bytes = b'{"type": "response.audio.delta", "delta": '

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Send it."""
        wire.deliver_text(self.payload)
        return event


@dataclass(frozen=True, kw_only=True)
class InvalidUtf8(MalformedJson):
    """Send a text message that is not UTF-8 before the event."""

    payload: bytes = b'{"type": "response.text.delta", "delta": "\xff\xfe"}'


@dataclass(frozen=True, kw_only=True)
class BinaryFrame(Fault):
    """Send a binary message before the event."""

    payload: bytes = b"\x00\x01\x02\x03"

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Send it."""
        wire.deliver_binary(self.payload)
        return event


@dataclass(frozen=True, kw_only=True)
class UnknownType(Fault):
    """Send an event of a type that nobody declared before the event."""

    type_name: str = "response.thinking.delta"

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Send it."""
        wire.deliver(ev.UnknownEvent(message={"type": self.type_name, "delta": "hm"}))
        return event


@dataclass(frozen=True, kw_only=True)
class Oversized(Fault):
    """Send an event of at least ``size`` bytes before the event."""

    size: int = 17 * 1024 * 1024

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Send it."""
        wire.deliver_text(b'{"type": "response.text.delta", "delta": "' + b"x" * self.size + b'"}')
        return event


@dataclass(frozen=True, kw_only=True)
class DropSetting(Fault):
    """Leave a setting, by its dotted ``path``, out of the echo."""

    path: str = "voice"
    on: str = "session.updated"

    def before(self, wire: WireControl, event: ev.ServerEvent) -> ev.ServerEvent | None:
        """Take it out."""
        del wire
        if not isinstance(event, ev.SessionEvent):
            return event
        return ev.SessionUpdated(session=_without(event.session, self.path))


def _without(session: dict[str, object], path: str) -> dict[str, object]:
    key, _, rest = path.partition(".")
    kept = dict(session)
    inner = at_path(kept, key)
    if rest and isinstance(inner, dict):
        kept[key] = _without(inner, rest)
    else:
        kept.pop(key, None)
    return kept
