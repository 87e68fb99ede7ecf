"""Checks that need no network: the key's form, the model's name."""

from __future__ import annotations

from datetime import datetime, timezone
from urllib.parse import urlsplit

from ..endpoints import is_loopback, key_source
from ..errors import ConfigError
from ..settings import DEFAULT_MODELS, profile_of
from .setup import Finding, Setup

__all__ = ["check_key", "check_model"]


def check_key(setup: Setup) -> Finding:
    """Whether the key can be one, from its form; it is never shown."""
    if not setup.key:
        return Finding(
            "key", "fail", "no API key", "set DASHSCOPE_API_KEY, or give --api-key-file (api_key= in Python)"
        )
    try:
        key = key_source(setup.key)()
    except ConfigError as error:
        return Finding("key", "fail", error.message, error.hint)
    shown = f"{key[:3]}…{key[-4:]}, {len(key)} characters" if len(key) >= 16 else f"{len(key)} characters"
    if all(is_loopback(urlsplit(url).hostname or "") for url in setup.regions.values()):
        return Finding("key", "ok", f"{shown}; a local server may take any")
    if not key.startswith("sk-"):
        return Finding(
            "key", "warn", f"it does not begin with sk- ({shown})", "copy the key itself, not its name or id"
        )
    if len(key) < 20:
        return Finding("key", "warn", f"it is short for a key ({shown})", "copy it again, whole")
    return Finding("key", "ok", shown)


def check_model(setup: Setup) -> Finding:
    """Whether the model is known, and not switched off."""
    try:
        profile = profile_of(setup.model)
    except ConfigError as error:
        return Finding("model", "fail", error.message, error.hint)
    if profile.retired:
        today = datetime.fromtimestamp(setup.now(), timezone.utc).date().isoformat()
        remedy = f"use {profile.replacement or DEFAULT_MODELS[profile.family]}"
        if profile.retired <= today:
            return Finding("model", "fail", f"{setup.model} was to be switched off on {profile.retired}", remedy)
        return Finding("model", "warn", f"{setup.model} will be switched off on {profile.retired}", remedy)
    if not profile.known:
        what = f"{setup.model} is not in this package's list, but looks like {profile.family.value}"
        return Finding("model", "warn", what, "check its spelling; settings are checked as for the default model")
    return Finding("model", "ok", f"{setup.model} ({profile.family.value})")
