"""A small part of the fuzzing; ``python -m tests.reliability.fuzz`` is the whole."""

from __future__ import annotations

import logging

import pytest

from qwen_realtime import TTSClient
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from .fuzz import fuzz_codec, fuzz_frames, fuzz_server


@pytest.mark.parametrize("seed", [11, 12])
def test_messages(seed: int) -> None:
    """Whatever comes is an event or a ``ProtocolError``, and no event upsets journal or state."""
    told = fuzz_codec(5000, seed)
    assert min(told["taken"], told["unknown"], told["refused"]) > 200


def test_frames() -> None:
    """Whatever comes is a message, a ``ProtocolError`` or the end."""
    told = fuzz_frames(1000, 13)
    assert told["messages"] > 100
    assert told["ProtocolError"] > 300


def test_the_local_server(tones: Engines, caplog: pytest.LogCaptureFixture) -> None:
    """It answers what it can, drops who breaks the rules, and serves the next; nothing in it fails."""
    with LocalServer(engines=tones) as server:
        with caplog.at_level(logging.ERROR):
            fuzz_server(server.url, 600, 14)
        assert not [each for each in caplog.records if each.exc_info], caplog.text
        with TTSClient(url=server.url, api_key="any", mode="commit") as client:
            assert client.say("Still here.").pcm
