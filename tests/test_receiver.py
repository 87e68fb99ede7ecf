"""The one thread that receives for all connections: who is called when, and that it comes and goes."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from qwen_realtime import TTSClient, receiver
from qwen_realtime.receiver import NEVER, Receiver, Wish, receive

from .peer import Link, created, polite


class Listener:
    """A source that counts its steps and takes what comes."""

    receiver: Receiver

    def __init__(self, wishes: Callable[[Listener], Wish | None] = lambda _: Wish(True, NEVER)) -> None:
        self.sock, self.far = socket.socketpair()
        self.sock.setblocking(False)
        self.received = b""
        self.steps = 0
        self.threads: set[str] = set()
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self._wishes = wishes

    def fileno(self) -> int:
        """The descriptor."""
        return self.sock.fileno()

    def step(self) -> Wish | None:
        """Take something, unless it is not to be read."""
        wish = self._wishes(self)
        gone = False
        if wish is not None and wish.reading:
            try:
                data = self.sock.recv(100)
                gone = not data
                self.received += data
            except BlockingIOError:
                pass
        with self.changed:
            self.steps += 1
            self.threads.add(threading.current_thread().name)
            self.changed.notify_all()
        return None if gone else wish

    def end(self) -> None:
        """Close."""
        self.sock.close()
        self.ended.set()

    def wait(self, done: Callable[[], bool]) -> bool:
        """Wait for something that a step brings."""
        with self.changed:
            return self.changed.wait_for(done, 5)


@pytest.fixture
def listeners() -> Iterator[Callable[..., Listener]]:
    """Make sources, which end with the test."""
    made: list[Listener] = []

    def make(wishes: Callable[[Listener], Wish | None] = lambda _: Wish(True, NEVER)) -> Listener:
        made.append(Listener(wishes))
        return made[-1]

    yield make
    for listener in made:
        listener.far.close()
        listener._wishes = lambda _: Wish(True, NEVER)
        listener.receiver.poke(listener)
    for listener in made:
        assert listener.ended.wait(5)


def test_all_sources_share_one_thread(listeners: Callable[..., Listener]) -> None:
    """However many they are."""
    sources = [listeners() for _ in range(20)]
    for source in sources:
        receive(source)
    for number, source in enumerate(sources):
        source.far.sendall(bytes([number]))
    for number, source in enumerate(sources):
        assert source.wait(lambda source=source, number=number: source.received == bytes([number]))  # type: ignore[misc]
    assert {name for source in sources for name in source.threads} == {"qwen-receive"}
    assert sum(thread.name == "qwen-receive" for thread in threading.enumerate()) == 1


def test_it_goes_with_the_last_source_and_comes_with_the_next(listeners: Callable[..., Listener]) -> None:
    """Nothing is left of it in between."""
    for number in range(50):
        source = listeners()
        receive(source)
        thread = source.receiver._thread
        source.far.close()
        assert source.ended.wait(5)
        if number % 2:  # else the next one comes while this one goes
            thread.join(5)
            assert not thread.is_alive()
            assert receiver._receiver is None


def test_an_hour_is_kept(listeners: Callable[..., Listener]) -> None:
    """A step by the time wished for, though nothing comes; the nearer one where the wish has changed."""
    began = time.monotonic()
    source = listeners(lambda source: Wish(True, began + 60 if source.steps == 0 else began + 0.05 * source.steps))
    receive(source)
    assert source.wait(lambda: source.steps == 1)
    source.receiver.poke(source)
    assert source.wait(lambda: source.steps >= 4)
    assert 0.05 * 2 <= time.monotonic() - began < 5


def test_what_is_not_wanted_is_not_read(listeners: Callable[..., Listener]) -> None:
    """Until a poke changes the wish."""
    open_for_business = threading.Event()
    source = listeners(lambda _: Wish(open_for_business.is_set(), NEVER))
    other = listeners()
    receive(source)
    receive(other)
    source.far.sendall(b"early")
    other.far.sendall(b"x")
    assert other.wait(lambda: other.received == b"x")
    assert source.received == b""
    open_for_business.set()
    source.receiver.poke(source)
    assert source.wait(lambda: source.received == b"early")


def test_a_source_that_has_more_lets_others_have_their_turn(listeners: Callable[..., Listener]) -> None:
    """A wish of now is fulfilled after all others have been looked at."""
    greedy, modest = listeners(lambda _: Wish(True, 0.0)), listeners()
    receive(greedy)
    receive(modest)
    assert greedy.wait(lambda: greedy.steps > 100)
    modest.far.sendall(b"x")
    assert modest.wait(lambda: modest.received == b"x")


def test_a_failure_of_its_own_ends_what_it_looks_after(
    listeners: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for ever for a thread that cannot go on; and it goes on with the next."""

    def fail(source: Listener) -> Wish:
        if source.steps:
            raise RuntimeError("a bug")
        return Wish(False, NEVER)

    broken, other = listeners(fail), listeners()
    receive(other)
    receive(broken)
    assert broken.wait(lambda: broken.steps == 1)
    broken.receiver.poke(broken)
    assert broken.ended.wait(5)
    assert other.ended.wait(5)
    assert "a bug" in caplog.text
    after = listeners()
    receive(after)
    after.far.sendall(b"x")
    assert after.wait(lambda: after.received == b"x")


def test_what_has_ended_is_not_kept_for_its_hour(listeners: Callable[..., Listener]) -> None:
    """Its hour may be far away, and with it all that it holds."""
    stays = listeners()
    receive(stays)
    for _ in range(100):
        source = listeners(lambda _: Wish(True, time.monotonic() + 1000))
        receive(source)
        assert source.wait(lambda mine=source: mine.steps)
        source.far.close()
        assert source.ended.wait(5)
    assert len(stays.receiver._hours) < 50


def test_a_poke_after_the_end_is_nothing(listeners: Callable[..., Listener]) -> None:
    """Whoever pokes need not know."""
    source, other = listeners(), listeners()
    receive(source)
    receive(other)
    source.far.close()
    assert source.ended.wait(5)
    steps = source.steps
    source.receiver.poke(source)
    other.far.sendall(b"x")
    assert other.wait(lambda: other.received == b"x")
    assert source.steps == steps


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_a_thread_of_its_own(listeners: Callable[..., Listener]) -> None:
    """The parent's is not there; neither are its sources."""
    source = listeners()
    receive(source)
    child = os.fork()
    if child == 0:
        mine = Listener()
        receive(mine)
        mine.far.sendall(b"x")
        os._exit(0 if mine.wait(lambda: mine.received == b"x") and mine.receiver is not source.receiver else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    source.far.sendall(b"still")
    assert source.wait(lambda: source.received == b"still")


class TestSessions:
    """What sharing a thread means for sessions."""

    def test_one_that_is_full_keeps_no_other_waiting(
        self, peers: Callable[..., object], clients: Callable[..., TTSClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A handler that sleeps stops the reading of its own session only."""
        monkeypatch.setattr("qwen_realtime.mailbox.Mailbox.__init__.__defaults__", (1000,))
        waking, flooded = threading.Event(), threading.Event()

        def flood(link: Link) -> None:
            link.accept()
            link.send(created())
            link.send("session.updated", session=created()["session"])
            for _ in range(2000):
                link.send("response.text.delta", response_id="r", delta="x" * 500)
            flooded.set()
            link.receive()

        slow = clients(peers(flood))
        slow.on("response.text.delta", lambda _: waking.wait(10))
        slow.connect()
        quick = clients(peers(polite))
        quick.connect()
        quick.update_session(voice="Ethan")
        assert quick.session["voice"] == "Ethan"
        waking.set()
        assert flooded.wait(10)

    def test_a_tap_that_exits_ends_its_own_session_only(
        self, peers: Callable[..., object], clients: Callable[..., TTSClient]
    ) -> None:
        """The thread is that of all, and of those to come."""
        exiting, other = clients(peers(polite)).connect(), clients(peers(polite)).connect()

        def leave(_: object) -> None:
            raise SystemExit(3)

        exiting.tap(leave)
        exiting.update_session(voice="Ethan")
        assert isinstance(exiting.wait(5).error, SystemExit)
        other.finish(5)
        clients(peers(polite)).connect().finish(5)
