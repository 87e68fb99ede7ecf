"""The models, as data: what each one takes, what it ignores, what it says at the start of a session.

Sources: the protocol reference, sections 1.5, 1.6, 2.1, 2.2, 3.1, 3.2, 4.1, 4.2, 5.1 and 5.2. Retirement is by the
vendor's announcement for 2026-10-10; the models that the seeds name stay usable here, with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import ConfigError
from ..protocol import Family
from .rules import Between, ListOf, OneOf, Rule

__all__ = ["DEFAULT_MODELS", "PROFILES", "ModelProfile", "profile_of"]

DEFAULT_MODELS: dict[Family, str] = {
    Family.TTS: "qwen3-tts-flash-realtime",
    Family.ASR: "qwen3-asr-flash-realtime",
    Family.OMNI: "qwen3.5-omni-flash-realtime",
    Family.LIVE_TRANSLATE: "qwen3.5-livetranslate-flash-realtime",
}


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one model.

    Attributes:
        model: its name, as in the URL.
        family: its service.
        known: whether the reference lists it; otherwise its family's rules stand in.
        voices: the voices it has; empty where no list is known, and then any name goes.
        refused_voices: voices that it is known to refuse, at the first synthesis only.
        rules: what a setting may be, by its dotted path.
        ignored: settings that the model takes without effect, by dotted path, with what is known about them.
        unechoed: settings that it does not show in ``session.updated`` even when it takes them.
        created: the session object of its ``session.created``, without ids.
        retired: the day it was announced to go, or empty.
        replacement: what the vendor names instead.
        max_image_bytes: the largest JPEG, before base64.
        max_text_tokens: the longest input text, or 0 where none is known.
        takes_manual_audio: whether commit and clear of input audio are part of its protocol.
    """

    model: str
    family: Family
    known: bool = True
    voices: tuple[str, ...] = ()
    refused_voices: tuple[str, ...] = ()
    rules: dict[str, Any] = {}
    ignored: dict[str, str] = {}
    unechoed: tuple[str, ...] = ()
    created: dict[str, Any] = {}
    retired: str = ""
    replacement: str = ""
    max_image_bytes: int = 0
    max_text_tokens: int = 0
    takes_manual_audio: bool = True

    @property
    def default_voice(self) -> str:
        """The voice it speaks with unless told otherwise; empty for a model that does not speak."""
        return str(self.created.get("voice") or "")


_RETIRED = "2026-10-10"

# Voices, section 2.1.
_MANDARIN = (
    "Cherry Serena Ethan Chelsie Momo Vivian Moon Maia Kai Nofish Bella|Eldric Sage|Mia Mochi Bellona Vincent Bunny "
    "Neil Elias Arthur Nini Seren Pip Stella"
)
_WESTERN = "Jennifer Ryan Katerina Aiden"
_ACCENTS = "Bodega Sonrisa Alek Dolce Sohee|Ono Anna|Lenn Emilien Andre|Radio Gol"
_DIALECTS = "Jada Dylan Li Marcus Roy Peter Sunny Eric Rocky Kiki"


def _names(*lists: str) -> tuple[str, ...]:
    """Voice names from text: blanks divide them, but a name of two words stands between bars."""
    names: list[str] = []
    for text in lists:
        for number, part in enumerate(text.split("|")):
            names.extend([part] if number % 2 else part.split())
    return tuple(names)


_TTS_VOICES = _names(_MANDARIN, _WESTERN, _ACCENTS, _DIALECTS)
_TTS_2025_09_VOICES = _names(
    "Cherry Ethan Nofish Jennifer Ryan Katerina Elias Jada Dylan Sunny Li Marcus Roy Peter Rocky Kiki Eric"
)
_QWEN_TTS_VOICES = _names("Cherry Serena Ethan Chelsie Dylan Jada Sunny")

_LANGUAGE_TYPES = "Auto Chinese English German Italian Portuguese Spanish Japanese Korean French Russian".split()
_ASR_LANGUAGES = "zh yue en ja de ko ru fr pt ar it es hi id th tr uk vi cs da fil fi is ms no pl sv".split()
_LT3_LANGUAGES = "en zh ru fr de pt es it id ko ja vi th ar yue hi el tr".split()
_LT35_SPOKEN = "zh en ar de fr es pt id it ko ru th vi ja tr hi ms nl ur nb sv da he fi pl is cs fil fa".split()
_LT35_TEXT_ONLY = (
    "yue el af ast be bg bn bs ca ceb et gl gu hr hu jv kk kn ky lv mk ml mr pa ro sk sl sw tg az uk".split()
)

# Rules that several families share.
_PCM_SPELLINGS = OneOf("pcm", "pcm16", "pcm24", "wav")
_VAD_RULES: dict[str, Rule] = {
    "turn_detection.threshold": Between(-1, 1),
    "turn_detection.silence_duration_ms": Between(200, 6000),
    "turn_detection.prefix_padding_ms": Between(0, 6000),
    "turn_detection.idle_timeout_ms": Between(5000, 30000),
}
_MODALITIES = ListOf(("text",), ("text", "audio"))


def _vad(threshold: float, silence_ms: int, *, padding: bool = False) -> dict[str, Any]:
    """The turn detection of a ``session.created``."""
    detection: dict[str, Any] = {"type": "server_vad", "threshold": threshold}
    if padding:
        detection["prefix_padding_ms"] = 300
    detection["silence_duration_ms"] = silence_ms
    if padding:
        detection.update(create_response=True, interrupt_response=True)
    return detection


# TTS, sections 2.1 and 2.2. The page lists 8, 16, 24 and 48 kHz, the vendor's SDK two more: both are taken.
_TTS_RULES: dict[str, Rule] = {
    "mode": OneOf("server_commit", "commit"),
    "language_type": OneOf(*_LANGUAGE_TYPES, fold=True),
    "response_format": OneOf("pcm", "wav", "mp3", "opus"),
    "sample_rate": OneOf(8000, 16000, 22050, 24000, 44100, 48000),
    "speech_rate": Between(0.5, 2.0),
    "volume": Between(0, 100),
    "pitch_rate": Between(0.5, 2.0),
    "bit_rate": Between(6, 510),
}
_TTS_UNECHOED = "speech_rate volume pitch_rate bit_rate instructions optimize_instructions enable_tn".split()
_INSTRUCT_ONLY = {
    "instructions": "only the instruct models follow instructions",
    "optimize_instructions": "only the instruct models follow instructions",
}


def _tts(model: str, voices: tuple[str, ...] = _TTS_VOICES, **more: Any) -> ModelProfile:
    fields: dict[str, Any] = {
        "rules": _TTS_RULES,
        "ignored": _INSTRUCT_ONLY,
        "unechoed": tuple(_TTS_UNECHOED),
        "created": {
            "object": "realtime.session",
            "mode": "server_commit",
            "model": model,
            "voice": "Cherry",
            "response_format": "pcm",
            "sample_rate": 24000,
        },
    }
    return ModelProfile(model=model, family=Family.TTS, voices=voices, **{**fields, **more})


def _legacy_tts(model: str) -> ModelProfile:
    plain = "qwen-tts-realtime has neither rate, volume, pitch nor bit rate"
    return _tts(
        model,
        _QWEN_TTS_VOICES,
        rules={**_TTS_RULES, "response_format": OneOf("pcm"), "sample_rate": OneOf(24000)},
        ignored={**_INSTRUCT_ONLY, **dict.fromkeys(("speech_rate", "volume", "pitch_rate", "bit_rate"), plain)},
        retired=_RETIRED,
        replacement="qwen3-tts-flash-realtime",
        max_text_tokens=512,
    )


_TTS = [
    _tts("qwen3-tts-flash-realtime"),
    _tts("qwen3-tts-flash-realtime-2025-09-18", _TTS_2025_09_VOICES, retired=_RETIRED),
    _tts("qwen3-tts-flash-realtime-2025-11-27", retired=_RETIRED),
    *(
        _tts(name, _names(_MANDARIN), ignored={}, retired=_RETIRED)
        for name in ("qwen3-tts-instruct-flash-realtime", "qwen3-tts-instruct-flash-realtime-2026-01-22")
    ),
    *(
        _tts(f"qwen3-tts-{kind}-realtime-{day}", (), retired=_RETIRED)
        for kind, day in (("vc", "2025-11-27"), ("vc", "2026-01-15"), ("vd", "2025-12-16"), ("vd", "2026-01-15"))
    ),
    *(_legacy_tts(f"qwen-tts-realtime{suffix}") for suffix in ("", "-latest", "-2025-07-15")),
]


# ASR, sections 3.1 and 3.2.
def _asr(model: str, **more: Any) -> ModelProfile:
    rules: dict[str, Rule] = {
        **_VAD_RULES,
        "input_audio_format": OneOf("pcm", "opus"),
        "sample_rate": OneOf(8000, 16000),
        "input_audio_transcription.language": OneOf(*_ASR_LANGUAGES),
        "turn_detection.type": OneOf("server_vad"),
        "modalities": ListOf(("text",)),
    }
    return ModelProfile(
        model=model,
        family=Family.ASR,
        rules=rules,
        ignored={
            "turn_detection.idle_timeout_ms": "only qwen3.5-omni speaks by itself",
            "input_audio_transcription.model": "the model in the URL is the recogniser",
        },
        unechoed=("turn_detection.prefix_padding_ms",),
        created={
            "object": "realtime.session",
            "model": model,
            "modalities": ["text"],
            "input_audio_format": "pcm",
            "sample_rate": 16000,
            "input_audio_transcription": None,
            "turn_detection": _vad(0.2, 800),
        },
        **more,
    )


_ASR = [
    _asr("qwen3-asr-flash-realtime"),
    _asr("qwen3-asr-flash-realtime-2025-10-27", retired=_RETIRED, replacement="fun-asr-realtime"),
    _asr("qwen3-asr-flash-realtime-2026-02-10", retired=_RETIRED, replacement="fun-asr-realtime"),
]


# Omni, sections 4.1 and 4.2.
_OMNI_RULES: dict[str, Rule] = {
    **_VAD_RULES,
    "modalities": _MODALITIES,
    "input_audio_format": _PCM_SPELLINGS,
    "output_audio_format": _PCM_SPELLINGS,
    "audio.input.format.type": OneOf("pcm", "wav"),
    "audio.input.format.sample_rate": OneOf(8000, 16000, 24000, 48000),
    "audio.output.format.type": OneOf("pcm", "wav"),
    "audio.output.format.sample_rate": OneOf(8000, 16000, 24000, 48000),
    "turn_detection.type": OneOf("server_vad", "semantic_vad"),
    "temperature": Between(0, 2, below=True),
    "top_p": Between(0, 1, above=True),
    "top_k": Between(0, float("inf")),
    "max_tokens": Between(1, 65536),
    "repetition_penalty": Between(0, float("inf"), above=True),
    "presence_penalty": Between(-2, 2),
    "seed": Between(0, 2**31 - 1, also=(-1,)),
    "video.input.representation_compact": OneOf("none", "normal"),
}
_NEW_AUDIO = "this model reads 16 kHz and speaks 24 kHz, whatever the audio object says"
_OMNI_38_ONLY = {
    "video.input.representation_compact": "only qwen3.8-omni compacts images",
    "audio.output.voice": "only qwen3.8-omni takes the voice here; use voice",
    **dict.fromkeys(
        (f"audio.input.format.{name}" for name in ("sample_format", "channels", "packing", "channel_layout")),
        "only qwen3.8-omni hears several channels",
    ),
}
_SMOOTH = {"smooth_output": "only qwen3-omni-flash has it"}
_NO_NEW_FEATURES = {
    **_OMNI_38_ONLY,
    "audio.input.format.type": _NEW_AUDIO,
    "audio.input.format.sample_rate": _NEW_AUDIO,
    "audio.output.format.type": _NEW_AUDIO,
    "audio.output.format.sample_rate": _NEW_AUDIO,
    "tools": "tools need qwen3.5-omni or later",
    "enable_search": "web search needs qwen3.5-omni or later",
    "search_options.enable_source": "web search needs qwen3.5-omni or later",
    "turn_detection.idle_timeout_ms": "only qwen3.5-omni speaks by itself",
}
_SAMPLING = "temperature top_p top_k max_tokens repetition_penalty presence_penalty seed".split()


def _omni(model: str, voice: str, **more: Any) -> ModelProfile:
    old = voice != "Tina"
    fields: dict[str, Any] = {
        "rules": _OMNI_RULES,
        "ignored": {**_OMNI_38_ONLY, **_SMOOTH},
        "refused_voices": ("Cherry", "Chelsie"),
        "created": {
            "object": "realtime.session",
            "model": model,
            "modalities": ["text", "audio"],
            "voice": voice,
            "input_audio_format": "pcm16" if old else "pcm",
            "output_audio_format": "pcm24" if old else "pcm",
            "input_audio_transcription": {"model": "gummy-realtime-v1" if old else "qwen3-asr-flash-realtime"},
            "turn_detection": _vad(0.5, 800, padding=True),
        },
        "max_image_bytes": 500 * 1024 if old else 190 * 1024,
    }
    return ModelProfile(model=model, family=Family.OMNI, **{**fields, **more})


def _old_omni(model: str, voice: str, voices: tuple[str, ...], max_tokens: int, **more: Any) -> ModelProfile:
    rules = {**_OMNI_RULES, "turn_detection.type": OneOf("server_vad"), "max_tokens": Between(1, max_tokens)}
    fields: dict[str, Any] = {
        "voices": voices,
        "refused_voices": (),
        "rules": rules,
        "ignored": _NO_NEW_FEATURES,
        "retired": _RETIRED,
        "replacement": "qwen3.5-omni-plus-realtime",
    }
    return _omni(model, voice, **{**fields, **more})


_OMNI = [
    _omni(
        "qwen3.8-omni-flash-realtime",
        "Tina",
        ignored=_SMOOTH,
        rules={**_OMNI_RULES, "repetition_penalty": Between(0, float("inf"))},
    ),
    *(
        _omni(name, "Tina")
        for name in (
            "qwen3.5-omni-flash-realtime",
            "qwen3.5-omni-flash-realtime-2026-03-15",
            "qwen3.5-omni-plus-realtime",
            "qwen3.5-omni-plus-realtime-2026-03-15",
        )
    ),
    _old_omni("qwen3-omni-flash-realtime", "Cherry", (*_TTS_VOICES, "Ebona"), 16384),
    _old_omni("qwen3-omni-flash-realtime-2025-09-15", "Cherry", _TTS_2025_09_VOICES, 16384),
    _old_omni("qwen3-omni-flash-realtime-2025-12-01", "Cherry", (*_TTS_VOICES, "Ebona"), 16384),
    *(
        _old_omni(
            f"qwen-omni-turbo-realtime{suffix}",
            "Chelsie",
            _names("Chelsie Serena Ethan Cherry"),
            2048,
            ignored={
                **_NO_NEW_FEATURES,
                **_SMOOTH,
                **dict.fromkeys(_SAMPLING, "the turbo models do not let you adjust sampling"),
            },
        )
        for suffix in ("", "-latest", "-2025-05-08")
    ),
]


# LiveTranslate, sections 5.1 and 5.2.
_LT_RULES: dict[str, Rule] = {
    **_VAD_RULES,
    "modalities": _MODALITIES,
    "input_audio_format": OneOf("pcm", "pcm16", "opus"),
    "output_audio_format": OneOf("pcm", "pcm16", "pcm24"),
    "sample_rate": OneOf(8000, 16000),
    "turn_detection.type": OneOf("server_vad"),
    "translation.language": OneOf(*_LT35_SPOKEN, *_LT35_TEXT_ONLY),
    "voice_clone_options.frequency": OneOf("never", "once", "always"),
}
_LT_IGNORED = {"turn_detection.idle_timeout_ms": "only qwen3.5-omni speaks by itself"}
_LT_UNECHOED = (
    "turn_detection.prefix_padding_ms",
    "translation.same_language_skip_options.skip_text",
    "translation.same_language_skip_options.skip_audio",
)


def _livetranslate(model: str, **more: Any) -> ModelProfile:
    fields: dict[str, Any] = {
        "rules": _LT_RULES,
        "ignored": _LT_IGNORED,
        "unechoed": _LT_UNECHOED,
        "created": {
            "object": "realtime.session",
            "model": model,
            "modalities": ["text", "audio"],
            "voice": "Tina",
            "input_audio_format": "pcm",
            "output_audio_format": "pcm",
            "sample_rate": 16000,
            "turn_detection": _vad(0.2, 1000),
            "translation": {"language": "en"},
        },
        "max_image_bytes": 500 * 1024,
    }
    return ModelProfile(model=model, family=Family.LIVE_TRANSLATE, **{**fields, **more})


def _old_livetranslate(model: str) -> ModelProfile:
    new = "needs qwen3.5-livetranslate"
    return _livetranslate(
        model,
        rules={**_LT_RULES, "translation.language": OneOf(*_LT3_LANGUAGES)},
        ignored={
            **_LT_IGNORED,
            "enable_voice_clone": new,
            "voice_clone_options.frequency": new,
            "turn_detection": f"manual mode {new}",
        },
        created={
            "object": "realtime.session",
            "model": model,
            "modalities": ["text", "audio"],
            "voice": "Cherry",
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm24",
            "translation": {"language": "en"},
        },
        takes_manual_audio=False,
        retired=_RETIRED,
        replacement="qwen3.5-livetranslate-flash-realtime",
    )


_LIVE_TRANSLATE = [
    _livetranslate("qwen3.5-livetranslate-flash-realtime"),
    _livetranslate("qwen3.5-livetranslate-flash-realtime-2026-05-19"),
    _old_livetranslate("qwen3-livetranslate-flash-realtime"),
    _old_livetranslate("qwen3-livetranslate-flash-realtime-2025-09-22"),
]

PROFILES: Mapping[str, ModelProfile] = {profile.model: profile for profile in (*_TTS, *_ASR, *_OMNI, *_LIVE_TRANSLATE)}

# Target languages that LiveTranslate writes but does not speak, by model generation.
TEXT_ONLY_TARGETS = frozenset(_LT35_TEXT_ONLY)

_FAMILY_WORDS = {
    "livetranslate": Family.LIVE_TRANSLATE,
    "-asr-": Family.ASR,
    "-tts-": Family.TTS,
    "-omni-": Family.OMNI,
}


def profile_of(model: str) -> ModelProfile:
    """What is known about a model.

    A model that the reference does not list gets the rules of its family's default model, without its list of voices
    and ignored settings; its family is read from its name.

    Raises:
        ConfigError: the name is empty, or says nothing about its family.
    """
    if model in PROFILES:
        return PROFILES[model]
    for word, family in _FAMILY_WORDS.items():
        if word in model:
            stand_in = PROFILES[DEFAULT_MODELS[family]]
            created = {**stand_in.created, "model": model}
            return msgspec.structs.replace(
                stand_in, model=model, known=False, voices=(), refused_voices=(), ignored={}, created=created
            )
    raise ConfigError(
        f"{model!r} is not a Qwen realtime model" if model else "no model is named",
        hint=f"such as {', '.join(DEFAULT_MODELS.values())}",
    )
