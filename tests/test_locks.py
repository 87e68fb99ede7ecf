"""Conditions that Ctrl-C does not leave taken."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from qwen_realtime.locks import Condition


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Ctrl-C comes by the alarm of a clock."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _until_interrupted(condition: threading.Condition, microseconds: int) -> None:
    try:
        signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
        while True:
            with condition:
                pass
    except KeyboardInterrupt:
        pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such clock")
@pytest.mark.usefixtures("interrupts")
def test_ctrl_c_never_leaves_it_taken() -> None:
    """Of so many, threading's own condition is left taken by every second or third."""
    condition = Condition()
    for number in range(2000):
        _until_interrupted(condition, 20 + number % 100)
        assert not condition._is_owned()  # type: ignore[attr-defined]


def test_ctrl_c_at_the_beginning_of_a_wait_is_ctrl_c() -> None:
    """With threading's own it may be an error about a lock."""
    condition = Condition()
    release = condition._release_save  # type: ignore[attr-defined]

    def interrupted() -> None:
        release()
        raise KeyboardInterrupt

    condition._release_save = interrupted  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt), condition:
        condition.wait(1)
    assert not condition._is_owned()  # type: ignore[attr-defined]


def test_it_waits_and_wakes_as_any_other() -> None:
    """Whoever holds it keeps others out, and whoever waits in it lets them in."""
    condition = Condition()
    seen: list[str] = []

    def other() -> None:
        with condition:
            seen.append("other")
            condition.notify_all()

    thread = threading.Thread(target=other)
    with condition:
        thread.start()
        seen.append("first")
        assert condition.wait_for(lambda: "other" in seen, 5)
        began = time.monotonic()
        assert not condition.wait(0.01)
        assert time.monotonic() > began
    thread.join(5)
    assert seen == ["first", "other"]
