"""Spoken text."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from qwen_realtime.server.engines import Engines
from qwen_realtime.server.engines.synthesis import amplify, split_sentences

SENTENCE = "The boats came home before the storm."


def level(pcm: bytes) -> float:
    """Return the root mean square of some sound."""
    return float(np.sqrt(np.mean(np.square(np.frombuffer(pcm, np.int16).astype(float)))))


def pitch(pcm: bytes, sample_rate: int) -> float:
    """Return the median fundamental (Hz) of the loud parts, by autocorrelation."""
    samples = np.frombuffer(pcm, np.int16).astype(float)
    size = sample_rate // 20
    found = []
    for start in range(0, len(samples) - size, size):
        frame = samples[start : start + size]
        if frame.std() > 1000:
            correlation = np.correlate(frame, frame, "full")[size - 1 :]
            shortest = sample_rate // 400
            found.append(sample_rate / (shortest + int(correlation[shortest : sample_rate // 60].argmax())))
    return float(np.median(found))


def test_a_text_is_split_into_sentences() -> None:
    """Sound comes sentence by sentence; titles do not end one, and what cannot be said is left out."""
    text = "Mr. Ash left. Did he? Yes... 3.5 km!\n😀 !!! Fin"
    assert split_sentences(text) == ["Mr. Ash left.", "Did he?", "Yes...", "3.5 km!", "Fin"]
    assert split_sentences("你好。再见！") == ["你好。", "再见！"]
    assert split_sentences("... 😀 !!") == []


def test_a_sentence_without_an_end_is_cut() -> None:
    """Nothing is lost and no piece is long."""
    text = "word " * 400
    pieces = split_sentences(text)
    assert " ".join(pieces).split() == text.split()
    assert max(map(len, pieces)) <= 240
    assert "".join(split_sentences("字" * 1000)) == "字" * 1000


def test_the_volume_is_linear_around_fifty() -> None:
    """0 is silence, 50 leaves alone, 100 doubles and clips."""
    samples = np.array([100, -100, 30000, -30000], np.int16)
    assert amplify(samples, 0).tolist() == [0, 0, 0, 0]
    assert amplify(samples, 50).tolist() == samples.tolist()
    assert amplify(samples, 25).tolist() == [50, -50, 15000, -15000]
    assert amplify(samples, 100).tolist() == [200, -200, 32767, -32768]


@pytest.mark.parametrize("sample_rate", [8000, 16000, 24000, 48000])
def test_every_rate_gives_the_same_length(engines: Engines, speak: Callable[..., bytes], sample_rate: int) -> None:
    """Sound is resampled, not relabelled: length in seconds and pitch stay."""
    sound = speak(engines, SENTENCE, sample_rate=sample_rate)
    assert 2.0 < len(sound) / 2 / sample_rate < 4.0
    assert 85 < pitch(sound, sample_rate) < 125


def test_chunks_are_a_tenth_of_a_second(engines: Engines) -> None:
    """All chunks but the last are 100 ms long."""
    sizes: list[int] = []
    done = threading.Event()
    engines.synthesize(
        SENTENCE, sample_rate=24000, on_audio=lambda pcm: sizes.append(len(pcm)), on_done=lambda _: done.set()
    )
    assert done.wait(10)
    assert set(sizes[:-1]) == {4800}
    assert 0 < sizes[-1] <= 4800


def test_the_settings_are_heard(engines: Engines, speak: Callable[..., bytes]) -> None:
    """Rate changes the length, pitch the pitch alone, volume the level, and some names the voice."""
    plain = speak(engines, SENTENCE)
    assert len(speak(engines, SENTENCE, rate=2.0)) == pytest.approx(len(plain) / 2, rel=0.1)
    higher = speak(engines, SENTENCE, pitch=1.5)
    assert len(higher) == pytest.approx(len(plain), rel=0.02)
    assert pitch(higher, 24000) == pytest.approx(1.5 * pitch(plain, 24000), rel=0.15)
    assert level(speak(engines, SENTENCE, volume=25)) == pytest.approx(level(plain) / 2, rel=0.05)
    assert not any(speak(engines, SENTENCE, volume=0))
    assert pitch(speak(engines, SENTENCE, voice="Serena"), 24000) > 1.3 * pitch(plain, 24000)
    assert pitch(speak(engines, SENTENCE, voice="Ryan", pitch=1.4), 24000) > 1.3 * pitch(plain, 24000)


@pytest.mark.parametrize("text", ["", "  \n", "... !!! ?", "😀 🎉", "—"])
def test_what_cannot_be_spoken_is_silently_done(engines: Engines, speak: Callable[..., bytes], text: str) -> None:
    """No sound and no error."""
    assert speak(engines, text) == b""


@pytest.mark.parametrize(
    "text", ["今天天气很好", "Buenos días, señora", "Guten Morgen, schöne Welt", "こんにちは", "Доброе утро"]
)
def test_other_languages_are_spoken(engines: Engines, speak: Callable[..., bytes], text: str) -> None:
    """Guessed or named, at a level that can be heard."""
    assert level(speak(engines, text)) > 1000


def test_a_named_language_wins_over_the_guess(engines: Engines, speak: Callable[..., bytes]) -> None:
    """The same letters are read by another language's rules."""
    english = speak(engines, "chat", language="English")
    french = speak(engines, "chat", language="fr")
    assert english[:20000] != french[:20000]


def test_an_unknown_language_fails_with_a_reason(engines: Engines) -> None:
    """A language that no engine has is an error with a name in it."""
    reasons: list[str | None] = []
    done = threading.Event()

    def end(reason: str | None) -> None:
        reasons.append(reason)
        done.set()

    engines.synthesize("hello", language="qq", on_audio=lambda _: None, on_done=end)
    assert done.wait(10)
    assert reasons == ["eSpeak NG has no voice for the language 'qq'"]


def test_nothing_comes_after_cancel(engines: Engines, speak: Callable[..., bytes]) -> None:
    """A cancelled job falls silent at once, and the next one is not held up by the rest of it."""
    chunks: list[bytes] = []
    first = threading.Event()

    def take(pcm: bytes) -> None:
        chunks.append(pcm)
        first.set()

    job = engines.synthesize(f"{SENTENCE} " * 200, on_audio=take, on_done=lambda _: chunks.append(b"done"))
    assert first.wait(10)
    job.cancel()
    heard = len(chunks)
    assert speak(engines, "Next.")
    job.cancel()
    assert len(chunks) == heard


def test_short_texts_pass_long_ones(engines: Engines) -> None:
    """Jobs take turns sentence by sentence."""
    order: list[str] = []
    both = threading.Barrier(3)

    def ended(name: str) -> Callable[[str | None], None]:
        def end(reason: str | None) -> None:
            order.append(name)
            threading.Thread(target=both.wait, args=(10,), daemon=True).start()

        return end

    engines.synthesize(f"{SENTENCE} " * 60, on_audio=lambda _: None, on_done=ended("long"))
    engines.synthesize("Short.", on_audio=lambda _: None, on_done=ended("short"))
    both.wait(20)
    assert order == ["short", "long"]


@pytest.mark.parametrize("speech", ["tones", "espeak"])
def test_each_fallback_makes_sound_and_says_what_it_is(speak: Callable[..., bytes], speech: str) -> None:
    """Forced by name, they speak English and other languages at once."""
    engines = Engines(speech=speech, listening="tones", translation="phrases", workers=1)
    try:
        assert {"tones": "not a voice", "espeak": "eSpeak NG"}[speech] in engines.describe()["speech"]
        short, long = (
            speak(engines, text) for text in ("One word.", "Many more words than there were before, one by one.")
        )
        assert level(short) > 500
        assert len(long) > 2 * len(short)
        assert level(speak(engines, "你好")) > 500
    finally:
        engines.close()
