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

import difflib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from .. import events as ev
from ..errors import ConfigError
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
    "FaultPlan",
    "FaultSpec",
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


FaultSpec: TypeAlias = Fault | type[Fault] | str | Mapping[str, Any]

_KINDS: tuple[type[Fault], ...] = (
    *(Reject, Silent, NoPong, OddAudio, LateDelta, Delay, Stall, Drop, Duplicate, CutMidFrame, Reset, CloseWith),
    *(LongReason, ErrorEvent, RateLimit, Expire, MalformedJson, InvalidUtf8, BinaryFrame, UnknownType, Oversized),
    DropSetting,
)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


_BY_NAME: dict[str, type[Fault]] = {
    **{_letters(kind.__name__): kind for kind in _KINDS},
    "unknownevent": UnknownType,
    "oddsizedaudio": OddAudio,
    "latedeltaaftercancel": LateDelta,
}


def fault_of(spec: FaultSpec) -> Fault:
    """The fault that an entry of the list means.

    Raises:
        ConfigError: it means none, or has arguments that the fault does not take.
    """
    if isinstance(spec, Fault):
        return spec
    arguments: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {}
    kind = arguments.pop("fault", None) if isinstance(spec, Mapping) else spec
    if isinstance(kind, str):
        kind = _kind_named(kind)
    if not (isinstance(kind, type) and issubclass(kind, Fault)):
        raise ConfigError(f"{spec!r} is no fault", hint="such as Reset(), 'reset', or {'fault': 'reset', 'nth': 3}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__} cannot be made so: {error}") from error


def _kind_named(name: str) -> type[Fault]:
    kind = _BY_NAME.get(_letters(name))
    if kind is None:
        near = difflib.get_close_matches(_letters(name), _BY_NAME, 1)
        names = ", ".join(kind.__name__ for kind in _KINDS)
        hint = f"did you mean {_BY_NAME[near[0]].__name__}?" if near else f"there are {names}"
        raise ConfigError(f"there is no fault {name!r}", hint=hint)
    return kind


class FaultPlan:
    """The faults of one server and how often each has yet to happen.

    Args:
        faults: as given to the server.
    """

    def __init__(self, faults: Iterable[FaultSpec] | FaultSpec) -> None:
        alone = isinstance(faults, (Fault, type, str, Mapping))
        self.faults = tuple(map(fault_of, (faults,) if alone else faults))  # type: ignore[arg-type]
        # Guards `_left`, which the sessions' threads share; held for an instant.
        self._lock = threading.Lock()
        self._left = [fault.times or None for fault in self.faults]

    def of(self, connection: int) -> list[tuple[int, Fault]]:
        """The faults that can happen on a connection, with the number to :meth:`take` them by."""
        return [
            (number, fault)
            for number, fault in enumerate(self.faults)
            if fault.connection is None or fault.connection == connection
        ]

    def take(self, number: int) -> bool:
        """Whether a fault may happen now; counts it."""
        with self._lock:
            left = self._left[number]
            if left is None:
                return True
            self._left[number] = left - 1 if left else 0
            return left > 0

    def standing(self, connection: int, kind: type[Fault]) -> Fault | None:
        """The fault of a kind that holds for a whole connection, if there is one; counts it."""
        for number, fault in self.of(connection):
            if isinstance(fault, kind) and self.take(number):
                return fault
        return None
