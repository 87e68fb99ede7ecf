"""Coming back after a break: what a client with a :class:`~.reconnect.ReconnectPolicy` has beside its connection.

The recovery runs on the receiving thread of the connection that broke, while there is no connection. It may block on
the waits of the policy and on connecting; it is woken by ``close()``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import ConnectionClosed, RealtimeError
from .events import ClientEvent, CloseInfo, Lost, ServerEvent, SessionCreated, SessionUpdated
from .journal import AudioJournal, Journal, journal_for
from .protocol import CONTENT, Family
from .reconnect import ReconnectPolicy

__all__ = ["Recovery"]


class Recovery:
    """Keeps the journal, and says whether and when to try again.

    Two locks, taken in this order: ``_gate`` guards the order of what is sent, and is held while one frame is written
    or the journal is sent again; ``_lock`` guards the journal, for a moment.

    Attributes:
        policy: when to try again.
        recovering: whether a break is being recovered from.
        rolling: whether the connection is being changed on purpose, between turns.
    """

    def __init__(self, policy: ReconnectPolicy, family: Family) -> None:
        self.policy = policy
        self.recovering = False
        self.rolling = False
        self._down = True  # no session to send to: what is sent goes to the journal only; changed under _gate
        self._journal: Journal = journal_for(family, policy.keep_audio_s)
        self._gate = threading.RLock()
        self._lock = threading.Lock()
        self._dealt_with = threading.Condition(self._lock)  # notified when the journal may have shrunk
        self._attempts = 0  # since a session last made progress
        self._cause: BaseException | None = None  # of the last failure
        self._began = time.monotonic()

    # Sending.

    def send(self, what: ClientEvent | bytes | None, write: Callable[[], None]) -> None:
        """Note in the journal what is sent, and send it where there is a session; from any thread.

        A break while sending is not raised: what was noted is sent again.

        Args:
            what: an event, or input audio as PCM; ``None`` is not noted.
            write: sends it.
        """
        with self._gate:
            with self._lock:
                if isinstance(what, bytes):
                    self._journal.sent_audio(what)
                elif what is not None:
                    self._journal.sent(what)
            if not self._down:
                try:
                    write()
                except ConnectionClosed:
                    self._down = True  # the receiving thread sees the same end

    def sample_rate(self, rate: int) -> None:
        """Tell the journal how long a byte of audio lasts."""
        if isinstance(self._journal, AudioJournal):
            self._journal.sample_rate = rate

    def wait_for_room(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until the journal keeps less than half of what it may, so that nothing of a file is lost.

        Args:
            done: asked now and then whether waiting makes no sense any more.
            seconds: wait no longer; a single utterance may be longer than the journal.
        """
        deadline = time.monotonic() + seconds
        journal = self._journal
        if not isinstance(journal, AudioJournal):
            return
        with self._lock:
            while journal.kept_ms > self.policy.keep_audio_s * 500 and not done():
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._dealt_with.wait(min(left, 0.5))

    # Receiving.

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """See what the server sends, on the receiving thread; ``None`` for what the user has had before."""
        if isinstance(event, (SessionCreated, SessionUpdated)):
            return event
        self._attempts = 0  # progress: the session does its work
        with self._lock:
            seen = self._journal.received(event)
            if type(event) not in CONTENT:
                self._dealt_with.notify_all()
        return seen

    def is_old(self) -> bool:
        """Whether the session has reached the age at which a new one should begin, between turns."""
        limit = self.policy.rollover_after_s
        return limit is not None and not self.rolling and time.monotonic() - self._began > limit

    # Coming back.

    def takes_over(self, info: CloseInfo) -> bool:
        """Whether this end of a connection is one to come back from."""
        return self.rolling or self.policy.broke(info)

    @contextmanager
    def recovering_from(self, info: CloseInfo) -> Iterator[None]:
        """There is no session: from now on the journal takes what is sent."""
        self._cause = info.error
        self.recovering = True
        with self._gate:
            self._down = True
        try:
            yield
        finally:
            self.recovering = self.rolling = False

    def next_try(self) -> tuple[int, float] | None:
        """The number of the next try and the seconds before it; ``None`` when it is given up."""
        self._attempts += 1
        if self.rolling:
            return self._attempts, 0.0
        if self._attempts > self.policy.max_attempts or not self.policy.may_retry(self._cause):
            return None
        return self._attempts, self.policy.delay(self._attempts, self._cause)

    def failed(self, error: RealtimeError) -> None:
        """A try has failed."""
        self._cause = error
        self.rolling = False

    @contextmanager
    def resuming(self) -> Iterator[tuple[list[ClientEvent], Lost]]:
        """Send the journal again inside this block, before anything new; the session is up after it."""
        with self._gate:
            with self._lock:
                resumed = self._journal.resume()
            yield resumed
            self.up()

    def up(self) -> None:
        """There is a session to send to."""
        self._down = False
        self._began = time.monotonic()

    @property
    def cause(self) -> BaseException | None:
        """Why the last try, or the connection, failed."""
        return self._cause
