"""The mask over what is sent: the same by integers and by numpy, and when numpy is loaded for it."""

from __future__ import annotations

import importlib.abc
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from qwen_realtime.masking import load_numpy, masked

from .peer import Peer

KEY = b"\x00\x7f\x80\xff"


@pytest.mark.parametrize("size", [*range(9), 511, 512, 513, 514, 515, 4341, 70001])
@pytest.mark.parametrize("numpy_is", ["loaded", "absent", "just being imported"])
def test_every_byte_is_masked_by_its_place(size: int, numpy_is: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As RFC 6455 defines it, whoever does it; and the same again gives the payload."""
    if numpy_is == "absent":
        monkeypatch.delitem(sys.modules, "numpy")
    elif numpy_is == "just being imported":
        monkeypatch.setitem(sys.modules, "numpy", type(sys)("numpy"))
    payload = os.urandom(size)
    assert masked(payload, KEY) == bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))
    assert masked(masked(payload, KEY), KEY) == payload


def test_a_numpy_that_cannot_be_loaded_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor that it was not built for, it raises a ``RuntimeError``."""

    class Old(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "numpy":
                raise RuntimeError("NumPy was built with baseline optimizations that your machine doesn't support")

    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.setattr(sys, "meta_path", [Old(), *sys.meta_path])
    load_numpy()
    assert masked(bytes(2000), KEY) == KEY * 500


def test_numpy_is_loaded_after_a_minute_of_audio_and_not_before(peers: Callable[..., Peer]) -> None:
    """Short sessions shall not pay for it; here a program of its own, since this one has numpy."""
    program = """if True:
        import sys
        from qwen_realtime import ASRClient

        with ASRClient(url=sys.argv[1], api_key="k") as client:
            for seconds in (59, 1):
                for _ in range(seconds):
                    client.append_audio(bytes(32000))
                print("numpy" in sys.modules)
    """
    command = [sys.executable, "-c", program, peers().url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]
