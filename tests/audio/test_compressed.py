"""Compressed sound: streams in pieces, files of all kinds, and what is broken or missing."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_realtime.audio.compressed import StreamDecoder, decode, read_audio
from qwen_realtime.audio.pcm import resample
from qwen_realtime.audio.wav import wav_bytes
from qwen_realtime.errors import AudioError, ConfigError
from qwen_realtime.server.behaviours.encoding import encoder
from tests.audio.sounds import tone

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MP3_DELAY = 1105  # samples that LAME and a decoder put before the sound
RATE = 24000


def sweep(sample_rate: int, seconds: float = 1.0) -> NDArray[np.int16]:
    """A tone that rises and swells: shifted by a sample it is another."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    swelling = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)
    samples: NDArray[np.int16] = np.rint(9000 * swelling * np.sin(2 * np.pi * (150 + 300 * time) * time)).astype(
        np.int16
    )
    return samples


@cache
def encoded(audio_format: str, sample_rate: int = RATE, seconds: float = 1.0) -> bytes:
    """That sound as the local server sends it."""
    made = encoder(audio_format, sample_rate, 64)
    return made.feed(sweep(sample_rate, seconds).tobytes()) + made.finish()


def in_pieces(decoder: StreamDecoder, data: bytes, cuts: list[int]) -> bytes:
    """What comes of a stream that is divided there."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return b"".join(decoder.feed(data[a:b]) for a, b in itertools.pairwise(edges)) + decoder.flush()


def likeness(pcm: bytes, samples: NDArray[np.int16], delay: int) -> float:
    """The correlation of a sound with what came out of it so many samples later."""
    out = np.frombuffer(pcm, np.int16)[delay:][: len(samples)]
    return float(np.corrcoef(out, samples[: len(out)])[0, 1])


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_mp3_is_the_sound_after_the_encoders_delay(rate: int) -> None:
    """At every rate of the settings, sample by sample."""
    pcm, sound = decode(encoded("mp3", rate), "mp3", rate), sweep(rate)
    assert likeness(pcm, sound, MP3_DELAY) > 0.999
    assert MP3_DELAY <= len(pcm) // 2 - len(sound) < MP3_DELAY + 1152


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_opus_is_the_sound_to_the_sample(rate: int) -> None:
    """Neither delayed nor longer, though it is 48 kHz inside and made of packets of 20 ms."""
    pcm, sound = decode(encoded("opus", rate, 0.987), "opus", rate), sweep(rate, 0.987)
    assert likeness(pcm, sound, 0) > 0.999
    assert 0 <= len(pcm) // 2 - len(sound) <= 1  # codecs have no 22050 and 44100 Hz


@pytest.mark.parametrize(("audio_format", "delay"), [("mp3", MP3_DELAY // 3), ("opus", 0)])
def test_another_rate_is_resampled(audio_format: str, delay: int) -> None:
    """A stream of 24 kHz as 8 kHz."""
    pcm = decode(encoded(audio_format), audio_format, 8000)
    assert likeness(pcm, resample(sweep(RATE), RATE, 8000), delay) > 0.99


@given(st.sampled_from(["mp3", "opus", "wav", "pcm"]), st.lists(st.integers(0, 1 << 20), max_size=40))
def test_the_division_of_a_stream_makes_no_difference(audio_format: str, cuts: list[int]) -> None:
    """Pieces of any size, empty ones too, give the same samples as the whole at once."""
    data = encoded(audio_format, RATE, 0.3)
    assert in_pieces(StreamDecoder(audio_format, 16000), data, cuts) == decode(data, audio_format, 16000)


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_byte_by_byte_and_early(audio_format: str) -> None:
    """The first sound comes long before the stream is over."""
    data, decoder = encoded(audio_format), StreamDecoder(audio_format, RATE)
    first = next(at for at in range(len(data)) if decoder.feed(data[at : at + 1]))
    assert first < len(data) / 10


def test_wav_and_pcm_are_streams_too() -> None:
    """A header is no sound and tells the rate; half a sample waits for its other half."""
    sound = sweep(RATE, 0.1)
    assert in_pieces(StreamDecoder("wav", RATE, 16000), wav_bytes(sound, RATE), [3, 20, 45]) == sound.tobytes()
    assert in_pieces(StreamDecoder("wav", RATE, RATE), sound.tobytes(), [1, 7]) == sound.tobytes()
    assert len(decode(sound.tobytes(), "pcm", 48000)) == 2 * len(sound.tobytes())


def test_one_opus_stream_after_another() -> None:
    """Each response may begin anew."""
    data, sound = encoded("opus"), sweep(RATE)
    pcm = decode(data * 2, "opus", RATE)
    assert len(pcm) == 4 * len(sound)
    assert likeness(pcm[len(pcm) // 2 :], sound, 0) > 0.999


def test_channels_are_mixed() -> None:
    """The mean of left and right."""
    pcm, sound = decode(file_of("mp3", "libmp3lame", channels=2), "mp3", RATE), sweep(RATE)
    out = np.frombuffer(pcm, np.int16).astype(float)
    best = max(range(2400), key=lambda at: float(np.dot(out[at:][: len(sound) // 2], sound[: len(sound) // 2])))
    assert likeness(pcm, sound, best) > 0.999
    assert np.abs(out).max() == pytest.approx(9000, rel=0.05)


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
def test_a_stream_that_is_cut_off_gives_what_it_had(audio_format: str) -> None:
    """Up to the last whole piece, without an error."""
    data, sound = encoded(audio_format), sweep(RATE)
    pcm = decode(data[: len(data) // 2], audio_format, RATE)
    assert len(sound) * 0.7 < len(pcm) < len(sound) * 1.3
    assert likeness(pcm, sound, MP3_DELAY if audio_format == "mp3" else 0) > 0.999


def test_a_missing_page_costs_its_own_sound_only() -> None:
    """A hole in the stream is counted, and what follows it is sound again."""
    data = encoded("opus")
    page = data.index(b"OggS", len(data) // 2)
    decoder = StreamDecoder("opus", RATE)
    pcm = decoder.feed(data[: page + 40] + b"nonsense" + data[page + 60 :]) + decoder.flush()
    assert decoder.errors
    assert len(pcm) > len(sweep(RATE)) * 2 * 0.9


@pytest.mark.parametrize("audio_format", ["mp3", "opus"])
@pytest.mark.parametrize("data", [b"x", b"OggS" + bytes(40), b"ID3", b"no sound at all " * 300], ids=len)
def test_what_is_no_sound_is_an_error(audio_format: str, data: bytes) -> None:
    """A typed one, at the end."""
    decoder = StreamDecoder(audio_format, RATE)
    assert decoder.feed(data) == b""
    with pytest.raises(AudioError, match=f"no {audio_format} sound in these {len(data)} bytes"):
        decoder.flush()


@given(st.sampled_from(["mp3", "opus"]), st.integers(0, 1 << 20), st.binary(max_size=300), st.integers(0, 300))
def test_damage_never_raises_and_never_hangs(audio_format: str, at: int, junk: bytes, missing: int) -> None:
    """Whatever is put in, and whatever is left out."""
    data = encoded(audio_format, RATE, 0.3)
    at %= len(data)
    decoder = StreamDecoder(audio_format, RATE)
    try:
        pcm = in_pieces(decoder, data[:at] + junk + data[at + missing :], [at])
    except AudioError:  # the head itself was hit
        return
    assert len(pcm) < 2 * RATE


def test_nothing_is_nothing() -> None:
    """A stream without data is no error."""
    assert decode(b"", "mp3", RATE) == decode(b"", "opus", RATE) == b""


@cache
def file_of(container: str, codec: str, channels: int = 1, title: bytes = b"") -> bytes:
    """A file that FFmpeg writes."""
    made = io.BytesIO()
    layout = "stereo" if channels == 2 else "mono"
    with av.open(made, "w", format=container) as file:
        if title:
            file.metadata["title"] = title.decode()
        stream: Any = file.add_stream(codec, rate=RATE)
        stream.layout = layout
        samples = np.repeat(sweep(RATE), channels)[None, :]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate, frame.pts = RATE, 0
        fitted = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=RATE)
        for each in fitted.resample(frame):
            file.mux(stream.encode(each))
        file.mux(stream.encode(None))
    return made.getvalue()


FILES = [
    ("mp3", "libmp3lame", 0),
    ("ogg", "libopus", 0),
    ("flac", "flac", 0),
    ("ipod", "aac", 0),
    ("adts", "aac", 1600),  # tells no delay
    ("webm", "libopus", 0),
    ("aiff", "pcm_s16be", 0),
    ("wav", "pcm_mulaw", 0),
]


@pytest.mark.parametrize(("container", "codec", "longer"), FILES)
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_nearly_every_kind_are_read(
    container: str, codec: str, longer: int, channels: int, tmp_path: Path
) -> None:
    """From a path and from bytes, at the rate that is wanted."""
    data, sound = file_of(container, codec, channels), sweep(RATE)
    (tmp_path / "sound").write_bytes(data)
    pcm = read_audio(tmp_path / "sound", RATE)
    assert pcm == read_audio(data, RATE)
    assert 0 <= len(pcm) // 2 - len(sound) <= max(longer, 1024)
    assert likeness(pcm, sound, 1024 if longer else 0) > 0.99
    assert len(read_audio(data, 8000)) == pytest.approx(len(pcm) / 3, abs=4)


def test_wav_is_read_as_ever() -> None:
    """By our own reader, whose errors stay."""
    sound = sweep(RATE)
    assert read_audio(wav_bytes(sound, RATE), RATE) == sound.tobytes()
    for source, word in ((b"no sound", "not a WAV"), (b"", "empty"), ("/nowhere.mp3", "cannot read")):
        with pytest.raises(ConfigError, match=word):
            read_audio(source, RATE)


def test_a_tag_in_another_encoding_is_no_matter() -> None:
    """Titles are bytes that nobody need read."""
    data = file_of("flac", "flac", title="Lied für Anna".encode())
    broken = data.replace("für".encode(), b"f\xfc\xfcr")
    assert broken != data
    assert len(read_audio(broken, RATE)) == 2 * len(sweep(RATE))


@pytest.mark.parametrize("data", [b"ID3" + bytes(500), b"OggS" + bytes(500), b"fLaC", b"\0\0\0\x20ftypM4A "], ids=repr)
def test_a_file_without_sound_is_refused(data: bytes) -> None:
    """With what it seems to be."""
    with pytest.raises(ConfigError, match=r"the data is an? .*, and no sound can be read from it"):
        read_audio(data, RATE)


def test_a_damaged_file_is_read_as_far_as_it_can_be(caplog: pytest.LogCaptureFixture) -> None:
    """And the log tells that something is missing."""
    data = file_of("flac", "flac")
    half = len(data) // 2
    pcm = read_audio(data[:half] + bytes(500) + data[half + 500 :], RATE)
    assert len(sweep(RATE)) < len(pcm) <= 2 * len(sweep(RATE))
    assert "damaged parts" in caplog.text


WITHOUT_AV = """
import sys
sys.modules["av"] = None
from qwen_realtime import AudioPlayer, Speech, TTSClient
from qwen_realtime.audio.compressed import StreamDecoder
from qwen_realtime.audio.fakes import MemoryOutput
from qwen_realtime.errors import AudioUnavailable, ConfigError
from qwen_realtime.server.validation import find_fault
from qwen_realtime.settings import profile_of
from qwen_realtime.sources import pcm_blocks
client = TTSClient(api_key="k", url="ws://127.0.0.1:9", response_format="opus")
player = AudioPlayer(output=MemoryOutput())
for use in (lambda: StreamDecoder("mp3", 24000), lambda: StreamDecoder("opus", 24000),
            lambda: Speech(b"ID3", 24000, format="mp3").pcm, lambda: player.attach(client)):
    try:
        use()
    except AudioUnavailable as error:
        assert isinstance(error, ImportError)
        print(error.hint)
player.close()
try:
    list(pcm_blocks(b"ID3" + bytes(100), 16000))
except ConfigError as error:
    print(error)
print(find_fault({"response_format": "mp3"}, profile_of("qwen3-tts-flash-realtime")).message)
assert StreamDecoder("pcm", 24000).feed(b"1234") == b"1234"
"""


def test_without_the_extra_every_use_says_what_to_type() -> None:
    """Decoding, playing, reading a file, and the local server; PCM needs nothing."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_AV], capture_output=True, text=True, timeout=60, check=True)
    *hints, file, server = done.stdout.splitlines()
    line = "pip install 'qwen-realtime[codecs]'"
    assert hints == [line] * 4
    assert file.startswith("the data is an MP3 file (")
    assert line in file
    assert "ffmpeg" in file
    assert server.startswith("Invalid value: 'mp3'. The local stand-in has no codecs")
    assert line in server


def test_nothing_is_imported_before_it_is_needed() -> None:
    """PyAV is large, and most sound is PCM."""
    program = "import sys, qwen_realtime.audio.compressed, qwen_realtime.server.validation; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_the_extremes_are_kept_in_bounds() -> None:
    """Full scale does not wrap round."""
    loud = np.clip(tone(300, 0.5, RATE, 40000), -32768, 32767).astype(np.int16)
    made = encoder("opus", RATE, 64)
    pcm = np.frombuffer(decode(made.feed(loud.tobytes()) + made.finish(), "opus", RATE), np.int16)
    assert np.abs(np.diff(pcm.astype(int))).max() < 12000
