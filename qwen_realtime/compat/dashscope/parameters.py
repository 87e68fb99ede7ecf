"""The vendor's enums and parameter classes, and the parts of a session object that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any

from .formats import PcmFormat

__all__ = [
    "AudioFormat",
    "AudioFormatConfig",
    "AudioFormatType",
    "AudioSampleRate",
    "MultiModality",
    "TranscriptionParams",
    "TranslationParams",
    "audio_settings",
    "modality_names",
    "transcription_settings",
    "translation_settings",
]


@unique
class AudioFormat(PcmFormat):
    """Input and output formats, in the older form."""

    PCM_16000HZ_MONO_16BIT = ("pcm", 16000, "mono", "16bit", "pcm16")
    PCM_24000HZ_MONO_16BIT = ("pcm", 24000, "mono", "16bit", "pcm16")


@unique
class AudioFormatType(Enum):
    """Some formats for :class:`AudioFormatConfig`, which takes any name."""

    PCM = "pcm"
    WAV = "wav"

    def __str__(self) -> str:
        return self.value


@unique
class AudioSampleRate(Enum):
    """Some sample rates for :class:`AudioFormatConfig`, Hz; it takes any number."""

    SAMPLE_RATE_8K = 8000
    SAMPLE_RATE_16K = 16000
    SAMPLE_RATE_24K = 24000
    SAMPLE_RATE_48K = 48000

    def __int__(self) -> int:
        return self.value


class MultiModality(Enum):
    """What a session or a reply consists of."""

    TEXT = "text"
    AUDIO = "audio"

    def __str__(self) -> str:
        return self.name


@dataclass
class AudioFormatConfig:
    """A format in the newer form, ``session.audio.input.format`` or ``…output.format``; nothing is checked.

    Attributes:
        type: the format's name, or an :class:`AudioFormatType`.
        sample_rate: Hz, or an :class:`AudioSampleRate`.
        extra_params: more fields, over the two others.
    """

    type: str | AudioFormatType = AudioFormatType.PCM.value
    sample_rate: int | AudioSampleRate = AudioSampleRate.SAMPLE_RATE_16K.value
    extra_params: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The ``format`` object of a session object."""
        type_ = self.type.value if isinstance(self.type, AudioFormatType) else self.type
        rate = self.sample_rate.value if isinstance(self.sample_rate, AudioSampleRate) else self.sample_rate
        return {"type": type_, "sample_rate": rate, **(self.extra_params or {})}


@dataclass
class TranslationParams:
    """What to translate to; LiveTranslate models only.

    Attributes:
        language: the target language, such as ``"en"``.
        corpus: terms and how to translate them.
    """

    @dataclass
    class Corpus:
        """Terms by their translation."""

        phrases: dict[str, Any] | None = None

    language: str | None = None
    corpus: Corpus | None = None


@dataclass
class TranscriptionParams:
    """What to recognise; ASR models only.

    Attributes:
        language: the language spoken, such as ``"zh"``; detected where left out.
        sample_rate: of the input, Hz.
        input_audio_format: of the input.
        corpus: context that helps to recognise, as an object.
        corpus_text: the same as text; it replaces ``corpus``.
    """

    language: str | None = None
    sample_rate: int = 16000
    input_audio_format: str = "pcm"
    corpus: dict[str, Any] | None = None
    corpus_text: str | None = None


def modality_names(modalities: Sequence[MultiModality]) -> list[str]:
    """Modalities as the wire names them."""
    return [modality.value for modality in modalities]


def audio_settings(
    input_audio_format: AudioFormat,
    output_audio_format: AudioFormat,
    input_audio_config: AudioFormatConfig | None,
    output_audio_config: AudioFormatConfig | None,
) -> dict[str, Any]:
    """The formats in the newer form where one side has it; the two forms are not mixed."""
    if input_audio_config is None and output_audio_config is None:
        return {
            "input_audio_format": input_audio_format.format_str,
            "output_audio_format": output_audio_format.format_str,
        }
    sides = {"input": input_audio_config, "output": output_audio_config}
    return {"audio": {side: {"format": config.to_dict()} for side, config in sides.items() if config is not None}}


def translation_settings(params: TranslationParams) -> dict[str, Any]:
    """The ``translation`` object."""
    translation: dict[str, Any] = {"language": params.language}
    if params.corpus is not None and params.corpus.phrases is not None:
        translation["corpus"] = {"phrases": params.corpus.phrases}
    return translation


def transcription_settings(params: TranscriptionParams, *, formats_given: bool) -> dict[str, Any]:
    """What recognition parameters set; they replace the object that names a transcription model.

    Args:
        params: left as they are.
        formats_given: the session object has formats in the newer form, which those of ``params`` would contradict.
    """
    transcription: dict[str, Any] = {}
    if params.language is not None:
        transcription["language"] = params.language
    corpus = params.corpus if params.corpus_text is None else {"text": params.corpus_text}
    if corpus is not None:
        transcription["corpus"] = corpus
    settings: dict[str, Any] = {"input_audio_transcription": transcription}
    if not formats_given:
        settings["input_audio_format"] = params.input_audio_format
        settings["sample_rate"] = params.sample_rate
    return settings
