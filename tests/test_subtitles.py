"""Subtitle files: their form, their cues, and that a crash leaves what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import ASRClient, ConfigError, LiveTranslateClient, TTSClient
from qwen_realtime.subtitles import SubtitleWriter
from tests.peer import Link, Peer, created


def test_srt_numbers_its_cues(tmp_path: Path) -> None:
    """SRT: a number, the times with a comma, the text."""
    with SubtitleWriter(tmp_path / "a.srt") as subtitles:
        subtitles.cue(0, 1234, "Good morning.")
        subtitles.cue(3_600_000, 3_661_001, "An hour later.")
    text = (tmp_path / "a.srt").read_text(encoding="utf-8")
    assert text == (
        "1\n00:00:00,000 --> 00:00:01,234\nGood morning.\n\n2\n01:00:00,000 --> 01:01:01,001\nAn hour later.\n\n"
    )


def test_vtt_begins_with_its_name(tmp_path: Path) -> None:
    """WebVTT: a header, the times with a point, no numbers."""
    with SubtitleWriter(tmp_path / "a.vtt") as subtitles:
        subtitles.cue(0, 1000, "你好", "Hello")
    text = (tmp_path / "a.vtt").read_text(encoding="utf-8")
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n你好\nHello\n\n"


def test_long_text_becomes_several_cues(tmp_path: Path) -> None:
    """No cue has more than two lines of 42 characters, and their times follow one another without a gap."""
    with SubtitleWriter(tmp_path / "a.srt") as subtitles:
        subtitles.cue(0, 10_000, "word " * 60)
        assert subtitles.cues == 4
    blocks = (tmp_path / "a.srt").read_text(encoding="utf-8").strip().split("\n\n")
    times = [block.split("\n")[1].split(" --> ") for block in blocks]
    assert [end for _, end in times[:-1]] == [start for start, _ in times[1:]]
    assert times[-1][1] == "00:00:10,000"
    for block in blocks:
        assert len(block.split("\n")) <= 4
        assert max(map(len, block.split("\n")[2:])) <= 42


def test_what_is_written_is_on_disk_at_once(tmp_path: Path) -> None:
    """A cue is there before the file is closed: a crash costs only what was not said yet."""
    subtitles = SubtitleWriter(tmp_path / "a.srt")
    subtitles.cue(0, 1000, "Still here.")
    assert "Still here." in (tmp_path / "a.srt").read_text(encoding="utf-8")
    subtitles.close()
    subtitles.close()


def recogniser(link: Link) -> None:
    """Recognise two utterances, and leave a third one open."""
    link.accept()
    link.send(created("qwen3-asr-flash-realtime"))
    for number, (start, end, text) in enumerate([(100, 900, "One."), (1500, 2500, "Two.")]):
        link.send("input_audio_buffer.speech_started", audio_start_ms=start, item_id=f"item_{number}")
        link.send("input_audio_buffer.speech_stopped", audio_end_ms=end, item_id=f"item_{number}")
        link.send("conversation.item.input_audio_transcription.completed", item_id=f"item_{number}", transcript=text)
    link.send("session.finished")
    link.stop.wait(10)


def test_a_recogniser_makes_one_cue_per_utterance(
    tmp_path: Path, peers: Callable[..., Peer], clients: Callable[..., Any]
) -> None:
    """Times come from voice activity, text from the completed transcription."""
    client = clients(peers(recogniser), ASRClient)
    with SubtitleWriter(tmp_path / "a.srt").attach(client) as subtitles:
        with client.expect("session.finished", timeout=5):
            client.connect()
        assert subtitles.cues == 2
    text = (tmp_path / "a.srt").read_text(encoding="utf-8")
    assert "00:00:01,500 --> 00:00:02,500\nTwo." in text


def interpreter(link: Link) -> None:
    """Interpret one utterance whose translation ends before its transcription."""
    link.accept()
    link.send(created("qwen3.5-livetranslate-flash-realtime"))
    link.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_source")
    item = {"id": "item_translation", "type": "message", "role": "assistant", "content": []}
    link.send("conversation.item.created", previous_item_id="item_source", item=item)
    link.send("response.audio_transcript.done", response_id="r", item_id="item_translation", transcript="Hola.  ")
    link.send("input_audio_buffer.speech_stopped", audio_end_ms=700, item_id="item_source")
    link.send("conversation.item.input_audio_transcription.completed", item_id="item_source", transcript="Hello.")
    link.send("response.done", response={"id": "r", "status": "completed"})
    link.send("session.finished")
    link.stop.wait(10)


def test_an_interpreter_makes_bilingual_cues(
    tmp_path: Path, peers: Callable[..., Peer], clients: Callable[..., Any]
) -> None:
    """Both languages stand in one cue, whichever came first."""
    client = clients(peers(interpreter), LiveTranslateClient)
    with SubtitleWriter(tmp_path / "a.vtt").attach(client), client.expect("session.finished", timeout=5):
        client.connect()
    text = (tmp_path / "a.vtt").read_text(encoding="utf-8")
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:00.700\nHello.\nHola.\n\n"


def test_other_things_are_refused(tmp_path: Path, peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """A format that is none, and a client that hears nothing."""
    with pytest.raises(ConfigError, match="'srt' or 'vtt'"):
        SubtitleWriter(tmp_path / "a", format="txt")  # type: ignore[arg-type]
    with SubtitleWriter(tmp_path / "a") as subtitles, pytest.raises(ConfigError, match="no subtitles"):
        subtitles.attach(clients(peers(), TTSClient))
