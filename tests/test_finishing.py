"""How a session ends when it is finished, and not merely closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import OmniClient, events
from qwen_realtime import session as session_module
from qwen_realtime.errors import ConnectionClosed, ServerError, WaitTimeout

from .peer import CLOSE, PING, PONG, Link, frame, greet, greet_only


class TestFinishing:
    """``finish()`` and the ``with`` statement."""

    @pytest.mark.parametrize("closes", [True, False], ids=["server closes", "client closes"])
    def test_it_is_clean_whoever_closes_after_session_finished(
        self, peers: Callable[..., Any], clients: Callable[..., Any], closes: bool
    ) -> None:
        """The documents and the recordings disagree about that."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            link.send("response.text.delta", delta="the rest")
            link.send("session.finished")
            if closes:
                link.close()
            link.read_on()
            if not closes:
                link.close()

        seen: list[str] = []
        client = clients(peers(script))
        client.on("*", lambda event: seen.append(event.type))
        with client:
            client.append_text("Hello.")
        assert client.close_info.clean
        assert seen[-3:] == ["response.text.delta", "session.finished", "disconnected"]

    @pytest.mark.parametrize("how", ["close 1011", "cut", "reset"])
    def test_an_unclean_end_after_session_finished_is_a_clean_one(
        self, peers: Callable[..., Any], clients: Callable[..., Any], how: str
    ) -> None:
        """All was said."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            link.send("session.finished")
            if how == "close 1011":
                link.close(1011, b"whatever")
                link.read_on()
            else:
                getattr(link, how)()

        client = clients(peers(script)).connect()
        client.finish(5)
        assert client.close_info.clean

    @pytest.mark.parametrize("code", [1000, 1007])
    def test_a_close_before_session_finished_is_an_error(
        self, peers: Callable[..., Any], clients: Callable[..., Any], code: int
    ) -> None:
        """Something may be missing."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            link.close(code, b"early")
            link.read_on()

        client = clients(peers(script)).connect()
        with pytest.raises(ConnectionClosed, match=f"by the server: {code} early"):
            client.finish(5)

    def test_it_waits_for_handlers_however_slow(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """Longer than ``close_timeout``: without a timeout nothing is discarded."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            for _ in range(6):
                link.send("response.text.delta", delta="x")
            link.send("session.finished")
            link.read_on()
            link.close()

        client = clients(peers(script), close_timeout=0.1).connect()
        seen: list[str] = []
        slow = threading.Event()
        client.on("response.text.delta", lambda _: slow.wait(0.1))
        client.on("*", lambda event: seen.append(event.type))
        client.finish()
        assert seen[-8:] == ["response.text.delta"] * 6 + ["session.finished", "disconnected"]

    def test_handlers_that_outlast_its_timeout_are_told(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """All handlers have run, or ``finish()`` says that they have not."""
        release = threading.Event()
        client = clients(peers(), close_timeout=0.2)
        client.on("session.finished", lambda _: release.wait(10))
        client.connect()
        with pytest.raises(WaitTimeout, match="handlers"):
            client.finish(0.3)
        release.set()

    def test_a_server_that_does_not_finish_is_a_timeout(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """The connection is closed all the same."""
        client = clients(peers(greet_only)).connect()
        with pytest.raises(WaitTimeout, match="the end of the session"):
            client.finish(0.2)
        assert client.state.value == "closed"

    def test_pongs_do_not_feed_its_patience(
        self, peers: Callable[..., Any], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a timeout it waits while messages come: a server that merely lives is given up."""

        def lives(link: Link) -> None:
            greet(link)
            while True:
                received = link.receive()
                if received.opcode == PING:
                    link.raw(frame(received.payload, PONG))
                elif received.opcode == CLOSE:
                    link.close()
                    return

        monkeypatch.setattr(session_module, "PATIENCE_S", 0.3)
        peer = peers(lives)
        client = clients(peer, ping_interval=0.02).connect()
        with pytest.raises(WaitTimeout):
            client.finish()
        assert peer.link().wait_for_frame(PING, 3)

    @pytest.mark.parametrize("finished_too", [True, False])
    def test_an_error_meanwhile_is_raised(
        self, peers: Callable[..., Any], clients: Callable[..., Any], finished_too: bool
    ) -> None:
        """Whether ``session.finished`` follows it or not."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            message = frame(b'{"type":"error","error":{"message":"Response failed"}}')
            link.raw(message + (frame(b'{"type":"session.finished"}') if finished_too else b""))
            link.read_on()
            link.close()

        client = clients(peers(script)).connect()
        with pytest.raises(ServerError, match="Response failed"):
            client.finish(5)
        assert client.state.value == "closed"

    def test_an_error_that_a_handler_takes_is_not(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """It was dealt with."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            link.send("error", error={"message": "Invalid voice"})
            link.send("session.finished")
            link.read_on()
            link.close()

        taken: list[events.Error] = []
        client = clients(peers(script)).connect()
        client.on("error", taken.append)
        client.finish(5)
        assert taken[0].error.message == "Invalid voice"
        assert client.errors == tuple(taken)

    def test_after_the_server_ended_cleanly_it_lets_the_handlers_run(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """The end may have come before it was asked for."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            for _ in range(5):
                link.send("response.text.delta", delta="x")
            link.send("session.finished")
            link.close()
            link.read_on()

        seen: list[str] = []
        client = clients(peers(script)).connect()
        slow = threading.Event()
        client.on("response.text.delta", lambda _: slow.wait(0.05))
        client.on("*", lambda event: seen.append(event.type))
        client.send(events.SessionFinish())
        with client._changed:
            assert client._changed.wait_for(lambda: client.close_info is not None, 5)
        client.finish()
        assert seen[-1] == "disconnected"
        assert seen.count("response.text.delta") == 5

    def test_an_exception_in_the_block_closes_without_finishing(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """And goes on its way."""
        peer = peers()
        with pytest.raises(KeyError), clients(peer):
            raise KeyError("mine")
        assert peer.link().types == []
        assert peer.link().wait_for_frame(CLOSE)

    def test_an_answer_that_comes_with_the_end_is_an_answer(
        self, peers: Callable[..., Any], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both may be there before the waiting thread has looked again."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("session.finish")
            link.raw(frame(b'{"type":"session.finished"}') + frame(b"\x03\xe8", CLOSE))
            link.read_on()

        client = clients(peers(script)).connect()
        ended = threading.Event()
        client.on("disconnected", lambda _: ended.set())
        finished = client._finished

        def late() -> bool:
            seen = bool(finished())
            assert ended.wait(5)
            return seen

        monkeypatch.setattr(client, "_finished", late)
        client.finish(5)
        assert client.close_info.clean

    def test_closing_in_the_block_is_fine(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """The end of the block has nothing left to do."""
        with clients(peers()) as client:
            client.close()

    def test_omni_waits_for_the_reply_and_sends_no_session_finish(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """Its servers disagree about that event."""

        def script(link: Link) -> None:
            greet(link)
            link.receive_event("response.create")
            link.send("response.created", response={"id": "resp_1"})
            link.send("response.text.delta", response_id="resp_1", delta="Hi")
            link.send("response.done", response={"id": "resp_1", "status": "completed"})
            link.read_on()
            link.close()

        peer = peers(script)
        seen: list[str] = []
        client = clients(peer, OmniClient)
        client.on("response.done", lambda event: seen.append(event.response.status))
        with client:
            client.send_text("Hello")
            client.create_response()
        assert seen == ["completed"]
        assert peer.link().types == ["conversation.item.create", "response.create"]
