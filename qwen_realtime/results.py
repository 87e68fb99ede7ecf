"""What the one-call helpers return."""

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Segment", "Speech", "Transcript", "Translation", "Utterance", "format_of", "join_sentences"]

_FORMATS = {".mp3": "mp3", ".opus": "opus", ".ogg": "opus"}


def format_of(path: str | os.PathLike[str] | None) -> str | None:
    """The ``response_format`` whose speech belongs into a file of that name; ``None`` for a WAV file."""
    return _FORMATS.get(os.path.splitext(os.fspath(path))[1].lower()) if path is not None else None


class Speech:
    """Synthesised speech.

    Attributes:
        audio: as it came, in ``format``.
        sample_rate: Hz.
        format: ``"pcm"``, ``"wav"``, ``"mp3"`` or ``"opus"``.
        text: what was to be said.
        usage: what the service counted, or ``None``.
    """

    def __init__(
        self,
        audio: bytes,
        sample_rate: int,
        *,
        format: str = "pcm",
        text: str = "",
        usage: Any = None,
    ) -> None:
        self.audio = audio
        self.sample_rate = sample_rate
        self.format = format
        self.text = text
        self.usage = usage

    def __repr__(self) -> str:
        length = f"{self.duration_ms / 1000:.2f} s" if self.format in ("pcm", "wav") else f"{len(self.audio)} bytes"
        return f"<Speech {length} {self.format} {self.sample_rate} Hz {self.text[:40]!r}>"

    @property
    def pcm(self) -> bytes:
        """Int16 mono PCM at ``sample_rate``; compressed speech is decoded at each access.

        Raises:
            AudioUnavailable: the speech is compressed, and the extra ``codecs`` is missing.
            AudioError: it is compressed, and cannot be decoded.
        """
        if self.format == "pcm":
            return self.audio[: len(self.audio) & ~1]
        if self.format == "wav":
            from .audio.wav import read_wav

            return read_wav(self.audio).pcm if self.audio else b""
        from .audio.compressed import decode

        return decode(self.audio, self.format, self.sample_rate)

    @property
    def duration_ms(self) -> float:
        """How long it lasts, in milliseconds."""
        return len(self.pcm) * 500 / self.sample_rate

    def wav(self) -> bytes:
        """The speech as the bytes of a WAV file."""
        from .audio.wav import wav_bytes

        return wav_bytes(self.pcm, self.sample_rate)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file: a WAV file from PCM and WAV, or where the path ends so, otherwise the audio as it came."""
        as_wav = self.format in ("pcm", "wav") or os.fspath(path).lower().endswith(".wav")
        data = self.wav() if as_wav else self.audio
        with open(path, "wb") as file:
            file.write(data)


class Utterance(NamedTuple):
    """One utterance of a transcript.

    Attributes:
        text: what was said; empty where it could not be recognised.
        start_ms: when it began, in milliseconds from the first sample; ``None`` in manual mode.
        end_ms: when it ended; ``None`` in manual mode.
        language: as the service detected it; may be empty.
        emotion: as the service heard it; may be empty.
        error: why it could not be recognised; usually empty.
    """

    text: str
    start_ms: int | None = None
    end_ms: int | None = None
    language: str = ""
    emotion: str = ""
    error: str = ""


class Transcript(NamedTuple):
    """A recognised recording.

    Attributes:
        utterances: in the order of speaking.
        duration_ms: of the recording.
    """

    utterances: tuple[Utterance, ...]
    duration_ms: float

    @property
    def text(self) -> str:
        """All that was said."""
        return join_sentences(utterance.text for utterance in self.utterances)


class Segment(NamedTuple):
    """One translated utterance: the source text, where it was transcribed, and the translation."""

    source: str
    text: str


class Translation(NamedTuple):
    """A translated recording.

    Attributes:
        segments: in the order of speaking.
        speech: the spoken translation; empty where only text was asked for.
        duration_ms: of the recording.
    """

    segments: tuple[Segment, ...]
    speech: Speech
    duration_ms: float

    @property
    def text(self) -> str:
        """The whole translation."""
        return join_sentences(segment.text for segment in self.segments)

    @property
    def source_text(self) -> str:
        """All that was said, where the source was transcribed."""
        return join_sentences(segment.source for segment in self.segments)


def join_sentences(sentences: Iterable[str]) -> str:
    """Join texts with a blank, except between scripts that have none."""
    joined = ""
    for sentence in (each.strip() for each in sentences):
        if joined and sentence and not (_blankless(joined[-1]) or _blankless(sentence[0])):
            joined += " "
        joined += sentence
    return joined


def _blankless(character: str) -> bool:
    """Whether a character belongs to a script written without blanks: CJK, kana and their punctuation."""
    return "\u2e80" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"
