"""Why ``connect()`` failed, as errors that programs for the vendor's SDK catch.

That SDK raises ``TimeoutError`` whatever happened, so each of ours is one too, beside what it is already.
"""

from __future__ import annotations

from ...errors import (
    AuthenticationError,
    ConnectError,
    ConnectionClosed,
    HandshakeError,
    RateLimitError,
    RealtimeError,
    ServerError,
)

__all__ = ["CallRefused", "ConnectFailed", "HungUp", "KeyRefused", "RateLimited", "as_timeout"]


class ConnectFailed(ConnectError, TimeoutError):
    """No connection, or no session on it."""


class CallRefused(HandshakeError, TimeoutError):
    """The server answered HTTP."""


class KeyRefused(AuthenticationError, TimeoutError):
    """The server answered 401 or 403."""


class RateLimited(RateLimitError, TimeoutError):
    """The server answered 429."""


class HungUp(ConnectionClosed, TimeoutError):
    """The connection was closed before there was a session."""


_KINDS: dict[type[RealtimeError], type[RealtimeError]] = {
    ConnectError: ConnectFailed,
    HandshakeError: CallRefused,
    AuthenticationError: KeyRefused,
    RateLimitError: RateLimited,
    ConnectionClosed: HungUp,
}


def as_timeout(error: RealtimeError) -> RealtimeError:
    """The same error as one that is also a ``TimeoutError``; others, such as ``ConfigError``, as they are."""
    if isinstance(error, ServerError):
        return ConnectFailed(error.message, hint=error.hint, phase="session")
    kind = _KINDS.get(type(error))
    if kind is None:
        return error
    made = kind(error.message, hint=error.hint)
    made.__dict__.update(error.__dict__)
    return made
