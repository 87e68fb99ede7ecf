"""The journal of input audio is bounded; what it could not keep is told, to the millisecond."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import ASRClient, ReconnectPolicy, events, recovery

from ..peer import Link, Peer, created, serve
from ..proxy import Proxy
from .tools import AT_ONCE, Cutter, Log, in_turn


def _listens(link: Link) -> None:
    """An ASR server that hears and never says a word about it."""
    link.accept()
    link.send(created("qwen3-asr-flash-realtime"))
    serve(link)


def _audio(link: Link) -> bytes:
    return b"".join(
        base64.b64decode(event["audio"]) for event in link.events if event["type"] == "input_audio_buffer.append"
    )


def _wait_for_audio(link: Link, size: int) -> None:
    deadline = time.monotonic() + 10
    while len(_audio(link)) < size:
        assert time.monotonic() < deadline, f"{len(_audio(link))} bytes of audio came, not {size}"
        threading.Event().wait(0.02)


class TestWhatIsKept:
    """The journal is bounded; what it could not keep is told, to the millisecond."""

    def test_the_oldest_live_audio_is_dropped_and_counted(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], through: Callable[..., Proxy]
    ) -> None:
        """Half a second was heard, three more come while there is no server; one second is kept."""
        peer = peers(in_turn(*[_listens] * 2))
        proxy = through(peer.url)
        policy = ReconnectPolicy(first_delay=0.05, max_delay=0.05, max_attempts=1000, keep_audio_s=1.0)
        client = clients(proxy, ASRClient, reconnect=policy)
        log = Log(client)
        client.connect()
        blocks = [bytes([number]) * 3200 for number in range(35)]
        for block in blocks[:5]:
            client.append_audio(block)
        peer.link(1).wait_for("input_audio_buffer.append", 5)
        proxy.refuse()
        proxy.cut()
        log.wait_for("reconnecting")
        for block in blocks[5:]:
            client.append_audio(block)
        assert peer.link(1).types.count("input_audio_buffer.append") == 5
        proxy.refuse(False)
        lost = log.wait_for("reconnected").lost
        assert lost.audio_ms == 2500
        assert "older than the journal keeps" in lost.notes[0]
        peer.link(2).wait_for("input_audio_buffer.append", 10)
        assert _audio(peer.link(2)) == b"".join(blocks[25:])
        proxy.cut()
        assert log.wait_for("reconnected", 2).lost == events.Lost(), "what was lost is told once"
        client.close()

    def test_a_file_waits_for_the_server_to_come_back(
        self,
        peers: Callable[..., Peer],
        clients: Callable[..., Any],
        through: Callable[..., Proxy],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """``stream()`` blocks instead of losing."""
        monkeypatch.setattr(recovery, "ROOM_S", 0.3)  # this server never deals with anything
        peer = peers(_listens)
        proxy = through(peer.url)
        policy = ReconnectPolicy(first_delay=0.05, max_delay=0.05, max_attempts=1000, keep_audio_s=4.0)
        client = clients(proxy, ASRClient, reconnect=policy)
        log = Log(client)
        client.connect()
        proxy.refuse()
        proxy.cut()
        log.wait_for("reconnecting")
        sound = b"".join(bytes([number]) * 3200 for number in range(100))
        streaming = threading.Thread(target=lambda: client.stream([sound], "fast", trailing_silence_ms=0))
        streaming.start()
        streaming.join(0.7)
        assert streaming.is_alive(), "ten seconds do not fit into a journal of four"
        proxy.refuse(False)
        assert log.wait_for("reconnected").lost == events.Lost()
        streaming.join(20)
        assert not streaming.is_alive()
        _wait_for_audio(peer.link(2), len(sound))
        assert _audio(peer.link(2)) == sound
        client.close()

    def test_audio_from_several_threads_all_arrives(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], through: Callable[..., Proxy]
    ) -> None:
        """In whole blocks, each thread's in order, each at least in one session and in the last one without a gap."""
        peer = peers(_listens)
        proxy = through(peer.url)
        client = clients(proxy, ASRClient, reconnect=AT_ONCE).connect()
        cutter = Cutter(proxy, 10, 11, 0.01, 0.08)

        def speak(first: int) -> None:
            for number in range(first, first + 60):
                client.append_audio(bytes([number]) * 320)
                threading.Event().wait(0.01)

        threads = [threading.Thread(target=speak, args=(first,)) for first in (0, 60, 120)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert cutter.join() == 10
        proxy.wait_for(11)
        last = peer.link(11)
        _wait_for_audio(last, 180 * 320)
        sound = _audio(last)
        blocks = [sound[start] for start in range(0, len(sound), 320)]
        assert sorted(blocks) == list(range(180))
        for first in (0, 60, 120):
            mine = [number for number in blocks if first <= number < first + 60]
            assert mine == sorted(mine)
        client.close()
