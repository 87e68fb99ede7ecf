"""Every cell of the fault matrix ends in the right typed error or in success, in bounded time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen_realtime.server.engines import Engines

from .matrix import FAMILIES, LIMIT_S, ROWS, Row, question_of, run_cell


@pytest.fixture(scope="module")
def question(tones: Engines) -> bytes:
    """Something said."""
    return question_of(tones)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_a_fault(row: Row, tones: Engines, question: bytes) -> None:
    """As the table in RELIABILITY.md says, for all families at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(FAMILIES)) as pool:
        cells = {family: pool.submit(run_cell, row, family, tones, question) for family in FAMILIES}
        ended = {family: cell.result() for family, cell in cells.items()}
    wrong = {family: how for family, how in ended.items() if not row.is_right(family, how)}
    assert not wrong, {family: row.expected(family) for family in wrong}
    assert time.monotonic() - began < LIMIT_S
