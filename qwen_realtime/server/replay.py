"""``ReplayServer``: a recorded session as a server, so that a bug report becomes a test.

A client that sends what was sent gets what was answered, in the same order: each answer waits until the client has sent
as much of everything as it had sent when that answer came. How sound is cut into messages does not matter, only how
much of it there was.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from ..errors import ConfigError
from ..recording import Line, Recording, read_trace
from .admission import PATH

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["ReplayServer"]

_APPEND = "input_audio_buffer.append"
_SLICE_S = 0.1
_END_S = 5.0
_decode = msgspec.json.Decoder().decode


class ReplayServer:
    """Serves a trace on the loopback interface. Usable in ``with``.

    The first connection gets the first recorded session, and so on; those after the last one get the last one again.
    Any key and model are accepted.

    Args:
        trace: the path of a trace, or one that was read.
        port: TCP port; 0 takes a free one.
        pace: 1 keeps the recorded times between answers, 2 is twice as fast, 0 sends them as soon as they are due.
        patience: seconds to wait for what the client had sent by then; after that it has diverged.

    Raises:
        ConfigError: the trace cannot be read, or has no session.
        OSError: from :meth:`start`, when the port cannot be had.
    """

    def __init__(
        self,
        trace: str | os.PathLike[str] | Recording,
        *,
        port: int = 0,
        pace: float = 0.0,
        patience: float = 10.0,
    ) -> None:
        self._recording = trace if isinstance(trace, Recording) else read_trace(trace)
        self._scripts = _sessions(self._recording.lines)
        if not self._scripts:
            raise ConfigError(f"{self._recording.path} has no session", hint="nothing was received when it was made")
        self._wanted_port = port
        self._pace = pace
        self._patience = patience
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()  # set by close(); sessions look at it ten times a second
        # Guards the three below; each end of a session notifies it.
        self._changed = threading.Condition()
        self._begun = 0
        self._open = 0
        self.outcomes: list[str] = []

    @property
    def sessions(self) -> int:
        """How many sessions were recorded."""
        return len(self._scripts)

    @property
    def model(self) -> str:
        """The model of the first session, as the server named it."""
        for line in self._scripts[0]:
            session = line.event.get("session")
            if isinstance(session, dict) and session.get("model"):
                return str(session["model"])
        return ""

    @property
    def port(self) -> int:
        """The TCP port; the wanted one before :meth:`start`."""
        return int(self._server.socket.getsockname()[1]) if self._server else self._wanted_port

    @property
    def url(self) -> str:
        """What to give to a client as ``url``."""
        return f"ws://127.0.0.1:{self.port}{PATH}"

    def start(self) -> Self:
        """Listen; returns at once.

        Raises:
            OSError: the port cannot be had.
        """
        sock = socket.create_server(("127.0.0.1", self._wanted_port))
        self._server = serve(
            self._serve, sock=sock, max_size=None, compression=None, close_timeout=1, ping_interval=None
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="qwen-replay", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """End all sessions; blocks for a moment. Idempotent."""
        self._stop.set()
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.shutdown()
            self._thread.join(_END_S)
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0, _END_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_for_outcome(self, number: int = 0, timeout: float | None = None) -> str | None:
        """Wait until so many sessions and one more have ended.

        Args:
            number: of the session, from 0, in the order in which they end.
            timeout: seconds.

        Returns:
            Where the client did otherwise than recorded; empty if it did not; ``None`` if the session goes on.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self.outcomes) > number, timeout)
            return self.outcomes[number] if len(self.outcomes) > number else None

    def _serve(self, connection: ServerConnection) -> None:
        """One connection's thread, which ``websockets`` starts; blocks on the client, a tenth of a second at a time."""
        with self._changed:
            number = min(self._begun, len(self._scripts) - 1)
            self._begun += 1
            self._open += 1
        with contextlib.suppress(OSError):
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = _Session(connection, self._recording, self._scripts[number], self._stop, self._pace, self._patience)
        outcome = "it failed; see the log"
        try:
            outcome = session.run(hang_up=number < len(self._scripts) - 1)
        finally:
            with self._changed:
                self._open -= 1
                self.outcomes.append(outcome)
                self._changed.notify_all()


def _sessions(lines: list[Line]) -> list[list[Line]]:
    """The lines of each session: another begins where the server says so again."""
    sessions: list[list[Line]] = []
    for line in lines:
        if line.direction not in ("client", "server"):
            continue
        created = line.direction == "server" and line.type == "session.created"
        if not sessions or (created and any(each.type == "session.created" for each in sessions[-1])):
            sessions.append([])
        sessions[-1].append(line)
    return sessions


class _Session:
    """One connection; its thread's only."""

    def __init__(
        self,
        connection: ServerConnection,
        recording: Recording,
        lines: list[Line],
        stop: threading.Event,
        pace: float,
        patience: float,
    ) -> None:
        self._connection = connection
        self._recording = recording
        self._lines = lines
        self._stop = stop
        self._pace = pace
        self._patience = patience
        self._due: Counter[str] = Counter()  # what the client had sent by now, when it was recorded
        self._sent: Counter[str] = Counter()  # what it has sent; sound by the byte
        self._recorded_ids: dict[str, tuple[str, int]] = {}
        self._ids: dict[tuple[str, int], str] = {}

    def run(self, *, hang_up: bool) -> str:
        """Play the part of the server; where the client did otherwise."""
        answered_at = self._lines[0].t
        done = 0  # lines dealt with
        try:
            for done, line in enumerate(self._lines):
                if line.direction == "client":
                    self._expect(line)
                    continue
                if self._pace:
                    self._read_on((line.t - answered_at) / self._pace)
                answered_at = line.t
                missing = self._await_client()
                if missing:
                    told = f"before {line.type or 'a message'} (line {done + 1} of {len(self._lines)}): {missing}"
                    self._connection.send(self._divergence(told))
                    self._connection.close(1008, "diverged")
                    return told
                self._connection.send(self._message(line), text=True)
            done = len(self._lines)
            if hang_up:
                self._connection.close(1011, "as recorded")
            while not self._stop.is_set():
                self._read(_SLICE_S)
        except ConnectionClosed:
            return self._left(done)
        self._connection.close(1001, "the server is closing")
        return self._left(done)

    def _left(self, done: int) -> str:
        rest = [line.type for line in self._lines[done:] if line.direction == "server"]
        return f"it ended before {rest[0]} and {len(rest) - 1} more" if rest else ""

    def _expect(self, line: Line) -> None:
        kind = line.type
        self._due[kind] += len(self._recording.sound(line.event)) if kind == _APPEND else 1
        event_id = line.event.get("event_id")
        if isinstance(event_id, str):
            self._recorded_ids[event_id] = (kind, self._due[kind])

    def _await_client(self) -> str:
        """Wait until the client has sent what is due; what is missing, where it does not."""
        deadline = time.monotonic() + self._patience
        while missing := self._due - self._sent:
            before = self._sent.total()
            self._read(_SLICE_S)
            if self._sent.total() > before:
                deadline = time.monotonic() + self._patience
            elif time.monotonic() > deadline or self._stop.is_set():
                parts = [f"{count} {'bytes of ' if kind == _APPEND else '× '}{kind}" for kind, count in missing.items()]
                return f"the client has not sent {', '.join(parts)}"
        return ""

    def _read_on(self, seconds: float) -> None:
        """Read for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            self._read(min(left, _SLICE_S))

    def _read(self, timeout: float) -> None:
        """Read and count a message, if one comes in time."""
        try:
            message = self._connection.recv(timeout=timeout, decode=False)
        except TimeoutError:
            return
        try:
            event = _decode(message)
        except msgspec.DecodeError:
            return
        if not isinstance(event, dict):
            return
        kind = str(event.get("type") or "")
        self._sent[kind] += len(self._recording.sound(event)) if kind == _APPEND else 1
        if kind != _APPEND:
            self._ids[kind, self._sent[kind]] = str(event.get("event_id") or "")

    def _message(self, line: Line) -> bytes:
        """An answer; an error names this client's event, not the recorded one's."""
        detail = line.event.get("error")
        if isinstance(detail, dict) and detail.get("event_id") in self._recorded_ids:
            new = self._ids.get(self._recorded_ids[detail["event_id"]])
            event: dict[str, Any] = {**line.event, "error": {**detail, "event_id": new}}
            return msgspec.json.encode(event)
        return self._recording.payload(line)

    def _divergence(self, told: str) -> str:
        error = {"type": "invalid_request_error", "code": "replay_diverged", "message": f"replay: {told}"}
        return msgspec.json.encode({"type": "error", "event_id": "event_replay", "error": error}).decode()
