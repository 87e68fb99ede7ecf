"""Programs written for the vendor's SDK run on ours with their import lines changed, and see and do the same.

Each runs twice against the local server, once as it is and once with the import lines changed; both in a process of
their own, as a program does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen_realtime import TTSClient
from qwen_realtime.server import LocalServer

from .stage import ROOT, import_lines_changed
from .steering import KEY, Detour

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 60.0

# What comes in pieces, whose number and interleaving is the engines' affair.
PIECES = re.compile(r"event .*(\.delta|transcription\.text)")


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """One local server for all programs."""
    with LocalServer() as server:
        yield server


@pytest.fixture(scope="module")
def question(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spoken question, as 16 kHz PCM."""
    with TTSClient(url=server.url, api_key="any", mode="commit", sample_rate=16000) as client:
        sound = client.say("What is seven plus five?").pcm
    path = tmp_path_factory.mktemp("sound") / "question.pcm"
    path.write_bytes(sound)
    return path


def start(program: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a program."""
    command, pipe = [sys.executable, str(program), *arguments], subprocess.PIPE
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> list[str]:
    """What it printed, when it has ended well."""
    try:
        out, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Error" not in out, out
    return out.splitlines()


@pytest.mark.parametrize("name", sorted(path.stem for path in PROGRAMS.glob("[!_]*.py")))
def test_a_program_sees_the_same_events_and_has_the_same_result(
    name: str, server: LocalServer, question: Path, tmp_path: Path
) -> None:
    """The sequence of events is the same, and so are texts and amounts of sound; it opens and closes once."""
    pytest.importorskip("dashscope", reason="the vendor's SDK is in the extra dev")
    original = PROGRAMS / f"{name}.py"
    changed = tmp_path / f"{name}.py"
    changed.write_text(import_lines_changed(original.read_text("utf-8")), "utf-8")
    processes = [start(program, server.url, str(question)) for program in (original, changed)]
    theirs, ours = (said(process) for process in processes)

    def kept(lines: list[str], beginning: str) -> list[str]:
        return [line for line in lines if line.startswith(beginning) and not PIECES.match(line)]

    assert kept(ours, "event") == kept(theirs, "event")
    assert {line for line in ours if PIECES.match(line)} == {line for line in theirs if PIECES.match(line)}
    assert kept(ours, "result") == kept(theirs, "result") != []
    assert ours[0] == "opened"
    assert ours.count("opened") == theirs.count("opened") == 1
    assert ours.count("closed") == ("closed" in original.read_text("utf-8"))


# What public programs do: the service's address is in them, and the key in a module.
ADDRESSED = """
import threading
import dashscope
from dashscope.audio.qwen_tts_realtime import *
dashscope.api_key = "{key}"
class Heard(QwenTtsRealtimeCallback):
    def on_event(self, message):
        if message["type"] == "session.finished":
            over.set()
over = threading.Event()
tts = QwenTtsRealtime("qwen3-tts-flash-realtime", callback=Heard(){url})
tts.connect()
tts.update_session("Cherry")
tts.append_text("Hello.")
tts.finish()
assert over.wait(20)
tts.close()
print("result", tts.get_session_id() is not None, tts.get_first_audio_delay() > 0)
"""
URLS = {"none": "", "abroad": ", url='wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime'"}
LINES = {"all": True, "one": False}


@pytest.fixture(scope="module")
def detour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Detour]:
    """One way to the local server for all programs."""
    with Detour(tmp_path_factory.mktemp("certificate")) as detour:
        yield detour


@pytest.mark.parametrize(("url", "lines"), [("none", "all"), ("abroad", "one")])
def test_a_program_with_the_services_address_in_it(detour: Detour, tmp_path: Path, url: str, lines: str) -> None:
    """Proxy and certificate lead it to the local server; the key may be set in either module, ours or the vendor's."""
    program = tmp_path / "program.py"
    program.write_text(import_lines_changed(ADDRESSED.format(key=KEY, url=URLS[url]), module=LINES[lines]))
    environment = {name: value for name, value in detour.environment.items() if name != "DASHSCOPE_API_KEY"}
    assert said(start(program, **environment)) == ["result True True"]
    assert detour.refused == []


def test_only_the_realtime_classes_change_hands() -> None:
    """What a program imports from the vendor's SDK beside them stays where it is."""
    source = "import dashscope  # key\n    from dashscope.audio.qwen_omni import *\nfrom dashscope.audio.asr import A\n"
    assert import_lines_changed(source).splitlines() == [
        "import qwen_realtime.compat.dashscope as dashscope  # key",
        "    from qwen_realtime.compat.dashscope.audio.qwen_omni import *",
        "from dashscope.audio.asr import A",
    ]
