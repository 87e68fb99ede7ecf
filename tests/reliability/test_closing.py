"""Closing: from anywhere, at any moment, against any peer, in bounded time, and with nothing left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime import ASRClient, ReconnectPolicy, TTSClient
from qwen_realtime.errors import ConnectionClosed, RealtimeError, WaitTimeout
from qwen_realtime.server import LocalServer, Stall
from qwen_realtime.server.engines import Engines

from ..peer import Link, Peer, created, polite
from ..proxy import Proxy
from .tools import Log

CLOSE_S = 0.4
GRACE_S = 0.5  # what the contract allows on top of close_timeout
LOAD_S = 1.5  # and what a machine that others share may take on top of that

SAMPLES = Path(__file__).parents[2] / "samples"


# A part of the others; and one whose worker processes are Dask's, which gives them four seconds to end.
OTHERS = {"where.py", "many_files.py"}
NEED_SOUND = {"speak_aloud.py", "microphone_captions.py", "voice_chat.py", "live_interpreter.py"}


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
        began = time.monotonic()
        closing.set()
        CALLERS[caller](client)
        assert time.monotonic() - began < CLOSE_S + GRACE_S + LOAD_S
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
        began = time.monotonic()
        client.close()
        thread.join(5)
        assert time.monotonic() - began < CLOSE_S + GRACE_S + LOAD_S
        assert len(raised) == 1
        assert client.state.value == "closed"

    def test_while_the_handshake_is_not_answered(self, peers: Callable[..., Peer]) -> None:
        """A server that takes the TCP connection and nothing else."""
        client = TTSClient(url=peers(lambda link: link.stop.wait(20)).url, api_key="k", connect_timeout=30.0)
        raised: list[BaseException] = []

        def connect() -> None:
            try:
                client.connect()
            except RealtimeError as error:
                raised.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        threading.Event().wait(0.1)
        began = time.monotonic()
        client.close()
        thread.join(5)
        assert time.monotonic() - began < GRACE_S + LOAD_S
        assert "closed while connecting" in str(raised[0])

    def test_while_a_handler_does_not_return(self, peers: Callable[..., Peer]) -> None:
        """Its caller is told to wait no longer; the handler gets its time."""
        client = TTSClient(url=peers(polite).url, api_key="k", close_timeout=CLOSE_S)
        released = threading.Event()
        log = Log(client)
        client.on("connected", lambda _: released.wait(20))
        client.connect()
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < CLOSE_S + GRACE_S + LOAD_S
        released.set()
        client.wait(5)
        assert log.names.count("disconnected") == 1


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
        began = time.monotonic()
        with pytest.raises((WaitTimeout, ConnectionClosed)):
            client.finish(0.4)
        assert time.monotonic() - began < 0.4 + CLOSE_S + GRACE_S + LOAD_S
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


class TestNothingIsLeft:
    """Neither threads, nor descriptors, nor memory."""

    @pytest.mark.parametrize("reconnect", [None, ReconnectPolicy()], ids=["plain", "reconnecting"])
    def test_a_thousand_cycles(self, peers: Callable[..., Peer], reconnect: ReconnectPolicy | None) -> None:
        """The second half of them costs nothing that stays."""
        peer = peers(polite)
        cycles = 1000 if reconnect is None else 300

        def cycle() -> None:
            client = ASRClient(url=peer.url, api_key="k", reconnect=reconnect)
            client.on("*", lambda _: None)
            with client:
                client.append_audio(bytes(640))

        def settle() -> tuple[int, int, int]:
            for thread in peer._threads:
                thread.join(5)
            peer._threads.clear()
            peer._links.clear()
            gc.collect()
            return threading.active_count(), descriptors(), len(gc.get_objects())

        for _ in range(cycles // 10):
            cycle()
        threads, files, objects = settle()
        for number in range(cycles):
            cycle()
            if number % 100 == 0:
                settle()
        after = settle()
        assert after[0] <= threads
        assert after[1] <= files
        assert after[2] - objects < 300, "some objects of each cycle stay"


_FORK = """
import os, sys, threading
from qwen_realtime import TTSClient
client = TTSClient(url=sys.argv[1], api_key="k", mode="commit").connect()
client.say("Before.")
child = os.fork()
if child == 0:
    {child}
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, status
speech = client.say("And after.")
assert speech.pcm
client.finish(10)
assert client.close_info.clean, client.close_info
print("good")
"""

_LEAVES = """
import sys, threading, logging
logging.basicConfig(level=logging.DEBUG)
from qwen_realtime import TTSClient, ASRClient, ReconnectPolicy
come = threading.Event()
clients = [kind(url=sys.argv[1], api_key="k", reconnect=policy).connect()
           for kind in (TTSClient, ASRClient) for policy in (None, ReconnectPolicy())]
for client in clients:
    client.on("*", lambda event: come.set())
for client in clients[:2]:
    client.append_text("A text that is being spoken when the program ends. " * 20)
come.wait(10)
print("good")
"""


def _run(program: str, url: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(path), url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=SAMPLES.parent,
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
    )


class TestProcesses:
    """Forks, exits and Ctrl-C."""

    @pytest.mark.parametrize(
        "child", ["pass", "client.close()", "client.__exit__(None, None, None)"], ids=["exits", "closes", "leaves with"]
    )
    def test_a_fork_does_not_touch_its_parents_session(self, tones: Engines, tmp_path: Path, child: str) -> None:
        """The child ends, whatever it does with the client, and the parent's session goes on."""
        with LocalServer(engines=tones) as server:
            ended = _run(_FORK.format(child=child), server.url, tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == "good\n"
        assert "Error" not in ended.stderr

    def test_a_fork_cannot_send(self, tones: Engines, tmp_path: Path) -> None:
        """It has neither the threads nor the right to the socket."""
        child = """
    try:
        client.append_text("From the child.")
    except Exception as error:
        assert "fork" in str(error), error
    else:
        sys.exit(3)"""
        with LocalServer(engines=tones) as server:
            ended = _run(_FORK.format(child=child), server.url, tmp_path)
        assert ended.returncode == 0, ended.stderr

    def test_a_program_may_end_with_open_sessions(self, tones: Engines, tmp_path: Path) -> None:
        """At once, with status 0 and without a complaint."""
        with LocalServer(engines=tones, pace=1.0) as server:
            began = time.monotonic()
            for _ in range(3):
                ended = _run(_LEAVES, server.url, tmp_path)
                assert ended.returncode == 0, ended.stderr
                assert ended.stdout == "good\n"
                assert "Traceback" not in ended.stderr
                assert "Fatal" not in ended.stderr
            assert time.monotonic() - began < 30

    @pytest.mark.parametrize("name", sorted({path.name for path in SAMPLES.glob("*.py")} - NEED_SOUND - OTHERS))
    def test_ctrl_c_ends_a_sample(self, tones: Engines, tmp_path: Path, name: str) -> None:
        """Within a second, while it waits for a server that has fallen silent."""
        falls_silent = ["response.created", "input_audio_buffer.speech_started", "conversation.item.created"]
        faults = [Stall(on=each, times=0) for each in falls_silent]
        with LocalServer(engines=tones, faults=faults) as server:
            program = subprocess.Popen(
                [sys.executable, str(SAMPLES / name)],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "QWEN_REALTIME_URL": server.url, "DASHSCOPE_API_KEY": "k"},
            )
            deadline = time.monotonic() + 20
            while not server.sessions and program.poll() is None and time.monotonic() < deadline:
                threading.Event().wait(0.05)
            threading.Event().wait(0.5)
            assert program.poll() is None, "it should be waiting"
            began = time.monotonic()
            program.send_signal(signal.SIGINT)
            try:
                _, told = program.communicate(timeout=10)
            finally:
                program.kill()
            assert time.monotonic() - began < 1.0 + LOAD_S, told
            assert program.returncode != 0
