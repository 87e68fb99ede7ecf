"""TTS behaviour, without sockets and without engines."""

from __future__ import annotations

import sys

import pytest

from qwen_realtime import events as ev
from qwen_realtime.audio.compressed import decode
from qwen_realtime.audio.wav import read_wav
from qwen_realtime.protocol import Family
from qwen_realtime.server.behaviours.tts import take_sentences

from .stage import SECONDS_A_LETTER, Stage, StubEngines, types

CREATED = ["response.created", "response.output_item.added", "response.content_part.added"]
# The recorded order; the pages have audio.done late.
ENDED = ["response.audio.done", "response.content_part.done", "response.output_item.done", "response.done"]


def text(words: str) -> ev.InputTextBufferAppend:
    """Text to be spoken."""
    return ev.InputTextBufferAppend(text=words)


def stage(**settings: object) -> Stage:
    """A session with these settings, and nothing sent yet."""
    made = Stage(Family.TTS)
    if settings:
        made.update(**settings)
    made.sent.clear()
    return made


def test_commit_mode_plays_the_recorded_sequence() -> None:
    """Created, updated, committed with an empty item id, one response, finished: as in the commit recording."""
    made = Stage(Family.TTS)
    made.update(voice="Cherry", mode="commit", language_type="Chinese", response_format="pcm", sample_rate=16000)
    made.take(text("请描述图片中的颜色和形状。"), ev.InputTextBufferCommit())
    made.take(ev.SessionFinish())
    assert made.types == [
        "session.created",
        "session.updated",
        "input_text_buffer.committed",
        *CREATED,
        "response.audio.delta",
        *ENDED,
        "session.finished",
    ]
    assert made.all(ev.InputTextBufferCommitted)[0].item_id == ""
    assert made.is_finished


def test_the_update_is_echoed_in_the_recorded_shape() -> None:
    """The echo has seven fields and the language in lower case, whatever else was set."""
    made = Stage(Family.TTS)
    echoed = made.update(voice="Cherry", mode="commit", language_type="Chinese", sample_rate=16000, volume=70)
    assert isinstance(echoed, ev.SessionUpdated)
    assert echoed.session == {
        "id": made.behaviour.session_id,
        "object": "realtime.session",
        "model": "qwen3-tts-flash-realtime",
        "voice": "Cherry",
        "language_type": "chinese",
        "mode": "commit",
        "response_format": "pcm",
        "sample_rate": 16000,
    }


def test_usage_counts_as_recorded() -> None:
    """Thirteen Chinese characters with a full stop are 25 characters and 8 tokens; sound is 12.5 tokens a second."""
    made = stage(mode="commit")
    made.take(text("请描述图片中的颜色和形状。"), ev.InputTextBufferCommit())
    usage = made.all(ev.ResponseDone)[0].response.usage
    assert usage.characters == 25
    assert usage.input_tokens_details == {"text_tokens": 8}
    seconds = 13 * SECONDS_A_LETTER
    assert usage.output_tokens_details == {"text_tokens": 0, "audio_tokens": -(-seconds * 12.5 // 1)}
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    item = made.all(ev.ResponseOutputItemDone)[0].item
    assert item.content is ev.UNSET
    assert item.output["usage"]["total_tokens"] == usage.total_tokens


def test_created_has_no_modalities_and_done_has_them() -> None:
    """The two response objects differ as they do in the recording."""
    made = stage(mode="commit")
    made.take(text("Hello."), ev.InputTextBufferCommit())
    created, done = made.all(ev.ResponseCreated)[0].response, made.all(ev.ResponseDone)[0].response
    assert created.modalities is ev.UNSET
    assert created.conversation_id == ""
    assert done.modalities == ("text", "audio")
    assert done.output[0].content[0].transcript == ""
    assert created.id == done.id


def test_server_commit_speaks_whole_sentences_in_one_response_until_finish() -> None:
    """A sentence is spoken when it is complete; the rest at finish; nothing is called committed."""
    made = stage()
    made.take(text("Hello there. How are "))
    assert made.engines.spoken == ["Hello there."]
    made.take(text("you? I am "))
    assert made.engines.spoken == ["Hello there.", " How are you?"]
    assert "response.done" not in made.types
    made.take(text("fine"), ev.SessionFinish())
    assert made.engines.spoken[-1] == " I am fine"
    assert made.types == [*CREATED, "response.audio.delta", *ENDED, "session.finished"]


def test_a_commit_in_server_commit_mode_speaks_the_rest_and_ends_the_response() -> None:
    """The next text opens another response."""
    made = stage()
    made.take(text("One. Two"), ev.InputTextBufferCommit())
    assert "".join(made.engines.spoken) == "One. Two"
    assert made.types.count("response.done") == 1
    made.take(text("Three"), ev.SessionFinish())
    assert len(made.all(ev.ResponseDone)) == 2
    assert len({event.response.id for event in made.all(ev.ResponseDone)}) == 2


def test_each_commit_is_one_response_even_if_they_come_at_once() -> None:
    """The second utterance waits until the first is spoken."""
    made = stage(mode="commit")
    made.take(text("One."), ev.InputTextBufferCommit(), text("Two."), ev.InputTextBufferCommit(), ev.SessionFinish())
    responses = [event.response.id for event in made.all(ev.ResponseCreated)]
    assert len(responses) == 2
    order = [event.response_id for event in made.sent if isinstance(event, (ev.ResponseCreated, ev.ResponseDone))]
    assert order == [responses[0], responses[0], responses[1], responses[1]]
    assert made.types[-1] == "session.finished"


def test_commit_mode_is_silent_without_a_commit() -> None:
    """Text alone makes no sound there; finish speaks what is left."""
    made = stage(mode="commit")
    assert made.take(text("Hello. Goodbye.")) == []
    made.take(ev.SessionFinish())
    assert made.engines.spoken == ["Hello.", " Goodbye."]
    assert made.types[-1] == "session.finished"


@pytest.mark.parametrize("mode", ["commit", "server_commit"])
def test_committing_nothing_is_an_error(mode: str) -> None:
    """An empty buffer cannot be committed."""
    made = stage(mode=mode)
    assert types(made.take(ev.InputTextBufferCommit())) == ["error"]


def test_clear_discards_text_in_commit_mode_only() -> None:
    """In server_commit the service says who may clear."""
    made = stage(mode="commit")
    made.take(text("Never mind."))
    assert types(made.take(ev.InputTextBufferClear())) == ["input_text_buffer.cleared"]
    assert types(made.take(ev.InputTextBufferCommit())) == ["error"]
    other = stage()
    other.take(text("Never"))
    assert types(other.take(ev.InputTextBufferClear())) == ["error"]
    assert other.errors[0].message == "only client commit mode supports clear operation"


def test_an_update_after_text_is_refused_in_the_documented_words() -> None:
    """Settings are fixed once input has begun, and the session goes on."""
    made = stage()
    made.take(text("Hello "))
    made.update(voice="Ethan")
    assert made.errors[0].message == "Session update error: session already started or finished or failed."
    assert made.closed is None
    assert made.behaviour.settings["voice"] == "Cherry"


def test_cancel_stops_the_sound_that_waits_and_the_sound_to_come() -> None:
    """After a cancellation the closing events come at once, with no more sound."""
    made = Stage(Family.TTS, engines=StubEngines(automatic=False), pace=1.0)
    made.take(text("A rather long sentence, to be sure."))
    speech = made.engines.speech[0]
    speech.give(3.0)
    made.run()
    heard = len(made.sound)
    assert heard == 24000 * 2 * 2 // 10
    made.take(ev.ResponseCancel())
    speech.give(1.0)
    made.pass_time(5.0)
    assert speech.cancelled
    assert len(made.sound) == heard
    assert made.types[-4:] == ENDED
    assert made.all(ev.ResponseDone)[0].response.status == "incomplete"


def test_cancel_with_nothing_to_cancel_is_an_error() -> None:
    """As Omni has it."""
    made = stage()
    made.take(ev.ResponseCancel())
    assert made.errors[0].message == "Conversation has none active response"


def test_sound_leaves_at_the_pace_that_was_asked_for() -> None:
    """At pace 1, two seconds of sound take two seconds, in deltas of 200 ms."""
    made = Stage(Family.TTS, engines=StubEngines(automatic=False), pace=1.0)
    made.update(sample_rate=16000)
    made.take(text("Hello."))
    made.engines.speech[0].give(2.0)
    made.engines.speech[0].end()
    made.run()
    for tenth in range(1, 20):
        made.pass_time(0.1)
        assert len(made.sound) / 32000 == pytest.approx(0.2 * (1 + tenth // 2), abs=0.21)
    assert {len(event.delta) for event in made.all(ev.ResponseAudioDelta)} == {6400}
    assert len(made.sound) == 64000


def test_synthesis_does_not_run_far_ahead_of_what_leaves() -> None:
    """With more than ten seconds waiting, the next sentence waits too."""
    made = Stage(Family.TTS, pace=1.0)
    made.take(text("".join(f"This is sentence number {number} of a long text. " for number in range(20))))
    assert len(made.engines.spoken) < 8
    made.take(ev.SessionFinish())
    made.pass_time(100)
    assert len(made.engines.spoken) == 20
    assert made.is_finished


def test_wav_has_one_header_before_the_first_sound() -> None:
    """The deltas of a response are one WAV file, whose length nobody knew at its start."""
    made = stage(mode="commit", response_format="wav", sample_rate=16000)
    made.take(text("Hello. Again."), ev.InputTextBufferCommit())
    assert made.sound[:4] == b"RIFF"
    assert made.sound.count(b"RIFF") == 1
    wav = read_wav(made.sound)
    assert wav.sample_rate == 16000
    assert wav.duration_ms == pytest.approx(len("Hello. Again.") * SECONDS_A_LETTER * 1000)


def test_speech_settings_reach_the_engine() -> None:
    """Rate, pitch, volume, language and sample rate are not only echoed."""
    made = stage(voice="Serena", language_type="English", speech_rate=1.5, pitch_rate=0.8, volume=70, sample_rate=8000)
    made.take(text("Hello there."))
    assert made.engines.speech[0].how == {
        "voice": "Serena",
        "language": "english",
        "sample_rate": 8000,
        "rate": 1.5,
        "pitch": 0.8,
        "volume": 70,
    }


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_compressed_sound_leaves_while_it_is_made(audio_format: str) -> None:
    """The first delta before the sentence is over, the codec's rest before the response is; all of it is the speech."""
    made = stage(mode="commit", response_format=audio_format, sample_rate=8000, bit_rate=32)
    made.engines.automatic = False
    made.take(text("Hello. Again."), ev.InputTextBufferCommit())
    made.engines.speech[0].give(0.8)
    made.run()
    early = len(made.sound)
    assert early > 1000
    made.engines.speech[0].end()
    made.run()
    made.engines.speech[1].give(0.4)
    made.engines.speech[1].end()
    made.run()
    assert made.types == ["input_text_buffer.committed", *CREATED, "response.audio.delta", *ENDED]
    assert len(decode(made.sound, audio_format, 8000)) / 16000 == pytest.approx(1.2, abs=0.3)
    assert made.all(ev.ResponseDone)[0].response.usage.output_tokens_details["audio_tokens"] == 15


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_cancelled_compressed_sound_is_cut_off(audio_format: str) -> None:
    """What the codec held goes with it, and the next response is a stream of its own."""
    made = stage(mode="commit", response_format=audio_format)
    made.engines.automatic = False
    made.take(text("Hello."), ev.InputTextBufferCommit())
    made.engines.speech[0].give(0.5)
    made.run()
    made.take(ev.ResponseCancel())
    assert made.all(ev.ResponseDone)[0].response.status == "incomplete"
    before = len(made.sound)
    made.engines.automatic = True
    made.take(text("Again."), ev.InputTextBufferCommit())
    seconds = len("Again.") * SECONDS_A_LETTER
    assert len(decode(made.sound[before:], audio_format, 24000)) / 48000 == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_formats_that_need_a_codec_are_refused_plainly_without_it(
    audio_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in says that it is one, and what it lacks."""
    monkeypatch.setitem(sys.modules, "av", None)
    made = stage()
    made.update(response_format=audio_format)
    assert "local stand-in" in str(made.errors[0].message)
    assert "pip install 'qwen-realtime[codecs]'" in str(made.errors[0].message)
    assert made.errors[0].param == "session.response_format"
    assert made.behaviour.settings["response_format"] == "pcm"


def test_the_legacy_model_takes_a_limited_text() -> None:
    """512 tokens, and an error beyond."""
    made = Stage(Family.TTS, model="qwen-tts-realtime")
    made.take(text("字" * 2000))
    assert made.errors[0].message == "Range of input length should be [1, 512]."
    assert made.engines.spoken == []


def test_an_engine_that_fails_is_told_and_the_response_ends_failed() -> None:
    """Nobody waits for ever."""
    made = Stage(Family.TTS, engines=StubEngines(automatic=False))
    made.take(text("Hello."), ev.SessionFinish())
    made.engines.speech[0].end("it fell over")
    made.run()
    assert "it fell over" in str(made.errors[0].message)
    assert made.all(ev.ResponseDone)[0].response.status == "failed"
    assert made.is_finished


def test_finish_without_text_finishes_at_once() -> None:
    """Nothing to say is said at once."""
    assert types(stage().take(ev.SessionFinish())) == ["session.finished"]


def test_events_after_finish_are_let_pass_silently() -> None:
    """Neither an error nor a sound comes of them."""
    made = stage()
    made.take(ev.SessionFinish())
    assert made.take(text("Too late."), ev.SessionFinish(), ev.SessionUpdate()) == []


@pytest.mark.parametrize(
    ("buffer", "sentences", "rest"),
    [
        ("Hello there. How", ["Hello there."], " How"),
        ("Hello there.", ["Hello there."], ""),
        ("3.", [], "3."),
        ("3.14 is pi", [], "3.14 is pi"),
        ("Mr. Smith and Mrs. Jones came! And", ["Mr. Smith and Mrs. Jones came!"], " And"),
        ("你好。今天天气", ["你好。"], "今天天气"),
        ("第一句！第二句？第三句；", ["第一句！", "第二句？", "第三句；"], ""),
        ('"Stop!" she said', ['"Stop!"'], " she said"),
        ("one\ntwo", ["one\n"], "two"),
        ("", [], ""),
    ],
)
def test_sentences_are_found(buffer: str, sentences: list[str], rest: str) -> None:
    """Wide marks end a sentence anywhere, others before a blank."""
    assert take_sentences(buffer) == (sentences, rest)


def test_text_without_an_end_is_cut_at_a_blank() -> None:
    """Someone who never makes a full stop is heard too, and no letter is lost."""
    long = "word " * 100
    sentences, rest = take_sentences(long)
    assert "".join(sentences) + rest == long
    assert all(len(sentence) <= 200 for sentence in sentences)
    assert sentences
