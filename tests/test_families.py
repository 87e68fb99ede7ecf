"""The four clients' verbs, as the peer sees them."""

from __future__ import annotations

import array
import base64
import inspect
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qwen_realtime import ASRClient, LiveTranslateClient, OmniClient, RealtimeClient, TTSClient, families
from qwen_realtime.errors import ConfigError, ConnectionClosed, ServerError, WaitTimeout

from .data import base64_of
from .peer import CLOSE, Link, created, serve

JPEG = b"\xff\xd8\xff\xe0" + bytes(100)


def _heard(link: Link) -> bytes:
    """All audio that the client has sent."""
    return b"".join(
        base64.b64decode(event["audio"], validate=True)
        for event in link.events
        if event["type"] == "input_audio_buffer.append"
    )


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "event_id"}


@pytest.fixture
def connected(peers: Callable[..., Any], clients: Callable[..., Any]) -> Callable[..., Any]:
    """Connect a client of a class to a polite peer: the client and the peer's end."""

    def connect(kind: type, **options: Any) -> tuple[Any, Link]:
        peer = peers()
        return clients(peer, kind, **options).connect(), peer.link()

    return connect


@pytest.mark.parametrize("kind", [TTSClient, ASRClient, OmniClient, LiveTranslateClient])
def test_all_clients_are_made_with_the_same_arguments(kind: type[RealtimeClient]) -> None:
    """Editors and ``help()`` show them for each."""
    assert inspect.signature(kind) == inspect.signature(RealtimeClient)
    assert inspect.signature(kind).parameters["connect_timeout"].default == 10.0


class TestEveryVerb:
    """Each verb sends one event."""

    @pytest.mark.parametrize(
        ("kind", "call", "sent"),
        [
            (TTSClient, lambda c: c.append_text("Hé"), {"type": "input_text_buffer.append", "text": "Hé"}),
            (TTSClient, lambda c: c.commit(), {"type": "input_text_buffer.commit"}),
            (TTSClient, lambda c: c.clear(), {"type": "input_text_buffer.clear"}),
            *(
                row
                for kind in (ASRClient, OmniClient, LiveTranslateClient)
                for row in (
                    (kind, lambda c: c.append_audio(b"ab"), {"type": "input_audio_buffer.append", "audio": "YWI="}),
                    (kind, lambda c: c.commit(), {"type": "input_audio_buffer.commit"}),
                    (kind, lambda c: c.clear(), {"type": "input_audio_buffer.clear"}),
                )
            ),
            (OmniClient, lambda c: c.create_response(), {"type": "response.create"}),
            (
                OmniClient,
                lambda c: c.create_response(instructions="Short."),
                {"type": "response.create", "response": {"instructions": "Short."}},
            ),
            (
                OmniClient,
                lambda c: c.send_text("Hi"),
                {
                    "type": "conversation.item.create",
                    "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                },
            ),
            (
                OmniClient,
                lambda c: c.send_tool_output("call_1", {"°C": 21}),
                {
                    "type": "conversation.item.create",
                    "item": {"type": "function_call_output", "call_id": "call_1", "output": '{"°C": 21}'},
                },
            ),
            (
                OmniClient,
                lambda c: c.send_tool_output("call_1", "as it is"),
                {
                    "type": "conversation.item.create",
                    "item": {"type": "function_call_output", "call_id": "call_1", "output": "as it is"},
                },
            ),
        ],
        ids=lambda each: each.__name__ if isinstance(each, type) else None,
    )
    def test_sends_its_event(
        self, connected: Callable[..., Any], kind: type, call: Callable[[Any], object], sent: dict[str, Any]
    ) -> None:
        """With an id."""
        client, link = connected(kind)
        call(client)
        event = link.wait_for(sent["type"])
        assert event["event_id"]
        assert _plain(event) == sent

    def test_images_go_out_after_audio(self, connected: Callable[..., Any]) -> None:
        """As the service demands it."""
        for kind in (OmniClient, LiveTranslateClient):
            client, link = connected(kind)
            with pytest.raises(ConfigError, match="before append audio"):
                client.append_image(JPEG)
            client.append_audio(bytes(2))
            client.append_image(bytearray(JPEG))
            assert link.wait_for("input_image_buffer.append")["image"] == base64_of(JPEG)


class TestAudio:
    """``append_audio``."""

    @pytest.mark.parametrize(
        "audio",
        [
            bytes(range(200)),
            bytearray(range(200)),
            memoryview(bytes(range(200))),
            np.frombuffer(bytes(range(200)), dtype=np.int16),
            memoryview(array.array("h", bytes(range(200)))),
        ],
        ids=lambda audio: type(audio).__name__,
    )
    def test_takes_pcm_in_every_form(self, connected: Callable[..., Any], audio: Any) -> None:
        """Bytes-like or an array; never base64."""
        client, link = connected(ASRClient)
        client.append_audio(audio)
        link.wait_for("input_audio_buffer.append")
        assert _heard(link) == bytes(range(200))

    def test_takes_floats_within_one(self, connected: Callable[..., Any]) -> None:
        """And clips beyond."""
        client, link = connected(ASRClient)
        client.append_audio(np.array([0.0, 1.0, -1.0, 2.0], dtype=np.float32))
        link.wait_for("input_audio_buffer.append")
        heard = np.frombuffer(_heard(link), dtype=np.int16)
        assert heard[0] == 0
        assert heard[1] == heard[3] >= 32766
        assert heard[2] <= -32766

    def test_an_odd_byte_is_carried_over(self, connected: Callable[..., Any]) -> None:
        """No sample is torn, and no event is sent for half of one."""
        client, link = connected(ASRClient)
        for piece in (b"a", b"bc", b"", b"defg", b"h", b"x"):
            client.append_audio(piece)
        client.commit()
        link.wait_for("input_audio_buffer.commit")
        assert _heard(link) == b"abcdefgh"
        assert all(len(base64.b64decode(e["audio"])) % 2 == 0 for e in link.events if "audio" in e)
        assert "" not in [e["audio"] for e in link.events if "audio" in e]

    def test_clearing_forgets_the_carried_byte(self, connected: Callable[..., Any]) -> None:
        """It was never sent."""
        client, link = connected(OmniClient)
        client.append_audio(b"abc")
        client.clear()
        client.append_audio(b"de")
        client.commit()
        link.wait_for("input_audio_buffer.commit")
        assert _heard(link) == b"abde"

    def test_a_megabyte_is_sent_in_pieces(self, connected: Callable[..., Any]) -> None:
        """In order and whole."""
        client, link = connected(ASRClient)
        pcm = np.arange(524_288, dtype=np.uint32).astype(np.uint16).tobytes()
        client.append_audio(pcm)
        client.commit()
        link.wait_for("input_audio_buffer.commit")
        assert _heard(link) == pcm
        sizes = [len(base64.b64decode(event["audio"])) for event in link.events if "audio" in event]
        assert sizes == [families.PIECE_BYTES] * 16

    @pytest.mark.parametrize(
        "audio",
        [
            "YWI=",
            None,
            7,
            [0, 1],
            np.zeros(4, dtype=np.int32),
            np.zeros((2, 2), dtype=np.int16),
            np.zeros(4, dtype=np.complex64),
        ],
        ids=repr,
    )
    def test_what_is_no_audio_is_refused(self, connected: Callable[..., Any], audio: Any) -> None:
        """Before anything is sent."""
        client, link = connected(ASRClient)
        with pytest.raises(ConfigError):
            client.append_audio(audio)
        client.commit()
        link.wait_for("input_audio_buffer.commit")
        assert _heard(link) == b""

    def test_after_the_end_of_input_it_is_refused(self, connected: Callable[..., Any]) -> None:
        """And after the end of everything."""
        client, link = connected(ASRClient)
        with client.expect("session.finished", 5):
            client.send({"type": "session.finish"})
        with pytest.raises(ConnectionClosed, match=r"after session\.finish"):
            client.append_audio(bytes(2))
        client.close()
        with pytest.raises(ConnectionClosed):
            client.append_audio(bytes(2))
        assert _heard(link) == b""


class TestImages:
    """``append_image``."""

    @pytest.mark.parametrize(
        ("image", "told"),
        [
            (b"\x89PNG\r\n", "not a JPEG"),
            (b"", "not a JPEG"),
            ("photo.jpg", "must be the bytes of a JPEG file, not str"),
            (None, "NoneType"),
            (b"\xff\xd8\xff" + bytes(600 * 1024), "over .* limit of 194560"),
        ],
        ids=["png", "empty", "a path", "nothing", "too large"],
    )
    def test_what_the_service_would_refuse_is_refused(
        self, connected: Callable[..., Any], image: Any, told: str
    ) -> None:
        """Before it is sent."""
        client, link = connected(OmniClient)
        client.append_audio(bytes(2))
        with pytest.raises(ConfigError, match=told):
            client.append_image(image)
        client.commit()
        link.wait_for("input_audio_buffer.commit")
        assert "input_image_buffer.append" not in link.types


class TestText:
    """``append_text``, ``send_text``."""

    def test_no_text_is_nothing(self, connected: Callable[..., Any]) -> None:
        """An empty append would be an error of the service."""
        client, link = connected(TTSClient)
        client.append_text("")
        client.commit()
        link.wait_for("input_text_buffer.commit")
        assert link.types == ["input_text_buffer.commit"]

    def test_what_is_no_text_is_refused(self, connected: Callable[..., Any]) -> None:
        """By its type."""
        client, _ = connected(TTSClient)
        with pytest.raises(ConfigError, match="not bytes"):
            client.append_text(b"Hello")
        omni, _ = connected(OmniClient)
        with pytest.raises(ConfigError):
            omni.send_text("")

    def test_a_text_that_the_model_cannot_take_is_refused(self, connected: Callable[..., Any]) -> None:
        """Where a limit is known, a lower bound of its tokens is over it."""
        with pytest.warns(UserWarning, match="switched off"):
            client, _ = connected(TTSClient, model="qwen-tts-realtime")
        with pytest.raises(ConfigError, match="limit of 512 tokens"):
            client.append_text("好" * 513)
        with pytest.raises(ConfigError, match="limit of 512 tokens"):
            client.append_text("word " * 513)
        client.append_text("supercalifragilistic" * 100)


def test_a_response_is_cancelled_only_while_there_is_one(
    peers: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    """Otherwise nothing is sent: it would be an error."""

    def script(link: Link) -> None:
        link.accept()
        link.send(created())
        link.receive_event("response.create")
        link.send("response.created", response={"id": "resp_1"})
        link.receive_event("response.cancel")
        link.send("response.output_item.done", response_id="resp_1")
        serve(link)

    peer = peers(script)
    client = clients(peer, OmniClient).connect()
    assert client.cancel_response() is False
    with client.expect("response.created", 5):
        client.create_response()
    assert client.response_active
    with client.expect("response.output_item.done", 5):
        assert client.cancel_response() is True
    assert client.cancel_response() is False
    client.close()
    assert peer.link().types == ["response.create", "response.cancel"]


def _speaks(link: Link) -> None:
    """Speak each committed text as its own bytes."""
    link.accept()
    link.send(created(sample_rate=16000, response_format="pcm"))
    text, number = "", 0
    while True:
        received = link.receive()
        if received.opcode == CLOSE:
            link.close()
            return
        message = received.message
        if message["type"] == "input_text_buffer.append":
            text += message["text"]
        elif message["type"] == "session.finish":
            link.send("session.finished")
        elif text == "refuse ":
            link.send("error", error={"message": "InvalidParameter"})
        elif message["type"] == "input_text_buffer.commit":
            number += 1
            name = f"resp_{number}"
            link.send("response.created", response={"id": name})
            for letter in text:
                link.send("response.audio.delta", response_id=name, delta=base64_of(letter.encode() * 2))
            link.send("response.done", response={"id": name, "usage": {"characters": len(text)}})
            text = ""


class TestSaying:
    """``say``."""

    def test_returns_the_speech_of_its_text(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """One after the other, each with its own audio, rate and usage."""
        client = clients(peers(_speaks)).connect()
        for text in ("abc", "de"):
            speech = client.say(text, 5)
            assert speech.audio == b"".join(letter.encode() * 2 for letter in text)
            assert (speech.sample_rate, speech.format, speech.text) == (16000, "pcm", text)
            assert speech.usage.characters == len(text)

    def test_leaves_no_handler_behind(self, peers: Callable[..., Any], clients: Callable[..., Any]) -> None:
        """Whether it succeeds or not."""
        client = clients(peers(_speaks)).connect()
        client.say("abc", 5)
        with pytest.raises(ServerError):
            client.say("refuse ", 5)
        assert client._dispatcher.handlers._entries == ()
        with pytest.raises(WaitTimeout):
            clients(peers()).connect().say("abc", 0.05)


class TestStreaming:
    """``stream``."""

    def test_sends_a_whole_source_and_the_silence_that_ends_it(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """A little more than the session's ``silence_duration_ms``; nothing in manual mode."""

        def script(link: Link) -> None:
            link.accept()
            link.send(created(turn_detection={"type": "server_vad", "silence_duration_ms": 600}, sample_rate=16000))
            serve(link)

        peer = peers(script)
        client = clients(peer, ASRClient).connect()
        pcm = bytes(range(1, 251)) * 64  # 16,000 bytes: half a second
        assert client.stream(memoryview(pcm), "fast") == 500.0
        client.commit()
        peer.link().wait_for("input_audio_buffer.commit")
        assert _heard(peer.link()) == pcm + bytes(32 * 1000)
        assert client.stream(memoryview(pcm), "fast", trailing_silence_ms=0) == 500.0
        client.commit()
        peer.link().wait_for("input_audio_buffer.commit", 2)
        assert len(_heard(peer.link())) == 2 * len(pcm) + 32 * 1000

    def test_keeps_the_pace(self, connected: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """Real time, or fifty times that."""
        naps: list[float] = []
        monkeypatch.setattr(time, "sleep", naps.append)
        monkeypatch.setattr(time, "monotonic", lambda: sum(naps))
        client, _ = connected(ASRClient)
        client.stream(bytearray(32_000), "realtime")
        assert sum(naps) == pytest.approx(1.0)
        naps.clear()
        client.stream(bytearray(32_000), "fast")
        assert sum(naps) == pytest.approx(1.0 / families.FAST)

    def test_what_cannot_be_streamed_is_refused(self, connected: Callable[..., Any]) -> None:
        """An unknown pace, a source that is none, a client that is closed."""
        client, _ = connected(ASRClient)
        with pytest.raises(ConfigError, match="pace"):
            client.stream(bytearray(2), "slow")
        with pytest.raises(ConfigError, match="WAV file"):
            client.stream(b"raw")
        client.close()
        with pytest.raises(ConnectionClosed):
            client.stream(bytearray(2))


def test_defaults_are_the_documented_models() -> None:
    """One per family; a client's repr says which."""
    defaults = {
        TTSClient: "qwen3-tts-flash-realtime",
        ASRClient: "qwen3-asr-flash-realtime",
        OmniClient: "qwen3.5-omni-flash-realtime",
        LiveTranslateClient: "qwen3.5-livetranslate-flash-realtime",
    }
    for kind, model in defaults.items():
        client = kind(api_key="k")
        assert client.model == model
        assert repr(client) == f"<{kind.__name__} {model} new no session>"
