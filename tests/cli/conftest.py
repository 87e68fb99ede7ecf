"""The command line against one local server with its smallest engines."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from qwen_realtime.cli.app import run
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

KEY = "sk-cli"


class Result(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def until(condition: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    """Wait until something holds that nobody announces, while a process runs; twenty seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """Engines that need nothing installed: tones for speech."""
    made = Engines(speech="tones", listening="tones", translation="phrases")
    yield made
    made.close()


@pytest.fixture
def server(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server, and the environment that points to it."""
    with LocalServer(engines=engines, api_key=KEY) as server:
        monkeypatch.setenv("QWEN_REALTIME_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
        yield server


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command inside this process."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        status = run([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return Result(status, out, err)

    return call


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program as users do; what still runs is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "qwen_realtime", *map(str, arguments)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, **{**pipes, "text": True, **options}))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
