"""The formats in which the local server speaks."""

from __future__ import annotations

import numpy as np
import pytest

from qwen_realtime.audio.compressed import decode
from qwen_realtime.audio.wav import read_wav
from qwen_realtime.server.behaviours.encoding import encoder

RATE = 24000
SOUND = np.rint(8000 * np.sin(np.arange(2 * RATE) / 12) * np.sin(np.arange(2 * RATE) / 9999)).astype(np.int16)
PIECE = 4800  # 200 ms


def pieces(audio_format: str, bit_rate: int | None = None, rate: int = RATE) -> list[bytes]:
    """Two seconds, 200 ms at a time, and what is left at the end."""
    made = encoder(audio_format, rate, bit_rate)
    return [*(made.feed(SOUND[at : at + PIECE].tobytes()) for at in range(0, len(SOUND), PIECE)), made.finish()]


@pytest.mark.parametrize("audio_format", ["pcm", "wav", "mp3", "opus"])
def test_every_piece_leaves_when_it_comes(audio_format: str) -> None:
    """Nothing waits for the end, and in all it is the sound."""
    made = pieces(audio_format)
    assert all(made[:-1])
    data = b"".join(made)
    seconds = len(decode(data, audio_format, RATE)) / 2 / RATE
    assert seconds == pytest.approx(2, abs=0.08 if audio_format == "mp3" else 1e-9)


def test_wav_and_pcm_are_the_samples_themselves() -> None:
    """One with a header before the first."""
    assert b"".join(pieces("pcm")) == SOUND.tobytes()
    assert read_wav(b"".join(pieces("wav"))).pcm == SOUND.tobytes()


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_the_bit_rate_is_heeded(audio_format: str) -> None:
    """As near as the codec comes to it; containers add a little."""
    for kbits in (16, 64, 128):
        size = sum(map(len, pieces(audio_format, kbits)))
        assert size * 8 / 2000 == pytest.approx(kbits, rel=0.2, abs=14)


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("bit_rate", [None, 6, 510])
def test_what_the_settings_allow_can_be_made(audio_format: str, rate: int, bit_rate: int | None) -> None:
    """Every rate with the extremes of ``bit_rate``, though no codec has them all."""
    data = b"".join(pieces(audio_format, bit_rate, rate))
    assert len(decode(data, audio_format, rate)) / 2 == pytest.approx(len(SOUND), abs=4000)


@pytest.mark.parametrize("audio_format", ["pcm", "wav", "mp3", "opus"])
def test_an_encoder_ends_once(audio_format: str) -> None:
    """With or without sound; again gives nothing."""
    for sound in (b"", SOUND.tobytes()):
        made = encoder(audio_format, RATE)
        if sound:
            made.feed(sound)
        made.finish()
        assert made.finish() == b""
