"""``say``: text from an argument, a file or a pipe becomes speech, as it arrives."""

from __future__ import annotations

import codecs
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.text import Text

from ..errors import ConfigError
from ..events import ResponseAudioDelta
from ..families import TTSClient
from ..hints import server_error
from ..protocol import Family
from ..results import format_of
from .hearing import speakers
from .options import Target, connecting, voice_option
from .output import Screen, counted, known_ending

__all__ = ["say"]

# A long text is sent in parts of about so many characters, cut between sentences.
PART = 400
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？\n]*\s*|[.!?。！？\n]+\s*")


@click.command(short_help="Text becomes speech.")
@click.argument("text", nargs=-1)
@click.option("--file", "-f", "file", type=click.Path(path_type=Path), help="Speak a text file.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write a WAV file, or .mp3, .opus; - for stdout.")
@click.option("--play/--no-play", default=None, help="Use the sound card. [default: unless there is -o]")
@click.option("--device", help="Output device: its number or part of its name; see devices.")
@voice_option(Family.TTS)
@connecting(Family.TTS)
def say(
    target: Target,
    text: tuple[str, ...],
    file: Path | None,
    output: Path | None,
    play: bool | None,
    device: str | None,
    voice: str | None,
) -> None:
    """Speak TEXT, a file, or what comes through a pipe, as it comes.

    \b
    qwen-realtime say "Good morning." -o morning.wav
    some-language-model | qwen-realtime say
    """  # noqa: D301 - click's mark for lines that stay as they are is the character, not the letters
    known_ending(output, ".wav", ".mp3", ".opus", ".ogg")
    pieces = _pieces(text, file)
    if output is None and play is False:
        raise click.UsageError("nothing to do: --no-play goes with -o FILE")
    to_play = play if play is not None else output is None
    options = {"voice": voice, "response_format": format_of(output)}
    with target.service("speech") as where, ExitStack() as stack:
        client = TTSClient(**{**where, **{name: value for name, value in options.items() if value}})
        player = stack.enter_context(speakers(device)) if to_play else None
        voiceover = _Voiceover(target.screen, client, player)
        playing = player.attach(client) if player is not None else None
        client.on(ResponseAudioDelta, voiceover.heard)
        with target.screen.live(voiceover):
            with client:
                voiceover.begin(output)
                stack.callback(voiceover.close)
                for piece in pieces:
                    voiceover.check()
                    voiceover.sent(piece)
                    client.append_text(piece)
                if client.session.get("mode") == "commit":
                    client.commit()
            voiceover.check()
            if client.errors:
                raise server_error(client.errors[0])
            if not voiceover.sound_bytes:
                raise ConfigError("there was nothing to speak", hint="give it words")
            if player is not None and playing is not None:
                player.drain()
                playing.note_underruns()
        voiceover.close()
        voiceover.summary(output)


class _Voiceover:
    """Counts and writes what is spoken; ``heard`` runs on the dispatching thread, everything else on the main one."""

    def __init__(self, screen: Screen, client: TTSClient, player: Any) -> None:
        self.sound_bytes = 0
        self._screen = screen
        self._client = client
        self._player = player  # the sound card, or None
        self._write: Callable[[bytes], Any] = lambda _: None
        self._close: Callable[[], Any] = lambda: None
        self._characters = 0
        self._asked: float | None = None
        self._first_ms: float | None = None
        self._failure: OSError | None = None

    def begin(self, output: Path | None) -> None:
        """Open the file, once the session has told what kind of sound it speaks."""
        if output is None:
            return
        rate = self._client.output_rate
        if str(output) == "-":
            stream = sys.stdout.buffer
            if self.is_pcm:
                stream.write(_endless_header(rate))
            self._write, self._close = _flushing(stream), stream.flush
        elif self.is_pcm:
            from ..audio import WavWriter

            writer = WavWriter(output, rate)
            self._write, self._close = writer.write, writer.close
        else:
            file = open(output, "wb")  # noqa: SIM115 - closed by close()
            self._write, self._close = file.write, file.close

    @property
    def is_pcm(self) -> bool:
        """Whether the session speaks PCM, and not a format with a header of its own."""
        return str(self._client.session.get("response_format") or "pcm").startswith("pcm")

    @property
    def seconds(self) -> float:
        """How much was spoken, as far as bytes tell."""
        return self.sound_bytes / 2 / self._client.output_rate if self.is_pcm else 0.0

    def check(self) -> None:
        """Raise what writing the file has come to."""
        if self._failure is not None:
            raise self._failure

    def sent(self, piece: str) -> None:
        self._characters += len(piece)
        if self._asked is None:
            self._asked = time.monotonic()

    def heard(self, event: ResponseAudioDelta) -> None:
        if self._first_ms is None and self._asked is not None:
            self._first_ms = (time.monotonic() - self._asked) * 1000
        self.sound_bytes += len(event.delta)
        try:
            self._write(event.delta)
        except OSError as error:  # a full disk, a pipe that nobody reads: for the main thread to tell
            self._failure, self._write = error, lambda _: None

    def __rich__(self) -> Text:
        """The line that changes while it speaks: how much was heard, where it is played, and how much there is."""
        if self._player is not None:
            return Text(f"♪ {self._player.played_ms / 1000:5.1f} of {self.seconds:.1f} s", style="cyan")
        return Text(f"♪ {self.seconds:5.1f} s", style="cyan")

    def close(self) -> None:
        """Close the file; again is allowed."""
        close, self._close = self._close, lambda: None
        self._write = lambda _: None
        close()

    def summary(self, output: Path | None) -> None:
        underruns = self._player.underruns if self._player is not None else None
        if self._screen.as_json:
            self._screen.result(
                type="speech",
                seconds=round(self.seconds, 3),
                sample_rate=self._client.output_rate,
                characters=self._characters,
                first_audio_ms=round(self._first_ms or 0.0, 1),
                file=str(output) if output else None,
                underruns=underruns,
            )
            return
        parts = [f"{self.seconds:.2f} s of speech" if self.is_pcm else f"{self.sound_bytes} bytes of speech"]
        parts.append(f"first sound after {self._first_ms or 0:.0f} ms")
        if underruns:
            parts.append(counted(underruns, "underrun"))
        self._screen.info(", ".join(parts) + (f" → {output}" if output and str(output) != "-" else ""))


def _flushing(stream: BinaryIO) -> Callable[[bytes], Any]:
    def write(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    return write


def _endless_header(rate: int) -> bytes:
    """A WAV header for a stream whose length nobody knows yet."""
    from ..audio import wav_bytes

    header = wav_bytes(b"", rate)
    return header[:4] + b"\xff\xff\xff\xff" + header[8:40] + b"\xff\xff\xff\xff"


# Where the text comes from.


def _pieces(text: tuple[str, ...], file: Path | None) -> Iterator[str]:
    if text and text != ("-",):
        if file is not None:
            raise click.UsageError("TEXT or --file, not both")
        return _parts(" ".join(text))
    if file is not None:
        return _parts(_read(file))
    if sys.stdin.isatty() and text != ("-",):
        raise click.UsageError('no text: say "Good morning.", --file FILE, or pipe text in')
    return _arriving()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {why}", hint="check the path") from error


def _parts(text: str) -> Iterator[str]:
    """A text in parts that a session takes, cut between sentences where there are any."""
    part = ""
    for sentence in _SENTENCE.findall(text):
        if part and len(part) + len(sentence) > PART:
            yield part
            part = ""
        part += sentence
    if part:
        yield part


def _arriving() -> Iterator[str]:
    """Text from stdin as it arrives, not as it fills lines or buffers; blocks on the pipe."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    descriptor = sys.stdin.fileno()
    while data := os.read(descriptor, 65536):
        yield from _parts(decoder.decode(data))
    yield from _parts(decoder.decode(b"", final=True))
