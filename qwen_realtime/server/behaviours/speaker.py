"""From text to audio deltas: one text at a time, cut into even pieces, stoppable at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...audio.wav import wav_bytes
from .host import Host, SpeechJob

__all__ = ["DELTA_MS", "Speaker", "VoiceSettings", "streaming_wav_header"]

# The service sends 300 ms per delta at 16 kHz and 325 ms at 24 kHz; shorter ones let an interruption cut closer.
DELTA_MS = 200


@dataclass(frozen=True)
class VoiceSettings:
    """How to speak: the settings of TTS, and the defaults of the others."""

    voice: str = ""
    language: str = "auto"
    sample_rate: int = 24000
    rate: float = 1.0
    pitch: float = 1.0
    volume: int = 50


class Speaker:
    """Speaks one text after another.

    Args:
        host: the session.
        on_sound: takes each delta (s16le mono) and how many seconds it lasts.
    """

    def __init__(self, host: Host, on_sound: Callable[[bytes, float], None]) -> None:
        self._host = host
        self._on_sound = on_sound
        self._on_end: Callable[[str | None], None] | None = None
        self._job: SpeechJob | None = None
        self._turn = 0  # results that carry an older number are of a text that was stopped
        self._waiting = bytearray()
        self._sample_rate = 24000

    def say(self, text: str, how: VoiceSettings, on_end: Callable[[str | None], None]) -> None:
        """Speak a text; ``on_end`` is told ``None`` after the last delta, or why it failed."""
        self._turn += 1
        turn = self._turn
        self._on_end = on_end
        self._sample_rate = how.sample_rate
        post = self._host.post
        self._job = self._host.engines.synthesize(
            text,
            voice=how.voice,
            language=how.language,
            sample_rate=how.sample_rate,
            rate=how.rate,
            pitch=how.pitch,
            volume=how.volume,
            on_audio=lambda pcm: post(lambda: self._take(turn, pcm)),
            on_done=lambda error: post(lambda: self._end(turn, error)),
        )

    def stop(self) -> None:
        """Forget the text in progress."""
        self._turn += 1
        self._waiting.clear()
        self._on_end = None
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _take(self, turn: int, pcm: bytes) -> None:
        if turn != self._turn:
            return
        self._waiting += pcm
        size = self._sample_rate * DELTA_MS // 1000 * 2
        while len(self._waiting) >= size:
            self._deliver(bytes(self._waiting[:size]))
            del self._waiting[:size]

    def _deliver(self, pcm: bytes) -> None:
        self._on_sound(pcm, len(pcm) / 2 / self._sample_rate)

    def _end(self, turn: int, error: str | None) -> None:
        if turn != self._turn:
            return
        if self._waiting:
            self._deliver(bytes(self._waiting))
            self._waiting.clear()
        self._job = None
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(error)


def streaming_wav_header(sample_rate: int) -> bytes:
    """A WAV header whose lengths say "until the end", since nobody knows it yet."""
    header = bytearray(wav_bytes(b"", sample_rate))
    header[4:8] = header[-4:] = b"\xff\xff\xff\xff"
    return bytes(header)
