"""Compressed sound by the extra ``codecs``: mp3 and opus as they arrive, and files of nearly any kind.

PyAV is imported at the first use. Everything runs on the calling thread, and nothing here waits: what is damaged is
left out and counted, and what is no sound at all is an error.
"""

from __future__ import annotations

import io
import logging
import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwen_realtime.audio.pcm import Resampler, to_int16
from qwen_realtime.audio.wav import NotPcmWav, read_wav
from qwen_realtime.errors import AudioError, AudioUnavailable, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from numpy.typing import NDArray

    Sound: TypeAlias = tuple[NDArray[np.int16], int]  # mono samples and their rate in Hz

_log = logging.getLogger(__name__)

INSTALL = "pip install 'qwen-realtime[codecs]'"
_OPUS_RATE = 48_000  # whatever went in
# What a file may be: FFmpeg also knows playlists, which would make it read other files and fetch addresses.
_CONTAINERS = {"format_whitelist": "aac,aiff,amr,au,caf,flac,matroska,mov,mp3,ogg,wav", "protocol_whitelist": ""}


def load_av() -> Any:
    """Import PyAV and return the module.

    Raises:
        AudioUnavailable: it is not installed, or cannot be loaded; the hint is the line that installs it.
    """
    try:
        import av
    except ImportError as error:
        raise AudioUnavailable(f"compressed sound needs PyAV: {error}", hint=INSTALL) from error
    return av


class StreamDecoder:
    """Turns one stream of sound, in pieces of any size, into int16 mono PCM at the rate that is wanted.

    mp3 and opus (Ogg, also several streams one after the other) tell their rate and channels; PCM is mono. Unless the
    stream is damaged, its division makes no difference. Opus is as long as what was encoded; mp3 begins with its
    encoder's delay, 1105 samples with most. Not thread-safe: one owner feeds it, in stream order. Nothing here blocks.

    Args:
        format: ``"mp3"`` or ``"opus"``; anything else is PCM, with or without the header of a WAV file.
        sample_rate: of the PCM wanted, Hz.
        pcm_rate: of PCM without a header, Hz.

    Raises:
        AudioUnavailable: it is compressed, and the extra ``codecs`` is missing.
    """

    def __init__(self, format: str, sample_rate: int, pcm_rate: int = 24000) -> None:
        self.format = format
        self.sample_rate = sample_rate
        self._stream: _Stream = _Mp3() if format == "mp3" else _OggOpus() if format == "opus" else _Plain(pcm_rate)
        self._joined = _Joined(sample_rate)
        self._fed = 0  # bytes
        self._heard = False  # whether any sound was in them

    @property
    def errors(self) -> int:
        """How many damaged pieces were left out."""
        return self._stream.errors

    def feed(self, data: bytes) -> bytes:
        """Take the next piece of the stream and return the PCM that has become ready, possibly none."""
        self._fed += len(data)
        return self._pcm(self._stream.feed(data)) if data else b""

    def flush(self) -> bytes:
        """Return what is still held; the stream is over, and what is fed after it is undefined.

        Raises:
            AudioError: there was data, and no sound in it.
        """
        pcm = self._pcm(self._stream.flush()) + self._joined.rest().tobytes()
        if self._fed and not self._heard:
            raise AudioError(f"there is no {self.format} sound in these {self._fed} bytes")
        return pcm

    def _pcm(self, sounds: Iterator[Sound]) -> bytes:
        ready = [self._joined.take(*sound) for sound in sounds]
        self._heard = self._heard or bool(ready)
        return b"".join(samples.tobytes() for samples in ready)


def decode(data: bytes, format: str, sample_rate: int) -> bytes:
    """Return a whole stream, as :class:`StreamDecoder` takes it, as int16 mono PCM at ``sample_rate`` (Hz).

    Raises:
        AudioUnavailable: the extra ``codecs`` is missing.
        AudioError: there is no sound in it.
    """
    decoder = StreamDecoder(format, sample_rate)
    return decoder.feed(data) + decoder.flush()


def read_audio(source: str | os.PathLike[str] | bytes, sample_rate: int) -> bytes:
    """Read a sound file of nearly any kind as int16 mono PCM; blocks on the disk.

    WAV files of PCM need no PyAV; MP3, Ogg, Opus, M4A, FLAC, WebM and others do. Damaged parts are left out.

    Args:
        source: a path, or the file's bytes.
        sample_rate: of the PCM wanted, Hz.

    Raises:
        ConfigError: no such file, no sound in it, or PyAV is missing; the hint says what to do about it.
    """
    try:
        return read_wav(source, sample_rate=sample_rate).pcm
    except NotPcmWav as refusal:
        try:
            pcm = _read_other(source, sample_rate)
        except AudioUnavailable as missing:
            raise ConfigError(refusal.message, hint=f"{missing.hint}, or {refusal.hint}") from refusal
        if not pcm:
            raise ConfigError(f"{refusal.message}, and no sound can be read from it", hint=refusal.hint) from refusal
        return pcm


def _read_other(source: str | os.PathLike[str] | bytes, sample_rate: int) -> bytes:
    """The PCM of a file that is no WAV file; empty where PyAV cannot make anything of it."""
    av = load_av()
    # tags may be in any encoding; PyAV 19 and newer takes them as they are
    tags = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
    joined, ready, errors = _Joined(sample_rate), [], 0
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        try:
            with av.open(file, options=_CONTAINERS, **tags) as container:
                to_floats = av.AudioResampler(format="fltp")
                stream = container.streams.audio[0]
                # older PyAV crashes in decode() of a stream that nothing can decode
                for packet in container.demux(stream) if stream.codec_context is not None else ():
                    try:
                        for frame in packet.decode():
                            ready += [joined.take(*_mono(each)) for each in to_floats.resample(frame)]
                    except (av.error.FFmpegError, ValueError):  # the latter: another kind of sound within the stream
                        errors += 1
        except (av.error.FFmpegError, IndexError):  # the latter: there is no sound in the container
            errors += 1
    if errors and ready:
        _log.warning("%d damaged parts of a sound file were left out", errors)
    return b"".join(samples.tobytes() for samples in (*ready, joined.rest()))


def _mono(frame: Any) -> Sound:
    """A frame of floats, one row a channel, as mono samples."""
    return to_int16(frame.to_ndarray().mean(axis=0)), frame.sample_rate


class _Joined:
    """Brings successive samples of whatever rate to one, as one piece."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._resampler = Resampler(sample_rate, sample_rate)

    def take(self, samples: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
        if rate == self._resampler.from_hz:
            return self._resampler.process(samples)
        rest, self._resampler = self.rest(), Resampler(rate, self._sample_rate)
        return np.concatenate((rest, self._resampler.process(samples)))

    def rest(self) -> NDArray[np.int16]:
        return self._resampler.flush()


class _Stream(Protocol):
    """What cuts a stream into pieces and decodes them."""

    errors: int

    def feed(self, data: bytes) -> Iterator[Sound]:
        """Decode what is complete with this."""

    def flush(self) -> Iterator[Sound]:
        """Decode what is left."""


class _Plain:
    """PCM, perhaps behind the header of a WAV file."""

    def __init__(self, rate: int) -> None:
        self.errors = 0
        self._rate = rate
        self._held = b""
        self._begun = False

    def feed(self, data: bytes) -> Iterator[Sound]:
        self._held += data
        if not self._begun:
            self._begun = self._past_header()
        if self._begun and len(self._held) > 1:
            whole = len(self._held) & ~1
            yield np.frombuffer(self._held[:whole], "<i2"), self._rate
            self._held = self._held[whole:]

    def flush(self) -> Iterator[Sound]:
        yield from ()

    def _past_header(self) -> bool:
        if not self._held.startswith(b"RIFF"[: len(self._held)]):
            return True
        sound = self._held.find(b"data", 36) + 8
        if sound < 8 or len(self._held) < sound:
            return False
        self._rate = int.from_bytes(self._held[24:28], "little") or self._rate
        self._held = self._held[sound:]
        return True


class _Mp3:
    """Frames follow one another; FFmpeg's parser cuts them, and finds its way again behind what is none."""

    def __init__(self) -> None:
        self._av = load_av()
        self.errors = 0
        self._codec = self._av.CodecContext.create("mp3float", "r")

    def feed(self, data: bytes) -> Iterator[Sound]:
        return self._decode(self._codec.parse(data))

    def flush(self) -> Iterator[Sound]:
        return self._decode(self._codec.parse(None))

    def _decode(self, packets: list[Any]) -> Iterator[Sound]:
        for packet in packets:
            try:
                yield from map(_mono, self._codec.decode(packet))
            except self._av.error.FFmpegError:  # an ID3 tag, for one
                self.errors += 1


_CONTINUED, _LAST = 1, 4  # flags of an Ogg page


class _OggOpus:
    """Opus packets on Ogg pages (RFC 3533, RFC 7845), decoded as each page is complete."""

    def __init__(self) -> None:
        self._av = load_av()
        self.errors = 0
        self._codec: Any = None  # made when the stream's head has come
        self._held = bytearray()  # what will be the next page
        self._lost = False  # whether what was held last was no page
        self._part = b""  # of a packet that goes on on the next page
        self._skip = 0  # samples that the encoder put before the sound; the codec drops them
        self._given = 0  # samples of this stream so far

    def feed(self, data: bytes) -> Iterator[Sound]:
        self._held += data
        while page := self._page():
            samples = self._samples(page)
            if len(samples):
                yield samples, _OPUS_RATE

    def flush(self) -> Iterator[Sound]:
        self.errors += bool(self._held or self._part)
        yield from ()

    def _page(self) -> bytes:
        """Take the next page; empty where it is not complete."""
        held = self._held
        start = held.find(b"OggS")
        if start < 0:
            start = max(0, len(held) - 3)
        if start:
            del held[:start]
            self.errors += not self._lost
            self._lost = True
        body = 27 + held[26] if len(held) > 26 else 27
        end = body + sum(held[27:body])
        if len(held) < body or len(held) < end:
            return b""
        self._lost = False
        page = bytes(held[:end])
        del held[:end]
        return page

    def _samples(self, page: bytes) -> NDArray[np.int16]:
        flags, end_at = page[5], int.from_bytes(page[6:14], "little", signed=True)
        if not flags & _CONTINUED:
            self._part = b""
        sounds = [each for packet in self._packets(page) for each in self._decode(packet)]
        samples = np.concatenate(sounds) if sounds else np.empty(0, np.int16)
        self._given += len(samples)
        # Packets are of fixed length: the last page tells where within them the sound ends.
        over = self._given + self._skip - end_at if flags & _LAST else 0
        return samples[: len(samples) - over] if 0 < over <= len(samples) else samples

    def _packets(self, page: bytes) -> Iterator[bytes]:
        orphan = bool(page[5] & _CONTINUED) and not self._part  # its beginning was on a page that is missing
        at = 27 + page[26]
        for size in page[27:at]:
            self._part += page[at : at + size]
            at += size
            if size < 255:
                packet, self._part = self._part, b""
                if not orphan:
                    yield packet
                orphan = False

    def _decode(self, packet: bytes) -> list[NDArray[np.int16]]:
        if packet.startswith(b"OpusHead"):
            self._codec = self._av.CodecContext.create("opus", "r")
            self._codec.extradata = packet
            self._skip, self._given = int.from_bytes(packet[10:12], "little"), 0
            return []
        if self._codec is None or not packet or packet.startswith(b"OpusTags"):
            return []
        try:
            return [_mono(frame)[0] for frame in self._codec.decode(self._av.Packet(packet))]
        except self._av.error.FFmpegError:
            self.errors += 1
            return []
