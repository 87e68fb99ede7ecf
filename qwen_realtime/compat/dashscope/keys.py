"""The key for an object that was given none."""

from __future__ import annotations

import os
import sys

__all__ = ["default_key"]


def default_key() -> str | None:
    """The module's ``api_key``, then ``DASHSCOPE_API_KEY``, then the vendor's module's, if that has been imported."""
    ours = vars(sys.modules[__name__.rpartition(".")[0]]).get("api_key")
    return ours or os.environ.get("DASHSCOPE_API_KEY") or getattr(sys.modules.get("dashscope"), "api_key", None)
