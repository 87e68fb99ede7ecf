"""What all four clients share: lifetime, handlers, waiting, and the wire.

Three threads meet here. The caller's threads send and wait; ``qwen-receive`` (:mod:`.connection`) decodes messages,
keeps the session's state and fills the mailbox; ``qwen-dispatch`` (:mod:`.dispatch`) runs the handlers.

``_changed`` guards the lifecycle state, the session's state and what has been answered; it is held for a few
assignments, and callers wait on it. The order of frames is guarded by the transport's own lock.
"""

from __future__ import annotations

import enum
import itertools
import json
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, overload

from . import codec
from .connection import Connection
from .dialing import Deadline
from .dispatch import PATIENCE_S, SLICE_S, Dispatcher, Expectation
from .endpoints import key_source, resolve
from .errors import ConfigError, ConnectionClosed, ConnectTimeout, RealtimeError, WaitTimeout
from .events import (
    CLIENT_EVENTS,
    ClientEvent,
    CloseInfo,
    Connected,
    Disconnected,
    Error,
    Event,
    Lost,
    Reconnected,
    Reconnecting,
    SessionCreated,
    SessionFinish,
    SessionUpdate,
    SessionUpdated,
)
from .handlers import Handler, Key
from .hints import server_error
from .metrics import Metrics
from .protocol import CONTENT, Family, Phase, SessionState
from .reconnect import ReconnectPolicy
from .recovery import Recovery
from .settings import DEFAULT_MODELS, ModelProfile, Settings, check, compare_echo, input_rate, profile_of
from .settings.retirement import warn_if_retired
from .trace import Trace
from .transport import Transport, open_transport

__all__ = ["RealtimeClient", "State"]

log = logging.getLogger("qwen_realtime")

C = TypeVar("C", bound="RealtimeClient")
H = TypeVar("H", bound=Handler)


class State(str, enum.Enum):
    """How far a client's life has come."""

    NEW = "new"
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class RealtimeClient:
    """Base of the four clients; one object is one connection and one session.

    All methods may be called from any thread. Handlers run one at a time, in the order of the wire, on the thread
    ``qwen-dispatch`` (or, with ``dispatch="manual"``, on the thread that calls :meth:`poll`), never with a lock held.

    Args:
        model: the model's name.
        api_key: the key, or a callable that is asked for it at each connection; default ``DASHSCOPE_API_KEY``.
        url: in place of a region; default ``QWEN_REALTIME_URL``.
        region: ``"intl"`` (Singapore) or ``"cn"`` (Beijing); keys belong to one of them.
        workspace: a workspace id.
        headers: more HTTP headers for the handshake.
        settings: the session's settings; single fields may be given as keywords instead, or over them.
        strict: raise ``ConfigError`` for settings that this model refuses or ignores; otherwise warn.
        connect_timeout: seconds for everything until the session is ready.
        close_timeout: seconds after which closing stops being polite.
        send_timeout: seconds after which a server that does not read is given up.
        ping_interval: seconds of silence after which a ping is sent; ``None`` for never.
        ping_timeout: seconds until an unanswered ping is repeated; three in a row without any frame end it.
        proxy: ``http://`` or ``socks5h://`` URL; ``None`` for the environment's, ``""`` for none.
        ssl_context: in place of the default, which verifies.
        max_message_bytes: a longer message ends the connection.
        dispatch: ``"thread"``, or ``"manual"`` to run handlers in your own loop by :meth:`poll`.
        reconnect: come back by itself after a break, with nothing lost; ``None`` for not.
        trace: a file for the wire's messages, as JSON lines, without key and audio.
        setting_fields: settings by name, such as ``voice="Cherry"``.

    Raises:
        ConfigError: anything about these that can be known before connecting.
    """

    family: ClassVar[Family]
    settings_class: ClassVar[type[Settings]]

    def __init__(
        self,
        *,
        model: str | None = None,
        api_key: str | Callable[[], str] | None = None,
        url: str | None = None,
        region: str = "intl",
        workspace: str | None = None,
        headers: Mapping[str, str] | None = None,
        settings: Settings | None = None,
        strict: bool = True,
        connect_timeout: float = 10.0,
        close_timeout: float = 5.0,
        send_timeout: float = 5.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_message_bytes: int = 16 * 1024 * 1024,
        dispatch: Literal["thread", "manual"] = "thread",
        reconnect: ReconnectPolicy | None = None,
        trace: str | os.PathLike[str] | None = None,
        **setting_fields: Any,
    ) -> None:
        self.model = DEFAULT_MODELS[self.family] if model is None else model
        self._profile = self._find_profile()
        if dispatch not in ("thread", "manual"):
            raise ConfigError(f"dispatch is 'thread' or 'manual', not {dispatch!r}")
        self._strict = strict
        # what the session shall be: the settings given, and all updates since
        self._wanted = self._checked_settings(settings, setting_fields).to_session()
        self._key = key_source(api_key)
        self._endpoint = resolve(
            family=self.family, model=self.model, url=url, region=region, workspace=workspace, headers=headers
        )
        self._connect_timeout = connect_timeout
        self._close_timeout = close_timeout
        self._transport_options: dict[str, Any] = {
            "proxy": proxy,
            "ssl_context": ssl_context,
            "max_message_bytes": max_message_bytes,
            "send_timeout": send_timeout,
        }
        self._pings = {"ping_interval": ping_interval, "ping_timeout": ping_timeout}
        self._trace = Trace(trace) if trace is not None else None

        # one hex counter behind random digits: unique, and a tenth of the price of a UUID
        self._id_prefix = f"event_{os.urandom(10).hex()}"
        self._id_counter = itertools.count(1)

        self.metrics = Metrics()
        self.player: Any = None  # the player that is attached, if any
        self._taps: tuple[Callable[[Event], object], ...] = ()
        self._dispatcher = Dispatcher(manual=dispatch == "manual")
        self._connection: Connection | None = None
        self._recovery = Recovery(reconnect, self.family) if reconnect is not None else None

        self._changed = threading.Condition()
        self._state = State.NEW
        self._session_state = SessionState(self.family)
        self._info: CloseInfo | None = None  # how it ended, once it has
        self._breaks = 0  # ends of connections that a recovery took over, tries included
        self._broken_try: CloseInfo | None = None  # how a try to reconnect ended, once it has
        self._trying = False  # a try to reconnect has no session yet: an error is its own affair
        self._refused: Error | None = None  # that error
        self._errors: list[Error] = []  # error events so far
        self._updates = 0  # session.updated events so far
        self._requested: dict[str, Any] = {}  # of the last session.update
        self._updating = threading.Lock()  # one session.update at a time; held while its answer is waited for
        self.dropped_settings: tuple[str, ...] = ()

    def _find_profile(self) -> ModelProfile:
        """What is known about the model, whose family must be this one."""
        profile = profile_of(self.model)
        if profile.family is not self.family:
            raise ConfigError(
                f"{self.model} is a model of {profile.family.value}, not of {self.family.value}",
                hint=f"the default here is {DEFAULT_MODELS[self.family]}",
            )
        warn_if_retired(profile)
        return profile

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model} {self._state.value} {self.session_id or 'no session'}>"

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

    # Lifetime.

    def connect(self: C) -> C:
        """Connect and begin the session.

        Blocks until ``session.created`` and, where there are settings, ``session.updated`` have arrived, at most
        ``connect_timeout``. May be called inside a handler of another client.

        Raises:
            ConnectError: no connection; ``ConnectTimeout``, ``AuthenticationError``, ``RateLimitError`` … say why.
            ServerError: the server refused the settings.
            ConnectionClosed: it was closed meanwhile, or has been used before.
        """
        with self._changed:
            if self._state is not State.NEW:
                raise ConnectionClosed(
                    f"this client is {self._state.value} and cannot be connected again", hint="make a new one"
                )
            self._state = State.CONNECTING
        deadline = Deadline(self._connect_timeout, lambda: self._state is not State.CONNECTING)
        try:
            transport = open_transport(self._endpoint, self._key(), deadline, **self._transport_options)
        except BaseException as error:
            self._never_opened(error)
            raise
        self._dispatcher.start()
        try:
            self._begin_session(transport, deadline)
            if self._recovery is not None:
                self._recovery.up()
            self._become_open()
        except BaseException:
            self._close(min(self._close_timeout, max(0.5, deadline.left)))
            raise
        return self

    def _begin_session(self, transport: Transport, deadline: Deadline) -> None:
        """Make a transport the connection, and bring its session to the settings wanted."""
        connection: Connection = Connection(
            transport,
            on_message=self._on_message,
            on_end=lambda info: self._on_end(connection, info),
            on_idle=self._on_idle,
            **self._pings,
        )
        with self._changed:  # known before the first event is: a handler may send at once
            self._session_state = SessionState(self.family)
            self._connection = connection
            connection.start()
        waiting = Phase.AWAITING_SESSION
        self._await_server(lambda: self._session_state.phase is not waiting, deadline, "session.created")
        if self._wanted:
            self._update(self._wanted, deadline)
        self._configured()

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

    def finish(self, timeout: float | None = None) -> None:
        """End the session in order: what was sent is dealt with, all handlers have run, the connection is closed.

        Sends ``session.finish`` and waits for ``session.finished`` (Omni: for the response in progress).

        Args:
            timeout: seconds for all of it; ``None`` waits as long as the server goes on sending, with a patience of
                a minute.

        Raises:
            WaitTimeout: the server or a handler did not finish; the connection is closed all the same.
            ServerError: it reported an error that no handler took; the connection is closed all the same.
            ConnectionClosed: the connection broke before it had finished, or was never opened.
            WouldDeadlock: called inside a handler.
        """
        self._dispatcher.refuse_in_handler("finish()", "call it from another thread, or close() here")
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._state is State.NEW:
            raise self._closed_error()
        errors = len(self._errors)
        try:
            if self._info is None and self._state is not State.CLOSING:
                self._finish_session()
                self._await(lambda: self._finished() or self._reported(errors), timeout, "the end of the session")
        finally:
            drained = self._close_and_drain(deadline)
        if self._reported(errors):
            raise server_error(self._errors[errors])
        if not drained:
            raise WaitTimeout("the handlers did not end in time; what had arrived after them is discarded")
        if self._info is not None and not self._info.clean:
            raise self._closed_error()

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

    def close(self) -> None:
        """Close now, in order, without waiting for what the server still has to say.

        Idempotent, from any thread. Blocks at most ``close_timeout`` and half a second, until the connection is gone
        and the handlers of what had arrived have run; inside a handler it only begins to close.
        """
        self._close(self._close_timeout)

    def _close(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._close_connection(deadline)
        if not self._dispatcher.in_handler and not self._drain(max(0.3, deadline - time.monotonic())):
            log.warning("a handler is still running after %.1f s; what had arrived after it is discarded", timeout)

    def _close_and_drain(self, deadline: float | None) -> bool:
        """Close and let all handlers run; ``False`` where that takes too long."""
        now = time.monotonic()
        left = self._close_timeout if deadline is None else min(self._close_timeout, max(0.1, deadline - now))
        self._close_connection(now + left)
        return self._drain(None if deadline is None else max(0.3, deadline - time.monotonic()))

    def _close_connection(self, deadline: float) -> None:
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
        if self._dispatcher.in_handler:
            connection.begin_close()
            self._dispatcher.cut_later(deadline, connection.cut)
        else:
            connection.close(deadline)

    def _drain(self, timeout: float | None) -> bool:
        """Wait for the handlers of what has arrived; where they take too long, let the rest fall."""
        if self._connection is None:
            return True
        try:
            self._dispatcher.wait_until(lambda: self._dispatcher.ended, timeout, "the handlers' end")
        except WaitTimeout:
            self._dispatcher.discard()
            return False
        return True

    def wait(self, timeout: float | None = None) -> CloseInfo:
        """Wait until the connection has ended, whoever ends it, and all handlers have run.

        Args:
            timeout: seconds; ``None`` for as long as it takes.

        Raises:
            WaitTimeout: it is still open.
            ConnectionClosed: it was never opened.
            WouldDeadlock: called inside a handler.
        """
        self._dispatcher.refuse_in_handler("wait()", "call it from another thread, or close() here")
        if self._state is State.NEW:
            raise self._closed_error()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._dispatcher.ended:
            left = PATIENCE_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"the connection is still open after {timeout:g} s")
            try:
                self._dispatcher.wait_until(lambda: self._dispatcher.ended, min(left, SLICE_S), "the end")
            except WaitTimeout:
                continue
        return self._info or CloseInfo(by="client")

    def __enter__(self: C) -> C:
        return self.connect() if self._state is State.NEW else self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.finish()
        else:
            self.close()

    # Handlers.

    @overload
    def on(self, event: Key) -> Callable[[H], H]: ...
    @overload
    def on(self, event: Key, handler: H) -> H: ...
    def on(self, event: Key, handler: H | None = None) -> H | Callable[[H], H]:
        """Register a handler; as a call, or as a decorator without ``handler``.

        Args:
            event: a wire type such as ``"response.audio.delta"``, an event class or base class, a connection event
                (``"connected"``, ``"disconnected"`` …), or ``"*"`` for all.
            handler: called with the event, in the order of registration.

        Raises:
            ConfigError: there is no such event to receive.
        """
        return self._register(event, handler, once=False)

    @overload
    def once(self, event: Key) -> Callable[[H], H]: ...
    @overload
    def once(self, event: Key, handler: H) -> H: ...
    def once(self, event: Key, handler: H | None = None) -> H | Callable[[H], H]:
        """Register a handler for one event, as :meth:`on` does."""
        return self._register(event, handler, once=True)

    def _register(self, event: Key, handler: H | None, *, once: bool) -> H | Callable[[H], H]:
        def register(function: H) -> H:
            self._dispatcher.handlers.add(event, function, once=once)
            return function

        return register if handler is None else register(handler)

    def off(self, event: Key | None = None, handler: Handler | None = None) -> None:
        """Remove handlers: of an event, one function, both together, or all."""
        self._dispatcher.handlers.remove(event, handler)

    def expect(
        self, event: Key, timeout: float | None = None, where: Callable[[Any], bool] | None = None
    ) -> Expectation:
        """Wait for an event: a context manager, entered before the request is sent.

        ::

            with client.expect("response.done") as done:
                client.commit()
            print(done.event.response.status)

        The block's end waits until the event has been delivered, after all handlers of the events before it.

        Args:
            event: as for :meth:`on`.
            timeout: seconds; ``None`` waits as long as events keep coming, with a patience of a minute.
            where: a test that the event must pass.

        Raises:
            WaitTimeout: it did not come.
            ServerError: an error came that no handler takes.
            ConnectionClosed: the connection ended first.
            WouldDeadlock: inside a handler.
        """
        return Expectation(self._dispatcher, event, timeout, where, self._closed_error)

    def tap(self, function: Callable[[Event], object]) -> None:
        """Show every server event to a function on the receiving thread, before it is queued for the handlers.

        For what cannot wait its turn, such as an interruption. The function must return at once and not raise.
        """
        self._taps = (*self._taps, function)

    def untap(self, function: Callable[[Event], object]) -> None:
        """Show it no more events."""
        self._taps = tuple(tap for tap in self._taps if tap != function)

    def poll(self, timeout: float = 0.0, max_events: int | None = None) -> int:
        """Run the handlers of waiting events on this thread; only with ``dispatch="manual"``.

        Args:
            timeout: seconds to wait for the first event.
            max_events: stop after so many.

        Returns:
            How many events were handled.
        """
        return self._dispatcher.poll(timeout, max_events)

    def fileno(self) -> int:
        """A descriptor that is readable while events wait, for select, Tk and Qt; only with ``dispatch="manual"``."""
        return self._dispatcher.fileno()

    # The wire, out.

    def update_session(self, **fields: Any) -> None:
        """Change settings; blocks until the server confirms, at most ``connect_timeout``. Works inside handlers.

        What the server did not take is logged as a warning and kept in ``dropped_settings``.

        Raises:
            ConfigError: a setting that this model refuses or ignores, or too late for this family.
            ServerError: the server refused.
        """
        session = self._checked_settings(None, fields).to_session()
        deadline = Deadline(self._connect_timeout)
        while True:
            breaks = self._breaks
            try:
                self._update(session, deadline)
            except ConnectionClosed:
                if not self._came_back(breaks, deadline):
                    raise
            else:
                break
        self._wanted = {**self._wanted, **session}
        self._configured()

    def _came_back(self, breaks: int, deadline: Deadline) -> bool:
        """Wait until the recovery has brought a new session since there were so many breaks."""
        if self._recovery is None:
            return False
        with self._dispatcher.unbounded_in_handler(), self._changed:
            self._changed.wait_for(
                lambda: self._state in (State.CLOSING, State.CLOSED)
                or (self._breaks != breaks and self._state is State.OPEN),
                deadline.left,
            )
            return self._state is State.OPEN and self._breaks != breaks

    def _configured(self) -> None:
        """Tell the recovery which settings are in force; manual mode is not always confirmed."""
        if self._recovery is not None:
            session = {**self.session, "sample_rate": input_rate(self.session)}
            if "turn_detection" in self._wanted:
                session.setdefault("turn_detection", self._wanted["turn_detection"])
            self._recovery.configured(session)

    def _update(self, session: dict[str, Any], deadline: Deadline) -> None:
        with self._updating:
            updates = self._updates
            self._requested = session
            self._refuse(SessionUpdate)
            self._write(SessionUpdate(session=session))  # past the journal: a new session gets all settings anyway
            self._await_server(lambda: self._updates > updates, deadline, "session.updated")

    def _checked_settings(self, settings: Settings | None, fields: Mapping[str, Any]) -> Settings:
        if settings is not None and not isinstance(settings, self.settings_class):
            raise ConfigError(f"settings must be {self.settings_class.__name__}, not {type(settings).__name__}")
        made = self.settings_class.of(fields, settings)
        check(made, self._profile, strict=self._strict)
        return made

    def send(self, event: ClientEvent | Mapping[str, Any]) -> None:
        """Send any client event, also one that no class declares; nothing is checked but that the client is open.

        Args:
            event: typed, or a mapping with a ``type``; an ``event_id`` is filled in where there is none.

        Raises:
            ConfigError: it is no event.
            ConnectionClosed: the client is not open, or the connection breaks.
        """
        if isinstance(event, ClientEvent):
            self._transmit(event, codec.encode(event, self._next_id()))
            return
        if not isinstance(event, Mapping) or not isinstance(event.get("type"), str):
            raise ConfigError("an event is a client event or a mapping with a 'type'")
        message = {"event_id": self._next_id(), **event}
        payload = json.dumps(message, ensure_ascii=False).encode()
        decoded = codec.decode_client(payload) if event["type"] in CLIENT_EVENTS else None
        self._transmit(decoded if isinstance(decoded, ClientEvent) else None, payload)

    def _send(self, event: ClientEvent) -> None:
        """Send an event of this family, if it can be taken now."""
        self._refuse(type(event))
        self._transmit(event, codec.encode(event, self._next_id()))

    def _refuse(self, kind: type[ClientEvent]) -> None:
        """Raise where an event cannot be taken now; without a session, a journal takes what a session would."""
        refusal = self._session_state.refusal(kind)
        if not refusal or self._state not in (State.OPEN, State.CONNECTING):
            return
        phase = self._session_state.phase
        if phase is Phase.AWAITING_SESSION:
            if self._recovery is None or not self._recovery.recovering:
                raise ConnectionClosed(refusal, hint="wait until connect() returns")
        elif phase is not Phase.READY:
            raise ConnectionClosed(refusal, hint="a finished session takes no more input: open a new client")
        else:
            raise ConfigError(refusal, hint="open a new client for that" if "settings" in refusal else "")

    def _transmit(self, event: ClientEvent | None, payload: bytes) -> None:
        """Send an event; with a recovery, by way of its journal."""
        if event is not None:
            self.metrics.requested(event)
        if self._recovery is None:
            self._write(event, payload)
        else:
            self._sending_connection()
            self._recovery.send(event, lambda: self._write(event, payload))

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
        """Send; where that fails because of an end that is just being received, raise that end's reason."""
        try:
            connection.send(payload)
        except ConnectionClosed as error:
            if self._recovery is not None:
                raise  # its end may be a break, and the receiving thread must not be waited for
            if self._state is not State.CLOSING:
                connection.wait(time.monotonic() + 1.0)
            if self._info is None:
                raise
            raise self._closed_error() from error

    def require_open(self) -> None:
        """Raise ``ConnectionClosed`` unless events can be sent now."""
        self._sending_connection()

    def _sending_connection(self) -> Connection:
        """The connection, where one is open to be written to."""
        if self._connection is None or self._state not in (State.OPEN, State.CONNECTING):
            raise self._closed_error()
        return self._connection

    def _next_id(self) -> str:
        return f"{self._id_prefix}{next(self._id_counter):012x}"

    # The wire, in: on the receiving thread.

    def _on_message(self, payload: bytes) -> None:
        if self._trace is not None:
            self._trace.record("server", payload)
        event = codec.decode_server(payload)
        if self._recovery is not None:
            seen = self._recovery.received(event)
            if seen is None:
                return
            event = seen
        if self._trying and isinstance(event, Error):
            with self._changed:
                self._refused = event
                self._changed.notify_all()
            return
        if type(event) not in CONTENT:
            self._advance(event)
        self.metrics.observe(event)
        for tap in self._taps:
            tap(event)
        self._dispatcher.put(event, len(payload))

    def _advance(self, event: Event) -> None:
        with self._changed:
            self._session_state.advance(event)
            if isinstance(event, SessionUpdated):
                self._updates += 1
                self._compare_echo(event)
            elif isinstance(event, Error):
                self._errors.append(event)
            self._changed.notify_all()
        if isinstance(event, SessionCreated) and (self._recovery is None or not self._recovery.recovering):
            self._dispatcher.put(Connected(session_id=self.session_id, model=self.model), 0)
        self._on_idle()

    def _compare_echo(self, event: SessionUpdated) -> None:
        echo = compare_echo(self._requested, event.session, self._profile)
        self.dropped_settings = echo.dropped
        if echo.dropped:
            log.warning("%s did not take these settings: %s", self.model, ", ".join(echo.dropped))
        if echo.unconfirmed:
            log.info("%s never confirms these settings: %s", self.model, ", ".join(echo.unconfirmed))

    def _on_idle(self) -> None:
        """Between two events, a session that has become old makes room for a new one."""
        recovery = self._recovery
        if recovery is None or self._connection is None or self._state is not State.OPEN or not recovery.is_old():
            return
        if not self._session_state.owes_reply and not self._session_state.user_speaking:
            recovery.rolling = True
            self._connection.begin_close(1000, "the session makes room for a new one", within=self._close_timeout)

    def _on_end(self, connection: Connection, info: CloseInfo) -> None:
        if self._session_state.phase is Phase.FINISHED and not info.clean:
            info = CloseInfo(code=info.code, reason=info.reason, by=info.by, clean=True)
        if self._recovery is not None:
            with self._changed:
                if connection is not self._connection:
                    return  # of a try that was given up before
                recovering = self._recovery.recovering
                if recovering:
                    self._broken_try = info  # the recovering thread waits for its session
                    self._breaks += 1
                    self._changed.notify_all()
            ended = None if recovering else self._recover(self._recovery, info)
            if ended is None:
                return
            info = ended
        with self._changed:
            self._info = info
            self._state = State.CLOSED
            self._changed.notify_all()
        if self._trace is not None:
            self._trace.close()
        self._dispatcher.end(Disconnected(info=info))

    # Coming back, on the receiving thread of the connection that has ended.

    def _recover(self, recovery: Recovery, info: CloseInfo) -> CloseInfo | None:
        """Come back with a new connection; ``None`` when that has worked, else how it ended for good."""
        with self._changed:
            finished = self._session_state.phase is Phase.FINISHED
            if finished or self._state is not State.OPEN or not recovery.takes_over(info):
                return info
            self._state = State.CONNECTING
            recovery.recovering = True
            self._breaks += 1
            self._changed.notify_all()
        recovery.broken(info)
        while (due := recovery.next_try()) is not None:
            attempt, delay = due
            if not recovery.rolling:
                self._dispatcher.put(Reconnecting(attempt=attempt, delay=delay, cause=info), 0)
            with self._changed:
                if self._changed.wait_for(lambda: self._state is State.CLOSING, delay):
                    break
            try:
                self._resume(recovery, attempt)
            except Exception as error:  # noqa: BLE001 - the key is asked for by the user's code
                if self._state is State.CLOSING:
                    break
                log.info("try %d to reconnect failed: %s", attempt, error)
                recovery.failed(error)
            else:
                return None
        recovery.recovering = False
        if self._state is State.CLOSING:
            return CloseInfo(by="client", clean=True)
        cause = recovery.cause
        return CloseInfo(code=info.code, reason=str(cause or info.reason), by=info.by, error=cause or info.error)

    def _resume(self, recovery: Recovery, attempt: int) -> None:
        """Open a new session and send the journal again."""
        deadline = Deadline(self._connect_timeout, lambda: self._state is not State.CONNECTING)
        self._broken_try = self._refused = None
        transport = open_transport(self._endpoint, self._key(), deadline, **self._transport_options)
        self._trying = True
        try:
            self._begin_session(transport, deadline)
            self._trying = False
            recovery.resume(self._write, lambda lost: self._reconnected(attempt, lost), self._pause)
            with self._changed:
                self._require_try()
                self._state = State.OPEN
                recovery.recovering = recovery.rolling = False
                self._changed.notify_all()
        except BaseException:
            if self._connection is not None:
                self._connection.cut()
                self._connection.wait(time.monotonic() + 1.0)
            raise
        finally:
            self._trying = False

    def _reconnected(self, attempt: int, lost: Lost) -> None:
        self._dispatcher.put(Reconnected(attempts=attempt, session_id=self.session_id, lost=lost), 0)

    def _require_try(self) -> None:
        """Raise where the connection of a try has ended, or the client is being closed."""
        if self._broken_try is not None or self._state is not State.CONNECTING:
            raise self._closed_error()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if seconds > 0:
                self._changed.wait_for(
                    lambda: self._broken_try is not None or self._state is not State.CONNECTING, seconds
                )
            self._require_try()

    # Waiting for the server: ended by the receiving thread, so it works inside handlers.

    def _await_server(self, done: Callable[[], bool], deadline: Deadline, what: str) -> None:
        """Wait for an answer; any error event meanwhile is the answer."""
        errors, breaks = len(self._errors), self._breaks

        def answered() -> bool:
            return done() or len(self._errors) > errors or self._breaks != breaks or self._refused is not None

        try:
            self._await(answered, deadline.left, what, pump=False)
        except WaitTimeout as error:
            if self._state is State.CONNECTING:
                raise ConnectTimeout(
                    f"{what} did not come within {deadline.seconds:g} s",
                    hint="the server accepted the connection and went silent",
                    phase="session",
                ) from error
            raise
        if done():
            return
        if self._refused is not None:
            raise server_error(self._refused)
        if len(self._errors) > errors:
            raise server_error(self._errors[errors])
        if self._broken_try is not None:
            raise self._closed_error()
        raise ConnectionClosed(f"the connection broke before {what} came", by="network")

    def _await(self, done: Callable[[], bool], timeout: float | None, what: str, *, pump: bool = True) -> None:
        """Wait until ``done()``, for as long as the connection lives."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pump = pump and self._dispatcher.manual
        life, life_at = self._signs_of_life(), time.monotonic()
        with self._dispatcher.unbounded_in_handler():
            while not done():
                if self._info is not None or self._state is State.CLOSING:
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
        info = self._info or self._broken_try
        if info is None:
            return ConnectionClosed("the client is closing" if self._state is State.CLOSING else "not connected yet")
        told = f"{info.code} {info.reason}".strip() if info.code is not None else info.reason
        error = ConnectionClosed(
            f"the connection was closed by the {info.by}" + (f": {told}" if told else ""),
            hint="" if isinstance(info.error, RealtimeError) else "a closed client is not reopened: make a new one",
            code=info.code,
            reason=info.reason,
            by=info.by,
        )
        error.__cause__ = info.error
        return error
