"""Connecting: the real reasons, at once, as the errors that old programs catch; and ``on_open``."""

from __future__ import annotations

import threading
import time

import pytest

from qwen_realtime import ConfigError
from qwen_realtime.compat.dashscope.audio.qwen_omni import OmniRealtimeConversation
from qwen_realtime.errors import AuthenticationError, HandshakeError, RateLimitError

from ..peer import Link
from .recorder import SECONDS, Peers, Recorder, in_turn, omni, replying, until_closed


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401 Unauthorized", AuthenticationError),
        ("403 Forbidden", AuthenticationError),
        ("429 Too Many Requests", RateLimitError),
        ("503 Service Unavailable", HandshakeError),
    ],
)
@pytest.mark.parametrize("caught", [TimeoutError, ConnectionError])
def test_a_refusal_is_raised_at_once_and_caught_by_old_clauses(
    peers: Peers, status: str, kind: type[HandshakeError], caught: type[BaseException]
) -> None:
    """The reason is there without a wait of five seconds, whichever of the old errors the program expects."""
    peer = peers(lambda link: link.answer(status, b"because", Retry_After="3"))
    callback = Recorder()
    began = time.monotonic()
    with pytest.raises(caught) as failed:
        omni(peer, callback).connect()
    assert time.monotonic() - began < 3
    error = failed.value
    assert isinstance(error, kind)
    assert error.status == int(status[:3])
    assert "because" in str(error)
    if isinstance(error, RateLimitError):
        assert error.retry_after == 3
    assert callback.calls == ["on_close"]
    assert callback.closed == [(1006, error.message)]


def test_a_refused_connection_is_both_old_errors(peers: Peers) -> None:
    """Nobody listens: the reason is told, and ``on_close`` is called once, whatever is closed afterwards."""
    peer = peers()
    peer.close()
    callback = Recorder()
    conversation = omni(peer, callback)
    with pytest.raises(TimeoutError, match="refused") as failed:
        conversation.connect()
    assert isinstance(failed.value, ConnectionError)
    conversation.close()
    assert [code for code, _ in callback.closed] == [1006]


def test_a_silent_server_is_a_timeout(peers: Peers) -> None:
    """A server that accepts and never creates a session is given up after ``connect_timeout``."""
    callback = Recorder()
    conversation = omni(peers(in_turn(Link.accept, until_closed)), callback)
    conversation.connect_timeout = 0.3
    with pytest.raises(TimeoutError, match=r"session\.created"):
        conversation.connect()
    callback.wait_for("on_close")
    assert callback.calls == ["on_close"]


@pytest.mark.parametrize("caught", [TimeoutError, ConnectionError])
def test_an_error_event_instead_of_a_session_is_both_old_errors(peers: Peers, caught: type[BaseException]) -> None:
    """What the server says against the session is raised by ``connect()``."""

    def refuse(link: Link) -> None:
        link.accept()
        link.send("error", error={"code": "ModelNotFound", "message": "no such model"})
        link.read_on()

    with pytest.raises(caught, match="no such model"):
        omni(peers(refuse)).connect()


def test_a_hang_up_instead_of_a_session_is_both_old_errors(peers: Peers) -> None:
    """The server's code and reason are in the error and in ``on_close``."""
    callback = Recorder()
    with pytest.raises(TimeoutError, match="quota") as failed:
        omni(peers(in_turn(Link.accept, lambda link: link.close(1011, b"quota"), Link.read_on)), callback).connect()
    assert isinstance(failed.value, ConnectionError)
    assert callback.closed == [(1011, "quota")]


def test_no_key_is_told_before_connecting(peers: Peers) -> None:
    """Without a key there is a reason instead of a ``TypeError``."""
    conversation = OmniRealtimeConversation("m", Recorder(), url=peers().url)
    assert conversation.apikey is None
    with pytest.raises(ConfigError, match="no API key"):
        conversation.connect()


def test_a_lock_that_on_close_wants_does_not_stop_a_failing_connect(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``on_close`` after a failure runs on a thread of its own, so a caller that holds a lock goes on."""
    monkeypatch.setattr("qwen_realtime.compat.dashscope.session.TOLD_S", 0.2)
    lock = threading.Lock()
    callback = Recorder(on_close=lambda: lock.acquire(timeout=SECONDS))
    with lock, pytest.raises(TimeoutError, match="401"):
        omni(peers(lambda link: link.answer("401 Unauthorized")), callback).connect()
    callback.wait_for("on_close")


def test_on_open_comes_first_and_on_the_callers_thread(peers: Peers) -> None:
    """Events wait for a slow ``on_open``, and ``connect()`` returns after it."""
    names: list[str] = []

    def open_slowly() -> None:
        time.sleep(0.2)
        names.append(threading.current_thread().name)

    callback = Recorder(on_open=open_slowly)
    conversation = omni(peers(replying), callback)
    conversation.connect()
    assert names == [threading.current_thread().name]
    callback.wait_for("response.done")
    assert callback.calls[:3] == ["on_open", "session.created", "response.created"]
    conversation.close()


def test_an_error_in_on_open_reaches_the_caller(peers: Peers) -> None:
    """As with the vendor's SDK, it comes out of ``connect()``, and the session goes on."""
    callback = Recorder(on_open=lambda: 1 / 0)
    conversation = omni(peers(replying), callback)
    with pytest.raises(ZeroDivisionError):
        conversation.connect()
    callback.wait_for("response.done")
    conversation.close()
    assert callback.closed == [(1000, "")]


def test_close_and_end_session_work_in_on_open(peers: Peers) -> None:
    """Neither waits for what cannot come while ``on_open`` runs."""

    def end_and_close() -> None:
        conversation.end_session(SECONDS)
        conversation.close()

    callback = Recorder(on_open=end_and_close)
    conversation = omni(peers(), callback)
    began = time.monotonic()
    conversation.connect()
    assert time.monotonic() - began < 3
    callback.wait_for("on_close")
    assert callback.closed == [(1000, "")]
