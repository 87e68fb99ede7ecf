"""Text to speech in its worker: sentences, languages, voices, volume, sample rate. Worker only."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from qwen_realtime.audio.pcm import Resampler

from .languages import code, guess
from .messages import Speak
from .speech_engines import Espeak, Flite, SpeechEngine, SpeechFailed, Tones
from .vad import Samples

CHUNK_MS = 100
# Flite returns an utterance whole: what has no full stop is cut, so that sound comes soon and can be cancelled.
_LONGEST_SENTENCE = 240
_SENTENCE_END = re.compile(r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<=[.!?…])\s+|(?<=[。！？；])|\n+")

# The default voices get rms, which is recognised best; a few names get another voice, so that a change is heard.
_FLITE_VOICES = {
    **dict.fromkeys("Serena Chelsie Jennifer Katerina Vivian Bella Mia Sohee Jada Sunny".split(), "slt"),
    **dict.fromkeys("Ryan Dylan Peter Rocky Eric Marcus".split(), "awb"),
}
_ESPEAK_VARIANTS = {"slt": "f2", "awb": "m3"}


class Synthesis:
    """Speaks texts with the engines of one choice.

    Args:
        english: ``flite``, ``espeak`` or ``tones``.
        other: what speaks other languages: ``espeak``, ``tones``, or ``none``.
    """

    def __init__(self, english: str, other: str) -> None:
        self._names = {"english": english, "other": other}
        self._engines: dict[str, SpeechEngine] = {}

    def warm_up(self) -> None:
        """Load the English engine and its default voice."""
        self._engine("english").speak("ready", voice=self._engine_voice("english", ""), language="en", rate=1, pitch=1)

    def speak(self, job: Speak) -> Iterator[bytes]:
        """Yield the sound of a text, s16le mono in chunks of 100 ms; an empty chunk between sentences.

        Raises ``SpeechFailed``.
        """
        chunk = max(1, job.sample_rate * CHUNK_MS // 1000) * 2
        resampler: Resampler | None = None
        waiting = bytearray()
        for sentence in split_sentences(job.text):
            language = code(job.language)
            if language == "auto":
                language = guess(sentence)
            kind = "english" if language == "en" else "other"
            engine = self._engine(kind)
            samples = engine.speak(
                sentence,
                voice=self._engine_voice(kind, job.voice),
                language=language,
                rate=min(4.0, max(0.25, job.rate)),
                pitch=min(2.0, max(0.5, job.pitch)),
            )
            if resampler is None or resampler.from_hz != engine.sample_rate:
                if resampler is not None:
                    waiting += amplify(resampler.flush(), job.volume).tobytes()
                resampler = Resampler(engine.sample_rate, job.sample_rate)
            waiting += amplify(resampler.process(samples), job.volume).tobytes()
            while len(waiting) >= chunk:
                yield bytes(waiting[:chunk])
                del waiting[:chunk]
            yield b""
        if resampler is not None:
            waiting += amplify(resampler.flush(), job.volume).tobytes()
        for start in range(0, len(waiting), chunk):
            yield bytes(waiting[start : start + chunk])

    def _engine_voice(self, kind: str, voice: str) -> str:
        flite_voice = _FLITE_VOICES.get(voice, "rms")
        if self._names[kind] == "flite":
            return flite_voice
        return _ESPEAK_VARIANTS.get(flite_voice, "") if self._names[kind] == "espeak" else ""

    def _engine(self, kind: str) -> SpeechEngine:
        name = self._names[kind]
        if name not in self._engines:
            if name == "flite":
                self._engines[name] = Flite()
            elif name == "espeak":
                self._engines[name] = Espeak()
            elif name == "tones":
                self._engines[name] = Tones()
            else:
                raise SpeechFailed("only English can be spoken here: pip install espeakng-loader for other languages")
        return self._engines[name]


def split_sentences(text: str) -> list[str]:
    """Return the pieces of a text that are spoken one by one; pieces without a letter or digit are left out."""
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        rest = sentence.strip()
        while len(rest) > _LONGEST_SENTENCE:
            cut = max(rest.rfind(mark, 40, _LONGEST_SENTENCE) for mark in (", ", "，", "、"))
            if cut < 0:
                cut = rest.rfind(" ", 40, _LONGEST_SENTENCE)
            cut = cut + 1 if cut >= 0 else _LONGEST_SENTENCE
            pieces.append(rest[:cut].strip())
            rest = rest[cut:].strip()
        pieces.append(rest)
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]


def amplify(samples: Samples, volume: int) -> Samples:
    """Return samples at a volume of 0 (silence) to 100 (twice the amplitude, clipped); 50 leaves them alone."""
    if volume == 50:
        return samples
    scaled = samples.astype(np.float32) * (min(100, max(0, volume)) / 50)
    return np.asarray(np.clip(np.rint(scaled), -32768, 32767), np.int16)
