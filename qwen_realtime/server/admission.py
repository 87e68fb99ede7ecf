"""Who is let in: path, key, model, number of sessions; and the HTTP answers for who is not."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from ..errors import ConfigError
from ..settings.profiles import ModelProfile, profile_of

__all__ = ["PATH", "Refusal", "judge"]

PATH = "/api-ws/v1/realtime"
_GREETING = (
    "This is the local stand-in server of qwen_realtime.\n"
    f"It speaks WebSocket at {PATH}?model=<model>, with any key unless it was given one.\n"
)


@dataclass(frozen=True)
class Refusal:
    """An HTTP answer instead of a WebSocket.

    Args:
        status: HTTP.
        body: its text.
        content_type: of the body.
        retry_after: seconds to wait, for the header of that name; ``None`` leaves it out.
    """

    status: int
    body: str
    content_type: str = "application/json"
    retry_after: float | None = None


def _error(status: int, kind: str, code: str, message: str, retry_after: float | None = None) -> Refusal:
    body = json.dumps({"error": {"type": kind, "code": code, "message": message}})
    return Refusal(status, body, retry_after=retry_after)


def judge(path: str, headers: Mapping[str, str], api_key: str | None, *, full: bool) -> Refusal | ModelProfile:
    """Return the model's profile for a handshake that is let in, otherwise the answer that refuses it.

    The vendor documents only "401/403" for keys and "connection drops" for a missing model; gateways answer 400, and
    so does this server. The real one accepts an unknown model and hangs up after ``session.created``; 404 tells more.

    Args:
        path: of the request, with its query.
        headers: of the request, names in lower case.
        api_key: the only key to accept; ``None`` accepts any that is not empty.
        full: whether there are as many sessions as may be.
    """
    parts = urlsplit(path)
    if parts.path == "/" and "upgrade" not in headers.get("connection", "").lower():
        return Refusal(200, _GREETING, content_type="text/plain; charset=utf-8")
    if parts.path != PATH:
        return _error(404, "invalid_request_error", "not_found", f"Nothing is at {parts.path}; try {PATH}.")
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return _error(401, "authentication_error", "invalid_api_key", "No API key: send 'Authorization: Bearer <key>'.")
    if api_key is not None and not hmac.compare_digest(key.strip().encode(), api_key.encode()):
        return _error(401, "authentication_error", "invalid_api_key", "Incorrect API key provided.")
    model = parse_qs(parts.query).get("model", [""])[0]
    if not model:
        return _error(400, "invalid_request_error", "missing_required_parameter", "The query has no 'model'.")
    try:
        profile = profile_of(model)
    except ConfigError as error:
        return _error(404, "invalid_request_error", "model_not_found", error.message)
    if full:
        message = "Requests rate limit exceeded, please try again later."
        return _error(429, "rate_limit_error", "Throttling.RateQuota", message, retry_after=1.0)
    return profile
