"""What the vendor's two realtime classes have in common: the connection, the callbacks, and what they can ask."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from ...endpoints import REGIONS
from ...errors import ConfigError, ConnectionClosed, RealtimeError
from ...events import CloseInfo, Disconnected, Event, ServerEvent
from ...protocol import Family
from .failures import as_timeout
from .keys import default_key
from .wire import WireClient, client_class

__all__ = ["Message", "RealtimeCallback", "RealtimeSession", "new_event_id"]

log = logging.getLogger("qwen_realtime")

# How long connect() waits for the on_close of a connection that never was: it may want a lock that the caller holds.
TOLD_S = 5.0

# The first sign of a reply's text and sound, by the figure that it ends.
_FIRSTS = {
    "response.audio_transcript.delta": "first_text_delay",
    "response.audio_transcript.text": "first_text_delay",
    "response.text.delta": "first_text_delay",
    "response.text.text": "first_text_delay",
    "response.audio.delta": "first_audio_delay",
}


class Message(dict[str, Any]):
    """A server event as the vendor's SDK gives it: the message as a dict.

    Attributes:
        event: the same as a typed event of this package.
    """

    event: ServerEvent | None = None


class RealtimeCallback:
    """What a program derives from. An object with the same methods will do as well."""

    def on_open(self) -> None:
        """The session is there; runs inside ``connect()``, on its thread, before any other callback."""

    def on_close(self, close_status_code: int, close_msg: str) -> None:
        """The connection has ended; the last callback, once for each ``connect()``.

        Args:
            close_status_code: 1000 after ``close()``, the server's where it closed (1005: it gave none), 1006 where
                the connection broke or was never made.
            close_msg: the reason, in words; may be empty.
        """

    def on_event(self, message: dict[str, Any]) -> None:
        """The server sent an event.

        Args:
            message: the event, a :class:`Message`; sound is base64 text.
        """


class SocketView:
    """What programs look at in ``conversation.ws``; true as long as the connection is open."""

    def __init__(self, session: RealtimeSession) -> None:
        self._session = session

    @property
    def sock(self) -> SocketView | None:
        """Itself, or ``None`` when the connection has ended."""
        return self if self.connected else None

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        client = self._session.client
        return client is not None and client.session_id != "" and client.close_info is None

    @property
    def keep_running(self) -> bool:
        """The same."""
        return self.connected

    def send(self, data: str) -> None:
        """Send a text message."""
        self._session.send_raw(data)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def new_event_id() -> str:
    """An id for a client event."""
    return f"event_{uuid.uuid4().hex}"


class RealtimeSession:
    """Base of ``OmniRealtimeConversation`` and ``QwenTtsRealtime``.

    Methods may be called from any thread and inside callbacks. Callbacks run one at a time on :attr:`thread`, but
    ``on_open``, which runs inside :meth:`connect`. After the connection has ended, :meth:`connect` opens another.

    Attributes:
        url: with the model in its query.
        apikey: the key, or ``None``; may be changed before :meth:`connect`.
        user_headers: more headers for the handshake.
        user_workspace: the workspace id.
        model: the model's name.
        config: the session object of the last :meth:`update_session`.
        callback: where events go.
        connect_timeout: seconds for :meth:`connect`; not in the vendor's SDK, where they are five.
        thread: on which callbacks run; it ends after ``on_close``. ``None`` before :meth:`connect`.
        session_id: the server's name for the session; ``None`` before there is one.
        last_message: the event that is being delivered, or was last.
        last_response_id: the last reply that began.
        last_first_audio_delay: see :meth:`get_session_id` and its like.
        metrics: for each reply that is done, ``response_id``, ``first_text_delay`` and ``first_audio_delay``, in
            milliseconds since it began; ``None`` where nothing came.
    """

    family: ClassVar[Family]  # of models whose names do not tell
    connect_timeout: float = 10.0  # seconds that connect() may take until the session is there

    def __init__(
        self,
        model: str,
        callback: Any,
        headers: Mapping[str, str] | None,
        workspace: str | None,
        url: str | None,
        api_key: str | None,
    ) -> None:
        if not model:
            raise ConfigError("no model is named")
        self.url = _with_model(url or os.environ.get("QWEN_REALTIME_URL") or REGIONS["cn"], model)
        self.apikey = api_key or default_key()
        self.user_headers = headers
        self.user_workspace = workspace
        self.model = model
        self.config: dict[str, Any] = {}
        self.callback = callback
        self.thread: threading.Thread | None = None
        self.session_id: str | None = None
        self.last_message: Message | None = None
        self.last_response_id: str | None = None
        self.last_first_audio_delay: float | None = None
        self.metrics: list[dict[str, Any]] = []
        self._reply: dict[str, Any] = {}  # the figures of the last reply; the dispatching thread's own
        self._reply_at = 0.0  # when it began, on time.monotonic()
        self._client: WireClient | None = None  # of the last connect()

    def __repr__(self) -> str:
        state = self._client.state.value if self._client is not None else "new"
        return f"<{type(self).__name__} {self.model} {state} {self.session_id or 'no session'}>"

    @property
    def client(self) -> WireClient | None:
        """The client underneath, of the last :meth:`connect`; ``None`` before."""
        return self._client

    @property
    def ws(self) -> SocketView | None:
        """For programs that look at ``ws.sock.connected``; ``None`` before :meth:`connect`."""
        return None if self._client is None else SocketView(self)

    # Lifetime.

    def connect(self) -> None:
        """Connect and wait until the session is there, at most :attr:`connect_timeout`; then call ``on_open``.

        A connection that is still open from an earlier call is closed.

        Raises:
            ConnectError, ConnectionClosed: why not; a ``ConnectionError`` and a ``TimeoutError`` at once.
                ``on_close(1006, ...)`` has been called then.
            ConfigError: there is no key, or the URL cannot be.
        """
        if self._client is not None and self._client.close_info is None:
            self.close()
        client = self._client = self._new_client()
        try:
            client.connect()
        except RealtimeError as error:
            if client.thread.ident is None:  # no thread will tell
                self._tell_never_opened(error)
            failure = as_timeout(error)
            raise failure.with_traceback(error.__traceback__) from error.__cause__
        self.thread = client.thread
        self._reset()
        client.greeted, client.opener = True, threading.get_ident()
        try:
            if self.callback is not None:
                self.callback.on_open()
        finally:
            client.opener = None
            client.released.set()

    def _new_client(self) -> WireClient:
        key = self.apikey or default_key()
        if not key:
            raise ConfigError("no API key", hint="set dashscope.api_key or the environment variable DASHSCOPE_API_KEY")
        client = client_class(self.model, self.family)(
            model=self.model,
            api_key=key,
            url=self.url,
            workspace=self.user_workspace,
            headers=self.user_headers,
            connect_timeout=self.connect_timeout,
        )
        client.on("*", lambda event: self._deliver(client, event))
        return client

    def _reset(self) -> None:
        """Forget the figures of an earlier session."""
        self._reply = {}
        self.last_first_audio_delay = None

    def _tell_never_opened(self, error: RealtimeError) -> None:
        telling = threading.Thread(
            target=self._call, args=("on_close", 1006, error.message), name="qwen-dispatch", daemon=True
        )
        telling.start()
        telling.join(TOLD_S)

    def close(self) -> None:
        """Close the connection; what has arrived and is not delivered yet is dropped.

        Blocks until the callback that is running has returned and ``on_close`` has run, at most some five seconds;
        inside a callback it only begins to close. Nothing happens where there is no connection.
        """
        if self._client is not None:
            # A program frees the devices that its callbacks play on as soon as this returns: a queue of sound that is
            # still to be played must neither hold it up nor be there afterwards.
            self._client.hushed = True
            self._client.close()

    # Sending.

    def send_raw(self, raw_data: str) -> None:
        """Send a text message as it is.

        Raises:
            ConnectionClosed: there is no open connection.
        """
        client = self._client
        if client is None:
            raise ConnectionClosed("not connected", hint="call connect() first")
        client.write(raw_data.encode() if isinstance(raw_data, str) else raw_data)

    def cancel_response(self) -> None:
        """Stop the reply in progress; sent whether there is one or not."""
        self._send("response.cancel")

    def _send(self, kind: str, *, event_id: str = "", **fields: Any) -> None:
        """Send an event."""
        self.send_raw(json.dumps({"event_id": event_id or new_event_id(), "type": kind, **fields}))

    def _send_config(self, config: dict[str, Any]) -> None:
        """Send a session object, and keep it."""
        self.config = config
        self._send("session.update", session=config)

    # Receiving, on the dispatching thread.

    def _deliver(self, client: WireClient, event: Event) -> None:
        client.released.wait()
        if isinstance(event, ServerEvent):
            arrived = client.arrivals.popleft()
            if client.hushed or not client.greeted:  # who was not told that it was open is told why it is not
                return
            message = Message(event.raw)
            message.event = event
            self.last_message = message
            self._track(message, arrived)
            self._call("on_event", message)
        elif isinstance(event, Disconnected):
            self._call("on_close", *_close_status(event.info))
        client.delivered(event)

    def _call(self, name: str, *arguments: Any) -> None:
        """Run a callback; whatever it raises is logged and goes no further."""
        if self.callback is None:
            return
        try:
            getattr(self.callback, name)(*arguments)
        except SystemExit:
            log.warning(
                "%s.%s called sys.exit(), which ends no program from this thread; it was ignored",
                type(self.callback).__name__,
                name,
            )
        except BaseException:
            log.exception("%s.%s raised; the session goes on", type(self.callback).__name__, name)

    def _track(self, message: Message, arrived: float) -> None:
        """Take an event into account before it is delivered."""
        kind = message["type"]
        if kind == "session.created":
            self.session_id = message.get("session", {}).get("id")
        elif kind == "response.created":
            self.last_response_id = message.get("response", {}).get("id")
            self._reply = {"response_id": self.last_response_id, "first_text_delay": None, "first_audio_delay": None}
            self._reply_at = arrived
        elif kind in _FIRSTS and self._reply.get(_FIRSTS[kind], arrived) is None:
            self._reply[_FIRSTS[kind]] = (arrived - self._reply_at) * 1000
        elif kind == "response.done" and self._reply and self._reply not in self.metrics[-1:]:
            self.metrics.append(self._reply)

    # What is known.

    def get_session_id(self) -> str | None:
        """The server's name for the session; ``None`` before there is one."""
        return self.session_id

    def get_last_message(self) -> dict[str, Any] | None:
        """The event that is being delivered, or was last."""
        return self.last_message

    def get_last_response_id(self) -> str | None:
        """The last reply that began."""
        return self.last_response_id


def _with_model(url: str, model: str) -> str:
    """The URL with the model in its query, in place of another one there."""
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query) if pair[0] != "model"]
    return parts._replace(query=urlencode([*query, ("model", model)])).geturl()


def _close_status(info: CloseInfo) -> tuple[int, str]:
    """How a connection ended, as a close code and a reason."""
    if info.by == "client" and info.clean:
        return 1000, info.reason
    if info.code is not None:
        return info.code, info.reason
    return (1005 if info.by == "server" else 1006), info.reason


def wall_clock_ms(at: float) -> float:
    """A ``time.monotonic()`` of this process as milliseconds since 1970."""
    return (time.time() - (time.monotonic() - at)) * 1000
