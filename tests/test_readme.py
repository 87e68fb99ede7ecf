"""Every snippet of the README runs, with the real Flask, Django, Tk and Qt; and the docstrings make pages."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qwen_realtime
from qwen_realtime import events
from qwen_realtime.audio import ArrayInput, MemoryOutput, read_wav, wav_bytes
from qwen_realtime.cli.app import cli
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
# What users import beside the package itself.
PAGES = [f"qwen_realtime.{name}" for name in "audio server subtitles trace report doctor errors settings".split()]


def _blocks(language: str) -> Iterator[Any]:
    for found in re.finditer(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        line = TEXT[: found.start()].count("\n") + 2
        yield pytest.param(found.group(1), line, id=f"line {line}")


@pytest.fixture(scope="module")
def server(qwen_realtime_engines: Engines) -> Iterator[LocalServer]:
    """One server for all snippets."""
    with LocalServer(engines=qwen_realtime_engines) as server:
        yield server


@pytest.fixture(scope="module")
def speech(server: LocalServer) -> qwen_realtime.Speech:
    """What the recordings in the folder say."""
    return qwen_realtime.synthesize("Good morning.", voice="Ethan", url=server.url, api_key="any")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A screen that nobody sees, for Tk; a machine without one is an error, never a skipped test."""
    assert find_spec("_tkinter"), "this Python is without Tk: apt-get install -y python3-tk, or build it with tk-dev"
    assert shutil.which("Xvfb"), "Tk needs a display: apt-get install -y xvfb"
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as screen:
        assert screen.stdout is not None
        yield f":{screen.stdout.readline().strip()}"
        screen.terminate()


@pytest.fixture
def environment(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and where to connect."""
    monkeypatch.setenv("QWEN_REALTIME_URL", server.url)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-readme")


@pytest.fixture
def workshop(
    environment: None, speech: qwen_realtime.Speech, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, Any]:
    """A folder with recordings, and stand-ins for the sound card; a snippet's names."""
    monkeypatch.chdir(tmp_path)
    for name in ("meeting.wav", "speech.wav"):
        (tmp_path / name).write_bytes(wav_bytes(speech.pcm, speech.sample_rate))
    spoken = read_wav(speech.wav(), sample_rate=16000).samples
    heard = np.concatenate((spoken, np.zeros(48000, np.int16)))  # a pause tells the server that it was said

    class Microphone(qwen_realtime.Microphone):
        def __init__(self, sample_rate: int = 16000, **options: Any) -> None:
            super().__init__(sample_rate, source=ArrayInput(heard, 16000, speed=20), **options)

    class AudioPlayer(qwen_realtime.AudioPlayer):
        def __init__(self, sample_rate: int = 24000, **options: Any) -> None:
            super().__init__(sample_rate, output=MemoryOutput(), **options)

    monkeypatch.setattr(qwen_realtime, "Microphone", Microphone)
    monkeypatch.setattr(qwen_realtime, "AudioPlayer", AudioPlayer)
    monkeypatch.setattr("builtins.input", lambda *_: "")
    names = {name: getattr(qwen_realtime, name) for name in qwen_realtime.__all__}
    fillers = {"chunks": iter(["Good ", "morning. "]), "paths": ["meeting.wav", "speech.wav"]}
    return {**names, **fillers, "events": events, "__name__": "readme"}


def _upload(app: Any) -> None:
    """Use the Flask view as a browser would."""
    reply = app.test_client().post("/transcribe", data=Path("speech.wav").read_bytes())
    assert reply.status_code == 200
    assert "good morning" in reply.get_json()["text"].lower()


def _listen(speak: Any) -> None:
    """Use the Django view as a browser would, to the end and not."""
    settings = import_module("django.conf").settings
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"])
    request = import_module("django.test").RequestFactory().get("/", {"text": "Good morning. This goes on."})
    assert len(b"".join(speak(request))) > 48_000
    broken_off = speak(request)
    assert next(iter(broken_off))
    broken_off.close()


# What a snippet defines is used.
USES: dict[str, Callable[[dict[str, Any]], None]] = {
    "transcribe_upload": lambda names: _upload(names["app"]),
    "speak": lambda names: _listen(names["speak"]),
}

SNIPPETS = list(_blocks("python"))
# A main loop wants a process of its own: Tk keeps its display, and Qt its application. These lines show what it did.
LOOPS = {"tkinter": "print(label.cget('text'))", "PySide6": ""}


def _loop_of(code: str) -> str:
    return next((name for name in LOOPS if f"from {name}" in code or f"import {name}" in code), "")


@pytest.mark.parametrize(("code", "line"), [each for each in SNIPPETS if _loop_of(each.values[0])])
def test_a_main_loop_runs_the_handlers(code: str, line: int, environment: None, display: str) -> None:
    """And ends when the answer is there."""
    program = f"from qwen_realtime import *\n{code}\n{LOOPS[_loop_of(code)]}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "DISPLAY": display},
        cwd=README.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "twelve" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(("code", "line"), [each for each in SNIPPETS if not _loop_of(each.values[0])])
def test_a_snippet_does_what_it_shows(
    code: str, line: int, workshop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, in a folder with recordings; what it opens and leaves open is closed."""
    made: list[Any] = []
    for name, value in list(workshop.items()):
        if isinstance(value, type) and issubclass(value, qwen_realtime.RealtimeClient):
            workshop[name] = _remembered(value, made)
            monkeypatch.setattr(qwen_realtime, name, workshop[name])
    padded = "\n" * (line - 1) + code  # so that errors name the README's lines
    try:
        exec(compile(padded, str(README), "exec"), workshop)  # noqa: S102 - our own README
        for name, use in USES.items():
            if name in workshop:
                use(workshop)
    finally:
        for client in made:
            client.close()


def _remembered(kind: Any, made: list[Any]) -> Any:
    """The class, whose objects are kept in mind; where one waits for the user to end it, that comes after a reply."""

    class Remembered(kind):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)
            self._replied = threading.Event()
            for end in ("response.done", "disconnected"):
                self.on(end, lambda _: self._replied.set())

        def wait(self, timeout: float | None = None) -> Any:
            if timeout is None:
                assert self._replied.wait(30), "there was no reply"
                self.close()
            return super().wait(timeout or 10)

    Remembered.__name__ = kind.__name__
    return Remembered


COMMANDS = [line for block in _blocks("sh") for line in block.values[0].splitlines() if "qwen-realtime " in line]


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.partition("#")[0].strip())
def test_a_command_is_one_that_the_program_takes(line: str) -> None:
    """With every option that is shown; what the commands do is tested in ``tests/cli``."""
    words = shlex.split(line.partition("qwen-realtime ")[2].replace(')"', ""), comments=True)
    if words[0] == "--completion":
        assert words[1] in ("bash", "zsh", "fish")
        return
    command: Any = cli
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("qwen-realtime", words)


def test_the_docstrings_make_pages(tmp_path: Path) -> None:
    """By pdoc, without a warning."""
    command = [sys.executable, "-W", "error", "-m", "pdoc", "-d", "google", "-o", str(tmp_path), "qwen_realtime"]
    done = subprocess.run([*command, *PAGES], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    page = (tmp_path / "qwen_realtime.html").read_text(encoding="utf-8")
    for name in ("TTSClient", "AudioPlayer", "synthesize"):
        assert f'id="{name}"' in page
    for module in PAGES:
        assert (tmp_path / f"{module.replace('.', '/')}.html").stat().st_size > 1000
