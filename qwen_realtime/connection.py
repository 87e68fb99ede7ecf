"""One connection: what is received and when, pings, and how it ends.

The receiving thread (:mod:`.receiver`) is the only one that reads the socket and the only one that disposes of it; it
never waits for a connection. Other threads send, cut, and wait for the end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from .errors import ConnectionClosed, ProtocolError
from .events import CloseInfo
from .locks import Condition
from .receiver import NEVER, Receiver, Wish, receive
from .transport import Transport

__all__ = ["Connection"]

log = logging.getLogger("qwen_realtime")

# Pings in a row that may stay unanswered, with no other frame meanwhile, before the peer is given up.
UNANSWERED_PINGS = 3

# Messages taken before other connections have their turn.
TURN = 32

# When to try again to answer a ping, in seconds, where the other side does not read what we send.
PONG_AGAIN_S = 0.05


class Connection:
    """A transport that is received from, once :meth:`start` is called: what it calls may need the object.

    Args:
        transport: connected.
        on_message: called with each message's payload, on the receiving thread; must not wait.
        on_end: called once with how it ended, on the receiving thread, when the socket is gone; must not wait.
        on_idle: called on the receiving thread when nothing has come for a ping interval.
        has_room: whether another message may come; where not, :meth:`resume` is called when it may.
        ping_interval: seconds of silence after which a ping is sent; ``None`` for never.
        ping_timeout: seconds to wait for an answer before the next ping; ``None`` to wait for ever.
    """

    receiver: Receiver | None = None

    def __init__(
        self,
        transport: Transport,
        *,
        on_message: Callable[[bytes], None],
        on_end: Callable[[CloseInfo], None],
        on_idle: Callable[[], None] = lambda: None,
        has_room: Callable[[], bool] = lambda: True,
        ping_interval: float | None,
        ping_timeout: float | None,
    ) -> None:
        self._transport = transport
        self._on_message = on_message
        self._on_end = on_end
        self._on_idle = on_idle
        self._has_room = has_room
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._closing = False  # by us; set before the close frame is sent
        self._give_up_at = NEVER  # when the answer to a close frame is waited for no longer
        self._pinged_at = 0.0  # the receiving thread's own, as the next two
        self._unanswered = 0  # pings
        self._how = CloseInfo(by="network")  # it has ended
        self._ended = False  # the last act
        self._changed = Condition()  # guards _ended, which notifies it
        self.messages = 0  # received so far; pings and pongs are none
        self.send = transport.send
        self.fileno = transport.fileno

    def start(self) -> None:
        """Start to receive."""
        receive(self)

    def resume(self) -> None:
        """Look again whether there is room; from any thread."""
        if self.receiver is not None:
            self.receiver.poke(self)

    @property
    def receiving_here(self) -> bool:
        """Whether the calling thread is the receiving one."""
        return self.receiver is not None and self.receiver.is_current

    def close(self, deadline: float, code: int = 1000, reason: str = "") -> None:
        """Close in order: send CLOSE, let the reader see the answer, and cut the socket when the time is up.

        Idempotent, from any thread but the receiving one. Blocks until the connection has ended, at most until
        ``deadline`` (on ``time.monotonic()``) and a moment more.
        """
        self._closing = True
        if self.receiver is None:  # Ctrl-C came before it was received from, so nobody else will end it
            self._how = CloseInfo(by="client", clean=True)
            self.end()
            return
        self.receiver.poke(self)  # Ctrl-C may have come just before its first step
        left = max(0.05, deadline - time.monotonic())
        self._transport.send_close(code, reason, timeout=left / 2)
        self.wait(deadline)
        if not self._ended:
            self._transport.shutdown()
            self.wait(time.monotonic() + 1.0)

    def begin_close(self, code: int = 1000, reason: str = "", within: float | None = None) -> None:
        """Start to close without waiting: the close frame is sent, and the socket cut where that fails.

        Args:
            code: of the close frame.
            reason: of the close frame.
            within: seconds that the other side has for its answer; on the receiving thread only.
        """
        self._closing = True
        if within is not None:
            self._give_up_at = time.monotonic() + within
        self._transport.send_close(code, reason, timeout=0.0 if self.receiving_here else 0.5)
        if self._transport.broken:
            self._transport.shutdown()

    def cut(self) -> None:
        """Cut the connection without a close frame."""
        self._transport.shutdown()

    def wait(self, deadline: float) -> None:
        """Wait until it has ended, at most until the deadline on ``time.monotonic()``; not on the receiving thread."""
        if not self.receiving_here:
            with self._changed:
                self._changed.wait_for(lambda: self._ended, max(0.0, deadline - time.monotonic()))

    # On the receiving thread.

    def step(self) -> Wish | None:
        """Take messages, look after pings; ``None`` when it has ended."""
        try:
            if time.monotonic() >= self._give_up_at:
                raise ConnectionClosed("the close frame was not answered", by="client")
            return self._take() or Wish(True, self._look_after_pings())
        except ConnectionClosed as error:
            self._how = self._told(error)
        except ProtocolError as error:
            self._transport.send_close(1002, str(error), timeout=0.0)
            self._how = CloseInfo(code=1002, reason=str(error), by="client", error=error)
        except BaseException as error:  # also a tap's SystemExit: the thread is not this connection's alone
            log.exception("receiving failed; please report this")
            self._how = CloseInfo(by="client", reason=str(error), error=error)
        return None

    def end(self) -> None:
        """Dispose of the socket and tell how it ended."""
        self._transport.dispose()
        try:
            self._on_end(self._how)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _take(self) -> Wish | None:
        """Take what has come; a wish where that cannot be all."""
        for _ in range(TURN):
            if not self._has_room():
                return Wish(False, self._give_up_at)
            message = self._transport.take()
            if message is None:
                return Wish(True, 0.0) if self._transport.has_more else None
            self.messages += 1
            self._on_message(message)
            if self._transport.at_rest:
                return None
        return Wish(True, 0.0)

    def _look_after_pings(self) -> float:
        """Send a ping where one is due; when to look again."""
        now, due = time.monotonic(), self._next_ping()
        if now >= due:
            if self._unanswered >= UNANSWERED_PINGS and self._ping_timeout is not None:
                raise ConnectionClosed(f"no sign of life after {self._unanswered} pings", by="network")
            self._on_idle()
            if not self._closing:  # the idle moment may have been used to close
                self._transport.ping()
                self._unanswered, self._pinged_at = self._unanswered + 1, time.monotonic()
            due = self._next_ping()
        if not self._transport.answer_ping():
            due = min(due, now + PONG_AGAIN_S)
        return min(due, self._give_up_at)

    def _next_ping(self) -> float:
        if self._ping_interval is None or self._closing:
            return NEVER
        heard_at = self._transport.heard_at
        if heard_at >= self._pinged_at:  # whatever comes is an answer
            self._unanswered = 0
            return heard_at + self._ping_interval
        return self._pinged_at + (self._ping_timeout or self._ping_interval)

    def _told(self, error: ConnectionClosed) -> CloseInfo:
        if error.by == "server":  # its close frame is the first cause, whatever failed after it
            clean = error.code == 1000
            return CloseInfo(
                code=error.code, reason=error.reason, by="server", clean=clean, error=None if clean else error
            )
        if self._closing and not self._transport.broken:
            return CloseInfo(code=error.code, reason=error.reason, by="client", clean=True)
        if self._transport.broken:
            reason = self._transport.broken
            return CloseInfo(reason=reason, by="network", error=ConnectionClosed(reason, by="network"))
        return CloseInfo(code=error.code, reason=error.message, by=error.by, error=error)
