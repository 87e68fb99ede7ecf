"""The vendor's own SDK against the local server, with real engines and real speech, and not one error event."""

from __future__ import annotations

import base64
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from .sounds import SILENCE, recording, spoken

with warnings.catch_warnings():
    # Its own imports use what newer libraries have deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    dashscope = pytest.importorskip("dashscope")
    from dashscope.audio.qwen_omni import MultiModality, OmniRealtimeCallback, OmniRealtimeConversation
    from dashscope.audio.qwen_omni.omni_realtime import TranscriptionParams, TranslationParams
    from dashscope.audio.qwen_tts_realtime import QwenTtsRealtime, QwenTtsRealtimeCallback

WAIT_S = 30.0
HUMAN = "librivox/sense_and_sensibility_01_austen_64kb-0880.wav"
CARD = "cards/001.wav"


class Heard:
    """What a callback was told, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()

    def on_event(self, message: Any) -> None:
        """Called by the SDK's thread."""
        with self._news:
            self.events.append(message)
            self._news.notify_all()

    def wait(self, event_type: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th event of a type, or of an error before it."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if event["type"] == event_type]

        with self._news:
            came = self._news.wait_for(lambda: len(found()) >= count or bool(self.errors), WAIT_S)
            assert came, f"no {event_type} among {[event['type'] for event in self.events]}"
        assert not self.errors
        return found()[count - 1]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """All error events."""
        return [event for event in self.events if event["type"] == "error"]

    @property
    def sound(self) -> bytes:
        """All sound."""
        return b"".join(
            base64.b64decode(event["delta"]) for event in self.events if event["type"] == "response.audio.delta"
        )

    def texts(self, event_type: str, field: str) -> list[str]:
        """A field of all events of a type."""
        return [event[field] for event in self.events if event["type"] == event_type]


class HeardTts(Heard, QwenTtsRealtimeCallback):
    """For the TTS class."""


class HeardOmni(Heard, OmniRealtimeCallback):
    """For the Omni class, which is ASR's and LiveTranslate's too."""


def end(client: Any) -> None:
    """Close, and wait for the SDK's thread.

    Its own close() pulls the socket away from under that thread, which may then wait ten seconds in select(): so the
    close frame goes first, and the server's answer wakes it. The SDK then leaves the socket open.
    """
    sock = client.ws.sock
    sock.send_close()
    client.thread.join(WAIT_S)
    sock.shutdown()
    client.close()
    assert not client.thread.is_alive()


@pytest.fixture
def heard_tts(qwen_realtime_server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, HeardTts]]:
    """The vendor's TTS client, connected, and what it hears."""
    monkeypatch.setattr(dashscope, "api_key", "any")
    heard = HeardTts()
    client = QwenTtsRealtime("qwen3-tts-flash-realtime", callback=heard, url=qwen_realtime_server.url)
    client.connect()
    yield client, heard
    end(client)
    assert heard.errors == []


def connect(server: LocalServer, model: str) -> tuple[Any, HeardOmni]:
    """The vendor's other client, connected, and what it hears."""
    heard = HeardOmni()
    conversation = OmniRealtimeConversation(model, heard, url=server.url, api_key="any")
    conversation.connect()
    return conversation, heard


def send(conversation: Any, sound: bytes) -> None:
    """Append sound in blocks of 100 ms."""
    for start in range(0, len(sound), 3200):
        conversation.append_audio(base64.b64encode(sound[start : start + 3200]).decode())


def test_tts_in_server_commit_mode(heard_tts: tuple[Any, HeardTts]) -> None:
    """Text comes in pieces, sound comes out, finish finishes."""
    client, heard = heard_tts
    client.update_session(voice="Cherry", mode="server_commit", language_type="English")
    for piece in ("Good morning. ", "This is the vendor's own ", "client speaking."):
        client.append_text(piece)
    client.finish()
    heard.wait("session.finished")
    assert len(heard.sound) / 48000 > 2
    assert len(heard.texts("response.done", "response")) == 1
    assert client.get_session_id().startswith("sess_")


def test_tts_in_commit_mode(heard_tts: tuple[Any, HeardTts]) -> None:
    """One response for each commit."""
    client, heard = heard_tts
    client.update_session(voice="Ethan", mode="commit", sample_rate=16000, speech_rate=1.2, volume=60)
    client.append_text("Number one.")
    client.commit()
    first = heard.wait("response.done")
    client.append_text("Number two.")
    client.commit()
    second = heard.wait("response.done", 2)
    client.finish()
    heard.wait("session.finished")
    assert first["response"]["id"] != second["response"]["id"]
    assert client.get_last_response_id() == second["response"]["id"]


def test_asr_with_voice_activity(qwen_realtime_server: LocalServer) -> None:
    """A person reads, and most of it is understood."""
    conversation, heard = connect(qwen_realtime_server, "qwen3-asr-flash-realtime")
    conversation.update_session(
        output_modalities=[MultiModality.TEXT],
        enable_turn_detection=True,
        transcription_params=TranscriptionParams(language="en", sample_rate=16000, input_audio_format="pcm"),
    )
    heard.wait("session.updated")
    send(conversation, recording(HUMAN) + SILENCE)
    conversation.end_session(timeout=int(WAIT_S))
    end(conversation)
    assert heard.errors == []
    transcript = " ".join(heard.texts("conversation.item.input_audio_transcription.completed", "transcript"))
    assert len({"he", "was", "not", "an", "ill", "disposed", "young", "man"} & set(transcript.split())) >= 5
    assert heard.texts("input_audio_buffer.speech_stopped", "audio_end_ms")


def test_asr_in_manual_mode(qwen_realtime_server: LocalServer) -> None:
    """The client says where the utterance ends."""
    conversation, heard = connect(qwen_realtime_server, "qwen3-asr-flash-realtime")
    conversation.update_session(
        output_modalities=[MultiModality.TEXT],
        enable_turn_detection=False,
        transcription_params=TranscriptionParams(language="en"),
    )
    heard.wait("session.updated")
    send(conversation, recording(CARD))
    conversation.commit()
    completed = heard.wait("conversation.item.input_audio_transcription.completed")
    conversation.end_session(timeout=int(WAIT_S))
    end(conversation)
    assert heard.errors == []
    assert completed["transcript"]
    assert heard.texts("input_audio_buffer.speech_started", "item_id") == []


def test_omni_by_text(qwen_realtime_server: LocalServer) -> None:
    """A typed question, answered with sound."""
    conversation, heard = connect(qwen_realtime_server, "qwen3.5-omni-flash-realtime")
    conversation.update_session(output_modalities=[MultiModality.TEXT, MultiModality.AUDIO], voice="Tina")
    heard.wait("session.updated")
    question = [{"type": "input_text", "text": "What is two plus three?"}]
    conversation.create_item({"type": "message", "role": "user", "content": question})
    conversation.create_response()
    heard.wait("response.done")
    conversation.end_session(timeout=int(WAIT_S))
    end(conversation)
    assert heard.errors == []
    assert "five" in heard.texts("response.audio_transcript.done", "transcript")[0].lower()
    assert len(heard.sound) > 24000


def test_omni_by_voice(qwen_realtime_server: LocalServer, qwen_realtime_engines: Engines) -> None:
    """A spoken question, answered by the server's own decision."""
    conversation, heard = connect(qwen_realtime_server, "qwen3.5-omni-flash-realtime")
    conversation.update_session(output_modalities=[MultiModality.TEXT, MultiModality.AUDIO], voice="Tina")
    heard.wait("session.updated")
    send(conversation, SILENCE[:16000] + spoken(qwen_realtime_engines, "What is two plus three?") + SILENCE)
    heard.wait("response.done")
    conversation.end_session(timeout=int(WAIT_S))
    end(conversation)
    assert heard.errors == []
    assert "two plus three" in heard.texts("conversation.item.input_audio_transcription.completed", "transcript")[0]
    assert "five" in heard.texts("response.audio_transcript.done", "transcript")[0].lower()


def test_omni_push_to_talk(qwen_realtime_server: LocalServer, qwen_realtime_engines: Engines) -> None:
    """Commit, then create."""
    conversation, heard = connect(qwen_realtime_server, "qwen3.5-omni-flash-realtime")
    conversation.update_session(
        output_modalities=[MultiModality.TEXT], voice="Tina", enable_turn_detection=False, instructions="Be brief."
    )
    heard.wait("session.updated")
    send(conversation, SILENCE[:16000] + spoken(qwen_realtime_engines, "What is seven times eight?") + SILENCE[:16000])
    conversation.commit()
    heard.wait("input_audio_buffer.committed")
    conversation.create_response()
    heard.wait("response.done")
    conversation.end_session(timeout=int(WAIT_S))
    end(conversation)
    assert heard.errors == []
    assert "fifty" in heard.texts("response.text.done", "text")[0].lower()


def test_livetranslate(qwen_realtime_server: LocalServer, qwen_realtime_engines: Engines) -> None:
    """English in, Spanish out, text and sound."""
    conversation, heard = connect(qwen_realtime_server, "qwen3.5-livetranslate-flash-realtime")
    conversation.update_session(
        output_modalities=[MultiModality.TEXT, MultiModality.AUDIO],
        voice="Tina",
        input_audio_transcription_model="qwen3-asr-flash-realtime",
        translation_params=TranslationParams(language="es"),
    )
    heard.wait("session.updated")
    send(conversation, spoken(qwen_realtime_engines, "Good morning. Where is the train station?") + SILENCE)
    conversation.end_session(timeout=int(WAIT_S))
    end(conversation)
    assert heard.errors == []
    translation = " ".join(heard.texts("response.audio_transcript.done", "transcript")).lower()
    assert "tren" in translation or "estación" in translation
    assert "station" in " ".join(heard.texts("conversation.item.input_audio_transcription.completed", "transcript"))
    assert len(heard.sound) > 48000
