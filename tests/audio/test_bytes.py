"""PCM as bytes."""

from __future__ import annotations

import array
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_realtime.audio.bytes import OddByteCarry, pcm_bytes
from qwen_realtime.errors import ConfigError


def test_bytes_pass_through_untouched() -> None:
    """The very same object comes back, of any length."""
    pcm = b"odd"
    assert pcm_bytes(pcm) is pcm


def test_other_kinds_become_bytes() -> None:
    """Byte arrays, views and arrays of samples give the same bytes."""
    samples = np.array([1, -2, 3], np.int16)
    pcm = samples.tobytes()
    kinds = (
        bytearray(pcm),
        memoryview(pcm),
        memoryview(array.array("h", samples.tolist())),
        samples,
        samples / 32768,
        samples[::-1][::-1],
    )
    assert {pcm_bytes(kind) for kind in kinds} == {pcm}
    assert pcm_bytes(memoryview(array.array("f", [0.5]))) == np.array([16384], np.int16).tobytes()


def test_base64_text_is_refused_with_the_remedy() -> None:
    """A str is probably base64: the hint says how to decode it."""
    with pytest.raises(ConfigError, match="b64decode"):
        pcm_bytes("AAAA")  # type: ignore[arg-type]


def test_the_byte_path_imports_no_numpy() -> None:
    """Importing the package and sending bytes loads neither numpy nor PyAudio."""
    code = (
        "import sys, qwen_realtime.audio, qwen_realtime.audio.bytes as b;"
        "b.pcm_bytes(bytearray(b'12')); b.OddByteCarry().feed(b'1');"
        "print([name for name in ('numpy', 'pyaudio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    """Each name in ``__all__`` is there, listed, and an unknown one is an AttributeError."""
    import qwen_realtime.audio as audio

    for name in audio.__all__:
        assert getattr(audio, name) is not None
        assert name in dir(audio)
    with pytest.raises(AttributeError, match="nonsense"):
        audio.nonsense  # noqa: B018


@given(st.lists(st.binary(max_size=5)))
def test_odd_bytes_are_carried(chunks: list[bytes]) -> None:
    """Every output is whole samples, and together they are the input less at most one byte."""
    carry = OddByteCarry()
    out = [carry.feed(chunk) for chunk in chunks]
    assert all(len(piece) % 2 == 0 for piece in out)
    whole = b"".join(chunks)
    assert b"".join(out) == whole[: len(whole) // 2 * 2]
    assert carry.pending == len(whole) % 2
    carry.reset()
    assert carry.feed(b"ab") == b"ab"
