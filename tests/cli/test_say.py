"""``say``: every way in, every way out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime.audio import read_wav
from qwen_realtime.cli.say import PART, _parts
from qwen_realtime.recording import read_trace
from qwen_realtime.server import LocalServer

from .conftest import Result, until

Cli = Callable[..., Result]
Program = Callable[..., "subprocess.Popen[Any]"]


def test_an_argument_becomes_a_wav_file(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """Without a sound card, and with a line on stderr only."""
    path = tmp_path / "hello.wav"
    result = cli("say", "Hello", "there.", "-o", path)
    assert result.status == 0
    assert result.out == ""
    assert f"→ {path}" in result.err
    assert read_wav(path).duration_ms > 100
    assert server.last_session.text_characters == len("Hello there.")


def test_machines_get_an_object(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """And nothing on stderr."""
    path = tmp_path / "hello.wav"
    result = cli("say", "Hello.", "-o", path, "--json", "--set", "sample_rate=16000", "--voice", "Ethan")
    (row,) = result.rows
    assert result.err == ""
    assert row["seconds"] == pytest.approx(read_wav(path).duration_ms / 1000, abs=0.001)
    assert (row["sample_rate"], row["characters"], row["file"]) == (16000, 6, str(path))
    assert row["first_audio_ms"] > 0


def test_a_file_is_spoken_in_parts(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """However long it is; nothing is lost between the parts."""
    text = "A sentence of eight words, more or less. " * 30
    (tmp_path / "text.txt").write_text(text)
    assert cli("say", "-f", tmp_path / "text.txt", "-o", tmp_path / "x.wav").status == 0
    assert server.last_session.text_characters == len(text)
    assert server.last_session.client_events["input_text_buffer.append"] > 2
    assert cli("say", "-f", tmp_path / "nowhere", "-o", tmp_path / "x.wav").status == 1


@pytest.mark.parametrize("text", ["", "x", "One. Two! Three?", "x" * 2000, "一。二！三？" * 300, "\n\n", "... !!! a"])
def test_parts_are_the_whole_and_short(text: str) -> None:
    """Cut between sentences where there are any."""
    parts = list(_parts(text))
    assert "".join(parts) == text
    assert all(len(part) <= PART or " " not in part.strip() for part in parts)


def test_a_pipe_is_spoken_as_it_comes(program: Program, server: LocalServer, tmp_path: Path) -> None:
    """Not when it ends: the server has the first words while the rest is not written yet."""
    process = program("say", "-o", tmp_path / "x.wav")
    assert process.stdin is not None
    process.stdin.write("The first words, ")
    process.stdin.flush()
    until(lambda: server.records and server.last_session.text_characters, process)
    assert server.last_session.text_characters == len("The first words, ")
    _, err = process.communicate("and the rest.", timeout=20)
    assert process.returncode == 0, err
    assert server.last_session.text_characters == len("The first words, and the rest.")


def test_stdout_can_take_the_sound(program: Program, server: LocalServer) -> None:
    """As a WAV stream whose length nobody knows yet; a reader that leaves ends it quietly."""
    process = program("say", "Hello.", "-o", "-", text=False)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert read_wav(out).duration_ms > 100
    process = program("say", "Hello. " * 400, "-o", "-", text=False)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    process.wait(20)
    assert process.stderr is not None
    assert process.returncode == 1
    assert process.stderr.read() in (b"", b"qwen-realtime: Broken pipe (EPIPE)\n")


def test_a_compressed_format_is_written_as_it_comes(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """Or refused before anything is sent; never a WAV file of something else."""
    path = tmp_path / "x.wav"
    result = cli("say", "Hello.", "-o", path, "--set", "response_format=wav")
    assert result.status == 0, result.err
    assert path.read_bytes()[:4] == b"RIFF"
    assert read_wav(path).duration_ms > 100


def test_a_name_that_promises_another_format_is_refused(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """Before anything is sent: speech is never a WAV file called .flac."""
    for name in ("hello.flac", "hello.pcm"):
        result = cli("say", "Hello.", "-o", tmp_path / name)
        assert result.status == 1
        assert "(end it in .wav, .mp3, .opus, .ogg)" in result.err
        assert not (tmp_path / name).exists()
    assert not server.connections


def test_a_session_is_recorded_on_request(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """For the trace commands."""
    trace = tmp_path / "t.jsonl"
    assert cli("say", "Hello.", "-o", tmp_path / "x.wav", "--trace", trace).status == 0
    assert read_trace(trace).lines[-1].type == "session.finished"


def test_without_a_sound_card_it_says_how_to_go_on(
    cli: Cli, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing library, with the line that installs it; and the way without."""
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    result = cli("say", "Hello.")
    assert result.status == 1
    assert "pip install pyaudio" in result.err
    assert "-o speech.wav" in result.err
    assert cli("devices").status == 1


def test_nothing_to_say_is_an_error(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """An empty file is not success."""
    (tmp_path / "empty").write_text("")
    result = cli("say", "-f", tmp_path / "empty", "-o", tmp_path / "x.wav")
    assert result.status == 1
    assert "nothing to speak" in result.err
