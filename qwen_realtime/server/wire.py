"""Between session and socket: gives each event its id, counts it, and lets the faults do their work."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import msgspec

from .. import codec
from .. import events as ev
from .fault_plan import FaultPlan
from .faults import Fault, LateDelta, NoPong, OddAudio
from .ids import new_id
from .link import Link, text_frame

__all__ = ["Wire"]


class Wire:
    """The way out of one session.

    Args:
        link: the socket.
        plan: the server's faults.
        connection: which connection of the server this is, from 1.
        clock: monotonic seconds.
        expire: what the session limit does.
    """

    def __init__(
        self, link: Link, plan: FaultPlan, connection: int, clock: Callable[[], float], expire: Callable[[], None]
    ) -> None:
        self._link = link
        self._plan = plan
        self._clock = clock
        self._expire = expire
        self._faults = plan.of(connection)
        self._seen: Counter[str] = Counter()
        self._muted = False
        self._held: deque[Callable[[], None]] = deque()
        self._hold_until = 0.0
        self._odd = plan.standing(connection, OddAudio) is not None if self._faults else False
        self._carry = b""
        self._late = plan.standing(connection, LateDelta) is not None if self._faults else False
        self._active = False  # a response is in progress
        self._stopping = False  # and was cancelled or interrupted
        self._last_sound: ev.ResponseAudioDelta | None = None
        if self._faults and plan.standing(connection, NoPong):
            link.answers_pings = False

    # What the session calls.

    def send(self, event: ev.ServerEvent) -> None:
        """Send an event, unless a fault has other plans."""
        if not self._faults:
            self.deliver(event)
            return
        for each in self._odd_pieces(event) if self._odd else (event,):
            self._send_through_faults(each)
        if self._late:
            self._follow_late(event)

    def arrived(self, event_type: str) -> None:
        """A client event has arrived."""
        if not self._faults:
            return
        if event_type == "response.cancel":
            self._stopping = self._active
        for fault in self._due(event_type, client=True):
            fault.after(self)

    def wait(self, now: float) -> float | None:
        """Seconds until held events may go; ``None`` where none are held."""
        return max(0.0, self._hold_until - now) if self._held else None

    def release(self, now: float) -> None:
        """Send what was held, if it was held long enough."""
        while self._held and now >= self._hold_until:
            self._held.popleft()()

    # What faults call.

    def deliver(self, event: ev.ServerEvent) -> None:
        """Send an event as it is, with an id of its own."""
        self._put(lambda: self._link.send(self._encode(event)))

    def deliver_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._put(lambda: self._link.send_raw(data))

    def deliver_text(self, payload: bytes) -> None:
        """Send a text message as it is, UTF-8 or not."""
        self.deliver_raw(text_frame(payload))

    def deliver_binary(self, payload: bytes) -> None:
        """Send a binary message."""
        self._put(lambda: self._link.send_binary(payload))

    def hold(self, seconds: float) -> None:
        """Keep what comes from now on for so long."""
        self._hold_until = self._clock() + seconds

    def mute(self) -> None:
        """Send nothing more."""
        self._put(self._mute)

    def cut(self, event: ev.ServerEvent) -> None:
        """Send half a frame and hang up."""
        frame = text_frame(self._encode(event))
        self.deliver_raw(frame[: len(frame) // 2])
        self._put(self._link.hang_up)

    def reset(self) -> None:
        """Break the TCP connection when everything before has left this server."""
        self._put(self._reset)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame of any length and hang up, or begin an orderly close if the frame is a proper one."""
        payload = code.to_bytes(2, "big") + reason.encode()
        if len(payload) <= 125:
            self._put(lambda: self._link.close(code, reason))
        else:
            self.deliver_raw(text_frame(payload, 0x88))
            self._put(self._link.hang_up)

    def expire(self) -> None:
        """Do what the session limit does."""
        self._put(self._expire)

    # Inside.

    def _put(self, action: Callable[[], None]) -> None:
        if self._muted:
            return
        if self._held or self._clock() < self._hold_until:
            self._held.append(action)
        else:
            action()

    def _mute(self) -> None:
        self._muted = True
        self._held.clear()

    def _reset(self) -> None:
        self._link.flush()
        self._link.reset()

    def _encode(self, event: ev.ServerEvent) -> bytes:
        if isinstance(event, ev.UnknownEvent):
            return codec.encode(ev.UnknownEvent(message={"event_id": new_id("event"), **event.message}))
        return codec.encode(event, new_id("event"))

    def _send_through_faults(self, event: ev.ServerEvent) -> None:
        due = self._due(event.type)
        left: ev.ServerEvent | None = event
        for fault in due:
            if left is not None:
                left = fault.before(self, left)
        if left is not None:
            self.deliver(left)
        for fault in due:
            fault.after(self)

    def _due(self, event_type: str, *, client: bool = False) -> list[Fault]:
        self._seen[event_type] += 1
        if not client:
            self._seen["*"] += 1
        return [
            fault
            for number, fault in self._faults
            if (fault.on == event_type or (fault.on == "*" and not client))
            and self._seen[fault.on] == fault.nth
            and _is_momentary(fault)
            and self._plan.take(number)
        ]

    def _odd_pieces(self, event: ev.ServerEvent) -> list[ev.ServerEvent]:
        """Move a byte from one delta to the next wherever a delta would be even."""
        if isinstance(event, ev.ResponseAudioDelta):
            sound = self._carry + event.delta
            cut = len(sound) if len(sound) % 2 else len(sound) - 1
            self._carry = sound[cut:]
            self._last_sound = event
            return [msgspec.structs.replace(event, delta=sound[:cut])]
        if isinstance(event, ev.ResponseAudioDone) and self._carry and self._last_sound is not None:
            rest = msgspec.structs.replace(self._last_sound, delta=self._carry)
            self._carry = b""
            return [rest, event]
        return [event]

    def _follow_late(self, event: ev.ServerEvent) -> None:
        if isinstance(event, ev.ResponseCreated):
            self._active = True
        elif isinstance(event, ev.ResponseAudioDelta):
            self._last_sound = event
        elif isinstance(event, ev.InputAudioBufferSpeechStarted):
            self._stopping = self._active
        elif isinstance(event, ev.ResponseOutputItemDone):
            self._active = False
            if self._stopping and self._last_sound is not None:
                self._stopping = False
                self.deliver(self._last_sound)


def _is_momentary(fault: Fault) -> bool:
    return type(fault).before is not Fault.before or type(fault).after is not Fault.after
