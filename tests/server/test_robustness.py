"""Whatever a client sends, a session answers or lets it pass; nothing that it sends breaks the server's own code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_realtime import codec
from qwen_realtime import events as ev
from qwen_realtime.errors import ProtocolError
from qwen_realtime.protocol import CLIENT_EVENTS_OF, Family
from qwen_realtime.server.engines.types import Final, Flushed, Partial, SpeechStarted, SpeechStopped

from .stage import Stage

KEYS = """
modalities voice mode language_type response_format sample_rate speech_rate volume pitch_rate bit_rate
instructions input_audio_format output_audio_format input_audio_transcription turn_detection translation tools
audio input output format type threshold silence_duration_ms prefix_padding_ms idle_timeout_ms create_response
interrupt_response language corpus text phrases same_language_skip_options skip_text skip_audio model
temperature max_tokens top_k enable_search function name role content item call_id response
voice_clone_options frequency
""".split()
WORDS = """
text audio pcm wav mp3 server_vad semantic_vad commit server_commit Tina Cherry en es zh el message function_call_output
user input_text once default x
""".split()
VALUES = st.none() | st.booleans() | st.integers(-10, 50000) | st.floats(-5, 5) | st.sampled_from([*WORDS, ""])
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6)


def messages(family: Family) -> st.SearchStrategy[dict[str, Any]]:
    """Messages of one family, mostly well formed."""
    types = sorted(str(kind.__struct_config__.tag) for kind in CLIENT_EVENTS_OF[family] - {ev.SessionFinish})
    return st.fixed_dictionaries(
        {"type": st.sampled_from(types)},
        optional={
            "session": OBJECTS,
            "item": OBJECTS | st.just({"type": "message", "role": "user", "content": [{"text": "hi"}]}),
            "response": OBJECTS,
            "text": st.sampled_from(["Hello. ", "and so on", "", "\u4f60\u597d\u3002"]),
            "audio": st.sampled_from(["", "AAAA", "AAAAAAA=", "?"]),
            "image": st.sampled_from(["/9j/4AAQ", "iVBORw0K"]),
            "event_id": st.just("event_1") | st.just(7),
        },
    )


RESULTS: st.SearchStrategy[Any] = st.sampled_from(
    [SpeechStarted(10), Partial("a b", " c"), SpeechStopped(900), Final("a b c", 10, 900, "en"), Flushed()]
)


@pytest.mark.parametrize("family", list(Family))
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_no_message_breaks_a_session(family: Family, data: st.DataObject) -> None:
    """Any sequence of messages and of results is dealt with, and finish still finishes."""
    made = Stage(family)
    for _ in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()) and made.engines.listeners:
            made.hear(data.draw(RESULTS))
            continue
        event = codec.decode_client(json.dumps(data.draw(messages(family))))
        if isinstance(event, ev.UnknownEvent):
            made.behaviour.refuse_unknown(event)
        else:
            made.take(event)
    made.take(ev.SessionFinish())
    if made.engines.listeners and not made.is_finished:
        made.hear(Flushed())
    assert made.is_finished or made.closed
    assert all(event.type in ev.SERVER_EVENTS for event in made.sent)
    made.behaviour.stop()


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40) | JSON.map(json.dumps))
def test_what_is_no_event_is_told_apart(text: str) -> None:
    """Decoding gives an event or says what is wrong; nothing else."""
    try:
        event = codec.decode_client(text)
    except ProtocolError:
        return
    assert event.type
