"""Slow handlers and fast servers: pongs go on, memory stays bounded, nothing is lost."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from qwen_realtime import ReconnectPolicy, TTSClient, mailbox
from qwen_realtime.errors import ConnectionClosed

from ..data import base64_of
from ..peer import CLOSE, PING, PONG, TEXT, Link, Peer, created, frame
from .tools import Watch

SLEEP_S = 10.0


def test_a_handler_may_sleep_for_ten_seconds(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """Meanwhile every ping is answered, and what comes is kept for the handlers."""
    asleep, over = threading.Event(), threading.Event()

    def pings(link: Link) -> None:
        link.accept()
        link.send(created())
        link.send("response.audio.delta", response_id="r", delta="AAAA")
        asleep.wait(10)
        number = 0
        while not over.is_set():
            number += 1
            link.raw(frame(str(number).encode(), PING))
            link.send("response.audio.delta", response_id="r", delta=base64_of(bytes(4800)))
            received = link.receive()
            assert (received.opcode, received.payload) == (PONG, str(number).encode())
            link.stop.wait(0.1)
        link.send("response.done", response={"id": "r"})
        while link.receive().opcode != CLOSE:
            pass
        link.close()

    peer = peers(pings)
    client = clients(peer)
    seen: list[int] = []

    def sleepy(event: Any) -> None:
        if not seen:
            asleep.set()
            over.wait(SLEEP_S)
        seen.append(len(event.delta))

    client.on("response.audio.delta", sleepy)
    client.connect()
    assert asleep.wait(5)
    threading.Event().wait(SLEEP_S - 1)
    with client.expect("response.done", 10):
        over.set()
    pongs = sum(received.opcode == PONG for received in peer.link().frames)
    assert pongs >= 40
    assert len(seen) == pongs + 1
    client.close()


def test_a_flood_is_held_back_at_the_bound(
    peers: Callable[..., Peer], clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mailbox takes so many bytes and no more; then TCP tells the server to wait. Nothing is lost."""
    limit = 4 * 1024 * 1024
    monkeypatch.setattr(mailbox.Mailbox.__init__, "__defaults__", (limit,))
    delta, count = base64_of(bytes(30_000)), 1500  # 60 MB
    sent: list[int] = []

    def floods(link: Link) -> None:
        link.accept()
        link.send(created())
        for number in range(count):
            link.send("response.audio.delta", response_id="r", delta=delta)
            sent.append(number)
        link.send("response.done", response={"id": "r"})
        while link.receive().opcode != CLOSE:
            pass
        link.close()

    client = clients(peers(floods), send_timeout=20.0)
    released = threading.Event()
    seen: list[int] = []

    def sleepy(event: Any) -> None:
        released.wait(20)
        seen.append(len(event.delta))

    client.on("response.audio.delta", sleepy)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client.connect()
    still = _until_still(sent)
    assert still < count, "the server was never held back"
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 40 * 1024, "4 MB of messages, their events, and the buffers of two sockets"
    with client.expect("response.done", 20):
        released.set()
    assert seen == [30_000] * count
    client.close()


def _until_still(growing: list[int]) -> int:
    """Wait until a list grows no more; its length."""
    deadline, length = time.monotonic() + 20, -1
    while length != len(growing) or not length:
        assert time.monotonic() < deadline
        length = len(growing)
        threading.Event().wait(0.4)
    return length


def test_polling_is_bounded_too(peers: Callable[..., Peer]) -> None:
    """With ``dispatch="manual"`` and nobody who polls, closing works all the same."""

    def floods(link: Link) -> None:
        link.accept()
        link.send(created())
        while not link.stop.is_set():
            link.send("response.audio.delta", response_id="r", delta="AAAA" * 10_000)

    client = TTSClient(url=peers(floods).url, api_key="k", dispatch="manual", close_timeout=1.0)
    client.connect()
    threading.Event().wait(0.3)
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 1.0 + 0.5 + 1.5


def test_sessions_in_trouble_hold_up_no_other(peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
    """One thread receives for all: neither a full mailbox, nor a break, nor a peer that does not read stops it."""

    def floods(link: Link) -> None:
        link.accept()
        link.send(created())
        while not link.stop.is_set():
            link.send("response.audio.delta", response_id="r", delta="AAAA" * 10_000)

    def leaves(link: Link) -> None:
        link.accept()
        link.send(created())
        link.receive_event("input_text_buffer.append")
        link.cut()

    def is_deaf(link: Link) -> None:
        link.accept()
        link.send(created())
        link.stop.wait(20)

    def answers(link: Link) -> None:
        link.accept()
        link.send(created())
        while (received := link.receive()).opcode != CLOSE:
            if received.opcode == TEXT:
                link.send("response.done", response={"id": received.message["text"]})
        link.close()

    flooded = clients(peers(floods), close_timeout=0.3)
    deaf = clients(peers(is_deaf), close_timeout=0.3, send_timeout=20.0)
    slow = ReconnectPolicy(first_delay=5.0, max_delay=5.0, jitter=0.0)
    broken, good = clients(peers(leaves), reconnect=slow), clients(peers(answers))
    released = threading.Event()
    flooded.on("response.audio.delta", lambda _: released.wait(20))
    for client in (flooded, deaf, broken, good):
        client.connect()
    broken.append_text("This ends the connection.")

    def stuff() -> None:
        with suppress(ConnectionClosed):
            while True:
                deaf.append_text("x" * 100_000)

    stuffing = threading.Thread(target=stuff)
    stuffing.start()
    for number in range(40):
        with Watch() as watch, good.expect("response.done", 5) as answer:
            good.append_text(str(number))
        assert answer.event.response.id == str(number)
        assert watch.seconds < 0.25
        threading.Event().wait(0.01)
    released.set()
    for client in (flooded, deaf, broken):
        client.close()
    stuffing.join(10)
    assert not stuffing.is_alive()
