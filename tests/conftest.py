"""What every test is held to: it leaves no thread, no socket and no unhandled error, and no environment leaks in."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trustme

from qwen_realtime import RealtimeClient, TTSClient

from .peer import ConnectProxy, Peer, Script, polite

# The machine may be slow and shared: time says nothing about a property.
hypothesis.settings.register_profile(
    "shared",
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("shared")

HERE = Path(__file__).parent

# A shell that starts the tests in the background makes them ignore Ctrl-C, which they would pass on to the programs
# that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A thread that is just ending needs a moment. A name lookup cannot be called off: it ends when the system gives up.
GRACE_S = 2.0
LOOKUP_GRACE_S = 15.0

# Threads of tools that a whole session shares.
SHARED = ("qwen-engine",)

_ENVIRONMENT = """
DASHSCOPE_API_KEY QWEN_REALTIME_URL http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
WEBSOCKET_CLIENT_CA_BUNDLE REQUESTS_CA_BUNDLE SSL_CERT_FILE
""".split()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, URL or proxy of the machine reaches a test."""
    for name in _ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a ``qwen-`` thread or a socket behind, or lets an error in a thread go unhandled.

    Unraisable errors, such as an unclosed socket's, are warnings and so errors by ``filterwarnings``; garbage is
    collected here where a socket seems to be left, so that the right test fails.
    """
    unhandled: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", unhandled.append)
    before = set(threading.enumerate())
    sockets = _sockets()
    yield
    left = _still_alive(before)
    assert not left, f"threads outlive the test: {left}"
    told = [f"{args.thread and args.thread.name}: {args.exc_value!r}" for args in unhandled]
    unhandled.clear()
    assert not told, f"unhandled in threads: {told}"
    if request.path.parent == HERE and _sockets() > sockets:
        gc.collect()
        assert _sockets() <= sockets, "sockets outlive the test"


def _still_alive(before: set[threading.Thread]) -> list[str]:
    """The names of new ``qwen-`` threads that do not end in time."""
    new = [
        thread
        for thread in threading.enumerate()
        if thread not in before and thread.name.startswith("qwen-") and not thread.name.startswith(SHARED)
    ]
    deadline = time.monotonic() + GRACE_S
    for thread in new:
        grace = LOOKUP_GRACE_S if thread.name == "qwen-lookup" else 0.0
        thread.join(max(0.0, deadline + grace - time.monotonic()))
    return [thread.name for thread in new if thread.is_alive()]


def _sockets() -> int:
    """How many sockets this process holds; 0 where the system does not tell."""
    count = 0
    try:
        for name in os.listdir("/proc/self/fd"):
            try:
                count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
            except OSError:  # the descriptor of the listing itself
                continue
    except OSError:
        return 0
    return count


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    """Make scripted peers, which end with the test; an error in a script fails the test."""
    made: list[Peer] = []

    def make(script: Script = polite, **options: Any) -> Peer:
        made.append(Peer(script, **options))
        return made[-1]

    yield make
    for peer in made:
        peer.close()
    failures = [failure for peer in made for failure in peer.failures]
    if failures:
        raise failures[0]


@pytest.fixture
def clients() -> Iterator[Callable[..., Any]]:
    """Make clients for a peer, with deadlines fit for loopback; they are closed with the test."""
    made: list[RealtimeClient] = []

    def make(peer: Peer, kind: type[RealtimeClient] = TTSClient, **options: Any) -> RealtimeClient:
        short = {"connect_timeout": 5.0, "close_timeout": 2.0, "send_timeout": 2.0}
        made.append(kind(url=peer.url, **{"api_key": "test-key", **short, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def proxies() -> Iterator[Callable[..., ConnectProxy]]:
    """Make CONNECT proxies, which end with the test."""
    made: list[ConnectProxy] = []

    def make(behaviour: str = "accept") -> ConnectProxy:
        made.append(ConnectProxy(behaviour))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody else knows."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's TLS context for ``localhost`` and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A client's TLS context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
