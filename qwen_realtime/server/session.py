"""One connection, from its first byte to its last, on one thread.

The thread waits for three things at once: bytes from the client, results that engines have posted, and the time at
which something is due. It owns the socket, the session's state and the behaviour, so none of them needs a lock, a TLS
connection is never touched by two threads, and a cancellation takes effect while sound waits to leave.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from websockets.http11 import Request

from .. import codec
from .. import events as ev
from ..errors import ProtocolError
from ..protocol import SessionState
from ..settings.profiles import ModelProfile
from .admission import Refusal, judge
from .behaviours import BEHAVIOURS, Behaviour
from .behaviours.host import EngineSet, Options
from .faults import Reject, Silent
from .link import Closed, Link, Message
from .pacing import Lane
from .record import SessionRecord
from .wire import Wire

if TYPE_CHECKING:
    from .app import LocalServer

__all__ = ["ServerSession", "TimerHandle"]

_log = logging.getLogger("qwen_realtime.server")

# What may wait for the socket before responses wait in the lane instead, where a cancellation can still reach them.
_ROOM_BYTES = 128 * 1024
_HANDSHAKE_S = 10.0
_CLOSE_S = 1.0
# The client is asked to disconnect after session.finished; one that does not is disconnected.
_LINGER_S = 10.0
_EXPIRED = "The session has reached its maximum duration."


class TimerHandle:
    """Something that will happen on the session's thread."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """It will not happen. Idempotent."""
        self.action = None


class ServerSession:
    """One connection; :meth:`run` is the whole life of its thread, ``qwen-server-session-<number>``.

    That thread may block on the selector (woken by the client, by :meth:`post` and by its own deadlines) and, for as
    long as a worker is 32 MB of sound behind, on an engine's pipe.

    Args:
        server: whose options hold.
        link: the socket.
        connection: which of the server's connections this is, from 1.
    """

    def __init__(self, server: LocalServer, link: Link, connection: int) -> None:
        self._server = server
        self._link = link
        self._connection = connection
        self._clock = time.monotonic
        self.record = SessionRecord(connection=connection)
        # Filled from any thread, emptied by the session's own; deque's own atomicity is all it needs.
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._timer_numbers = itertools.count()
        self.wire = Wire(link, server.plan, connection, self._clock, self._expire)
        self.lane = Lane(self.emit, server.pace)
        self.state: SessionState
        self.profile: ModelProfile
        self._behaviour: Behaviour | None = None
        self._closing = False

    # What behaviours use (the Host protocol).

    @property
    def engines(self) -> EngineSet:
        """The server's engines; made at the first use."""
        return self._server.engines

    @property
    def options(self) -> Options:
        """What the server was told about behaviours."""
        return self._server.options

    def emit(self, event: ev.ServerEvent) -> None:
        """Send an event now."""
        self.state.advance(event)
        self.record.server_events[event.type] += 1
        if isinstance(event, ev.ResponseDone) and isinstance(event.response.usage, ev.Usage):
            self.record.usage_tokens = int(event.response.usage.total_tokens or 0)
        self.wire.send(event)

    def post(self, action: Callable[[], None]) -> None:
        """Have the session's thread run something; from any thread, never blocks."""
        self._inbox.append(action)
        with contextlib.suppress(OSError):
            self._wake_in.send(b"x")

    def later(self, seconds: float, action: Callable[[], None]) -> TimerHandle:
        """Have the session's thread run something after a while."""
        handle = TimerHandle(action)
        heapq.heappush(self._timers, (self._clock() + seconds, next(self._timer_numbers), handle))
        return handle

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection once everything sent so far has left; what waits in the lane is dropped."""
        self.lane.clear()
        self._link.close(code, reason)
        self._closing_began()

    def finished(self) -> None:
        """``session.finished`` was sent: the client is expected to close."""
        if self._server.closes_after_finish:
            self.close(1000)
        else:
            self.later(_LINGER_S, lambda: self.close(1000))

    # The thread.

    def run(self) -> None:
        """Live until the connection is closed and everything is let go."""
        selector = selectors.DefaultSelector()
        handshake = self.later(_HANDSHAKE_S, self._link.abandon)
        self._handshake_timer = handshake
        try:
            selector.register(self._wake_out, selectors.EVENT_READ)
            selector.register(self._link, selectors.EVENT_READ)
            while not self._link.ended:
                self._step(selector)
        except Exception:  # noqa: BLE001 - the thread's last resort: tell, and let go of everything
            _log.exception("the local server's session %d failed", self._connection)
        finally:
            self._dispose(selector)

    def _step(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(self._wait()):
            if key.fileobj is self._wake_out:
                with contextlib.suppress(BlockingIOError):
                    self._wake_out.recv(4096)
        for incoming in self._link.read():
            self._guard(partial(self._take, incoming))
        while self._inbox:
            self._guard(self._inbox.popleft())
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            action = heapq.heappop(self._timers)[2].action
            if action is not None:
                self._guard(action)
        self.wire.release(self._clock())
        self._guard(lambda: self.lane.release(self._clock(), self._has_room))
        self._link.flush()
        if self._link.is_hanging_up:
            self._closing_began()
        if not self._link.ended:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._link.wants_write else 0)
            if selector.get_key(self._link).events != events:
                selector.modify(self._link, events)

    def _wait(self) -> float | None:
        """Seconds until something is due; ``None`` where nothing is."""
        if self._inbox or self._link.has_unread:
            return 0.0
        now = self._clock()
        waits = [self.wire.wait(now)]
        if self._has_room():
            waits.append(self.lane.wait(now))
        if self._timers:
            waits.append(max(0.0, self._timers[0][0] - now))
        return min((wait for wait in waits if wait is not None), default=None)

    def _has_room(self) -> bool:
        return self._link.pending < _ROOM_BYTES

    def _guard(self, action: Callable[[], None]) -> None:
        """Run one step of the session; a fault in the server's own code ends this session and no other."""
        try:
            action()
        except Exception:  # noqa: BLE001 - whatever it is, it must not take other sessions along
            _log.exception("the local server's session %d failed", self._connection)
            with contextlib.suppress(Exception):
                self._link.close(1011, "internal error of the local server")
            self._closing_began()

    def _dispose(self, selector: selectors.BaseSelector) -> None:
        self._link.abandon()
        if self._behaviour is not None:
            try:
                self._behaviour.stop()
            except Exception:  # noqa: BLE001 - the socket and the wakers must be closed all the same
                _log.exception("the local server's session %d did not let go", self._connection)
        self.record.close_code = self._link.close_code
        self.record.open = False
        selector.close()
        # Engines may still post; what they do is suppressed once these are closed.
        self._wake_in.close()
        self._wake_out.close()
        self._inbox.clear()
        self._server.ended(self)

    def _closing_began(self) -> None:
        if not self._closing:
            self._closing = True
            self.later(_CLOSE_S, self._link.abandon)

    def stop(self) -> None:
        """Ask the session to end; from any thread, never blocks."""
        self.post(self._stop)

    def _stop(self) -> None:
        if self._behaviour is None:
            self._link.abandon()
        else:
            self.close(1001, "the local server is closing")

    def _expire(self) -> None:
        if self._behaviour is not None and self._link.is_open:
            self.close(1011, _EXPIRED)

    # What arrives.

    def _take(self, incoming: Request | Message | Closed) -> None:
        if isinstance(incoming, Request):
            self._admit(incoming)
        elif isinstance(incoming, Closed):
            self.lane.clear()
            self._closing_began()
        elif self._behaviour is not None and self._link.is_open:
            self._take_message(self._behaviour, incoming)

    def _admit(self, request: Request) -> None:
        self._handshake_timer.cancel()
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        verdict = self._rejected_by_fault() or judge(
            request.path, headers, self._server.api_key, full=self._server.is_full
        )
        if isinstance(verdict, Refusal):
            response = self._link.refusal(verdict.status, verdict.body, verdict.content_type)
            if verdict.retry_after is not None:
                response.headers["Retry-After"] = f"{verdict.retry_after:g}"
            self._link.respond(request, response)
            self._link.hang_up()
            return
        if not self._link.respond(request, None):
            self._link.hang_up()
            return
        self.record.headers = {name: value for name, value in headers.items() if name != "authorization"}
        self._begin(verdict)

    def _rejected_by_fault(self) -> Refusal | None:
        fault = self._server.plan.standing(self._connection, Reject)
        if not isinstance(fault, Reject):
            return None
        body = fault.body or f'{{"error": {{"code": "fault", "message": "refused with {fault.status} by a fault"}}}}'
        return Refusal(fault.status, body, retry_after=fault.retry_after)

    def _begin(self, profile: ModelProfile) -> None:
        self.profile = profile
        self.state = SessionState(profile.family)
        self.record.model = profile.model
        self.record.family = profile.family.value
        self._server.admitted(self)
        if self._server.plan.standing(self._connection, Silent):
            return
        if self._server.session_limit_s:
            self.later(self._server.session_limit_s, self._expire)
        self._behaviour = BEHAVIOURS[profile.family](self)
        self.record.session_id = self._behaviour.session_id
        self._behaviour.start()

    def _take_message(self, behaviour: Behaviour, message: Message) -> None:
        if not message.is_text:
            behaviour.fail(None, "Binary messages are not supported: send JSON as text.", code="invalid_value")
            return
        try:
            event = codec.decode_client(message.payload)
        except ProtocolError as error:
            behaviour.fail(None, f"Invalid JSON: {error.message}.", code="invalid_json")
            return
        self.record.client_events[event.type] += 1
        self.wire.arrived(event.type)
        if isinstance(event, ev.UnknownEvent):
            behaviour.refuse_unknown(event)
        else:
            if not isinstance(event, (ev.InputAudioBufferAppend, ev.InputImageBufferAppend)):
                self.record.received.append(event)
            behaviour.handle(event)
