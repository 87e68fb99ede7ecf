"""One session on its connection: what goes out, what comes in, how it ends, and waiting for the server.

The private half of the clients; :mod:`.client` has the public one, and :mod:`.resumable` what lets a session outlive
its connection. Three threads meet here. The caller's threads send and wait; ``qwen-receive`` (:mod:`.receiver`), which
all sessions share and nothing may keep waiting, decodes messages, keeps the session's state and fills the mailbox;
``qwen-dispatch`` (:mod:`.dispatch`) runs the handlers.

``_changed`` guards the lifecycle state, the session's state and what has been answered; it is held for a few
assignments, and callers wait on it. The order of frames is guarded by the transport's own lock.
"""

from __future__ import annotations

import enum
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from . import codec
from .connection import Connection
from .dialing import Deadline
from .dispatch import PATIENCE_S, SLICE_S, Dispatcher
from .endpoints import Endpoint, KeySource
from .errors import (
    ConfigError,
    ConnectionClosed,
    ConnectTimeout,
    RealtimeError,
    WaitTimeout,
    WouldDeadlock,
)
from .events import (
    ClientEvent,
    CloseInfo,
    Connected,
    Disconnected,
    Error,
    Event,
    ServerEvent,
    SessionCreated,
    SessionFinish,
    SessionUpdate,
    SessionUpdated,
)
from .hints import closed_error, server_error
from .locks import Condition
from .metrics import Metrics
from .protocol import CONTENT, Family, Phase, SessionState
from .settings import ModelProfile, compare_echo
from .trace import Trace
from .transport import Transport

__all__ = ["Session", "State"]

log = logging.getLogger("qwen_realtime")


class State(str, enum.Enum):
    """How far a client's life has come."""

    NEW = "new"
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


_WRITABLE = (State.OPEN, State.CONNECTING)


class Session:
    """A session and its connection.

    Args:
        model: the model's name.
        profile: what is known about it.
        wanted: the ``session`` object that the session shall have.
        endpoint: where to connect.
        key: asked for at each connection.
        connect_timeout: seconds for everything until the session is ready.
        close_timeout: seconds after which closing stops being polite.
        transport_options: for :func:`~.handshake.open_transport`.
        pings: for :class:`~.connection.Connection`.
        manual: handlers are polled.
        trace: where to record the wire.
    """

    family: ClassVar[Family]

    def __init__(
        self,
        *,
        model: str,
        profile: ModelProfile,
        wanted: dict[str, Any],
        endpoint: Endpoint,
        key: KeySource,
        connect_timeout: float,
        close_timeout: float,
        transport_options: dict[str, Any],
        pings: dict[str, float | None],
        manual: bool,
        trace: str | os.PathLike[str] | None,
    ) -> None:
        self.model = model
        self._profile = profile
        self._wanted = wanted  # what was asked for at first, and all updates since
        self._endpoint = endpoint
        self._key = key
        self._connect_timeout = connect_timeout
        self._close_timeout = close_timeout
        self._transport_options = transport_options
        self._pings = pings
        self._trace = Trace(trace) if trace is not None else None

        # one hex counter behind random digits: unique, and a tenth of the price of a UUID
        self._id_prefix = f"event_{os.urandom(10).hex()}"
        self._id_counter = itertools.count(1)

        self.metrics = Metrics()
        self._taps: tuple[Callable[[Event], object], ...] = ()
        self._dispatcher = Dispatcher(manual=manual)
        self._connection: Connection | None = None
        self._process = 0  # that connected: a fork of it has the socket, but neither the threads nor the right to it

        self._changed = Condition()
        self._state = State.NEW
        self._session_state = SessionState(self.family)
        self._info: CloseInfo | None = None  # how it ended, once it has
        self._errors: list[Error] = []  # error events so far
        self._updates = 0  # session.updated events so far
        self._requested: dict[str, Any] = {}  # of the last session.update
        self._updating = threading.Lock()  # one session.update at a time; held while its answer is waited for
        self.dropped_settings: tuple[str, ...] = ()

    # What is known.

    @property
    def state(self) -> State:
        """``new``, ``connecting``, ``open``, ``closing`` or ``closed``."""
        return self._state

    @property
    def session_id(self) -> str:
        """The server's name for the session; empty before ``session.created``."""
        return self._session_state.session_id

    @property
    def session(self) -> dict[str, Any]:
        """The settings that the server last confirmed."""
        return self._session_state.session

    @property
    def response_active(self) -> bool:
        """Whether a response is in progress."""
        return self._session_state.response_active

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; ``None`` until it has."""
        return self._info

    @property
    def errors(self) -> tuple[Error, ...]:
        """The ``error`` events so far."""
        return tuple(self._errors)

    @property
    def handler_errors(self) -> int:
        """How many times a handler has raised."""
        return self._dispatcher.handler_errors

    # Beginning and ending.

    def _begin_session(self, transport: Transport, deadline: Deadline) -> None:
        """Make a transport the connection, and bring its session to the settings wanted."""
        connection: Connection = Connection(
            transport,
            on_message=self._on_message,
            on_end=lambda info: self._on_end(connection, info),
            on_idle=self._on_idle,
            has_room=self._dispatcher.has_room,
            **self._pings,
        )
        self._dispatcher.when_room(connection.resume)
        self._process = os.getpid()
        failure = self._failures()
        with self._changed:  # known before the first event is: a handler may send at once
            self._session_state = SessionState(self.family)
            self._connection = connection
            connection.start()
        waiting = Phase.AWAITING_SESSION
        self._await_server(lambda: self._session_state.phase is not waiting, failure, deadline, "session.created")
        if self._wanted:
            self._update(self._wanted, deadline)

    def _become_open(self) -> None:
        with self._changed:
            if self._state is not State.CONNECTING:
                raise self._closed_error()
            self._state = State.OPEN
            self._changed.notify_all()

    def _never_opened(self, error: BaseException) -> None:
        with self._changed:
            self._state = State.CLOSED
            self._info = CloseInfo(by="client", reason=str(error), error=error)
            self._changed.notify_all()
        self._abandon()

    def _abandon(self) -> None:
        """Give back what a client that never opened has taken."""
        if self._trace is not None:
            self._trace.close()
        self._dispatcher.abandon()

    def _finish_session(self) -> None:
        """Tell the server that there is no more input."""
        if self._session_state.phase in (Phase.READY, Phase.AWAITING_SESSION):
            self._send(SessionFinish())

    def _finished(self) -> bool:
        """Whether the server has dealt with all input."""
        return self._session_state.phase is Phase.FINISHED

    def _reported(self, errors: int) -> bool:
        """Whether the server has reported an error that no handler takes, since there were so many."""
        return len(self._errors) > errors and not self._dispatcher.handlers.take_errors()

    def _close(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._close_connection(deadline)
        if self._dispatcher.in_handler or self._receiving_here:
            return
        if not self._drain(max(0.3, deadline - time.monotonic())):
            log.warning("a handler is still running after %.1f s; what had arrived after it is discarded", timeout)

    def _close_and_drain(self, deadline: float | None) -> bool:
        """Close and let all handlers run; ``False`` where that takes too long."""
        now = time.monotonic()
        left = self._close_timeout if deadline is None else min(self._close_timeout, max(0.1, deadline - now))
        self._close_connection(now + left)
        return self._drain(None if deadline is None else max(0.3, deadline - time.monotonic()))

    @property
    def _receiving_here(self) -> bool:
        """Whether this is the receiving thread, as in a tap: what waits for it would wait for itself."""
        return self._connection is not None and self._connection.receiving_here

    def _refuse_in_tap(self, what: str) -> None:
        """Raise ``WouldDeadlock`` on the receiving thread, which is what would be waited for."""
        if self._receiving_here:
            raise WouldDeadlock(f"{what} inside a tap would keep all sessions waiting", hint="do it in a handler")

    @property
    def _forked(self) -> bool:
        """Whether this process is a fork of the one that connected."""
        return self._connection is not None and self._process != os.getpid()

    def _close_connection(self, deadline: float) -> None:
        if self._forked:
            return
        with self._changed:
            new = self._state is State.NEW
            if new:
                self._state = State.CLOSED
                self._info = CloseInfo(by="client", clean=True)
            elif self._state is not State.CLOSED:
                self._state = State.CLOSING
            connection = self._connection
            self._changed.notify_all()
        if new:
            self._abandon()
        if connection is None:
            return
        self._dispatcher.let_end()
        if connection.receiving_here:
            connection.begin_close(within=max(0.0, deadline - time.monotonic()))
        elif self._dispatcher.in_handler:
            connection.begin_close()
            self._dispatcher.cut_later(deadline, connection.cut)
        else:
            connection.close(deadline)
            self._join_threads(deadline)

    def _join_threads(self, deadline: float) -> None:
        """Wait for the end of threads that have no connection any more."""

    def _drain(self, timeout: float | None) -> bool:
        """Wait for the handlers of what has arrived; where they take too long, let the rest fall."""
        if self._connection is None or self._forked:
            return True
        try:
            self._dispatcher.wait_until(lambda: self._dispatcher.ended, timeout, "the handlers' end")
        except WaitTimeout:
            self._dispatcher.discard()
            return False
        return True

    # The wire, out.

    def require_open(self) -> None:
        """Raise ``ConnectionClosed`` unless events can be sent now."""
        self._sending_connection()

    def _send(self, event: ClientEvent) -> None:
        """Send an event of this family, if it can be taken now."""
        self._refuse(type(event))
        self._transmit(event, codec.encode(event, self._next_id()))

    def _refuse(self, kind: type[ClientEvent]) -> None:
        """Raise where an event cannot be taken now."""
        refusal = self._session_state.refusal(kind)
        if refusal and self._state in _WRITABLE:
            self._raise_refusal(refusal)

    def _raise_refusal(self, refusal: str) -> None:
        phase = self._session_state.phase
        if phase is Phase.AWAITING_SESSION:
            raise ConnectionClosed(refusal, hint="wait until connect() returns")
        if phase is not Phase.READY:
            raise ConnectionClosed(refusal, hint="a finished session takes no more input: open a new client")
        raise ConfigError(refusal, hint="open a new client for that" if "settings" in refusal else "")

    def _transmit(self, event: ClientEvent | None, payload: bytes) -> None:
        """Send an event that is encoded."""
        if event is not None:
            self.metrics.requested(event)
        self._send_kept(event, lambda: self._write(event, payload))

    def _send_kept(self, what: ClientEvent | bytes | None, write: Callable[[], None]) -> None:  # noqa: ARG002
        """Send an event, or input audio as PCM, by ``write``; nothing is kept here to be sent again."""
        write()

    def _write(self, event: ClientEvent | None, payload: bytes = b"") -> None:
        """Write an event to the connection there is."""
        connection = self._sending_connection()
        if event is not None:
            with self._changed:  # before it is sent: a quick answer must find it
                self._session_state.advance(event)
            payload = payload or codec.encode(event, self._next_id())
        if self._trace is not None:
            self._trace.record("client", payload)
        self._put_on_wire(connection, payload)

    def _put_on_wire(self, connection: Connection, payload: bytes) -> None:
        try:
            connection.send(payload)
        except ConnectionClosed as error:
            self._raise_reason(connection, error)

    def _raise_reason(self, connection: Connection, error: ConnectionClosed) -> NoReturn:
        """Raise why sending failed: by the reason of the end, where one is just being received."""
        if self._state is not State.CLOSING:
            connection.wait(time.monotonic() + 1.0)
        if self._info is None:
            raise error
        closed = self._closed_error()
        raise closed from closed.__cause__ or error

    def _sending_connection(self) -> Connection:
        """The connection, where one is open to be written to."""
        connection = self._connection
        if connection is None or self._state not in _WRITABLE or self._forked:
            raise self._closed_error()
        return connection

    def _next_id(self) -> str:
        return "%s%012x" % (self._id_prefix, next(self._id_counter))  # noqa: UP031 - the fastest way

    def _update(self, session: dict[str, Any], deadline: Deadline) -> None:
        with self._updating:
            updates, failure = self._updates, self._failures()
            self._requested = session
            self._refuse_update()
            self._write(SessionUpdate(session=session))  # past the journal: a new session gets all settings anyway
            self._await_server(lambda: self._updates > updates, failure, deadline, "session.updated")

    def _refuse_update(self) -> None:
        """Raise where settings cannot be changed now."""
        self._refuse(SessionUpdate)

    # The wire, in: on the receiving thread.

    def _on_message(self, payload: bytes) -> None:
        if self._trace is not None:
            self._trace.record("server", payload)
        event = self._sifted(codec.decode_server(payload))
        if event is None:
            return
        if type(event) not in CONTENT:
            self._advance(event)
        self.metrics.observe(event)
        for tap in self._taps:
            tap(event)
        self._dispatcher.put(event, len(payload))

    def _sifted(self, event: ServerEvent) -> ServerEvent | None:
        """What the user shall have of an event; ``None`` for nothing."""
        return event

    def _advance(self, event: Event) -> None:
        with self._changed:
            self._session_state.advance(event)
            if isinstance(event, SessionUpdated):
                self._updates += 1
                self._compare_echo(event)
            elif isinstance(event, Error):
                self._errors.append(event)
            self._changed.notify_all()
        if isinstance(event, SessionCreated):
            self._greeted()
        self._on_idle()

    def _greeted(self) -> None:
        self._dispatcher.put(Connected(session_id=self.session_id, model=self.model), 0)

    def _compare_echo(self, event: SessionUpdated) -> None:
        echo = compare_echo(self._requested, event.session, self._profile)
        self.dropped_settings = echo.dropped
        if echo.dropped:
            log.warning("%s did not take these settings: %s", self.model, ", ".join(echo.dropped))
        if echo.unconfirmed:
            log.info("%s never confirms these settings: %s", self.model, ", ".join(echo.unconfirmed))

    def _on_idle(self) -> None:
        """Between two events that are no content, and when nothing has come for a while."""

    def _on_end(self, connection: Connection, info: CloseInfo) -> None:  # noqa: ARG002
        if self._session_state.phase is Phase.FINISHED and not info.clean:
            info = CloseInfo(code=info.code, reason=info.reason, by=info.by, clean=True)
        self._end(info)

    def _end(self, info: CloseInfo) -> None:
        """The session is over."""
        with self._changed:
            self._info = info
            self._state = State.CLOSED
            self._changed.notify_all()
        last = Disconnected(info=info)
        if self._trace is None:
            self._dispatcher.end(last)
        else:
            self._trace.end(lambda: self._dispatcher.end(last))  # whoever hears of the end finds the trace whole

    # Waiting for the server: ended by the receiving thread, so it works inside handlers.

    def _await_server(
        self, done: Callable[[], bool], failure: Callable[[], RealtimeError | None], deadline: Deadline, what: str
    ) -> None:
        """Wait for an answer; what has failed since before it was asked for is the answer too."""
        try:
            self._await(lambda: done() or failure() is not None, deadline.left, what, pump=False)
        except WaitTimeout as error:
            if self._state is State.CONNECTING:
                raise ConnectTimeout(
                    f"{what} did not come within {deadline.seconds:g} s",
                    hint="the server accepted the connection and went silent",
                    phase="session",
                ) from error
            raise
        if not done() and (failed := failure()) is not None:
            raise failed

    def _failures(self) -> Callable[[], RealtimeError | None]:
        """A function that gives what has failed since now, as an error; ``None`` while nothing has."""
        errors = len(self._errors)
        return lambda: server_error(self._errors[errors]) if len(self._errors) > errors else None

    def _await(self, done: Callable[[], bool], timeout: float | None, what: str, *, pump: bool = True) -> None:
        """Wait until ``done()``, for as long as the connection lives."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pump = pump and self._dispatcher.manual
        life, life_at = self._signs_of_life(), time.monotonic()
        with self._dispatcher.unbounded_in_handler():
            while not done():
                if self._info is not None or self._state is State.CLOSING:
                    if done():  # it came with the end
                        return
                    raise self._closed_error()
                now = time.monotonic()
                if self._signs_of_life() != life:
                    life, life_at = self._signs_of_life(), now
                left = deadline - now if deadline is not None else life_at + PATIENCE_S - now
                if left <= 0:
                    raise WaitTimeout(f"{what} did not come in time")
                if pump:
                    self._dispatcher.poll(min(left, 0.05))
                    continue
                with self._changed:
                    if not done() and self._info is None:
                        self._changed.wait(min(left, SLICE_S))

    def _signs_of_life(self) -> int:
        return self._connection.messages if self._connection is not None else 0

    def _closed_error(self) -> ConnectionClosed:
        """Why nothing can be sent or waited for, as an error of its own."""
        if self._state is State.NEW:
            return ConnectionClosed("not connected", hint="call connect() first, or use the client in a with statement")
        if self._forked:
            return ConnectionClosed("this process is a fork of the one that connected", hint="make a client in each")
        info = self._how_ended()
        if info is None:
            return ConnectionClosed("the client is closing" if self._state is State.CLOSING else "not connected yet")
        return closed_error(info)

    def _how_ended(self) -> CloseInfo | None:
        return self._info
