"""``demo``: the four families, one after the other, on real or synthesised speech."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ..errors import ConfigError
from ..events import (
    ConversationItemInputAudioTranscriptionCompleted,
    ResponseAudioDelta,
    ResponseAudioTranscriptDelta,
    ResponseDone,
)
from ..families import OmniClient, TTSClient
from ..helpers import synthesize, transcribe, translate
from ..results import Speech
from .options import Target, connecting
from .output import Screen, caption, counted

__all__ = ["demo"]

TEXT = "Good morning. This is a voice from ordinary, synchronous Python. The words arrive a little at a time."
QUESTION = "What is seven plus five?"
GREETING = "Good morning. Where is the station?"


@click.command(short_help="All four families, one after the other.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Keep the sound as WAV files in a folder.")
@click.option(
    "--recording", type=click.Path(exists=True, path_type=Path), help="English speech, in place of the demo's."
)
@connecting(one_model=False)
def demo(target: Target, output: Path | None, recording: Path | None) -> int:
    """Speak, listen, converse and interpret, and check what comes out.

    Without a key it runs as with --local. Where Debian's pocketsphinx-testdata is installed, it listens to a human
    voice, otherwise to a synthesised one.
    """
    screen = target.screen
    if not target.local and not target.has_key and "url" not in target.options:
        screen.info("(no key: the local server answers)")
        target = Target(screen, True, target.options)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with target.service("listening", "translation", "speech") as where:
        show = _Show(screen, where, output, recording)
        results = [show.step(*step) for step in show.steps]
    seconds = time.monotonic() - began
    files = f"; the sound is in {output}{os.sep}" if output else ""
    screen.result(
        Text(f"\n{sum(results)} of {len(results)} came out right in {seconds:.1f} s{files}"),
        type="demo",
        right=sum(results),
        of=len(results),
        seconds=round(seconds, 1),
    )
    return 0 if all(results) else 1


class _Show:
    def __init__(self, screen: Screen, where: dict[str, Any], output: Path | None, recording: Path | None) -> None:
        self._screen = screen
        self._where = where
        self._output = output
        self._recording = recording or human_recording()
        self.steps: tuple[tuple[str, str, Callable[[], tuple[bool, str]]], ...] = (
            ("tts", "Text becomes speech", self._speak),
            ("asr", "Speech becomes text", self._listen),
            ("omni", "A spoken question gets a spoken answer", self._converse),
            ("livetranslate", "Speech becomes speech in another language", self._interpret),
        )

    def step(self, name: str, title: str, run: Callable[[], tuple[bool, str]]) -> bool:
        """Run one step; whether it came out right."""
        if not self._screen.as_json:
            self._screen.result(Text(f"\n{title}", style="bold"))
        began = time.monotonic()
        with self._screen.live():
            right, told = run()
        seconds = time.monotonic() - began
        mark = Text("  ✓ " if right else "  ✗ ", style="green" if right else "red")
        line = mark.append(told, style="default").append(f"  {seconds:.1f} s", style="dim")
        self._screen.result(line, type="step", name=name, right=right, result=told, seconds=round(seconds, 2))
        return right

    def _line(self, label: str, text: str) -> None:
        if not self._screen.as_json:
            self._screen.said(f"  {label:<6}", text)

    def _kept(self, speech: Speech, name: str) -> str:
        if self._output is None:
            return f"{speech.duration_ms / 1000:.1f} s of speech"
        speech.save(self._output / name)
        return f"{speech.duration_ms / 1000:.1f} s of speech → {self._output / name}"

    def _speak(self) -> tuple[bool, str]:
        self._line("text", TEXT)
        speech = synthesize(TEXT, voice="Ethan", **self._where)
        return speech.duration_ms > 3000, self._kept(speech, "speech.wav")

    def _listen(self) -> tuple[bool, str]:
        recording, said = self._recording, ""
        if recording is None:
            source: Any = synthesize(TEXT, voice="Ethan", **self._where)
            said = TEXT
            self._line("source", "a synthesised voice")
        else:
            path, said = recording if isinstance(recording, tuple) else (recording, "")
            source = path
            self._line("source", f"a human voice, {path.name}" if said else path.name)

        def grow(text: str) -> None:
            self._screen.draft(caption("", text, "  heard "))

        transcript = transcribe(source, language="en", on_partial=grow, **self._where)
        self._screen.draft(None)
        if said:
            self._line("said", said)
        self._line("heard", transcript.text)
        if not said:
            return bool(transcript.text), counted(len(transcript.utterances), "utterance")
        errors = word_error_rate(said, transcript.text)
        return errors < 0.5, f"{errors:.0%} of the words wrong"

    def _converse(self) -> tuple[bool, str]:
        with TTSClient(voice="Ethan", mode="commit", **self._where) as voice:
            question = voice.say(QUESTION)
        answer: list[bytes] = []
        words: list[str] = []

        def grow(event: ResponseAudioTranscriptDelta) -> None:
            words.append(event.delta)
            self._screen.draft(caption("", "".join(words), "  answer"))

        client = OmniClient(**self._where)
        client.on(ConversationItemInputAudioTranscriptionCompleted, lambda event: self._line("asked", event.transcript))
        client.on(ResponseAudioTranscriptDelta, grow)
        client.on(ResponseAudioDelta, lambda event: answer.append(event.delta))
        with client, client.expect(ResponseDone, timeout=60):
            client.stream(question)
        self._screen.draft(None)
        text = "".join(words)
        self._line("answer", text)
        speech = Speech(b"".join(answer), client.output_rate)
        right = ("twelve" in text.lower() or "12" in text) and speech.duration_ms > 300
        return right, self._kept(speech, "answer.wav")

    def _interpret(self) -> tuple[bool, str]:
        source = synthesize(GREETING, voice="Ethan", **self._where)
        result = translate(source, to="es", **self._where)
        for segment in result.segments:
            self._line("en", segment.source or GREETING)
            self._line("es", segment.text)
        return bool(result.text) and result.speech.duration_ms > 500, self._kept(result.speech, "translation.wav")


def human_recording() -> tuple[Path, str] | None:
    """A recording of a human voice with its words, where Debian's pocketsphinx-testdata is installed."""
    if shutil.which("dpkg") is None:
        return None
    command = ["dpkg", "-L", "pocketsphinx-testdata"]  # the system's own, found on its path
    listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    files = [Path(line) for line in listed.stdout.splitlines()]
    for transcription in (path for path in files if path.name == "transcription" and path.parent.name == "librivox"):
        for line in transcription.read_text(encoding="utf-8").splitlines():
            text, _, name = line.strip().rstrip(")").rpartition("(")
            wav = transcription.with_name(f"{name}.wav")
            if wav in files and "made amiable himself" in text:
                return wav, text.replace("<s>", "").replace("</s>", "").strip()
    return None


def word_error_rate(said: str, heard: str) -> float:
    """Words inserted, left out or replaced, per word said."""
    reference, hypothesis = (re.findall(r"[a-z']+", text.lower()) for text in (said, heard))
    if not reference:
        raise ConfigError("there are no words to compare with")
    row = list(range(len(hypothesis) + 1))
    for number, word in enumerate(reference, 1):
        above, row[0] = row[:], number
        for column, other in enumerate(hypothesis, 1):
            row[column] = min(above[column] + 1, row[column - 1] + 1, above[column - 1] + (word != other))
    return row[-1] / len(reference)
