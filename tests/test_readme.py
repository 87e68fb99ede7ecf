"""Every Python snippet of the README runs, against the local server; and the docstrings make a page."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qwen_realtime
from qwen_realtime import events
from qwen_realtime.audio import ArrayInput, MemoryOutput, read_wav, wav_bytes
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

README = Path(__file__).parent.parent / "README.md"
# What users import beside the package itself.
PAGES = [f"qwen_realtime.{name}" for name in "audio server subtitles trace report doctor errors settings".split()]

_SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _snippets(text: str) -> Iterator[Any]:
    for found in _SNIPPET.finditer(text):
        line = text[: found.start()].count("\n") + 2
        yield pytest.param(found.group(1), line, id=f"line {line}")


@pytest.fixture(scope="module")
def server(qwen_realtime_engines: Engines) -> Iterator[LocalServer]:
    """One server for all snippets."""
    with LocalServer(engines=qwen_realtime_engines) as server:
        yield server


@pytest.fixture
def workshop(server: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A folder with recordings, an environment with a key, stand-ins for devices and frameworks; a snippet's names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QWEN_REALTIME_URL", server.url)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-readme")
    speech = qwen_realtime.synthesize("Good morning.", voice="Ethan")
    for name in ("meeting.wav", "speech.wav", "question.wav"):
        (tmp_path / name).write_bytes(wav_bytes(speech.pcm, speech.sample_rate))
    spoken = read_wav(speech.wav(), sample_rate=16000).samples
    heard = np.concatenate((spoken, np.zeros(48000, np.int16)))  # a pause tells the server that it was said

    class Microphone(qwen_realtime.Microphone):
        def __init__(self, sample_rate: int = 16000, **options: Any) -> None:
            options.pop("device", None)
            options.setdefault("source", ArrayInput(heard, 16000, speed=20))
            super().__init__(sample_rate, **options)

    class AudioPlayer(qwen_realtime.AudioPlayer):
        def __init__(self, sample_rate: int = 24000, **options: Any) -> None:
            options.pop("device", None)
            options.setdefault("output", MemoryOutput())
            super().__init__(sample_rate, **options)

    monkeypatch.setattr(qwen_realtime, "Microphone", Microphone)
    monkeypatch.setattr(qwen_realtime, "AudioPlayer", AudioPlayer)
    monkeypatch.setattr("builtins.input", lambda *_: "")
    for name, module in _frameworks().items():
        monkeypatch.setitem(sys.modules, name, module)
    names = {name: getattr(qwen_realtime, name) for name in qwen_realtime.__all__}
    fillers = {"log_event": str, "chunks": iter(["Good ", "morning. "]), "paths": ["meeting.wav", "speech.wav"]}
    return {**names, **fillers, "events": events, "__name__": "readme"}


def _frameworks() -> dict[str, types.ModuleType]:
    """Just enough of Flask, Django, Tk and Qt for a snippet to be run through."""
    flask, django, http = (types.ModuleType(name) for name in ("flask", "django", "django.http"))
    tkinter, qt, qt_core = (types.ModuleType(name) for name in ("tkinter", "PySide6", "PySide6.QtCore"))

    class Flask:
        def __init__(self, name: str) -> None:
            self.name = name

        def route(self, *_: Any, **__: Any) -> Any:
            return self._call

        post = get = route

        @staticmethod
        def _call(view: Any) -> Any:
            view()
            return view

    class Request(types.SimpleNamespace):
        @staticmethod
        def get_data() -> bytes:
            return Path("speech.wav").read_bytes()

    class Tk:
        """Calls what was put off, until somebody destroys it."""

        def __init__(self) -> None:
            self._later: list[Any] = []
            self._files: list[Any] = []
            self._alive = True

        def after(self, _ms: int, function: Any, *arguments: Any) -> None:
            self._later.append((function, arguments))

        def createfilehandler(self, file: int, mask: int, function: Any) -> None:
            self._files.append((function, (file, mask)))

        def deletefilehandler(self, _file: int) -> None:
            self._files.clear()

        def destroy(self) -> None:
            self._alive = False

        def mainloop(self) -> None:
            while self._alive:
                later, self._later = self._later, []
                for function, arguments in (*later, *self._files):
                    function(*arguments)

    class Label:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.pack = self.config = lambda **_: None

    class Application:
        def __init__(self, _: list[str]) -> None:
            pass

        def exec(self) -> None:
            while not Application.over:
                for notify in Notifier.all:
                    notify(0)

        def quit(self) -> None:
            Application.over = True

        over = False

    class Notifier:
        all: list[Any] = []
        Type = types.SimpleNamespace(Read=0)

        def __init__(self, *_: Any) -> None:
            self.activated = types.SimpleNamespace(connect=Notifier.all.append)
            self.setEnabled = lambda _: Notifier.all.clear()

    flask.Flask, flask.request = Flask, Request()  # type: ignore[attr-defined]
    flask.Response = http.HttpResponse = lambda body=b"", **_: bytes(body)  # type: ignore[attr-defined]
    http.JsonResponse = http.StreamingHttpResponse = lambda body, **_: body  # type: ignore[attr-defined]
    tkinter.Tk, tkinter.Label, tkinter.READABLE = Tk, Label, 2  # type: ignore[attr-defined]
    qt_core.QCoreApplication, qt_core.QSocketNotifier = Application, Notifier  # type: ignore[attr-defined]
    modules = (flask, django, http, tkinter, qt, qt_core)
    return {module.__name__: module for module in modules}


@pytest.mark.parametrize(("code", "line"), list(_snippets(README.read_text(encoding="utf-8"))))
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


def test_the_docstrings_make_pages(tmp_path: Path) -> None:
    """By pdoc; annotations that only a type checker understands are shown as they are written."""
    command = [sys.executable, "-m", "pdoc", "-d", "google", "-o", str(tmp_path), "qwen_realtime", *PAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "qwen_realtime.html").read_text(encoding="utf-8")
    for name in ("TTSClient", "AudioPlayer", "synthesize"):
        assert name in page
    for module in PAGES:
        assert (tmp_path / f"{module.replace('.', '/')}.html").stat().st_size > 1000
