"""Warnings point at the user's own line."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable

import pytest

from qwen_realtime import TTSClient, synthesize
from qwen_realtime.errors import ConfigError
from qwen_realtime.notices import RealtimeWarning, warn

RETIRED = "qwen3-tts-flash-realtime-2025-11-27"


class _Own(TTSClient):
    """A subclass of somebody's."""


def _synthesize() -> None:
    with pytest.raises(ConfigError):
        synthesize("Hello.", model=RETIRED)  # no key


def _line_of(function: Callable[[], object]) -> int:
    return function.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("call", "offset"),
    [
        (lambda: warn("look here"), 0),
        (lambda: TTSClient(model=RETIRED, api_key="k"), 0),
        (lambda: _Own(model=RETIRED, api_key="k"), 0),
        (lambda: TTSClient(api_key="k").on("response.done2", print), 0),
        (lambda: TTSClient(api_key="k", volume=101, strict=False), 0),
        (_synthesize, 2),
    ],
    ids=["warn", "client", "subclass", "typo", "not strict", "helper"],
)
def test_a_warning_names_the_line_of_the_call(call: Callable[[], object], offset: int) -> None:
    """However deep in the package it was noticed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert len(caught) == 1
    assert issubclass(caught[0].category, RealtimeWarning)
    assert caught[0].filename == inspect.getfile(call)
    assert caught[0].lineno == _line_of(call) + offset
