"""Engines that are started once, and proxies that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qwen_realtime.server.engines import Engines

from ..proxy import Proxy


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """The real engines, once."""
    made = Engines()
    made.warm_up()
    yield made
    made.close()


@pytest.fixture(scope="session")
def tones() -> Iterator[Engines]:
    """Engines that hum and hear humming: for what is not about words."""
    made = Engines(speech="tones", listening="tones", translation="phrases")
    made.warm_up()
    yield made
    made.close()


@pytest.fixture
def through() -> Iterator[Callable[..., Proxy]]:
    """Make proxies, which end with the test."""
    made: list[Proxy] = []

    def make(url: str, **options: Any) -> Proxy:
        made.append(Proxy(url, **options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
