"""ASR behaviour, without sockets and without engines."""

from __future__ import annotations

import pytest

from qwen_realtime import codec
from qwen_realtime import events as ev
from qwen_realtime.protocol import Family
from qwen_realtime.server.engines.types import (
    Failed,
    Final,
    Flushed,
    Partial,
    SpeechStarted,
    SpeechStopped,
    TurnDetection,
)

from .stage import Stage, append, types

UTTERANCE = (
    SpeechStarted(64),
    Partial("", "what is"),
    Partial("what is the", " weather"),
    SpeechStopped(1500),
    Final("what is the weather", 64, 1500, "en"),
)


def manual() -> Stage:
    """A session in manual mode."""
    made = Stage(Family.ASR)
    made.update(turn_detection=None)
    made.sent.clear()
    return made


def test_an_utterance_by_voice_activity_comes_in_the_documented_order() -> None:
    """Started, drafts, stopped, committed, item, completed; all about one item."""
    made = Stage(Family.ASR)
    made.take(append())
    events = made.hear(*UTTERANCE)
    assert types(events) == [
        "input_audio_buffer.speech_started",
        "conversation.item.input_audio_transcription.text",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.created",
        "conversation.item.input_audio_transcription.completed",
    ]
    ids = {event.raw.get("item_id") or event.raw["item"]["id"] for event in events}
    assert len(ids) == 1
    started, first, second, stopped, *_, completed = events
    assert isinstance(started, ev.InputAudioBufferSpeechStarted)
    assert started.audio_start_ms == 64
    assert isinstance(stopped, ev.InputAudioBufferSpeechStopped)
    assert stopped.audio_end_ms == 1500
    assert (first.raw["text"], first.raw["stash"]) == ("", "what is")
    assert (second.raw["text"], second.raw["stash"]) == ("what is the", " weather")
    assert completed.raw["transcript"] == "what is the weather"
    assert (completed.raw["language"], completed.raw["emotion"]) == ("en", "neutral")


def test_items_are_chained() -> None:
    """Each item names the one before; the first names none."""
    made = Stage(Family.ASR)
    made.take(append())
    made.hear(*UTTERANCE, *UTTERANCE)
    first, second = made.all(ev.InputAudioBufferCommitted)
    assert first.previous_item_id is None
    assert second.previous_item_id == first.item_id
    item = made.all(ev.ConversationItemCreated)[1]
    assert item.previous_item_id == first.item_id
    assert item.raw["item"]["content"] == [{"type": "input_audio", "transcript": None}]


def test_settings_reach_the_listener() -> None:
    """Rate, language, hints and turn detection are what was asked for, defaults where nothing was."""
    made = Stage(Family.ASR)
    made.update(
        sample_rate=8000,
        input_audio_transcription={"language": "zh", "corpus": {"text": "Qwen"}},
        turn_detection={"type": "server_vad", "threshold": 0.0, "silence_duration_ms": 400},
    )
    made.take(append(rate=8000))
    asked = made.engines.listener.asked
    assert asked["sample_rate"] == 8000
    assert asked["language"] == "zh"
    assert asked["hints"] == "Qwen"
    assert asked["domain"] == "general"
    assert asked["turn_detection"] == TurnDetection(0.0, 400, 300)
    assert len(made.engines.listener.heard) == 1600
    assert made.record.audio_bytes == 1600


def test_the_default_turn_detection_is_the_documented_one() -> None:
    """0.2 and 800 ms."""
    made = Stage(Family.ASR)
    made.take(append())
    assert made.engines.listener.asked["turn_detection"] == TurnDetection(0.2, 800, 300)


def test_manual_mode_transcribes_at_the_commit() -> None:
    """Drafts before the commit have no item to belong to; the last one is shown after the item is there."""
    made = manual()
    made.take(append())
    assert made.engines.listener.asked["turn_detection"] is None
    assert made.hear(Partial("", "hel"), Partial("", "hello")) == []
    events = made.take(ev.InputAudioBufferCommit())
    assert types(events) == [
        "input_audio_buffer.committed",
        "conversation.item.created",
        "conversation.item.input_audio_transcription.text",
    ]
    assert events[-1].raw["stash"] == "hello"
    assert made.engines.listener.orders == ["commit"]
    (completed,) = made.hear(Final("hello", 0, 100, "en"))
    assert completed.raw["item_id"] == events[0].raw["item_id"]


def test_two_commits_before_a_transcript_keep_their_items_apart() -> None:
    """Transcripts belong to items in the order of the commits."""
    made = manual()
    made.take(append(), ev.InputAudioBufferCommit(), append(), ev.InputAudioBufferCommit())
    made.hear(Final("one", 0, 1, "en"), Final("two", 1, 2, "en"))
    items = [event.item_id for event in made.all(ev.InputAudioBufferCommitted)]
    completed = made.all(ev.ConversationItemInputAudioTranscriptionCompleted)
    assert [(event.item_id, event.transcript) for event in completed] == [(items[0], "one"), (items[1], "two")]


def test_committing_nothing_is_an_error_with_the_observed_words() -> None:
    """Also a second time, and after a clear."""
    made = manual()
    made.take(ev.InputAudioBufferCommit(), append(), ev.InputAudioBufferCommit(), ev.InputAudioBufferCommit())
    made.take(append(), ev.InputAudioBufferClear(), ev.InputAudioBufferCommit())
    message = "Error committing input audio buffer: buffer too small, or have no audio."
    assert [error.message for error in made.errors] == [message] * 3
    assert made.engines.listener.orders == ["commit", "clear"]


def test_commit_is_not_available_in_vad_mode() -> None:
    """The server commits there, and says which event was at fault."""
    made = Stage(Family.ASR)
    made.take(append(), ev.InputAudioBufferCommit(event_id="event_mine"))
    assert "not available" in str(made.errors[0].message)
    assert made.errors[0].event_id == "event_mine"


def test_finish_lets_the_last_utterance_be_heard() -> None:
    """Finished comes after what was flushed."""
    made = Stage(Family.ASR)
    made.take(append())
    made.hear(*UTTERANCE[:2])
    assert made.take(ev.SessionFinish()) == []
    assert made.engines.listener.orders == ["finish"]
    made.hear(*UTTERANCE[3:], Flushed())
    assert made.types[-2:] == ["conversation.item.input_audio_transcription.completed", "session.finished"]
    assert made.is_finished


def test_finish_in_manual_mode_drops_what_was_not_committed() -> None:
    """As the page has it: no commit, no result."""
    made = manual()
    made.take(append(), ev.SessionFinish())
    assert made.engines.listener.orders == ["clear", "finish"]


def test_finish_without_sound_finishes_at_once() -> None:
    """No listener is opened for it."""
    made = Stage(Family.ASR)
    assert types(made.take(ev.SessionFinish())) == ["session.finished"]
    assert made.engines.listeners == []


def test_what_the_engine_cannot_do_is_a_failed_transcription() -> None:
    """For its own item, with code and message."""
    made = Stage(Family.ASR)
    made.take(append())
    events = made.hear(SpeechStarted(0), SpeechStopped(500), Failed("unsupported_language", "English only"))
    failed = events[-1]
    assert isinstance(failed, ev.ConversationItemInputAudioTranscriptionFailed)
    assert failed.item_id == made.all(ev.InputAudioBufferCommitted)[0].item_id
    assert (failed.error.code, failed.error.message) == ("unsupported_language", "English only")


def test_a_second_update_after_sound_is_an_error_and_the_end() -> None:
    """The service closes with 1007."""
    made = Stage(Family.ASR)
    made.take(append())
    made.update(sample_rate=8000)
    assert made.errors[0].message == "Session update error: session already started or finished or failed."
    assert made.errors[0].event_id == "event_update"
    assert made.closed is not None
    assert made.closed[0] == 1007


def test_a_second_update_before_sound_is_taken() -> None:
    """Settings are free until input begins."""
    made = Stage(Family.ASR)
    made.update(sample_rate=8000)
    assert isinstance(made.update(sample_rate=16000), ev.SessionUpdated)


def test_the_echo_has_the_observed_shape() -> None:
    """As in the recorded fragment: flags inside turn detection, and the rate at the top."""
    made = Stage(Family.ASR)
    echoed = made.update(
        modalities=["text"],
        voice=None,
        input_audio_format="pcm",
        output_audio_format="pcm16",
        sample_rate=16000,
        turn_detection={"type": "server_vad", "threshold": 0.2, "prefix_padding_ms": 300, "silence_duration_ms": 700},
    )
    assert isinstance(echoed, ev.SessionUpdated)
    assert echoed.session == {
        "id": made.behaviour.session_id,
        "object": "realtime.session",
        "model": "qwen3-asr-flash-realtime",
        "modalities": ["text"],
        "input_audio_format": "pcm",
        "sample_rate": 16000,
        "input_audio_transcription": None,
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.2,
            "silence_duration_ms": 700,
            "create_response": True,
            "interrupt_response": True,
        },
    }


def test_manual_mode_is_echoed_by_absence() -> None:
    """A null leaves no key, as recorded."""
    echoed = Stage(Family.ASR).update(turn_detection=None)
    assert "turn_detection" not in echoed.raw["session"]


def test_an_append_over_15_mib_is_refused() -> None:
    """And not listened to."""
    made = Stage(Family.ASR)
    made.take(ev.InputAudioBufferAppend(event_id="event_big", audio=bytes(15 * 1024 * 1024 + 2)))
    assert made.errors[0].event_id == "event_big"
    assert made.engines.listeners == []


@pytest.mark.parametrize(
    ("audio", "words"),
    [("QUJD\\r\\n", "Illegal base64 character d"), ("QU-_", "Illegal base64 character 2d"), ("QUJ", "Illegal base64")],
)
def test_sound_that_is_not_base64_is_refused_in_the_services_words(audio: str, words: str) -> None:
    """It names the character's code, 0x0d for a line break."""
    made = Stage(Family.ASR)
    event = codec.decode_client(f'{{"type":"input_audio_buffer.append","event_id":"event_1","audio":"{audio}"}}')
    assert isinstance(event, ev.UnknownEvent)
    made.behaviour.refuse_unknown(event)
    assert str(made.errors[0].message).startswith(words)
    assert made.errors[0].event_id == "event_1"


def test_an_engine_that_is_gone_is_told() -> None:
    """The session goes on, with an error for each thing it cannot do."""
    made = Stage(Family.ASR)
    made.take(append())
    made.engines.listener.fails = "the engine is closed"
    made.take(append())
    assert "the engine is closed" in str(made.errors[0].message)


def test_a_disconnected_client_is_not_listened_to() -> None:
    """Results that were on their way come to nothing."""
    made = Stage(Family.ASR)
    made.take(append())
    made.behaviour.stop()
    assert made.engines.listener.orders == ["close"]
    assert made.hear(*UTTERANCE) == []
