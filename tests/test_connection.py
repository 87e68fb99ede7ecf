"""Pings, and closing: bounded whatever the other side does, from wherever it is asked for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import OmniClient, TTSClient, events
from qwen_realtime.errors import ConnectionClosed, WouldDeadlock
from qwen_realtime.receiver import receive

from .peer import CLOSE, PING, PONG, Link, created, frame

# What a step may take beyond its deadline: half a second by contract, and more here, for machines that are very busy.
# What would be wrong takes longer still.
SLACK_S = 3.0


def _deaf(link: Link) -> None:
    """Greet, read everything, and answer nothing."""
    link.accept()
    link.send(created())
    while True:
        link.receive()


def _talks_and_is_deaf(link: Link) -> None:
    """Greet, say something when asked for it, and answer nothing else."""
    link.accept()
    link.send(created())
    link.receive_event("input_text_buffer.append")
    link.send("response.text.delta", delta="x")
    while True:
        link.receive()


def _unreading(link: Link) -> None:
    """Greet, and never read again."""
    link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.accept()
    link.send(created())
    link.stop.wait(20)


class TestPings:
    """They are a help, not a test."""

    def test_a_silent_server_is_pinged(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """And lives as long as it answers."""
        peer = peers()
        client = clients(peer, ping_interval=0.02, ping_timeout=0.5).connect()
        peer.link().wait_for_frame(PING, 6)
        assert client.state.value == "open"

    def test_three_unanswered_pings_end_it(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """One or two never do."""
        peer = peers(_deaf)
        client = clients(peer, ping_interval=0.02, ping_timeout=0.02).connect()
        info = client.wait(5)
        assert (info.by, info.clean, info.code) == ("network", False, None)
        assert "no sign of life after 3 pings" in info.reason
        peer.link().wait_for_frame(PING, 3)
        assert sum(each.opcode == PING for each in peer.link().frames) == 3

    def test_any_frame_is_life(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """A server that sends but never answers a ping is alive."""

        def answers_otherwise(link: Link) -> None:
            link.accept()
            link.send(created())
            while True:
                if link.receive().opcode == PING:
                    link.raw(frame(b"not your pong", PONG) if len(link.frames) % 2 else frame(b"", PING))

        peer = peers(answers_otherwise)
        client = clients(peer, ping_interval=0.02, ping_timeout=0.5).connect()
        peer.link().wait_for_frame(PING, 8)
        assert client.state.value == "open"

    def test_a_part_of_a_frame_is_life_too(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """A long message over a slow line comes in parts, and no pong can come before its end."""

        def dribbles(link: Link) -> None:
            link.accept()
            link.send(created())
            message = frame(b'{"type":"session.finished","padding":"' + b"x" * 200 + b'"}')
            for byte in message[:12]:
                link.raw(bytes([byte]))
                while link.receive().opcode != PING:
                    pass
            link.raw(message[12:])
            link.read_on()

        peer = peers(dribbles)
        client = clients(peer, ping_interval=0.02, ping_timeout=0.5).connect()
        arrived = threading.Event()
        client.on("session.finished", lambda _: arrived.set())
        assert arrived.wait(5)
        assert client.state.value == "open"

    def test_without_a_ping_timeout_nothing_is_given_up(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """``ping_timeout=None`` waits for ever."""
        peer = peers(_deaf)
        client = clients(peer, ping_interval=0.01, ping_timeout=None, close_timeout=0.2).connect()
        peer.link().wait_for_frame(PING, 8)
        assert client.state.value == "open"

    def test_none_are_sent_where_none_are_wanted(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """``ping_interval=None``."""
        peer = peers()
        client = clients(peer, ping_interval=None, ping_timeout=0.01).connect()
        with pytest.raises(TimeoutError):
            client.wait(0.15)
        assert peer.link().frames == []


class TestClosing:
    """``close()``."""

    def test_a_polite_server_is_told_and_answers(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """At once, with 1000, and cleanly."""
        peer = peers()
        client = clients(peer, close_timeout=5.0).connect()
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < SLACK_S
        info = client.close_info
        assert (info.code, info.by, info.clean, info.error) == (1000, "client", True, None)
        assert peer.link().wait_for_frame(CLOSE).payload == (1000).to_bytes(2, "big")

    def test_twice_is_once(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """And ``Disconnected`` comes once."""
        ends: list[events.Event] = []
        peer = peers()
        client = clients(peer)
        client.on("disconnected", ends.append)
        client.connect()
        client.close()
        client.close()
        client.finish()
        assert len(ends) == 1
        assert sum(each.opcode == CLOSE for each in peer.link().frames) == 1

    def test_a_server_that_never_answers_is_cut(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """After ``close_timeout``; no close frame came, so there is no code."""
        client = clients(peers(_deaf), close_timeout=0.3).connect()
        began = time.monotonic()
        client.close()
        assert 0.25 < time.monotonic() - began < 0.3 + SLACK_S
        assert (client.close_info.code, client.close_info.by, client.close_info.clean) == (None, "client", True)

    def test_a_server_that_never_reads_is_cut(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """Though the close frame cannot even be sent."""
        client = clients(peers(_unreading), close_timeout=0.3, send_timeout=10.0).connect()
        blocked = threading.Event()
        failures: list[BaseException] = []

        def flood() -> None:
            try:
                for number in range(1000):
                    client.append_text("x" * 100_000)
                    if number == 5:
                        blocked.set()
            except ConnectionClosed as error:
                failures.append(error)

        thread = threading.Thread(target=flood)
        thread.start()
        assert blocked.wait(5)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 0.3 + SLACK_S
        thread.join(5)
        assert failures

    def test_sending_to_a_server_that_never_reads_ends_by_itself(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """After ``send_timeout``, and the reason is kept."""
        client = clients(peers(_unreading), send_timeout=0.2).connect()

        def flood() -> None:
            for _ in range(1000):
                client.append_text("x" * 100_000)

        with pytest.raises(ConnectionClosed, match=r"over 0\.2 s: the server does not read"):
            flood()
        info = client.wait(5)
        assert (info.by, info.clean) == ("network", False)
        assert "does not read" in info.reason
        with pytest.raises(ConnectionClosed, match="does not read"):
            client.append_text("more")

    def test_a_send_that_ctrl_c_broke_off_is_not_followed_by_another(
        self, peers: Callable[..., Any], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A part of its frame may be out, and whatever came next would be read as the rest of it."""
        client = clients(peers(_unreading)).connect()

        def interrupted(*_: object) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("qwen_realtime.sockets.wait_for", interrupted)
            with pytest.raises(KeyboardInterrupt):
                client.append_text("x" * 20_000_000)
        with pytest.raises(ConnectionClosed, match="a send was broken off"):
            client.append_text("more")
        assert client.wait(5).by == "network"

    def test_a_writer_that_does_not_let_go_keeps_nobody_waiting(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """Whatever has become of it, other sessions go on."""
        peer = peers()
        client, other = clients(peer, close_timeout=0.2).connect(), clients(peer).connect()
        client._connection._transport._write_lock.acquire()
        client.close()
        other.finish(5)
        assert client.wait(5).by == "client"

    def test_in_a_tap_it_only_begins(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """The receiving thread is that of all sessions; the other side has ``close_timeout`` for its answer."""
        other = clients(peers()).connect()
        client = clients(peers(_talks_and_is_deaf), close_timeout=0.3)
        took: list[float] = []

        def close(event: events.Event) -> None:
            if event.type != "response.text.delta":
                return
            began = time.monotonic()
            client.close()
            took.append(time.monotonic() - began)

        client.tap(close)
        client.connect().append_text("go")
        other.update_session(voice="Ethan")
        info = client.wait(5)
        assert (info.by, info.clean) == ("client", True)
        assert took[0] < 0.2

    @pytest.mark.parametrize(
        "call", [lambda client: client.finish(), lambda client: client.wait(), lambda client: client.update_session()]
    )
    def test_what_waits_is_refused_in_a_tap(
        self, peers: Callable[..., Any], clients: Callable[..., Any], call: Callable[[Any], object]
    ) -> None:
        """It would wait for the thread that it stops, and with it all sessions."""
        client = clients(peers(_talks_and_is_deaf), close_timeout=0.3)
        told: list[str] = []

        def wait(event: events.Event) -> None:
            if event.type == "response.text.delta":
                with pytest.raises(WouldDeadlock) as refusal:
                    call(client)
                told.append(str(refusal.value))

        client.tap(wait)
        client.connect()
        with client.expect("response.text.delta", 5):
            client.append_text("go")
        assert "inside a tap" in told[0]

    def test_many_threads_at_once(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """All return when it is closed, and it is closed once."""
        ends: list[events.Event] = []
        client = clients(peers(_deaf), close_timeout=0.3)
        client.on("disconnected", ends.append)
        client.connect()
        go = threading.Barrier(6)
        states: list[str] = []

        def close() -> None:
            go.wait(5)
            client.close()
            states.append(client.state.value)

        threads = [threading.Thread(target=close) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3)
        assert states == ["closed"] * 6
        assert len(ends) == 1

    @pytest.mark.parametrize("answers", [True, False], ids=["answered", "unanswered"])
    def test_inside_a_handler_it_only_begins(
        self, peers: Callable[..., Any], clients: Callable[..., Any], answers: bool
    ) -> None:
        """The handler goes on; the end comes after it, also from a server that never answers, with nobody waiting."""
        ended = threading.Event()
        times: list[float] = []

        def script(link: Link) -> None:
            link.accept()
            link.send(created())
            while link.receive().opcode != CLOSE or not answers:
                pass
            link.close()

        client = clients(peers(script), close_timeout=0.3)

        def on_connected(_: events.Event) -> None:
            began = time.monotonic()
            client.close()
            client.close()
            times.append(time.monotonic() - began)

        connected = threading.Event()
        client.on("session.updated", on_connected)
        client.on("disconnected", lambda _: ended.set())
        client.connect()
        connected.set()
        client._dispatcher.put(events.SessionUpdated(), 0)
        assert ended.wait(0.3 + 2 * SLACK_S)
        assert times[0] < SLACK_S
        assert client.wait(1).by == "client"
        assert client.handler_errors == 0

    def test_during_a_flood(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """What has arrived is delivered, in order, and then the end."""

        def floods(link: Link) -> None:
            link.accept()
            link.send(created())
            number = 0
            while not link.stop.is_set():
                link.send("response.text.delta", delta=str(number))
                number += 1

        seen: list[Any] = []
        many = threading.Event()

        def take(event: events.Event) -> None:
            seen.append(event)
            if len(seen) > 500:
                many.set()

        client = clients(peers(floods), close_timeout=0.5)
        client.on("*", take)
        client.connect()
        assert many.wait(5)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 0.5 + SLACK_S
        assert isinstance(seen[-1], events.Disconnected)
        numbers = [int(event.delta) for event in seen if isinstance(event, events.ResponseTextDelta)]
        assert numbers == list(range(len(numbers)))

    def test_with_a_mailbox_that_is_full(
        self, peers: Callable[..., Any], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The receiving thread waits for room, and is let go."""
        release, running = threading.Event(), threading.Event()

        def floods(link: Link) -> None:
            link.accept()
            link.send(created())
            for _ in range(50):
                link.send("response.text.delta", delta="x" * 1000)
            link.read_on()
            link.close()

        client = clients(peers(floods), close_timeout=1.0)
        client._dispatcher._mailbox._limit = 5000

        def slow(_: events.Event) -> None:
            running.set()
            release.wait(5)

        client.once("response.text.delta", slow)
        client.connect()
        assert running.wait(5)
        closing = threading.Thread(target=client.close)
        closing.start()
        with client._changed:
            assert client._changed.wait_for(lambda: client.close_info is not None, 3), "the reader could not end"
        release.set()
        closing.join(3)
        assert client.close_info.clean

    def test_a_stuck_handler_does_not_hold_it_up(
        self, peers: Callable[..., Any], clients: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """``close()`` keeps its deadline, says so, and delivers the end only, later."""
        release, running = threading.Event(), threading.Event()
        seen: list[str] = []

        def script(link: Link) -> None:
            link.accept()
            link.send(created())
            for _ in range(3):
                link.send("response.text.delta", delta="x")
            link.read_on()
            link.close()

        def stuck(event: events.Event) -> None:
            seen.append(event.type)
            running.set()
            release.wait(10)

        client = clients(peers(script), close_timeout=0.3)
        client.on("response.text.delta", stuck)
        client.on("disconnected", lambda event: seen.append(event.type))
        client.connect()
        assert running.wait(5)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 0.3 + SLACK_S
        assert "a handler is still running" in caplog.text
        release.set()
        client.wait(5)
        assert seen == ["response.text.delta", "disconnected"]


class TestWithoutAConnection:
    """Before ``connect()``, and after the end."""

    @pytest.mark.parametrize("dispatch", ["thread", "manual"])
    def test_a_client_that_was_never_connected_closes(self, tmp_path: Any, dispatch: Any) -> None:
        """And gives back its trace file and its descriptor."""
        client = TTSClient(api_key="k", dispatch=dispatch, trace=tmp_path / "trace.jsonl")
        client.close()
        client.close()
        assert client.state.value == "closed"
        with pytest.raises(ConnectionClosed, match="cannot be connected again"):
            client.connect()

    @pytest.mark.parametrize("dispatch", ["thread", "manual"])
    def test_one_that_could_not_connect_gives_everything_back(
        self, peers: Callable[..., Any], tmp_path: Any, dispatch: Any
    ) -> None:
        """Nothing is left for the garbage collector, and waiting for the end does not wait."""
        peer = peers(lambda link: link.answer("401 Unauthorized"))
        client = TTSClient(url=peer.url, api_key="k", dispatch=dispatch, trace=tmp_path / "trace.jsonl")
        with pytest.raises(ConnectionError):
            client.connect()
        assert client.wait(1).by == "client"
        client.close()

    def test_calls_before_connecting_say_what_to_do(self) -> None:
        """Each verb, and each wait."""
        client = OmniClient(api_key="k")
        for call in (
            client.commit,
            client.create_response,
            client.finish,
            client.wait,
            lambda: client.append_audio(bytes(2)),
            lambda: client.update_session(voice="Tina"),
            lambda: client.send({"type": "session.finish"}),
        ):
            with pytest.raises(ConnectionClosed, match=r"not connected .*connect\(\)"):
                call()
        assert client.cancel_response() is False
        client.close()

    def test_calls_after_the_end_say_why(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """Who closed, and that a closed client stays closed."""
        client = clients(peers()).connect()
        client.close()
        for call in (client.commit, client.connect, lambda: client.send({"type": "session.finish"})):
            with pytest.raises(ConnectionClosed):
                call()
        with pytest.raises(ConnectionClosed, match=r"closed by the client: 1000 .*make a new one"):
            client.append_text("more")

    def test_connecting_twice_is_refused(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """One object is one connection."""
        client = clients(peers()).connect()
        with pytest.raises(ConnectionClosed, match="is open and cannot be connected again"):
            client.connect()
        assert client.state.value == "open"

    @pytest.mark.parametrize("looked_after", [False, True], ids=["before it is received from", "after"])
    def test_ctrl_c_while_connecting_ends_it_at_once(
        self,
        peers: Callable[..., Any],
        clients: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
        looked_after: bool,
    ) -> None:
        """Wherever it comes, also just before the receiving thread has the connection; it is raised, nothing else."""

        def interrupted(source: Any) -> None:
            if looked_after:
                receive(source)
            raise KeyboardInterrupt

        monkeypatch.setattr("qwen_realtime.connection.receive", interrupted)
        ends: list[Any] = []
        client = clients(peers())
        client.on("disconnected", ends.append)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.connect()
        assert time.monotonic() - began < 1.0 + SLACK_S
        assert [(end.info.by, end.info.clean) for end in ends] == [("client", True)]
        assert client.state.value == "closed"

    @pytest.mark.parametrize("where", ["dispatch.Dispatcher.start", "session.Connection"])
    def test_ctrl_c_before_there_is_a_connection_gives_everything_back(
        self, peers: Callable[..., Any], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        """Between the handshake and the first event, when the dispatching thread has been started or has not."""

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(f"qwen_realtime.{where}", interrupted)
        client = clients(peers())
        with pytest.raises(KeyboardInterrupt):
            client.connect()
        assert client.state.value == "closed"
        assert isinstance(client.close_info.error, KeyboardInterrupt)
