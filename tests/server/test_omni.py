"""Omni behaviour, without sockets and without engines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from qwen_realtime import events as ev
from qwen_realtime.audio.wav import read_wav
from qwen_realtime.protocol import Family
from qwen_realtime.server.behaviours.host import Options
from qwen_realtime.server.engines.types import Failed, Final, Flushed, Partial, Reply, SpeechStarted, SpeechStopped

from .stage import Stage, StubEngines, append, call, message, types

OPENED = [
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
]
CLOSED = [
    "response.audio_transcript.done",
    "response.audio.done",
    "response.content_part.done",
    "response.output_item.done",
]
JPEG = b"\xff\xd8\xff\xe0" + bytes(1000)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def said(text: str, start: int = 100) -> tuple[Any, ...]:
    """One utterance of nine tenths of a second."""
    return SpeechStarted(start), SpeechStopped(start + 900), Final(text, start, start + 900, "en")


def stage(*, engines: StubEngines | None = None, pace: float = 0.0, model: str = "", **settings: Any) -> Stage:
    """A session with these settings, and nothing sent yet."""
    made = Stage(Family.OMNI, engines=engines, pace=pace, model=model)
    if settings:
        assert isinstance(made.update(**settings), ev.SessionUpdated)
    made.sent.clear()
    return made


def test_a_text_turn_plays_the_recorded_sequence() -> None:
    """Item, response, deltas, and every end, with the ids and shapes of the recording."""
    made = stage(modalities=["text"])
    made.take(message("Hello there"), ev.ResponseCreate())
    assert made.types == [
        "conversation.item.created",
        *OPENED,
        "response.text.delta",
        "response.text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    mine, its = made.all(ev.ConversationItemCreated)
    assert mine.previous_item_id is ev.UNSET
    assert mine.raw["item"]["content"] == [{"type": "input_text", "text": "Hello there"}]
    assert its.previous_item_id == mine.item.id
    assert "".join(event.delta for event in made.all(ev.ResponseTextDelta)) == "I heard Hello there."
    assert made.all(ev.ResponseTextDone)[0].text == "I heard Hello there."
    assert made.all(ev.ResponseOutputItemDone)[0].raw["item"]["content"] == [{"type": "text"}]
    done = made.all(ev.ResponseDone)[0].raw["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "text", "text": "I heard Hello there."}]
    assert done["modalities"] == ["text"]
    assert set(done["usage"]["output_tokens_details"]) == {"text_tokens"}
    assert made.all(ev.ResponseCreated)[0].response.output_audio_format == "pcm"


def test_a_spoken_answer_has_text_beside_its_sound() -> None:
    """Transcript deltas and sound come interleaved, and each is whole."""
    made = stage()
    made.take(message("Please say something of some length for me to hear"), ev.ResponseCreate())
    kinds = [event.type for event in made.sent if "delta" in event.type]
    changes = sum(a != b for a, b in pairwise(kinds))
    assert changes > 4
    text = "".join(event.delta for event in made.all(ev.ResponseAudioTranscriptDelta))
    assert text == made.all(ev.ResponseAudioTranscriptDone)[0].transcript == made.engines.spoken[0]
    assert made.types[-5:] == [*CLOSED, "response.done"]
    usage = made.all(ev.ResponseDone)[0].response.usage
    assert usage.output_tokens_details["audio_tokens"] == -(-len(made.sound) / 48000 * 12.5 // 1)
    assert len(made.sound) / 48000 == pytest.approx(len(text) * 0.06)


def test_a_turn_by_voice_is_answered_by_the_server() -> None:
    """Speech is committed and answered without a word of the client's; no previous_item_id in committed."""
    made = stage()
    made.take(append())
    events = made.hear(*said("what time is it"))
    assert types(events)[:6] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.created",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
    ]
    committed = made.all(ev.InputAudioBufferCommitted)[0]
    assert "previous_item_id" not in committed.raw
    item = made.all(ev.ConversationItemCreated)[0]
    assert item.item.id == committed.item_id
    assert item.item.role == "user"
    assert made.engines.dialogues[0].asked == [("what time is it", False)]
    assert made.engines.listener.asked["domain"] == "assistant"
    assert made.types[-1] == "response.done"


def test_drafts_are_whole_and_all_in_the_stash() -> None:
    """As newer models send them."""
    made = stage()
    made.take(append())
    made.hear(SpeechStarted(0), Partial("what time", " is it"))
    draft = made.all(ev.ConversationItemInputAudioTranscriptionDelta)[0]
    assert (draft.text, draft.stash) == ("", "what time is it")
    assert draft.obfuscation


def test_transcription_can_be_switched_off() -> None:
    """A null object stops drafts and transcripts, not the conversation."""
    made = stage(input_audio_transcription=None)
    made.take(append())
    made.hear(SpeechStarted(0), Partial("", "hello"), SpeechStopped(500), Final("hello", 0, 500, "en"))
    assert not [event for event in made.sent if "transcription" in event.type]
    assert made.types[-1] == "response.done"


def test_push_to_talk_needs_commit_and_create() -> None:
    """A commit alone answers nothing; a create that comes before the transcript waits for it."""
    made = stage(turn_detection=None)
    made.take(append(1.0))
    assert types(made.take(ev.InputAudioBufferCommit())) == [
        "input_audio_buffer.committed",
        "conversation.item.created",
    ]
    assert made.take(ev.ResponseCreate()) == []
    events = made.hear(Final("hello", 0, 900, "en"))
    assert types(events)[:2] == ["conversation.item.input_audio_transcription.completed", "response.created"]
    assert made.types[-1] == "response.done"
    assert made.take(ev.InputAudioBufferCommit())[0].type == "error"


def test_commit_while_the_server_commits_is_the_observed_error() -> None:
    """InternalError, null."""
    made = stage()
    made.take(append(), ev.InputAudioBufferCommit())
    error = made.all(ev.Error)[0].raw["error"]
    assert error == {"code": "InternalError", "message": "Internal service error: null"}


def test_a_function_call_plays_the_recorded_sequence() -> None:
    """Two calls, the second without a delta, then the results and the answer from them."""
    engines = StubEngines()
    engines.answers["weather and time"] = Reply("", (call("weather", '{"location": "Paris"}'), call("clock")))
    made = stage(engines=engines, modalities=["text"], tools=[TOOL, {"type": "function", "name": "clock"}])
    events = made.take(message("weather and time"), ev.ResponseCreate())
    one = ["response.output_item.added", "conversation.item.created"]
    assert types(events) == [
        "conversation.item.created",
        "response.created",
        *one,
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        *one,
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.done",
    ]
    first, second = made.all(ev.ResponseFunctionCallArgumentsDone)
    assert (first.name, first.arguments, first.output_index) == ("weather", '{"location": "Paris"}', 0)
    assert (second.name, second.output_index) == ("clock", 1)
    assert len(first.call_id) == len("call_") + 24
    output = made.all(ev.ResponseDone)[0].response.output
    assert [(item.type, item.status, item.call_id) for item in output] == [
        ("function_call", "completed", first.call_id),
        ("function_call", "completed", second.call_id),
    ]

    for done, result in ((first, "rain"), (second, "noon")):
        item = {"type": "function_call_output", "call_id": done.call_id, "output": result}
        (created,) = made.take(ev.ConversationItemCreate(item=item))
        assert created.raw["item"]["output"] == result
        assert created.raw["item"]["type"] == "function_call_output"
    made.take(ev.ResponseCreate())
    assert made.all(ev.ResponseTextDone)[0].text == "weather says rain and clock says noon"


def test_items_form_one_chain() -> None:
    """Each item but the first names the one before it, whoever made it."""
    engines = StubEngines()
    engines.answers["weather"] = Reply("", (call("weather"), call("weather")))
    made = stage(engines=engines, modalities=["text"], tools=[TOOL])
    made.take(message("hello"), ev.ResponseCreate(), message("weather"), ev.ResponseCreate())
    items = made.all(ev.ConversationItemCreated)
    assert len(items) == 5
    assert items[0].previous_item_id is ev.UNSET
    assert [event.previous_item_id for event in items[1:]] == [event.item.id for event in items[:-1]]


def test_the_conversation_keeps_its_id() -> None:
    """Over all responses of a session."""
    made = stage(modalities=["text"])
    made.take(message("one"), ev.ResponseCreate(), message("two"), ev.ResponseCreate())
    responses = [event.response for event in made.sent if isinstance(event, (ev.ResponseCreated, ev.ResponseDone))]
    assert len({response.conversation_id for response in responses}) == 1
    assert str(responses[0].conversation_id).startswith("conv_")


def test_an_output_for_no_call_is_an_error() -> None:
    """A call is answered once."""
    made = stage()
    item = {"type": "function_call_output", "call_id": "call_x", "output": "?"}
    made.take(ev.ConversationItemCreate(item=item))
    assert made.errors[0].param == "item.call_id"


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "role": "robot", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "message", "role": "user", "content": []},
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "message", "role": "user", "content": [{"type": "input_audio"}]},
        {"type": "picture"},
        {},
    ],
)
def test_items_that_cannot_be_are_errors(item: dict[str, Any]) -> None:
    """And no item comes of them."""
    made = stage()
    assert types(made.take(ev.ConversationItemCreate(item=item))) == ["error"]


def test_cancel_ends_without_response_done() -> None:
    """As was measured: the parts end, the response does not; then another can begin."""
    made = stage(engines=StubEngines(automatic=False), pace=1.0)
    made.take(message("hello"), ev.ResponseCreate())
    made.engines.speech[0].give(3.0)
    made.run()
    made.pass_time(1.0)
    heard = len(made.sound)
    events = made.take(ev.ResponseCancel())
    assert types(events) == CLOSED
    assert made.all(ev.ResponseOutputItemDone)[0].item.status == "incomplete"
    assert made.pass_time(5.0) == []
    assert len(made.sound) == heard
    assert 0.9 < heard / 48000 < 1.5
    made.take(message("and now"), ev.ResponseCreate())
    assert made.all(ev.ResponseCreated)[1].response.id != made.all(ev.ResponseCreated)[0].response.id


def test_a_cancelled_transcript_holds_what_was_said() -> None:
    """Not what would have been."""
    made = stage(engines=StubEngines(automatic=False), pace=1.0)
    made.take(message("a very long thing that takes a while to say in full"), ev.ResponseCreate())
    made.engines.speech[0].give(4.0)
    made.run()
    made.take(ev.ResponseCancel())
    transcript = made.all(ev.ResponseAudioTranscriptDone)[0].transcript
    assert 0 < len(transcript) < len(made.engines.spoken[0])
    assert made.engines.spoken[0].startswith(transcript)
    assert transcript == "".join(event.delta for event in made.all(ev.ResponseAudioTranscriptDelta))


def test_cancel_with_nothing_active_is_the_observed_error() -> None:
    """Also after a response has ended."""
    made = stage(modalities=["text"])
    made.take(ev.ResponseCancel(), message("hi"), ev.ResponseCreate(), ev.ResponseCancel())
    assert [error.message for error in made.errors] == ["Conversation has none active response"] * 2


def test_new_speech_interrupts_an_answer() -> None:
    """Its sound stops, and the response ends incomplete."""
    made = stage(engines=StubEngines(automatic=False), pace=1.0)
    made.take(append())
    made.hear(*said("tell me a story"))
    made.engines.speech[0].give(5.0)
    made.run()
    made.pass_time(0.5)
    events = made.hear(SpeechStarted(4000))
    assert types(events) == ["input_audio_buffer.speech_started", *CLOSED, "response.done"]
    assert made.all(ev.ResponseDone)[0].response.status == "incomplete"
    assert made.engines.speech[0].cancelled
    assert made.pass_time(3.0) == []
    made.hear(*said("stop", 4000)[1:])
    assert made.engines.dialogues[0].asked[-1] == ("stop", False)


def test_an_answer_that_must_not_be_interrupted_is_not() -> None:
    """And what was said meanwhile is answered after it."""
    detection = {"type": "server_vad", "interrupt_response": False}
    made = stage(engines=StubEngines(automatic=False), turn_detection=detection)
    made.take(append())
    made.hear(*said("one"), *said("two", 3000))
    assert not made.engines.speech[0].cancelled
    assert len(made.all(ev.ResponseCreated)) == 1
    made.engines.speech[0].end()
    made.run()
    assert len(made.all(ev.ResponseCreated)) == 2
    assert [text for text, _ in made.engines.dialogues[0].asked] == ["one", "two"]


def test_the_client_may_keep_the_answering_to_itself() -> None:
    """With create_response false, speech is committed and nothing more."""
    made = stage(turn_detection={"type": "server_vad", "create_response": False})
    made.take(append())
    made.hear(*said("hello"))
    assert "response.created" not in made.types
    made.take(ev.ResponseCreate())
    assert made.types[-1] == "response.done"


def test_create_while_a_response_runs_is_silently_ignored() -> None:
    """As was measured."""
    made = stage(engines=StubEngines(automatic=False))
    made.take(message("hello"), ev.ResponseCreate())
    assert made.take(ev.ResponseCreate()) == []


def test_create_without_any_input_is_an_error() -> None:
    """There is nothing to answer."""
    made = stage()
    made.take(ev.ResponseCreate())
    assert "no input of the user" in str(made.errors[0].message)


def test_overrides_hold_for_one_response() -> None:
    """Text only once, then as the session has it; nulls, which the vendor's SDK sends, ask for nothing."""
    made = stage()
    made.take(message("a"), ev.ResponseCreate(response={"instructions": None, "modalities": ["text"]}))
    made.take(message("b"), ev.ResponseCreate(response={"instructions": None}))
    first, second = made.all(ev.ResponseCreated)
    assert first.response.modalities == ("text",)
    assert second.response.modalities == ("text", "audio")
    made.take(message("c"), ev.ResponseCreate(response={"modalities": ["audio"]}))
    assert made.errors[0].param == "response.modalities"


def test_a_refused_voice_shows_at_the_first_synthesis_only() -> None:
    """The update echoes any voice; text needs none."""
    made = stage(voice="Cherry")
    made.take(message("a"), ev.ResponseCreate())
    error = made.all(ev.Error)[0].raw["error"]
    assert error == {
        "code": "COMMON_ERROR",
        "message": "<400> InternalError.Algo.InvalidParameter: Voice 'Cherry' is not supported.",
    }
    assert "response.created" not in made.types
    made.take(ev.ResponseCreate(response={"modalities": ["text"]}))
    assert made.types[-1] == "response.done"


def test_the_voice_is_fixed_once_it_was_heard() -> None:
    """Other settings stay free."""
    made = stage()
    made.take(message("a"), ev.ResponseCreate())
    made.update(voice="Ethan")
    assert made.errors[0].code == "cannot_update_voice"
    assert isinstance(made.update(voice="Tina", instructions="Be brief."), ev.SessionUpdated)


def test_input_formats_are_fixed_once_sound_has_come() -> None:
    """Instructions and turn detection are not, and only the latter makes the server listen anew."""
    made = stage()
    made.take(append())
    made.update(audio={"input": {"format": {"type": "pcm", "sample_rate": 24000}}})
    assert made.errors[0].param == "session.audio.input.format.type"
    made.update(instructions="Be brief.")
    assert made.engines.listener.orders == []
    made.update(turn_detection={"type": "server_vad", "silence_duration_ms": 300})
    assert made.engines.listener.orders == ["close"]
    made.take(append(0.5))
    made.hear(SpeechStarted(20))
    assert made.all(ev.InputAudioBufferSpeechStarted)[0].audio_start_ms == 120


def test_formats_of_the_new_audio_object_hold() -> None:
    """24 kHz in, a WAV file at 16 kHz out."""
    made = stage(
        audio={
            "input": {"format": {"type": "pcm", "sample_rate": 24000}},
            "output": {"format": {"type": "wav", "sample_rate": 16000}},
        }
    )
    made.take(append(rate=24000))
    assert made.engines.listener.asked["sample_rate"] == 24000
    made.hear(*said("hello"))
    assert read_wav(made.sound).sample_rate == 16000
    assert made.sound.count(b"RIFF") == 1


def test_the_older_model_drops_what_it_does_not_know() -> None:
    """No tools, no audio object, no error: the echo is the only proof."""
    made = Stage(Family.OMNI, model="qwen3-omni-flash-realtime")
    echoed = made.update(tools=[TOOL], audio={"input": {"format": {"sample_rate": 24000}}}, voice="Cherry")
    assert isinstance(echoed, ev.SessionUpdated)
    assert "tools" not in echoed.session
    assert "audio" not in echoed.session
    assert echoed.session["input_audio_format"] == "pcm16"
    made.take(append())
    assert made.engines.listener.asked["sample_rate"] == 16000


def test_the_update_is_echoed_as_recorded() -> None:
    """What was set, in full, beside what was there."""
    made = Stage(Family.OMNI)
    echoed = made.update(modalities=["text"], instructions="Be brief.", tools=[TOOL], max_tokens=128)
    assert isinstance(echoed, ev.SessionUpdated)
    assert echoed.session == {
        "id": made.behaviour.session_id,
        "object": "realtime.session",
        "model": "qwen3.5-omni-flash-realtime",
        "modalities": ["text"],
        "instructions": "Be brief.",
        "voice": "Tina",
        "input_audio_format": "pcm",
        "output_audio_format": "pcm",
        "input_audio_transcription": {"model": "qwen3-asr-flash-realtime"},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 800,
            "create_response": True,
            "interrupt_response": True,
        },
        "tools": [TOOL],
        "max_tokens": 128,
    }
    again = made.update(turn_detection=None)
    assert "turn_detection" not in again.raw["session"]


def test_max_tokens_cuts_the_answer() -> None:
    """It ends incomplete."""
    made = stage(modalities=["text"], max_tokens=3)
    made.take(message("a b c d e f g"), ev.ResponseCreate())
    assert made.all(ev.ResponseTextDone)[0].text == "I heard"
    assert made.all(ev.ResponseDone)[0].response.status == "incomplete"


def test_pictures_are_counted_and_spoken_of_when_asked() -> None:
    """Nobody claims to have seen what they show."""
    made = stage(turn_detection=None)
    made.take(append(), ev.InputImageBufferAppend(image=JPEG), ev.InputImageBufferAppend(image=JPEG))
    made.take(ev.InputAudioBufferCommit())
    made.hear(Final("what do you see", 0, 100, "en"))
    made.take(ev.ResponseCreate())
    assert "2 pictures" in made.engines.spoken[0]
    assert made.record.images == 2
    assert made.record.image_bytes == 2 * len(JPEG)
    assert made.all(ev.ResponseDone)[0].response.usage.input_tokens_details["video_tokens"] > 0


def test_a_picture_before_any_sound_is_the_observed_error() -> None:
    """Sound first."""
    made = stage()
    made.take(ev.InputImageBufferAppend(image=JPEG))
    assert made.errors[0].message == "Error append image before append audio."
    assert made.record.images == 0


@pytest.mark.parametrize("image", [b"", b"\x89PNG\r\n\x1a\n", JPEG + bytes(200 * 1024)])
def test_pictures_must_be_jpeg_and_small(image: bytes) -> None:
    """190 KB before base64 for this generation."""
    made = stage()
    made.take(append(), ev.InputImageBufferAppend(image=image))
    assert made.errors[0].param == "image"
    assert made.record.images == 0


def test_a_silent_user_is_spoken_to_once() -> None:
    """After idle_timeout_ms, and not again until something was said."""
    made = stage(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    assert made.pass_time(4.9) == []
    made.pass_time(0.2)
    assert made.engines.spoken == ["Are you still there?"]
    made.pass_time(20)
    assert len(made.engines.spoken) == 1
    made.take(append())
    made.hear(*said("yes"))
    made.pass_time(6)
    assert len(made.engines.spoken) == 3


def test_speech_that_was_not_understood_is_answered_too() -> None:
    """A failed transcription leaves nobody waiting."""
    made = stage()
    made.take(append())
    made.hear(SpeechStarted(0), SpeechStopped(500), Failed("engine_failed", "it died"))
    assert "conversation.item.input_audio_transcription.failed" in made.types
    assert made.types[-1] == "response.done"


def test_finish_waits_for_the_answer() -> None:
    """What was being said is heard and answered first."""
    made = stage(engines=StubEngines(automatic=False))
    made.take(append())
    made.hear(SpeechStarted(0))
    made.take(ev.SessionFinish())
    made.hear(*said("goodbye")[1:], Flushed())
    assert not made.is_finished
    made.engines.speech[0].end()
    made.run()
    assert made.types[-2:] == ["response.done", "session.finished"]


def test_finish_may_be_unknown() -> None:
    """Some servers say so, and the session goes on."""
    made = Stage(Family.OMNI, options=Options(omni_finish=False))
    made.take(ev.SessionFinish())
    assert made.errors[0].message == "invalid event type"
    made.take(message("hello"), ev.ResponseCreate())
    assert made.types[-1] == "response.done"


def test_clear_forgets_and_says_so() -> None:
    """In either mode."""
    made = stage()
    made.take(append())
    assert types(made.take(ev.InputAudioBufferClear())) == ["input_audio_buffer.cleared"]
    assert made.engines.listener.orders == ["clear"]


def test_typed_messages_are_answered_together() -> None:
    """Two messages before one create are one question."""
    made = stage(modalities=["text"])
    made.take(message("one"), message("two"), ev.ResponseCreate())
    assert made.engines.dialogues[0].asked == [("one\ntwo", True)]


def test_history_can_be_told_again() -> None:
    """Messages of the assistant and the system become items and ask for nothing."""
    made = stage(modalities=["text"])
    made.take(message("Be kind.", "system"), message("I am.", "assistant"))
    assert [event.item.role for event in made.all(ev.ConversationItemCreated)] == ["system", "assistant"]
    made.take(ev.ResponseCreate())
    assert types(made.sent[2:]) == ["error"]


def test_text_events_are_not_omnis() -> None:
    """Another family's event is named in the error."""
    made = stage()
    made.take(ev.InputTextBufferAppend(text="hello"))
    assert "input_text_buffer.append" in str(made.errors[0].message)
