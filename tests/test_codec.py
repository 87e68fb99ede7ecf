"""Text to event and back, over every sample that there is, and over what cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_realtime import codec, events
from qwen_realtime.errors import ConfigError, ProtocolError

from .data import CLIENT_EXAMPLES, PCM, SERVER_EXAMPLES, base64_of

# Python 3.14 takes nesting of some ten thousand levels, older ones of a thousand.
DEEP = 1_000_000

PROTOCOL = Path(__file__).parents[2] / "shared" / "protocol"


def _samples() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every recorded or documented event there is: its name, which side sent it, and the message."""
    for path in sorted(PROTOCOL.glob("events*/*/*/*.json")):
        message = json.loads(path.read_text())
        if "type" in message:  # one file is a fragment of an event
            yield f"{path.parts[-4]}/{path.parts[-3]}/{path.name}", path.parts[-2], message
    for path in sorted((PROTOCOL / "traces").glob("*/*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines()):
            message = json.loads(line)
            if "event" in message:
                yield f"{path.name}:{number}", message["dir"], message["event"]
            else:
                yield f"{path.name}:{number}", "server", message


SAMPLES = list(_samples())
EXAMPLES = [("server", message) for message in SERVER_EXAMPLES.values()] + [
    ("client", message) for message in CLIENT_EXAMPLES.values()
]


def _decode(side: str, message: dict[str, Any]) -> events.Event:
    payload = json.dumps(message).encode()
    return codec.decode_server(payload) if side == "server" else codec.decode_client(payload)


def _without_source(event: events.Event) -> events.Event:
    """A copy of an event that knows nothing of the text it came from."""
    return msgspec.structs.replace(event)


def _undeclared(message: Any, typed: Any, path: str = "") -> set[str]:
    """The paths of a message that its typed fields alone do not bring back."""
    if isinstance(message, dict) and isinstance(typed, dict):
        lost = {f"{path}.{key}" for key in message if key not in typed}
        return lost.union(
            *(_undeclared(value, typed[key], f"{path}.{key}") for key, value in message.items() if key in typed)
        )
    if isinstance(message, list) and isinstance(typed, list) and len(message) == len(typed):
        return set().union(*(_undeclared(*pair, path) for pair in zip(message, typed, strict=True)))
    return set() if message == typed else {path}


@pytest.mark.skipif(not SAMPLES, reason="../shared/protocol is not here")
class TestEverySample:
    """All events of the protocol's folder."""

    @pytest.mark.parametrize(("side", "message"), [each[1:] for each in SAMPLES], ids=[each[0] for each in SAMPLES])
    def test_is_decoded_and_encoded_without_loss(self, side: str, message: dict[str, Any]) -> None:
        """An event encodes to the message that it came as."""
        assert json.loads(codec.encode(_decode(side, message))) == message

    @pytest.mark.parametrize(("side", "message"), [each[1:] for each in SAMPLES], ids=[each[0] for each in SAMPLES])
    def test_is_declared_field_by_field(self, side: str, message: dict[str, Any]) -> None:
        """Typed fields alone bring everything back but the samples' own notes; only cut audio has no class."""
        event = _decode(side, message)
        if isinstance(event, events.UnknownEvent):
            assert "base64" in event.why
            assert len(message.get("delta") or message.get("audio") or message.get("image") or "") < 60
            return
        assert event.type == message["type"]
        typed = json.loads(codec.encode(_without_source(event)))
        assert _undeclared(message, typed) <= {"._note"}

    def test_covers_all_four_families(self) -> None:
        """The folder is the whole one: the tests above were no empty ones."""
        assert len(SAMPLES) > 200


def test_every_class_has_an_example_of_ours() -> None:
    """No event can be declared without an example here."""
    assert set(SERVER_EXAMPLES) == set(events.SERVER_EVENTS)
    assert set(CLIENT_EXAMPLES) == set(events.CLIENT_EVENTS)


@pytest.mark.parametrize(("side", "message"), EXAMPLES, ids=[f"{side}-{each['type']}" for side, each in EXAMPLES])
class TestEveryExample:
    """Our own examples, one for each class."""

    def test_arrives_as_its_class(self, side: str, message: dict[str, Any]) -> None:
        """Each wire type has the class that is named after it."""
        classes = events.SERVER_EVENTS if side == "server" else events.CLIENT_EVENTS
        event = _decode(side, message)
        assert type(event) is classes[message["type"]]
        assert type(event).__name__.lower() == message["type"].replace(".", "").replace("_", "")
        assert event.type == message["type"]
        assert event.raw == message

    def test_is_brought_back_by_its_typed_fields_alone(self, side: str, message: dict[str, Any]) -> None:
        """Nothing of the example is undeclared."""
        event = _decode(side, message)
        assert json.loads(codec.encode(_without_source(event))) == message

    def test_keeps_fields_that_nobody_declared(self, side: str, message: dict[str, Any]) -> None:
        """What a later version of the service adds is in ``raw``, and survives encoding."""
        more = {**message, "future": {"deep": [1, None]}}
        event = _decode(side, more)
        assert type(event) is type(_decode(side, message))
        assert event.raw["future"] == {"deep": [1, None]}
        assert json.loads(codec.encode(event)) == more

    def test_says_so_when_a_copy_is_changed(self, side: str, message: dict[str, Any]) -> None:
        """A changed copy is encoded with the change: the source text is not merely handed back."""
        event = _decode(side, message)
        changed = msgspec.structs.replace(event, event_id="event_changed")
        assert json.loads(codec.encode(changed)) == {**message, "event_id": "event_changed"}

    def test_is_equal_to_one_made_by_hand(self, side: str, message: dict[str, Any]) -> None:
        """The text that an event came from takes no part in equality and repr."""
        event = _decode(side, message)
        assert event == _without_source(event)
        assert "source" not in repr(event)

    def test_is_frozen(self, side: str, message: dict[str, Any]) -> None:
        """Handlers cannot change what the next handler gets."""
        with pytest.raises(AttributeError):
            _decode(side, message).event_id = "x"  # type: ignore[attr-defined]


def test_audio_is_bytes() -> None:
    """No user ever sees base64."""
    delta = codec.decode_server(json.dumps(SERVER_EXAMPLES["response.audio.delta"]).encode())
    assert isinstance(delta, events.ResponseAudioDelta)
    assert delta.delta == PCM


def test_absent_and_null_are_told_apart() -> None:
    """``UNSET`` is not ``None``: one was left out, the other was sent."""
    absent = codec.decode_server(b'{"type":"input_audio_buffer.committed"}')
    null = codec.decode_server(b'{"type":"input_audio_buffer.committed","previous_item_id":null}')
    assert isinstance(absent, events.InputAudioBufferCommitted)
    assert isinstance(null, events.InputAudioBufferCommitted)
    assert absent.previous_item_id is events.UNSET
    assert null.previous_item_id is None
    assert codec.encode(absent) == b'{"type":"input_audio_buffer.committed"}'


def test_an_unknown_type_arrives_whole() -> None:
    """A type that nobody declared is an ``UnknownEvent`` with its id and message, and can be sent on."""
    message = {"type": "response.video.delta", "event_id": "event_7", "pixels": [1, 2]}
    event = codec.decode_server(json.dumps(message).encode())
    assert isinstance(event, events.UnknownEvent)
    assert (event.type, event.event_id, event.raw, event.why) == (
        "response.video.delta",
        "event_7",
        message,
        "not declared",
    )
    assert json.loads(codec.encode(event)) == message


@pytest.mark.parametrize(
    "misfit",
    [
        {"type": "response.audio.delta", "delta": "not base64!"},
        {"type": "response.audio.delta", "delta": "QUJD\r\nREVG"},
        {"type": "response.text.delta", "delta": None},
        {"type": "session.created", "session": []},
        {"type": "response.done", "response": {"output": {}}},
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": "soon"},
    ],
    ids=lambda message: message["type"],
)
def test_a_message_that_does_not_fit_its_class_still_arrives(misfit: dict[str, Any]) -> None:
    """It is an ``UnknownEvent`` that says where it does not fit."""
    event = codec.decode_server(json.dumps(misfit).encode())
    assert isinstance(event, events.UnknownEvent)
    assert event.raw == misfit
    assert "$." in event.why


@pytest.mark.parametrize(
    "message",
    [
        {"type": "session.finished", "event_id": None},
        {"type": "response.audio.delta", "delta": "QUJD", "content_index": None, "response_id": "resp_1"},
        {"type": "response.done", "response": {"id": "resp_1", "status": None, "modalities": None, "more": [None]}},
        {"type": "conversation.item.input_audio_transcription.text", "text": "so far", "stash": None},
    ],
    ids=lambda message: message["type"],
)
def test_a_null_beside_the_content_is_as_good_as_nothing(message: dict[str, Any]) -> None:
    """The event is its class; ``raw`` is what came."""
    event = codec.decode_server(json.dumps(message).encode())
    assert type(event) is events.SERVER_EVENTS[message["type"]]
    assert event.raw == message


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ({"code": 400, "message": "bad"}, ("400", "bad")),
        ({"code": None, "message": {"why": "bad"}}, (None, '{"why":"bad"}')),
        ("bad", (events.UNSET, "bad")),
        (None, (events.UNSET, None)),
    ],
    ids=repr,
)
def test_an_error_in_another_shape_is_an_error(detail: Any, told: tuple[Any, Any]) -> None:
    """Somebody waits for it, or for what it comes in place of."""
    event = codec.decode_server(json.dumps({"type": "error", "error": detail}).encode())
    assert isinstance(event, events.Error)
    assert (event.error.code, event.error.message) == told
    assert event.raw["error"] == detail


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{",
        b"{}",
        b'{"type":null}',
        b'{"type":5}',
        b'{"type":"error"',
        b'{"type":"error"}}',
        b"\xff\xfe",
        b'{"type":"error","error":{"message":"\xff"}}',
        b'{"type":"error","error":{"message":"\\ud83d"}}',
        b'{"type":"session.created","session":{"a":' + b"[" * DEEP,
        b'{"type":"session.created","session":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
        b'{"type":"response.audio.delta","future":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"type":"unheard.of","n":' + b'{"a":' * DEEP,
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_what_cannot_be_is_a_protocol_error(payload: bytes) -> None:
    """Not UTF-8, not JSON, no object, no type, or nested without end: always ``ProtocolError``."""
    with pytest.raises(ProtocolError):
        codec.decode_server(payload)
    with pytest.raises(ProtocolError):
        codec.decode_client(payload)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    """Arbitrary bytes are an event or a ``ProtocolError``."""
    for decode in (codec.decode_server, codec.decode_client):
        try:
            event: events.Event = decode(payload)
        except ProtocolError:
            continue
        assert isinstance(event.type, str)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = sorted({key for message in SERVER_EXAMPLES.values() for key in message} - {"type"})


@given(st.sampled_from(sorted(events.SERVER_EVENTS)), st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=4))
def test_no_message_of_any_type_is_lost(kind: str, fields: dict[str, Any]) -> None:
    """Whatever the fields are, a JSON object with a type arrives, and its undeclared fields are there."""
    message = {"type": kind, **fields}
    try:
        event = codec.decode_server(json.dumps(message).encode())
    except ProtocolError:
        with pytest.raises((UnicodeError, msgspec.DecodeError)):  # lone surrogates, numbers out of range
            msgspec.json.decode(json.dumps(message).encode())
        return
    assert event.type == kind
    assert event.raw == msgspec.json.decode(json.dumps(message).encode())
    assert set(json.loads(codec.encode(event))) >= set(message)


class TestEncoding:
    """Events that go out."""

    def test_an_id_is_filled_in_where_there_is_none(self) -> None:
        """Your own id is kept."""
        assert json.loads(codec.encode(events.SessionFinish(), "event_9"))["event_id"] == "event_9"
        assert json.loads(codec.encode(events.SessionFinish(event_id="mine"), "event_9"))["event_id"] == "mine"

    def test_an_id_does_not_cost_undeclared_fields(self) -> None:
        """A decoded event that is sent on gets its id, and keeps what no class declares."""
        event = codec.decode_client(b'{"type":"session.finish","future":1}')
        assert json.loads(codec.encode(event, "event_9")) == {
            "type": "session.finish",
            "future": 1,
            "event_id": "event_9",
        }
        unknown = codec.decode_client(b'{"type":"unheard.of","event_id":""}')
        assert json.loads(codec.encode(unknown, "event_9")) == {"type": "unheard.of", "event_id": "event_9"}

    @pytest.mark.parametrize(
        "event",
        [
            events.InputTextBufferAppend(text="half a pair: \ud83d"),
            events.ConversationItemCreate(item={"type": "message", "seen_by": object()}),
        ],
        ids=lambda event: event.type,
    )
    def test_what_json_cannot_hold_is_refused(self, event: events.Event) -> None:
        """As an error of ours that names the event."""
        with pytest.raises(ConfigError, match=f"{event.type} cannot be JSON"):
            codec.encode(event)

    def test_what_is_unset_is_left_out(self) -> None:
        """``response.create`` without overrides has no ``response``."""
        assert json.loads(codec.encode(events.ResponseCreate())) == {"type": "response.create"}

    @given(st.binary(max_size=300))
    def test_an_audio_message_is_the_same_as_an_encoded_event(self, pcm: bytes) -> None:
        """The short way for audio makes the message that the encoder makes."""
        short = codec.audio_message(pcm, "event_1")
        assert json.loads(short) == json.loads(
            codec.encode(events.InputAudioBufferAppend(event_id="event_1", audio=pcm))
        )
        decoded = codec.decode_client(short)
        assert isinstance(decoded, events.InputAudioBufferAppend)
        assert decoded.audio == pcm
        assert json.loads(short)["audio"] == base64_of(pcm)

    def test_a_message_has_its_audio_as_text(self) -> None:
        """``to_message`` is what the wire has."""
        assert codec.to_message(events.InputAudioBufferAppend(audio=PCM)) == {
            "type": "input_audio_buffer.append",
            "audio": base64_of(PCM),
        }


def test_what_is_nested_too_deeply_to_be_shown_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding may pass over more than ``raw`` can hold."""
    event = codec.decode_server(b'{"type":"session.finished","future":[[]]}')

    def too_deep(_source: str) -> Any:
        raise RecursionError

    monkeypatch.setattr(msgspec.json, "decode", too_deep)
    with pytest.raises(ProtocolError, match="too deeply"):
        _ = event.raw
