"""All four families over the loopback interface, with real engines and real speech, paced where it matters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from qwen_realtime.audio.pcm import resample
from qwen_realtime.audio.wav import read_wav, wav_bytes
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from .sounds import RATE_HZ, SILENCE, recording, spoken
from .wires import Wire

TTS = "qwen3-tts-flash-realtime"
ASR = "qwen3-asr-flash-realtime"
OMNI = "qwen3.5-omni-flash-realtime"
TRANSLATE = "qwen3.5-livetranslate-flash-realtime"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def paced(qwen_realtime_engines: Engines) -> Iterator[LocalServer]:
    """A server that speaks in real time."""
    with LocalServer(engines=qwen_realtime_engines, pace=1.0, clock=lambda: datetime(2026, 11, 20, 15, 30)) as server:
        yield server


def transcripts(wire: Wire) -> str:
    """All that was recognised."""
    kind = "conversation.item.input_audio_transcription.completed"
    return " ".join(event["transcript"] for event in wire.events if event["type"] == kind)


def test_what_tts_says_asr_understands(qwen_realtime_server: LocalServer) -> None:
    """From text to sound and back, at 16 kHz."""
    with Wire(qwen_realtime_server, TTS) as wire:
        wire.send("session.update", session={"sample_rate": 16000, "mode": "commit", "language_type": "English"})
        wire.send("input_text_buffer.append", text="The old man walked slowly to the station.")
        wire.send("input_text_buffer.commit")
        wire.until("response.done")
        sound = wire.sound
    with Wire(qwen_realtime_server, ASR) as wire:
        wire.send("session.update", session={"input_audio_transcription": {"language": "en"}})
        wire.send_audio(SILENCE[:16000] + sound + SILENCE)
        wire.send("session.finish")
        wire.until("session.finished")
    words = {"the", "old", "man", "walked", "slowly", "to", "station"}
    assert len(words & set(transcripts(wire).split())) >= 5


def test_a_person_is_understood_at_8_khz(qwen_realtime_server: LocalServer) -> None:
    """As over a telephone, with drafts on the way and two utterances."""
    pcm = recording("librivox/sense_and_sensibility_01_austen_64kb-0880.wav")
    samples = read_wav(wav_bytes(pcm + SILENCE, RATE_HZ)).samples
    telephone = resample(samples, RATE_HZ, 8000).tobytes()
    with Wire(qwen_realtime_server, ASR) as wire:
        wire.send("session.update", session={"sample_rate": 8000})
        wire.send_audio(telephone + telephone, 1600)
        wire.send("session.finish")
        wire.until("session.finished")
    assert wire.types.count("input_audio_buffer.speech_stopped") >= 2
    assert "conversation.item.input_audio_transcription.text" in wire.types
    assert len({"he", "was", "not", "an", "disposed", "young", "man"} & set(transcripts(wire).split())) >= 3
    starts = [event["audio_start_ms"] for event in wire.events if "audio_start_ms" in event]
    assert starts == sorted(starts)
    assert starts[-1] > len(telephone) / 16


def test_a_language_that_is_not_heard_is_a_failed_transcription(qwen_realtime_server: LocalServer) -> None:
    """Plainly, and not as nonsense."""
    with Wire(qwen_realtime_server, ASR) as wire:
        wire.send("session.update", session={"input_audio_transcription": {"language": "fr"}})
        wire.send_audio(recording("cards/001.wav") + SILENCE)
        wire.send("session.finish")
        failed = wire.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "unsupported_language"
        wire.until("session.finished")


def test_new_speech_interrupts_the_answer(paced: LocalServer, qwen_realtime_engines: Engines) -> None:
    """The story stops within one delta of the interruption, and the next question is answered."""
    with Wire(paced, OMNI) as wire:
        wire.receive()
        wire.send_audio(SILENCE[:16000] + spoken(qwen_realtime_engines, "Tell me a story.") + SILENCE)
        wire.until("response.audio.delta")
        wire.send_audio(spoken(qwen_realtime_engines, "What time is it?") + SILENCE)
        wire.until("input_audio_buffer.speech_started")
        interrupted = wire.until("response.audio.delta", "response.done")
        assert interrupted["type"] == "response.done"
        assert interrupted["response"]["status"] == "incomplete"
        answer = wire.until("response.audio_transcript.done")
        assert "three" in answer["transcript"].lower()
        wire.send("response.cancel")
        wire.until("response.output_item.done")


def test_a_declared_function_is_called_and_its_result_told(qwen_realtime_server: LocalServer) -> None:
    """By a typed question; the arguments are JSON."""
    with Wire(qwen_realtime_server, OMNI) as wire:
        wire.send("session.update", session={"modalities": ["text"], "tools": [WEATHER]})
        question = [{"type": "input_text", "text": "What is the weather in Paris?"}]
        wire.send("conversation.item.create", item={"type": "message", "role": "user", "content": question})
        wire.send("response.create")
        call = wire.until("response.function_call_arguments.done")
        assert call["name"] == "get_weather"
        assert json.loads(call["arguments"])["city"].lower() == "paris"
        wire.until("response.done")
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"sky": "clear"}'}
        wire.send("conversation.item.create", item=output)
        wire.send("response.create")
        assert "clear" in wire.until("response.text.done")["text"]
        wire.until("response.done")


def test_a_translation_begins_while_speech_goes_on(
    qwen_realtime_server: LocalServer, qwen_realtime_engines: Engines
) -> None:
    """Its first draft comes before the speech has stopped; the whole is Spanish."""
    with Wire(qwen_realtime_server, TRANSLATE) as wire:
        wire.send("session.update", session={"modalities": ["text"], "translation": {"language": "es"}})
        wire.send_audio(spoken(qwen_realtime_engines, "Good morning. I would like a cup of coffee.") + SILENCE)
        wire.send("session.finish")
        wire.until("session.finished")
    types = wire.types
    assert types.index("response.text.text") < types.index("input_audio_buffer.speech_stopped")
    text = " ".join(event["text"] for event in wire.events if event["type"] == "response.text.done").lower()
    assert "café" in text or "buenos" in text


def test_speech_is_paced(paced: LocalServer) -> None:
    """A second and a half of sound takes its time, but for the last delta."""
    with Wire(paced, TTS) as wire:
        wire.send("input_text_buffer.append", text="One two three four.")
        wire.send("session.finish")
        wire.until("response.audio.delta")
        start = time.monotonic()
        wire.until("session.finished")
        seconds = len(wire.sound) / 48000
        assert seconds > 1
        assert seconds - 0.3 < time.monotonic() - start < seconds + 1
