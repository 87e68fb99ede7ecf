"""Programs written for the vendor's SDK run on ours with their import lines changed, and see and do the same.

Each runs twice against the local server, once as it is and once with the import lines changed; both in a process of
their own, as a program does.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen_realtime import TTSClient
from qwen_realtime.server import LocalServer

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
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


def import_lines_changed(source: str) -> str:
    """The program for our package."""
    changed = re.sub(r"^import dashscope$", "import qwen_realtime.compat.dashscope as dashscope", source, flags=re.M)
    return re.sub(r"^from dashscope\.", "from qwen_realtime.compat.dashscope.", changed, flags=re.M)


def start(program: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a program."""
    command = [sys.executable, str(program), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    """What it printed, when it has ended well."""
    try:
        out, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Error" not in out, out
    return out.splitlines()


@pytest.mark.parametrize("name", sorted(path.stem for path in PROGRAMS.glob("*.py")))
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
