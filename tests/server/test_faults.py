"""Faults on request, as a client on the wire meets them; with stub engines."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from typing import Any

import pytest
import websocket

from qwen_realtime.errors import ConfigError
from qwen_realtime.server import (
    BinaryFrame,
    CloseWith,
    CutMidFrame,
    Delay,
    Drop,
    DropSetting,
    Duplicate,
    ErrorEvent,
    Expire,
    Fault,
    InvalidUtf8,
    LateDelta,
    LocalServer,
    LongReason,
    MalformedJson,
    NoPong,
    OddAudio,
    Oversized,
    RateLimit,
    Reject,
    Reset,
    Silent,
    Stall,
    UnknownType,
)
from qwen_realtime.server.fault_plan import FaultPlan

from .stage import StubEngines
from .wires import Wire

TTS = "qwen3-tts-flash-realtime"
OMNI = "qwen3.5-omni-flash-realtime"
TEXT = "Twenty four letters here."


def serving(*faults: Fault, **options: Any) -> LocalServer:
    """A server with stub engines and these faults."""
    return LocalServer(engines=StubEngines(), faults=faults, **options)


def speak(wire: Wire) -> None:
    """Have a sentence spoken."""
    wire.send("input_text_buffer.append", text=TEXT)
    wire.send("session.finish")


def test_without_faults_nothing_is_odd() -> None:
    """What the others are compared with."""
    with serving() as server, Wire(server, TTS) as wire:
        speak(wire)
        wire.until("session.finished")
        assert len(wire.sound) == len(TEXT) * 2880


def test_a_handshake_can_be_refused_once() -> None:
    """With any status and Retry-After; the second try gets in."""
    with serving(Reject(status=429, retry_after=0.5)) as server:
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            Wire(server, TTS)
        error: Any = caught.value
        assert error.status_code == 429
        assert dict(error.resp_headers)["retry-after"] == "0.5"
        assert json.loads(error.resp_body)["error"]["code"] == "fault"
        with Wire(server, TTS) as wire:
            assert wire.receive()["type"] == "session.created"


def test_faults_choose_their_connection() -> None:
    """Here the second."""
    with serving(Reject(status=503, connection=2, times=0)) as server:
        Wire(server, TTS).close()
        with pytest.raises(websocket.WebSocketBadStatusException):
            Wire(server, TTS)
        Wire(server, TTS).close()


def test_a_server_can_be_silent() -> None:
    """The handshake succeeds, and nothing follows."""
    with serving(Silent()) as server, Wire(server, TTS) as wire:
        wire.socket.settimeout(0.2)
        with pytest.raises(websocket.WebSocketTimeoutException):
            wire.receive()


def test_a_delay_holds_the_event_and_what_follows_in_order() -> None:
    """And nothing before it."""
    with serving(Delay(on="response.audio.delta", nth=2, seconds=0.3)) as server, Wire(server, TTS) as wire:
        speak(wire)
        wire.until("response.audio.delta")
        start = time.monotonic()
        wire.until("response.audio.delta")
        assert 0.25 < time.monotonic() - start < 2
        wire.until("session.finished")
        assert len(wire.sound) == len(TEXT) * 2880
        assert wire.types[-1] == "session.finished"


def test_a_stall_stops_events_but_not_pongs() -> None:
    """The connection looks alive."""
    with serving(Stall(on="response.created")) as server, Wire(server, TTS) as wire:
        speak(wire)
        wire.until("response.created")
        wire.socket.ping("hello")
        assert wire.socket.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"hello")
        wire.socket.settimeout(0.1)
        with pytest.raises(websocket.WebSocketTimeoutException):
            wire.receive()


def test_a_frame_can_be_cut() -> None:
    """Half of it arrives, then the connection ends."""
    with serving(CutMidFrame(on="response.audio.delta", nth=2)) as server, Wire(server, TTS) as wire:
        speak(wire)
        wire.until("response.audio.delta")
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            wire.receive()


def test_a_connection_can_be_reset() -> None:
    """By a server event, or by a client event that has arrived."""
    with serving(Reset(on="response.audio.delta"), Reset(on="input_text_buffer.commit")) as server:
        for act in (speak, lambda wire: wire.send("input_text_buffer.commit")):
            with Wire(server, TTS) as wire:
                wire.receive()
                with pytest.raises(ConnectionResetError):  # noqa: PT012 - sending may meet it first
                    act(wire)
                    wire.until("session.finished")


@pytest.mark.parametrize(
    ("fault", "opcode", "beginning"),
    [
        (MalformedJson(on="response.created"), websocket.ABNF.OPCODE_TEXT, b'{"type": "response.audio.delta"'),
        (InvalidUtf8(on="response.created"), websocket.ABNF.OPCODE_TEXT, b'{"type": "response.text.delta", "d'),
        (BinaryFrame(on="response.created"), websocket.ABNF.OPCODE_BINARY, b"\x00\x01\x02\x03"),
        (Oversized(on="response.created", size=100_000), websocket.ABNF.OPCODE_TEXT, b'{"type": "response.te'),
        (UnknownType(on="response.created"), websocket.ABNF.OPCODE_TEXT, b'{"event_id":"event_'),
    ],
)
def test_messages_that_should_not_be(fault: Fault, opcode: int, beginning: bytes) -> None:
    """Each comes once, before the event it is bound to, and the session goes on."""
    with serving(fault) as server, Wire(server, TTS) as wire:
        wire.receive()
        speak(wire)
        got, data = wire.socket.recv_data()
        assert got == opcode
        assert data.startswith(beginning)
        if isinstance(fault, InvalidUtf8):
            with pytest.raises(UnicodeDecodeError):
                data.decode()
        if isinstance(fault, Oversized):
            assert len(data) > 100_000
        assert wire.receive()["type"] == "response.created"
        wire.until("session.finished")


def test_odd_sound_is_the_same_sound() -> None:
    """Every delta has an odd number of bytes; none is lost."""
    with serving(OddAudio()) as server, Wire(server, TTS) as wire:
        speak(wire)
        wire.until("session.finished")
        pieces = [b64decode(event["delta"]) for event in wire.events if event["type"] == "response.audio.delta"]
        assert len(b"".join(pieces)) == len(TEXT) * 2880
        assert len(pieces) > 3
        assert all(len(piece) % 2 for piece in pieces)


@pytest.mark.parametrize("late", [True, False])
def test_sound_can_come_after_a_cancellation(late: bool) -> None:
    """One delta of the cancelled response, after its end."""
    faults = [LateDelta()] if late else []
    with serving(*faults, pace=1.0) as server, Wire(server, OMNI) as wire:
        content = [{"type": "input_text", "text": "Say something long, if you please, thank you"}]
        wire.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        wire.send("response.create")
        wire.until("response.audio.delta")
        wire.send("response.cancel")
        done = wire.until("response.output_item.done")
        wire.send("session.finish")
        wire.until("session.finished")
        after = wire.types[wire.types.index("response.output_item.done") + 1 :]
        assert after == (["response.audio.delta"] if late else []) + ["session.finished"]
        if late:
            assert wire.events[-2]["response_id"] == done["response_id"]


def test_an_answer_that_ends_well_has_nothing_late() -> None:
    """The fault waits for a cancellation."""
    with serving(LateDelta()) as server, Wire(server, OMNI) as wire:
        content = [{"type": "input_text", "text": "hello"}]
        wire.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        wire.send("response.create")
        wire.until("response.done")
        assert wire.types[-2:] == ["response.output_item.done", "response.done"]


def test_a_reason_can_be_longer_than_the_standard_allows() -> None:
    """As the real service's is; a strict client fails on it, and sees the raw bytes here."""
    with serving(LongReason()) as server, Wire(server, TTS) as wire:
        wire.receive()
        frame = wire.socket.frame_buffer
        frame.clear()
        header = wire.socket.sock.recv(4)
        assert header[0] == 0x88
        assert header[1] == 126
        length = int.from_bytes(header[2:], "big")
        assert length > 125
        assert wire.socket.sock.recv(2) == (1007).to_bytes(2, "big")


def test_a_rate_limit_comes_as_an_error_and_a_close() -> None:
    """With the service's own words."""
    with serving(RateLimit()) as server, Wire(server, TTS) as wire:
        assert wire.until("error")["error"]["code"] == "Throttling.RateQuota"
        code, reason = wire.receive_close()
        assert code == 1011
        assert reason.startswith("To many requests.")


def test_other_ends_and_errors() -> None:
    """Any code, the session limit, and error events at any place."""
    with serving(
        CloseWith(on="session.updated", code=1012, reason="restart", connection=1),
        Expire(on="session.update", connection=2),
        ErrorEvent(on="session.created", message="Response timeout.", connection=3),
    ) as server:
        for code in (1012, 1011):
            with Wire(server, TTS) as wire:
                wire.send("session.update", session={})
                assert wire.receive_close()[0] == code
        with Wire(server, TTS) as wire:
            assert wire.until("error")["error"]["message"] == "Response timeout."


def test_settings_can_be_left_out_of_the_echo() -> None:
    """At any depth."""
    with serving(DropSetting(path="turn_detection.threshold")) as server, Wire(server, OMNI) as wire:
        wire.send("session.update", session={"turn_detection": {"threshold": 0.9}})
        detection = wire.until("session.updated")["session"]["turn_detection"]
        assert "threshold" not in detection
        assert detection["type"] == "server_vad"


def test_events_can_be_left_out_and_doubled() -> None:
    """A doubled event has two ids."""
    with serving(Drop(on="response.created"), Duplicate(on="response.done")) as server, Wire(server, TTS) as wire:
        speak(wire)
        wire.until("session.finished")
        assert "response.created" not in wire.types
        first, second = (event for event in wire.events if event["type"] == "response.done")
        assert first["event_id"] != second["event_id"]
        assert first["response"] == second["response"]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (NoPong, NoPong()),
        ("no pong", NoPong()),
        ("cut mid-frame", CutMidFrame()),
        ("CutMidFrame", CutMidFrame()),
        ("malformed JSON", MalformedJson()),
        ("invalid UTF-8", InvalidUtf8()),
        ("unknown event", UnknownType()),
        ("late delta after cancel", LateDelta()),
        ("odd-sized audio", OddAudio()),
        ("rate_limit", RateLimit()),
        ({"fault": "reject", "status": 429, "retry_after": 0.2}, Reject(status=429, retry_after=0.2)),
        ({"fault": Reset, "nth": 3}, Reset(nth=3)),
    ],
    ids=str,
)
def test_a_fault_can_be_named_or_written_as_an_object(spec: Any, fault: Fault) -> None:
    """For lists out of a file; and one fault needs no list."""
    assert FaultPlan([spec, Drop()]).faults == (fault, Drop())
    assert FaultPlan(spec).faults == (fault,)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("stal", "did you mean Stall"),
        ("zzz", "there are BinaryFrame, CloseWith"),
        (5, "5 is no fault"),
        (int, "is no fault"),
        ({"status": 429}, "is no fault"),
        ({"fault": "reset", "seconds": 3}, "Reset cannot be made so"),
    ],
    ids=str,
)
def test_what_is_no_fault_is_refused_at_once(spec: Any, told: str) -> None:
    """Not in the middle of a session."""
    with pytest.raises(ConfigError, match=told):
        LocalServer(faults=[spec])


def test_faults_happen_as_often_as_asked() -> None:
    """Counted over the server's life; 0 is always."""
    plan = FaultPlan([Drop(times=2), Drop(times=0)])
    assert [plan.take(0) for _ in range(4)] == [True, True, False, False]
    assert all(plan.take(1) for _ in range(10))


def test_any_event_can_be_named_by_a_star() -> None:
    """Here the third, whatever it is."""
    with serving(Drop(on="*", nth=3)) as server, Wire(server, TTS) as wire:
        speak(wire)
        wire.until("session.finished")
        assert wire.types[:3] == ["session.created", "response.created", "response.content_part.added"]
