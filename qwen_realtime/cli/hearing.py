"""What commands share that hear and are heard: recordings, the microphone, the loudspeaker, the keyboard."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..audio.system import hushed
from ..client import RealtimeClient, State
from ..errors import AudioError, AudioUnavailable, ConfigError
from .terminal import unechoed

__all__ = [
    "Keyboard",
    "describe_end",
    "device_of",
    "find_recordings",
    "keyboard_if_any",
    "microphone",
    "place_of",
    "speakers",
    "until_enter",
]

BLOCK_MS = 100

# What is taken out of a folder; all but WAV needs the extra ``codecs``, and is told so where that is missing.
_SOUND = {".wav", ".mp3", ".opus", ".ogg", ".oga", ".m4a", ".aac", ".flac", ".webm", ".aiff", ".aif", ".amr"}


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """The sound files named, and those in the folders named, at any depth, in order.

    Raises:
        ConfigError: a path that is not there, or a folder without sound files.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.suffix.lower() in _SOUND and each.is_file())
            if not inside:
                raise ConfigError(f"no sound files in {path}", hint=f"looked for {', '.join(sorted(_SOUND))}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ConfigError(f"there is no file {path}", hint="check the path")
    return found


def place_of(recording: Path, paths: Sequence[Path]) -> Path:
    """Where a recording is below the folder that was named, so that its results can be there below another one."""
    folders = [path for path in paths if path.is_dir() and recording.is_relative_to(path)]
    return recording.relative_to(folders[0]) if folders else Path(recording.name)


def device_of(name: str | None) -> int | str | None:
    """A device option as the audio package takes it: a number, or part of a name."""
    return int(name) if name and name.isdecimal() else name


def _hint(error: AudioError, device: str | None, instead: str) -> None:
    """Say how to go on without: beside how to install or find what is missing, and in place of hints to programmers."""
    if isinstance(error, AudioUnavailable):
        error.hint = f"{error.hint}, {instead}"
    elif device is not None:
        error.hint = f"qwen-realtime devices lists what there is, {instead}"
    else:
        error.hint = instead.removeprefix("or ")


@contextmanager
def microphone(sample_rate: int, device: str | None, *, instead: str = "or give it files") -> Iterator[Any]:
    """Open a microphone.

    Args:
        sample_rate: Hz.
        device: number or part of a name; ``None`` for the default.
        instead: how to go on without, for the error.

    Raises:
        AudioError: there is none.
    """
    from ..audio import Microphone

    opened = Microphone(sample_rate, device=device_of(device), block_ms=BLOCK_MS)
    try:
        opened.start()
    except AudioError as error:
        opened.close()
        _hint(error, device, instead)
        raise
    with opened, hushed():  # what is lost is counted; ALSA need not shout it between the lines
        yield opened


@contextmanager
def speakers(device: str | None, *, instead: str = "or write a file: -o speech.wav") -> Iterator[Any]:
    """Open a player. What waits at the block's end is discarded: ``drain`` is for those who want to hear it.

    Args:
        device: number or part of a name; ``None`` for the default.
        instead: how to go on without, for the error.

    Raises:
        AudioError: there is no sound card.
    """
    from ..audio import AudioPlayer

    player = AudioPlayer(24000, device=device_of(device))
    try:
        player.start()
    except AudioError as error:
        player.close()
        _hint(error, device, instead)
        raise
    try:
        with hushed():
            yield player
    finally:
        player.close()


class Keyboard:
    """Lines from stdin. One thread, ``keyboard``, blocks on reading it; it cannot be woken, and is left behind."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards the lines and the end; each notifies it
        self._lines: list[str] = []
        self._ended = False
        threading.Thread(target=self._run, name="keyboard", daemon=True).start()

    def _run(self) -> None:
        try:
            for line in sys.stdin:
                with self._changed:
                    self._lines.append(line.rstrip("\r\n"))
                    self._changed.notify_all()
        finally:  # whoever waits would do so for ever
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def line(self, client: RealtimeClient) -> str | None:
        """Wait for a line; ``None`` at the end of input, and when the client has closed."""
        with self._changed:
            while not self._lines:
                if self._ended or client.state is State.CLOSED:
                    return None
                self._changed.wait(0.2)
            return self._lines.pop(0)


def until_enter(client: RealtimeClient, keyboard: Keyboard | None) -> None:
    """Wait until Enter is pressed, or without a keyboard until the client has closed.

    Raises:
        ConnectionClosed: the connection broke.
    """
    if keyboard is not None:
        with unechoed():
            keyboard.line(client)
    else:
        client.wait()


def keyboard_if_any() -> Keyboard | None:
    """The keyboard, where stdin is one."""
    return Keyboard() if sys.stdin.isatty() else None


def describe_end(keyboard: Keyboard | None) -> str:
    """How to end listening, for the user."""
    return "Enter ends" if keyboard else "Ctrl-C ends"
