"""Every cell of the fault matrix ends in the right typed error or in success, in bounded time."""

from __future__ import annotations

import time

import pytest

from qwen_realtime.server.engines import Engines

from .matrix import FAMILIES, LIMIT_S, ROWS, Row, question_of, run_cell


@pytest.fixture(scope="module")
def question(tones: Engines) -> bytes:
    """Something said."""
    return question_of(tones)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault(row: Row, family: str, tones: Engines, question: bytes) -> None:
    """As the table in RELIABILITY.md says."""
    began = time.monotonic()
    ended = run_cell(row, family, tones, question)
    assert row.is_right(family, ended), f"{ended}, not {row.expected(family)}"
    assert time.monotonic() - began < LIMIT_S
