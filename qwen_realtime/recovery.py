"""Coming back after a break: what a client with a :class:`~.reconnect.ReconnectPolicy` has beside its connection.

The recovery runs on a thread of its own, ``qwen-reconnect``, while there is no connection. It may block on the waits of
the policy, on connecting and on sending; it is woken by ``close()``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from .errors import ConnectionClosed
from .events import (
    ClientEvent,
    CloseInfo,
    InputAudioBufferAppend,
    Lost,
    ServerEvent,
    SessionCreated,
    SessionFinish,
    SessionUpdated,
)
from .journal import AudioJournal, Journal, journal_for
from .protocol import CONTENT, Family
from .reconnect import ReconnectPolicy

__all__ = ["Recovery"]

# Audio is sent again at this multiple of real time: the ASR service closes sessions above about 80.
REPLAY_SPEED = 50.0

# How long a server may take to confirm the items of the conversation so far.
HISTORY_S = 3.0

# A file is sent on, whatever the journal keeps, when the server has dealt with nothing for so long.
ROOM_S = 5.0


class Recovery:
    """Keeps the journal, and says whether and when to try again.

    Two locks, taken in this order: ``_gate`` guards the order of what is sent, and is held while one frame is written;
    ``_lock`` guards the journal, for a moment.

    Attributes:
        policy: when to try again.
        recovering: whether a break is being recovered from; the client changes it under its own lock.
        rolling: whether the connection is being changed on purpose, between turns.
    """

    def __init__(self, policy: ReconnectPolicy, family: Family) -> None:
        self.policy = policy
        self.recovering = False
        self.rolling = False
        self._down = False  # no session to send to: what is sent goes to the journal only; changed under _gate
        self._journal: Journal = journal_for(family, policy.keep_audio_s)
        self._gate = threading.Lock()
        self._lock = threading.Lock()
        self._moved = threading.Condition(self._lock)  # notified when the journal may have moved on
        self._in_vain = False  # a file has waited for room and got none; until something is dealt with
        self._attempts = 0  # since a session last made progress
        self._progress = 0  # of the journal, when the last connection broke
        self._cause: BaseException | None = None  # of the last failure
        self._began = time.monotonic()  # when this session did

    # Sending.

    def send(self, what: ClientEvent | bytes | None, write: Callable[[], None]) -> None:
        """Note in the journal what is sent, and send it where there is a session; from any thread.

        A break while sending is not raised: what was noted is sent again.

        Args:
            what: an event, or input audio as PCM; ``None`` is not noted.
            write: sends it.
        """
        with self._gate:
            wanted = True
            with self._lock:
                if isinstance(what, bytes):
                    self._journal.sent_audio(what)
                elif what is not None:
                    wanted = self._journal.sent(what)
            if wanted and not self._down:
                try:
                    write()
                except ConnectionClosed:
                    self._down = True  # the receiving thread sees the same end

    def configured(self, session: dict[str, Any]) -> None:
        """Tell the journal which settings are in force."""
        with self._lock:
            self._journal.configured(session)

    def owes_reply(self) -> bool:
        """Whether something that was sent again will be answered without anybody asking."""
        return self.recovering or self._journal.owes_reply()

    def wait_for_room(self, done: Callable[[], bool]) -> None:
        """Wait until the journal keeps less than half of what it may, so that nothing of a file is lost.

        Blocks for as long as there is no session; with one, no longer than the server takes to deal with something,
        since an utterance may be longer than the journal.

        Args:
            done: asked now and then whether waiting makes no sense any more.
        """
        journal = self._journal
        if not isinstance(journal, AudioJournal):
            return
        with self._lock:
            progress, since = journal.progress, time.monotonic()
            while journal.kept_ms > self.policy.keep_audio_s * 500 and not done():
                if journal.progress != progress or self._down or self.recovering:
                    progress, since, self._in_vain = journal.progress, time.monotonic(), False
                if self._in_vain or time.monotonic() - since > ROOM_S:
                    self._in_vain = True
                    return
                self._moved.wait(0.2)
            self._in_vain = self._in_vain and journal.kept_ms > self.policy.keep_audio_s * 500

    # Receiving.

    def received(self, event: ServerEvent) -> ServerEvent | None:
        """See what the server sends, on the receiving thread; ``None`` for what the user has had before."""
        if isinstance(event, (SessionCreated, SessionUpdated)):
            return event
        with self._lock:
            seen = self._journal.received(event)
            if type(event) not in CONTENT:
                self._moved.notify_all()
        return seen

    def is_old(self) -> bool:
        """Whether the session has reached the age at which a new one should begin, between turns."""
        limit = self.policy.rollover_after_s
        return limit is not None and not self.rolling and time.monotonic() - self._began > limit

    # Coming back.

    def takes_over(self, info: CloseInfo) -> bool:
        """Whether this end of a connection is one to come back from."""
        return self.rolling or self.policy.broke(info)

    def broken(self, info: CloseInfo) -> None:
        """There is no session: from now on the journal takes what is sent."""
        self._cause = info.error
        self._go_down()
        # a session that has done something, or has held for longer than the longest wait, was a good one
        lived = time.monotonic() - self._began > max(self.policy.max_delay, self.policy.first_delay)
        if self._journal.progress != self._progress or lived:
            self._attempts = 0
        self._progress = self._journal.progress

    def _go_down(self) -> None:
        with self._gate:
            self._down = True
            with self._lock:
                self._journal.broke()

    def next_try(self) -> tuple[int, float] | None:
        """The number of the next try and the seconds before it; ``None`` when it is given up."""
        self._attempts += 1
        if self.rolling:
            return self._attempts, 0.0
        if self._attempts > self.policy.max_attempts or not self.policy.may_retry(self._cause):
            return None
        return self._attempts, self.policy.delay(self._attempts, self._cause)

    def failed(self, error: BaseException) -> None:
        """A try has failed."""
        self._cause = error
        self.rolling = False
        self._go_down()

    def resume(
        self, write: Callable[[ClientEvent], None], tell: Callable[[Lost], None], pause: Callable[[float], None]
    ) -> None:
        """Send the journal again on a fresh session, before anything new; on the recovering thread.

        Args:
            write: sends an event.
            tell: told what could not be brought back, before anything but the history is sent.
            pause: waits for some seconds; raises when the session has ended.

        Raises:
            ConnectionClosed: the session has ended meanwhile.
        """
        with self._lock:
            history = self._journal.history()
        for event in history:
            write(event)
        deadline = time.monotonic() + HISTORY_S
        while self._journal.unanswered and time.monotonic() < deadline:
            pause(0.0)
            with self._lock:
                self._moved.wait_for(lambda: not self._journal.unanswered, 0.1)
        with self._lock:
            events, lost = self._journal.resume()
            mark = self._journal.mark()
        self._began = time.monotonic()
        tell(lost)
        sent_ms = 0.0
        while True:
            for event in events:
                write(event)
                if isinstance(event, InputAudioBufferAppend):
                    sent_ms += len(event.audio) * 500 / self.sample_rate
                    pause(self._began + sent_ms / 1000 / REPLAY_SPEED - time.monotonic())
            with self._gate:  # what was noted while the journal was sent; then there is a session
                with self._lock:
                    events, mark = self._journal.since(mark), self._journal.mark()
                if not events:
                    if self._journal.finishing:
                        write(SessionFinish())
                    self._journal.replaying = self._down = False
                    return

    @property
    def sample_rate(self) -> int:
        """Of the input audio, Hz."""
        return self._journal.sample_rate if isinstance(self._journal, AudioJournal) else 16000

    def up(self) -> None:
        """The first session is there."""
        self._began = time.monotonic()

    @property
    def cause(self) -> BaseException | None:
        """Why the last try, or the connection, failed."""
        return self._cause
