"""``session.update``: what is wrong with it, what the session is afterwards, and what the echo shows of that.

Pure functions on the wire's own objects. Sources: the protocol reference, sections 1.4, 2.2, 3.2, 4.2 and 5.2; the
model profiles hold the rules.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any, NamedTuple

from ..errors import AudioUnavailable
from ..protocol import Family
from ..settings.profiles import TEXT_ONLY_TARGETS, ModelProfile
from ..settings.rules import Between, ListOf, OneOf, at_path, flatten

__all__ = ["Fault", "created_session", "echo", "find_fault", "merge"]


class Fault(NamedTuple):
    """What an ``error`` event will say about an update."""

    message: str
    param: str
    code: str = "invalid_value"


# Objects that a null switches off; a null anywhere else asks for nothing (the vendor's SDK sends several).
_NULLABLE = ("turn_detection", "input_audio_transcription")
# What takes the place of the old value as a whole instead of being merged into it.
_WHOLE = ("tools", "phrases", "modalities")
_TEXT = (
    "voice",
    "instructions",
    "input_audio_transcription.language",
    "translation.language",
    "audio.output.voice",
)
_OBJECTS = (
    *_NULLABLE,
    "input_audio_transcription.corpus",
    "translation",
    "translation.corpus",
    "translation.corpus.phrases",
    "translation.same_language_skip_options",
    "audio",
    "audio.input",
    "audio.input.format",
    "audio.output",
    "audio.output.format",
    "video",
    "video.input",
    "search_options",
    "voice_clone_options",
)


def find_fault(update: dict[str, Any], profile: ModelProfile) -> Fault | None:
    """Return what is wrong with an update's ``session`` object, or ``None``.

    Fields that the reference does not know are no fault, and neither are those that the model ignores.
    """
    leaves = _heeded(update, profile)
    for path, value in leaves.items():
        fault = _value_fault(path, value, profile)
        if fault:
            return fault
    return _voice_fault(leaves, profile) or _combination_fault(leaves, profile) or _local_fault(leaves)


def _heeded(update: dict[str, Any], profile: ModelProfile) -> dict[str, Any]:
    """The leaves that this model takes into account."""
    return {path: value for path, value in flatten(update).items() if not _is_ignored(path, profile)}


def _is_ignored(path: str, profile: ModelProfile) -> bool:
    if path == "model" or (profile.family is Family.ASR and path in ("modalities", "voice", "output_audio_format")):
        return True
    return any(path == ignored or path.startswith(f"{ignored}.") for ignored in profile.ignored)


def _value_fault(path: str, value: Any, profile: ModelProfile) -> Fault | None:
    param = f"session.{path}"
    if value is None:
        return None
    if path in _OBJECTS and not isinstance(value, dict):
        return Fault(f"Invalid type for '{param}': expected an object.", param)
    if path == "translation.corpus.phrases" and not all(isinstance(term, str) for term in value.values()):
        return Fault(f"Invalid type for '{param}': expected strings.", param)
    for parent in itertools.accumulate(path.split(".")[:-1], "{}.{}".format):
        if parent in profile.rules or parent in _TEXT or parent == "tools":
            return Fault(f"Invalid type for 'session.{parent}': an object is not expected.", f"session.{parent}")
    if path in _TEXT and not isinstance(value, str):
        return Fault(f"Invalid type for '{param}': expected a string.", param)
    if path == "tools":
        return _tools_fault(value)
    rule = profile.rules.get(path)
    if rule is None:
        return None
    try:
        wrong = isinstance(value, bool) or bool(rule.fault(value))
    except TypeError:
        wrong = True
    return Fault(_reason(rule, value, path), param) if wrong else None


def _reason(rule: Any, value: Any, path: str) -> str:
    """The message in the service's words."""
    if isinstance(rule, ListOf):
        combinations = " and ".join(str(sorted(each)) for each in rule.lists)
        return f"Invalid {path}: {value}. Supported combinations are: {combinations}."
    if isinstance(rule, OneOf):
        return f"Invalid value: {value!r}. Supported values are: {', '.join(map(repr, rule.values))}."
    if isinstance(rule, Between):
        left, right = "(" if rule.above else "[", ")" if rule.below else "]"
        return f"Invalid value: {value!r}. Supported range is {left}{rule.low:g}, {rule.high:g}{right}."
    return f"Invalid value: {value!r}: {rule.fault(value)}."


def _tools_fault(tools: Any) -> Fault | None:
    if not isinstance(tools, list):
        return Fault("Invalid type for 'session.tools': expected an array.", "session.tools")
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict) or not (
            tool.get("type") == "mcp" or tool.get("name") or at_path(tool, "function.name")
        ):
            param = f"session.tools[{number}]"
            return Fault(f"Invalid value for '{param}': a function with a name is expected.", param)
    return None


def _voice_fault(leaves: dict[str, Any], profile: ModelProfile) -> Fault | None:
    """An empty voice, and for TTS an unknown one; Omni and LiveTranslate refuse a voice only when they speak."""
    voice = leaves.get("voice")
    if voice == "":
        return Fault("Invalid value: ''. The voice must not be empty.", "session.voice")
    if profile.family is Family.TTS and voice is not None and profile.voices and voice not in profile.voices:
        names = ", ".join(map(repr, profile.voices))
        return Fault(f"Invalid value: {voice!r}. Supported values are: {names}.", "session.voice")
    return None


def _combination_fault(leaves: dict[str, Any], profile: ModelProfile) -> Fault | None:
    if leaves.get("enable_search") and leaves.get("tools"):
        return Fault("enable_search and tools cannot be used together.", "session.tools")
    clone = leaves.get("voice_clone_options.frequency")
    if clone in ("once", "always") and leaves.get("voice", "default") != "default":
        return Fault(f"voice_clone_options.frequency {clone!r} requires voice 'default'.", "session.voice")
    target = leaves.get("translation.language")
    if profile.family is Family.LIVE_TRANSLATE and target in TEXT_ONLY_TARGETS:
        modalities = leaves.get("modalities") or profile.created.get("modalities", ())
        if "audio" in modalities:
            return Fault(
                f"Translation into {target!r} is text only: set modalities to ['text'].", "session.translation.language"
            )
    return None


def _local_fault(leaves: dict[str, Any]) -> Fault | None:
    """What the real service makes and this stand-in does not, or not without an extra."""
    if leaves.get("response_format") in ("mp3", "opus"):
        from ..audio.compressed import load_av

        try:
            load_av()
        except AudioUnavailable as missing:
            return Fault(
                f"Invalid value: {leaves['response_format']!r}. The local stand-in has no codecs: it makes 'pcm' and "
                f"'wav', and the others with {missing.hint}.",
                "session.response_format",
            )
    if leaves.get("input_audio_format") == "opus":
        return Fault(
            "Invalid value: 'opus'. The local stand-in does not decode: it hears 'pcm'.", "session.input_audio_format"
        )
    if (leaves.get("audio.input.format.channels") or 1) != 1:
        return Fault("The local stand-in hears one channel only.", "session.audio.input.format.channels")
    return None


def created_session(profile: ModelProfile, session_id: str) -> dict[str, Any]:
    """The ``session`` object of ``session.created``."""
    return {**copy.deepcopy(profile.created), "id": session_id}


def merge(session: dict[str, Any], update: dict[str, Any], profile: ModelProfile) -> dict[str, Any]:
    """Return the session's settings after an update that has no fault; the arguments stay as they are.

    Objects are merged field by field. ``turn_detection`` keeps what was in force for the fields that are left out.
    """
    base = copy.deepcopy(session)
    base_detection = base.get("turn_detection") or copy.deepcopy(profile.created.get("turn_detection"))
    wanted = _without_ignored(update, profile)
    if isinstance(wanted.get("turn_detection"), dict) and isinstance(base_detection, dict):
        base["turn_detection"] = {"create_response": True, "interrupt_response": True, **base_detection}
    return _merged(base, wanted)


def _without_ignored(value: dict[str, Any], profile: ModelProfile, prefix: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, each in value.items():
        path = prefix + key
        if _is_ignored(path, profile) or (each is None and path not in _NULLABLE):
            continue
        if isinstance(each, dict) and key not in _WHOLE:
            inner = _without_ignored(each, profile, f"{path}.")
            if inner or not each:
                kept[key] = inner
        else:
            kept[key] = copy.deepcopy(each)
    return kept


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict) and key not in _WHOLE
        merged[key] = _merged(old or {}, value) if both else value
    return merged


_TTS_ECHO = ("object", "model", "voice", "language_type", "mode", "response_format", "sample_rate")


def echo(session: dict[str, Any], profile: ModelProfile) -> dict[str, Any]:
    """The ``session`` object of ``session.updated``: what the service shows of the settings in force."""
    if profile.family is Family.TTS:
        shown = {"id": session["id"], **{key: session[key] for key in _TTS_ECHO if key in session}}
        shown["language_type"] = str(session.get("language_type", "auto")).lower()
        return shown
    shown = {"id": session["id"], **copy.deepcopy(session)}
    if shown.get("turn_detection") is None:
        shown.pop("turn_detection", None)
    else:
        shown["turn_detection"].setdefault("create_response", True)
        shown["turn_detection"].setdefault("interrupt_response", True)
    if profile.family is Family.OMNI and shown.get("input_audio_transcription") is None:
        shown.pop("input_audio_transcription", None)
    for path in profile.unechoed:
        _drop(shown, path)
    return shown


def _drop(session: dict[str, Any], path: str) -> None:
    *parents, leaf = path.split(".")
    where: Any = session
    for key in parents:
        where = where.get(key) if isinstance(where, dict) else None
    if isinstance(where, dict):
        where.pop(leaf, None)
