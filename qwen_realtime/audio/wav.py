"""WAV files: read nearly every kind of PCM, write 16-bit files that survive a crash.

Reading takes any rate, any number of channels, 8- to 32-bit integers, 32- and 64-bit floats, WAVE_FORMAT_EXTENSIBLE,
RF64, extra chunks, and headers whose lengths were never filled in (pipes and streams leave them zero or huge).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from qwen_realtime.audio.bytes import pcm_bytes
from qwen_realtime.audio.pcm import mix_to_mono, resample
from qwen_realtime.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from qwen_realtime.audio.bytes import Audio

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODECS = {2: "Microsoft ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM 6.10", 80: "MPEG", 85: "MP3"}
_REMEDY = "convert it first: ffmpeg -i input -ac 1 -c:a pcm_s16le output.wav"
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_LARGEST = 0xFFFFFFFF


class NotPcmWav(ConfigError):
    """The file is there and something else than PCM in a WAV file, which FFmpeg may be able to read."""


@dataclass(frozen=True, eq=False)
class Wav:
    """The sound of a WAV file.

    Attributes:
        samples: int16; of shape (frames,) for one channel, (frames, channels) for more.
        sample_rate: in Hz.
        channels: how many channels ``samples`` has.
    """

    samples: NDArray[np.int16]
    sample_rate: int
    channels: int

    @property
    def duration_ms(self) -> float:
        """Length in ms."""
        return len(self.samples) * 1000.0 / self.sample_rate

    @property
    def pcm(self) -> bytes:
        """The samples as 16-bit little-endian bytes, channels interleaved."""
        return self.samples.astype("<i2", copy=False).tobytes()


def read_wav(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    *,
    mono: bool = True,
    sample_rate: int | None = None,
) -> Wav:
    """Read a whole WAV file into int16 samples.

    Args:
        source: a path, the file's bytes, or an open binary file (read to its end, not closed).
        mono: mix all channels down to one.
        sample_rate: the rate (Hz) wanted; the file's own if ``None``. Resampling needs ``mono``.

    Raises:
        ConfigError: no such file, or not PCM in a WAV file; the message says what it is, the hint how to convert it.
    """
    data, name = _contents(source)
    layout, body = _parse(data, name)
    samples = _decode(body, layout, name)
    if mono and layout.channels > 1:
        samples = mix_to_mono(samples)
    elif layout.channels == 1:
        samples = samples[:, 0]
    rate = layout.sample_rate
    if sample_rate is not None and sample_rate != rate:
        if samples.ndim > 1:
            raise ConfigError("only mono can be resampled", hint="leave mono=True, or leave sample_rate out")
        samples, rate = resample(samples, rate, sample_rate), sample_rate
    return Wav(np.ascontiguousarray(samples), rate, 1 if samples.ndim == 1 else samples.shape[1])


def wav_bytes(pcm: Audio, sample_rate: int, channels: int = 1) -> bytes:
    """Return a whole 16-bit WAV file.

    Args:
        pcm: int16 samples, channels interleaved; bytes or array. An incomplete last frame is left out.
        sample_rate: in Hz.
        channels: how many channels are interleaved.

    Raises:
        ConfigError: ``pcm`` is no PCM.
    """
    data = pcm_bytes(pcm)
    size = len(data) - len(data) % (2 * channels)
    return _header(size, sample_rate, channels) + data[:size]


class WavWriter:
    """Writes a 16-bit WAV file that is valid after every write, so that a crash costs nothing already written.

    Each write goes to the operating system at once, samples first and the header's lengths after them. Not
    thread-safe: one owner writes. Usable in ``with``.

    Args:
        path: the file, replaced if it exists.
        sample_rate: in Hz.
        channels: how many channels the PCM interleaves.

    Raises:
        OSError: the file cannot be made, here or (disk full) in ``write``.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int, channels: int = 1) -> None:
        self.path = path
        self.sample_rate = sample_rate
        self.channels = channels
        self._size = 0  # bytes of PCM in the file, perhaps with part of a frame at the end
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close()
        self._write_header()

    @property
    def duration_ms(self) -> float:
        """Length (ms) of the sound written so far."""
        return self._size // (2 * self.channels) * 1000.0 / self.sample_rate

    def write(self, pcm: Audio) -> None:
        """Append PCM; blocks on the disk only. Half samples are completed by the next write; after close: no effect."""
        if self._file.closed:
            return
        data = memoryview(pcm_bytes(pcm))
        while data:
            written = self._file.write(data)
            self._size += written
            data = data[written:]
        self._write_header()

    def close(self) -> None:
        """Close the file; again is allowed."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_header(self) -> None:
        whole = self._size - self._size % (2 * self.channels)
        self._file.seek(0)
        self._file.write(_header(whole, self.sample_rate, self.channels))
        self._file.seek(0, os.SEEK_END)


@dataclass(frozen=True)
class _Layout:
    codec: int
    channels: int
    sample_rate: int
    bits: int  # per sample, in the file


def _header(size: int, sample_rate: int, channels: int) -> bytes:
    frame = 2 * channels
    return _HEADER.pack(
        *(b"RIFF", min(36 + size, _LARGEST), b"WAVE"),
        *(b"fmt ", 16, _PCM, channels, sample_rate, sample_rate * frame, frame, 16),
        *(b"data", min(size, _LARGEST)),
    )


def _contents(source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> tuple[memoryview, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return memoryview(source).cast("B"), "the data"
    if isinstance(source, (str, os.PathLike)):
        try:
            with open(source, "rb") as file:
                return memoryview(file.read()), os.fspath(source)
        except OSError as error:
            raise ConfigError(f"cannot read {os.fspath(source)}: {error.strerror}", hint="check the path") from error
    return memoryview(source.read()), str(getattr(source, "name", "the file"))


def _parse(data: memoryview, name: str) -> tuple[_Layout, memoryview]:
    """Return the format and the bytes of the sound."""
    if bytes(data[:4]) not in (b"RIFF", b"RF64") or bytes(data[8:12]) != b"WAVE":
        raise _refusal(name, _what_it_is(bytes(data[:16])))
    layout: _Layout | None = None
    long_size: int | None = None
    at = 12
    while at + 8 <= len(data):
        kind = bytes(data[at : at + 4])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 :]
        if kind == b"ds64" and len(body) >= 16:
            long_size = int.from_bytes(body[8:16], "little")
        elif kind == b"fmt ":
            layout = _layout(body[:size], name)
        elif kind == b"data":
            if layout is None:
                raise _refusal(name, "a WAV file whose format chunk is missing")
            if size == _LARGEST and long_size is not None:
                size = long_size
            return layout, body if _never_filled_in(size, data) else body[:size]
        at += 8 + size + size % 2
    raise _refusal(name, "a truncated WAV file: it ends within its header")


def _never_filled_in(size: int, data: memoryview) -> bool:
    # A stream's writer could not come back to fill in the lengths: then the sound goes on to the end. A zero is only
    # believed where the length of the whole is right.
    riff_size = int.from_bytes(data[4:8], "little")
    return size == 0 and not 0 <= len(data) - 8 - riff_size <= 1


def _layout(chunk: memoryview, name: str) -> _Layout:
    if len(chunk) < 16:
        raise _refusal(name, "a truncated WAV file: it ends within its header")
    codec, channels, sample_rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if codec == _EXTENSIBLE and len(chunk) >= 26:
        codec = int.from_bytes(chunk[24:26], "little")
    if (codec, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
        raise _refusal(name, f"a WAV file with {_CODECS.get(codec, f'format {codec}')} inside, {bits} bits a sample")
    if channels == 0 or sample_rate == 0:
        raise _refusal(name, f"a WAV file of {channels} channels at {sample_rate} Hz")
    return _Layout(codec, channels, sample_rate, bits)


def _decode(body: memoryview, layout: _Layout, name: str) -> NDArray[np.int16]:
    """Return the samples as int16 of shape (frames, channels); an incomplete last frame is left out."""
    width = layout.bits // 8
    frames = len(body) // (width * layout.channels)
    if not frames:
        raise _refusal(name, "a WAV file without sound")
    body = body[: frames * layout.channels * width]
    samples: NDArray[np.int16]
    if layout.codec == _FLOAT:
        values = np.nan_to_num(np.frombuffer(body, f"<f{width}").astype(np.float64), nan=0.0, posinf=1.0, neginf=-1.0)
        samples = np.clip(np.rint(values * 32768.0), -32768, 32767).astype(np.int16)
    elif width == 1:
        samples = ((np.frombuffer(body, np.uint8).astype(np.int16) - 128) * 256).astype(np.int16)
    else:
        # The upper two bytes of a little-endian sample of any width are its 16 most significant bits.
        upper = np.frombuffer(body, np.uint8).reshape(-1, width)[:, -2:]
        samples = np.ascontiguousarray(upper).view("<i2")[:, 0].astype(np.int16, copy=False)
    return samples.reshape(frames, layout.channels)


def _what_it_is(start: bytes) -> str:
    if not start:
        return "empty: 0 bytes"
    if start[:3] == b"ID3" or (start[0] == 0xFF and len(start) > 1 and start[1] & 0xE6 == 0xE2):
        return "an MP3 file"
    if start[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return "an AAC file"
    if start[:4] == b"RIFX":
        return "a big-endian WAV file (RIFX)"
    if start[:4] in (b"RIFF", b"RF64"):
        kind = start[8:12].decode("ascii", "replace")
        return (
            f"a RIFF file of kind {kind!r}" if len(start) >= 12 else "a truncated WAV file: it ends within its header"
        )
    if start[:4] == b"FORM":
        return "an AIFF file"
    if start[4:8] == b"ftyp":
        return "an MP4 or M4A file"
    named = {
        b"OggS": "an Ogg file (Vorbis or Opus)",
        b"fLaC": "a FLAC file",
        b"\x1aE\xdf\xa3": "a WebM or Matroska file",
    }
    named |= {b".snd": "a Sun AU file", b"#!AM": "an AMR file", b"caff": "a CAF file"}
    return named.get(start[:4], f"not a WAV file: it starts with {start[:8]!r}")


def _refusal(name: str, what: str) -> ConfigError:
    message = f"{name} is {what}"
    if what.startswith("not a WAV"):
        hint = f"{_REMEDY}; headerless PCM goes into append_audio as it is, elsewhere as a bytearray or an array"
        return ConfigError(message, hint=hint)
    if what.startswith("empty") or "without sound" in what:
        return ConfigError(message, hint="record it again, or check what wrote it")
    return NotPcmWav(message, hint=_REMEDY)
