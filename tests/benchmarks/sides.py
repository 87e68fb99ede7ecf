"""The three sides behind one small interface, each used as its own users would.

A handler gets the event's id and its audio as bytes; the same thin call lies between on all sides.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["SIDES", "OnDelta", "Session", "open_asr", "open_tts"]

SIDES = ("vendor", "ours", "floor")
TTS_MODEL = "qwen3-tts-flash-realtime"
ASR_MODEL = "qwen3-asr-flash-realtime"

OnDelta = Callable[[str, bytes], None]


class Session(Protocol):
    """A usable session: connected, configured, and the server has confirmed that."""

    def append_text(self, text: str) -> None:
        """Send text: a command to the benchmarks' server."""

    def close(self) -> None:
        """Close the connection."""


def ignore(_event_id: str, _pcm: bytes) -> None:
    """Take a delta and do nothing."""


def open_tts(side: str, port: int, on_delta: OnDelta = ignore, **options: Any) -> Session:
    """A usable TTS session with the voice set.

    Args:
        side: one of ``SIDES``.
        port: of the benchmarks' server.
        on_delta: called with id and PCM of each audio delta, on that side's thread.
        options: more arguments for our client.
    """
    if side == "vendor":
        return _vendor_tts(port, on_delta)
    if side == "floor":
        from .floor import FloorSession

        return FloorSession(port, on_delta)
    from qwen_realtime import TTSClient

    client = TTSClient(url=_url(port), api_key="any", model=TTS_MODEL, voice="Cherry", **options)
    client.on("response.audio.delta", lambda event: on_delta(event.event_id, event.delta))
    return client.connect()


def _vendor_tts(port: int, on_delta: OnDelta) -> Session:
    import dashscope
    from dashscope.audio.qwen_tts_realtime import QwenTtsRealtime, QwenTtsRealtimeCallback

    updated = threading.Event()

    class Callback(QwenTtsRealtimeCallback):
        def on_event(self, message: Any) -> None:
            if message["type"] == "response.audio.delta":
                on_delta(message["event_id"], base64.b64decode(message["delta"]))
            elif message["type"] == "session.updated":
                updated.set()

    dashscope.api_key = "any"
    session = QwenTtsRealtime(model=TTS_MODEL, callback=Callback(), url=_url(port))
    session.connect()
    session.update_session(voice="Cherry")
    updated.wait(10)
    return session


def open_asr(side: str, port: int) -> tuple[Session, Callable[[bytes], None]]:
    """A session that takes input audio, and its way to send PCM given as bytes."""
    session: Any
    if side == "vendor":
        import dashscope
        from dashscope.audio.qwen_omni import OmniRealtimeCallback, OmniRealtimeConversation

        dashscope.api_key = "any"
        session = OmniRealtimeConversation(model=ASR_MODEL, callback=OmniRealtimeCallback(), url=_url(port))
        session.connect()
        return session, lambda pcm: session.append_audio(base64.b64encode(pcm).decode())
    if side == "floor":
        from .floor import FloorSession

        floor = FloorSession(port, ignore)
        return floor, floor.append_audio
    from qwen_realtime import ASRClient

    session = ASRClient(url=_url(port), api_key="any", model=ASR_MODEL)
    return session.connect(), session.append_audio


def _url(port: int) -> str:
    return f"ws://127.0.0.1:{port}/api-ws/v1/realtime"
