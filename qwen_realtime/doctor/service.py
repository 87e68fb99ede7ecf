"""Checks of the service itself: which region takes the key, and whether a session begins."""

from __future__ import annotations

import time

from ..dialing import Deadline
from ..endpoints import key_source
from ..errors import AuthenticationError, HandshakeError, RateLimitError, RealtimeError
from ..handshake import open_transport
from ..transport import Transport
from .setup import Finding, Setup

__all__ = ["check_region", "check_session"]


def _open(setup: Setup, region: str = "") -> Transport:
    return open_transport(
        setup.endpoint(region),
        key_source(setup.key)(),
        Deadline(setup.timeout),
        proxy=setup.proxy,
        ssl_context=setup.ssl_context,
        max_message_bytes=16 * 1024 * 1024,
        send_timeout=setup.timeout,
    )


def _close(transport: Transport) -> None:
    transport.send_close(1000, timeout=1.0)
    transport.dispose()


def _knock(setup: Setup, region: str) -> RealtimeError | None:
    """Show the key to a region: its refusal, or ``None``."""
    try:
        _close(_open(setup, region))
    except RealtimeError as error:
        return error
    return None


def check_region(setup: Setup) -> Finding:
    """Which regions accept the key; it must be the one that is to be used."""
    chosen = setup.chosen
    answers = {chosen: _knock(setup, chosen)}
    refusal = answers[chosen]
    if refusal is None:
        return Finding("region", "ok", f"{chosen} accepts the key")
    if isinstance(refusal, RateLimitError):
        return Finding("region", "warn", f"{chosen} knows the key, but: {refusal.message}", refusal.hint)
    if not isinstance(refusal, AuthenticationError):
        status = refusal.status if isinstance(refusal, HandshakeError) else 0
        return Finding(
            "region", "fail", refusal.message, "check --model and --url" if status in (400, 404) else refusal.hint
        )
    answers.update({name: _knock(setup, name) for name in setup.regions if name != chosen})
    for name, answer in answers.items():
        if answer is None:
            what = f"{chosen} refuses the key, {name} accepts it"
            return Finding("region", "fail", what, f"use region={name!r} (--region {name})")
    refused = [name for name, answer in answers.items() if isinstance(answer, AuthenticationError)]
    what = f"no region accepts the key; refused by {', '.join(refused)}"
    if len(setup.regions) == 1:
        what = f"{chosen} refuses the key"
    return Finding("region", "fail", what, "copy the key again from the console, and check that it was not deleted")


def check_session(setup: Setup) -> Finding:
    """Whether a session begins, and how long a round trip takes."""
    began = time.monotonic()
    try:
        transport = _open(setup)
    except RealtimeError as error:
        return Finding("session", "fail", error.message, error.hint)
    shaken = time.monotonic()
    try:
        message = transport.receive(setup.timeout)
        created = time.monotonic()
        if message is None:
            what = f"the server took the connection and said nothing for {setup.timeout:g} s"
            return Finding("session", "fail", what, "try again later; bypass proxies that hold WebSocket traffic back")
        if b'"session.created"' not in message:
            return Finding(
                "session", "fail", f"the server began with {message[:80]!r}", "check --model, and its region"
            )
        round_trip = _ping(transport, setup.timeout)
    except RealtimeError as error:
        return Finding("session", "fail", f"it broke at once: {error.message}", "check --model, and its region")
    finally:
        _close(transport)
    times = f"connected in {(shaken - began) * 1000:.0f} ms, session after {(created - shaken) * 1000:.0f} ms"
    if round_trip is None:
        return Finding("session", "warn", f"{times}; no answer to a ping", "set ping_interval=None if sessions break")
    told = f"{times}, round trip {round_trip * 1000:.0f} ms"
    if round_trip > 0.5:
        return Finding("session", "warn", told, "expect slow replies: use a nearer region or a better network")
    return Finding("session", "ok", told)


def _ping(transport: Transport, timeout: float) -> float | None:
    began = time.monotonic()
    transport.ping()
    while time.monotonic() - began < min(timeout, 5.0):
        transport.receive(0.01)
        if transport.heard_at > began:
            return transport.heard_at - began
    return None
