"""Inside callbacks: what is known there, what raising does, and how the end is told."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

import pytest

from qwen_realtime import events as ev
from qwen_realtime.compat.dashscope.audio.qwen_omni import OmniRealtimeCallback, OmniRealtimeConversation

from ..peer import Link
from .recorder import SECONDS, Peers, Recorder, Script, greeting_then, in_turn, omni, replying, until_closed


def test_ids_and_delays_are_true_inside_on_event(peers: Peers) -> None:
    """What can be asked belongs to the event that is being delivered, and delays are those of the arrival."""
    seen: list[tuple[str, Any, Any, Any, Any]] = []

    class Slow(OmniRealtimeCallback):
        def on_event(self, message: dict[str, Any]) -> None:
            assert conversation.get_last_message() is message
            text, audio = conversation.get_last_first_text_delay(), conversation.get_last_first_audio_delay()
            known = (conversation.get_session_id(), conversation.get_last_response_id(), text, audio)
            seen.append((message["type"], *known))
            if message["type"] == "response.done":
                done.set()
            time.sleep(0.1)  # a slow callback does not show in the figures

    done = threading.Event()
    conversation = omni(peers(replying), Slow())
    conversation.connect()
    assert done.wait(SECONDS)
    conversation.close()
    assert seen[0] == ("session.created", "sess_7", None, None, None)
    assert seen[1] == ("response.created", "sess_7", "resp_1", None, None)
    assert seen[2][4] is None
    text, audio = seen[3][3], seen[3][4]
    assert 45 <= text < audio
    assert 90 <= audio < text + SECONDS * 1000
    assert seen[-1] == ("response.done", "sess_7", "resp_1", text, audio)
    assert conversation.metrics == [{"response_id": "resp_1", "first_text_delay": text, "first_audio_delay": audio}]
    assert conversation.last_response_create_time is not None
    assert abs(conversation.last_response_create_time / 1000 - time.time()) < 60


def test_a_callback_that_raises_loses_nothing(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    """State is kept, the error is logged with the callback's name, and the session goes on."""
    callback = Recorder(session_created=lambda: 1 / 0, response_created=lambda: 1 / 0)
    conversation = omni(peers(replying), callback)
    conversation.connect()
    callback.wait_for("response.done")
    conversation.close()
    assert conversation.get_session_id() == "sess_7"
    assert conversation.get_last_response_id() == "resp_1"
    assert conversation.get_last_first_audio_delay() is not None
    logged = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in logged] == ["Recorder.on_event raised; the session goes on"] * 2


def test_messages_are_dicts_with_the_typed_event(peers: Peers) -> None:
    """A message is what ``json.loads`` makes of the text, undeclared fields included, and has the event beside it."""
    created = {"type": "session.created", "session": {"id": "s", "new": [1, None]}, "extra": "文"}
    unheard = {"type": "something.new", "value": 1.5}
    callback = Recorder()
    conversation = omni(
        peers(in_turn(Link.accept, lambda link: link.send(created), lambda link: link.send(unheard), until_closed)),
        callback,
    )
    conversation.connect()
    callback.wait_for("something.new")
    conversation.close()
    assert callback.messages == [created, unheard]
    assert json.loads(json.dumps(callback.messages[0])) == created
    assert isinstance(callback.messages[0].event, ev.SessionCreated)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (until_closed, (1000, "")),
        (in_turn(Link.read_on, lambda link: link.close(None)), (1000, "")),
        (in_turn(lambda link: link.close(1011, b"expired"), Link.read_on), (1011, "expired")),
        (in_turn(lambda link: link.close(None), Link.read_on), (1005, "")),
        (Link.cut, (1006, "the connection ended without a close frame")),
    ],
    ids=["client", "client, answered without a code", "server", "server without a code", "network"],
)
def test_on_close_tells_who_closed(peers: Peers, script: Script, expected: tuple[int, str]) -> None:
    """1000 after ``close()``, the server's code and reason where it closed, 1006 where the connection broke."""
    go = threading.Event()
    callback = Recorder()
    conversation = omni(peers(greeting_then(lambda _: go.wait(SECONDS), script)), callback)
    conversation.connect()
    go.set()
    if expected[0] != 1000:
        callback.wait_for("on_close")
    conversation.close()
    conversation.close()
    assert callback.closed == [expected]
    assert callback.calls[-1] == "on_close"
    assert conversation.thread is not None
    conversation.thread.join(SECONDS)
    assert not conversation.thread.is_alive()


def test_close_before_connect_is_nothing() -> None:
    """There is nothing to close, and nothing to tell."""
    callback = Recorder()
    conversation = OmniRealtimeConversation("m", callback, api_key="k")
    conversation.close()
    assert conversation.ws is None
    assert callback.calls == []
    with pytest.raises(ConnectionError, match="not connected"):
        conversation.commit()
    with pytest.raises(ConnectionError, match="not connected"):
        conversation.end_session()


def test_close_inside_a_callback_works(peers: Peers) -> None:
    """It begins to close at once; ``on_close`` comes after the callback."""
    callback = Recorder(session_created=lambda: conversation.close())
    conversation = omni(peers(), callback)
    conversation.connect()
    callback.wait_for("on_close")
    assert callback.closed == [(1000, "")]


def test_what_waits_behind_a_slow_callback_is_dropped_by_close(peers: Peers) -> None:
    """A program that plays inside ``on_event`` ends with what it is playing, and may close its devices then."""
    playing, go_on = threading.Event(), threading.Event()

    def play() -> None:
        playing.set()
        assert go_on.wait(SECONDS)

    def reply(link: Link) -> None:
        for _ in range(100):
            link.send("response.audio.delta", response_id="resp_1", delta="AAA=")

    callback = Recorder(response_audio_delta=play)
    conversation = omni(peers(greeting_then(reply, until_closed)), callback)
    conversation.connect()
    assert playing.wait(SECONDS)
    threading.Timer(0.2, go_on.set).start()
    before = time.monotonic()
    conversation.close()
    assert 0.1 < time.monotonic() - before < 4.0
    assert callback.calls == ["on_open", "session.created", "response.audio.delta", "on_close"]
    assert callback.closed == [(1000, "")]


def test_sys_exit_in_on_close_is_logged_once_and_harmless(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    """The shutdown completes, the program goes on, and one line says what happened."""

    def leave() -> None:
        raise SystemExit(0)

    callback = Recorder(on_close=leave)
    conversation = omni(peers(), callback)
    with caplog.at_level(logging.WARNING, "qwen_realtime"):
        conversation.connect()
        conversation.close()
    assert conversation.thread is not None
    conversation.thread.join(SECONDS)
    assert not conversation.thread.is_alive()
    assert len(callback.closed) == 1
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["Recorder.on_close called sys.exit()"]


def test_an_object_can_be_connected_again(peers: Peers) -> None:
    """As with the vendor's SDK; each connection has its own ``on_open`` and ``on_close``, also from ``on_close``."""

    def again() -> None:
        if len(callback.closed) == 1:
            conversation.connect()

    callback = Recorder(on_close=again)
    peer = peers()
    conversation = omni(peer, callback)
    conversation.connect()
    conversation.close()
    assert peer.link(2)
    conversation.commit()
    peer.link(2).wait_for("input_audio_buffer.commit")
    conversation.connect()  # closes the one before
    assert callback.closed == [(1000, "")] * 2
    conversation.close()
    assert [call for call in callback.calls if call.startswith("on_")] == ["on_open", "on_close"] * 3


def test_the_thread_and_the_socket_can_be_looked_at(peers: Peers) -> None:
    """Programs join ``thread`` and look at ``ws.sock.connected``."""
    peer = peers()
    conversation = omni(peer)
    conversation.connect()
    assert conversation.ws is not None
    assert conversation.ws.sock is not None
    assert conversation.ws.sock.connected
    assert conversation.ws.keep_running
    assert conversation.thread is not None
    assert conversation.thread.is_alive()
    conversation.ws.send('{"type": "session.update", "session": {}}')
    peer.link().wait_for("session.update")
    conversation.ws.close()
    conversation.thread.join(SECONDS)
    assert not conversation.thread.is_alive()
    assert conversation.ws.sock is None
    with pytest.raises(ConnectionError):
        conversation.append_audio("AAAA")
