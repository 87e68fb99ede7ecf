"""Names as the real service gives them: a prefix and 21 characters of ``A-Za-z0-9_-``."""

from __future__ import annotations

import secrets

__all__ = ["new_call_id", "new_id", "obfuscation"]


def new_id(prefix: str) -> str:
    """Return a fresh name such as ``resp_LzPxhGd3LK7NJ3YEKi3DT``."""
    return f"{prefix}_{secrets.token_urlsafe(16)[:21]}"


def new_call_id() -> str:
    """Return a fresh name of a function call: ``call_`` and 24 hexadecimal digits."""
    return f"call_{secrets.token_hex(12)}"


def obfuscation() -> str:
    """Return the padding that the service adds to some deltas so that their length tells nothing."""
    return secrets.token_urlsafe(11)[:14]
