"""The sound of one response in the format that the session asked for; mp3 and opus by the extra ``codecs``."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ...audio.compressed import load_av
from ...audio.pcm import Resampler
from .speaker import streaming_wav_header

__all__ = ["Encoder", "encoder"]

# libopus takes these rates only, and so much per channel.
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_OPUS_KBITS = 256
_DEFAULT_KBITS = 128  # the service's, by its documentation


class Encoder(Protocol):
    """Encodes one response, piece by piece, on the session's thread."""

    def feed(self, pcm: bytes) -> bytes:
        """Take whole samples, s16le mono, and return what is encoded by now, possibly nothing."""

    def finish(self) -> bytes:
        """Return the rest; nothing is fed after it, and again gives nothing. Each encoder has to be finished."""


def encoder(format: str, sample_rate: int, bit_rate: int | None = None) -> Encoder:
    """Return what encodes one response.

    Args:
        format: ``"pcm"``, ``"wav"``, ``"mp3"`` or ``"opus"``.
        sample_rate: of what is fed, Hz.
        bit_rate: kbit/s, for mp3 and opus; each comes as near to it as it can.

    Raises:
        AudioUnavailable: mp3 or opus, without the extra ``codecs``.
    """
    if format in ("mp3", "opus"):
        return _Compressed(format, sample_rate, bit_rate or _DEFAULT_KBITS)
    return _Plain(streaming_wav_header(sample_rate) if format == "wav" else b"")


class _Plain:
    """PCM behind a header, which may be empty."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def feed(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + pcm

    def finish(self) -> bytes:
        return b""


class _Compressed:
    """FFmpeg's encoder, and its file format written to memory, from which each piece is taken as it is ready."""

    def __init__(self, format: str, sample_rate: int, kbits: int) -> None:
        self._av = load_av()
        self._out = _Out()
        rate = sample_rate
        if format == "opus":
            rate = next(each for each in _OPUS_RATES if each >= sample_rate)
            kbits = min(kbits, _OPUS_KBITS)
        self._resampler = Resampler(sample_rate, rate)
        # Nothing but sound in an mp3 stream, and no more than one packet on an Ogg page: what is ready leaves.
        container, codec, options = {
            "mp3": ("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
            "opus": ("ogg", "libopus", {"page_duration": "20000"}),
        }[format]
        self._container = self._av.open(self._out, "w", format=container, options={**options, "flush_packets": "1"})
        self._stream: Any = self._container.add_stream(codec, rate=rate)
        self._stream.layout = "mono"
        self._stream.bit_rate = kbits * 1000
        self._at = 0  # samples encoded
        self._finished = False

    def feed(self, pcm: bytes) -> bytes:
        return self._encoded(self._resampler.process(np.frombuffer(pcm, "<i2")))

    def finish(self) -> bytes:
        if self._finished:
            return b""
        self._finished = True  # older PyAV crashes when it collects a file that was not closed
        rest = self._encoded(self._resampler.flush())
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return rest + self._out.take()

    def _encoded(self, samples: np.ndarray[Any, np.dtype[np.int16]]) -> bytes:
        if len(samples):
            frame = self._av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
            frame.sample_rate, frame.pts = self._resampler.to_hz, self._at
            self._at += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._out.take()


class _Out:
    """The file that the sound is written to: it can be emptied."""

    def __init__(self) -> None:
        self._held = b""

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def take(self) -> bytes:
        held, self._held = self._held, b""
        return held
