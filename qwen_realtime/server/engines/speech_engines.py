"""The voices: CMU Flite and eSpeak NG by ctypes, and made-up tones. Worker only: both libraries have global state.

Each speaks one sentence at a time and returns all of it; splitting, volume and sample rate are synthesis.py's.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import os
import tempfile
import unicodedata
from typing import Any, Protocol

import numpy as np

from qwen_realtime.audio.pcm import resample

from .vad import Samples


class SpeechFailed(Exception):
    """A sentence could not be spoken; the text says why."""


class SpeechEngine(Protocol):
    """One way of speaking."""

    sample_rate: int

    def speak(self, text: str, *, voice: str, language: str, rate: float, pitch: float) -> Samples:
        """Return a sentence as int16 mono at ``sample_rate``; raises ``SpeechFailed``."""


class _FliteWave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _FliteVoice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class Flite:
    """CMU Flite 2 with its clustergen voices rms, slt and awb; English, 16 kHz."""

    sample_rate = 16000

    def __init__(self) -> None:
        # The voices' libraries leave symbols of these three open.
        self._flite = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL("libflite_usenglish.so.1", mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL("libflite_cmulex.so.1", mode=ctypes.RTLD_GLOBAL)
        self._flite.flite_init()
        self._flite.flite_text_to_wave.restype = ctypes.POINTER(_FliteWave)
        self._flite.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.POINTER(_FliteVoice))
        self._flite.delete_wave.argtypes = (ctypes.POINTER(_FliteWave),)
        self._flite.feat_set_float.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)
        self._voices: dict[str, Any] = {}

    def speak(self, text: str, *, voice: str, language: str, rate: float, pitch: float) -> Samples:
        """Return a sentence in an American (rms, slt) or Scottish (awb) voice; ``language`` is English by choice."""
        del language
        features = self._voice(voice)
        # rms ignores f0_shift: it speaks slower and is then played faster.
        faster = pitch if voice == "rms" else 1.0
        self._flite.feat_set_float(features.contents.features, b"duration_stretch", faster / rate)
        self._flite.feat_set_float(features.contents.features, b"f0_shift", pitch / faster)
        wave = self._flite.flite_text_to_wave(_plain_letters(text).encode("ascii"), features)
        if not wave:
            raise SpeechFailed("flite returned no sound")
        try:
            count = wave.contents.num_samples
            samples = np.ctypeslib.as_array(wave.contents.samples, (count,)).copy() if count else np.zeros(0, np.int16)
        finally:
            self._flite.delete_wave(wave)
        return resample(samples, round(faster * 50) * self.sample_rate // 50, self.sample_rate)

    def _voice(self, name: str) -> Any:
        if name not in self._voices:
            library = ctypes.CDLL(f"libflite_cmu_us_{name}.so.1")
            register = getattr(library, f"register_cmu_us_{name}")
            register.restype = ctypes.POINTER(_FliteVoice)
            register.argtypes = (ctypes.c_char_p,)
            self._voices[name] = register(None)
        return self._voices[name]


def _plain_letters(text: str) -> str:
    text = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2013: ", ", 0x2014: ", ", 0x2026: "."})
    decomposed = unicodedata.normalize("NFKD", text)
    return decomposed.encode("ascii", "ignore").decode("ascii")


_SYNCHRONOUS = 2
_UTF8 = 1
_PARAMETER_RATE = 1
_PARAMETER_PITCH = 3
_WORDS_PER_MINUTE = 175
# Longer data paths make espeak_Initialize fail: it keeps them in a small fixed buffer.
_LONGEST_DATA_PATH = 150


class Espeak:
    """eSpeak NG from the wheel ``espeakng-loader``, in synchronous mode: about a hundred languages, 22.05 kHz."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path())
        self._link: tempfile.TemporaryDirectory[str] | None = None
        if len(data) > _LONGEST_DATA_PATH:
            self._link = tempfile.TemporaryDirectory(prefix="qwen-espeak-")
            short = os.path.join(self._link.name, "espeak-ng-data")
            os.symlink(data, short)
            data = short
        # 60 ms buffers. The second flag asks it not to exit the process when it finds no data.
        self.sample_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 60, data.encode(), 0x8000))
        if self.sample_rate <= 0:
            raise SpeechFailed(f"eSpeak NG did not start with its data in {data}")
        self._heard: list[Samples] = []
        callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = callback_type(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        del events
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, *, voice: str, language: str, rate: float, pitch: float) -> Samples:
        """Return a sentence; ``voice`` is a variant such as ``f2`` or empty, ``language`` a code such as ``es``."""
        name = _ESPEAK_LANGUAGES.get(language, language)
        # The Klatt voice with a little noise is what a recogniser understands best of eSpeak's English.
        variant = voice or ("klatt4" if language == "en" else "")
        if self._library.espeak_SetVoiceByName(f"{name}+{variant}".rstrip("+").encode()) != 0:
            raise SpeechFailed(f"eSpeak NG has no voice for the language {language!r}")
        speed = max(80, min(450, round(_WORDS_PER_MINUTE * rate)))
        self._library.espeak_SetParameter(_PARAMETER_RATE, speed, 0)
        height = max(0, min(99, round(50 + 50 * math.log2(pitch))))
        self._library.espeak_SetParameter(_PARAMETER_PITCH, height, 0)
        encoded = text.encode("utf-8")
        self._heard = []
        status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None)
        if status != 0:
            raise SpeechFailed(f"eSpeak NG failed with status {status}")
        samples = np.concatenate(self._heard) if self._heard else np.zeros(0, np.int16)
        return _with_noise(samples) if variant == "klatt4" else samples


_ESPEAK_LANGUAGES = {"en": "en-us", "zh": "cmn", "fr": "fr", "pt": "pt-br", "no": "nb", "fil": "tl"}


def _with_noise(samples: Samples) -> Samples:
    """Return speech with white noise 40 dB below it: spectral floors of digital zero confuse recognition."""
    level = math.sqrt(float(np.mean(np.square(samples.astype(np.float64))))) if len(samples) else 0.0
    noise = np.random.default_rng(1).normal(0.0, level / 100, len(samples))
    return np.clip(np.rint(samples + noise), -32768, 32767).astype(np.int16)


class Tones:
    """Speech-like sound without a voice: one vowel-like tone per syllable, silence between words, 16 kHz."""

    sample_rate = 16000
    _SYLLABLE_S = 0.16
    _GAP_S = 0.06

    def speak(self, text: str, *, voice: str, language: str, rate: float, pitch: float) -> Samples:
        """Return about as much sound as a voice would need for the sentence."""
        del voice, language
        pieces: list[Samples] = []
        gap = np.zeros(round(self._GAP_S / rate * self.sample_rate), np.int16)
        for word in text.split():
            for number in range(_syllables(word)):
                pieces.append(self._syllable(ord(word[0]) + number, rate, pitch))
            pieces.append(gap)
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def _syllable(self, seed: int, rate: float, pitch: float) -> Samples:
        time = np.arange(round(self._SYLLABLE_S / rate * self.sample_rate)) / self.sample_rate
        fundamental = pitch * (110 + seed % 7 * 5)
        # Harmonics that peak at two formants: enough of a vowel for a detector of voice activity.
        first, second = 400 + seed % 5 * 90, 1200 + seed % 3 * 350
        sound = np.zeros_like(time)
        for number in range(1, 25):
            frequency = number * fundamental
            weight = 1 / (1 + ((frequency - first) / 150) ** 2) + 0.5 / (1 + ((frequency - second) / 200) ** 2)
            sound += weight * np.sin(2 * np.pi * frequency * time)
        envelope = np.sin(np.pi * np.arange(len(time)) / max(1, len(time))) ** 0.5
        return np.asarray(np.clip(sound * envelope * 6000, -32768, 32767), np.int16)


def _syllables(word: str) -> int:
    groups = 0
    was_vowel = False
    for character in unicodedata.normalize("NFKD", word).lower():
        vowel = character in "aeiouy" or character.isdigit()
        # Ideographs and kana are a syllable each.
        groups += (vowel and not was_vowel) or ord(character) > 0x2E80
        was_vowel = vowel and not character.isdigit()
    return groups or int(any(character.isalnum() for character in word))
