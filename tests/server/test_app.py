"""The server on the loopback interface, with stub engines: handshake, sessions, limits, end."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
import websocket

from qwen_realtime.errors import ConfigError
from qwen_realtime.server import LocalServer, NoPong

from .stage import StubEngines
from .wires import WAIT_S, Wire

TTS = "qwen3-tts-flash-realtime"
ASR = "qwen3-asr-flash-realtime"
OMNI = "qwen3.5-omni-flash-realtime"


@pytest.fixture
def engines() -> StubEngines:
    """Engines that do as they are told."""
    return StubEngines()


@pytest.fixture
def server(engines: StubEngines) -> Iterator[LocalServer]:
    """A server with those engines."""
    with LocalServer(engines=engines) as made:
        yield made


@pytest.mark.parametrize(
    ("model", "event", "field"),
    [
        (TTS, "session.update", "session"),
        (TTS, "input_text_buffer.append", "text"),
        (ASR, "input_audio_buffer.append", "audio"),
        (OMNI, "conversation.item.create", "item"),
    ],
)
def test_a_required_field_that_is_missing_is_an_error(server: LocalServer, model: str, event: str, field: str) -> None:
    """And the event counts for nothing: the settings can still be changed."""
    with Wire(server, model) as wire:
        wire.send(event)
        error = wire.until("error")["error"]
        assert error["message"] == f"Missing required parameter: '{field}'."
        assert (error["code"], error["param"]) == ("missing_required_parameter", field)
        wire.send("session.update", session={})
        wire.until("session.updated")


def refusal(server: LocalServer, model: str = TTS, key: str = "any") -> tuple[int, dict[str, Any], dict[str, str]]:
    """How a handshake is refused: status, error object, headers."""
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        Wire(server, model, key)
    error: Any = caught.value
    headers = {str(name).lower(): str(value) for name, value in dict(error.resp_headers).items()}
    return int(error.status_code), json.loads(error.resp_body)["error"], headers


@pytest.mark.parametrize("model", [TTS, ASR, OMNI, "qwen3.5-livetranslate-flash-realtime", "qwen9-asr-turbo-realtime"])
def test_every_family_begins_with_session_created(server: LocalServer, model: str) -> None:
    """The family is read from the model's name, known or not."""
    with Wire(server, model) as wire:
        event = wire.receive()
    assert event["type"] == "session.created"
    assert event["session"]["model"] == model
    assert re.fullmatch(r"sess_[A-Za-z0-9_-]{21}", event["session"]["id"])
    assert re.fullmatch(r"event_[A-Za-z0-9_-]{21}", event["event_id"])
    assert server.last_session.session_id == event["session"]["id"]


def test_a_missing_key_is_401(server: LocalServer) -> None:
    """With a JSON body that says what to send."""
    status, error, headers = refusal(server, key="")
    assert status == 401
    assert "Authorization" in error["message"]
    assert headers["content-type"] == "application/json"


def test_the_servers_own_key_is_the_only_one() -> None:
    """A wrong one is 401, the right one gets in."""
    with LocalServer(engines=StubEngines(), api_key="sk-right") as server:
        assert refusal(server, key="sk-wrong")[0] == 401
        with Wire(server, TTS, "sk-right") as wire:
            assert wire.receive()["type"] == "session.created"
        assert "authorization" not in server.last_session.headers


def test_a_missing_model_is_400_and_an_impossible_one_404(server: LocalServer) -> None:
    """Both say why."""
    assert refusal(server, model="")[:2][0] == 400
    status, error, _ = refusal(server, model="gpt-5")
    assert (status, error["code"]) == (404, "model_not_found")


def get(server: LocalServer, path: str) -> tuple[int, str]:
    """Status and body of a plain request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_browser_is_told_what_this_is(server: LocalServer) -> None:
    """And that other paths are not here, and that this one is a WebSocket's."""
    assert get(server, "/")[0] == 200
    assert "stand-in" in get(server, "/")[1]
    assert get(server, "/v1/other")[0] == 404
    assert get(server, "/api-ws/v1/realtime?model=" + TTS)[0] == 401


def test_garbage_instead_of_a_handshake_ends_the_connection(server: LocalServer) -> None:
    """And nothing else."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        while sock.recv(4096):
            pass
    with Wire(server, TTS) as wire:
        assert wire.receive()["type"] == "session.created"


def test_tts_speaks_over_the_wire(server: LocalServer) -> None:
    """From text to sound to session.finished; the server then waits for the client to close."""
    with Wire(server, TTS) as wire:
        wire.send("session.update", session={"voice": "Cherry", "sample_rate": 16000})
        wire.send("input_text_buffer.append", text="Hello there.")
        wire.send("session.finish")
        wire.until("session.finished")
        assert len(wire.sound) == 12 * 960 * 2
        ids = [event["event_id"] for event in wire.events]
        assert len(set(ids)) == len(ids)
        assert server.sessions == 1
    wait_until_ended(server)
    assert server.last_session.close_code == 1000
    assert server.last_session.text_characters == 12
    assert server.last_session.server_events["response.done"] == 1
    assert [event.type for event in server.last_session.received][-1] == "session.finish"


def test_closing_after_finish_is_an_option() -> None:
    """One page says that the server closes."""
    with LocalServer(engines=StubEngines(), closes_after_finish=True) as server, Wire(server, TTS) as wire:
        wire.send("session.finish")
        wire.until("session.finished")
        assert wire.receive_close() == (1000, "")


def test_what_is_no_event_is_an_error_event(server: LocalServer) -> None:
    """Not JSON, not an object, no type, not text, nobody's type: the session survives them all."""
    with Wire(server, ASR) as wire:
        wire.receive()
        for message in ("hello", "[1]", "{}", '{"type": 5}'):
            wire.socket.send(message)
            error = wire.receive()
            assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
        wire.socket.send_binary(b"\x00\x01")
        assert "Binary" in wire.receive()["error"]["message"]
        wire.send("session.explode")
        assert wire.receive()["error"] == {
            "type": "invalid_request_error",
            "code": "invalid_value",
            "message": "Invalid event type: 'session.explode'.",
            "event_id": "event_client",
        }
        wire.send("input_audio_buffer.append", audio="AA\nAA")
        assert wire.receive()["error"]["message"] == "Illegal base64 character a"
        wire.send("session.finish")
        assert wire.receive()["type"] == "session.finished"


def test_text_that_is_not_utf_8_is_an_error_event(server: LocalServer) -> None:
    """websocket-client lets such bytes through."""
    with Wire(server, ASR) as wire:
        wire.receive()
        wire.socket.send(b'{"type": "\xff"}', websocket.ABNF.OPCODE_TEXT)
        event = wire.receive()
        assert event["type"] == "error"


def test_fragments_are_put_together(server: LocalServer) -> None:
    """A message may come in several frames."""
    with Wire(server, TTS) as wire:
        wire.receive()
        frame = websocket.ABNF.create_frame
        wire.socket.send_frame(frame('{"type": "session', websocket.ABNF.OPCODE_TEXT, 0))
        wire.socket.send_frame(frame('.finish"}', websocket.ABNF.OPCODE_CONT, 1))
        assert wire.receive()["type"] == "session.finished"


def test_a_message_that_is_too_long_closes_with_1009() -> None:
    """And the server stays well, and closes soon."""
    with LocalServer(engines=StubEngines(), max_message_bytes=100_000) as server:
        with Wire(server, ASR) as wire:
            wire.receive()
            wire.send("input_audio_buffer.append", audio="A" * 200_000)
            assert wire.receive_close()[0] == 1009
        with Wire(server, ASR) as wire:
            assert wire.receive()["type"] == "session.created"


def test_pings_are_answered(server: LocalServer) -> None:
    """At once, with the same payload."""
    with Wire(server, TTS) as wire:
        wire.receive()
        wire.socket.ping("are you there")
        opcode, data = wire.socket.recv_data(control_frame=True)
        assert (opcode, data) == (websocket.ABNF.OPCODE_PONG, b"are you there")


def test_pings_are_left_unanswered_on_request() -> None:
    """The session works all the same."""
    with LocalServer(engines=StubEngines(), faults=[NoPong()]) as server, Wire(server, TTS) as wire:
        wire.receive()
        wire.socket.ping("are you there")
        wire.send("session.finish")
        opcode, data = wire.socket.recv_data(control_frame=True)
        assert opcode == websocket.ABNF.OPCODE_TEXT
        assert json.loads(data)["type"] == "session.finished"


def test_sessions_are_counted_and_limited() -> None:
    """One too many is 429 with Retry-After; when one has ended, another may come."""
    with LocalServer(engines=StubEngines(), max_sessions=1) as server:
        with Wire(server, TTS) as wire:
            wire.receive()
            assert server.sessions == 1
            status, error, headers = refusal(server)
            assert (status, error["code"], headers["retry-after"]) == (429, "Throttling.RateQuota", "1")
        wait_until_ended(server)
        with Wire(server, TTS) as wire:
            assert wire.receive()["type"] == "session.created"
        assert server.connections == 3


def wait_until_ended(server: LocalServer) -> None:
    """Wait until no session's thread is left."""
    for thread in threading.enumerate():
        if thread.name.startswith("qwen-server-session"):
            thread.join(WAIT_S)
    assert server.sessions == 0


def test_a_session_has_a_limit() -> None:
    """Then it is closed."""
    with LocalServer(engines=StubEngines(), session_limit_s=0.2) as server, Wire(server, OMNI) as wire:
        code, reason = wire.receive_close()
        assert code == 1011
        assert "maximum duration" in reason


def test_a_client_that_vanishes_is_let_go(server: LocalServer, engines: StubEngines) -> None:
    """Its listener is closed and its thread ends."""
    wire = Wire(server, ASR)
    wire.receive()
    wire.send_audio(bytes(3200))
    wire.send("input_audio_buffer.commit")
    wire.until("error")
    wire.socket.shutdown()
    wait_until_ended(server)
    assert engines.listener.orders == ["close"]
    assert server.last_session.open is False
    assert server.last_session.close_code is None


def test_closing_the_server_closes_its_sessions() -> None:
    """With 1001, soon, and with no thread or port left behind; twice is once."""
    server = LocalServer(engines=StubEngines()).start()
    assert server.start() is server
    wires = [Wire(server, model) for model in (TTS, ASR, OMNI)]
    for wire in wires:
        wire.receive()
    closing = threading.Thread(target=server.close)
    closing.start()
    assert [wire.receive_close()[0] for wire in wires] == [1001] * 3
    closing.join(WAIT_S)
    server.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("qwen-server")] == []
    with pytest.raises(OSError):  # noqa: PT011 - which error it is depends on the system
        socket.create_connection(("127.0.0.1", wires[0].socket.sock.getpeername()[1]), timeout=1).close()
    for wire in wires:
        wire.socket.shutdown()
    with pytest.raises(ConfigError):
        server.start()


def test_a_client_that_says_nothing_does_not_hold_up_the_end() -> None:
    """Neither before the handshake nor while closing."""
    server = LocalServer(engines=StubEngines()).start()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S),
        socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as deaf,
    ):
        deaf.sendall(
            f"GET /api-ws/v1/realtime?model={TTS} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Authorization: Bearer any\r\n\r\n".encode()
        )
        assert deaf.recv(4096).startswith(b"HTTP/1.1 101")
        done = threading.Event()

        def close() -> None:
            server.close()
            done.set()

        closing = threading.Thread(target=close)
        closing.start()
        assert done.wait(4.0)
        closing.join()


def test_many_sessions_at_once(server: LocalServer) -> None:
    """Each gets its own sound."""
    wires = [Wire(server, TTS) for _ in range(20)]
    for number, wire in enumerate(wires):
        wire.send("input_text_buffer.append", text=f"{'very ' * number}well.")
        wire.send("session.finish")
    for number, wire in enumerate(wires):
        wire.until("session.finished")
        assert len(wire.sound) == round((5 * number + 5) * 0.06 * 24000) * 2
        wire.close()


def test_a_slow_reader_gets_everything_and_can_still_cancel(server: LocalServer) -> None:
    """What it does not read stays in the lane, not in the socket; so a cancellation reaches it."""
    with Wire(server, TTS) as wire:
        wire.receive()
        wire.send("input_text_buffer.append", text="a" * 199 + "? ")
        wire.send("input_text_buffer.append", text="b" * 20_000)
        wire.until("response.created")
        wire.send("response.cancel")
        done = wire.until("response.done")
        assert done["response"]["status"] == "incomplete"
        assert len(wire.sound) < 20_000 * 0.06 * 48_000 / 2


def test_tls_is_served_under_the_name_of_this_machine() -> None:
    """wss://localhost, to a client that trusts the certificate."""
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with LocalServer(engines=StubEngines(), tls=serving) as server:
        assert server.url.startswith("wss://localhost:")
        with Wire(server, TTS, sslopt={"context": trusting}) as wire:
            wire.send("input_text_buffer.append", text="A longer text, so that there is more than one TLS record. " * 9)
            wire.send("session.finish")
            wire.until("session.finished")
            assert len(wire.sound) > 1_000_000
        with pytest.raises(ssl.SSLError):
            Wire(server, TTS, sslopt={"ca_certs": None})
        with Wire(server, TTS, sslopt={"context": trusting}) as wire:
            assert wire.receive()["type"] == "session.created"


def test_the_port_is_remembered_after_the_end(engines: StubEngines) -> None:
    """Another server can take its place, for clients that come back."""
    with LocalServer(engines=engines) as first:
        url = first.url
    assert first.url == url
    with LocalServer(first.port, engines=engines) as second:
        assert second.url == url


def test_the_port_can_be_chosen(server: LocalServer) -> None:
    """And is refused where it is taken."""
    with pytest.raises(OSError):  # noqa: PT011 - which error it is depends on the system
        LocalServer(server.port, engines=StubEngines()).start()


@pytest.mark.parametrize("wrong", [{"pace": -1.0}, {"max_sessions": 0}, {"session_limit_s": -1.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError):
        LocalServer(**wrong)


def test_an_error_in_the_server_itself_ends_one_session_only(
    server: LocalServer, engines: StubEngines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With 1011, and a line in the log."""

    def explode(text: str, **more: Any) -> None:
        raise ZeroDivisionError(text)

    with Wire(server, TTS) as other, Wire(server, TTS) as wire:
        other.receive()
        monkeypatch.setattr(engines, "synthesize", explode)
        wire.send("input_text_buffer.append", text="Boom.")
        assert wire.receive_close()[0] == 1011
        monkeypatch.undo()
        other.send("session.finish")
        assert other.until("session.finished")
    assert "ZeroDivisionError" in caplog.text


def test_describing_starts_nothing() -> None:
    """The engines say what they are before they run."""
    server = LocalServer()
    try:
        described = server.describe()
        assert {"speech", "listening", "translation", "dialogue"} <= set(described)
    finally:
        server.close()
    with pytest.raises(LookupError):
        _ = server.last_session
