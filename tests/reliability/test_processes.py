"""Forks, exits and Ctrl-C: a process with open sessions ends when it is told to, and nobody else is hurt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen_realtime.server import LocalServer, Stall
from qwen_realtime.server.engines import Engines

from ..virtual_audio import VirtualAudio, virtual_audio
from .tools import Watch

SAMPLES = Path(__file__).parents[2] / "samples"

# A part of the others.
SUPPORT = {"where.py"}
NEED_SOUND = {"speak_aloud.py", "microphone_captions.py", "voice_chat.py", "live_interpreter.py"}

_FORK = """
import os, sys, threading
from qwen_realtime import TTSClient
client = TTSClient(url=sys.argv[1], api_key="k", mode="commit").connect()
client.say("Before.")
child = os.fork()
if child == 0:
    {child}
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, status
speech = client.say("And after.")
assert speech.pcm
client.finish(10)
assert client.close_info.clean, client.close_info
print("good")
"""

_LEAVES = """
import sys, threading, logging
logging.basicConfig(level=logging.DEBUG)
from qwen_realtime import TTSClient, ASRClient, ReconnectPolicy
come = threading.Event()
clients = [kind(url=sys.argv[1], api_key="k", reconnect=policy).connect()
           for kind in (TTSClient, ASRClient) for policy in (None, ReconnectPolicy())]
for client in clients:
    client.on("*", lambda event: come.set())
for client in clients[:2]:
    client.append_text("A text that is being spoken when the program ends. " * 20)
come.wait(10)
print("good")
"""


def _run(program: str, url: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(path), url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=SAMPLES.parent,
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
    )


class TestProcesses:
    """Forks, exits and Ctrl-C."""

    @pytest.mark.parametrize(
        "child", ["pass", "client.close()", "client.__exit__(None, None, None)"], ids=["exits", "closes", "leaves with"]
    )
    def test_a_fork_does_not_touch_its_parents_session(self, tones: Engines, tmp_path: Path, child: str) -> None:
        """The child ends, whatever it does with the client, and the parent's session goes on."""
        with LocalServer(engines=tones) as server:
            ended = _run(_FORK.format(child=child), server.url, tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == "good\n"
        assert "Error" not in ended.stderr

    def test_a_fork_cannot_send(self, tones: Engines, tmp_path: Path) -> None:
        """It has neither the threads nor the right to the socket."""
        child = """
    try:
        client.append_text("From the child.")
    except Exception as error:
        assert "fork" in str(error), error
    else:
        sys.exit(3)"""
        with LocalServer(engines=tones) as server:
            ended = _run(_FORK.format(child=child), server.url, tmp_path)
        assert ended.returncode == 0, ended.stderr

    def test_a_program_may_end_with_open_sessions(self, tones: Engines, tmp_path: Path) -> None:
        """At once, with status 0 and without a complaint."""
        with LocalServer(engines=tones, pace=1.0) as server:
            began = time.monotonic()
            for _ in range(3):
                ended = _run(_LEAVES, server.url, tmp_path)
                assert ended.returncode == 0, ended.stderr
                assert ended.stdout == "good\n"
                assert "Traceback" not in ended.stderr
                assert "Fatal" not in ended.stderr
            assert time.monotonic() - began < 30

    @pytest.mark.parametrize("name", sorted({path.name for path in SAMPLES.glob("*.py")} - NEED_SOUND - SUPPORT))
    def test_ctrl_c_ends_a_sample(self, tones: Engines, tmp_path: Path, name: str) -> None:
        """Within a second, while it waits for a server that has fallen silent."""
        assert _interrupt(name, tones, tmp_path) < 1.0

    @pytest.mark.parametrize("name", sorted(NEED_SOUND))
    def test_ctrl_c_ends_a_sample_with_sound(
        self, tones: Engines, tmp_path: Path, card: VirtualAudio, name: str
    ) -> None:
        """Within a second too: the sound card is let go of."""
        assert _interrupt(name, tones, tmp_path, **card.environment) < 1.0


@pytest.fixture(scope="module")
def card() -> Iterator[VirtualAudio]:
    """A virtual sound card."""
    with virtual_audio() as made:
        yield made


def _interrupt(name: str, engines: Engines, folder: Path, **environment: str) -> float:
    """Start a sample, send it SIGINT in the middle of its work, and return the seconds that it took to end."""
    falls_silent = ["response.created", "input_audio_buffer.speech_started", "conversation.item.created"]
    with LocalServer(engines=engines, faults=[Stall(on=each, times=0) for each in falls_silent]) as server:
        program = subprocess.Popen(
            [sys.executable, str(SAMPLES / name)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment, "QWEN_REALTIME_URL": server.url, "DASHSCOPE_API_KEY": "k"},
        )
        try:
            deadline = time.monotonic() + 30
            while not server.sessions and program.poll() is None and time.monotonic() < deadline:
                threading.Event().wait(0.02)
            threading.Event().wait(0.3)
            assert program.poll() is None, f"it should be waiting: {program.communicate()}"
            assert server.sessions
            with Watch() as watch:
                program.send_signal(signal.SIGINT)
                _, told = program.communicate(timeout=15)
        finally:
            program.kill()
            program.communicate(timeout=5)
    assert "Fatal" not in told
    return watch.seconds
