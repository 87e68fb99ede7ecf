"""The declarations themselves."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from qwen_realtime import events

REGISTERED: dict[str, type[Any]] = {**events.SERVER_EVENTS, **events.CLIENT_EVENTS}


@pytest.mark.parametrize("kind", REGISTERED.values(), ids=REGISTERED)
def test_every_wire_event_is_lenient(kind: type[Any]) -> None:
    """All fields have defaults, for the service changes without notice; and it is exported and documented."""
    event = kind()
    assert event.type in REGISTERED
    assert getattr(events, kind.__name__) is kind
    assert kind.__name__ in events.__all__
    assert kind.__doc__
    assert event.raw == {"type": event.type, **{k: v for k, v in event.raw.items() if k != "type"}}


def test_connection_events_have_names_of_their_own() -> None:
    """They are never on the wire."""
    assert set(events.CONNECTION_EVENTS) == {"connected", "disconnected", "reconnecting", "reconnected"}
    info = events.CloseInfo(code=1007, reason="quota", by="server")
    gone = events.Disconnected(info=info)
    assert (gone.type, gone.code, gone.reason, gone.by) == ("disconnected", 1007, "quota", "server")
    assert not set(events.CONNECTION_EVENTS) & set(REGISTERED)


def test_a_handler_of_everything_can_treat_all_events_alike() -> None:
    """Connection events too have a type, an id that is none, and a dict that JSON can hold."""
    info = events.CloseInfo(by="network", error=OSError("it broke"))
    lost = events.Lost(notes=("a tool's output",))
    for event in (
        events.Connected(session_id="sess_1"),
        events.Disconnected(info=info),
        events.Reconnecting(attempt=1, delay=0.5, cause=info),
        events.Reconnected(attempts=1, lost=lost),
    ):
        assert (event.raw["type"], event.event_id) == (event.type, events.UNSET)
        assert json.loads(json.dumps(event.raw))["type"] == event.type
    assert events.Disconnected(info=info).raw["info"]["error"] == "it broke"


def test_bases_take_whole_groups() -> None:
    """One handler for everything about the response, or the input."""
    assert issubclass(events.ResponseAudioDelta, events.ResponseEvent)
    assert issubclass(events.InputAudioBufferCommitted, events.InputAudioBufferEvent)
    assert issubclass(events.SessionUpdated, events.SessionEvent)
    assert issubclass(events.ConversationItemInputAudioTranscriptionFailed, events.TranscriptionEvent)
    assert not issubclass(events.SessionFinish, events.ServerEvent)


def test_a_response_has_its_id_under_both_names() -> None:
    """``response_id`` works for every event of a response."""
    response = events.Response(id="resp_1")
    assert events.ResponseCreated(response=response).response_id == "resp_1"
    assert events.ResponseDone(response=response).response_id == "resp_1"


def test_events_compare_by_value() -> None:
    """And say what they hold."""
    assert events.ResponseTextDelta(delta="a") == events.ResponseTextDelta(delta="a")
    assert events.ResponseTextDelta(delta="a") != events.ResponseTextDelta(delta="b")
    assert "delta='a'" in repr(events.ResponseTextDelta(delta="a"))
    changed = msgspec.structs.replace(events.ResponseTextDelta(delta="a"), delta="b")
    assert changed.delta == "b"
