"""One connection and the thread that receives on it.

The receiving thread, ``qwen-receive``, is the only one that reads the socket and the only one that disposes of it.

It may block on
    the socket, no longer than the ping interval; and on delivering a message, while the mailbox is full.
It is woken by
    data, the other side's end, and :meth:`Connection.close`, which cuts the socket when the time is up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .errors import ConnectionClosed, ProtocolError
from .events import CloseInfo
from .transport import Transport

__all__ = ["Connection"]

log = logging.getLogger("qwen_realtime")

# Pings in a row that may stay unanswered, with no other frame meanwhile, before the peer is given up.
UNANSWERED_PINGS = 3


class Connection:
    """A transport with its receiving thread, which :meth:`start` starts: what it calls may need the object.

    Args:
        transport: connected.
        on_message: called with each message's payload, on the receiving thread.
        on_end: called once with how it ended, on the receiving thread, when the socket is gone.
        on_idle: called on the receiving thread when nothing has come for a ping interval.
        ping_interval: seconds of silence after which a ping is sent; ``None`` for never.
        ping_timeout: seconds to wait for an answer before the next ping; ``None`` to wait for ever.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        on_message: Callable[[bytes], None],
        on_end: Callable[[CloseInfo], None],
        on_idle: Callable[[], None] = lambda: None,
        ping_interval: float | None,
        ping_timeout: float | None,
    ) -> None:
        self._transport = transport
        self._on_message = on_message
        self._on_end = on_end
        self._on_idle = on_idle
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._closing = False  # by us; set before the close frame is sent
        self._give_up_at = float("inf")  # when the receiving thread stops to wait for the answer to a close frame
        self.messages = 0  # received so far; pings and pongs are none
        self._thread = threading.Thread(target=self._run, name="qwen-receive", daemon=True)
        self.send = transport.send

    def start(self) -> None:
        """Start to receive."""
        self._thread.start()

    def close(self, deadline: float, code: int = 1000, reason: str = "") -> None:
        """Close in order: send CLOSE, let the reader see the answer, and cut the socket when the time is up.

        Idempotent, from any thread. Blocks until the receiving thread has ended, at most until ``deadline`` (on
        ``time.monotonic()``) and a moment more; on the receiving thread itself it does not wait.
        """
        self._closing = True
        left = max(0.05, deadline - time.monotonic())
        self._transport.send_close(code, reason, timeout=left / 2)
        self.wait(deadline)
        if self._thread.is_alive():
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
        self._transport.send_close(code, reason, timeout=0.5)
        if self._transport.broken:
            self._transport.shutdown()

    def cut(self) -> None:
        """Cut the connection without a close frame."""
        self._transport.shutdown()

    def wait(self, deadline: float) -> None:
        """Wait until the receiving thread has ended, at most until the deadline on ``time.monotonic()``."""
        if threading.current_thread() is not self._thread:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    # The receiving thread.

    def _run(self) -> None:
        info = CloseInfo(by="network")
        try:
            info = self._receive()
        except Exception as error:
            log.exception("the receiving thread failed; please report this")
            info = CloseInfo(by="client", reason=str(error), error=error)
        finally:
            self._transport.dispose()
            self._on_end(info)

    def _receive(self) -> CloseInfo:
        """Receive until the end, and say how it came."""
        interval = self._ping_interval or 3600.0
        pinged_at, unanswered = 0.0, 0
        try:
            while True:
                heard_at, now = self._transport.heard_at, time.monotonic()
                if heard_at >= pinged_at:  # whatever comes is an answer
                    unanswered, due = 0, heard_at + interval
                else:
                    due = pinged_at + (self._ping_timeout or interval)
                if now >= self._give_up_at:
                    raise ConnectionClosed("the close frame was not answered", by="client")
                if now < due or self._ping_interval is None or self._closing:
                    # no longer than the interval: an answer that comes meanwhile begins a new one
                    wait = min(due - now, interval) if now < due else interval
                    message = self._transport.receive(min(wait, self._give_up_at - now))
                    if message is not None:
                        self.messages += 1
                        self._on_message(message)
                    continue
                if unanswered >= UNANSWERED_PINGS and self._ping_timeout is not None:
                    raise ConnectionClosed(f"no sign of life after {unanswered} pings", by="network")
                self._on_idle()
                if self._closing:
                    continue  # the idle moment was used to close
                self._transport.ping()
                unanswered, pinged_at = unanswered + 1, time.monotonic()
        except ConnectionClosed as error:
            return self._ended(error)
        except ProtocolError as error:
            self._transport.send_close(1002, str(error), timeout=1.0)
            return CloseInfo(code=1002, reason=str(error), by="client", error=error)

    def _ended(self, error: ConnectionClosed) -> CloseInfo:
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
