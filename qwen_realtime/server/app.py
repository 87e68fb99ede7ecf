"""``LocalServer``: the service's four families on one port of this machine."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .admission import PATH
from .behaviours.host import EngineSet, Options
from .fault_plan import FaultPlan, FaultSpec
from .link import Link
from .record import SessionRecord
from .session import ServerSession

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .engines import Engines

__all__ = ["LocalServer"]

_log = logging.getLogger("qwen_realtime.server")

_TLS_S = 5.0
_END_S = 5.0
_BACKLOG = 128
# The longest append that the service documents is 15 MiB of sound, 20 MiB as base64.
_MAX_MESSAGE_BYTES = 24 * 1024 * 1024


class LocalServer:
    """A local stand-in for the realtime service: TTS, ASR, Omni and LiveTranslate at ``/api-ws/v1/realtime?model=…``.

    The family is read from the model's name. Speech, recognition, translation and dialogue are small engines that run
    offline (:meth:`describe` names them); the protocol follows the recordings of the real service, but that sound comes
    in deltas of 200 ms, which lets an interruption cut closer than the service's 300. Usable in ``with``.

    Args:
        port: TCP port; 0 takes a free one.
        host: address to listen on; loopback unless you say otherwise.
        api_key: the only key to accept; ``None`` accepts any that is not empty.
        tls: serve ``wss://`` with this context.
        faults: what is to go wrong, each a fault, its name, or a mapping; see :mod:`.faults`.
        pace: how fast sound leaves: 0 as fast as it is made, 1 in real time, 2 twice as fast.
        engines: shared engines, which stay open; ``None`` makes its own at the first use and closes them.
        max_message_bytes: a longer client message closes the connection with 1009.
        max_sessions: more are refused with 429.
        session_limit_s: the service ends a session after this many seconds (120 minutes for Omni); 0 never does. The
            code is not documented: it is 1011 here.
        closes_after_finish: close after ``session.finished``, as one page says. Recordings show that the service waits
            for the client, and so does this server (10 s).
        omni_finish: whether Omni takes ``session.finish``; the real servers disagree.
        clock: the dialogue's local time; ``None`` is the computer's.

    Raises:
        ConfigError: a setting that cannot be.
        OSError: from :meth:`start`, when the port cannot be had.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        api_key: str | None = None,
        tls: ssl.SSLContext | None = None,
        faults: Iterable[FaultSpec] | FaultSpec | None = None,
        pace: float = 0.0,
        engines: Engines | EngineSet | None = None,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        max_sessions: int = 100,
        session_limit_s: float = 7200.0,
        closes_after_finish: bool = False,
        omni_finish: bool = True,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        if pace < 0 or max_sessions < 1 or session_limit_s < 0:
            raise ConfigError("pace and session_limit_s must not be negative, max_sessions must be at least 1")
        self._port = port
        self._host = host
        self._tls = tls
        self.api_key = api_key
        self.pace = pace
        self.max_sessions = max_sessions
        self.session_limit_s = session_limit_s
        self.closes_after_finish = closes_after_finish
        self.options = Options(omni_finish=omni_finish, clock=clock)
        self.plan = FaultPlan(faults or ())
        self._max_message_bytes = max_message_bytes
        self._given_engines = engines
        # Guards everything below; held for an instant, but while the engines are made, which takes milliseconds.
        self._lock = threading.Lock()
        self._own_engines: Engines | None = None
        self._listening: socket.socket | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._accepting: threading.Thread | None = None
        self._stops: dict[threading.Thread, Callable[[], None]] = {}  # how to end each connection's thread
        self._admitted: set[ServerSession] = set()
        self._connections = 0
        self._closed = False
        self.records: list[SessionRecord] = []

    # Lifetime.

    def start(self) -> Self:
        """Listen; returns at once, and again without effect.

        Raises:
            OSError: the port cannot be had.
            ConfigError: the server was closed.
        """
        with self._lock:
            if self._closed:
                raise ConfigError("a closed server is not opened again", hint="make another LocalServer")
            if self._listening is not None:
                return self
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._listening = socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
            self._port = int(self._listening.getsockname()[1])
            self._wake = socket.socketpair()
            self._accepting = threading.Thread(
                target=self._accept, args=(self._listening, self._wake[1]), name="qwen-server-accept", daemon=True
            )
            self._accepting.start()
        return self

    def close(self) -> None:
        """End all sessions (close code 1001), threads and own engines. Idempotent; from any thread but a session's.

        Bounded: a session whose client does not answer is cut off after a second.
        """
        with self._lock:
            self._closed = True
            listening, self._listening = self._listening, None
            wake, self._wake = self._wake, None
            accepting = self._accepting
        if listening is not None and wake is not None and accepting is not None:
            wake[0].send(b"x")
            accepting.join(_END_S)
            listening.close()
            for end in wake:
                end.close()
        deadline = time.monotonic() + _END_S
        with self._lock:
            stops = dict(self._stops)
        for stop in stops.values():
            stop()
        for thread in stops:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            engines, self._own_engines = self._own_engines, None
        if engines is not None:
            engines.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What users ask.

    @property
    def port(self) -> int:
        """The TCP port, also after :meth:`close`; the wanted one before :meth:`start`."""
        return self._port

    @property
    def url(self) -> str:
        """What to give to a client as ``url``."""
        if self._tls is not None and self._host in ("127.0.0.1", "::1"):
            return f"wss://localhost:{self.port}{PATH}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'wss' if self._tls is not None else 'ws'}://{host}:{self.port}{PATH}"

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        with self._lock:
            return len(self._admitted)

    @property
    def connections(self) -> int:
        """How many connections were made, refused ones included."""
        return self._connections

    @property
    def last_session(self) -> SessionRecord:
        """The record of the session that began last.

        Raises:
            LookupError: there was none.
        """
        if not self.records:
            raise LookupError("no session has begun")
        return self.records[-1]

    def describe(self) -> dict[str, str]:
        """Which engine does which job, in plain words; starts none."""
        describe: Callable[[], dict[str, str]] | None = getattr(self.engines, "describe", None)
        return describe() if describe is not None else {}

    def warm_up(self, timeout: float = 30.0) -> None:
        """Start the engines' processes, so that the first session need not wait; blocks until they are ready.

        Args:
            timeout: seconds.

        Raises:
            WaitTimeout: they were not ready in time.
            RealtimeError: an engine failed to load.
        """
        warm_up: Callable[[float], None] | None = getattr(self.engines, "warm_up", None)
        if warm_up is not None:
            warm_up(timeout)

    # What sessions use.

    @property
    def engines(self) -> EngineSet:
        """The engines; own ones are made at the first use."""
        if self._given_engines is not None:
            return self._given_engines
        from .engines import Engines

        with self._lock:
            if self._own_engines is None:
                self._own_engines = Engines()
                if self._closed:
                    self._own_engines.close()
            return self._own_engines

    @property
    def is_full(self) -> bool:
        """Whether there are as many sessions as may be."""
        return self.sessions >= self.max_sessions

    def admitted(self, session: ServerSession) -> None:
        """A session has begun; on its thread."""
        with self._lock:
            self._admitted.add(session)
            self.records.append(session.record)
            del self.records[:-1000]

    def ended(self, session: ServerSession) -> None:
        """A session's thread is about to end."""
        with self._lock:
            self._admitted.discard(session)

    # Threads.

    def _accept(self, listening: socket.socket, wake: socket.socket) -> None:
        """The thread ``qwen-server-accept``: blocks on both sockets, ends when ``wake`` can be read."""
        with selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while wake not in [key.fileobj for key, _ in selector.select()]:
                self._accept_one(listening)

    def _accept_one(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except OSError:
            return  # the client was gone before it was accepted
        with self._lock:
            self._connections += 1
            thread = threading.Thread(
                target=self._serve,
                args=(sock, self._connections),
                name=f"qwen-server-session-{self._connections}",
                daemon=True,
            )
            self._stops[thread] = partial(_shut_down, sock)
        thread.start()

    def _serve(self, sock: socket.socket, connection: int) -> None:
        """A connection's thread: TLS, then the session; see there for what it may block on."""
        try:
            if self._tls is not None:
                sock.settimeout(_TLS_S)
                sock = self._tls.wrap_socket(sock, server_side=True)
            session = ServerSession(self, Link(sock, self._max_message_bytes), connection)
            with self._lock:
                self._stops[threading.current_thread()] = session.stop
                closed = self._closed
            if closed:
                session.stop()
            session.run()
        except OSError as error:  # ssl.SSLError is one
            _log.info("connection %d failed: %s", connection, error)
            with contextlib.suppress(OSError):
                sock.close()
        finally:
            with self._lock:
                del self._stops[threading.current_thread()]


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
