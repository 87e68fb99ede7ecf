"""Connecting that fails: what every failure is held to."""

from __future__ import annotations

import time
import traceback
from typing import Any

import pytest

from qwen_realtime import TTSClient
from qwen_realtime.errors import ConnectionClosed, RealtimeError

__all__ = ["KEY", "QUICK_S", "failure"]

KEY = "sk-0123456789abcdef0123456789abcdef"

# What a refusal on loopback may take, with room for a busy machine; a deadline missed is seconds more.
QUICK_S = 5.0


def failure(url: str, *, quick: bool = True, **options: Any) -> RealtimeError:
    """The error of connecting; checks that it came quickly, left the client closed and does not show the key."""
    client = TTSClient(url=url, api_key=KEY, **{"connect_timeout": 20.0, **options})
    began = time.monotonic()
    with pytest.raises(RealtimeError) as caught:
        client.connect()
    if quick:
        assert time.monotonic() - began < QUICK_S
    assert client.state.value == "closed"
    told = "".join(traceback.format_exception(caught.value)) + repr(client) + repr(client.close_info)
    assert KEY not in told
    with pytest.raises(ConnectionClosed):
        client.append_text("more")
    return caught.value
