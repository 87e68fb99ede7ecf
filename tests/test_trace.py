"""Recordings of the wire."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import ASRClient, ConfigError, TTSClient
from qwen_realtime.recording import read_trace
from qwen_realtime.trace import Trace, _SoundFile

from .peer import Link, greet, polite, serve

SOUND = bytes(range(256)) * 4


def _lines(path: Path) -> list[dict[str, Any]]:
    """What was recorded, without the line that begins the file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][1:]


def _recorded(path: Path, *events: dict[str, Any], direction: str = "client") -> list[dict[str, Any]]:
    trace = Trace(path)
    for event in events:
        trace.record(direction, json.dumps(event).encode())
    trace.close()
    return [line["event"] for line in _lines(path)]


def _append(sound: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(sound).decode()}


def test_a_session_is_recorded_in_both_directions(peers: Callable[..., Any], tmp_path: Path) -> None:
    """In the order of the wire, with times, without the key, and the sound in a file beside it."""
    path = tmp_path / "trace.jsonl"
    with ASRClient(url=peers(polite).url, api_key="sk-verysecret", trace=path) as client:
        client.append_audio(SOUND)
    lines = _lines(path)
    assert [(line["dir"], line["event"]["type"]) for line in lines] == [
        ("server", "session.created"),
        ("client", "input_audio_buffer.append"),
        ("client", "session.finish"),
        ("server", "session.finished"),
    ]
    assert lines[1]["event"]["audio"] == {"file": "trace.client.wav", "offset": 44, "bytes": 1024}
    times = [line["t"] for line in lines]
    assert times == sorted(times)
    assert "verysecret" not in path.read_text()
    with wave.open(str(tmp_path / "trace.client.wav")) as sound:
        assert sound.getframerate() == 16000
        assert sound.readframes(10_000) == SOUND


def test_sound_is_at_any_depth_and_images_are_counted(tmp_path: Path) -> None:
    """Long texts stay, and so does sound that is shorter than a reference to it."""
    long = "x" * 300
    text, image, item, tiny = _recorded(
        tmp_path / "trace.jsonl",
        {"type": "response.text.delta", "delta": long},
        {"type": "input_image_buffer.append", "image": "A" * 400},
        {"type": "conversation.item.create", "item": {"content": [_append(SOUND)]}},
        _append(b"abc"),
    )
    assert text["delta"] == long
    assert image["image"] == {"bytes": 300}
    assert item["item"]["content"][0]["audio"]["bytes"] == 1024
    assert tiny["audio"] == "YWJj"


@pytest.mark.parametrize("text", ["A" * 201, "QUJD\n" * 60, "?" * 300])
def test_what_is_no_plain_base64_stays_as_it_came(tmp_path: Path, text: str) -> None:
    """It could not be made again from bytes."""
    assert _recorded(tmp_path / "trace.jsonl", {"type": "x", "audio": text})[0]["audio"] == text


def test_a_recording_gives_back_what_was_sent(tmp_path: Path) -> None:
    """To the byte of the sound, also where a piece is odd."""
    path = tmp_path / "trace.jsonl"
    sent = [_append(SOUND), _append(SOUND[:501]), _append(b"ab"), {"type": "x", "deep": [{"audio": [1]}]}]
    _recorded(path, *sent)
    recording = read_trace(path)
    assert [json.loads(recording.payload(line)) for line in recording.lines[1:]] == sent
    assert [recording.sound(line.event) for line in recording.lines[1:3]] == [SOUND, SOUND[:501]]


def test_the_wav_file_has_the_rate_of_the_session(tmp_path: Path) -> None:
    """As the server confirms it; sound in a container of its own goes into a file of its own."""
    session = {"type": "session.updated", "session": {"model": "qwen3-tts-flash-realtime", "sample_rate": 8000}}
    delta = {"type": "response.audio.delta", "delta": base64.b64encode(SOUND).decode()}
    _recorded(tmp_path / "a.jsonl", session, delta, direction="server")
    with wave.open(str(tmp_path / "a.server.wav")) as sound:
        assert sound.getframerate() == 8000
    session["session"]["response_format"] = "mp3"  # type: ignore[index]
    (_, event) = _recorded(tmp_path / "b.jsonl", session, delta, direction="server")
    assert event["delta"] == {"file": "b.server.stream.mp3", "offset": 0, "bytes": 1024}
    assert (tmp_path / "b.server.stream.mp3").read_bytes() == SOUND


def test_keys_are_struck_out_wherever_they_are(tmp_path: Path) -> None:
    """A server may echo them."""
    path = tmp_path / "trace.jsonl"
    trace = Trace(path)
    trace.record("server", b'{"type":"error","error":{"message":"Incorrect key sk-abc123def456 given"}}')
    trace.record("server", b'{"type":"error", sk-abc123def456 broken')
    trace.close()
    assert "abc123def456" not in path.read_text()
    assert b"abc123def456" not in read_trace(path).payload(read_trace(path).lines[2])
    assert "Incorrect key sk-*** given" in path.read_text()


@pytest.mark.parametrize("payload", [b"\xff", b"{", b"", b'"\xc3"'])
def test_what_cannot_be_decoded_is_kept(tmp_path: Path, payload: bytes) -> None:
    """A trace is most wanted when something is wrong."""
    trace = Trace(tmp_path / "trace.jsonl")
    trace.record("server", payload)
    trace.close()
    assert _lines(tmp_path / "trace.jsonl")[0]["event"]["undecodable_bytes"] == len(payload)
    recording = read_trace(tmp_path / "trace.jsonl")
    assert recording.payload(recording.lines[1]) == payload


def test_many_threads_record_whole_lines(tmp_path: Path) -> None:
    """And what comes after the end is dropped."""
    path = tmp_path / "trace.jsonl"
    trace = Trace(path)

    def record() -> None:
        for _ in range(100):
            trace.record("client", b'{"type":"x"}')

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    trace.close()
    trace.close()
    trace.record("client", b"{}")
    assert len(_lines(path)) == 400


def test_recording_costs_the_wire_a_few_microseconds(tmp_path: Path) -> None:
    """The median over a second of speech, sent by one thread."""
    trace = Trace(tmp_path / "trace.jsonl")
    payload = json.dumps(_append(bytes(4800))).encode()
    took = []
    for _ in range(200):
        before = time.perf_counter()
        trace.record("client", payload)
        took.append(time.perf_counter() - before)
    trace.close()
    assert sorted(took)[100] < 20e-6
    assert trace.dropped == 0


def test_notes_stand_between_the_messages(tmp_path: Path) -> None:
    """For what the wire does not tell."""
    path = tmp_path / "trace.jsonl"
    trace = Trace(path)
    trace.note("player", underruns=2)
    trace.close()
    (line,) = _lines(path)
    assert (line["dir"], line["event"]) == ("note", {"type": "player", "underruns": 2})


def test_a_note_after_the_end_is_added(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As what a player has come to; where that cannot be, it is told and nothing else happens."""
    trace = Trace(tmp_path / "trace.jsonl")
    trace.record("client", b'{"type": "session.finish"}')
    trace.close()
    trace.note("player", underruns=3, key="sk-0123456789")
    first, last = _lines(tmp_path / "trace.jsonl")
    assert (first["event"]["type"], last["dir"]) == ("session.finish", "note")
    assert last["event"] == {"type": "player", "underruns": 3, "key": "sk-***"}
    assert last["t"] >= first["t"]
    (tmp_path / "trace.jsonl").unlink()
    (tmp_path / "trace.jsonl").mkdir()
    trace.note("player", underruns=4)
    assert "a note is missing" in caplog.text


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """By the constructor, as the system's own error."""
    with pytest.raises(FileNotFoundError):
        TTSClient(api_key="k", trace=tmp_path / "missing" / "trace.jsonl")


def test_a_disk_that_fails_later_ends_the_trace_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The session must not suffer."""
    folder = tmp_path / "gone"
    folder.mkdir()
    trace = Trace(folder / "trace.jsonl")
    (folder / "trace.client.wav").mkdir()  # where the sound should go
    with caplog.at_level(logging.ERROR):
        trace.record("client", json.dumps(_append(SOUND)).encode())
        trace.close()
    assert "the trace ends here" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk")
@pytest.mark.parametrize("full", ["trace.jsonl", "trace.server.wav"])
def test_the_end_is_told_though_the_disk_is_full(
    peers: Callable[..., Any], clients: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, full: str
) -> None:
    """What waits in a file's buffer is written when it is closed, and that may be too much."""
    (tmp_path / full).symlink_to("/dev/full")

    def speaks(link: Link) -> None:
        greet(link)
        link.send("response.audio.delta", response_id="r", delta=base64.b64encode(SOUND).decode())
        serve(link)

    client = clients(peers(speaks), trace=tmp_path / "trace.jsonl").connect()
    with caplog.at_level(logging.ERROR):
        client.finish(5)
    assert client.close_info.clean
    assert "No space left" in caplog.text


def test_the_end_is_told_though_there_is_more_sound_than_a_file_can_hold(
    peers: Callable[..., Any], clients: Callable[..., Any], tmp_path: Path
) -> None:
    """The length in a WAV file has 32 bits: a day of speech."""
    heard = threading.Event()

    def speaks(link: Link) -> None:
        greet(link)
        link.send("response.audio.delta", response_id="r", delta=base64.b64encode(SOUND).decode())
        serve(link)

    client = clients(peers(speaks), trace=tmp_path / "trace.jsonl")
    client.on("response.audio.delta", lambda _: heard.set())
    client.connect()
    assert heard.wait(5)
    sound = _SoundFile(tmp_path / "day.wav", 24000)
    assert sound._wave is not None
    sound._wave._datawritten = 2**32  # type: ignore[attr-defined]
    client._trace._writer._sound["day"] = sound
    client.finish(5)
    assert client.close_info.clean


def test_what_cannot_be_a_line_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A note that is no JSON, or a message that is nested too deep to be taken apart."""
    trace = Trace(tmp_path / "trace.jsonl")
    trace.note("odd", value=object())
    trace.record("server", b'{"type":"deep","x":' + b"[" * 900 + b"]" * 900 + b"}")
    trace.note("last")
    trace.close()
    assert [line["event"]["type"] for line in _lines(tmp_path / "trace.jsonl")][-1] == "last"
    assert "a line is missing" in caplog.text


def test_a_trace_that_a_crash_cut_is_read_to_the_cut(tmp_path: Path) -> None:
    """And what is no trace is refused with its line."""
    path = tmp_path / "trace.jsonl"
    _recorded(path, {"type": "a"}, {"type": "b"})
    path.write_bytes(path.read_bytes()[:-9])
    assert [line.type for line in read_trace(path).lines] == ["trace.began", "a"]
    path.write_text("{}\n{}\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_trace(path)
    path.write_text("")
    with pytest.raises(ConfigError, match="empty"):
        read_trace(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_trace(tmp_path / "nowhere.jsonl")


def test_sound_that_was_left_behind_is_missed_by_name(tmp_path: Path) -> None:
    """A trace alone, without its WAV files, can be read but not replayed; and it never reads other files."""
    path = tmp_path / "trace.jsonl"
    _recorded(path, _append(SOUND))
    (tmp_path / "trace.client.wav").unlink()
    recording = read_trace(path)
    assert recording.sound(recording.lines[1].event) == b""
    with pytest.raises(ConfigError, match=r"trace\.client\.wav"):
        recording.payload(recording.lines[1])
    (tmp_path / "secret").write_bytes(SOUND)
    inner = tmp_path / "inner"
    inner.mkdir()
    path.rename(inner / "trace.jsonl")
    text = (inner / "trace.jsonl").read_text().replace("trace.client.wav", "../secret")
    (inner / "trace.jsonl").write_text(text)
    recording = read_trace(inner / "trace.jsonl")
    assert recording.sound(recording.lines[1].event) == b""
