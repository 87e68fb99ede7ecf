"""Recorded sessions served again: the same answers in the same order, in response to the client's own sends."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import ASRClient, ConfigError, ConnectionClosed, OmniClient, ServerError, TTSClient
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines
from qwen_realtime.server.replay import ReplayServer
from qwen_realtime.trace import Trace

TONES: dict[str, Any] = {"speech": "tones", "listening": "tones", "translation": "phrases"}


def _heard(client: TTSClient | OmniClient | ASRClient) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    client.on("*", lambda event: events.append(event.raw) if hasattr(event, "raw") else None)
    return events


def _server_events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event and "." in str(event.get("type"))]


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """A recorded session, and what its client got."""
    path = tmp_path / "session.jsonl"
    engines = Engines(**TONES)
    with LocalServer(engines=engines) as server:
        client = TTSClient(url=server.url, api_key="k", mode="commit", trace=path)
        events = _heard(client)
        with client:
            client.say("One sentence.")
            client.say("And another.")
    engines.close()
    return path, _server_events(events)


def _speak(url: str) -> list[dict[str, Any]]:
    client = TTSClient(url=url, api_key="k", mode="commit")
    events = _heard(client)
    with client:
        client.say("One sentence.")
        client.say("And another.")
    return _server_events(events)


def test_the_same_client_gets_the_same_events(recorded: tuple[Path, list[dict[str, Any]]]) -> None:
    """All of them, equal in every field, sound included, and in order."""
    path, events = recorded
    with ReplayServer(path) as server:
        assert server.model == "qwen3-tts-flash-realtime"
        assert _speak(server.url) == events
        assert server.wait_for_outcome(timeout=5) == ""
    assert sum(event["type"] == "response.audio.delta" for event in events) > 2


def test_recorded_times_can_be_kept(recorded: tuple[Path, list[dict[str, Any]]]) -> None:
    """Ten times as fast here; the events are the same."""
    path, events = recorded
    with ReplayServer(path, pace=10) as server:
        assert _speak(server.url) == events


def test_answers_wait_for_what_they_answer(recorded: tuple[Path, list[dict[str, Any]]]) -> None:
    """A client that does something else is told what was expected of it."""
    path, _ = recorded
    with ReplayServer(path, patience=0.2) as server:
        client = TTSClient(url=server.url, api_key="k", mode="commit")
        client.connect().append_text("One sentence.")
        with pytest.raises(ServerError, match=r"not sent .*1 × input_text_buffer\.commit") as caught:
            client.finish()
        assert caught.value.code == "replay_diverged"
        assert "input_text_buffer.commit" in (server.wait_for_outcome(timeout=5) or "")


def test_a_client_that_leaves_early_is_told_of(recorded: tuple[Path, list[dict[str, Any]]]) -> None:
    """With what it missed."""
    path, _ = recorded
    with ReplayServer(path) as server:
        TTSClient(url=server.url, api_key="k", mode="commit").connect().close()
        outcome = server.wait_for_outcome(timeout=5)
    assert outcome is not None
    assert outcome.startswith("it ended before input_text_buffer.committed")


def _trace(path: Path, *lines: tuple[str, dict[str, Any] | bytes]) -> Path:
    trace = Trace(path)
    for direction, event in lines:
        trace.record(direction, event if isinstance(event, bytes) else json.dumps(event).encode())
    trace.close()
    return path


CREATED = {"type": "session.created", "session": {"id": "s", "model": "qwen3-asr-flash-realtime"}}
HEARD = {"type": "heard"}


def test_sound_counts_by_the_byte(tmp_path: Path) -> None:
    """Not by the message: a client may cut it otherwise."""
    append = {"type": "input_audio_buffer.append", "audio": "AAAA" * 100}  # 300 bytes
    path = _trace(tmp_path / "t.jsonl", ("server", CREATED), ("client", append), ("client", append), ("server", HEARD))
    with ReplayServer(path, patience=0.3) as server:
        for pieces, answer in (([600], "heard"), ([100] * 6, "heard"), ([300, 298], "error")):
            client = ASRClient(url=server.url, api_key="k")
            told: list[str] = []
            client.on("error", lambda event, told=told: told.append(event.error.message))
            client.connect()
            with client.expect(answer, timeout=5):
                for piece in pieces:
                    client.append_audio(bytes(piece))
            client.close()
            assert ["2 bytes of input_audio_buffer.append" in each for each in told] == [True] * (answer == "error")


def test_each_connection_gets_its_session(tmp_path: Path) -> None:
    """A trace of a client that came back; the broken session is broken again."""
    second = {**CREATED, "session": {**CREATED["session"], "id": "second"}}  # type: ignore[dict-item]
    commit = {"type": "input_audio_buffer.commit"}
    path = _trace(tmp_path / "t.jsonl", ("server", CREATED), ("client", commit), ("server", HEARD), ("server", second))
    with ReplayServer(path) as server:
        assert server.sessions == 2
        first = ASRClient(url=server.url, api_key="k").connect()
        first.send(commit)
        assert first.wait(5).code == 1011
        for _ in range(2):
            client = ASRClient(url=server.url, api_key="k").connect()
            assert client.session_id == "second"
            client.close()


def test_errors_name_the_event_of_this_client(tmp_path: Path) -> None:
    """Its ids are new in every run."""
    path = _trace(
        tmp_path / "t.jsonl",
        ("server", CREATED),
        ("client", {"type": "input_audio_buffer.commit", "event_id": "event_old"}),
        ("server", {"type": "error", "error": {"message": "no", "event_id": "event_old"}}),
    )
    with ReplayServer(path) as server:
        client = ASRClient(url=server.url, api_key="k", turn_detection=None, strict=False)
        got = []
        client.on("error", lambda event: got.append(event.error.event_id))
        client._wanted = {}  # no settings were recorded
        client.connect()
        with client.expect("error", timeout=5):
            client.send({"type": "input_audio_buffer.commit", "event_id": "event_new"})
        client.close()
    assert got == ["event_new"]


def test_what_was_broken_is_broken_again(tmp_path: Path) -> None:
    """To the byte, UTF-8 or not."""
    path = _trace(tmp_path / "t.jsonl", ("server", CREATED), ("server", b'{"type": "\xff"}'))
    with ReplayServer(path) as server:
        client = ASRClient(url=server.url, api_key="k")
        with suppress(ConnectionClosed):  # the broken message may come before connecting is over
            client.connect()
        info = client.wait(5)
        assert "UTF-8" in info.reason
        with pytest.raises(ConnectionClosed):
            client.append_audio(b"ab")


def test_a_trace_without_a_session_is_refused(tmp_path: Path) -> None:
    """There is nothing to serve."""
    with pytest.raises(ConfigError, match="no session"):
        ReplayServer(_trace(tmp_path / "t.jsonl"))
