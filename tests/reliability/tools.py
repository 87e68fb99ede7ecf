"""What the reliability tests share: a log of the connection events, and a hand that cuts."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from qwen_realtime import ReconnectPolicy, events

from ..peer import Link
from ..proxy import Proxy

__all__ = ["AT_ONCE", "Cutter", "Log", "in_turn"]

AT_ONCE = ReconnectPolicy(first_delay=0.01, max_delay=0.05, max_attempts=200)


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
