"""The times of a turn: taken when messages arrive, whatever the handlers do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import OmniClient, TTSClient
from qwen_realtime.events import (
    InputAudioBufferCommitted,
    InputAudioBufferSpeechStopped,
    InputTextBufferAppend,
    Response,
    ResponseAudioDelta,
    ResponseAudioTranscriptDelta,
    ResponseCreate,
    ResponseCreated,
    ResponseDone,
)
from qwen_realtime.metrics import TURNS_KEPT, Metrics
from tests.peer import Link, Peer, created


def spoken_turn(metrics: Metrics, name: str) -> None:
    """One turn by voice, as the server tells it."""
    metrics.observe(InputAudioBufferSpeechStopped(audio_end_ms=900))
    metrics.observe(InputAudioBufferCommitted())
    metrics.observe(ResponseCreated(response=Response(id=name)))
    metrics.observe(ResponseAudioTranscriptDelta(response_id=name, delta="Yes."))
    metrics.observe(ResponseAudioDelta(response_id=name, delta=bytes(100)))
    metrics.observe(ResponseAudioDelta(response_id=name, delta=bytes(100)))
    metrics.observe(ResponseDone(response=Response(id=name)))


def test_a_turn_by_voice_has_all_its_times_in_order() -> None:
    """End of speech, commit, first text, first audio, done; nothing was asked by the client."""
    metrics = Metrics()
    spoken_turn(metrics, "r1")
    (turn,) = metrics.turns
    assert turn.asked is None
    times = [turn.speech_stopped, turn.committed, turn.first_text, turn.first_audio, turn.done]
    assert None not in times
    assert times == sorted(times)  # type: ignore[type-var]
    assert turn.began == turn.speech_stopped
    assert turn.response_id == "r1"
    waited = turn.waited_ms("done")
    assert waited is not None
    assert waited >= 0
    assert turn.waited_ms("first_heard") is None


def test_a_request_begins_a_turn_where_nobody_spoke() -> None:
    """A written question counts from ``response.create``, synthesis from the first text."""
    for request in (ResponseCreate(), InputTextBufferAppend(text="a")):
        metrics = Metrics()
        metrics.requested(request)
        metrics.observe(ResponseCreated(response=Response(id="r")))
        assert metrics.turns[0].asked is not None
        assert metrics.turns[0].began == metrics.turns[0].asked


def test_the_summary_has_median_and_95th_percentile() -> None:
    """Of the waits that are known; a player tells when a reply was heard."""
    metrics = Metrics()
    for number in range(20):
        spoken_turn(metrics, f"r{number}")
    for number, turn in enumerate(metrics.turns):
        turn.speech_stopped, turn.first_audio = 100.0, 100.0 + (number + 1) / 1000
    metrics.listen_to(lambda response: 100.5 if response == "r3" else None)
    summary = metrics.summary()
    assert summary["first_audio"].count == 20
    assert summary["first_audio"].p50 == pytest.approx(10)
    assert summary["first_audio"].p95 == pytest.approx(19)
    assert summary["first_heard"].count == 1
    assert summary["first_heard"].p50 == pytest.approx(500)
    assert metrics.rows()[3]["first_heard"] == 100.5


def test_two_replies_at_once_keep_their_times_apart() -> None:
    """A reply that is still being sent when the next begins keeps its own end."""
    metrics = Metrics()
    metrics.observe(ResponseCreated(response=Response(id="a")))
    metrics.observe(ResponseCreated(response=Response(id="b")))
    metrics.observe(ResponseDone(response=Response(id="b")))
    metrics.observe(ResponseDone(response=Response(id="a")))
    assert [turn.response_id for turn in metrics.turns] == ["a", "b"]
    first, second = metrics.turns
    assert first.done is not None
    assert second.done is not None
    assert first.done >= second.done


def test_old_turns_are_forgotten() -> None:
    """A session of days keeps a bounded number of turns, and nothing of those that are over."""
    metrics = Metrics()
    for number in range(TURNS_KEPT + 10):
        spoken_turn(metrics, f"r{number}")
    assert len(metrics.turns) == TURNS_KEPT
    assert not metrics._replies
    assert not metrics._audios
    assert not metrics._texts


def slow_reply(link: Link) -> None:
    """Answer a request with one delta."""
    link.accept()
    link.send(created("qwen3.5-omni-flash-realtime"))
    link.receive_event("response.create")
    link.send("response.created", response={"id": "r"})
    link.send("response.audio.delta", response_id="r", delta="AAAA")
    link.send("response.done", response={"id": "r"})
    link.read_on()
    link.close()


def test_slow_handlers_do_not_show(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """The first audio's time is that of its arrival, not that of its handler."""
    client = clients(peers(slow_reply), OmniClient).connect()
    handled: list[float] = []
    client.on("response.created", lambda _: client.metrics.turns and time.sleep(0.2))
    client.on("response.audio.delta", lambda _: handled.append(time.monotonic()))
    with client.expect("response.done", timeout=5):
        client.create_response()
    arrived = client.metrics.turns[0].first_audio
    assert arrived is not None
    assert handled[0] - arrived > 0.15


def test_metrics_are_on_without_being_asked_for(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """Every client has them."""
    assert clients(peers(), TTSClient).metrics.summary() == {}


def test_replies_without_an_end_are_not_kept_for_ever() -> None:
    """An interrupted reply may have none, and a session may go on for days."""
    metrics = Metrics()
    for number in range(1000):
        metrics.observe(ResponseCreated(response=Response(id=f"r{number}")))
        metrics.observe(ResponseAudioTranscriptDelta(response_id=f"r{number}", delta="Yes."))
        metrics.observe(ResponseAudioDelta(response_id=f"r{number}", delta=bytes(100)))
    assert max(len(metrics._replies), len(metrics._texts), len(metrics._audios)) < 100
    metrics.observe(ResponseDone(response=Response(id="r999")))
    assert metrics.turns[-1].done is not None
