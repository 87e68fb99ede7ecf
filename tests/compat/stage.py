"""Where a program for the vendor's SDK runs: a process, a virtual sound card, somebody at the keyboard."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qwen_realtime import TTSClient
from qwen_realtime.audio.pcm import resample

from ..virtual_audio import VirtualAudio
from .steering import KEY, Detour

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ROOT", "Running", "Stage", "import_lines_changed"]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40.0
QUIET_S = 0.8

_MODULE = re.compile(r"^([ \t]*)import dashscope(?=\s|$)", re.M)
_NAMES = re.compile(r"^([ \t]*)from dashscope\.audio\.(?=qwen_omni|qwen_tts_realtime)", re.M)


def import_lines_changed(source: str, *, module: bool = True) -> str:
    """A program for our package.

    Args:
        source: the program for the vendor's.
        module: change ``import dashscope`` too; without it, the key that is set there is the vendor's module's.
    """
    if module:
        source = _MODULE.sub(r"\1import qwen_realtime.compat.dashscope as dashscope", source)
    return _NAMES.sub(r"\1from qwen_realtime.compat.dashscope.audio.", source)


class Stage:
    """What all programs share: the service, the sound card, and spoken questions.

    Args:
        detour: to the local server.
        card: at 24 kHz.
    """

    def __init__(self, detour: Detour, card: VirtualAudio) -> None:
        self.detour = detour
        self.card = card
        self._spoken: dict[str, bytes] = {}

    def spoken(self, text: str) -> bytes:
        """A text as 16 kHz int16 mono, with silence before and after."""
        if text not in self._spoken:
            server = self.detour.server
            with TTSClient(
                url=server.url,
                api_key=KEY,
                ssl_context=self.detour.trust,
                voice="Ethan",
                mode="commit",
                sample_rate=16000,
            ) as client:
                speech = client.say(text).pcm
            self._spoken[text] = bytes(6400) + speech + bytes(32000 * 3 // 2)
        return self._spoken[text]

    def write_pcm(self, path: Path, text: str) -> None:
        """Save a spoken text as bare samples."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.spoken(text))

    def write_wav(self, path: Path, text: str) -> None:
        """Save a spoken text as a WAV file."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(self.spoken(text))

    def say(self, text: str) -> None:
        """Say something into the microphone; returns when it has been said."""
        samples = resample(np.frombuffer(self.spoken(text), np.int16), 16000, self.card.sample_rate)
        self.card.say(samples).wait(PATIENCE_S)


class Running:
    """A program at work. Its output, errors included, is collected by the thread ``test-output``.

    Args:
        stage: where it runs.
        command: after the interpreter.
        folder: the working directory.
        packages: more folders to import from.
        environment: more variables.
    """

    def __init__(
        self,
        stage: Stage,
        command: Sequence[str],
        folder: Path,
        packages: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.stage = stage
        self.folder = folder
        self._heard = stage.card.record()
        self._begun = time.monotonic()
        self.seconds = 0.0
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={
                **os.environ,
                **stage.card.environment,
                **stage.detour.environment,
                **(environment or {}),
                "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT, *packages))),
                "PATH": os.pathsep.join((str(folder), os.environ.get("PATH", ""))),
                "PYTHONUNBUFFERED": "1",
                "PYTHONIOENCODING": "utf-8",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._changed = threading.Condition()  # guards _output and _over; notified by every piece and the end
        self._output = ""
        self._over = False
        self._seen = 0  # how far expect() has read
        self._collecting = threading.Thread(target=self._collect, name="test-output", daemon=True)
        self._collecting.start()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while piece := os.read(pipe.fileno(), 65536):
                with self._changed:
                    self._output += piece.decode("utf-8", "replace")
                    self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """All that it printed so far."""
        with self._changed:
            return self._output

    def expect(self, pattern: str, seconds: float = PATIENCE_S) -> None:
        """Wait until it prints this, after what was expected before."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while (found := re.compile(pattern).search(self._output, self._seen)) is None:
                assert not self._over, f"it ended without printing {pattern!r}"
                left = deadline - time.monotonic()
                assert left > 0, f"it did not print {pattern!r} within {seconds:g} s"
                self._changed.wait(left)
            self._seen = found.end()

    def enter(self, line: str = "") -> None:
        """Type a line."""
        self.feed(f"{line}\n".encode())

    def feed(self, data: bytes) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def end_input(self) -> None:
        """Close its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def heard_for(self, seconds: float) -> None:
        """Wait until so much has been heard of it."""
        deadline = time.monotonic() + PATIENCE_S
        while self.heard_s < seconds:
            assert time.monotonic() < deadline, f"not heard for {seconds:g} s"
            self._heard.wait_longer(0.05, self.stage.card.sample_rate)

    def played_out(self, at_least_s: float = 0.5) -> None:
        """Wait until it has played something and been silent for a while."""
        rate = self.stage.card.sample_rate
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self._heard.wait_longer(0.2, rate)
            sounding = _sounding(self._heard.samples, rate)
            quiet = round(QUIET_S * 50)
            if sounding.sum() >= at_least_s * 50 and not sounding[-quiet:].any():
                return
        raise AssertionError("nothing was played, or without end")

    @property
    def heard_s(self) -> float:
        """Seconds of sound at the loudspeaker so far."""
        return float(_sounding(self._heard.samples, self.stage.card.sample_rate).sum()) / 50

    def ended(self, seconds: float = 15.0) -> None:
        """Wait until it has ended by itself."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {seconds:g} s") from None

    def finish(self) -> int | None:
        """Kill it if need be; returns its exit status, ``None`` where it had to be killed."""
        status = self._process.poll()
        self._process.kill()
        self._process.wait(PATIENCE_S)
        self._collecting.join(PATIENCE_S)
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self.seconds = time.monotonic() - self._begun
        self._heard.stop()
        return status


def _sounding(samples: NDArray[np.int16], rate: int) -> NDArray[np.bool_]:
    """For each whole 20 ms, whether there is anything to hear."""
    block = rate // 50
    whole = samples[: len(samples) // block * block].reshape(-1, block)
    return np.asarray(np.abs(whole.astype(np.int32)).max(axis=1) > 100) if len(whole) else np.zeros(0, np.bool_)
