"""What the reliability tests share: a log of the connection events, a hand that cuts, and a fair stopwatch."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from qwen_realtime import ReconnectPolicy, events

from ..peer import Link
from ..proxy import Proxy

__all__ = ["AT_ONCE", "Cutter", "Log", "Watch", "in_turn"]

AT_ONCE = ReconnectPolicy(first_delay=0.01, max_delay=0.05, max_attempts=200)


class Watch:
    """How long something takes, in ``with``, less the time in which a busy machine let this process wait.

    A thread wakes every ten milliseconds. What it oversleeps while this process uses no processor either is time that
    others have had, so that a limit can be as strict on a machine that is shared as on an idle one.
    """

    _BEAT_S = 0.01

    def __init__(self) -> None:
        self._stolen = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="watch", daemon=True)
        self._seconds = 0.0

    def _beat(self) -> None:
        before, used = time.monotonic(), time.process_time()
        while not self._over.wait(self._BEAT_S):
            now, using = time.monotonic(), time.process_time()
            self._stolen += max(0.0, now - before - self._BEAT_S - (using - used) - 0.001)
            before, used = now, using

    def __enter__(self) -> Watch:
        self._thread.start()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.monotonic() - self._began
        self._over.set()
        self._thread.join(5)

    @property
    def seconds(self) -> float:
        """The time that was needed."""
        return self._seconds - self._stolen


class Log:
    """The connection events of a client, and waiting for them."""

    def __init__(self, client: Any) -> None:
        self.events: list[Any] = []
        self._arrived = threading.Condition()
        for name in events.CONNECTION_EVENTS:
            client.on(name, self._take)

    def _take(self, event: Any) -> None:
        with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    def of(self, name: str) -> list[Any]:
        """The events of a type."""
        return [event for event in self.events if event.type == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 10.0) -> Any:
        """Wait until so many have come; the last of them."""
        with self._arrived:
            came = self._arrived.wait_for(lambda: len(self.of(name)) >= count, seconds)
        assert came, f"{[event.type for event in self.events]}, not {count} of {name}"
        return self.of(name)[count - 1]

    @property
    def names(self) -> list[str]:
        """All types, in order."""
        return [event.type for event in self.events]


class Cutter:
    """Cuts a proxy's connections at random moments, each time waiting until the client has come back."""

    def __init__(self, proxy: Proxy, cuts: int, seed: int, shortest: float, longest: float) -> None:
        self._proxy = proxy
        rng = random.Random(seed)  # noqa: S311 - no secret
        self._pauses = [rng.uniform(shortest, longest) for _ in range(cuts)]
        self._stop = threading.Event()
        self._made = 0
        self._thread = threading.Thread(target=self._run, name="cutter", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number, pause in enumerate(self._pauses, 1):
            self._proxy.wait_for(number)
            if self._stop.wait(pause):
                return
            self._proxy.cut()
            self._made = number

    def join(self) -> int:
        """Wait until all cuts were made; how many."""
        self._thread.join(60)
        return self._made

    def stop(self) -> int:
        """Cut no more; how many were made."""
        self._stop.set()
        return self.join()


def in_turn(*scripts: Callable[[Link], None]) -> Callable[[Link], None]:
    """A script for each connection; the last one for all that follow."""
    left = list(scripts)
    taking = threading.Lock()

    def script(link: Link) -> None:
        with taking:
            mine = left.pop(0) if len(left) > 1 else left[0]
        mine(link)

    return script
