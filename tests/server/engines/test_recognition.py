"""Recognition measured: people's recordings (Debian ``pocketsphinx-testdata``) and Flite's voice."""

from __future__ import annotations

import re
import wave
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from qwen_realtime.server.engines import Engines, Final, ListenResult, Partial, SpeechStarted, SpeechStopped
from qwen_realtime.server.engines.assistant_model import corpus

RECORDINGS = Path("/usr/share/pocketsphinx/test/data")
HELD_OUT = (
    "the children were playing in the garden all afternoon",
    "could you close the window before you leave",
    "the train to the airport leaves every twenty minutes",
    "it has been raining since yesterday evening",
)
QUESTIONS = (
    "how much is four times seven",
    "what is thirty two minus nine",
    "what is the weather like in madrid",
    "what time is it in tokyo right now",
)
HALF_A_SECOND = bytes(16000)


def recordings() -> list[tuple[bytes, list[str]]]:
    """Return sound (16 kHz) and words of the eight recordings of people that are shorter than four seconds."""
    found = [((RECORDINGS / "goforward.raw").read_bytes(), "go forward ten meters".split())]
    for listing in ("librivox/transcription", "cards/cards.transcription"):
        path = RECORDINGS / listing
        for words, name in re.findall(r"<s>(.*)</s> \((.*)\)", path.read_text(encoding="utf-8")):
            with wave.open(str(path.parent / f"{name}.wav")) as file:
                assert file.getframerate() == 16000
                if file.getnframes() < 4 * 16000:
                    found.append((file.readframes(file.getnframes()), words.split()))
    return found


def word_errors(expected: list[str], heard: list[str]) -> int:
    """Return how many words must be changed, inserted or deleted."""
    row = list(range(len(heard) + 1))
    for left in expected:
        above, row = row, [row[0] + 1]
        for column, right in enumerate(heard, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (left != right)))
    return row[-1]


def error_rate(hear: Callable[..., list[ListenResult]], said: Iterable[tuple[bytes, list[str]]]) -> float:
    """Return word errors per word, each utterance heard by a listener that knows nothing of the others."""
    errors = words = 0
    for pcm, expected in said:
        results = hear(HALF_A_SECOND + pcm + 4 * HALF_A_SECOND)
        texts = [result.text for result in results if isinstance(result, Final)]
        errors += word_errors(expected, " ".join(texts).split())
        words += len(expected)
    return errors / words


def test_people_are_understood_as_far_as_the_model_goes(
    engines: Engines, hear: Callable[..., list[ListenResult]]
) -> None:
    """Measured 24 to 29 % word errors on all eleven recordings (96 words)."""
    data = recordings()
    assert len(data) == 8
    assert error_rate(lambda pcm: hear(engines, pcm), data) < 0.34


def test_the_default_voice_is_understood(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """Measured 3 to 5 % word errors on thirty sentences that nothing was tuned on."""
    said = [(speak(engines, text, sample_rate=16000), text.split()) for text in HELD_OUT]
    assert error_rate(lambda pcm: hear(engines, pcm), said) < 0.15


def test_the_assistant_model_understands_questions_it_does_not_contain(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """Measured 6 % word errors where the stock model makes 13."""
    assert not set(QUESTIONS) & set(corpus())
    said = [(speak(engines, text, sample_rate=16000), text.split()) for text in QUESTIONS]
    assert error_rate(lambda pcm: hear(engines, pcm, domain="assistant"), said) < 0.15


def test_no_model_contains_what_is_measured() -> None:
    """The corpus of the assistant's model holds neither the held-out sentences nor a long sentence at all."""
    lines = corpus()
    assert not {*HELD_OUT, *QUESTIONS} & set(lines)
    assert max(len(line.split()) for line in lines) <= 8


def test_the_pause_between_sentences_confirms_the_first(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """Within one utterance the words before a pause are settled, and the final text begins with them."""
    text = "The train leaves every twenty minutes. Please close the window."
    pcm = HALF_A_SECOND + speak(engines, text, sample_rate=16000) + 4 * HALF_A_SECOND
    results = hear(engines, pcm)
    (final,) = [result for result in results if isinstance(result, Final)]
    confirmed = [result.text for result in results if isinstance(result, Partial)]
    assert any(0 < len(text) < len(final.text) for text in confirmed)
    assert all(final.text.startswith(text) for text in confirmed)


def test_speech_is_found_where_it_is(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """Edges lie within 150 ms of the sound's own, at another rate and in odd blocks too."""
    import numpy as np

    sentence = speak(engines, "The boats came home before the storm.", sample_rate=24000)
    loud = np.flatnonzero(np.abs(np.frombuffer(sentence, np.int16).astype(int)) > 300)
    begin_ms, end_ms = int(loud[0]) // 24, int(loud[-1]) // 24
    gap = bytes(2 * 24000 * 2)
    results = hear(
        engines, gap + sentence + gap + sentence + gap, sample_rate=24000, block_bytes=1001, transcribe=False
    )
    period_ms = 2000 + len(sentence) // 48
    starts = [result.audio_start_ms for result in results if isinstance(result, SpeechStarted)]
    stops = [result.audio_end_ms for result in results if isinstance(result, SpeechStopped)]
    assert starts == pytest.approx([2000 + begin_ms, 2000 + period_ms + begin_ms], abs=150)
    assert stops == pytest.approx([2000 + end_ms, 2000 + period_ms + end_ms], abs=150)
