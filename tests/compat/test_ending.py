"""``end_session()``: from anywhere, and only ended by what is about the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import ConnectionClosed
from qwen_realtime import events as ev
from qwen_realtime.compat.dashscope.audio.qwen_omni import MultiModality

from ..peer import Link
from .recorder import SECONDS, Peers, Recorder, greeting_then, omni, until_closed


def test_end_session_returns_when_everything_has_been_delivered(peers: Peers) -> None:
    """Outside a callback it waits for the callbacks of all that came; a second call has nothing to do."""
    callback = Recorder(session_finished=lambda: time.sleep(0.1))
    peer = peers()
    conversation = omni(peer, callback)
    conversation.connect()
    conversation.update_session([MultiModality.TEXT])
    conversation.end_session(SECONDS)
    assert callback.calls == ["on_open", "session.created", "session.updated", "session.finished"]
    assert conversation.disconnect_event is None
    conversation.end_session(SECONDS)
    assert peer.link().types.count("session.finish") == 1
    assert callback.closed == []
    conversation.close()


def test_end_session_works_inside_a_callback(peers: Peers) -> None:
    """It returns when ``session.finished`` has arrived, which is delivered when the callback has returned."""
    ended = threading.Event()

    def end() -> None:
        conversation.end_session(SECONDS)
        ended.set()

    callback = Recorder(session_created=end)
    conversation = omni(peers(), callback)
    conversation.connect()
    assert ended.wait(3)
    callback.wait_for("session.finished")
    conversation.close()


def test_end_session_after_the_asynchronous_one_waits_for_the_same_end(peers: Peers) -> None:
    """Nothing is sent twice, and it returns when the end has been delivered."""
    go, arrived = threading.Event(), threading.Event()
    callback = Recorder(session_created=lambda: go.wait(SECONDS))
    peer = peers()
    conversation = omni(peer, callback)
    conversation.connect()
    assert conversation.client is not None
    conversation.client.tap(lambda event: arrived.set() if isinstance(event, ev.SessionFinished) else None)
    conversation.end_session_async()
    assert arrived.wait(SECONDS)
    later = threading.Timer(0.1, go.set)
    later.start()
    conversation.end_session(SECONDS)
    assert callback.calls[-1] == "session.finished"
    assert peer.link().types.count("session.finish") == 1
    conversation.close()


def finishing_with(*answers: dict[str, Any]) -> Callable[[Link], None]:
    """A server that answers ``session.finish`` in a way of its own; ``"$finish"`` stands for that event's id."""

    def script(link: Link) -> None:
        finish = link.receive_event("session.finish")
        for answer in answers:
            link.text(json.dumps(answer).replace("$finish", finish["event_id"]))
        until_closed(link)

    return greeting_then(script)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        {"type": "error", "error": {"message": "no", "event_id": "$finish"}},
        {"type": "error", "error": {"message": "Invalid event type: 'session.finish'."}},
    ],
)
def test_an_error_about_the_end_ends_it(peers: Peers, answer: dict[str, Any], inside: bool) -> None:
    """A server that refuses ``session.finish`` is closed, and what it said is raised as before."""
    raised: list[BaseException] = []

    def end() -> None:
        try:
            conversation.end_session(SECONDS)
        except RuntimeError as error:
            raised.append(error)

    callback = Recorder(session_created=end) if inside else Recorder()
    conversation = omni(peers(finishing_with(answer)), callback)
    conversation.connect()
    if not inside:
        end()
    callback.wait_for("on_close")
    assert [str(error)[:27] for error in raised] == ["Session ended with error: {"]
    assert answer["error"]["message"] in str(raised[0])
    assert callback.closed == [(1000, "")]


def test_an_unrelated_error_does_not_end_it(peers: Peers) -> None:
    """An error about something else is delivered, and the wait goes on."""
    errors = [
        {"type": "error", "error": {"message": "Internal service error: null"}},
        {"type": "error", "error": {"message": "bad", "event_id": "event_of_a_commit"}},
    ]
    callback = Recorder()
    conversation = omni(peers(finishing_with(*errors, {"type": "session.finished"})), callback)
    conversation.connect()
    conversation.end_session(SECONDS)
    assert callback.calls == ["on_open", "session.created", "error", "error", "session.finished"]
    conversation.close()


@pytest.mark.parametrize("inside", [False, True])
def test_a_server_that_does_not_finish_is_a_timeout(peers: Peers, inside: bool) -> None:
    """After ``timeout`` the connection is closed, and the last error is told if there was one."""
    raised: list[BaseException] = []

    def end() -> None:
        with pytest.raises(TimeoutError, match=r"0\.2 seconds.*Internal") as failed:
            conversation.end_session(0.2)
        raised.append(failed.value)

    callback = Recorder(session_created=end) if inside else Recorder()
    peer = peers(finishing_with({"type": "error", "error": {"message": "Internal service error: null"}}))
    conversation = omni(peer, callback)
    conversation.connect()
    if not inside:
        end()
    callback.wait_for("on_close")
    assert len(raised) == 1
    assert callback.closed == [(1000, "")]


@pytest.mark.parametrize("complaint", [None, "overloaded"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_server_that_hangs_up_ends_it_at_once(peers: Peers, complaint: str | None, inside: bool) -> None:
    """No wait for the timeout: the error that came before is raised, or how the connection ended."""
    raised: list[BaseException] = []

    def hang_up(link: Link) -> None:
        link.receive_event("session.finish")
        if complaint:
            link.send("error", error={"message": complaint})
        link.close(1011, b"gone")
        link.read_on()

    def end() -> None:
        with pytest.raises((RuntimeError, ConnectionClosed), match=complaint or "gone") as failed:
            conversation.end_session(SECONDS)
        raised.append(failed.value)

    callback = Recorder(session_created=end) if inside else Recorder()
    conversation = omni(peers(greeting_then(hang_up)), callback)
    began = time.monotonic()
    conversation.connect()
    if not inside:
        end()
    callback.wait_for("on_close")
    assert time.monotonic() - began < SECONDS / 2
    assert [isinstance(error, ConnectionError) for error in raised] == [complaint is None]
    assert callback.closed == [(1011, "gone")]
