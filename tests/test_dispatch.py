"""Handlers run in order, on one thread, and waiting for events never deadlocks."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from qwen_realtime import dispatch, events
from qwen_realtime.errors import ConfigError, ConnectionClosed, RealtimeError, WaitTimeout, WouldDeadlock

from .peer import Link, created, serve


def _counts(link: Link) -> None:
    """Greet; at each commit send three deltas and the end of a response."""
    link.accept()
    link.send(created())
    number = 0
    while True:
        received = link.receive()
        if received.opcode == 8:
            link.close()
            return
        if received.message["type"] == "session.finish":
            link.send("session.finished")
        elif received.message["type"] == "input_text_buffer.commit":
            number += 1
            for part in "abc":
                link.send("response.text.delta", delta=f"{number}{part}")
            link.send("response.done", response={"id": f"resp_{number}", "status": "completed"})


@pytest.fixture
def client(peers: Callable[..., Any], clients: Callable[..., Any]) -> Any:
    """A connected client whose peer counts."""
    return clients(peers(_counts)).connect()


@pytest.fixture
def manual(peers: Callable[..., Any], clients: Callable[..., Any]) -> Any:
    """The same with ``dispatch="manual"``."""
    return clients(peers(_counts), dispatch="manual").connect()


def _poll_so_many(client: Any, count: int) -> None:
    """Poll until so many events have been handled: they may come one by one."""
    handled = 0
    while handled < count:
        assert select.select([client], [], [], 5)[0] == [client], f"only {handled} of {count} events came"
        handled += client.poll()
    assert handled == count


class TestHandlers:
    """How they are called."""

    def test_one_at_a_time_in_order_on_one_thread(self, client: Any) -> None:
        """In the order of the wire, and per event in the order of registration."""
        calls: list[tuple[str, str, str]] = []
        for name in "xy":
            client.on(
                events.ResponseTextDelta,
                lambda event, name=name: calls.append((event.delta, name, threading.current_thread().name)),
            )
        with client.expect("response.done", 5):
            client.commit()
        assert calls == [(f"1{part}", name, "qwen-dispatch") for part in "abc" for name in "xy"]

    def test_one_whose_object_cannot_be_shown_is_reported_all_the_same(
        self, client: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its own ``__repr__`` may fail, as of an object that is half made."""

        class Half:
            def __repr__(self) -> str:
                raise AttributeError("not yet")

            def __call__(self, _: object) -> None:
                raise ValueError("my fault")

        client.on("response.done", Half())
        with client.expect("response.done", 5):
            client.commit()
        assert "of the class" in caplog.text
        assert "Half raised on response.done" in caplog.text

    def test_a_decorator_registers_and_returns_the_function(self, client: Any) -> None:
        """So it can still be called."""
        seen: list[str] = []

        @client.on("response.text.delta")  # type: ignore[untyped-decorator]  # the fixture is Any
        def take(event: events.ResponseTextDelta) -> None:
            seen.append(event.delta)

        @client.once("response.text.delta")  # type: ignore[untyped-decorator]
        def first(event: events.ResponseTextDelta) -> None:
            seen.append(event.delta + "!")

        with client.expect("response.done", 5):
            client.commit()
        assert seen == ["1a", "1a!", "1b", "1c"]
        client.off("response.text.delta", take)
        with client.expect("response.done", 5):
            client.commit()
        assert len(seen) == 4

    def test_a_handler_may_register_and_remove_handlers(self, client: Any) -> None:
        """It counts from the next event on."""
        seen: list[str] = []

        def second(event: events.ResponseTextDelta) -> None:
            seen.append("second " + event.delta)
            client.off(handler=second)

        client.once("response.text.delta", lambda _: client.on("response.text.delta", second))
        with client.expect("response.done", 5):
            client.commit()
        assert seen == ["second 1b"]

    def test_a_slow_handler_does_not_delay_the_socket(self, client: Any) -> None:
        """The state of the session goes on while it runs."""
        release, running = threading.Event(), threading.Event()

        def slow(_: events.Event) -> None:
            running.set()
            release.wait(5)

        client.once("response.text.delta", slow)
        client.commit()
        assert running.wait(5)
        client.send(events.SessionFinish())
        with client._changed:
            assert client._changed.wait_for(client._finished, 5)
        release.set()


class TestExpecting:
    """``expect``."""

    def test_when_the_block_ends_all_earlier_handlers_have_run(self, client: Any) -> None:
        """Those of the events before, and those of the event itself."""
        seen: list[str] = []
        slow = threading.Event()

        def take(event: events.Event) -> None:
            slow.wait(0.02)
            seen.append(event.type)

        client.on(events.ServerEvent, take)
        with client.expect("response.done", 5) as done:
            client.commit()
        assert seen[-4:] == ["response.text.delta"] * 3 + ["response.done"]
        assert done.event.response.id == "resp_1"

    def test_a_predicate_chooses(self, client: Any) -> None:
        """And its own error is raised where it was given."""
        with client.expect("response.text.delta", 5, where=lambda event: event.delta.endswith("c")) as last:
            client.commit()
        assert last.event.delta == "1c"
        with (
            pytest.raises(ZeroDivisionError),
            client.expect("response.text.delta", 5, where=lambda _: 1 // 0),
        ):
            client.commit()

    @pytest.mark.parametrize("key", ["*", events.ServerEvent, events.ResponseDone, "response.done"], ids=str)
    def test_every_key_of_on_will_do(self, client: Any, key: Any) -> None:
        """Names, classes, base classes and ``"*"``."""
        with client.expect(key, 5):
            client.commit()

    def test_what_does_not_come_is_a_timeout_that_names_it(self, client: Any) -> None:
        """Within the time that was given."""
        told = r"the event ResponseAudioDone did not come within 0\.05 s"
        with pytest.raises(WaitTimeout, match=told), client.expect("response.audio.done", 0.05):
            pass
        assert client._dispatcher._expectations == []

    def test_without_a_timeout_patience_is_for_silence(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """It waits as long as events keep coming."""
        monkeypatch.setattr(dispatch, "PATIENCE_S", 0.1)
        began = time.monotonic()
        with pytest.raises(WaitTimeout, match="no event for"), client.expect("response.audio.done"):
            client.commit()
        assert time.monotonic() - began >= 0.1

    def test_the_end_of_the_connection_ends_it(self, client: Any) -> None:
        """With the reason."""
        told = r"while waiting for ResponseAudioDone: .*by the client"
        with pytest.raises(ConnectionClosed, match=told), client.expect("response.audio.done", 5):
            client.close()

    def test_after_the_end_it_does_not_wait(self, client: Any) -> None:
        """There is nothing left to come."""
        client.close()
        with pytest.raises(ConnectionClosed), client.expect("response.done"):
            pass

    def test_a_predicate_that_exits_does_so_where_it_is_waited_for(self, client: Any) -> None:
        """The dispatching thread goes on."""

        def leave(_: object) -> bool:
            raise SystemExit(3)

        with pytest.raises(SystemExit), client.expect("response.done", 5, where=leave):
            client.commit()
        with client.expect("response.done", 5):
            client.commit()

    def test_an_exception_in_the_block_goes_on_its_way(self, client: Any) -> None:
        """Nothing is waited for."""
        with pytest.raises(KeyError), client.expect("response.done"):
            raise KeyError("mine")
        assert client._dispatcher._expectations == []

    def test_the_event_is_there_after_the_block_only(self, client: Any) -> None:
        """Asked for earlier, the error says when."""
        with client.expect("response.done", 5) as done:
            with pytest.raises(RealtimeError, match="after"):
                done.event  # noqa: B018 - the access is the test
            client.commit()

    def test_several_at_once(self, client: Any) -> None:
        """From several threads, or nested."""
        with client.expect("response.text.delta", 5) as first, client.expect("response.done", 5) as second:
            client.commit()
        assert (first.event.delta, second.event.response.id) == ("1a", "resp_1")


class TestWouldDeadlock:
    """Waits inside a handler that only its return could end."""

    @pytest.mark.parametrize(
        "call",
        [
            lambda client: client.finish(),
            lambda client: client.wait(),
            lambda client: client.say("Hello."),
            lambda client: client.expect("response.done").__enter__(),
        ],
        ids=["finish", "wait", "say", "expect"],
    )
    def test_are_refused(self, client: Any, call: Callable[[Any], object]) -> None:
        """With what to do instead; the session goes on."""
        caught: list[BaseException] = []

        def handler(_: events.Event) -> None:
            try:
                call(client)
            except WouldDeadlock as error:
                caught.append(error)

        client.once("response.done", handler)
        with client.expect("response.done", 5):
            client.commit()
        assert len(caught) == 1
        assert isinstance(caught[0], WouldDeadlock)
        assert caught[0].hint
        client.finish(5)

    def test_another_clients_waits_are_allowed(
        self, peers: Callable[..., Any], clients: Callable[..., Any], client: Any
    ) -> None:
        """It has a thread of its own."""
        other = clients(peers(_counts))
        texts: list[str] = []

        def handler(_: events.Event) -> None:
            with other:
                other.on("response.text.delta", lambda event: texts.append(event.delta))
                with other.expect("response.done", 5):
                    other.commit()

        client.once("response.text.delta", handler)
        with client.expect("response.done", 10):
            client.commit()
        assert texts == ["1a", "1b", "1c"]
        assert client.handler_errors == 0


class TestManualDispatch:
    """Handlers on the caller's own thread."""

    def test_nothing_runs_until_it_is_polled(self, manual: Any) -> None:
        """``select`` on the client says when; ``poll`` says how many."""
        threads: list[str] = []
        manual.on("*", lambda _: threads.append(threading.current_thread().name))
        assert select.select([manual], [], [], 5)[0] == [manual]
        assert threads == []
        _poll_so_many(manual, 2)  # connected and session.created
        assert select.select([manual], [], [], 0)[0] == []
        manual.commit()
        _poll_so_many(manual, 4)
        assert threads == ["MainThread"] * 6

    def test_a_poll_may_be_bounded(self, manual: Any) -> None:
        """What is left makes the descriptor readable again."""
        _poll_so_many(manual, 2)
        for _ in range(2):
            manual._dispatcher.put(events.ResponseTextDelta(), 0)
        assert manual.poll(5, max_events=1) == 1
        assert select.select([manual], [], [], 0)[0] == [manual]
        assert manual.poll(5, max_events=1) == 1
        assert select.select([manual], [], [], 0)[0] == []
        assert manual.poll() == 0

    def test_what_comes_while_polling_leaves_nothing_to_be_woken_for(self, manual: Any) -> None:
        """A loop that is woken for nothing turns for nothing."""
        _poll_so_many(manual, 2)
        manual.once("response.text.delta", lambda event: manual._dispatcher.put(event, 0))
        manual._dispatcher.put(events.ResponseTextDelta(), 0)
        assert manual.poll() == 2
        assert select.select([manual], [], [], 0)[0] == []

    def test_a_poll_that_a_handler_breaks_off_leaves_the_rest_to_be_woken_for(self, manual: Any) -> None:
        """Ctrl-C in the midst of it, for example."""
        _poll_so_many(manual, 2)

        def stop(_: events.Event) -> None:
            raise KeyboardInterrupt

        manual.once("response.text.delta", stop)
        for _ in range(2):
            manual._dispatcher.put(events.ResponseTextDelta(), 0)
        with pytest.raises(KeyboardInterrupt):
            manual.poll()
        assert select.select([manual], [], [], 0)[0] == [manual]
        assert manual.poll() == 1

    def test_a_poll_waits_for_the_first_event_only(self, manual: Any) -> None:
        """And not longer than it was told."""
        _poll_so_many(manual, 2)
        began = time.monotonic()
        assert manual.poll(0.05) == 0
        assert time.monotonic() - began >= 0.05
        manual.commit()
        assert manual.poll(5) >= 1

    def test_waits_poll_by_themselves(self, manual: Any) -> None:
        """``expect``, ``finish`` and ``wait`` run handlers on the thread that waits."""
        seen: list[str] = []
        manual.on("response.text.delta", lambda event: seen.append(event.delta))
        with manual.expect("response.done", 5):
            manual.commit()
        manual.finish(5)
        assert seen == ["1a", "1b", "1c"]
        assert manual.wait(1).clean

    def test_after_the_end_a_poll_does_nothing(self, manual: Any) -> None:
        """Loops may poll once more than needed."""
        manual.close()
        assert manual.poll() == 0
        assert manual.poll(0.01) == 0

    def test_a_poll_inside_a_handler_is_refused(self, manual: Any) -> None:
        """Events would overtake one another."""
        caught: list[BaseException] = []

        def handler(_: events.Event) -> None:
            try:
                manual.poll()
            except WouldDeadlock as error:
                caught.append(error)

        manual.on("connected", handler)
        manual.poll(5)
        assert len(caught) == 1

    def test_closing_inside_a_handler_works(self, manual: Any) -> None:
        """The end is polled like the rest."""
        manual.once("response.text.delta", lambda _: manual.close())
        manual.commit()
        ended: list[events.Event] = []
        manual.on("disconnected", ended.append)
        assert manual.wait(5).clean
        assert len(ended) == 1

    def test_settings_may_be_updated_inside_a_handler(
        self, peers: Callable[..., Any], clients: Callable[..., Any]
    ) -> None:
        """The answer is waited for without polling."""

        def script(link: Link) -> None:
            link.accept()
            link.send(created())
            serve(link)

        client = clients(peers(script), dispatch="manual").connect()
        client.on("connected", lambda _: client.update_session(voice="Ethan"))
        client.poll(5)
        assert client.session["voice"] == "Ethan"
        assert client.handler_errors == 0

    def test_system_exit_and_interrupts_are_the_callers(self, manual: Any) -> None:
        """It is the caller's thread; and the next poll goes on."""

        def handler(event: events.Event) -> None:
            raise SystemExit(3) if event.type == "connected" else KeyboardInterrupt

        manual.on("connected", handler)
        with pytest.raises(SystemExit):
            manual.poll(5)
        manual.off()
        with manual.expect("response.done", 5):
            manual.commit()

    def test_two_threads_do_not_poll_at_once(self, manual: Any) -> None:
        """The second gets nothing instead."""
        release, running = threading.Event(), threading.Event()

        def slow(_: events.Event) -> None:
            running.set()
            release.wait(5)

        manual.on("connected", slow)
        thread = threading.Thread(target=manual.poll, args=(5,))
        thread.start()
        assert running.wait(5)
        assert manual.poll() == 0
        release.set()
        thread.join(5)

    def test_only_manual_clients_poll(self, client: Any) -> None:
        """Where a thread runs the handlers, both are refused."""
        with pytest.raises(ConfigError, match="manual"):
            client.poll()
        with pytest.raises(ConfigError, match="manual"):
            client.fileno()
