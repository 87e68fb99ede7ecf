"""WAV files of all kinds."""

from __future__ import annotations

import struct
import subprocess
import sys
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest

from qwen_realtime.audio.wav import WavWriter, read_wav, wav_bytes
from qwen_realtime.errors import ConfigError
from tests.audio.sounds import noise

if TYPE_CHECKING:
    from pathlib import Path

SOUND = np.array([0, 256, -256, 32512, -32768, 12800], np.int16)


def chunk(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    """One RIFF chunk, padded to even length; ``size`` overrides what its header says."""
    return kind + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def riff(*chunks: bytes, size: int | None = None, kind: bytes = b"RIFF") -> bytes:
    """A whole file."""
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack("<I", len(body) if size is None else size) + body


def fmt(codec: int, bits: int, channels: int = 1, rate: int = 16000, extra: bytes = b"") -> bytes:
    """A format chunk."""
    frame = bits // 8 * channels
    return chunk(b"fmt ", struct.pack("<HHIIHH", codec, channels, rate, rate * frame, frame, bits) + extra)


def encoded(samples: np.ndarray, codec: int, bits: int) -> bytes:
    """``samples`` in the file's own kind of sample."""
    if codec == 3:
        return (samples / 32768.0).astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (samples // 256 + 128).astype(np.uint8).tobytes()
    wide = samples.astype(np.int64) << (bits - 16)
    return b"".join(int(one).to_bytes(bits // 8, "little", signed=True) for one in wide)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000])
@pytest.mark.parametrize(("codec", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_every_kind_of_pcm_is_read(codec: int, bits: int, rate: int) -> None:
    """Integers of 8 to 32 bits and floats give the same int16 samples, at the file's rate."""
    wav = read_wav(riff(fmt(codec, bits, rate=rate), chunk(b"data", encoded(SOUND, codec, bits))))
    assert wav.samples.tolist() == SOUND.tolist()
    assert (wav.sample_rate, wav.channels) == (rate, 1)
    assert wav.duration_ms == pytest.approx(6000 / rate)
    assert wav.pcm == SOUND.tobytes()


def test_floats_beyond_full_scale_are_clipped() -> None:
    """Two is one, and NaN is silence."""
    body = np.array([2.0, -2.0, np.nan], "<f4").tobytes()
    assert read_wav(riff(fmt(3, 32), chunk(b"data", body))).samples.tolist() == [32767, -32768, 0]


def test_extensible_files_are_read() -> None:
    """WAVE_FORMAT_EXTENSIBLE carries the real format in its GUID."""
    extra = struct.pack("<HHI", 22, 24, 3) + struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    stereo = np.repeat(SOUND, 2)
    wav = read_wav(riff(fmt(0xFFFE, 24, channels=2, extra=extra), chunk(b"data", encoded(stereo, 1, 24))))
    assert wav.samples.tolist() == SOUND.tolist()


def test_channels_are_kept_on_request() -> None:
    """Down-mixed by default, or as (frames, channels)."""
    frames = np.stack([SOUND, -SOUND // 2], axis=1)
    data = wav_bytes(frames.reshape(-1), 48000, channels=2)
    assert read_wav(data).channels == 1
    kept = read_wav(data, mono=False)
    assert kept.samples.tolist() == frames.tolist()
    assert kept.channels == 2


def test_extra_chunks_are_skipped() -> None:
    """Chunks before and after the sound, of odd length too, do no harm."""
    data = riff(chunk(b"LIST", b"odd"), fmt(1, 16), chunk(b"fact", b"1234"), chunk(b"data", SOUND.tobytes()))
    assert read_wav(data + chunk(b"id3 ", b"tail")).samples.tolist() == SOUND.tolist()


@pytest.mark.parametrize("dummy", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_lengths_that_were_never_filled_in_mean_until_the_end(dummy: int) -> None:
    """Streams and pipes leave zero or a huge number in the header."""
    data = riff(fmt(1, 16), chunk(b"data", SOUND.tobytes(), size=dummy), size=dummy)
    assert read_wav(data).samples.tolist() == SOUND.tolist()


def test_long_files_have_their_length_elsewhere() -> None:
    """RF64 keeps the real length in a chunk of its own."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, len(SOUND) * 2, 0, 0))
    body = chunk(b"data", SOUND.tobytes(), size=0xFFFFFFFF) + chunk(b"LIST", b"tail")
    assert read_wav(riff(ds64, fmt(1, 16), body, kind=b"RF64")).samples.tolist() == SOUND.tolist()


def test_an_incomplete_last_frame_is_left_out() -> None:
    """Five bytes are two samples."""
    assert len(read_wav(riff(fmt(1, 16), chunk(b"data", b"12345"))).samples) == 2


def test_paths_files_and_bytes_are_sources(tmp_path: Path) -> None:
    """All give the same, and Python's own module agrees about what was written."""
    path = tmp_path / "sound.wav"
    path.write_bytes(wav_bytes(SOUND, 24000))
    with path.open("rb") as file:
        data = path.read_bytes()
        for wav in (read_wav(path), read_wav(str(path)), read_wav(data), read_wav(bytearray(data)), read_wav(file)):
            assert wav.samples.tolist() == SOUND.tolist()
    with wave.open(str(path)) as other:
        assert (other.getframerate(), other.getnchannels(), other.getsampwidth()) == (24000, 1, 2)
        assert other.readframes(100) == SOUND.tobytes()


def test_another_rate_is_given_on_request() -> None:
    """Resampled at once, mono only."""
    data = wav_bytes(noise(0.5, 48000), 48000)
    wav = read_wav(data, sample_rate=16000)
    assert (len(wav.samples), wav.sample_rate) == (8000, 16000)
    with pytest.raises(ConfigError, match="mono"):
        read_wav(wav_bytes(SOUND, 48000, channels=2), mono=False, sample_rate=16000)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"ID3\x04" + bytes(100), "MP3"),
        (b"\xff\xfb\x90\x00" + bytes(100), "MP3"),
        (b"\xff\xf1\x50\x80" + bytes(100), "AAC"),
        (b"OggS" + bytes(100), "Ogg"),
        (b"fLaC" + bytes(100), "FLAC"),
        (b"FORM" + bytes(100), "AIFF"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "M4A"),
        (b"\x1aE\xdf\xa3" + bytes(100), "WebM"),
        (b"RIFX" + bytes(100), "big-endian"),
        (b"RIFF\0\0\0\0AVI " + bytes(100), "AVI"),
        (b"RIFF\0\0", "truncated"),
        (riff(fmt(1, 16)[:14]), "truncated"),
        (riff(fmt(1, 16)), "truncated"),
        (riff(chunk(b"data", b"1234")), "format chunk is missing"),
        (riff(fmt(1, 16), chunk(b"data", b"")), "without sound"),
        (riff(fmt(6, 8), chunk(b"data", b"1234")), "A-law"),
        (riff(fmt(7, 8), chunk(b"data", b"1234")), "mu-law"),
        (riff(fmt(85, 16), chunk(b"data", b"1234")), "MP3"),
        (riff(fmt(1, 12), chunk(b"data", b"1234")), "12 bits"),
        (riff(fmt(1, 16, channels=0), chunk(b"data", b"1234")), "0 channels"),
        (b"just some text, no sound", "not a WAV file"),
    ],
)
def test_anything_else_is_named_and_refused(data: bytes, named: str) -> None:
    """The message says what it is, and the hint what to do."""
    with pytest.raises(ConfigError, match=named) as caught:
        read_wav(data)
    assert caught.value.hint


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """With the path in the message."""
    with pytest.raises(ConfigError, match=r"no\.wav"):
        read_wav(tmp_path / "no.wav")


def test_a_writer_writes_what_a_reader_reads(tmp_path: Path) -> None:
    """In pieces, half samples included, and valid after each of them."""
    path = tmp_path / "out.wav"
    pcm = SOUND.tobytes()
    with WavWriter(path, 24000) as writer:
        writer.write(pcm[:3])
        assert read_wav(path).samples.tolist() == SOUND[:1].tolist()
        writer.write(pcm[3:])
        assert writer.duration_ms == pytest.approx(len(SOUND) / 24)
        assert read_wav(path).samples.tolist() == SOUND.tolist()
    writer.write(pcm)
    writer.close()
    assert read_wav(path).samples.tolist() == SOUND.tolist()


def test_a_killed_writer_leaves_a_valid_file(tmp_path: Path) -> None:
    """After SIGKILL the file holds everything that was written, and Python's own module reads it."""
    path = tmp_path / "killed.wav"
    code = (
        "import sys; from qwen_realtime.audio.wav import WavWriter; w = WavWriter(sys.argv[1], 24000)\n"
        "for i in range(100): w.write(bytes([i, 0]) * 480)\n"
        "print('written', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
        assert process.wait(10) != 0
    with wave.open(str(path)) as file:
        assert file.getnframes() == 48000
    assert read_wav(path).samples[::480].tolist() == list(range(100))
