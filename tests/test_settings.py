"""Settings: what a model takes, what it ignores, and what the server confirmed."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import msgspec
import pytest

from qwen_realtime import ASRClient, LiveTranslateClient, OmniClient, TTSClient
from qwen_realtime.errors import ConfigError
from qwen_realtime.events import UNSET
from qwen_realtime.notices import RealtimeWarning
from qwen_realtime.protocol import Family
from qwen_realtime.settings import (
    DEFAULT_MODELS,
    PROFILES,
    ASRSettings,
    LiveTranslateSettings,
    ModelProfile,
    OmniSettings,
    Settings,
    TTSSettings,
    TurnDetection,
    check,
    compare_echo,
    input_rate,
    output_rate,
    profile_of,
)
from qwen_realtime.settings.rules import at_path, flatten

CLASSES: dict[Family, type[Settings]] = {
    Family.TTS: TTSSettings,
    Family.ASR: ASRSettings,
    Family.OMNI: OmniSettings,
    Family.LIVE_TRANSLATE: LiveTranslateSettings,
}
CLIENTS = {
    Family.TTS: TTSClient,
    Family.ASR: ASRClient,
    Family.OMNI: OmniClient,
    Family.LIVE_TRANSLATE: LiveTranslateClient,
}
OMNI_35, OMNI_3, OMNI_38 = "qwen3.5-omni-flash-realtime", "qwen3-omni-flash-realtime", "qwen3.8-omni-flash-realtime"
INSTRUCT, LEGACY = "qwen3-tts-instruct-flash-realtime", "qwen-tts-realtime"
LT_35, LT_3 = "qwen3.5-livetranslate-flash-realtime", "qwen3-livetranslate-flash-realtime"


def _check(model: str, *, strict: bool = True, **fields: Any) -> None:
    profile = profile_of(model)
    check(CLASSES[profile.family].of(fields), profile, strict=strict)


def _vad(**fields: Any) -> dict[str, Any]:
    return {"turn_detection": {"type": "server_vad", **fields}}


TTS, ASR = DEFAULT_MODELS[Family.TTS], DEFAULT_MODELS[Family.ASR]

GOOD: list[tuple[str, dict[str, Any]]] = [
    (TTS, {"voice": "Cherry", "mode": "commit", "language_type": "chinese", "response_format": "opus", "bit_rate": 6}),
    (TTS, {"voice": "Eldric Sage", "sample_rate": 48000, "speech_rate": 0.5, "pitch_rate": 2.0, "volume": 0}),
    (TTS, {"instructions": "", "optimize_instructions": False}),
    (INSTRUCT, {"instructions": "Speak slowly.", "optimize_instructions": True}),
    ("qwen3-tts-vc-realtime-2026-01-15", {"voice": "qwen-tts-vc-mine-1"}),
    (ASR, {"turn_detection": None, "sample_rate": 8000, "input_audio_format": "opus"}),
    (ASR, {**_vad(threshold=-1, silence_duration_ms=200), "input_audio_transcription": {"language": "yue"}}),
    (OMNI_35, {"turn_detection": {"type": "semantic_vad", "threshold": 1}, "top_k": None, "seed": -1}),
    (OMNI_35, {"modalities": ["audio", "text"], "temperature": 0, "top_p": 1.0, "voice": "Momo"}),
    (OMNI_35, {"tools": [{"type": "function", "function": {"name": "f"}}], "enable_search": False}),
    (OMNI_38, {"video": {"input": {"representation_compact": "normal"}}, "audio": {"output": {"voice": "Tina"}}}),
    (LT_35, {"translation": {"language": "yue"}, "modalities": ["text"]}),
    (LT_35, {"enable_voice_clone": True, "voice": "default", "voice_clone_options": {"frequency": "once"}}),
    (LT_35, {"translation": {"language": "es", "corpus": {"phrases": {"heart attack": "infarto"}}}}),
    (LT_3, {**_vad(threshold=0.5), "translation": {"language": "hi"}}),
]

BAD: list[tuple[str, dict[str, Any], str]] = [
    (TTS, {"voice": "cherry"}, "case-sensitive.*Cherry"),
    (TTS, {"voice": ""}, "must not be empty"),
    (TTS, {"mode": "auto"}, "mode must be one of"),
    (TTS, {"language_type": "Klingon"}, "language_type must be one of"),
    (TTS, {"sample_rate": 11025}, "sample_rate must be one of"),
    (TTS, {"speech_rate": 2.1}, "speech_rate must be at least 0.5 and at most 2"),
    (TTS, {"speech_rate": float("nan")}, "speech_rate"),
    (TTS, {"volume": 101}, "volume"),
    (TTS, {"pitch_rate": 0.49}, "pitch_rate"),
    (TTS, {"bit_rate": 5, "response_format": "mp3"}, "bit_rate must be"),
    (TTS, {"bit_rate": 64}, "bit_rate has no effect on pcm"),
    (TTS, {"instructions": "Speak slowly."}, "instructions has no effect: only the instruct models"),
    (INSTRUCT, {"voice": "Jada"}, "voice 'Jada' is unknown"),
    (LEGACY, {"speech_rate": 1.5}, "speech_rate has no effect"),
    (LEGACY, {"response_format": "mp3"}, "response_format must be one of 'pcm'"),
    (LEGACY, {"voice": "Momo"}, "unknown"),
    ("qwen3-tts-flash-realtime-2025-09-18", {"voice": "Serena"}, "unknown"),
    (ASR, {"input_audio_format": "pcm16"}, "must be one of 'pcm', 'opus'"),
    (ASR, {"sample_rate": 24000}, "sample_rate"),
    (ASR, {"input_audio_transcription": {"language": "tlh"}}, "language must be one of"),
    (ASR, _vad(threshold=1.01), "turn_detection.threshold must be at least -1"),
    (ASR, _vad(silence_duration_ms=199), "silence_duration_ms must be at least 200"),
    (ASR, _vad(silence_duration_ms=6001), "silence_duration_ms"),
    (ASR, _vad(idle_timeout_ms=6000), "idle_timeout_ms has no effect"),
    (ASR, {"turn_detection": {"type": "semantic_vad"}}, "must be one of 'server_vad'"),
    (OMNI_35, {"voice": "Cherry"}, "refused by this model.*'Tina'"),
    (OMNI_35, {"modalities": ["audio"]}, "modalities must be"),
    (OMNI_35, {"temperature": 2.0}, "temperature must be at least 0 and below 2"),
    (OMNI_35, {"top_p": 0}, "top_p must be above 0"),
    (OMNI_35, {"presence_penalty": -2.1}, "presence_penalty"),
    (OMNI_35, {"seed": -2}, "seed"),
    (OMNI_35, {"smooth_output": True}, "smooth_output has no effect"),
    (OMNI_35, {"video": {"input": {"representation_compact": "normal"}}}, "has no effect"),
    (OMNI_35, {"enable_search": True, "tools": [{"type": "function", "function": {"name": "f"}}]}, "exclude"),
    (OMNI_35, {"search_options": {"enable_source": True}}, "needs enable_search"),
    (OMNI_35, {"tools": [{"type": "function", "function": {}}]}, r"tools\[0\] must be"),
    (OMNI_3, {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools need"),
    (OMNI_3, {"turn_detection": {"type": "semantic_vad"}}, "must be one of 'server_vad'"),
    (OMNI_3, {"max_tokens": 16385}, "max_tokens"),
    ("qwen-omni-turbo-realtime", {"temperature": 0.5}, "do not let you adjust"),
    (LT_35, {"translation": {"language": "yue"}}, "text only"),
    (LT_35, {"translation": {"language": "tlh"}}, "language must be one of"),
    (LT_35, {"voice": "Tina", "voice_clone_options": {"frequency": "always"}}, "needs voice='default'"),
    (LT_35, {"voice_clone_options": {"frequency": "often"}}, "must be one of 'never'"),
    (LT_3, {"turn_detection": None}, "manual mode needs"),
    (LT_3, {"translation": {"language": "sv"}}, "language must be one of"),
    (LT_3, {"enable_voice_clone": True}, "needs qwen3.5"),
]


@pytest.mark.parametrize(("model", "fields"), GOOD, ids=str)
def test_what_a_model_takes_passes(model: str, fields: dict[str, Any]) -> None:
    """The documented values and the ends of their ranges."""
    _check(model, **fields)


@pytest.mark.parametrize(("model", "fields", "told"), BAD, ids=str)
def test_what_a_model_does_not_take_is_refused_by_name(model: str, fields: dict[str, Any], told: str) -> None:
    """Out of range, unknown, without effect, or in a combination that cannot be."""
    with pytest.raises(ConfigError, match=told) as caught:
        _check(model, **fields)
    assert model in str(caught.value)
    assert "strict=False" in caught.value.hint


@pytest.mark.parametrize(("model", "fields", "told"), BAD[::6], ids=str)
def test_without_strictness_it_is_a_warning(model: str, fields: dict[str, Any], told: str) -> None:
    """And the server judges."""
    with pytest.warns(RealtimeWarning, match=told):
        _check(model, strict=False, **fields)


def test_all_faults_are_told_at_once() -> None:
    """Not one per attempt."""
    with pytest.raises(ConfigError, match=r"volume.*pitch_rate"):
        _check(TTS, volume=-1, pitch_rate=9)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        (TTSSettings, {"voyce": "Cherry"}, "did you mean 'voice'"),
        (TTSSettings, {"zzz": 1}, "it has voice, mode"),
        (TTSSettings, {"volume": "loud"}, "wrong type.*volume"),
        (TTSSettings, {"volume": True}, "wrong type"),
        (TTSSettings, {"voice": None}, "wrong type"),
        (TTSSettings, {"voice": object()}, "wrong type"),
        (ASRSettings, {"turn_detection": {"treshold": 0.5}}, "treshold"),
        (ASRSettings, {"turn_detection": "server_vad"}, "wrong type"),
        (OmniSettings, {"tools": {"type": "function"}}, "wrong type"),
    ],
    ids=str,
)
def test_fields_that_are_none_are_refused(kind: type[Settings], fields: dict[str, Any], told: str) -> None:
    """Unknown names at any depth, and values of the wrong type."""
    with pytest.raises(ConfigError, match=told):
        kind.of(fields)


class TestSettings:
    """The settings classes."""

    def test_hold_what_is_set_and_nothing_else(self) -> None:
        """A field left out is not sent; ``None`` is sent as ``null``."""
        assert TTSSettings().to_session() == {}
        assert ASRSettings(turn_detection=None).to_session() == {"turn_detection": None}
        assert TTSSettings(voice="Cherry", volume=UNSET).to_session() == {"voice": "Cherry"}

    def test_take_objects_and_mappings_alike(self) -> None:
        """``TurnDetection(...)`` or the dict that it stands for."""
        typed = ASRSettings.of({"turn_detection": TurnDetection(threshold=0.1)})
        assert typed == ASRSettings.of({"turn_detection": {"threshold": 0.1}})

    def test_fields_go_over_a_base(self) -> None:
        """``None`` and ``UNSET`` over a value count too."""
        base = ASRSettings(turn_detection=TurnDetection(threshold=0.1), sample_rate=8000)
        assert ASRSettings.of({"turn_detection": None}, base).to_session() == {
            "turn_detection": None,
            "sample_rate": 8000,
        }
        assert ASRSettings.of({"sample_rate": UNSET}, base).sample_rate is UNSET


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
class TestEveryProfile:
    """The models, as data."""

    def test_is_found_by_its_name_and_family(self, profile: ModelProfile) -> None:
        """The name in the table is the name in the profile and in ``session.created``."""
        assert profile_of(profile.model) is profile
        assert profile.created["model"] == profile.model
        assert profile.known

    def test_speaks_of_settings_that_there_are(self, profile: ModelProfile) -> None:
        """Rules, ignored and unechoed settings name fields of the family's class, at any depth."""
        known = _paths(CLASSES[profile.family])
        assert {*profile.rules, *profile.ignored, *profile.unechoed} <= known
        assert set(profile.created) - {"object", "model"} <= {path.partition(".")[0] for path in known}

    def test_keeps_its_own_rules(self, profile: ModelProfile) -> None:
        """The session that it begins with passes its own check, and its default voice is one of its voices."""
        created = profile.created.items()
        session = {key: value for key, value in created if key not in ("object", "model") and value is not None}
        if "voice" in session and profile.voices:
            assert session["voice"] in profile.voices
        check(CLASSES[profile.family].of(session), profile)

    def test_has_a_replacement_that_stays(self, profile: ModelProfile) -> None:
        """A retired model is not replaced by a retired one, and defaults are not retired."""
        if profile.replacement in PROFILES:
            assert not PROFILES[profile.replacement].retired
        if profile.model in DEFAULT_MODELS.values():
            assert not profile.retired
        assert not profile.replacement or profile.retired

    def test_warns_at_the_callers_line_when_it_is_retired(self, profile: ModelProfile) -> None:
        """And is used all the same."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
            CLIENTS[profile.family](model=profile.model, api_key="k")
        assert len(caught) == bool(profile.retired)
        for warning in caught:
            assert (warning.filename, warning.lineno) == (__file__, line)
            assert issubclass(warning.category, RealtimeWarning)
            assert profile.retired in str(warning.message)


def _paths(kind: Any, prefix: str = "") -> set[str]:
    """All dotted paths of a settings class."""
    paths: set[str] = set()
    for field in msgspec.structs.fields(kind):
        paths.add(prefix + field.name)
        for each in getattr(field.type, "__args__", (field.type,)):
            if isinstance(each, type) and issubclass(each, msgspec.Struct):
                paths |= _paths(each, f"{prefix}{field.name}.")
    return paths


class TestProfileOf:
    """What is known about a model."""

    def test_a_new_model_gets_its_familys_rules_without_lists(self) -> None:
        """Voices nobody has listed are not refused; ranges still are."""
        profile = profile_of("qwen4-tts-flash-realtime")
        assert (profile.family, profile.known, profile.voices) == (Family.TTS, False, ())
        check(TTSSettings(voice="Whoever", instructions="x"), profile)
        with pytest.raises(ConfigError):
            check(TTSSettings(volume=101), profile)
        assert profile_of("qwen4-livetranslate-flash-realtime").family is Family.LIVE_TRANSLATE
        assert profile_of("qwen4-omni-flash-realtime").family is Family.OMNI
        assert profile_of("fun-asr-realtime").family is Family.ASR

    @pytest.mark.parametrize("model", ["", "gpt-realtime", "qwen-max"])
    def test_what_is_no_realtime_model_is_refused(self, model: str) -> None:
        """The hint names the defaults."""
        with pytest.raises(ConfigError, match="qwen3-tts-flash-realtime"):
            profile_of(model)

    def test_a_client_takes_models_of_its_family_only(self) -> None:
        """The error names both families."""
        with pytest.raises(ConfigError, match="is a model of asr, not of tts"):
            TTSClient(model=ASR, api_key="k")


class TestTheEcho:
    """What ``session.updated`` says about a request."""

    def _echo(self, requested: dict[str, Any], echoed: dict[str, Any], model: str = TTS) -> tuple[Any, Any]:
        return tuple(compare_echo(requested, echoed, profile_of(model)))  # type: ignore[return-value]

    def test_a_field_that_is_missing_or_different_was_dropped(self) -> None:
        """By its dotted path."""
        asked = {"voice": "Cherry", **_vad(threshold=0.5)}
        assert self._echo(asked, {"voice": "Ethan", "turn_detection": {"type": "server_vad"}}, ASR) == (
            ("voice", "turn_detection.threshold"),
            (),
        )

    def test_what_the_model_never_shows_is_unconfirmed(self) -> None:
        """Nothing is known about it."""
        assert self._echo({"volume": 10, "voice": "Cherry"}, {"voice": "Cherry"}) == ((), ("volume",))
        assert self._echo({"volume": 10}, {"volume": 50}) == (("volume",), ()), "shown after all, and different"

    @pytest.mark.parametrize(
        ("asked", "echoed"),
        [
            ({"language_type": "Chinese"}, {"language_type": "chinese"}),
            ({"input_audio_format": "pcm16"}, {"input_audio_format": "pcm"}),
            ({"modalities": ["text", "audio"]}, {"modalities": ["audio", "text"]}),
            ({"turn_detection": None}, {}),
            ({"turn_detection": None}, {"turn_detection": None}),
            ({"instructions": ""}, {}),
            ({"speech_rate": 1}, {"speech_rate": 1.0}),
        ],
        ids=str,
    )
    def test_another_spelling_is_the_same(self, asked: dict[str, Any], echoed: dict[str, Any]) -> None:
        """Case, the names of PCM, the order of modalities, and off as off or nothing at all."""
        assert self._echo(asked, echoed, OMNI_35) == ((), ())

    def test_manual_mode_that_was_not_taken_is_seen(self) -> None:
        """``null`` was asked for, and turn detection is still there."""
        assert self._echo({"turn_detection": None}, _vad(), ASR)[0] == ("turn_detection",)


def test_rates_are_read_from_the_session() -> None:
    """The flat field, the audio object, or the default."""
    assert input_rate({}) == 16000
    assert input_rate({"sample_rate": 8000}) == 8000
    assert input_rate({"audio": {"input": {"format": {"sample_rate": 48000}}}}) == 48000
    assert output_rate(Family.TTS, {"sample_rate": 16000}) == 16000
    assert output_rate(Family.LIVE_TRANSLATE, {"sample_rate": 16000}) == 24000, "that is the input's"
    assert output_rate(Family.OMNI, {"audio": {"output": {"format": {"sample_rate": 8000}}}}) == 8000


def test_leaves_have_dotted_paths() -> None:
    """Lists, empty objects and phrases are leaves: their keys are the user's words."""
    session = {"a": {"b": 1, "c": {}}, "d": [1], "e": None, "phrases": {"x.y": "z"}}
    assert flatten(session) == {"a.b": 1, "a.c": {}, "d": [1], "e": None, "phrases": {"x.y": "z"}}
    assert at_path(session, "a.b") == 1
    assert at_path(session, "a.b.c") is None
