"""What is wrong with a session.update, in the service's words."""

from __future__ import annotations

from typing import Any

import pytest

from qwen_realtime.server.validation import created_session, echo, find_fault, merge
from qwen_realtime.settings.profiles import profile_of

TTS = profile_of("qwen3-tts-flash-realtime")
ASR = profile_of("qwen3-asr-flash-realtime")
OMNI = profile_of("qwen3.5-omni-flash-realtime")
OLD_OMNI = profile_of("qwen3-omni-flash-realtime")
LT = profile_of("qwen3.5-livetranslate-flash-realtime")


@pytest.mark.parametrize(
    ("profile", "update", "message", "param"),
    [
        (
            ASR,
            {"input_audio_format": "pcm16"},
            "Invalid value: 'pcm16'. Supported values are: 'pcm', 'opus'.",
            "session.input_audio_format",
        ),
        (
            OMNI,
            {"modalities": ["audio"]},
            "Invalid modalities: ['audio']. Supported combinations are: ['text'] and ['audio', 'text'].",
            "session.modalities",
        ),
        (TTS, {"speech_rate": 3}, "Invalid value: 3. Supported range is [0.5, 2].", "session.speech_rate"),
        (OMNI, {"temperature": 2}, "Invalid value: 2. Supported range is [0, 2).", "session.temperature"),
    ],
)
def test_messages_are_the_services(profile: Any, update: dict[str, Any], message: str, param: str) -> None:
    """Word for word where it is documented, in its manner elsewhere."""
    fault = find_fault(update, profile)
    assert fault is not None
    assert (fault.message, fault.param, fault.code) == (message, param, "invalid_value")


@pytest.mark.parametrize(
    ("profile", "update"),
    [
        (TTS, {"mode": "manual"}),
        (TTS, {"sample_rate": 11025}),
        (TTS, {"sample_rate": "24000"}),
        (TTS, {"volume": True}),
        (TTS, {"voice": "cherry"}),
        (TTS, {"voice": ""}),
        (TTS, {"voice": 3}),
        (TTS, {"language_type": "Klingon"}),
        (ASR, {"sample_rate": 44100}),
        (ASR, {"input_audio_format": "opus"}),
        (ASR, {"turn_detection": {"type": "semantic_vad"}}),
        (ASR, {"turn_detection": {"threshold": 2}}),
        (ASR, {"turn_detection": {"silence_duration_ms": 100}}),
        (ASR, {"turn_detection": "server_vad"}),
        (ASR, {"input_audio_transcription": {"language": "xx"}}),
        (ASR, {"input_audio_transcription": {"language": 5}}),
        (OMNI, {"modalities": "text"}),
        (OMNI, {"modalities": [1, "text"]}),
        (OMNI, {"tools": {"name": "x"}}),
        (OMNI, {"tools": [{"type": "function"}]}),
        (OMNI, {"tools": [{"type": "function", "name": "x"}], "enable_search": True}),
        (OMNI, {"audio": {"output": {"format": {"type": "mp3"}}}}),
        (LT, {"translation": {"language": "xx"}}),
        (LT, {"translation": "es"}),
        (LT, {"translation": {"corpus": {"phrases": ["a"]}}}),
        (LT, {"translation": {"corpus": {"phrases": {"a": 1}}}}),
        (OMNI, {"audio": {"input": {"format": "pcm"}}}),
        (TTS, {"sample_rate": {"hz": 24000}}),
        (LT, {"voice": "Tina", "voice_clone_options": {"frequency": "always"}}),
    ],
)
def test_faults_are_found(profile: Any, update: dict[str, Any]) -> None:
    """Of every kind: values, ranges, types, combinations."""
    assert find_fault(update, profile) is not None


@pytest.mark.parametrize(
    ("profile", "update"),
    [
        (
            ASR,
            {
                "modalities": ["text", "audio"],
                "voice": None,
                "input_audio_format": "pcm",
                "output_audio_format": "pcm16",
                "input_audio_transcription": {"language": "en"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.0,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 400,
                },
                "sample_rate": 16000,
            },
        ),
        (OMNI, {"model": "another", "tools": None, "instructions": None, "no_such_thing": {"at": "all"}}),
        (OMNI, {"input_audio_format": "pcm16", "output_audio_format": "pcm16", "input_audio_transcription": None}),
        (OMNI, {"audio": {"input": {"format": {"type": "wav", "sample_rate": 48000}}}, "voice": "Anybody"}),
        (OMNI, {"turn_detection": {"type": "semantic_vad", "threshold": 0.5}}),
        (OLD_OMNI, {"tools": "anything", "enable_search": True}),
        (LT, {"input_audio_transcription": {"model": None}, "turn_detection": None}),
        (TTS, {"instructions": "whisper", "enable_tn": True, "language_type": "english"}),
    ],
)
def test_what_the_vendors_sdk_sends_is_tolerated(profile: Any, update: dict[str, Any]) -> None:
    """Nulls, fields of other families, older spellings, fields that nobody knows."""
    assert find_fault(update, profile) is None


def test_turn_detection_is_merged_field_by_field() -> None:
    """Over what is in force, also when it comes back from manual mode."""
    session = created_session(ASR, "sess_1")
    manual = merge(session, {"turn_detection": None}, ASR)
    assert manual["turn_detection"] is None
    again = merge(manual, {"turn_detection": {"type": "server_vad", "silence_duration_ms": 400}}, ASR)
    assert again["turn_detection"]["threshold"] == 0.2
    assert again["turn_detection"]["silence_duration_ms"] == 400
    assert session == created_session(ASR, "sess_1")


def test_lists_and_phrases_are_replaced_as_a_whole() -> None:
    """Not merged with what was there."""
    first = merge(created_session(LT, "s"), {"translation": {"language": "fr", "corpus": {"phrases": {"a": "b"}}}}, LT)
    second = merge(first, {"translation": {"corpus": {"phrases": {"c": "d"}}}}, LT)
    assert second["translation"] == {"language": "fr", "corpus": {"phrases": {"c": "d"}}}


def test_profiles_are_not_touched_by_sessions() -> None:
    """Each session has its own copy."""
    session = created_session(OMNI, "s")
    session["turn_detection"]["threshold"] = -1
    merged = merge(created_session(OMNI, "s"), {"turn_detection": {"threshold": -1}}, OMNI)
    assert echo(merged, OMNI)["turn_detection"]["threshold"] == -1
    assert OMNI.created["turn_detection"]["threshold"] == 0.5
