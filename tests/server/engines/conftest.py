"""Real engines for all tests here: a machine without them fails these tests, it does not skip them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qwen_realtime.server.engines import Engines, Flushed, ListenResult, TurnDetection

SECONDS = 20.0


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """The best engines, warmed up, for all tests that do not break them."""
    engines = Engines(speech="flite", listening="pocketsphinx", translation="apertium", workers=1)
    engines.warm_up(SECONDS)
    yield engines
    engines.close()


@pytest.fixture(scope="session")
def speak() -> Callable[..., bytes]:
    """Return all the sound of a text, or fail with the engine's reason."""

    def speak(engines: Engines, text: str, **settings: Any) -> bytes:
        sound = bytearray()
        reasons: list[str | None] = []
        done = threading.Event()

        def end(reason: str | None) -> None:
            reasons.append(reason)
            done.set()

        engines.synthesize(text, on_audio=sound.extend, on_done=end, **settings)
        assert done.wait(SECONDS)
        assert reasons == [None]
        return bytes(sound)

    return speak


@pytest.fixture(scope="session")
def hear() -> Callable[..., list[ListenResult]]:
    """Feed sound to a new listener and return all its results up to ``Flushed``."""

    def hear(
        engines: Engines,
        pcm: bytes,
        *,
        sample_rate: int = 16000,
        block_bytes: int = 3200,
        turn_detection: TurnDetection | None = TurnDetection(),  # noqa: B008 - frozen
        **settings: Any,
    ) -> list[ListenResult]:
        results: list[ListenResult] = []
        flushed = threading.Event()

        def take(result: ListenResult) -> None:
            results.append(result)
            if isinstance(result, Flushed):
                flushed.set()

        listener = engines.listen(sample_rate=sample_rate, turn_detection=turn_detection, on_result=take, **settings)
        for start in range(0, len(pcm), block_bytes):
            listener.feed(pcm[start : start + block_bytes])
        if turn_detection is None:
            listener.commit()
        listener.finish()
        assert flushed.wait(SECONDS), results
        listener.close()
        return results

    return hear
