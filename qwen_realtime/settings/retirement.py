"""Models that the vendor has announced to switch off."""

from __future__ import annotations

from ..notices import warn
from .profiles import ModelProfile

__all__ = ["warn_if_retired"]


def warn_if_retired(profile: ModelProfile) -> None:
    """Warn that a model was announced to go; it is used all the same (reference, section 1.6)."""
    if profile.retired:
        instead = f"; use {profile.replacement}" if profile.replacement else ""
        warn(f"{profile.model} was announced to be switched off on {profile.retired}{instead}")
