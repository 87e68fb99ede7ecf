"""When to try again after a connection has broken, and how long to wait."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .errors import (
    AuthenticationError,
    ConfigError,
    ConnectionClosed,
    HandshakeError,
    ProtocolError,
    RateLimitError,
    ServerError,
)
from .events import CloseInfo
from .sockets import LONGEST_S

__all__ = ["ReconnectPolicy"]

# Close codes for what we sent, or may not do: another try would end the same way.
_FINAL_CODES = frozenset({1002, 1003, 1007, 1008, 1009})


@dataclass(frozen=True)
class ReconnectPolicy:
    """How a client comes back by itself: ``TTSClient(reconnect=ReconnectPolicy())``.

    A try follows a break of the connection, never a refused key, a refused setting or a close of your own. The wait
    doubles from try to try, with jitter, and starts over only when a session has dealt with something or has held for
    longer than ``max_delay``: a server that accepts and drops again counts as a failure.

    Args:
        max_attempts: tries in a row before it is given up.
        first_delay: seconds before the first try.
        max_delay: the longest wait, in seconds; a server's ``retry_after`` may be longer.
        jitter: the part of a wait that is random, 0…1, so that many clients do not come back at once.
        keep_audio_s: input audio kept to be sent again; what is older is lost, and reported.
        rollover_after_s: begin a new session between turns when one is so old, before the service ends it (Omni ends
            sessions after 120 minutes); ``None`` for never.
    """

    max_attempts: int = 8
    first_delay: float = 0.5
    max_delay: float = 30.0
    jitter: float = 0.5
    keep_audio_s: float = 120.0
    rollover_after_s: float | None = 110 * 60.0

    def __post_init__(self) -> None:
        if not (self.max_attempts >= 1 and 0 <= self.first_delay <= self.max_delay <= LONGEST_S):
            raise ConfigError("a reconnect policy needs max_attempts ≥ 1 and 0 ≤ first_delay ≤ max_delay ≤ 1000000")
        if not (0 <= self.jitter <= 1 and 0 < self.keep_audio_s <= LONGEST_S):
            raise ConfigError("a reconnect policy needs a jitter of 0…1 and a keep_audio_s above 0 and up to 1000000")

    def delay(self, attempt: int, cause: BaseException | None = None) -> float:
        """Seconds to wait before a try.

        Args:
            attempt: 1 for the first.
            cause: what the last try, or the connection, failed with.
        """
        longest = min(self.max_delay, self.first_delay * 2.0 ** min(attempt - 1, 30))
        wait = longest * (1 - self.jitter * random.random())  # noqa: S311 - no secret
        if isinstance(cause, RateLimitError) and cause.retry_after is not None:
            # later than the server asks, never earlier, and not all clients in the same moment
            return cause.retry_after + longest - wait
        return wait

    @staticmethod
    def may_retry(cause: BaseException | None) -> bool:
        """Whether another try can help after this failure."""
        if isinstance(cause, RateLimitError):
            return True
        if isinstance(cause, HandshakeError):
            return not isinstance(cause, AuthenticationError) and not 300 <= cause.status < 500
        if isinstance(cause, ServerError):
            return cause.code.startswith("Throttling") or cause.type in ("server_error", "rate_limit_error")
        if isinstance(cause, ConnectionClosed):
            return cause.code not in _FINAL_CODES
        return not isinstance(cause, (ConfigError, ProtocolError))

    @staticmethod
    def broke(info: CloseInfo) -> bool:
        """Whether a connection ended in a way that is worth another: not by us, and not for what we sent."""
        return info.by in ("network", "server") and info.code not in _FINAL_CODES
