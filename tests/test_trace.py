"""Recordings of the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import ASRClient, TTSClient
from qwen_realtime.trace import Trace

from .peer import polite


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_session_is_recorded_in_both_directions(peers: Callable[..., Any], tmp_path: Path) -> None:
    """In the order of the wire, with times, without the key and without audio."""
    path = tmp_path / "trace.jsonl"
    with ASRClient(url=peers(polite).url, api_key="sk-verysecret", trace=path) as client:
        client.append_audio(bytes(3200))
    lines = _lines(path)
    assert [(line["dir"], line["event"]["type"]) for line in lines] == [
        ("server", "session.created"),
        ("client", "input_audio_buffer.append"),
        ("client", "session.finish"),
        ("server", "session.finished"),
    ]
    assert lines[1]["event"]["audio"] == "<4268 characters of base64>"
    times = [line["t"] for line in lines]
    assert times == sorted(times)
    assert "verysecret" not in path.read_text()


def test_only_audio_is_left_out(tmp_path: Path) -> None:
    """At any depth; long texts stay."""
    path, long = tmp_path / "trace.jsonl", "x" * 300
    trace = Trace(path)
    for event in (
        {"type": "response.audio.delta", "delta": long},
        {"type": "response.text.delta", "delta": long},
        {"type": "input_image_buffer.append", "image": long},
        {"type": "conversation.item.create", "item": {"content": [{"type": "input_audio", "audio": long}]}},
        {"type": "response.audio.delta", "delta": "AAAA"},
    ):
        trace.record("client", json.dumps(event).encode())
    trace.close()
    short = "<300 characters of base64>"
    audio, text, image, item, tiny = (line["event"] for line in _lines(path))
    assert (audio["delta"], text["delta"], image["image"], tiny["delta"]) == (short, long, short, "AAAA")
    assert item["item"]["content"][0]["audio"] == short


@pytest.mark.parametrize("payload", [b"\xff", b"{", b"", b'"\xc3"'])
def test_what_cannot_be_decoded_is_recorded_by_its_length(tmp_path: Path, payload: bytes) -> None:
    """A trace is most wanted when something is wrong."""
    trace = Trace(tmp_path / "trace.jsonl")
    trace.record("server", payload)
    trace.close()
    assert _lines(tmp_path / "trace.jsonl")[0]["event"]["undecodable_bytes"] == len(payload)


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


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """By the constructor, as the system's own error."""
    with pytest.raises(FileNotFoundError):
        TTSClient(api_key="k", trace=tmp_path / "missing" / "trace.jsonl")
