"""The ring buffer against a plain list of bytes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_realtime.audio.ring import RingBuffer
from qwen_realtime.errors import AudioError, ConfigError
from tests.audio.sounds import noise

LIMIT = 300
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.binary(max_size=200)),
        st.tuples(st.just("read"), st.integers(0, 120)),
        st.tuples(st.just("clear"), st.none()),
        st.tuples(st.just("align"), st.none()),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(OPERATIONS)
def test_it_behaves_like_a_plain_buffer(operations: list[tuple[str, object]]) -> None:
    """Writes of any length, reads, clears and refusals leave exactly what a byte string would hold."""
    ring = RingBuffer(100, initial_s=0.02, limit_s=LIMIT / 100)
    model, carried = b"", b""
    for operation, value in operations:
        if operation == "write":
            assert isinstance(value, bytes)
            stream = carried + value
            whole = len(stream) // 2 * 2
            if len(model) + whole > 2 * LIMIT:
                with pytest.raises(AudioError, match="limit"):
                    ring.write(value)
            else:
                assert ring.write(value) == whole // 2
                model, carried = model + stream[:whole], stream[whole:]
        elif operation == "read":
            assert isinstance(value, int)
            assert ring.read(value).tobytes() == model[: 2 * value]
            model = model[2 * value :]
        elif operation == "clear":
            assert ring.clear() == len(model) // 2
            model = carried = b""
        else:
            ring.align()
            carried = b""
        assert len(ring) == len(model) // 2
        assert ring.buffered_ms == pytest.approx(len(ring) * 10)
        assert len(ring) <= ring.capacity <= LIMIT


@settings(max_examples=15, deadline=None)
@given(
    writes=st.lists(st.integers(0, 3001), min_size=1, max_size=30),
    reads=st.lists(st.integers(1, 700), min_size=1, max_size=5),
)
def test_two_threads_lose_nothing(writes: list[int], reads: list[int]) -> None:
    """What one thread writes in odd pieces, another reads in others: the same bytes in the same order."""
    ring = RingBuffer(1000, initial_s=0.01)
    stream = noise(1.0, sum(writes) // 2 + 1).tobytes()[: sum(writes)]
    received: list[bytes] = []

    def consume() -> None:
        turn = 0
        while len(samples := ring.read(reads[turn % len(reads)], timeout=10)):
            received.append(samples.tobytes())
            turn += 1

    reader = threading.Thread(target=consume, name="test-reader", daemon=True)
    reader.start()
    at = 0
    for count in writes:
        ring.write(stream[at : at + count])
        at += count
    ring.close()
    reader.join(10)
    assert not reader.is_alive()
    assert b"".join(received) == stream[: len(stream) // 2 * 2]


def test_a_refused_chunk_changes_nothing() -> None:
    """Over the limit a chunk is refused whole, and the half sample before it still finds its other half."""
    ring = RingBuffer(1000, limit_s=2.0)
    ring.write(b"\x01")
    with pytest.raises(AudioError, match="2 s is the limit") as caught:
        ring.write(bytes(4001))
    assert caught.value.hint
    assert ring.write(b"\x02") == 1
    assert ring.read(5).tobytes() == b"\x01\x02"


def test_reading_waits_for_the_whole_amount() -> None:
    """A read with a timeout gets all samples once they came, from another thread."""
    ring = RingBuffer(1000)
    ring.write(bytes(2))
    writer = threading.Timer(0.05, ring.write, [bytes(18)])
    writer.start()
    assert len(ring.read(10, timeout=5)) == 10
    writer.join()


def test_reading_gives_up_at_its_deadline() -> None:
    """What there is comes when the time is over."""
    ring = RingBuffer(1000)
    ring.write(bytes(6))
    started = time.monotonic()
    assert len(ring.read(10, timeout=0.05)) == 3
    assert 0.04 <= time.monotonic() - started < 2


def test_closing_lets_readers_go() -> None:
    """A reader without deadline gets the rest; later writes do nothing."""
    ring = RingBuffer(1000)
    ring.write(bytes(6))
    closer = threading.Timer(0.05, ring.close)
    closer.start()
    assert len(ring.read(10, timeout=None)) == 3
    closer.join()
    assert ring.write(bytes(6)) == 0
    assert len(ring.read(10, timeout=None)) == 0


def test_ten_minutes_are_cleared_at_once() -> None:
    """Clearing takes well under a millisecond whatever waits."""
    ring = RingBuffer(24000)
    ring.write(np.zeros(24000 * 600, np.int16))
    started = time.perf_counter()
    assert ring.clear() == 24000 * 600
    assert time.perf_counter() - started < 0.001


@pytest.mark.parametrize(("initial_s", "limit_s"), [(0, 1), (2, 1)])
def test_sizes_that_cannot_be_are_refused(initial_s: float, limit_s: float) -> None:
    """Nothing, or more to begin with than may ever be."""
    with pytest.raises(ConfigError):
        RingBuffer(initial_s=initial_s, limit_s=limit_s)
