"""Where input audio comes from."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen_realtime.errors import ConfigError
from qwen_realtime.results import Speech
from qwen_realtime.server.behaviours.encoding import encoder
from qwen_realtime.sources import pcm_blocks

PCM = np.arange(8000, dtype=np.int16).tobytes()  # half a second at 16 kHz


def _wav(pcm: bytes, rate: int = 16000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(pcm)
    return file.getvalue()


@pytest.mark.parametrize(
    "source",
    [
        _wav(PCM),
        io.BytesIO(_wav(PCM)),
        bytearray(PCM),
        memoryview(PCM),
        np.frombuffer(PCM, dtype=np.int16),
        Speech(PCM, 16000),
        Speech(_wav(PCM), 16000, format="wav"),
        [PCM[:999], PCM[999:1000], b"", PCM[1000:]],
        iter([memoryview(PCM)]),
        (bytearray(PCM[at : at + 7]) for at in range(0, len(PCM), 7)),
    ],
    ids=lambda source: type(source).__name__,
)
def test_every_kind_of_source_comes_out_in_blocks(source: Any) -> None:
    """Of 100 ms, the same samples whatever it was."""
    blocks = list(pcm_blocks(source, 16000))
    assert [len(block) for block in blocks] == [3200] * 5
    assert b"".join(blocks) == PCM


def test_a_path_is_a_wav_file(tmp_path: Path) -> None:
    """As text or as a path."""
    path = tmp_path / "speech.wav"
    path.write_bytes(_wav(PCM))
    assert b"".join(pcm_blocks(path, 16000)) == PCM
    assert b"".join(pcm_blocks(str(path), 16000, block_ms=30)) == PCM


@pytest.mark.parametrize("source", [_wav(PCM, 8000), Speech(PCM, 8000)], ids=["wav", "speech"])
def test_another_rate_is_resampled(source: Any) -> None:
    """To the session's: as long as before."""
    blocks = list(pcm_blocks(source, 16000))
    assert sum(map(len, blocks)) == pytest.approx(2 * len(PCM), abs=8)


def test_the_last_block_may_be_shorter() -> None:
    """And half a sample at the end of a series is dropped."""
    assert [len(block) for block in pcm_blocks([bytes(3201)], 16000)] == [3200]
    assert [len(block) for block in pcm_blocks(bytearray(3204), 16000)] == [3200, 4]
    assert list(pcm_blocks([], 16000)) == []


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_compressed_sound_is_a_source(audio_format: str, tmp_path: Path) -> None:
    """As a file, as its bytes, and as speech that came so."""
    made = encoder(audio_format, 24000)
    data = made.feed(bytes(48000)) + made.finish()
    path = tmp_path / f"speech.{audio_format}"
    path.write_bytes(data)
    for source in (path, str(path), data, Speech(data, 24000, format=audio_format)):
        assert sum(map(len, pcm_blocks(source, 16000))) == pytest.approx(32000, abs=4000)


@pytest.mark.parametrize("source", [b"raw pcm", io.StringIO("text"), object(), 7, None, [1, 2], ["text"]], ids=repr)
def test_what_is_no_source_is_refused(source: Any) -> None:
    """With what to pass instead."""
    with pytest.raises(ConfigError) as caught:
        list(pcm_blocks(source, 16000))
    assert caught.value.hint
