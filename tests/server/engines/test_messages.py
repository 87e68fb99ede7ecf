"""Frames in the pipes."""

from __future__ import annotations

import io

import pytest

from qwen_realtime.server.engines import Final, Flushed, Partial, SpeechStarted, TurnDetection
from qwen_realtime.server.engines.messages import (
    Answer,
    Audio,
    Done,
    Feed,
    Heard,
    Listen,
    Request,
    Stop,
    pack,
    read_answer,
    read_request,
)


def test_requests_come_back_as_they_were_sent() -> None:
    """Each request keeps its class and its fields, the absent turn detection of manual mode too."""
    requests: list[Request] = [
        Listen(1, 16000, TurnDetection(0.3, 400), "en", "assistant", transcribe=True, clock_ms=7),
        Listen(2, 16000, None, None, "general", transcribe=False),
        Feed(1, b"\0\1" * 5),
        Stop(1),
    ]
    stream = io.BytesIO(b"".join(map(pack, requests)))
    assert [read_request(stream) for _ in requests] == requests
    assert read_request(stream) is None


def test_answers_come_back_as_they_were_sent() -> None:
    """Results keep their classes inside the answer."""
    answers: list[Answer] = [
        Audio(3, b"\xff\x7f"),
        Done(3, "why"),
        Heard(4, SpeechStarted(5)),
        Heard(4, Partial("so", " far")),
        Heard(4, Final("so far", 5, 6, "en")),
        Heard(4, Flushed()),
    ]
    stream = io.BytesIO(b"".join(map(pack, answers)))
    assert [read_answer(stream) for _ in answers] == answers


def test_a_frame_cut_short_is_the_end() -> None:
    """A process that dies while writing leaves half a frame, which is not an error of its own."""
    frame = pack(Feed(1, b"1234"))
    for length in range(len(frame)):
        assert read_request(io.BytesIO(frame[:length])) is None


def test_a_length_that_cannot_be_is_refused() -> None:
    """A pipe out of step must not make the reader wait for gigabytes."""
    with pytest.raises(ValueError, match="out of step"):
        read_answer(io.BytesIO(b"\xff\xff\xff\xff"))
