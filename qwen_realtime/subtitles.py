"""Subtitles as they are spoken: SRT and WebVTT files that are whole after every cue, in one language or two."""

from __future__ import annotations

import os
import textwrap
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import ConfigError
from .events import (
    ConversationItemCreated,
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
    ResponseAudioTranscriptDone,
    ResponseDone,
    ResponseTextDone,
)
from .protocol import Family

if TYPE_CHECKING:
    from .client import RealtimeClient

__all__ = ["SubtitleWriter"]

# What broadcasters advise: two lines of 42 characters at once.
LINE = 42
LINES = 2


@dataclass
class _Utterance:
    start_ms: int
    end_ms: int | None = None
    source: str | None = None  # None until transcribed
    translation: str | None = None  # None until translated


class SubtitleWriter:
    """Writes a subtitle file cue by cue; what has been written survives a crash.

    Args:
        path: created or emptied; ``.vtt`` makes WebVTT, anything else SRT, unless ``format`` says so.
        format: ``"srt"`` or ``"vtt"``.

    Attributes:
        cues: how many cues have been written.
    """

    def __init__(self, path: str | os.PathLike[str], *, format: Literal["srt", "vtt"] | None = None) -> None:
        if format not in (None, "srt", "vtt"):
            raise ConfigError(f"subtitles are 'srt' or 'vtt', not {format!r}")
        self.cues = 0
        self._vtt = format == "vtt" or (format is None and os.fspath(path).lower().endswith(".vtt"))
        self._lock = threading.Lock()  # guards the file, for one cue
        self._file = open(path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 - closed by close()
        self._utterances: OrderedDict[str, _Utterance] = OrderedDict()  # not written yet, by item
        self._answers: dict[str, str] = {}  # the utterance that a translation's item belongs to
        self._bilingual = False
        if self._vtt:
            self._file.write("WEBVTT\n\n")
            self._file.flush()

    def __enter__(self) -> SubtitleWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def cue(self, start_ms: float, end_ms: float, text: str, translation: str = "") -> None:
        """Write one cue, or several where the text is long; from any thread.

        Args:
            start_ms: from the beginning of the audio.
            end_ms: likewise.
            text: what was said.
            translation: stands below it.
        """
        upper, lower = _pages(text), _pages(translation)
        if upper and lower:  # both languages at once: as many cues as the longer one needs
            count = max(len(upper), len(lower))
            pages = [
                "\n".join(part for part in (_page(upper, number), _page(lower, number)) if part)
                for number in range(count)
            ]
        else:
            pages = upper or lower
        total = sum(map(len, pages)) or 1
        at = start_ms
        with self._lock:
            for page in pages:
                until = at + (end_ms - start_ms) * len(page) / total
                self.cues += 1
                self._file.write(f"{self._number()}{self._time(at)} --> {self._time(until)}\n{page}\n\n")
                at = until
            self._file.flush()

    def close(self) -> None:
        """Write what is known of utterances that were not completed, and close the file; idempotent."""
        for item in list(self._utterances):
            self._write(item)
        with self._lock:
            self._file.close()

    def _number(self) -> str:
        return "" if self._vtt else f"{self.cues}\n"

    def _time(self, ms: float) -> str:
        seconds, milliseconds = divmod(round(ms), 1000)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{clock}{'.' if self._vtt else ','}{milliseconds:03d}"

    # From a client's events, on its dispatching thread.

    def attach(self, client: RealtimeClient) -> SubtitleWriter:
        """Write what a client hears: one language for ASR, source and translation for LiveTranslate.

        Raises:
            ConfigError: a client that neither transcribes nor translates.
        """
        if client.family not in (Family.ASR, Family.LIVE_TRANSLATE):
            raise ConfigError(f"{type(client).__name__} makes no subtitles: use ASRClient or LiveTranslateClient")
        self._bilingual = client.family is Family.LIVE_TRANSLATE
        client.on(InputAudioBufferSpeechStarted, self._on_started)
        client.on(InputAudioBufferSpeechStopped, self._on_stopped)
        client.on(ConversationItemInputAudioTranscriptionCompleted, self._on_completed)
        client.on(ConversationItemInputAudioTranscriptionFailed, self._on_failed)
        if self._bilingual:
            client.on(ConversationItemCreated, self._on_item)
            client.on(ResponseTextDone, lambda event: self._on_translated(event.item_id or "", event.text))
            client.on(
                ResponseAudioTranscriptDone, lambda event: self._on_translated(event.item_id or "", event.transcript)
            )
            client.on(ResponseDone, self._on_response_done)
        return self

    def _on_started(self, event: InputAudioBufferSpeechStarted) -> None:
        self._utterances[event.item_id or ""] = _Utterance(event.audio_start_ms)

    def _on_stopped(self, event: InputAudioBufferSpeechStopped) -> None:
        utterance = self._utterances.get(event.item_id or "")
        if utterance is not None:
            utterance.end_ms = event.audio_end_ms

    def _on_completed(self, event: ConversationItemInputAudioTranscriptionCompleted) -> None:
        self._on_heard(event.item_id or "", event.transcript)

    def _on_failed(self, event: ConversationItemInputAudioTranscriptionFailed) -> None:
        self._on_heard(event.item_id or "", "")

    def _on_heard(self, item: str, text: str) -> None:
        utterance = self._utterances.get(item)
        if utterance is not None:
            utterance.source = text
            if not self._bilingual or utterance.translation is not None:
                self._write(item)

    def _on_item(self, event: ConversationItemCreated) -> None:
        if event.item.role == "assistant" and event.previous_item_id:
            self._answers[event.item.id or ""] = event.previous_item_id

    def _on_translated(self, item: str, text: str) -> None:
        source = self._answers.pop(item, None) or next(
            (each for each, utterance in self._utterances.items() if utterance.translation is None), ""
        )
        utterance = self._utterances.get(source)
        if utterance is not None:
            utterance.translation = text.strip()
            if utterance.source is not None:
                self._write(source)

    def _on_response_done(self, event: ResponseDone) -> None:  # noqa: ARG002 - a handler
        """Write what is complete although its source is not transcribed."""
        for item, utterance in list(self._utterances.items()):
            if utterance.translation is not None and utterance.end_ms is not None:
                self._write(item)

    def _write(self, item: str) -> None:
        utterance = self._utterances.pop(item)
        source, translation = utterance.source or "", utterance.translation or ""
        if source or translation:
            end_ms = utterance.end_ms if utterance.end_ms is not None else utterance.start_ms + 1000
            self.cue(utterance.start_ms, end_ms, source, translation)


def _pages(text: str) -> list[str]:
    """A text in pages of two short lines."""
    # a line of Chinese or Japanese holds half as many characters, and is broken anywhere
    wide = sum(character >= "\u2e80" for character in text) * 2 > len(text)
    lines = textwrap.wrap(" ".join(text.split()), LINE // 2 if wide else LINE)
    return ["\n".join(lines[start : start + LINES]) for start in range(0, len(lines), LINES)]


def _page(pages: list[str], number: int) -> str:
    return pages[number] if number < len(pages) else ""
