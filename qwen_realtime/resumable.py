"""A session that outlives its connection: with a reconnect policy, it comes back after a break and goes on.

One more thread meets the others of :mod:`.session` here: ``qwen-reconnect`` is there while a connection that broke is
being replaced. It waits for the policy, the network and the server, and is woken by what it waits for, and by
``close()``. What it has to know lies under the session's ``_changed``; what has to be sent again is the recovery's
(:mod:`.recovery`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from .connection import Connection
from .dialing import Deadline
from .errors import ConnectionClosed, RealtimeError
from .events import (
    ClientEvent,
    CloseInfo,
    Error,
    Lost,
    Reconnected,
    Reconnecting,
    ServerEvent,
)
from .handshake import open_transport
from .hints import server_error
from .protocol import Phase
from .reconnect import ReconnectPolicy
from .recovery import Recovery
from .session import Session, State
from .settings import input_rate

__all__ = ["ResumableSession"]

log = logging.getLogger("qwen_realtime")


class ResumableSession(Session):
    """A session and the connections that it lives on, one after the other; without a policy, just the first.

    Args:
        reconnect: whether and when to come back after a break.
        session: as for :class:`~.session.Session`.
    """

    def __init__(self, *, reconnect: ReconnectPolicy | None, **session: Any) -> None:
        super().__init__(**session)
        self._recovery = Recovery(reconnect, self.family) if reconnect is not None else None
        self._returning: threading.Thread | None = None  # the last one that came back, or still does
        self._breaks = 0  # ends of connections that the recovery took over, tries included
        self._broken_try: CloseInfo | None = None  # how a try to reconnect ended, once it has
        self._trying = False  # a try to reconnect has no session yet: an error is its own affair
        self._refused: Error | None = None  # that error

    @property
    def _recovering(self) -> bool:
        """Whether a connection that broke is being replaced."""
        return self._recovery is not None and self._recovery.recovering

    # Beginning and ending.

    def _become_open(self) -> None:
        self._configured()
        if self._recovery is not None:
            self._recovery.up()
        super()._become_open()

    def _configured(self) -> None:
        """Tell the recovery which settings are in force; manual mode is not always confirmed."""
        if self._recovery is not None:
            session = {**self.session, "sample_rate": input_rate(self.session)}
            if "turn_detection" in self._wanted:
                session.setdefault("turn_detection", self._wanted["turn_detection"])
            self._recovery.configured(session)

    def _join_threads(self, deadline: float) -> None:
        super()._join_threads(deadline)
        if self._returning is not None and self._returning is not threading.current_thread():
            self._returning.join(max(0.1, deadline - time.monotonic()))

    # The wire, out: the journal takes what a session would, and sends it when there is one.

    def _raise_refusal(self, refusal: str) -> None:
        if not self._recovering or self._session_state.phase is not Phase.AWAITING_SESSION:
            super()._raise_refusal(refusal)

    def _send_kept(self, what: ClientEvent | bytes | None, write: Callable[[], None]) -> None:
        """Send by ``write``; with a recovery, by way of its journal."""
        if self._recovery is None:
            write()
        else:
            self._sending_connection()
            self._recovery.send(what, write)

    def _raise_reason(self, connection: Connection, error: ConnectionClosed) -> NoReturn:
        if self._recovery is not None:
            raise error  # its end may be a break, and the receiving thread must not be waited for
        super()._raise_reason(connection, error)

    def _refuse_update(self) -> None:
        if self._recovering and threading.current_thread() is not self._returning:
            # the recovery has yet to tell the new session all settings, and would undo these
            raise ConnectionClosed("there is no session at the moment", by="network")
        super()._refuse_update()

    def _change_settings(self, session: dict[str, Any]) -> None:
        """Have settings confirmed, by the next session where this one breaks meanwhile."""
        deadline = Deadline(self._connect_timeout)
        while True:
            # a break that is being recovered from is one to wait for
            breaks = self._breaks - self._recovering
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
                lambda: (
                    self._state in (State.CLOSING, State.CLOSED)
                    or (self._breaks != breaks and self._state is State.OPEN)
                ),
                deadline.left,
            )
            return self._state is State.OPEN and self._breaks != breaks

    # The wire, in: on the receiving thread.

    def _sifted(self, event: ServerEvent) -> ServerEvent | None:
        if self._recovery is None:
            return event
        seen = self._recovery.received(event)
        if self._trying and isinstance(seen, Error):
            with self._changed:
                self._refused = seen
                self._changed.notify_all()
            return None
        return seen

    def _greeted(self) -> None:
        if not self._recovering:  # the user's session is the one that was there before
            super()._greeted()

    def _on_idle(self) -> None:
        """Between two events, a session that has become old makes room for a new one."""
        recovery = self._recovery
        if recovery is None or self._connection is None or self._state is not State.OPEN or not recovery.is_old():
            return
        if not self._session_state.owes_reply and not self._session_state.user_speaking:
            recovery.rolling = True
            self._connection.begin_close(1000, "the session makes room for a new one", within=self._close_timeout)

    def _on_end(self, connection: Connection, info: CloseInfo) -> None:
        if self._recovery is not None:
            with self._changed:
                if connection is not self._connection:
                    return  # of a try that was given up before
                if self._recovery.recovering:
                    self._broken_try = info  # the recovering thread waits for its session
                    self._breaks += 1
                    self._changed.notify_all()
                    return
                if self._comes_back(self._recovery, info):
                    return
        super()._on_end(connection, info)

    def _comes_back(self, recovery: Recovery, info: CloseInfo) -> bool:
        """Begin to come back from the end of a connection, if that can be done; with ``_changed`` held."""
        finished = self._session_state.phase is Phase.FINISHED
        if finished or self._state is not State.OPEN or not recovery.takes_over(info):
            return False
        returning = threading.Thread(target=self._come_back, args=(recovery, info), name="qwen-reconnect", daemon=True)
        self._state = State.CONNECTING
        recovery.recovering = True
        try:
            returning.start()
        except RuntimeError as error:  # the system has no more threads
            log.error("no coming back: %s", error)
            recovery.recovering = False
            return False
        self._returning = returning
        self._breaks += 1
        self._changed.notify_all()
        return True

    # Coming back: on qwen-reconnect.

    def _come_back(self, recovery: Recovery, info: CloseInfo) -> None:
        try:
            ended = self._recover(recovery, info)
        except BaseException as error:
            log.exception("coming back failed; please report this")
            ended = CloseInfo(by="client", reason=str(error), error=error)
        if ended is not None:
            self._end(ended)

    def _recover(self, recovery: Recovery, info: CloseInfo) -> CloseInfo | None:
        """Come back with a new connection; ``None`` when that has worked, else how it ended for good."""
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
            except BaseException as error:  # noqa: BLE001 - the key is asked for by the user's code, which may exit
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
            self._configured()
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

    # Waiting for the server.

    def _failures(self) -> Callable[[], RealtimeError | None]:
        breaks, reported = self._breaks, super()._failures()

        def failure() -> RealtimeError | None:
            if self._refused is not None:
                return server_error(self._refused)
            error = reported()
            if error is not None or self._breaks == breaks:
                return error
            if self._broken_try is not None:
                return self._closed_error()
            return ConnectionClosed("the connection broke before the server had answered", by="network")

        return failure

    def _how_ended(self) -> CloseInfo | None:
        return super()._how_ended() or self._broken_try
