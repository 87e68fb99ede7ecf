"""When another try is made, when it is given up, and what is called while there is no session."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import OmniClient, ReconnectPolicy, TTSClient
from qwen_realtime.errors import (
    AuthenticationError,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    HandshakeError,
    ProtocolError,
    RateLimitError,
    ServerError,
)
from qwen_realtime.events import CloseInfo
from qwen_realtime.receiver import receive

from ..peer import CLOSE, PING, PONG, Link, Peer, created, frame, polite, serve
from ..proxy import Proxy
from .speech import coded_voice, sentence, spoken_sentences
from .tools import AT_ONCE, Log, in_turn


class TestPolicy:
    """When to try, and how long to wait."""

    def test_waits_double_up_to_a_limit_and_vary(self) -> None:
        """No two clients come back in step, and none before half its wait."""
        policy = ReconnectPolicy(first_delay=1.0, max_delay=6.0, jitter=0.5)
        for attempt, longest in enumerate([1.0, 2.0, 4.0, 6.0, 6.0], 1):
            waits = {policy.delay(attempt) for _ in range(50)}
            assert len(waits) > 10
            assert longest / 2 <= min(waits)
            assert max(waits) <= longest

    def test_a_servers_word_is_kept(self) -> None:
        """``retry_after`` is the least, even over ``max_delay``."""
        policy = ReconnectPolicy(first_delay=0.1, max_delay=1.0)
        waits = [policy.delay(1, RateLimitError("busy", retry_after=7.0)) for _ in range(50)]
        assert min(waits) >= 7.0
        assert max(waits) <= 7.1

    @pytest.mark.parametrize(
        ("cause", "again"),
        [
            (AuthenticationError("no", status=401), False),
            (AuthenticationError("no", status=403), False),
            (HandshakeError("no", status=404), False),
            (HandshakeError("moved", status=302), False),
            (HandshakeError("overloaded", status=503), True),
            (RateLimitError("busy"), True),
            (ConfigError("no key"), False),
            (ServerError("Invalid voice", type="invalid_request_error", code="invalid_value"), False),
            (ServerError("busy", code="Throttling.RateQuota"), True),
            (ServerError("oops", type="server_error", code="InternalError"), True),
            (ProtocolError("not JSON"), False),
            (ConnectError("no route", phase="tcp"), True),
            (ConnectTimeout("slow", phase="tls"), True),
            (ConnectionClosed("cut", by="network"), True),
            (ConnectionClosed("policy", code=1008, by="server"), False),
            (OSError("whatever"), True),
            (None, True),
        ],
    )
    def test_a_try_is_made_where_it_can_help(self, cause: BaseException | None, again: bool) -> None:
        """Never after a refused key or a refused setting."""
        assert ReconnectPolicy.may_retry(cause) is again

    @pytest.mark.parametrize(
        ("info", "again"),
        [
            (CloseInfo(by="client", code=1000, clean=True), False),
            (CloseInfo(by="client", code=1002), False),
            (CloseInfo(by="network"), True),
            (CloseInfo(by="server", code=1000, clean=True), True),
            (CloseInfo(by="server", code=1011), True),
            (CloseInfo(by="server", code=1001), True),
            (CloseInfo(by="server", code=1007), False),
            (CloseInfo(by="server", code=1008), False),
            (CloseInfo(by="server", code=1009), False),
        ],
    )
    def test_an_end_of_our_own_is_an_end(self, info: CloseInfo, again: bool) -> None:
        """And so is one for what we sent."""
        assert ReconnectPolicy.broke(info) is again

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_attempts": 0},
            {"first_delay": -1},
            {"first_delay": 2, "max_delay": 1},
            {"jitter": 2},
            {"keep_audio_s": 0},
            {"keep_audio_s": float("inf")},
            {"max_delay": float("nan")},
            {"max_delay": float("inf")},
        ],
    )
    def test_nonsense_is_refused(self, wrong: dict[str, Any]) -> None:
        """When the policy is made, not when the connection breaks."""
        with pytest.raises(ConfigError):
            ReconnectPolicy(**wrong)


def greets_then_cuts(link: Link) -> None:
    """A server that drops whoever it has greeted."""
    link.accept()
    link.send(created())
    link.cut()


def until_cut(link: Link) -> None:
    """Polite until the first text, then gone."""
    link.accept()
    link.send(created())
    link.receive_event("input_text_buffer.append")
    link.cut()


class TestGivingUp:
    """Where another try is of no use, or has been made often enough."""

    def test_a_key_that_is_refused_now_ends_it(self, peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
        """One try, and the error that says so."""
        peer = peers(in_turn(until_cut, lambda link: link.answer("401 Unauthorized", b"expired")))
        client = clients(peer, reconnect=AT_ONCE)
        log = Log(client)
        client.connect()
        client.append_text("Hello.")
        info = client.wait(10)
        assert isinstance(info.error, AuthenticationError)
        assert not info.clean
        assert log.names == ["connected", "reconnecting", "disconnected"]

    def test_settings_that_are_refused_now_end_it(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """And the error is not given to the user's error handlers as if the session had one."""

        def picky(link: Link) -> None:
            link.accept()
            link.send(created())
            link.receive_event("session.update")
            link.send("error", error={"type": "invalid_request_error", "code": "invalid_value", "message": "Voice?"})
            link.read_on()
            link.close()

        def settles(link: Link) -> None:
            link.accept()
            link.send(created())
            link.receive_event("session.update")
            link.send("session.updated", session={**created()["session"], "voice": "Cherry"})
            link.receive_event("input_text_buffer.append")
            link.cut()

        client = clients(peers(in_turn(settles, picky)), reconnect=AT_ONCE, voice="Cherry")
        log = Log(client)
        reported: list[Any] = []
        client.on("error", reported.append)
        client.connect()
        client.append_text("Hello.")
        info = client.wait(10)
        assert isinstance(info.error, ServerError)
        assert log.names == ["connected", "reconnecting", "disconnected"]
        assert reported == []

    def test_a_close_for_what_we_sent_ends_it(self, peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
        """1007 is what a refused second update, a flood and a used-up quota get."""

        def offended(link: Link) -> None:
            link.accept()
            link.send(created())
            link.receive_event("input_text_buffer.append")
            link.close(1007, b"quota")

        client = clients(peers(offended), reconnect=AT_ONCE)
        log = Log(client)
        client.connect()
        client.append_text("Hello.")
        assert client.wait(10).code == 1007
        assert log.names[-1] == "disconnected"
        assert "reconnecting" not in log.names

    def test_a_server_that_accepts_and_drops_is_a_failure(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """A session that did nothing does not start the counting over."""
        policy = ReconnectPolicy(first_delay=0.01, max_delay=0.02, max_attempts=4)
        client = clients(peers(in_turn(until_cut, greets_then_cuts)), reconnect=policy)
        log = Log(client)
        client.connect()
        client.append_text("Hello.")
        info = client.wait(10)
        assert info.by == "network"
        assert [event.attempt for event in log.of("reconnecting")] == [1, 2, 3, 4]
        assert log.names[-1] == "disconnected"
        assert log.names.count("disconnected") == 1

    def test_a_session_that_worked_starts_the_counting_over(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """Six breaks with a sentence between them are six first tries."""

        def one_sentence(link: Link) -> None:
            link.accept()
            link.send(created())
            link.receive_event("input_text_buffer.append")
            link.send("response.created", response={"id": "r"})
            link.send("response.audio.delta", response_id="r", delta="AAAA")
            link.send("response.done", response={"id": "r"})
            link.cut()

        policy = ReconnectPolicy(first_delay=0.01, max_delay=0.02, max_attempts=2)
        client = clients(peers(in_turn(*[one_sentence] * 6, polite)), reconnect=policy)
        log = Log(client)
        client.connect()
        for number in range(6):
            with client.expect("response.done", 10):
                client.append_text(sentence(number))
            log.wait_for("reconnected", number + 1)
        assert {event.attempt for event in log.of("reconnecting")} == {1}
        client.close()

    def test_a_rate_limit_is_waited_for(self, peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
        """As the HTTP header says; and an error event of that kind is a reason to wait as well."""

        def throttled(link: Link) -> None:
            link.accept()
            link.send("error", error={"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"})
            link.close(1011, b"To many requests.")

        refused = lambda link: link.answer("429 Too Many Requests", b"", Retry_After="0.4")  # noqa: E731
        client = clients(peers(in_turn(until_cut, refused, throttled, polite)), reconnect=AT_ONCE)
        log = Log(client)
        client.connect()
        client.append_text("Hello.")
        log.wait_for("reconnected")
        first, second, third = log.of("reconnecting")
        assert first.delay < 0.1
        assert second.delay >= 0.4
        assert third.delay < 0.1
        client.close()

    @pytest.mark.parametrize("error", [LookupError("the vault is shut"), SystemExit("the vault is shut")], ids=repr)
    def test_a_key_that_cannot_be_had_is_a_failed_try(self, peers: Callable[..., Peer], error: BaseException) -> None:
        """Whatever the user's callable raises, the client comes to its end and says so."""
        asked: list[int] = []

        def key() -> str:
            asked.append(1)
            if len(asked) > 1:
                raise error
            return "secret"

        policy = ReconnectPolicy(first_delay=0.01, max_delay=0.02, max_attempts=3)
        client = TTSClient(url=peers(until_cut).url, api_key=key, reconnect=policy)
        log = Log(client)
        client.connect()
        client.append_text("Hello.")
        info = client.wait(10)
        assert info.error is error
        assert log.names.count("disconnected") == 1

    def test_without_a_thread_to_come_back_on_it_ends(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A system has only so many."""
        start = threading.Thread.start

        def refused(thread: threading.Thread) -> None:
            if thread.name == "qwen-reconnect":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refused)
        client = clients(peers(until_cut), reconnect=AT_ONCE)
        log = Log(client)
        client.connect()
        client.append_text("Hello.")
        assert client.wait(5).by == "network"
        assert log.names == ["connected", "disconnected"]

    @pytest.mark.parametrize("where", ["thread", "handler"])
    def test_close_ends_the_waiting(self, peers: Callable[..., Peer], clients: Callable[..., Any], where: str) -> None:
        """A wait of a minute is over at once."""
        policy = ReconnectPolicy(first_delay=60.0, max_delay=60.0, jitter=0.0)
        client = clients(peers(until_cut), reconnect=policy)
        log = Log(client)
        client.connect()
        if where == "handler":
            client.on("reconnecting", lambda _: client.close())
        client.append_text("Hello.")
        log.wait_for("reconnecting")
        began = time.monotonic()
        client.close()
        info = client.wait(5)
        assert time.monotonic() - began < 2.5
        assert (info.by, info.clean) == ("client", True)
        assert log.names.count("disconnected") == 1

    def test_close_ends_a_try_that_gets_no_answer(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """Also where the server accepts and never greets."""

        def mute(link: Link) -> None:
            link.accept()
            link.read_on()

        peer = peers(in_turn(until_cut, mute))
        client = clients(peer, reconnect=AT_ONCE, connect_timeout=30.0)
        log = Log(client)
        client.connect()
        client.append_text("Hello.")
        peer.link(2)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 2.5
        assert log.names.count("disconnected") == 1
        assert client.wait(5).by == "client"

    def test_after_the_end_of_the_session_nothing_is_tried(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """A server that hangs up after ``session.finished`` is done with us."""

        def hangs_up(link: Link) -> None:
            link.accept()
            link.send(created())
            link.receive_event("session.finish")
            link.send("session.finished")
            link.close(1000)
            link.cut()

        client = clients(peers(hangs_up), reconnect=AT_ONCE)
        log = Log(client)
        client.connect()
        client.finish(5)
        assert log.names == ["connected", "disconnected"]
        assert client.close_info.clean


class TestRollOver:
    """A session makes room for a new one before the service ends it, and nobody notices."""

    def test_between_turns_and_not_within_one(self, peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
        """Every sentence is spoken once; it is no break, so nothing is said about one."""
        peer = peers(coded_voice)
        policy = ReconnectPolicy(rollover_after_s=0.2)
        client = clients(peer, reconnect=policy, mode="commit", ping_interval=0.05)
        log = Log(client)
        audio = bytearray()
        client.on("response.audio.delta", lambda event: audio.extend(event.delta))
        client.connect()
        for number in range(6):
            with client.expect("response.done", 10):
                client.append_text(sentence(number))
                client.commit()
            threading.Event().wait(0.1)
        client.finish(10)
        assert spoken_sentences(bytes(audio)) == [(number, 1200) for number in range(6)]
        assert len(log.of("reconnected")) >= 2
        assert "reconnecting" not in log.names
        assert log.names.count("disconnected") == 1
        assert all(frame.opcode == 8 for frame in peer.link(1).frames[-1:]), "it was closed in order"

    def test_an_old_peer_that_does_not_answer_the_close(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """It is given up after ``close_timeout``."""

        def stubborn(link: Link) -> None:
            link.accept()
            link.send(created())
            while (received := link.receive()).opcode != CLOSE:
                if received.opcode == PING:
                    link.raw(frame(received.payload, PONG))
            link.stop.wait(10)

        policy = ReconnectPolicy(rollover_after_s=0.1)
        client = clients(peers(in_turn(stubborn, polite)), reconnect=policy, ping_interval=0.05, close_timeout=0.4)
        log = Log(client)
        client.connect()
        log.wait_for("reconnected")
        client.close()
        assert "reconnecting" not in log.names


class TestMeanwhile:
    """What is called while there is no session."""

    def test_finish_during_a_break(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], through: Callable[..., Proxy]
    ) -> None:
        """It waits for the new session and ends that one."""
        peer = peers(coded_voice)
        proxy = through(peer.url)
        client = clients(proxy, reconnect=ReconnectPolicy(first_delay=0.3, max_delay=0.3, jitter=0))
        log = Log(client)
        audio = bytearray()
        client.on("response.audio.delta", lambda event: audio.extend(event.delta))
        client.connect()
        proxy.cut()
        log.wait_for("reconnecting")
        client.append_text(sentence(7))
        client.finish(10)
        assert spoken_sentences(bytes(audio)) == [(7, 1200)]
        assert peer.link(2).types == ["input_text_buffer.append", "session.finish"]
        assert client.close_info.clean

    def test_settings_are_changed_in_the_new_session(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], through: Callable[..., Proxy]
    ) -> None:
        """``update_session`` waits for it, and the session after that has them too."""
        peer = peers(polite)
        proxy = through(peer.url)
        policy = ReconnectPolicy(first_delay=0.2, max_delay=0.2, jitter=0)
        client = clients(proxy, OmniClient, reconnect=policy, voice="Tina")
        log = Log(client)
        client.connect()
        proxy.cut()
        log.wait_for("reconnecting")
        client.update_session(instructions="Be brief.")
        assert client.session["instructions"] == "Be brief."
        proxy.cut()
        log.wait_for("reconnected", 2)
        assert peer.link(3).wait_for("session.update")["session"]["instructions"] == "Be brief."
        assert peer.link(3).wait_for("session.update")["session"]["voice"] == "Tina"
        client.close()

    def test_settings_changed_before_the_new_session_has_its_own_come_after_them(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The recovery tells a new session all settings so far, which must not undo newer ones."""
        connected, asked = threading.Semaphore(0), threading.Event()

        def start(source: Any) -> None:
            receive(source)
            connected.release()

        def late(link: Link) -> None:
            link.accept()
            assert asked.wait(5)
            link.send(created())
            serve(link)

        monkeypatch.setattr("qwen_realtime.connection.receive", start)
        peer = peers(in_turn(polite, late))
        client = clients(peer, OmniClient, reconnect=AT_ONCE, voice="Tina").connect()
        peer.link().cut()
        assert all(connected.acquire(timeout=5) for _ in range(2))
        refuse = client._refuse_update

        def refuse_and_tell() -> None:
            try:
                refuse()
            finally:
                asked.set()

        monkeypatch.setattr(client, "_refuse_update", refuse_and_tell)
        client.update_session(instructions="Be brief.")
        client.update_session(voice="Ethan")
        sent = [event["session"] for event in peer.link(2).events if event["type"] == "session.update"]
        assert [session.get("instructions") for session in sent] == [None, "Be brief.", None]
        assert [session.get("voice") for session in sent] == ["Tina", None, "Ethan"]
        client.close()

    def test_a_handler_of_the_first_event_may_send(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """Also with a policy, what is sent before ``connect()`` returns goes to the first session."""
        peer = peers(polite)
        client = clients(peer, reconnect=AT_ONCE)
        client.on("connected", lambda _: client.append_text("now"))
        client.connect()
        assert peer.link(1).wait_for("input_text_buffer.append")["text"] == "now"
        client.close()
