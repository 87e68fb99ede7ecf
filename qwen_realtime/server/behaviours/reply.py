"""One spoken or written answer of Omni: its text in small increments, its sound beside it, its end in every case."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from ... import events as ev
from ..responses import ResponseWriter
from .host import Host
from .speaker import Speaker, VoiceSettings, streaming_wav_header

__all__ = ["SpokenReply"]

# Words, or a few characters of a script that has no blanks.
_WIDE = "\u2e80-\u9fff\uac00-\ud7af\u3000-\u303f\uff00-\uffef"
_PIECE = re.compile(rf"\s*(?:[{_WIDE}]{{1,4}}|[^\s{_WIDE}]+)")
_LETTERS_PER_S = 15.0
# A text-only answer has no sound to pace it; with a pace, this is how long a word takes.
_WORD_S = 0.05


class SpokenReply:
    """One answer, from ``response.created`` to the last event but ``response.done``.

    Args:
        host: the session.
        writer: makes the events.
        text: what to say.
        how: how to say it.
        wav: whether the sound begins with a WAV header.
        on_end: told the status and how many seconds of sound left.
    """

    def __init__(
        self,
        host: Host,
        writer: ResponseWriter,
        text: str,
        *,
        how: VoiceSettings,
        wav: bool,
        on_end: Callable[[str, float], None],
    ) -> None:
        self._host = host
        self._writer = writer
        self._text = text.strip()
        self._pieces = _PIECE.findall(self._text)
        self._how = how
        self._header = streaming_wav_header(how.sample_rate) if wav else b""
        self._on_end = on_end
        self._speaker = Speaker(host, self._sound)
        self._letters_due = 0.0
        self._letters_out = 0
        self._seconds = 0.0
        self._status = "completed"

    def start(self, previous_item_id: str | ev.UnsetType) -> None:
        """Open the response and begin to speak."""
        self._host.emit(self._writer.created())
        for event in self._writer.open_message(previous_item_id):
            self._host.emit(event)
        if self._writer.speaks:
            self._write_until(_LETTERS_PER_S / 3)  # the text runs a little ahead of the sound
            self._speaker.say(self._text, self._how, self._spoken)
        else:
            for piece in self._pieces:
                self._host.lane.put(self._writer.write(piece), seconds=_WORD_S)
            self._host.lane.then(self._complete)

    def limit(self, pieces: int) -> None:
        """Keep the first pieces only; before :meth:`start`."""
        if len(self._pieces) > pieces:
            self._pieces = self._pieces[:pieces]
            self._text = "".join(self._pieces)
            self._status = "incomplete"

    def stop(self) -> None:
        """Break off: no more sound, and the closing events at once."""
        self._speaker.stop()
        self._host.lane.clear()
        self._status = "incomplete"
        self._complete()

    def drop(self) -> None:
        """Break off without a word; the connection is gone."""
        self._speaker.stop()

    def _write_until(self, letters: float) -> None:
        self._letters_due = letters
        while self._pieces and self._letters_out < self._letters_due:
            piece = self._pieces.pop(0)
            self._letters_out += sum(4 if ord(letter) > 0x2E7F else 1 for letter in piece)
            self._host.lane.then(partial(self._write, piece))

    def _write(self, piece: str) -> None:
        self._host.emit(self._writer.write(piece))

    def _sound(self, pcm: bytes, seconds: float) -> None:
        self._host.lane.put(self._writer.audio(self._header + pcm), seconds=seconds)
        self._host.lane.then(lambda: self._count(seconds))
        self._header = b""
        self._write_until(self._letters_due + seconds * _LETTERS_PER_S)

    def _count(self, seconds: float) -> None:
        self._seconds += seconds

    def _spoken(self, error: str | None) -> None:
        self._write_until(float("inf"))
        if error:
            self._status = "failed"
            detail = ev.ErrorDetail(type="server_error", code="InternalError", message=f"Local engine: {error}")
            self._host.emit(ev.Error(error=detail))
        self._host.lane.then(self._complete)

    def _complete(self) -> None:
        for event in (*self._writer.end_content(), *self._writer.end_message(self._status)):
            self._host.emit(event)
        self._on_end(self._status, self._seconds)
