"""All commands but ``say``: each does what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import audio, synthesize
from qwen_realtime.audio import Device, read_wav, wav_bytes
from qwen_realtime.cli.hearing import find_recordings
from qwen_realtime.errors import ConfigError
from qwen_realtime.server import LocalServer, Reject
from qwen_realtime.server.engines import Engines

from .conftest import KEY, Result

Cli = Callable[..., Result]
Program = Callable[..., "subprocess.Popen[Any]"]


@pytest.fixture
def recording(server: LocalServer, tmp_path: Path) -> Path:
    """A recording in which somebody speaks twice."""
    speech = synthesize("Some words.").pcm
    path = tmp_path / "meeting.wav"
    path.write_bytes(wav_bytes(speech + bytes(96000) + speech + bytes(48000), 24000))
    return path


# transcribe


def test_a_recording_becomes_lines_of_text(cli: Cli, recording: Path) -> None:
    """On stdout, one for each utterance; the rest on stderr."""
    result = cli("transcribe", recording, "-l", "en")
    assert result.status == 0
    assert len(result.out.splitlines()) >= 1
    assert result.err == ""


@pytest.mark.parametrize(("kind", "beginning"), [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0"), ("json", "{\n")])
def test_formats_are_chosen_by_name_or_option(
    cli: Cli, recording: Path, tmp_path: Path, kind: str, beginning: str
) -> None:
    """The same into a file as to stdout."""
    path = tmp_path / f"out.{kind}"
    assert cli("transcribe", recording, "-o", path).status == 0
    assert path.read_text().startswith(beginning)
    assert cli("transcribe", recording, "-f", kind).out == path.read_text()
    if kind == "json":
        (first, *_) = json.loads(path.read_text())["utterances"]
        assert 0 <= first["start_ms"] < first["end_ms"]


def test_a_folder_becomes_a_folder(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """One file each; one that cannot be read does not stop the others, but success it is not."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.wav", "b.WAV"):
        (folder / name).write_bytes(recording.read_bytes())
    out = tmp_path / "out"
    assert cli("transcribe", folder, "-o", out, "-f", "srt").status == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.srt", "b.srt"]
    (folder / "c.wav").write_bytes(b"ID3 no sound")
    result = cli("transcribe", folder, "-o", out, "-f", "vtt")
    assert result.status == 1
    assert "an MP3 file" in result.err
    assert (out / "b.vtt").exists()


def test_recordings_of_one_name_do_not_overwrite_each_other(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """Those of a folder keep their place below it; where that does not help, nothing is begun."""
    folder, out = tmp_path / "in", tmp_path / "out"
    for place in (folder, folder / "monday", folder / "tuesday"):
        place.mkdir()
        (place / "a.wav").write_bytes(recording.read_bytes())
    assert cli("transcribe", folder, "-o", out).status == 0
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.txt")) == [
        "a.txt",
        "monday/a.txt",
        "tuesday/a.txt",
    ]
    result = cli("transcribe", folder / "monday" / "a.wav", folder / "tuesday" / "a.wav", "-o", tmp_path / "none")
    assert result.status == 2
    assert "would both become" in result.err
    assert not (tmp_path / "none").exists()


def test_a_recording_that_is_not_recognised_is_no_success(
    cli: Cli, recording: Path, qwen_realtime_engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as text nor as a translation; machines get the reason."""
    with LocalServer(engines=qwen_realtime_engines, api_key=KEY) as english:
        monkeypatch.setenv("QWEN_REALTIME_URL", english.url)
        for command in (["transcribe", recording, "-l", "es"], ["translate", recording, "--from", "es", "--to", "en"]):
            result = cli(*command)
            assert (result.status, result.out) == (1, "")
            assert "(not recognised: " in result.err
            assert "not recognised (tell the language spoken: --" in result.err
            rows = cli(*command, "--json").rows
            assert "English" in rows[0]["error"]
            assert rows[-1]["kind"] == "NotRecognised"


def test_what_is_refused_for_all_recordings_is_refused_once(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """A key, a setting; but what one recording lacks is told with each, also to machines."""
    other = tmp_path / "other.wav"
    other.write_bytes(recording.read_bytes())
    (tmp_path / "wrong").write_text("sk-other")
    assert cli("transcribe", recording, other, "--api-key-file", tmp_path / "wrong").err.count("refused the key") == 1
    assert cli("transcribe", recording, other, "-l", "xx").err.count("qwen-realtime:") == 1
    for path in (recording, other):
        path.write_bytes(b"no sound")
    result = cli("transcribe", recording, other, "--json")
    assert result.status == 1
    assert [row["message"].partition(" is not a WAV")[0] for row in result.rows] == [str(recording), str(other)]
    assert "append_audio" not in result.err


def test_silence_is_told(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """Rather than nothing at all."""
    path = tmp_path / "silence.wav"
    path.write_bytes(wav_bytes(bytes(32000), 16000))
    result = cli("transcribe", path)
    assert (result.status, result.out, result.err) == (0, "", "(nobody speaks in 1.0 s)\n")


@pytest.mark.parametrize("extra", [[], ["--json"]])
@pytest.mark.parametrize("command", [["transcribe"], ["translate", "--to", "es"]])
def test_results_that_cannot_be_written_are_no_success(
    program: Program, recording: Path, command: list[str], extra: list[str]
) -> None:
    """A full disk is told in one line; a reader that leaves is left."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = program(*command, recording, *extra, stdout=full)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "qwen-realtime: No space left on device (ENOSPC)"
    process = program(*command, recording, *extra)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 1
    assert process.stderr is not None
    assert "qwen-realtime:" not in err.replace(err.splitlines()[-1], "") + process.stderr.read()


def test_what_cannot_be_a_recording_is_refused_at_once(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """Before connecting."""
    (tmp_path / "empty").mkdir()
    for path, word in ((tmp_path / "nowhere.wav", "no file"), (tmp_path / "empty", "no sound files")):
        with pytest.raises(ConfigError, match=word):
            find_recordings([path])
    assert "one file" in cli("transcribe", recording, recording, "-o", tmp_path / "x.srt").err
    assert "no format" in cli("transcribe", recording, "-o", tmp_path / "x.docx").err


def test_machines_get_utterances_and_the_whole(cli: Cli, recording: Path) -> None:
    """As JSON lines."""
    rows = cli("transcribe", recording, "--json").rows
    assert [row["type"] for row in rows] == ["utterance"] * (len(rows) - 1) + ["transcript"]
    assert rows[-1]["text"] == " ".join(row["text"] for row in rows[:-1])


def test_manual_mode_is_a_setting(cli: Cli, recording: Path) -> None:
    """Then the whole is one utterance."""
    result = cli("transcribe", recording, "--set", "turn_detection=null")
    assert result.status == 0, result.err
    assert len(result.out.splitlines()) == 1


def test_captions_grow_in_a_terminal(recording: Path) -> None:
    """With a progress bar, and the cursor is given back; stdout stays clean."""
    parent, child = os.openpty()
    command = [sys.executable, "-m", "qwen_realtime", "transcribe", str(recording), "--pace", "realtime"]
    with subprocess.Popen(command, stdin=child, stdout=subprocess.PIPE, stderr=child, text=True) as process:
        os.close(child)
        shown = b"".join(iter(lambda: _read(parent), b"")).decode()
        out = process.stdout.read() if process.stdout else ""
        assert process.wait(20) == 0
    os.close(parent)
    assert "meeting.wav" in shown
    assert "%" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    assert out
    assert "\x1b" not in out


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed: so ends a terminal
        return b""


# translate


def test_both_languages_are_shown(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """And written, as sound and as subtitles."""
    sound, subtitles = tmp_path / "es.wav", tmp_path / "es.vtt"
    result = cli("translate", recording, "--to", "es", "--from", "en", "-o", sound, "-s", subtitles)
    assert result.status == 0, result.err
    assert result.out.startswith(" en ")
    assert "\n es " in result.out
    assert read_wav(sound).duration_ms > 100
    assert subtitles.read_text().startswith("WEBVTT\n\n00:")
    assert str(subtitles) in result.err


def test_translations_for_machines(cli: Cli, recording: Path) -> None:
    """Text only, if so wished."""
    rows = cli("translate", recording, recording, "--to", "es", "--text-only", "--json").rows
    assert {row["type"] for row in rows} == {"source", "translation", "done"}
    assert rows[-1]["seconds"] == 0
    assert cli("translate", recording, "--to", "es", "--text-only", "--play").status == 2
    assert "speech" not in cli("translate", recording, "--to", "es", "--text-only").err


def test_a_translation_is_written_as_its_name_says_or_not_at_all(cli: Cli, recording: Path, tmp_path: Path) -> None:
    """Speech as WAV, subtitles as SRT or WebVTT."""
    for option, name, told in (("-o", "es.mp3", "(end it in .wav)"), ("-s", "es.txt", "(end it in .srt, .vtt)")):
        result = cli("translate", recording, "--to", "es", option, tmp_path / name)
        assert result.status == 1
        assert told in result.err
        assert not (tmp_path / name).exists()


# chat


def test_lines_from_a_pipe_are_a_conversation(program: Program, server: LocalServer) -> None:
    """Each is answered before the next is sent."""
    process = program("chat", "--no-play")
    out, err = process.communicate("What is two plus two?\n\nWhat is nine minus one?\n/quit\nnever\n", timeout=30)
    assert process.returncode == 0, err
    assert out.splitlines() == [
        " you What is two plus two?",
        "qwen That is four.",
        " you What is nine minus one?",
        "qwen That is eight.",
    ]


def test_a_conversation_for_machines(program: Program, server: LocalServer) -> None:
    """With the waits at its end."""
    process = program("chat", "--no-play", "--json", "-i", "Be brief.")
    out, _ = process.communicate("What is two plus two?\n", timeout=30)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["type"] for row in rows] == ["user", "reply", "waits"]
    assert rows[1]["text"] == "That is four."
    assert server.last_session.received[0].session["instructions"] == "Be brief."  # type: ignore[attr-defined]


def test_a_microphone_that_is_insisted_on_must_be_there(
    cli: Cli, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the keyboard would do."""
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    result = cli("chat", "--push-to-talk", "--no-play")
    assert result.status == 1
    assert "pip install pyaudio" in result.err
    assert result.err.endswith("or write: --text)\n")


# serve


def test_serve_prints_the_line_to_export_and_serves(program: Program) -> None:
    """Until it is told to end."""
    process = program("serve", "--port", "0")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("export QWEN_REALTIME_URL=ws://127.0.0.1:")
    url = line.split("=", 1)[1].split()[0]
    done = program(
        "say", "Hi.", "-o", os.devnull, env={**os.environ, "QWEN_REALTIME_URL": url, "DASHSCOPE_API_KEY": "k"}
    )
    assert done.wait(20) == 0
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "qwen3-tts-flash-realtime" in err
    assert all(line.startswith("session ") for line in err.splitlines() if "closed with" in line)


def test_an_address_that_is_taken_is_told_with_the_way_out(cli: Cli, server: LocalServer) -> None:
    """For both servers, in plain words."""
    port = server.url.split(":")[2].split("/")[0]
    result = cli("serve", "--port", port)
    assert result.status == 1
    assert result.err == (
        f"qwen-realtime: cannot listen on 127.0.0.1:{port}: Address already in use (--port 0 takes a free one)\n"
    )


def test_serve_for_machines(program: Program) -> None:
    """With the engines that it has."""
    process = program("serve", "--port", "0", "--json")
    assert process.stdout is not None
    row = json.loads(process.stdout.readline())
    assert row["type"] == "serving"
    assert row["engines"]["speech"]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


# demo


def test_the_demo_says_whether_it_came_out_right(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """With tones for engines it cannot all: the status says so, and the sound is kept."""
    result = cli("demo", "-o", tmp_path / "demo", "--json")
    rows = result.rows
    assert [row["name"] for row in rows[:-1]] == ["tts", "asr", "omni", "livetranslate"]
    assert rows[-1]["of"] == 4
    assert result.status == (0 if rows[-1]["right"] == 4 else 1)
    assert rows[0]["right"]
    assert (tmp_path / "demo" / "speech.wav").exists()


# devices and doctor


def test_devices_are_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a table, and as lines; none is a failure."""
    card = Device(3, "a card", "ALSA", 2, 2, 48000, default_input=True)
    monkeypatch.setattr(audio, "list_devices", lambda: [card])
    assert "a card" in cli("devices").out
    (row,) = cli("devices", "--json").rows
    assert (row["index"], row["default_input"]) == (3, True)
    monkeypatch.setattr(audio, "list_devices", list)
    assert cli("devices").status == 1


def test_the_doctor_writes_a_line_for_each_finding(cli: Cli, server: LocalServer) -> None:
    """And what to do about it; what fails is the status."""
    result = cli("doctor", "--no-sound")
    assert "✓ session" in result.out
    rows = cli("doctor", "--no-sound", "--json").rows
    assert [row["name"] for row in rows if row["status"] == "ok"][:4] == ["key", "model", "proxy", "dns"]
    with LocalServer(faults=[Reject(status=401, times=0)]) as closed:
        result = cli("doctor", "--no-sound", "--url", closed.url)
    assert result.status == 1
    assert "refuses the key → copy the key again" in result.out


# trace


def test_a_recorded_session_is_replayed_and_reported(
    cli: Cli, program: Program, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line alone."""
    trace = tmp_path / "t.jsonl"
    first, second = tmp_path / "1.wav", tmp_path / "2.wav"
    assert cli("say", "Hello.", "-o", first, "--trace", trace).status == 0
    result = cli("trace", "report", trace)
    assert result.status == 0
    assert (tmp_path / "t.html").read_text().startswith("<!doctype html>")
    process = program("trace", "replay", trace, "--port", "0", "--once", "--json")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert cli("say", "Hello.", "-o", second, "--url", url).status == 0
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert json.loads(out)["diverged"] == ""
    assert second.read_bytes() == first.read_bytes()
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    assert "no browser was found" in cli("trace", "report", trace, "--open").err
    assert " lines, " in result.err
    assert " kB → " in result.err
    for path, why in ((tmp_path / "nowhere", "No such file"), (".", "Is a directory")):
        result = cli("trace", "report", path)
        assert result.status == 1
        assert why in result.err
