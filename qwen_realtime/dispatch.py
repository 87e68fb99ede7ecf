"""From the mailbox to the handlers: one event at a time, in order, on one thread.

With ``dispatch="thread"`` that is the thread ``qwen-dispatch``. It may block on the mailbox and on user handlers; it is
woken by the next event, and ends after the last one. With ``dispatch="manual"`` it is whichever thread calls
:meth:`Dispatcher.poll`.

No lock of ours is held while a handler runs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .errors import ConfigError, ConnectionClosed, RealtimeError, WaitTimeout, WouldDeadlock
from .events import Disconnected, Error, Event
from .handlers import Handlers, Key, matcher, resolve_key
from .hints import server_error
from .locks import Condition
from .mailbox import Mailbox

__all__ = ["PATIENCE_S", "SLICE_S", "Dispatcher", "Expectation"]

log = logging.getLogger("qwen_realtime")

# A wait without a timeout of its own gives up when nothing at all has happened for this long.
PATIENCE_S = 60.0

# Waits are cut into slices, so that Ctrl-C reaches the main thread on every system.
SLICE_S = 0.5


class Dispatcher:
    """Runs handlers.

    Args:
        manual: handlers run in :meth:`poll` instead of on a thread of ours.

    Attributes:
        handlers: the registry.
        handler_errors: how many handlers have raised.
        delivered: how many events have been delivered.
    """

    def __init__(self, *, manual: bool) -> None:
        self.manual = manual
        self.handlers = Handlers()
        self.handler_errors = 0
        self.delivered = 0
        self.ended = False  # the last event has been delivered
        self._mailbox = Mailbox(selectable=manual)
        self.put = self._mailbox.put
        self.has_room = self._mailbox.has_room
        self.fileno = self._mailbox.fileno
        self._discard = False  # deliver nothing but the end
        self._cut: Callable[[], None] | None = None  # what to do where a close has no answer
        self._cut_at = 0.0
        self._running: int | None = None  # the thread on which handlers run now
        self._polling = threading.Lock()  # guards the mailbox against two threads polling
        self._expectations: list[Expectation] = []  # changed under _progress
        self._progress = Condition()  # guards _expectations; notified when a wait may be over
        self._thread = threading.Thread(target=self._run, name="qwen-dispatch", daemon=True)

    def start(self) -> None:
        """Start the dispatching thread, unless handlers are polled."""
        if not self.manual:
            self._thread.start()

    def end(self, last: Disconnected) -> None:
        """Deliver a last event after all others, and end."""
        self._mailbox.put_last(last)

    def discard(self) -> None:
        """Let waiting events fall; the last one is delivered all the same."""
        self._discard = True

    @property
    def in_handler(self) -> bool:
        """Whether the calling thread is running a handler."""
        return self._running == threading.get_ident()

    def when_room(self, resume: Callable[[], object]) -> None:
        """Call ``resume`` when there is room again after ``has_room`` said no; on the thread that made it."""
        self._mailbox.on_room = resume

    def let_end(self) -> None:
        """Stop bounding what waits, so that a receiving thread that waits for room can end."""
        self._mailbox.let_end()

    def cut_later(self, at: float, cut: Callable[[], None]) -> None:
        """Call ``cut`` on the dispatching thread at that ``time.monotonic()``, unless the last event came before.

        For a close begun inside a handler: nobody else waits for the other side's answer. The first one counts.
        """
        if self._cut is None:
            self._cut_at, self._cut = at, cut

    def abandon(self) -> None:
        """End before anything was received: nothing will ever be delivered."""
        self._mailbox.put_last(None)  # where Ctrl-C came, the thread may have been started
        self._finish()

    def refuse_in_handler(self, what: str, instead: str) -> None:
        """Raise ``WouldDeadlock`` where a wait could only be ended by the return of the handler that makes it."""
        if self.in_handler:
            raise WouldDeadlock(f"{what} inside a handler would wait for this handler to return", hint=instead)

    # Delivering.

    def _run(self) -> None:
        while True:
            try:
                event = self._mailbox.get(self._cut_if_due())
            except queue.Empty:
                continue
            if event is None:
                break
            self._deliver(event)
        self._finish()

    def _cut_if_due(self) -> float | None:
        """Cut the connection where that is due; the seconds until then, or ``None`` where nothing is due."""
        if self._cut is None:
            return None
        left = self._cut_at - time.monotonic()
        if left > 0:
            return left
        self._cut()
        self._cut = None
        return None

    def poll(self, timeout: float = 0.0, max_events: int | None = None) -> int:
        """Run the handlers of waiting events on this thread.

        Args:
            timeout: seconds to wait for the first event.
            max_events: stop after so many.

        Returns:
            How many events were delivered.

        Raises:
            WouldDeadlock: called inside a handler.
            ConfigError: handlers run on a thread here.
        """
        if not self.manual:
            raise ConfigError("poll() is for dispatch='manual'; here handlers run on their own thread")
        self.refuse_in_handler("poll()", "return from the handler first")
        if not self._polling.acquire(timeout=timeout):
            return 0
        count = 0
        try:
            if self.ended:
                return 0
            self._cut_if_due()
            self._mailbox.hush()
            while not self.ended and (max_events is None or count < max_events):
                try:
                    event = self._mailbox.get(timeout if count == 0 and timeout > 0 else 0)
                except queue.Empty:
                    break
                if event is None:
                    self._finish()
                    break
                self._deliver(event)
                count += 1
        finally:
            if not self.ended:
                self._mailbox.hush()  # what was rung for meanwhile has been delivered, or is reminded of
                self._mailbox.remind()
            self._polling.release()
        return count

    def _finish(self) -> None:
        with self._progress:
            self.ended = True
            self._progress.notify_all()
        self._mailbox.close()

    def _deliver(self, event: Event) -> None:
        if self._discard and not isinstance(event, Disconnected):
            return
        self._running = threading.get_ident()
        try:
            for entry in self.handlers.of(event):
                if entry.once and not self.handlers.spend(entry):
                    continue
                try:
                    entry.handler(event)
                except BaseException as error:
                    if self.manual and not isinstance(error, Exception):
                        raise  # the caller's own thread: SystemExit and Ctrl-C are the caller's
                    self._report(entry.handler, event, error)
        finally:
            self._running = None
        self.delivered += 1
        if isinstance(event, Error) and not self.handlers.take_errors():
            log.error("the server reports: %s", server_error(event))
        if self._expectations:
            self._settle(event)

    def _report(self, handler: Callable[..., object], event: Event, error: BaseException) -> None:
        self.handler_errors += 1
        log.error("the handler %s raised on %s; the session goes on", _name(handler), event.type, exc_info=error)

    # Waiting.

    def _settle(self, event: Event) -> None:
        """Show an event to those who expect one."""
        fatal = isinstance(event, Disconnected) or (isinstance(event, Error) and not self.handlers.take_errors())
        with self._progress:
            for expectation in list(self._expectations):
                if expectation.see(event) or (fatal and expectation.fail(event)):
                    self._expectations.remove(expectation)
            self._progress.notify_all()

    def expecting(self, expectation: Expectation) -> None:
        """Show events to an expectation from now on."""
        with self._progress:
            self._expectations.append(expectation)

    def forget(self, expectation: Expectation) -> None:
        """Show it no more."""
        with self._progress, suppress(ValueError):
            self._expectations.remove(expectation)

    def wait_until(self, done: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait for something that delivering events brings about; polls where dispatch is manual.

        Args:
            done: asked after each event or slice of time.
            timeout: seconds; ``None`` waits as long as events keep coming, with a patience of a minute.
            what: for the error's text.

        Raises:
            WaitTimeout: it did not come.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        seen, seen_at = self.delivered, time.monotonic()
        while not done():
            now = time.monotonic()
            if self.delivered != seen:
                seen, seen_at = self.delivered, now
            left = deadline - now if deadline is not None else seen_at + PATIENCE_S - now
            if left <= 0:
                waited = f"within {timeout:g} s" if timeout is not None else f"and no event for {PATIENCE_S:g} s"
                raise WaitTimeout(f"{what} did not come {waited}")
            self._wait_a_slice(done, min(left, SLICE_S))

    def _wait_a_slice(self, done: Callable[[], bool], seconds: float) -> None:
        if self.manual:
            self.poll(min(seconds, 0.05), max_events=1)
            return
        with self._progress:
            if not done():
                self._progress.wait(seconds)

    @contextmanager
    def unbounded_in_handler(self) -> Iterator[None]:
        """Lift the mailbox's bound while a handler waits for the receiving thread, which it would stop otherwise."""
        if not self.in_handler:
            yield
            return
        self._mailbox.lift()
        try:
            yield
        finally:
            self._mailbox.restore()


def _name(handler: Callable[..., object]) -> str:
    """How a handler is called in the log; an object of the user's may fail to say."""
    try:
        return str(getattr(handler, "__qualname__", None) or repr(handler))
    except Exception:  # noqa: BLE001 - its __repr__ may raise anything
        return f"of the class {type(handler).__qualname__}"


class Expectation:
    """Waits for one event; made by ``client.expect``. A context manager, entered before the request is sent.

    Attributes:
        event: the event, after the block.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        key: Key,
        timeout: float | None,
        where: Callable[[Event], bool] | None,
        closed: Callable[[], ConnectionClosed],
    ) -> None:
        self._dispatcher = dispatcher
        self._key = resolve_key(key)
        self._matches = matcher(self._key)
        self._timeout = timeout
        self._where = where
        self._closed = closed
        self._found: Event | None = None
        self._failure: BaseException | None = None

    @property
    def event(self) -> Event:
        """The event that came.

        Raises:
            RealtimeError: none has come yet.
        """
        if self._found is None:
            raise RealtimeError("the expected event is there after the with block, not inside it")
        return self._found

    def see(self, event: Event) -> bool:
        """Look at an event on the dispatching thread; ``True`` when the waiting is over."""
        try:
            if self._matches(event) and (self._where is None or self._where(event)):
                self._found = event
        except BaseException as error:  # the user's predicate: its error is the waiter's
            if self._dispatcher.manual and not isinstance(error, Exception):
                raise  # the caller's own thread, as with a handler
            self._failure = error
        return self._found is not None or self._failure is not None

    def fail(self, event: Event) -> bool:
        """End the waiting, because of an error or the connection's end."""
        self._failure = server_error(event) if isinstance(event, Error) else self._closed()
        return True

    def __enter__(self) -> Expectation:
        self._dispatcher.refuse_in_handler("expect()", "register a handler for that event with once()")
        self._dispatcher.expecting(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._wait()
        finally:
            self._dispatcher.forget(self)

    def _wait(self) -> None:
        name = self._key if isinstance(self._key, str) else self._key.__name__
        self._dispatcher.wait_until(self._over, self._timeout, f"the event {name}")
        failure = self._failure
        if failure is None and self._found is None:
            failure = self._closed()
        if isinstance(failure, RealtimeError):
            failure.message = f"while waiting for {name}: {failure.message}"
        if failure is not None:
            raise failure

    def _over(self) -> bool:
        return self._found is not None or self._failure is not None or self._dispatcher.ended
