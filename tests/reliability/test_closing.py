"""Closing: from anywhere, at any moment, against any peer, in bounded time, and with nothing left behind."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import ASRClient, ReconnectPolicy, TTSClient
from qwen_realtime.errors import ConnectionClosed, RealtimeError, WaitTimeout

from ..peer import Link, Peer, created, polite
from ..proxy import Proxy
from .tools import Log, Watch

CLOSE_S = 0.4
GRACE_S = 0.5  # what the contract allows on top of close_timeout


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Iterator[None]:
    """Fail a test that leaves a descriptor behind."""
    before = descriptors()
    yield
    deadline = time.monotonic() + 5
    while descriptors() > before and time.monotonic() < deadline:
        gc.collect()
        threading.Event().wait(0.05)
    assert descriptors() <= before


def silent(link: Link) -> None:
    """A peer that reads, and answers nothing, not even a close frame."""
    link.accept()
    link.send(created())
    link.read_on()
    link.stop.wait(20)


def never_reading(link: Link) -> None:
    """A peer that does not read."""
    link.accept()
    link.send(created())
    link.stop.wait(20)


def flooding(link: Link) -> None:
    """A peer that never stops to talk, and does not read."""
    link.accept()
    link.send(created())
    while not link.stop.is_set():
        link.send("response.audio.delta", response_id="r", delta="AAAA" * 3000)


def _turns_away(link: Link) -> None:
    link.accept()
    link.close(1011)


PEERS = {"polite": polite, "silent": silent, "never reading": never_reading, "flooding": flooding, "half open": polite}


def _from_main(client: Any) -> None:
    client.close()


def _twice(client: Any) -> None:
    client.close()
    client.close()


def _from_threads(client: Any) -> None:
    threads = [threading.Thread(target=client.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


def _from_a_handler(client: Any) -> None:
    client.wait(10)


CALLERS = {
    "main": _from_main,
    "twice": _twice,
    "four threads": _from_threads,
    "a handler": _from_a_handler,
}


class TestClose:
    """``close()`` against peers that do not help."""

    @pytest.mark.parametrize("who", PEERS)
    @pytest.mark.parametrize("caller", CALLERS)
    def test_it_is_bounded(
        self, peers: Callable[..., Peer], through: Callable[..., Proxy], who: str, caller: str
    ) -> None:
        """Within ``close_timeout`` and half a second; ``Disconnected`` comes once and says that it was us."""
        peer = peers(PEERS[who])
        proxy = through(peer.url)
        client = TTSClient(url=proxy.url, api_key="k", close_timeout=CLOSE_S, send_timeout=1.0, connect_timeout=5.0)
        log = Log(client)
        closing = threading.Event()

        def close_in_a_handler(_: object) -> None:
            closing.wait(5)
            client.close()

        if caller == "a handler":
            client.on("connected", close_in_a_handler)
        client.connect()
        if who == "half open":
            proxy.black_hole()
        if who == "never reading":
            _fill(client)
        with Watch() as watch:
            closing.set()
            CALLERS[caller](client)
        assert watch.seconds < CLOSE_S + GRACE_S
        info = client.wait(5)
        assert log.names == ["connected", "disconnected"]
        # a peer that does not read has been given up for it before
        assert info.by == ("client" if who != "never reading" else "network")
        assert client.state.value == "closed"
        with pytest.raises(ConnectionClosed):
            client.append_text("too late")

    def test_while_connecting(self, peers: Callable[..., Peer]) -> None:
        """The ``connect()`` on the other thread raises at once."""

        def mute(link: Link) -> None:
            link.accept()
            link.read_on()

        peer = peers(mute)
        client = TTSClient(url=peer.url, api_key="k", connect_timeout=30.0, close_timeout=CLOSE_S)
        raised: list[BaseException] = []

        def connect() -> None:
            try:
                client.connect()
            except RealtimeError as error:
                raised.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        peer.link()
        with Watch() as watch:
            client.close()
            thread.join(5)
        assert watch.seconds < CLOSE_S + GRACE_S
        assert len(raised) == 1
        assert client.state.value == "closed"

    @pytest.mark.parametrize("phase", ["tcp", "proxy", "tls", "handshake"])
    def test_while_a_phase_of_connecting_hangs(self, peers: Callable[..., Peer], phase: str) -> None:
        """A server that takes no connection, a proxy or a server that takes it and does nothing else."""
        hangs = peers(lambda link: link.stop.wait(20))
        url, proxy = hangs.url, None
        with contextlib.ExitStack() as stack:
            if phase == "tcp":
                url = f"ws://127.0.0.1:{stack.enter_context(_full_queue())}/"
            elif phase == "proxy":
                proxy = url.replace("ws://", "http://")
            elif phase == "tls":
                url = url.replace("ws://", "wss://")
            client = TTSClient(url=url, api_key="k", proxy=proxy, connect_timeout=30.0, close_timeout=CLOSE_S)
            raised: list[BaseException] = []

            def connect() -> None:
                try:
                    client.connect()
                except RealtimeError as error:
                    raised.append(error)

            thread = threading.Thread(target=connect)
            thread.start()
            threading.Event().wait(0.2)
            with Watch() as watch:
                client.close()
                thread.join(5)
        assert watch.seconds < CLOSE_S + GRACE_S
        assert "closed while connecting" in str(raised[0])
        assert getattr(raised[0], "phase", "") == phase

    def test_while_another_thread_is_stuck_sending(self, peers: Callable[..., Peer]) -> None:
        """The peer does not read: the sender is freed by the end, long before ``send_timeout``."""
        client = TTSClient(url=peers(never_reading).url, api_key="k", close_timeout=CLOSE_S, send_timeout=60.0)
        log = Log(client)
        client.connect()
        thread = threading.Thread(target=_fill, args=(client,))
        thread.start()
        threading.Event().wait(0.3)
        assert thread.is_alive()
        with Watch() as watch:
            client.close()
            thread.join(5)
        assert watch.seconds < CLOSE_S + GRACE_S
        assert not thread.is_alive()
        assert log.names == ["connected", "disconnected"]

    @pytest.mark.parametrize("event", ["connected", "response.audio.delta", "disconnected", "*"])
    @pytest.mark.parametrize("dispatch", ["thread", "manual"])
    def test_in_each_handler_of_a_flood(self, peers: Callable[..., Peer], event: str, dispatch: Any) -> None:
        """Again and again, also in the handler of the end itself, and where the caller polls."""
        client = TTSClient(url=peers(flooding).url, api_key="k", close_timeout=CLOSE_S, dispatch=dispatch)
        log = Log(client)
        connected = threading.Event()

        def close(_: object) -> None:
            connected.wait(5)
            client.close()

        client.on(event, close)
        client.connect()
        with Watch() as watch:
            connected.set()
            if event == "disconnected":
                client.close()
            deadline = time.monotonic() + 3
            while dispatch == "manual" and "disconnected" not in log.names and time.monotonic() < deadline:
                client.poll(0.05)
            info = client.wait(3)
        assert watch.seconds < CLOSE_S + GRACE_S
        assert info.by == "client"
        assert log.names == ["connected", "disconnected"]

    def test_while_a_handler_does_not_return(self, peers: Callable[..., Peer]) -> None:
        """Its caller is told to wait no longer; the handler gets its time."""
        client = TTSClient(url=peers(polite).url, api_key="k", close_timeout=CLOSE_S)
        released = threading.Event()
        log = Log(client)
        client.on("connected", lambda _: released.wait(20))
        client.connect()
        with Watch() as watch:
            client.close()
        assert watch.seconds < CLOSE_S + GRACE_S
        released.set()
        client.wait(5)
        assert log.names.count("disconnected") == 1


@contextlib.contextmanager
def _full_queue() -> Iterator[int]:
    """The port of a listener that has no room for another connection: the system lets who asks wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def _fill(client: Any) -> None:
    """Send to a peer that does not read, until the system takes no more."""
    try:
        for _ in range(10_000):
            client.append_text("x" * 100_000)
    except ConnectionClosed:
        return
    pytest.fail("a gigabyte was sent to nobody")


class TestFinish:
    """``finish()`` against peers that do not help."""

    @pytest.mark.parametrize("who", ["silent", "never reading", "flooding", "half open"])
    def test_it_keeps_its_deadline(self, peers: Callable[..., Peer], through: Callable[..., Proxy], who: str) -> None:
        """It raises, and the connection is closed all the same."""
        proxy = through(peers(PEERS[who]).url)
        client = TTSClient(url=proxy.url, api_key="k", close_timeout=CLOSE_S, send_timeout=1.0)
        log = Log(client)
        client.connect()
        if who == "half open":
            proxy.black_hole()
        with Watch() as watch, pytest.raises((WaitTimeout, ConnectionClosed)):
            client.finish(0.4)
        assert watch.seconds < 0.4 + CLOSE_S + GRACE_S
        client.wait(5)
        assert log.names.count("disconnected") == 1
        assert client.state.value == "closed"

    def test_from_several_threads_at_once(self, peers: Callable[..., Peer]) -> None:
        """All of them return when the session has ended."""
        client = TTSClient(url=peers(polite).url, api_key="k")
        log = Log(client)
        client.connect()
        threads = [threading.Thread(target=client.finish, args=(5,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert log.names == ["connected", "disconnected"]
        assert client.close_info is not None
        assert client.close_info.clean


class Leaks:
    """What this process holds: threads, descriptors, objects and memory."""

    def __init__(self, peer: Peer | None) -> None:
        for thread in peer._threads if peer is not None else ():
            thread.join(5)
        if peer is not None:
            peer._threads.clear()
            peer._links.clear()
        for thread in threading.enumerate():
            if thread.name == "qwen-receive":  # goes with the last connection, a moment after it
                thread.join(5)
        gc.collect()
        self.threads = threading.active_count()
        self.descriptors = descriptors()
        self.objects = len(gc.get_objects())
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        self.megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def check_since(self, before: Leaks) -> None:
        """Fail if there is more than there was."""
        assert self.threads <= before.threads
        assert self.descriptors <= before.descriptors
        assert self.objects - before.objects < 300, "some objects of each cycle stay"
        assert self.megabytes - before.megabytes < 10, "some memory of each cycle stays"


class TestNothingIsLeft:
    """Neither threads, nor descriptors, nor memory."""

    @pytest.mark.parametrize("reconnect", [None, ReconnectPolicy()], ids=["plain", "reconnecting"])
    def test_a_thousand_cycles(self, peers: Callable[..., Peer], reconnect: ReconnectPolicy | None) -> None:
        """All but the first of them cost nothing that stays."""
        peer = peers(polite)

        def cycle() -> None:
            client = ASRClient(url=peer.url, api_key="k", reconnect=reconnect)
            client.on("*", lambda _: None)
            with client:
                client.append_audio(bytes(640))

        for _ in range(100):
            cycle()
        before = Leaks(peer)
        for number in range(1000):
            cycle()
            if number % 100 == 0:
                Leaks(peer)
        Leaks(peer).check_since(before)

    @pytest.mark.parametrize("why", ["nobody listens", "401", "no certificate", "hangs up", "no session"])
    def test_a_connection_that_does_not_come_about(self, peers: Callable[..., Peer], why: str) -> None:
        """The ways out of a failure give back what was taken, too."""
        scripts: dict[str, Callable[[Link], None]] = {
            "401": lambda link: link.answer("401 Unauthorized", b"no"),
            "hangs up": lambda link: link.accept(),
            "no session": _turns_away,
        }
        peer = peers(scripts.get(why, lambda link: link.cut()))
        url = peer.url.replace("ws://", "wss://") if why == "no certificate" else peer.url
        if why == "nobody listens":
            with socket.create_server(("127.0.0.1", 0)) as unused:
                url = f"ws://127.0.0.1:{unused.getsockname()[1]}/"

        def cycle() -> None:
            with pytest.raises(RealtimeError):
                ASRClient(url=url, api_key="k", reconnect=ReconnectPolicy()).connect()

        for _ in range(20):
            cycle()
        before = Leaks(peer)
        for _ in range(100):
            cycle()
        Leaks(peer).check_since(before)
