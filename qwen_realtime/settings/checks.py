"""Settings against a model's profile, before they are sent; and against the server's echo, after."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..notices import warn
from ..protocol import Family
from .fields import Settings
from .profiles import TEXT_ONLY_TARGETS, ModelProfile
from .rules import at_path, flatten

__all__ = ["Echo", "check", "compare_echo", "input_rate", "output_rate"]


def check(settings: Settings, profile: ModelProfile, *, strict: bool = True) -> None:
    """Check settings against what the model takes.

    Args:
        settings: what is to be sent.
        profile: the model.
        strict: raise at a fault; otherwise warn, and let the server judge.

    Raises:
        ConfigError: a value out of its range, an unknown voice, a setting that this model ignores.
    """
    faults = _faults(settings.to_session(), profile)
    if faults and strict:
        message = "; ".join(faults)
        raise ConfigError(f"{profile.model}: {message}", hint="strict=False sends it all the same")
    for fault in faults:
        warn(f"{profile.model}: {fault}")


def _faults(session: dict[str, Any], profile: ModelProfile) -> list[str]:
    faults: list[str] = []
    for path, value in flatten(session).items():
        ignored = _ignored(path, value, profile)
        if ignored:
            faults.append(f"{path} has no effect: {ignored}")
        elif value is not None and (rule := profile.rules.get(path)):
            fault = rule.fault(value)
            if fault:
                faults.append(f"{path} {fault}, not {value!r}")
    faults.extend(_voice_faults(session, profile))
    faults.extend(_combination_faults(session, profile))
    return faults


def _ignored(path: str, value: Any, profile: ModelProfile) -> str:
    """Why the model does not heed this setting; empty where it does, and for values that ask for nothing."""
    if path == "turn_detection" and value is not None:
        return ""
    if path != "turn_detection" and value in (None, "", False, [], {}):
        return ""
    return profile.ignored.get(path, "")


def _voice_faults(session: dict[str, Any], profile: ModelProfile) -> list[str]:
    voice = session.get("voice")
    if voice is None:
        return []
    if not voice:
        return ["voice must not be empty: leave it out for the default"]
    if voice in profile.refused_voices:
        return [f"voice {voice!r} is refused by this model, its default is {profile.default_voice!r}"]
    if profile.voices and voice not in profile.voices:
        near = difflib.get_close_matches(voice, profile.voices, 3, 0.5) or profile.voices[:8]
        return [f"voice {voice!r} is unknown (names are case-sensitive): {', '.join(near)} …"]
    return []


def _combination_faults(session: dict[str, Any], profile: ModelProfile) -> list[str]:
    """Faults of settings that are fine alone."""
    faults = []
    if session.get("enable_search") and session.get("tools"):
        faults.append("enable_search and tools exclude each other")
    if at_path(session, "search_options.enable_source") and not session.get("enable_search"):
        faults.append("search_options needs enable_search")
    if session.get("bit_rate") and session.get("response_format", "pcm") in ("pcm", "wav"):
        faults.append("bit_rate has no effect on pcm and wav: set response_format to opus or mp3")
    target = at_path(session, "translation.language")
    if target in TEXT_ONLY_TARGETS and "audio" in session.get("modalities", ["text", "audio"]):
        faults.append(f"translation.language {target!r} is text only: set modalities to ['text']")
    clone = at_path(session, "voice_clone_options.frequency")
    if clone in ("once", "always") and session.get("voice", "default") != "default":
        faults.append(f"voice_clone_options.frequency {clone!r} needs voice='default'")
    if profile.family is Family.OMNI:
        faults.extend(
            f"tools[{number}] must be {{'type': 'function', 'function': {{'name': …}}}}"
            for number, tool in enumerate(session.get("tools") or ())
            if not (tool.get("type") == "mcp" or tool.get("name") or at_path(tool, "function.name"))
        )
    return faults


class Echo(NamedTuple):
    """What ``session.updated`` says about a request.

    Attributes:
        dropped: settings that the server did not take, by dotted path.
        unconfirmed: settings that this model never shows, so that nothing is known.
    """

    dropped: tuple[str, ...]
    unconfirmed: tuple[str, ...]


_PCM = frozenset({"pcm", "pcm16", "pcm24"})


def compare_echo(requested: dict[str, Any], echoed: dict[str, Any], profile: ModelProfile) -> Echo:
    """Compare what was asked for with what the server confirmed: the echo is the only proof of acceptance.

    Args:
        requested: the ``session`` object that was sent.
        echoed: the ``session`` object of ``session.updated``.
        profile: the model.
    """
    leaves = flatten(echoed)
    dropped: list[str] = []
    unconfirmed: list[str] = []
    for path, value in flatten(requested).items():
        if value in (None, "", [], {}) and not at_path(echoed, path):
            continue  # off is echoed as off or not at all: turn_detection null leaves no key
        if path in leaves and _same(value, leaves[path]):
            continue
        (unconfirmed if path in profile.unechoed and path not in leaves else dropped).append(path)
    return Echo(tuple(dropped), tuple(unconfirmed))


def _same(requested: Any, echoed: Any) -> bool:
    if isinstance(requested, str) and isinstance(echoed, str):
        return requested.lower() == echoed.lower() or (requested in _PCM and echoed in _PCM)
    if isinstance(requested, list) and isinstance(echoed, list) and all(isinstance(each, str) for each in requested):
        return sorted(requested) == sorted(map(str, echoed))
    return bool(requested == echoed)


def input_rate(session: dict[str, Any]) -> int:
    """The sample rate of input audio that a session reads, in Hz."""
    return _rate(at_path(session, "audio.input.format.sample_rate")) or _rate(session.get("sample_rate")) or 16000


def output_rate(family: Family, session: dict[str, Any]) -> int:
    """The sample rate of the audio that a session speaks, in Hz."""
    if family is Family.TTS:
        return _rate(session.get("sample_rate")) or 24000
    return _rate(at_path(session, "audio.output.format.sample_rate")) or 24000


def _rate(value: Any) -> int:
    """A rate as a server may tell it; 0 where it is none."""
    try:
        rate = int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0
    return rate if 0 < rate <= 1_000_000 else 0
