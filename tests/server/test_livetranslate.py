"""LiveTranslate behaviour, without sockets and without engines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from qwen_realtime import events as ev
from qwen_realtime.protocol import Family
from qwen_realtime.server.engines.types import (
    Failed,
    Final,
    Flushed,
    Partial,
    SpeechStarted,
    SpeechStopped,
    Translation,
    TurnDetection,
)

from .stage import Stage, StubEngines, append, types

OLD = "qwen3-livetranslate-flash-realtime"
ENDED = ["response.content_part.done", "response.output_item.done", "response.done"]


def stage(*, engines: StubEngines | None = None, pace: float = 0.0, model: str = "", **settings: Any) -> Stage:
    """A session that hears, and translates into Spanish unless told otherwise."""
    made = Stage(Family.LIVE_TRANSLATE, engines=engines, pace=pace, model=model)
    assert isinstance(made.update(**{"translation": {"language": "es"}, **settings}), ev.SessionUpdated)
    made.sent.clear()
    made.take(append(5.0))
    return made


def said(text: str, start: int = 0) -> tuple[Any, ...]:
    """One utterance of nine tenths of a second."""
    return SpeechStarted(start), SpeechStopped(start + 900), Final(text, start, start + 900, "en")


def test_a_text_turn_plays_the_recorded_sequence() -> None:
    """The translation begins before the speech has stopped; the source's transcript falls between its ends."""
    made = stage(modalities=["text"], input_audio_transcription={"model": "qwen3-asr-flash-realtime", "language": "zh"})
    made.hear(SpeechStarted(0), Partial("", "today"), Partial("today we", ""), Partial("today we", " go for"))
    before = len(made.sent)
    made.hear(SpeechStopped(4600), Final("today we go for a walk", 0, 4600, "zh"))
    opened = [
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
    ]
    assert types(made.sent[:before]) == [
        "input_audio_buffer.speech_started",
        "conversation.item.input_audio_transcription.text",
        *opened,
        "response.text.text",
        "conversation.item.input_audio_transcription.text",
        "response.text.text",
        "conversation.item.input_audio_transcription.text",
        "response.text.text",
    ]
    assert types(made.sent[before:]) == [
        "input_audio_buffer.speech_stopped",
        "response.text.text",
        "response.text.done",
        "conversation.item.input_audio_transcription.completed",
        *ENDED,
    ]
    drafts = [(event.text, event.stash) for event in made.all(ev.ResponseTextText)]
    assert drafts == [
        ("", "TODAY"),
        ("TODAY WE", ""),
        ("TODAY WE", " GO FOR"),
        ("TODAY WE GO FOR A WALK", ""),
    ]
    assert made.all(ev.ResponseTextDone)[0].text == "TODAY WE GO FOR A WALK"
    completed = made.all(ev.ConversationItemInputAudioTranscriptionCompleted)[0]
    assert (completed.transcript, completed.language, completed.emotion) == ("today we go for a walk", "zh", "neutral")
    item = made.all(ev.ConversationItemCreated)[0]
    assert item.previous_item_id == completed.item_id
    assert item.item.role == "assistant"


def test_confirmed_text_only_grows() -> None:
    """Each draft's text begins with the one before."""
    made = stage(modalities=["text"])
    made.hear(SpeechStarted(0), Partial("a", " b"), Partial("a b", " c"), Partial("a b c", ""), *said("a b c d")[1:])
    texts = [event.text for event in made.all(ev.ResponseTextText)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert made.engines.translated.count("b") == 2
    assert made.all(ev.ResponseTextDone)[0].text == "A B C D"


def test_the_conversation_is_named_only_at_the_end() -> None:
    """Empty in created, set and constant in done."""
    made = stage(modalities=["text"])
    made.hear(*said("one"), *said("two", 2000))
    assert {event.response.conversation_id for event in made.all(ev.ResponseCreated)} == {""}
    (name,) = {event.response.conversation_id for event in made.all(ev.ResponseDone)}
    assert name.startswith("conv_")


def test_sound_begins_with_the_first_confirmed_part() -> None:
    """Before the speech has stopped."""
    made = stage()
    made.hear(SpeechStarted(0), Partial("good morning", ""))
    assert made.engines.spoken == ["GOOD MORNING"]
    assert made.engines.speech[0].how["language"] == "es"
    assert made.sound
    made.hear(*said("good morning everyone")[1:])
    assert made.engines.spoken == ["GOOD MORNING", "EVERYONE"]
    assert made.types[-6:] == ["response.audio.delta", "response.audio_transcript.done", "response.audio.done", *ENDED]
    assert made.all(ev.ResponseAudioTranscriptDone)[0].transcript == "GOOD MORNING EVERYONE"


def test_utterances_are_interpreted_one_after_another() -> None:
    """The second waits until the first one's sound has left; no event of the two is mixed."""
    made = stage(pace=1.0)
    made.hear(*said("one two three four five"), *said("six seven", 2000))
    first = made.all(ev.ResponseCreated)[0].response.id
    assert len(made.all(ev.ResponseCreated)) == 1
    made.pass_time(10)
    ids = [
        event.raw.get("response_id") or event.raw["response"]["id"] for event in made.sent if "response" in event.raw
    ]
    assert ids == sorted(ids, key=lambda each: each != first)
    assert len(made.all(ev.ResponseDone)) == 2


def test_usage_adds_up_over_the_session() -> None:
    """As recorded: each done counts everything so far."""
    made = stage()
    made.hear(*said("one two three"))
    made.take(append(5.0))
    made.hear(*said("four five six", 6000))
    first, second = (event.response.usage for event in made.all(ev.ResponseDone))
    assert first.input_tokens_details["audio_tokens"] == 35
    assert second.input_tokens_details["audio_tokens"] == 70
    assert second.output_tokens > first.output_tokens
    assert second.total_tokens == second.input_tokens + second.output_tokens


def test_the_source_is_transcribed_only_when_asked() -> None:
    """Translation goes on without."""
    made = stage()
    made.hear(SpeechStarted(0), Partial("hello", ""), *said("hello")[1:])
    assert not [event for event in made.sent if "input_audio_transcription" in event.type]
    assert made.types[-1] == "response.done"


def test_the_oldest_model_knows_no_emotion() -> None:
    """Nor does it tell sample rate or turn detection."""
    made = stage(model=OLD, input_audio_transcription={"model": "qwen3-asr-flash-realtime"})
    assert made.engines.listener.asked["turn_detection"] == TurnDetection(0.2, 1000, 300)
    made.hear(*said("hello"))
    assert "emotion" not in made.all(ev.ConversationItemInputAudioTranscriptionCompleted)[0].raw
    assert made.all(ev.ResponseCreated)[0].response.output_audio_format == "pcm24"


@pytest.mark.parametrize("event", [ev.InputAudioBufferCommit(), ev.InputAudioBufferClear()])
def test_the_oldest_model_takes_no_commit(event: ev.ClientEvent) -> None:
    """It refuses the event as such."""
    made = stage(model=OLD)
    made.take(event)
    assert made.errors[0].message == f"Invalid event type: '{event.type}'."


def test_manual_mode_translates_at_the_commit() -> None:
    """Without an item id in committed, and without response.create."""
    made = stage(turn_detection=None)
    assert made.hear(Partial("", "hello")) == []
    events = made.take(ev.InputAudioBufferCommit())
    assert types(events) == ["input_audio_buffer.committed"]
    assert "item_id" not in events[0].raw
    made.hear(Final("hello", 0, 900, "en"))
    assert made.all(ev.ResponseAudioTranscriptDone)[0].transcript == "HELLO"
    assert types(made.take(ev.InputAudioBufferCommit())) == ["error"]


def test_fixed_terms_are_put_as_asked() -> None:
    """Whole words only, in any case; the rest around them is translated."""
    made = stage(
        modalities=["text"], translation={"language": "es", "corpus": {"phrases": {"Qwen": "Tongyi", "cat": "gato"}}}
    )
    made.hear(*said("hello qwen the category is cat"))
    assert made.all(ev.ResponseTextDone)[0].text == "HELLO Tongyi THE CATEGORY IS gato"


def test_the_same_language_can_be_skipped() -> None:
    """Text, sound, or both; with both there is no response at all."""
    skip = {"language": "en", "same_language_skip_options": {"skip_audio": True}}
    made = stage(translation=skip, input_audio_transcription={"language": "en"})
    made.hear(*said("hello"))
    assert made.sound == b""
    assert made.all(ev.ResponseAudioTranscriptDone)[0].transcript == "HELLO"
    skip = {"language": "en", "same_language_skip_options": {"skip_text": True, "skip_audio": True}}
    made = stage(translation=skip, input_audio_transcription={"language": "en"})
    made.hear(*said("hello"))
    assert "response.created" not in made.types


def test_an_update_of_the_target_after_sound_is_an_error_and_the_end() -> None:
    """Other late updates are an error only."""
    made = stage()
    made.update(modalities=["text"])
    assert made.closed is None
    made.update(translation={"language": "fr"})
    assert len(made.errors) == 2
    assert made.closed is not None


def test_silence_understood_as_nothing_gives_no_response() -> None:
    """A cough is not translated."""
    made = stage(input_audio_transcription={"model": "qwen3-asr-flash-realtime"})
    made.hear(*said(""))
    assert "response.created" not in made.types
    assert made.types[-1] == "conversation.item.input_audio_transcription.completed"


def test_a_failed_recognition_is_told_and_the_next_utterance_works() -> None:
    """Nothing hangs behind it."""
    made = stage()
    made.hear(SpeechStarted(0), SpeechStopped(900), Failed("engine_failed", "it died"), *said("two", 2000))
    assert "conversation.item.input_audio_transcription.failed" in made.types
    assert made.all(ev.ResponseAudioTranscriptDone)[0].transcript == "TWO"


def test_finish_brings_out_the_rest() -> None:
    """Finished comes after the last sound."""
    made = stage(pace=1.0)
    made.hear(SpeechStarted(0))
    made.take(ev.SessionFinish())
    made.hear(*said("hello to all of you")[1:], Flushed())
    assert not made.is_finished
    made.pass_time(5)
    assert made.types[-2:] == ["response.done", "session.finished"]


def test_what_cannot_be_translated_in_parts_waits_for_the_whole() -> None:
    """A mark such as [no translation en>xx] stands once, before the whole text."""

    class Phrases(StubEngines):
        def translate(self, text: str, *, source: str, target: str) -> Translation:
            return Translation(f"[no translation {source}>{target}] {text}", "none", rough=True)

    made = stage(engines=Phrases(), modalities=["text"])
    made.hear(SpeechStarted(0), Partial("good", " morn"), Partial("good morning", ""))
    assert "response.created" not in made.types
    made.hear(*said("good morning all")[1:])
    assert made.all(ev.ResponseTextDone)[0].text == "[no translation en>es] good morning all"


def test_text_only_targets_need_text_only_output() -> None:
    """Greek is written, not spoken."""
    made = Stage(Family.LIVE_TRANSLATE)
    made.update(translation={"language": "el"})
    assert made.errors[0].param == "session.translation.language"
    assert isinstance(made.update(translation={"language": "el"}, modalities=["text"]), ev.SessionUpdated)


def test_the_echo_is_the_recorded_one() -> None:
    """Flags inside turn detection, the rate last or anywhere."""
    made = Stage(Family.LIVE_TRANSLATE)
    echoed = made.update(
        modalities=["text"], input_audio_transcription={"model": "qwen3-asr-flash-realtime", "language": "zh"}
    )
    assert isinstance(echoed, ev.SessionUpdated)
    assert echoed.session == {
        "id": made.behaviour.session_id,
        "object": "realtime.session",
        "model": "qwen3.5-livetranslate-flash-realtime",
        "modalities": ["text"],
        "voice": "Tina",
        "input_audio_format": "pcm",
        "output_audio_format": "pcm",
        "input_audio_transcription": {"model": "qwen3-asr-flash-realtime", "language": "zh"},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.2,
            "silence_duration_ms": 1000,
            "create_response": True,
            "interrupt_response": True,
        },
        "translation": {"language": "en"},
        "sample_rate": 16000,
    }


def test_an_utterance_that_is_cleared_does_not_hold_up_the_next() -> None:
    """It ends with what was confirmed of it."""
    made = stage(modalities=["text"])
    made.hear(SpeechStarted(0), Partial("one two", " three"))
    made.take(ev.InputAudioBufferClear())
    made.hear(*said("four", 5000))
    assert [event.text for event in made.all(ev.ResponseTextDone)] == ["ONE TWO", "FOUR"]
