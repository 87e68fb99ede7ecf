"""What all four clients offer: lifetime, handlers, expectations and settings. How it is done is in :mod:`.session`."""

from __future__ import annotations

import json
import logging
import math
import os
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar, overload

from . import codec
from .dialing import Deadline
from .dispatch import PATIENCE_S, SLICE_S, Expectation
from .endpoints import key_source, resolve
from .errors import ConfigError, ConnectionClosed, WaitTimeout
from .events import (
    CLIENT_EVENTS,
    ClientEvent,
    CloseInfo,
    Event,
)
from .handlers import Handler, Key
from .handshake import open_transport
from .hints import server_error
from .reconnect import ReconnectPolicy
from .resumable import ResumableSession
from .session import State
from .settings import DEFAULT_MODELS, ModelProfile, Settings, check, profile_of
from .settings.retirement import warn_if_retired
from .sockets import LONGEST_S

__all__ = ["RealtimeClient", "State"]

log = logging.getLogger("qwen_realtime")

C = TypeVar("C", bound="RealtimeClient")
H = TypeVar("H", bound=Handler)


def _require_positive(limit: float = math.inf, **options: object) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ConfigError(f"{name} is a number above 0, not {value!r}")
        if value > limit:
            raise ConfigError(f"{name} is at most {limit:g}, not {value!r}")


def _require_kind(*kinds: type, **options: object) -> None:
    for name, value in options.items():
        if value is not None and not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigError(f"{name} is a {names}, not a {type(value).__name__}")


class RealtimeClient(ResumableSession):
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
        trace: a file for the wire's messages, as JSON lines, without the key; their sound is in WAV files beside it.
        setting_fields: settings by name, such as ``voice="Cherry"``.

    Raises:
        ConfigError: anything about these that can be known before connecting.
    """

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
        _require_kind(str, model=model, url=url, workspace=workspace, proxy=proxy)
        _require_kind(str, os.PathLike, trace=trace)
        _require_kind(ssl.SSLContext, ssl_context=ssl_context)
        _require_kind(ReconnectPolicy, reconnect=reconnect)
        self.model = DEFAULT_MODELS[self.family] if model is None else model
        self._profile = self._find_profile()
        self._strict = strict
        if dispatch not in ("thread", "manual"):
            raise ConfigError(f"dispatch is 'thread' or 'manual', not {dispatch!r}")
        pings = {"ping_interval": ping_interval, "ping_timeout": ping_timeout}
        _require_positive(max_message_bytes=max_message_bytes)
        _require_positive(
            LONGEST_S,
            connect_timeout=connect_timeout,
            close_timeout=close_timeout,
            send_timeout=send_timeout,
            **{name: seconds for name, seconds in pings.items() if seconds is not None},
        )
        super().__init__(
            model=self.model,
            profile=self._profile,
            wanted=self._checked_settings(settings, setting_fields).to_session(),
            key=key_source(api_key),
            endpoint=resolve(
                family=self.family, model=self.model, url=url, region=region, workspace=workspace, headers=headers
            ),
            connect_timeout=connect_timeout,
            close_timeout=close_timeout,
            transport_options={
                "proxy": proxy,
                "ssl_context": ssl_context,
                "max_message_bytes": max_message_bytes,
                "send_timeout": send_timeout,
            },
            pings=pings,
            manual=dispatch == "manual",
            reconnect=reconnect,
            trace=trace,
        )
        self.player: Any = None  # the player that is attached, if any
        self._set_up()

    def _set_up(self) -> None:
        """What a family adds when a client is made; no ``__init__`` of its own, so that all have the same arguments."""

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
        transport = None
        try:
            transport = open_transport(self._endpoint, self._key(), deadline, **self._transport_options)
            self._dispatcher.start()
            self._begin_session(transport, deadline)
            self._become_open()
        except BaseException as error:
            if self._connection is not None:
                self._close(min(self._close_timeout, max(0.5, deadline.left)))
            else:
                if transport is not None:
                    transport.dispose()
                self._never_opened(error)
            raise
        return self

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
            WouldDeadlock: called inside a handler or a tap.
        """
        self._refuse_in_tap("finish()")
        self._dispatcher.refuse_in_handler("finish()", "call it from another thread, or close() here")
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._state is State.NEW or self._forked:
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

    def close(self) -> None:
        """Close now, in order, without waiting for what the server still has to say.

        Idempotent, from any thread. Blocks at most ``close_timeout`` and half a second, until the connection is gone
        and the handlers of what had arrived have run; inside a handler it only begins to close.
        """
        self._close(self._close_timeout)

    def wait(self, timeout: float | None = None) -> CloseInfo:
        """Wait until the connection has ended, whoever ends it, and all handlers have run.

        Args:
            timeout: seconds; ``None`` for as long as it takes.

        Raises:
            WaitTimeout: it is still open.
            ConnectionClosed: it was never opened.
            WouldDeadlock: called inside a handler or a tap.
        """
        self._refuse_in_tap("wait()")
        self._dispatcher.refuse_in_handler("wait()", "call it from another thread, or close() here")
        if self._state is State.NEW or self._forked:
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
        if error is None and not self._forked:
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

        For what cannot wait its turn, such as an interruption. The function must return at once and not raise: all
        sessions of the process share that thread.
        """
        self._taps = (*self._taps, function)

    def untap(self, function: Callable[[Event], object]) -> None:
        """Show it no more events."""
        self._taps = tuple(tap for tap in self._taps if tap != function)

    def note(self, kind: str, **facts: Any) -> None:
        """Record something in the trace that did not go over the wire; without a trace, nothing.

        Args:
            kind: becomes the line's type.
            facts: anything that JSON can hold.
        """
        if self._trace is not None:
            self._trace.note(kind, **facts)

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
            WouldDeadlock: called inside a tap.
        """
        self._refuse_in_tap("update_session()")
        self._change_settings(self._checked_settings(None, fields).to_session())

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
        try:
            payload = json.dumps(message, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the event {event['type']} cannot be JSON: {error}") from error
        decoded = codec.decode_client(payload) if event["type"] in CLIENT_EVENTS else None
        self._transmit(decoded if isinstance(decoded, ClientEvent) else None, payload)
