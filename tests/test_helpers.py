"""The one-call helpers, against a scripted service."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import synthesize, transcribe, translate
from qwen_realtime.errors import ConfigError, ConnectionClosed, ServerError

from .data import base64_of
from .peer import CLOSE, TEXT, Link, created

COMPLETED = "conversation.item.input_audio_transcription.completed"
PARTIAL = "conversation.item.input_audio_transcription.text"


def _service(*answers: dict[str, Any], at: str = "session.finish", finish: bool = True, **session: Any) -> Any:
    """A script that confirms settings, and answers one event of the client with a list of its own."""

    def script(link: Link) -> None:
        link.accept()
        link.send(created(**session))
        confirmed = dict(created(**session)["session"])
        while True:
            received = link.receive()
            if received.opcode == CLOSE:
                link.close()
                return
            if received.opcode != TEXT:
                continue
            kind = received.message["type"]
            if kind == "session.update":
                confirmed.update(received.message["session"])
                link.send("session.updated", session=confirmed)
            if kind == at:
                for answer in answers:
                    link.send(answer)
            if kind == "session.finish" and finish:
                link.send("session.finished")

    return script


def _call(helper: Callable[..., Any], peer: Any, *args: Any, **options: Any) -> Any:
    return helper(*args, url=peer.url, api_key="k", **options)


SPOKEN: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "r"}},
    {"type": "response.audio.delta", "response_id": "r", "delta": base64_of(b"\x01\x02" * 800)},
    {"type": "response.audio.delta", "response_id": "r", "delta": base64_of(b"\x03\x04" * 800)},
    {"type": "response.done", "response": {"id": "r", "usage": {"characters": 6}}},
]


class TestSynthesize:
    """Text to speech."""

    def test_returns_the_speech_and_writes_a_file(self, peers: Callable[..., Any], tmp_path: Path) -> None:
        """In the format and at the rate of the session."""
        peer = peers(_service(*SPOKEN))
        out = tmp_path / "hello.wav"
        speech = _call(synthesize, peer, "Hello.", voice="Ethan", sample_rate=16000, out=out)
        assert speech.pcm == b"\x01\x02" * 800 + b"\x03\x04" * 800
        assert (speech.sample_rate, speech.duration_ms, speech.usage.characters) == (16000, 100.0, 6)
        with wave.open(str(out)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
            assert file.readframes(10_000) == speech.pcm
        link = peer.link()
        assert link.types == ["session.update", "input_text_buffer.append", "session.finish"]
        assert link.events[0]["session"] == {"voice": "Ethan", "sample_rate": 16000}

    def test_commits_in_commit_mode(self, peers: Callable[..., Any]) -> None:
        """Nobody else would."""
        peer = peers(_service(*SPOKEN))
        _call(synthesize, peer, "Hello.", mode="commit")
        assert peer.link().types[-2:] == ["input_text_buffer.commit", "session.finish"]

    @pytest.mark.parametrize("text", ["", "  \n", None, b"Hello"])
    def test_no_text_is_refused(self, text: Any) -> None:
        """Without connecting."""
        with pytest.raises(ConfigError):
            synthesize(text, api_key="k")

    @pytest.mark.parametrize("at", ["input_text_buffer.append", "session.finish"])
    def test_an_error_is_raised_whenever_it_comes(self, peers: Callable[..., Any], at: str) -> None:
        """Silence must not pass for speech."""
        peer = peers(_service({"type": "error", "error": {"message": "Voice is not supported"}}, at=at))
        with pytest.raises(ServerError, match="not supported"):
            _call(synthesize, peer, "Hello.")

    def test_a_connection_that_breaks_is_raised(self, peers: Callable[..., Any]) -> None:
        """Half a speech must not pass for a whole one."""

        def breaks(link: Link) -> None:
            link.accept()
            link.send(created())
            link.receive_event("session.finish")
            for event in SPOKEN[:2]:
                link.send(event)
            link.cut()

        with pytest.raises(ConnectionClosed):
            _call(synthesize, peers(breaks), "Hello.")


HEARD: list[dict[str, Any]] = [
    {"type": "input_audio_buffer.speech_started", "item_id": "a", "audio_start_ms": 100},
    {"type": PARTIAL, "item_id": "a", "text": "Good ", "stash": "mor"},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "a", "audio_end_ms": 900},
    {"type": COMPLETED, "item_id": "a", "transcript": "Good morning.", "language": "en", "emotion": "happy"},
    {"type": COMPLETED, "item_id": "b", "transcript": ""},
    {"type": "conversation.item.input_audio_transcription.failed", "item_id": "c", "error": {"message": "too loud"}},
    {"type": COMPLETED, "item_id": "d", "transcript": "Bye.", "language": None},
]


class TestTranscribe:
    """Speech to text."""

    def test_returns_utterances_with_their_times(self, peers: Callable[..., Any]) -> None:
        """Silence that was taken for speech is left out; what failed says why."""
        peer = peers(_service(*HEARD, turn_detection={"type": "server_vad", "silence_duration_ms": 200}))
        partials: list[str] = []
        transcript = _call(transcribe, peer, bytearray(3200), language="en", on_partial=partials.append)
        assert transcript.text == "Good morning. Bye."
        first, failed, last = transcript.utterances
        assert first == ("Good morning.", 100, 900, "en", "happy", "")
        assert (failed.text, failed.error) == ("", "too loud")
        assert (last.start_ms, last.language) == (None, "")
        assert transcript.duration_ms == 100.0
        assert partials == ["Good mor"]
        assert peer.link().events[0]["session"] == {"input_audio_transcription": {"language": "en"}}

    def test_commits_in_manual_mode(self, peers: Callable[..., Any]) -> None:
        """If there was any audio."""
        peer = peers(_service(*HEARD[3:4]))
        assert _call(transcribe, peer, bytearray(3200), turn_detection=None).text == "Good morning."
        assert peer.link(1).types[-2:] == ["input_audio_buffer.commit", "session.finish"]
        _call(transcribe, peer, bytearray(0), turn_detection=None)
        assert peer.link(2).types == ["session.update", "session.finish"]

    def test_an_error_is_raised_whenever_it_comes(self, peers: Callable[..., Any]) -> None:
        """A part of the text must not pass for all of it."""
        for at in ("input_audio_buffer.append", "session.finish"):
            peer = peers(_service({"type": "error", "error": {"message": "broken"}}, at=at))
            with pytest.raises(ServerError, match="broken"):
                _call(transcribe, peer, bytearray(3200))

    def test_a_file_that_is_not_there_is_not_there(self, peers: Callable[..., Any]) -> None:
        """The error is the system's, and the session is closed."""
        with pytest.raises((ConfigError, FileNotFoundError)):
            _call(transcribe, peers(_service()), "no-such-file.wav")


class TestTranslate:
    """Speech to text and speech in another language."""

    def test_returns_segments_and_speech(self, peers: Callable[..., Any], tmp_path: Path) -> None:
        """The source's text beside the translation; the last text of a response counts."""
        answers: list[dict[str, Any]] = [
            {"type": COMPLETED, "item_id": "a", "transcript": "Hello."},
            {"type": "response.created", "response": {"id": "r1"}},
            {"type": "response.audio.delta", "response_id": "r1", "delta": base64_of(bytes(4800))},
            {"type": "response.audio_transcript.done", "response_id": "r1", "transcript": "Hola.  "},
            {"type": "response.done", "response": {"id": "r1"}},
            {"type": "response.text.done", "response_id": "r2", "text": "Adiós"},
            {"type": "response.text.done", "response_id": "r2", "text": "Adiós."},
        ]
        peer = peers(_service(*answers, turn_detection={"type": "server_vad"}))
        out = tmp_path / "es.wav"
        translation = _call(translate, peer, bytearray(3200), to="es", out=out)
        assert translation.segments == (("Hello.", "Hola."), ("", "Adiós."))
        assert (translation.text, translation.source_text) == ("Hola. Adiós.", "Hello.")
        assert translation.speech.duration_ms == 100.0
        assert out.stat().st_size == 44 + 4800
        session = peer.link().events[0]["session"]
        assert session["translation"] == {"language": "es"}
        assert session["input_audio_transcription"] == {"model": "qwen3-asr-flash-realtime"}

    def test_settings_of_yours_are_kept(self, peers: Callable[..., Any]) -> None:
        """Fixed terms beside the language; no transcription where you want none."""
        peer = peers(_service())
        corpus = {"phrases": {"heart": "corazón"}}
        _call(translate, peer, bytearray(2), to="es", translation={"corpus": corpus}, input_audio_transcription=None)
        session = peer.link().events[0]["session"]
        assert session["translation"] == {"language": "es", "corpus": corpus}
        assert session["input_audio_transcription"] is None
