"""Speech for these tests: recordings of people, and a scripted voice whose samples say which sentence they are of."""

from __future__ import annotations

import array
import re
import threading
import wave
from pathlib import Path

from ..data import base64_of
from ..peer import CLOSE, PING, PONG, TEXT, Link, created, frame

__all__ = [
    "SAMPLES_A_SENTENCE",
    "coded_sentences",
    "coded_voice",
    "human_speech",
    "sentence",
    "spoken_sentences",
]

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
RATE = 16000
SAMPLES_A_SENTENCE = 1200
_DELTAS_A_SENTENCE = 5
_DELTA_S = 0.0004


def human_speech(seconds: float, pause_s: float) -> bytes:
    """Recordings of Debian's pocketsphinx-testdata with pauses after each, as int16 mono at 16 kHz, cut to a length."""
    files = sorted(LIBRIVOX.glob("*.wav"))
    assert files, "the Debian package pocketsphinx-testdata is not installed"
    pcm = b""
    while len(pcm) < seconds * RATE * 2:
        for path in files:
            with wave.open(str(path)) as recording:
                pcm += recording.readframes(recording.getnframes()) + bytes(int(RATE * pause_s) * 2)
    return pcm[: int(seconds * RATE) * 2]


def sentence(number: int) -> str:
    """A sentence that the coded voice speaks."""
    return f"Sentence {number}. "


def coded_sentences(numbers: range) -> bytes:
    """The sound of the coded voice for some sentences: each sample of a sentence is the sentence's number."""
    return b"".join(array.array("h", [number] * SAMPLES_A_SENTENCE).tobytes() for number in numbers)


def spoken_sentences(pcm: bytes) -> list[tuple[int, int]]:
    """What is in such a sound: runs of (sentence, samples)."""
    runs: list[tuple[int, int]] = []
    for sample in array.array("h", pcm):
        if runs and runs[-1][0] == sample:
            runs[-1] = (sample, runs[-1][1] + 1)
        else:
            runs.append((sample, 1))
    return runs


def coded_voice(link: Link) -> None:
    """A TTS server: one response until the client commits or finishes, as the service's recording shows."""
    link.accept()
    link.send(created())
    voice = _Voice(link)
    while True:
        received = link.receive()
        if received.opcode == CLOSE:
            link.close()
            return
        if received.opcode == PING:
            link.raw(frame(received.payload, PONG))
        elif received.opcode == TEXT:
            voice.take(received.message)


class _Voice:
    _made = 0
    _counting = threading.Lock()

    def __init__(self, link: Link) -> None:
        self._link = link
        self._response = ""
        self._buffer = ""
        self._commits_itself = True

    def take(self, message: dict[str, object]) -> None:
        kind = message["type"]
        if kind == "session.update":
            session = dict(message["session"])  # type: ignore[call-overload]
            self._commits_itself = session.get("mode") != "commit"
            self._link.send("session.updated", session={**created()["session"], **session})
        elif kind == "input_text_buffer.append":
            self._buffer += str(message["text"])
            if self._commits_itself:
                self._speak()
        elif kind == "input_text_buffer.commit":
            self._link.send("input_text_buffer.committed", item_id="")
            self._speak()
            self._end()
        elif kind == "session.finish":
            self._speak()
            self._end()
            self._link.send("session.finished")

    def _speak(self) -> None:
        text, self._buffer = self._buffer, ""
        for number in map(int, re.findall(r"\d+", text)):
            if not self._response:
                with self._counting:
                    _Voice._made += 1
                    self._response = f"resp_{_Voice._made}"
                self._link.send("response.created", response={"id": self._response, "status": "in_progress"})
            sound = coded_sentences(range(number, number + 1))
            size = len(sound) // _DELTAS_A_SENTENCE + 1  # not a whole number of samples
            for start in range(0, len(sound), size):
                delta = base64_of(sound[start : start + size])
                self._link.send("response.audio.delta", response_id=self._response, delta=delta)
                self._link.stop.wait(_DELTA_S)

    def _end(self) -> None:
        if self._response:
            self._link.send("response.done", response={"id": self._response, "status": "completed"})
        self._response = ""
