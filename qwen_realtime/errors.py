"""Every error this package raises, in one tree.

::

    RealtimeError
    ├── ConfigError (ValueError)              a key, region, model or setting that cannot be right
    ├── ConnectError (ConnectionError)        no connection: DNS, TCP, TLS, proxy
    │   ├── ConnectTimeout (TimeoutError)     names the phase that took too long
    │   └── HandshakeError                    the server answered HTTP, not WebSocket: status, body
    │       ├── AuthenticationError           401 or 403
    │       └── RateLimitError                429, with retry_after
    ├── ConnectionClosed (ConnectionError)    the connection is gone, or was never made
    ├── WaitTimeout (TimeoutError)            what was waited for did not come in time
    ├── ServerError                           the server sent an ``error`` event
    ├── ProtocolError                         what the server sent cannot be
    │   └── ProtocolViolation (ConnectionClosed)  … and so the connection was closed
    ├── WouldDeadlock (RuntimeError)          a wait inside a handler that only its return could end
    └── AudioError
        ├── AudioUnavailable (ImportError)    the audio library is missing: the line that installs it
        └── DeviceError                       the sound card refused

Every error carries ``hint``: what to do about it, or an empty string. The hint is part of ``str(error)``.
"""

from __future__ import annotations


class RealtimeError(Exception):
    """Base of all errors of this package.

    Args:
        message: what went wrong, in one line.
        hint: what to do about it, in one line; may be empty.
    """

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(RealtimeError, ValueError):
    """A key, region, model or setting that cannot be right; raised before anything is sent."""


class ConnectError(RealtimeError, ConnectionError):
    """The connection could not be made: name lookup, TCP, TLS or proxy.

    Args:
        message: what went wrong.
        hint: what to do about it.
        phase: ``"dns"``, ``"tcp"``, ``"proxy"``, ``"tls"``, ``"handshake"`` or ``"session"``.
    """

    def __init__(self, message: str = "", *, hint: str = "", phase: str = "") -> None:
        super().__init__(message, hint=hint)
        self.phase = phase


class ConnectTimeout(ConnectError, TimeoutError):
    """Connecting took longer than ``connect_timeout``; ``phase`` names where it stood."""


class HandshakeError(ConnectError):
    """The server answered the WebSocket handshake with an ordinary HTTP response.

    Args:
        message: what went wrong.
        hint: what to do about it.
        status: the HTTP status.
        body: the start of the response body, as text.
    """

    def __init__(self, message: str = "", *, hint: str = "", status: int = 0, body: str = "") -> None:
        super().__init__(message, hint=hint, phase="handshake")
        self.status = status
        self.body = body


class AuthenticationError(HandshakeError):
    """401 or 403: the key is wrong, or belongs to another region."""


class RateLimitError(HandshakeError):
    """429: too many requests.

    Args:
        retry_after: seconds to wait as the server said, or ``None`` where it did not.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        status: int = 429,
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, status=status, body=body)
        self.retry_after = retry_after


class ConnectionClosed(RealtimeError, ConnectionError):
    """The connection is closed, is closing, or was never opened.

    Args:
        message: what was tried and why it cannot be.
        hint: what to do about it.
        code: the WebSocket close code, or ``None`` where no close frame came.
        reason: the text beside the code.
        by: who closed: ``"client"``, ``"server"`` or ``"network"``; empty if it was never open.
    """

    def __init__(
        self, message: str = "", *, hint: str = "", code: int | None = None, reason: str = "", by: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.reason = reason
        self.by = by


class WaitTimeout(RealtimeError, TimeoutError):
    """What was waited for did not come in time; the message names it and what came last."""


class ServerError(RealtimeError):
    """The server sent an ``error`` event that no handler took.

    Args:
        message: the server's text.
        hint: what to do about it, where we know.
        type: the error's type, such as ``invalid_request_error``; may be empty.
        code: the error's code; often empty in practice.
        param: the field at fault, such as ``session.voice``; may be empty.
        event_id: the client event at fault, where the server names it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        type: str = "",
        code: str = "",
        param: str = "",
        event_id: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.type = type
        self.code = code
        self.param = param
        self.event_id = event_id


class ProtocolError(RealtimeError):
    """What the server sent cannot be: not JSON, not UTF-8, a binary frame, over the size limit."""


class ProtocolViolation(ConnectionClosed, ProtocolError):
    """The connection was closed because of what the server sent: both errors at once, for whoever catches either."""


class WouldDeadlock(RealtimeError, RuntimeError):
    """A blocking call inside a handler that only this handler's return could satisfy."""


class AudioError(RealtimeError):
    """Something about sound input or output."""


class AudioUnavailable(AudioError, ImportError):
    """A library that sound needs, PyAudio or PyAV, is not installed; the hint is the line to type."""


class DeviceError(AudioError):
    """The sound card is missing, refused its settings, or went away."""
