"""One call for one job, for code that wants neither events nor threads: synthesize, transcribe, translate.

Each opens a session, does its work, and closes it, blocking meanwhile. Keyword arguments that are not named here go to
the client: ``api_key=``, ``region=``, ``model=``, any setting.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

from .client import RealtimeClient
from .errors import ConfigError
from .events import (
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    ConversationItemInputAudioTranscriptionText,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
    ResponseAudioDelta,
    ResponseAudioTranscriptDone,
    ResponseDone,
    ResponseTextDone,
)
from .families import ASRClient, LiveTranslateClient, TTSClient
from .hints import server_error
from .results import Segment, Speech, Transcript, Translation, Utterance, format_of
from .sources import AudioSource

__all__ = ["opened", "synthesize", "transcribe", "translate"]

# Called with each client made here, before it connects, in the context of the call: for those who may have to close it.
opened: ContextVar[Callable[[RealtimeClient], object]] = ContextVar("opened", default=lambda _: None)


def synthesize(
    text: str, *, voice: str | None = None, out: str | os.PathLike[str] | None = None, **client_kw: Any
) -> Speech:
    """Turn text into speech.

    Args:
        text: what to say.
        voice: one of the model's voices; the default is the service's.
        out: a file to write: mp3 or opus where it is named so (``.mp3``, ``.opus``, ``.ogg``) or that
            ``response_format`` is asked for, else WAV.
        client_kw: for :class:`~.families.TTSClient`.

    Raises:
        ConfigError, ConnectError, ServerError, ConnectionClosed, WaitTimeout: as the client does.
    """
    if not isinstance(text, str) or not text.strip():
        raise ConfigError("there is no text to speak")
    if voice is not None:
        client_kw["voice"] = voice
    if (spoken := format_of(out)) is not None and "settings" not in client_kw:
        client_kw.setdefault("response_format", spoken)
    chunks: list[bytes] = []
    usage: list[Any] = []
    client = TTSClient(**client_kw)
    opened.get()(client)
    client.on(ResponseAudioDelta, lambda event: chunks.append(event.delta))
    client.on(ResponseDone, lambda event: usage.append(event.response.usage or None))
    with client:
        client.append_text(text)
        if client.session.get("mode") == "commit":
            client.commit()
        _raise_reported(client)
    _raise_reported(client)
    speech = client.speech(b"".join(chunks), text, usage[-1] if usage else None)
    if out is not None:
        speech.save(out)
    return speech


def _raise_reported(client: RealtimeClient) -> None:
    """Raise an error that ``finish()`` was not waiting for: half a result must not pass for a whole one."""
    if client.errors:
        raise server_error(client.errors[0])


def transcribe(
    source: AudioSource,
    *,
    language: str | None = None,
    pace: Literal["realtime", "fast"] = "fast",
    on_partial: Callable[[str], object] | None = None,
    **client_kw: Any,
) -> Transcript:
    """Turn a recording into text.

    Args:
        source: the path, bytes or open file of sound (WAV; with the extra ``codecs`` nearly any), a ``Speech``, a numpy
            array at 16 kHz, or an iterable of PCM blocks.
        language: the language spoken, such as ``"en"``; detected where left out.
        pace: ``"fast"``, or ``"realtime"``.
        on_partial: called with the text so far, on the client's dispatching thread.
        client_kw: for :class:`~.families.ASRClient`.

    Raises:
        ConfigError, ConnectError, ServerError, ConnectionClosed, WaitTimeout: as the client does.
    """
    if language is not None:
        client_kw["input_audio_transcription"] = {
            **(client_kw.get("input_audio_transcription") or {}),
            "language": language,
        }
    client = ASRClient(**client_kw)
    opened.get()(client)
    heard = _Hearing(client)
    if on_partial is not None:
        client.on(ConversationItemInputAudioTranscriptionText, lambda event: on_partial(event.text + event.stash))
    with client:
        duration = client.stream(source, pace)
        if client.turn_detection is None and duration:
            client.commit()
        _raise_reported(client)
    _raise_reported(client)
    return Transcript(heard.utterances(), duration)


class _Hearing:
    """Collects utterances by their item."""

    def __init__(self, client: ASRClient) -> None:
        self._starts: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._texts: dict[str, Utterance] = {}
        client.on(InputAudioBufferSpeechStarted, self._on_started)
        client.on(InputAudioBufferSpeechStopped, self._on_stopped)
        client.on(ConversationItemInputAudioTranscriptionCompleted, self._on_completed)
        client.on(ConversationItemInputAudioTranscriptionFailed, self._on_failed)

    def _on_started(self, event: InputAudioBufferSpeechStarted) -> None:
        self._starts[event.item_id or ""] = event.audio_start_ms

    def _on_stopped(self, event: InputAudioBufferSpeechStopped) -> None:
        self._ends[event.item_id or ""] = event.audio_end_ms

    def _on_completed(self, event: ConversationItemInputAudioTranscriptionCompleted) -> None:
        self._texts[event.item_id or ""] = Utterance(
            event.transcript, language=event.language or "", emotion=event.emotion or ""
        )

    def _on_failed(self, event: ConversationItemInputAudioTranscriptionFailed) -> None:
        self._texts[event.item_id or ""] = Utterance("", error=event.error.message or "not recognised")

    def utterances(self) -> tuple[Utterance, ...]:
        """What was heard, in the order of speaking; silence that was taken for speech is left out."""
        return tuple(
            utterance._replace(start_ms=self._starts.get(item), end_ms=self._ends.get(item))
            for item, utterance in self._texts.items()
            if utterance.text or utterance.error
        )


def translate(
    source: AudioSource,
    *,
    to: str,
    out: str | os.PathLike[str] | None = None,
    pace: Literal["realtime", "fast"] = "fast",
    **client_kw: Any,
) -> Translation:
    """Interpret a recording into another language.

    Args:
        source: as for :func:`transcribe`.
        to: the target language, such as ``"es"``.
        out: a WAV file to write the spoken translation to.
        pace: ``"fast"``, or ``"realtime"``.
        client_kw: for :class:`~.families.LiveTranslateClient`.

    Raises:
        ConfigError, ConnectError, ServerError, ConnectionClosed, WaitTimeout: as the client does.
    """
    client_kw["translation"] = {**(client_kw.get("translation") or {}), "language": to}
    client_kw.setdefault("input_audio_transcription", {"model": "qwen3-asr-flash-realtime"})
    chunks: list[bytes] = []
    texts: dict[str, str] = {}
    sources: list[str] = []
    client = LiveTranslateClient(**client_kw)
    opened.get()(client)
    client.on(ResponseAudioDelta, lambda event: chunks.append(event.delta))
    client.on(ResponseTextDone, lambda event: texts.update({event.response_id: event.text}))
    client.on(ResponseAudioTranscriptDone, lambda event: texts.update({event.response_id: event.transcript}))
    client.on(ConversationItemInputAudioTranscriptionCompleted, lambda event: sources.append(event.transcript))
    with client:
        duration = client.stream(source, pace)
        if client.turn_detection is None and duration:
            client.commit()
        _raise_reported(client)
    _raise_reported(client)
    texts_in_order = [text.strip() for text in texts.values()]
    sources += [""] * (len(texts_in_order) - len(sources))
    segments = tuple(Segment(*pair) for pair in zip(sources, texts_in_order, strict=False))
    translation = Translation(segments, Speech(b"".join(chunks), client.output_rate), duration)
    if out is not None:
        translation.speech.save(out)
    return translation
