"""A callback that notes everything, and scripts for its server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from qwen_realtime.compat.dashscope.audio.qwen_omni import OmniRealtimeCallback, OmniRealtimeConversation
from qwen_realtime.compat.dashscope.audio.qwen_tts_realtime import QwenTtsRealtimeCallback

from ..peer import CLOSE, Link, Peer

__all__ = ["SECONDS", "Peers", "Recorder", "Script", "greeting_then", "in_turn", "omni", "replying", "until_closed"]

SECONDS = 10.0

Peers: TypeAlias = "Callable[..., Peer]"
Script: TypeAlias = "Callable[[Link], object]"


class Recorder(OmniRealtimeCallback, QwenTtsRealtimeCallback):
    """A callback that notes everything, and does what a test wants where it wants it."""

    def __init__(self, **actions: Callable[[], object]) -> None:
        self.actions = actions  # by "on_open", "on_close" or an event's type
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.closed: list[tuple[int, str]] = []
        self.messages: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def _note(self, call: str) -> None:
        action = self.actions.get(call.replace(".", "_"))
        with self._changed:
            self.calls.append(call)
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()
        if action is not None:
            action()

    def on_open(self) -> None:
        """Note it."""
        self._note("on_open")

    def on_close(self, close_status_code: int, close_msg: str) -> None:
        """Note it."""
        self.closed.append((close_status_code, close_msg))
        self._note("on_close")

    def on_event(self, message: dict[str, Any]) -> None:
        """Note it."""
        self.messages.append(message)
        self._note(message["type"])

    def wait_for(self, call: str) -> None:
        """Wait until something has been called."""
        with self._changed:
            assert self._changed.wait_for(lambda: call in self.calls, SECONDS), f"{call} is not among {self.calls}"


def omni(peer: Peer, callback: Any = None, **options: Any) -> OmniRealtimeConversation:
    """A conversation with a peer."""
    return OmniRealtimeConversation("any-model", callback or Recorder(), url=peer.url, api_key="k", **options)


def replying(link: Link) -> None:
    """A server with one reply, which takes a while, and then waits to be closed."""
    link.accept()
    link.send("session.created", session={"id": "sess_7"})
    link.send("response.created", response={"id": "resp_1"})
    time.sleep(0.05)
    link.send("response.audio_transcript.delta", response_id="resp_1", delta="Hi")
    time.sleep(0.05)
    link.send("response.audio.delta", response_id="resp_1", delta="AAA=")
    link.send("response.audio.delta", response_id="resp_1", delta="AAA=")
    link.send("response.done", response={"id": "resp_1", "status": "completed"})
    until_closed(link)


def until_closed(link: Link) -> None:
    """Read until the client closes, and answer that."""
    while link.receive().opcode != CLOSE:
        pass
    link.close()


def in_turn(*scripts: Script) -> Callable[[Link], None]:
    """One script after the other."""

    def run(link: Link) -> None:
        for script in scripts:
            script(link)

    return run


def greeting_then(*scripts: Script) -> Callable[[Link], None]:
    """A server that creates a session and then does something else."""
    return in_turn(Link.accept, lambda link: link.send("session.created", session={"id": "sess_1"}), *scripts)
