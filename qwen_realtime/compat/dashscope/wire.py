"""The clients underneath: they take any model's name and send what they are given."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import AbstractContextManager
from typing import Any

from ... import codec
from ...client import RealtimeClient
from ...errors import ConfigError, ConnectionClosed, ProtocolError
from ...events import ClientEvent, CloseInfo, Disconnected, Error, Event, SessionFinished
from ...families import ASRClient, LiveTranslateClient, OmniClient, TTSClient
from ...protocol import Family, Phase
from ...settings import ModelProfile, profile_of

__all__ = ["Ending", "WireClient", "client_class"]


class Ending:
    """An ``end_session()`` in progress: looks at events until it knows how the session ended.

    Args:
        finish_id: the id of the ``session.finish`` that was sent.
        early: look when events arrive, not when they have been delivered, because the waiting is done in a callback.

    Attributes:
        over: set when the waiting is over.
        finished: whether ``session.finished`` came.
        error: what the last error since then said.
    """

    def __init__(self, finish_id: str, *, early: bool) -> None:
        self.finish_id = finish_id
        self.early = early
        self.over = threading.Event()
        self.finished = False
        self.error: Any = None

    def see(self, event: Event) -> None:
        """Look at one event."""
        if isinstance(event, SessionFinished):
            self.finished = True
            self.over.set()
        elif isinstance(event, Error):
            self.error = event.raw.get("error")
            if self._is_about_finish(event):
                self.over.set()
        elif isinstance(event, Disconnected):
            self.over.set()

    def _is_about_finish(self, event: Error) -> bool:
        """Whether an error says that the session will not finish; most errors do not say what they are about."""
        if event.error.event_id:
            return event.error.event_id == self.finish_id
        message = (event.error.message or "").lower()
        return "session.finish" in message or "event type" in message


class WireClient(RealtimeClient):
    """One connection of an object of the vendor's kind.

    Attributes:
        arrivals: when each server event that is not delivered yet arrived, on ``time.monotonic()``.
        greeted: whether ``on_open`` has been called.
        opener: the thread on which ``on_open`` is running.
        released: set when events may be delivered: after ``on_open``, or when the connection is being closed.
        hushed: the program has closed: what arrives, or is not delivered yet, is dropped.
        finish_delivered: whether ``session.finished`` has been delivered.
        ending: the ``end_session()`` in progress.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.arrivals: deque[float] = deque()
        self.greeted = False
        self.opener: int | None = None
        self.released = threading.Event()
        self.hushed = False
        self.finish_delivered = False
        self.ending: Ending | None = None
        self.tap(self._arrived)

    def _find_profile(self) -> ModelProfile:
        return ModelProfile(model=self.model, family=self.family, known=False)

    @property
    def thread(self) -> threading.Thread:
        """The thread on which callbacks run; it ends after the last one."""
        return self._dispatcher._thread

    @property
    def in_callback(self) -> bool:
        """Whether the calling thread is running a callback, which others wait for."""
        return self._dispatcher.in_handler or self.opener == threading.get_ident()

    @property
    def finished(self) -> bool:
        """Whether ``session.finished`` has arrived."""
        return self._session_state.phase is Phase.FINISHED

    def closed_error(self) -> ConnectionClosed:
        """Why the connection ended, as an error."""
        return self._closed_error()

    def delivered(self, event: Event) -> None:
        """An event's callback has returned; on the dispatching thread."""
        self.finish_delivered = self.finish_delivered or isinstance(event, SessionFinished)
        ending = self.ending
        if ending is not None:
            ending.see(event)

    def write(self, payload: bytes) -> None:
        """Send a text message as it is, be it an event or not.

        Raises:
            ConnectionClosed: the connection is not open, or breaks.
        """
        try:
            event = codec.decode_client(payload)
        except ProtocolError:
            event = None
        self._transmit(event if isinstance(event, ClientEvent) else None, payload)

    def unbounded(self) -> AbstractContextManager[None]:
        """Let the receiving thread go on while a callback waits for what it brings."""
        return self._dispatcher.unbounded_in_handler()

    def _close(self, timeout: float) -> None:
        self.released.set()  # the dispatching thread may be waiting for on_open, and closing waits for that thread
        super()._close(timeout)

    # On the receiving thread.

    def _arrived(self, event: Event) -> None:
        self.arrivals.append(time.monotonic())
        self._look_early(event)

    def _end(self, info: CloseInfo) -> None:
        super()._end(info)
        self._look_early(Disconnected(info=info))

    def _look_early(self, event: Event) -> None:
        ending = self.ending
        if ending is not None and ending.early:
            ending.see(event)


class _TTS(WireClient, TTSClient):
    """A speaking client."""


class _ASR(WireClient, ASRClient):
    """A listening client."""


class _Omni(WireClient, OmniClient):
    """A conversing client."""


class _LiveTranslate(WireClient, LiveTranslateClient):
    """An interpreting client."""


_CLASSES: dict[Family, type[WireClient]] = {cls.family: cls for cls in (_TTS, _ASR, _Omni, _LiveTranslate)}


def client_class(model: str, otherwise: Family) -> type[WireClient]:
    """The client for a model, by its name.

    Args:
        model: any name.
        otherwise: the family of a name that does not tell.
    """
    try:
        return _CLASSES[profile_of(model).family]
    except ConfigError:
        return _CLASSES[otherwise]
