"""A session from its beginning to its end, as the caller sees it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import ASRClient, OmniClient, TTSClient, TTSSettings, events
from qwen_realtime.errors import (
    ConfigError,
    ConnectionClosed,
    ConnectTimeout,
    ProtocolError,
    ServerError,
    WaitTimeout,
)
from qwen_realtime.notices import RealtimeWarning

from .peer import CLOSE, TEXT, Link, frame, greet, greet_only, polite, serve

FAULT = {"type": "invalid_request_error", "code": "invalid_value", "message": "Invalid voice", "param": "session.voice"}


class TestConnecting:
    """From the first byte to a session that is ready."""

    def test_the_session_is_there_when_it_returns(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """And nothing was sent where there are no settings."""
        peer = peers()
        client = clients(peer)
        assert client.connect() is client
        assert (client.state.value, client.session_id) == ("open", "sess_1")
        assert client.session["model"] == "qwen3-tts-flash-realtime"
        assert peer.link().events == []
        assert "sess_1" in repr(client)

    def test_settings_are_sent_and_confirmed_first(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """Keywords go over the settings object; nothing unset is sent."""
        peer = peers()
        client = clients(peer, settings=TTSSettings(voice="Cherry", volume=10), voice="Ethan").connect()
        update = peer.link().events[0]
        assert update["session"] == {"voice": "Ethan", "volume": 10}
        assert client.session["voice"] == "Ethan"

    def test_what_the_server_did_not_take_is_named(
        self, peers: Callable[..., Any], clients: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The echo is the only proof."""

        def ignores(link: Link) -> None:
            greet(link)
            link.receive_event("session.update")
            link.send("session.updated", session={"id": "sess_1", "voice": "Cherry", "mode": "server_commit"})
            link.read_on()
            link.close()

        client = clients(peers(ignores), voice="Cherry", mode="commit").connect()
        assert client.dropped_settings == ("mode",)
        assert "did not take these settings: mode" in caplog.text

    def test_a_handler_may_send_as_soon_as_it_hears(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """``connected`` comes from another thread, maybe before ``connect()`` has gone on."""

        def hasty(link: Link) -> None:
            link.accept(frame(b'{"type":"session.created","session":{}}'))
            serve(link)

        peer = peers(hasty)
        for number in range(1, 21):
            client = clients(peer)
            client.on("connected", lambda _, client=client: client.append_text("now"))
            client.connect()
            assert peer.link(number).wait_for("input_text_buffer.append")["text"] == "now"
            client.close()
            assert client.handler_errors == 0

    def test_a_server_that_never_greets_is_given_up(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """The phase is ``session``; the connection is closed, and that takes no second deadline."""

        def mute(link: Link) -> None:
            link.accept()
            while True:
                link.receive()

        client = clients(peers(mute), connect_timeout=0.3, close_timeout=10.0)
        began = time.monotonic()
        with pytest.raises(ConnectTimeout, match=r"session\.created") as caught:
            client.connect()
        assert time.monotonic() - began < 5
        assert caught.value.phase == "session"
        assert client.state.value == "closed"

    def test_a_server_that_never_confirms_is_given_up(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """It is ``session.updated`` that did not come."""
        with pytest.raises(ConnectTimeout, match=r"session\.updated"):
            clients(peers(greet_only), connect_timeout=0.3, voice="Cherry").connect()

    def test_an_error_in_place_of_the_confirmation_is_raised(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """Typed, at once, and the client is closed."""

        def refuses(link: Link) -> None:
            greet(link)
            link.receive_event("session.update")
            link.send("error", error=FAULT)
            link.read_on()
            link.close()

        client = clients(peers(refuses), voice="Cherry")
        with pytest.raises(ServerError) as caught:
            client.connect()
        error = caught.value
        assert (error.type, error.code, error.param) == ("invalid_request_error", "invalid_value", "session.voice")
        assert error.hint == "see session.voice"
        assert client.state.value == "closed"

    def test_an_error_in_place_of_the_greeting_is_raised(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """Without ``session.created``."""

        def refuses(link: Link) -> None:
            link.accept()
            link.send("error", error={"message": "ModelNotFound: no such model"})
            link.read_on()
            link.close()

        with pytest.raises(ServerError, match="check the model's name"):
            clients(peers(refuses)).connect()

    def test_a_close_in_place_of_the_confirmation_is_raised(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """With the server's code and its whole reason, however long."""
        reason = b"The free tier of the model has been exhausted. " * 5

        def refuses(link: Link) -> None:
            greet(link)
            link.close(1007, reason)
            link.read_on()

        client = clients(peers(refuses), voice="Cherry")
        with pytest.raises(ConnectionClosed, match="free tier") as caught:
            client.connect()
        assert (caught.value.code, caught.value.by) == (1007, "server")
        assert caught.value.reason == reason.decode()
        assert client.close_info.code == 1007

    def test_garbage_in_place_of_the_greeting_is_raised(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """Also to those who catch a ``ProtocolError``, which is the cause."""
        client = clients(peers(lambda link: (link.accept(), link.text("garbage"), link.read_on())))
        with pytest.raises(ProtocolError, match="not JSON") as caught:
            client.connect()
        assert isinstance(caught.value, ConnectionClosed)
        assert (caught.value.code, caught.value.by) == (1002, "client")
        assert isinstance(caught.value.__cause__, ProtocolError)

    def test_closing_from_another_thread_ends_it(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """While it waits for the session."""

        def mute(link: Link) -> None:
            link.accept()
            link.read_on()
            link.close()

        peer = peers(mute)
        client = clients(peer, connect_timeout=20.0)
        failures: list[BaseException] = []

        def connect() -> None:
            try:
                client.connect()
            except ConnectionClosed as error:
                failures.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        peer.link()
        client.close()
        thread.join(3)
        assert not thread.is_alive()
        assert failures
        assert client.wait(3).by == "client"

    def test_a_key_that_cannot_be_got_is_raised(self, peers: Callable[..., Any]) -> None:
        """The error of your callable is yours."""

        def key() -> str:
            raise PermissionError("the vault is closed")

        client = TTSClient(url=peers().url, api_key=key)
        with pytest.raises(PermissionError, match="vault"):
            client.connect()
        assert client.state.value == "closed"

    def test_what_can_be_known_before_is_raised_before(self) -> None:
        """By the constructor."""
        for options in (
            {"dispatch": "asyncio"},
            {"settings": OmniClient.settings_class()},
            {"voyce": "Cherry"},
            {"region": "us"},
            {"model": "qwen3-asr-flash-realtime"},
        ):
            with pytest.raises(ConfigError):
                TTSClient(api_key="k", **options)
        for name in ("model", "url", "workspace", "proxy", "trace", "ssl_context", "reconnect"):
            of_a_wrong_kind: dict[str, Any] = {name: 5}
            with pytest.raises(ConfigError, match=f"{name} is a .*, not a int"):
                TTSClient(api_key="k", **of_a_wrong_kind)
        with pytest.raises(ConfigError, match="'X-Tries' is a str"):
            TTSClient(api_key="k", headers={"X-Tries": 5})  # type: ignore[dict-item]
        for option in ("connect_timeout", "close_timeout", "send_timeout", "ping_interval", "max_message_bytes"):
            for value in (0, -1.0, "5", True, float("inf"), float("nan")):
                wrong: dict[str, Any] = {option: value}
                with pytest.raises(ConfigError, match=option):
                    TTSClient(api_key="k", **wrong)
        for option in ("connect_timeout", "close_timeout", "send_timeout", "ping_interval", "ping_timeout"):
            too_long: dict[str, Any] = {option: 3e6}  # the system cannot wait for so long
            with pytest.raises(ConfigError, match=f"{option} is at most"):
                TTSClient(api_key="k", **too_long)
        with pytest.raises(ConfigError, match="no API key"):
            TTSClient()
        with pytest.warns(RealtimeWarning, match="volume"):
            TTSClient(api_key="k", volume=101, strict=False)


class TestUpdating:
    """``update_session``."""

    def test_an_error_that_comes_before_it_waits_is_its_answer(
        self, peers: Callable[..., Any], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A busy machine may let the receiving thread go first."""
        told = threading.Event()

        def refuses(link: Link) -> None:
            greet(link)
            link.receive_event("session.update")
            link.send("error", error={"type": "invalid_request_error", "message": "no such voice"})
            link.read_on()
            link.close()

        client = clients(peers(refuses)).connect()
        client.tap(lambda event: event.type == "error" and told.set())
        send = client._connection.send

        def send_and_be_late(payload: bytes) -> None:
            send(payload)
            assert told.wait(5)

        monkeypatch.setattr(client._connection, "send", send_and_be_late)
        with pytest.raises(ServerError, match="no such voice"):
            client.update_session(voice="Ethan")

    def test_blocks_until_it_is_confirmed(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """The session is the new one when it returns."""
        client = clients(peers()).connect()
        client.update_session(voice="Ethan")
        assert client.session["voice"] == "Ethan"

    def test_is_checked_before_it_is_sent(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """By the model's rules, and by the session's table."""
        peer = peers()
        client = clients(peer).connect()
        with pytest.raises(ConfigError, match="volume"):
            client.update_session(volume=101)
        client.append_text("begun")
        with pytest.raises(ConfigError, match="already started"):
            client.update_session(voice="Ethan")
        client.close()
        assert peer.link().types == ["input_text_buffer.append"]

    def test_works_inside_handlers(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """Its answer comes on another thread, also when the mailbox is full."""

        def chatty(link: Link) -> None:
            greet(link)
            link.receive_event("session.update")
            for _ in range(50):
                link.send("response.text.delta", delta="x" * 1000)
            link.send("session.updated", session={"voice": "Ethan"})
            serve(link)

        client = clients(peers(chatty))
        client._dispatcher._mailbox._limit = 5000
        voices: list[str] = []
        done = threading.Event()

        def on_connected(_: events.Event) -> None:
            client.update_session(voice="Ethan")
            voices.append(client.session["voice"])
            done.set()

        client.on("connected", on_connected)
        client.connect()
        assert done.wait(5)
        assert voices == ["Ethan"]
        assert client.handler_errors == 0

    def test_an_answer_that_does_not_come_is_a_timeout(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """And the client lives on."""
        client = clients(peers(greet_only), connect_timeout=0.3)
        client.connect()
        with pytest.raises(WaitTimeout, match=r"session\.updated"):
            client.update_session(voice="Ethan")
        assert client.state.value == "open"


class TestSending:
    """``send`` takes any client event."""

    def test_typed_or_as_a_mapping(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """Ids are filled in where there are none; unknown events and fields go out as they are."""
        peer = peers()
        client = clients(peer).connect()
        client.send(events.InputTextBufferAppend(text="a"))
        client.send({"type": "input_text_buffer.append", "text": "b", "future": [1], "event_id": "mine"})
        client.send({"type": "unheard.of", "text": "é"})
        link = peer.link()
        link.wait_for("unheard.of")
        first, second, third = link.events
        assert first["event_id"].startswith("event_")
        assert len(first["event_id"]) == 38
        assert second == {"type": "input_text_buffer.append", "text": "b", "future": [1], "event_id": "mine"}
        assert third["text"] == "é"

    def test_is_taken_into_account(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """A ``session.finish`` sent by hand ends the input all the same."""
        client = clients(peers()).connect()
        client.send({"type": "session.finish"})
        with pytest.raises(ConnectionClosed, match=r"after session\.finish"):
            client.append_text("late")
        client.finish(5)

    @pytest.mark.parametrize(
        "event",
        [{}, {"type": 5}, "session.finish", events.SessionFinished(), None, {"type": "x", "a": b"\0"}],
        ids=repr,
    )
    def test_what_is_no_event_is_refused(
        self, peers: Callable[..., Any], clients: Callable[..., Any], event: Any
    ) -> None:
        """Before anything is sent."""
        with pytest.raises(ConfigError):
            clients(peers()).connect().send(event)


@pytest.mark.parametrize(
    ("last", "told", "cause"),
    [
        (frame((1011).to_bytes(2, "big") + b"throttled", CLOSE), "by the server: 1011 throttled", ConnectionClosed),
        (frame(b"\xff"), "by the client: 1002", ProtocolError),
    ],
)
def test_a_send_that_meets_the_end_says_why(
    peers: Callable[..., Any], clients: Callable[..., Any], last: bytes, told: str, cause: type[Exception]
) -> None:
    """Between the end's cause and its being known here, sending fails: not without saying why."""

    def script(link: Link) -> None:
        greet(link)
        link.receive_event("input_text_buffer.commit")
        link.raw(last)
        link.read_on()

    client = clients(peers(script)).connect()
    connection = client._connection
    ending, release = threading.Event(), threading.Event()
    real_end, real_wait = connection._on_end, connection.wait

    def held_end(info: events.CloseInfo) -> None:
        ending.set()
        release.wait(5)
        real_end(info)

    def releasing_wait(deadline: float) -> None:
        release.set()
        real_wait(deadline)

    connection._on_end, connection.wait = held_end, releasing_wait
    client.commit()
    assert ending.wait(5)
    with pytest.raises(ConnectionClosed, match=told) as caught:
        client.append_text("more")
    assert isinstance(caught.value.__cause__, cause)


class TestErrorEvents:
    """What the server complains about."""

    def test_unhandled_they_are_logged_and_the_session_goes_on(
        self, peers: Callable[..., Any], clients: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """At ERROR, with the remedy."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("input_audio_buffer.commit")
            link.send("error", error={"message": "Internal service error: null"})
            link.send("input_audio_buffer.committed")
            serve(link)

        committed = threading.Event()
        client = clients(peers(script), ASRClient).connect()
        client.on("input_audio_buffer.committed", lambda _: committed.set())
        client.commit()
        assert committed.wait(5)
        assert "the server reports: Internal service error: null (commit() is for manual mode" in caplog.text
        assert caplog.records[-1].levelno == logging.ERROR
        assert client.state.value == "open"

    def test_unhandled_they_are_raised_where_somebody_waits(
        self, peers: Callable[..., Any], clients: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """And a logger on ``"*"`` does not count as one who handles them."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("input_text_buffer.commit")
            link.send("error", error=FAULT)
            serve(link)

        client = clients(peers(script)).connect()
        client.on("*", lambda _: None)
        told = "while waiting for ResponseDone: Invalid voice"
        with pytest.raises(ServerError, match=told), client.expect("response.done", 5):
            client.commit()
        record = next(record for record in caplog.records if record.levelno == logging.ERROR)
        assert "Invalid voice" in record.getMessage()
        assert client.state.value == "open"

    def test_handled_they_are_not_raised(
        self, peers: Callable[..., Any], clients: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor logged."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("input_text_buffer.commit")
            link.send("error", error=FAULT)
            link.send("response.done", response={"id": "r"})
            serve(link)

        taken: list[Any] = []
        client = clients(peers(script)).connect()
        client.on("error", taken.append)
        with client.expect("response.done", 5) as done:
            client.commit()
        assert done.event.response.id == "r"
        assert len(taken) == 1
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_failing_handler_is_counted_and_named_and_the_session_goes_on(
    peers: Callable[..., Any], clients: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises; handlers after it run."""

    class Own(BaseException):
        pass

    def failing_handler(event: events.Event) -> None:
        raise {"session.created": ValueError("my fault"), "connected": SystemExit(3)}.get(event.type) or Own()

    seen: list[str] = []
    client = clients(peers())
    client.on("*", failing_handler)
    client.on("*", lambda event: seen.append(event.type))
    with client:
        pass
    assert seen == ["connected", "session.created", "session.finished", "disconnected"]
    assert client.handler_errors == 4
    assert "failing_handler raised on session.created" in caplog.text
    assert "ValueError: my fault" in caplog.text


def test_two_clients_know_nothing_of_each_other(peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
    """No state is shared: one ends, the other goes on."""
    peer = peers(polite)
    first, second = clients(peer).connect(), clients(peer).connect()
    first.close()
    second.append_text("still here")
    peer.link(2).wait_for("input_text_buffer.append")
    assert [each.opcode for each in peer.link(2).frames] == [TEXT]
