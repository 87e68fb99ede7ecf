"""Engines that are started once, proxies that end with their test, and a long run beside all the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen_realtime.server.engines import Engines

from ..proxy import Proxy

DUPLEX_S = 20.0
BESIDE = {
    "words": ["--seeds", "1", "2", "3"],
    "duplex": ["--minutes", str(DUPLEX_S / 60), "--connections", "3"],
}


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


@pytest.fixture(scope="session", autouse=True)
def beside(request: pytest.FixtureRequest) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Begin what takes long, if a test asks for it, with the first test of this folder.

    In processes of their own, which leave the processor to the tests.
    """
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    processes = {
        name: subprocess.Popen(
            ["nice", "-n", "5", sys.executable, "-m", f"tests.reliability.{name}", "--json", *options],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, options in BESIDE.items()
        if name in asked
    }
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.fixture
def duplex(beside: dict[str, subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """Twenty seconds of TLS both ways."""
    return beside["duplex"]


@pytest.fixture
def words(beside: dict[str, subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A minute of speech, cut twenty times, for three seeds."""
    return beside["words"]
