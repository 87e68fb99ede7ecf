"""Events as exceptions with a remedy: the errors that the service reports, and the end of a connection.

Texts from the protocol reference, section 1.4. Codes are often empty in practice, so the message's beginning decides.
"""

from __future__ import annotations

from .errors import ConnectionClosed, ProtocolError, ProtocolViolation, RealtimeError, ServerError
from .events import CloseInfo, Error

__all__ = ["closed_error", "server_error"]

_HINTS = (
    ("Error committing input audio buffer", "append some audio before commit(), at least a tenth of a second"),
    ("Internal service error: null", "commit() is for manual mode: set turn_detection=None"),
    ("Error append image before append audio", "append_audio() something before append_image()"),
    ("Conversation has none active response", "nothing was being said; cancel_response() avoids this error"),
    ("Session update error: session already started", "change settings before the first input, or open a new client"),
    ("only client commit mode supports clear", "set mode='commit' to use clear()"),
    ("Illegal base64 character", "pass raw bytes to append_audio(); send() takes base64 without line breaks"),
    ("Requests rate limit exceeded", "wait a little and try again"),
    ("<400> InternalError.Algo.InvalidParameter: Voice", "choose a voice of this model; the echo proves nothing here"),
    ("invalid event type", "this server does not know that event; Omni servers disagree about session.finish"),
    ("ModelNotFound", "check the model's name, region and retirement"),
)


def server_error(event: Error) -> ServerError:
    """An ``error`` event as an exception."""
    detail = event.error
    message = detail.message or "an error without a message"
    hint = next((hint for beginning, hint in _HINTS if beginning in message), "")
    if not hint and detail.param:
        hint = f"see {detail.param}"
    return ServerError(
        message,
        hint=hint,
        type=detail.type or "",
        code=detail.code or "",
        param=detail.param or "",
        event_id=detail.event_id or "",
    )


def closed_error(info: CloseInfo) -> ConnectionClosed:
    """How a connection ended, as an exception whose cause is the first cause."""
    told = f"{info.code} {info.reason}".strip() if info.code is not None else info.reason
    kind = ProtocolViolation if isinstance(info.error, ProtocolError) else ConnectionClosed
    error = kind(
        f"the connection was closed by the {info.by}" + (f": {told}" if told else ""),
        hint="" if isinstance(info.error, RealtimeError) else "a closed client is not reopened: make a new one",
        code=info.code,
        reason=info.reason,
        by=info.by,
    )
    error.__cause__ = info.error
    return error
