"""The settings of a session, one class per family, in the wire's own words.

Every field may be left out (``UNSET``: the server's default stands) and some may be ``None`` (a JSON ``null``, which
means *off*: ``turn_detection=None`` is manual mode). Sources: ``shared/seeds`` 000–004 and the protocol reference,
sections 2.2, 3.2, 4.2 and 5.2.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import ConfigError
from ..protocol import Family

__all__ = [
    "ASRSettings",
    "AudioFormat",
    "AudioInput",
    "AudioOutput",
    "AudioSettings",
    "LiveTranslateSettings",
    "OmniSettings",
    "Settings",
    "TTSSettings",
    "Transcription",
    "Translation",
    "TurnDetection",
]

S = TypeVar("S", bound="Settings")


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the settings: an object inside the session object."""


class TurnDetection(_Part, frozen=True, kw_only=True):
    """How the server finds the end of an utterance.

    Attributes:
        type: ``"server_vad"``, or ``"semantic_vad"`` on qwen3.5-omni and later.
        threshold: −1…1; lower hears more; the default depends on the family.
        silence_duration_ms: 200…6000; this much silence ends an utterance.
        prefix_padding_ms: audio kept before the onset; echoed, hardly documented.
        idle_timeout_ms: 5000…30000; the server speaks by itself after this much silence (qwen3.5-omni).
        create_response: echoed by the service.
        interrupt_response: echoed by the service.
    """

    type: str | UnsetType = UNSET
    threshold: float | UnsetType = UNSET
    silence_duration_ms: int | UnsetType = UNSET
    prefix_padding_ms: int | UnsetType = UNSET
    idle_timeout_ms: int | UnsetType = UNSET
    create_response: bool | UnsetType = UNSET
    interrupt_response: bool | UnsetType = UNSET


class Corpus(_Part, frozen=True, kw_only=True):
    """Words to expect: ``text`` for recognition (at most 10,000 tokens), ``phrases`` for translation."""

    text: str | UnsetType = UNSET
    phrases: dict[str, str] | UnsetType = UNSET


class Transcription(_Part, frozen=True, kw_only=True):
    """How input speech is transcribed.

    Attributes:
        model: the recogniser, where the family has one (Omni, LiveTranslate).
        language: the language spoken, such as ``"en"``; detected where unset.
        corpus: words to expect.
    """

    model: str | UnsetType | None = UNSET
    language: str | UnsetType = UNSET
    corpus: Corpus | UnsetType = UNSET


class SameLanguageSkip(_Part, frozen=True, kw_only=True):
    """What to leave out where source and target language are the same."""

    skip_text: bool | UnsetType = UNSET
    skip_audio: bool | UnsetType = UNSET


class Translation(_Part, frozen=True, kw_only=True):
    """Into which language, with which fixed terms."""

    language: str | UnsetType = UNSET
    corpus: Corpus | UnsetType = UNSET
    same_language_skip_options: SameLanguageSkip | UnsetType = UNSET


class VoiceClone(_Part, frozen=True, kw_only=True):
    """``frequency``: ``never`` (``voice`` names a clone), ``once`` or ``always`` (``voice`` is ``default``)."""

    frequency: str | UnsetType = UNSET


class SearchOptions(_Part, frozen=True, kw_only=True):
    """``enable_source``: also list what was found."""

    enable_source: bool | UnsetType = UNSET


class AudioFormat(_Part, frozen=True, kw_only=True):
    """A format of audio: ``type`` ``"pcm"`` or ``"wav"``, and its ``sample_rate`` in Hz."""

    type: str | UnsetType = UNSET
    sample_rate: int | UnsetType = UNSET
    sample_format: str | UnsetType = UNSET
    channels: int | UnsetType = UNSET
    packing: str | UnsetType = UNSET
    channel_layout: str | UnsetType = UNSET


class AudioInput(_Part, frozen=True, kw_only=True):
    """Input audio of qwen3.5-omni and later."""

    format: AudioFormat | UnsetType = UNSET


class AudioOutput(_Part, frozen=True, kw_only=True):
    """Output audio of qwen3.5-omni and later; ``voice`` on qwen3.8."""

    format: AudioFormat | UnsetType = UNSET
    voice: str | UnsetType = UNSET


class AudioSettings(_Part, frozen=True, kw_only=True):
    """Audio of qwen3.5-omni and later, in and out."""

    input: AudioInput | UnsetType = UNSET
    output: AudioOutput | UnsetType = UNSET


class VideoInput(_Part, frozen=True, kw_only=True):
    """``representation_compact``: ``"none"`` or ``"normal"`` (a quarter of the tokens)."""

    representation_compact: str | UnsetType = UNSET


class VideoSettings(_Part, frozen=True, kw_only=True):
    """Video of qwen3.8-omni."""

    input: VideoInput | UnsetType = UNSET


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the four settings classes."""

    family: ClassVar[Family]

    @classmethod
    def of(cls: type[S], fields: Mapping[str, Any], base: S | None = None) -> S:
        """Make settings from keyword fields, over ``base``.

        Raises:
            ConfigError: a field that this family does not have, or a value of the wrong type.
        """
        for name in fields:
            if name not in cls.__struct_fields__:
                near = difflib.get_close_matches(name, cls.__struct_fields__, 1)
                raise ConfigError(
                    f"{cls.family.value} has no setting {name!r}",
                    hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(cls.__struct_fields__)}",
                )
        given = {name: getattr(base, name) for name in cls.__struct_fields__} if base is not None else {}
        given.update((name, value) for name, value in fields.items())
        try:
            plain = msgspec.to_builtins({name: value for name, value in given.items() if value is not UNSET})
            return msgspec.convert(plain, cls)
        except (msgspec.MsgspecError, TypeError) as error:
            raise ConfigError(f"a setting of {cls.family.value} is of the wrong type: {error}") from error

    def to_session(self) -> dict[str, Any]:
        """The ``session`` object of a ``session.update``: what is set, and nothing else."""
        return cast("dict[str, Any]", msgspec.to_builtins(self))


class TTSSettings(Settings, frozen=True, kw_only=True):
    """Settings of speech synthesis (reference, section 2.2).

    Attributes:
        voice: a preset voice, or the id of a cloned or designed one.
        mode: ``"server_commit"`` (the server decides when to speak) or ``"commit"`` (you do).
        language_type: ``"Auto"``, ``"Chinese"``, ``"English"`` …
        response_format: ``"pcm"``, ``"wav"``, ``"mp3"`` or ``"opus"``.
        sample_rate: Hz.
        speech_rate: 0.5…2.0.
        volume: 0…100.
        pitch_rate: 0.5…2.0.
        bit_rate: 6…510 kbit/s, for opus and mp3.
        instructions: how to speak (instruct models).
        optimize_instructions: let the service reword them (instruct models).
        enable_tn: text normalisation.
    """

    family: ClassVar[Family] = Family.TTS
    voice: str | UnsetType = UNSET
    mode: str | UnsetType = UNSET
    language_type: str | UnsetType = UNSET
    response_format: str | UnsetType = UNSET
    sample_rate: int | UnsetType = UNSET
    speech_rate: float | UnsetType = UNSET
    volume: int | UnsetType = UNSET
    pitch_rate: float | UnsetType = UNSET
    bit_rate: int | UnsetType = UNSET
    instructions: str | UnsetType = UNSET
    optimize_instructions: bool | UnsetType = UNSET
    enable_tn: bool | UnsetType = UNSET


class ASRSettings(Settings, frozen=True, kw_only=True):
    """Settings of speech recognition (reference, section 3.2).

    Attributes:
        input_audio_format: ``"pcm"`` or ``"opus"``.
        sample_rate: 16000, or 8000 for telephony.
        input_audio_transcription: language and words to expect.
        turn_detection: voice activity detection, or ``None`` for manual mode.
        modalities: ``["text"]``; the service has no other.
    """

    family: ClassVar[Family] = Family.ASR
    input_audio_format: str | UnsetType = UNSET
    sample_rate: int | UnsetType = UNSET
    input_audio_transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    modalities: list[str] | UnsetType = UNSET


class OmniSettings(Settings, frozen=True, kw_only=True):
    """Settings of voice chat (reference, section 4.2).

    Attributes:
        modalities: ``["text"]`` or ``["text", "audio"]``.
        voice: a voice of this model.
        audio: formats in and out (qwen3.5 and later).
        input_audio_format: legacy; PCM in all spellings.
        output_audio_format: legacy; PCM in all spellings.
        instructions: the system text.
        input_audio_transcription: the transcription of input speech; ``None`` switches it off.
        turn_detection: voice activity detection, or ``None`` for push-to-talk.
        tools: functions that the model may call (qwen3.5 and later), ``{"type": "function", "function": {...}}``.
        enable_search: web search; excludes tools.
        search_options: of the web search.
        smooth_output: colloquial or written style (qwen3-omni-flash).
        video: compaction of images (qwen3.8).
        temperature: sampling, [0, 2).
        top_p: sampling, (0, 1].
        top_k: sampling, 0 or more; ``None`` is off.
        max_tokens: length limit of a reply.
        repetition_penalty: over 0.
        presence_penalty: −2…2.
        seed: 0…2³¹−1.
    """

    family: ClassVar[Family] = Family.OMNI
    modalities: list[str] | UnsetType = UNSET
    voice: str | UnsetType = UNSET
    audio: AudioSettings | UnsetType = UNSET
    input_audio_format: str | UnsetType = UNSET
    output_audio_format: str | UnsetType = UNSET
    instructions: str | UnsetType = UNSET
    input_audio_transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    tools: list[dict[str, Any]] | UnsetType = UNSET
    enable_search: bool | UnsetType = UNSET
    search_options: SearchOptions | UnsetType = UNSET
    smooth_output: bool | UnsetType | None = UNSET
    video: VideoSettings | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    top_k: int | UnsetType | None = UNSET
    max_tokens: int | UnsetType = UNSET
    repetition_penalty: float | UnsetType = UNSET
    presence_penalty: float | UnsetType = UNSET
    seed: int | UnsetType = UNSET


class LiveTranslateSettings(Settings, frozen=True, kw_only=True):
    """Settings of live translation (reference, section 5.2).

    Attributes:
        modalities: ``["text"]`` or ``["text", "audio"]``.
        voice: a preset voice, ``default``, or a clone id.
        input_audio_format: ``"pcm"`` (or ``"pcm16"``, the older spelling).
        output_audio_format: ``"pcm"`` (or ``"pcm24"``, the older spelling).
        sample_rate: of the input, Hz.
        input_audio_transcription: source language and whether to transcribe it.
        translation: the target language and fixed terms.
        turn_detection: voice activity detection, or ``None`` for manual mode (qwen3.5).
        enable_voice_clone: speak with the speaker's voice (qwen3.5).
        voice_clone_options: how often to learn it.
    """

    family: ClassVar[Family] = Family.LIVE_TRANSLATE
    modalities: list[str] | UnsetType = UNSET
    voice: str | UnsetType = UNSET
    input_audio_format: str | UnsetType = UNSET
    output_audio_format: str | UnsetType = UNSET
    sample_rate: int | UnsetType = UNSET
    input_audio_transcription: Transcription | UnsetType | None = UNSET
    translation: Translation | UnsetType = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    enable_voice_clone: bool | UnsetType = UNSET
    voice_clone_options: VoiceClone | UnsetType = UNSET
