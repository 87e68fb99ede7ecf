"""The engines together, and their processes: crashes, recovery, and nothing left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from qwen_realtime.errors import RealtimeError
from qwen_realtime.server.engines import (
    Engines,
    Failed,
    Final,
    Flushed,
    ListenResult,
    Partial,
    SpeechStarted,
    SpeechStopped,
    TurnDetection,
)

SENTENCE = "The boats came home before the storm."
SECONDS = 20.0


def wait_for_end(pid_file: int) -> None:
    """Block until the process behind a pid file descriptor has ended."""
    readable, _, _ = select.select([pid_file], [], [], SECONDS)
    assert readable
    os.close(pid_file)


def engine_threads() -> list[str]:
    """Return the names of the engines' threads in this process."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("qwen-engine-")]


class Results:
    """A listener's results and a way to wait for one of a kind."""

    def __init__(self) -> None:
        self.all: list[ListenResult] = []
        self._changed = threading.Condition()

    def take(self, result: ListenResult) -> None:
        """Take a result."""
        with self._changed:
            self.all.append(result)
            self._changed.notify_all()

    def wait_for(self, kind: type[ListenResult]) -> None:
        """Block until a result of a kind is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(isinstance(result, kind) for result in self.all), SECONDS), (
                self.all
            )


def test_manual_mode_and_turn_detection_hear_the_same(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """How an utterance is ended does not change what was said."""
    pcm = bytes(16000) + speak(engines, SENTENCE, sample_rate=16000) + bytes(64000)
    automatic = hear(engines, pcm)
    manual = hear(engines, pcm, turn_detection=None)
    assert [type(result) for result in automatic if not isinstance(result, Partial)] == [
        SpeechStarted,
        SpeechStopped,
        Final,
        Flushed,
    ]
    assert [type(result) for result in manual if not isinstance(result, Partial)] == [Final, Flushed]
    texts = [result.text for result in (*automatic, *manual) if isinstance(result, Final)]
    assert texts[0] == texts[1] != ""


def test_another_language_is_refused_in_words(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """The recogniser has English only and does not pretend."""
    pcm = speak(engines, SENTENCE, sample_rate=16000) + bytes(64000)
    (failed,) = [result for result in hear(engines, pcm, language="German") if isinstance(result, Failed)]
    assert failed.code == "unsupported_language"
    assert "'de'" in failed.message


def test_odd_bytes_are_carried_over(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """Half a sample at the end of a block belongs to the next one."""
    pcm = bytes(16000) + speak(engines, SENTENCE, sample_rate=16000) + bytes(64000)
    assert hear(engines, pcm, block_bytes=333) == hear(engines, pcm, block_bytes=len(pcm))


def test_without_a_recogniser_the_transcript_says_so(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """The fallback tells how long the speech was, in any language, for many sessions at once."""
    pcm = bytes(16000) + speak(engines, SENTENCE, sample_rate=16000) + bytes(64000)
    fallback = Engines(speech="tones", listening="tones", translation="phrases", workers=2)
    found: list[list[ListenResult]] = []
    try:
        threads = [
            threading.Thread(target=lambda: found.append(hear(fallback, pcm, language="fr")), daemon=True)
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
    finally:
        fallback.close()
    assert len(found) == 20
    assert all(results == found[0] for results in found)
    (final,) = [result for result in found[0] if isinstance(result, Final)]
    assert "seconds of speech, not recognised" in final.text
    assert final.language == "fr"


def test_a_killed_listening_worker_is_replaced(
    engines: Engines, speak: Callable[..., bytes], hear: Callable[..., list[ListenResult]]
) -> None:
    """The utterance in progress fails in words; then the same listener goes on, its clock where it was."""
    pcm = speak(engines, SENTENCE, sample_rate=16000) + bytes(64000)
    fresh = Engines(listening="tones", speech="tones", workers=1)
    try:
        results = Results()
        listener = fresh.listen(sample_rate=16000, turn_detection=TurnDetection(), on_result=results.take)
        listener.feed(bytes(32000) + pcm[:40000])
        results.wait_for(SpeechStarted)
        (worker,) = fresh._listening
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        results.wait_for(Failed)
        before = len(results.all)
        listener.feed(pcm)
        listener.finish()
        results.wait_for(Flushed)
        (failed,) = [result for result in results.all if isinstance(result, Failed)]
        assert failed.code == "engine_failed"
        started, *_, final, _ = results.all[before:]
        assert isinstance(started, SpeechStarted)
        assert isinstance(final, Final)
        assert 2250 <= started.audio_start_ms <= 2600
    finally:
        fresh.close()


def test_a_listener_waiting_for_its_end_is_released_by_a_crash() -> None:
    """Whoever waits for ``Flushed`` gets it, after the reason."""
    fresh = Engines(listening="tones", speech="tones", workers=1)
    try:
        fresh.warm_up(SECONDS)
        (worker,) = fresh._listening
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        results = Results()
        listener = fresh.listen(sample_rate=16000, turn_detection=None, on_result=results.take)
        listener.feed(bytes(3200))
        listener.finish()
        listener.feed(bytes(3200))
        os.kill(worker.pid, signal.SIGKILL)
        results.wait_for(Flushed)
        assert [type(result) for result in results.all] == [Failed, Flushed]
    finally:
        fresh.close()


def test_a_killed_speaking_worker_fails_its_jobs_and_is_replaced(speak: Callable[..., bytes]) -> None:
    """Each pending text is told the reason once, and the next text is spoken."""
    fresh = Engines(listening="tones", workers=1)
    try:
        fresh.warm_up(SECONDS)
        first = fresh._speaking.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        reasons: list[str | None] = []
        released = threading.Event()

        def end(reason: str | None) -> None:
            reasons.append(reason)
            if len(reasons) == 3:
                released.set()

        for _ in range(3):
            fresh.synthesize(SENTENCE, on_audio=lambda _: None, on_done=end)
        os.kill(first, signal.SIGKILL)
        assert released.wait(SECONDS)
        assert all(reason is not None and "died with status -9" in reason for reason in reasons)
        assert speak(fresh, SENTENCE)
        assert fresh._speaking.pid != first
    finally:
        fresh.close()


def test_a_callback_that_raises_does_not_end_the_others(
    speak: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The reading thread serves many jobs and survives a bug in one."""
    fresh = Engines(speech="tones", listening="tones", workers=1)
    try:
        done = threading.Event()

        def fail(pcm: bytes) -> None:
            raise ZeroDivisionError

        fresh.synthesize("word", on_audio=fail, on_done=lambda _: done.set())
        assert done.wait(SECONDS)
        assert speak(fresh, "word")
        assert "ZeroDivisionError" in caplog.text
    finally:
        fresh.close()


def test_nothing_is_left_after_close(speak: Callable[..., bytes]) -> None:
    """Processes and threads end, pending jobs are told, and later calls say why they cannot be."""
    before = set(engine_threads())
    fresh = Engines(workers=2)
    fresh.warm_up(SECONDS)
    fresh.translate("house", source="en", target="es")
    workers = [fresh._speaking, *fresh._listening]
    assert (
        set(engine_threads()) - before == {"qwen-engine-speak", "qwen-engine-listen-0", "qwen-engine-listen-1"} - before
    )
    pids = [worker.pid for worker in workers]
    pid_files = [os.pidfd_open(pid) for pid in pids if pid is not None]
    assert len(pid_files) == 3
    stages = fresh._translator.pids
    assert stages
    reasons: list[str | None] = []
    fresh.synthesize(f"{SENTENCE} " * 500, on_audio=lambda _: None, on_done=reasons.append)
    results = Results()
    listener = fresh.listen(sample_rate=16000, turn_detection=None, on_result=results.take)
    listener.feed(bytes(3200))
    fresh.close()
    fresh.close()
    for pid_file in pid_files:
        wait_for_end(pid_file)
    assert all(not Path(f"/proc/{pid}").exists() for pid in (*pids, *stages))
    assert sum(worker.pid is not None for worker in workers) == 0
    assert len(reasons) == 1
    assert "closed" in (reasons[0] or "")
    with pytest.raises(RealtimeError, match="closed"):
        listener.feed(bytes(2))
    fresh.synthesize(SENTENCE, on_audio=lambda _: None, on_done=reasons.append)
    assert "closed" in (reasons[1] or "")


def test_sessions_are_shared_out() -> None:
    """Each new listener goes to the worker with the fewest; closing one makes room."""
    fresh = Engines(speech="tones", listening="tones", workers=2)
    try:
        settings = {"sample_rate": 16000, "turn_detection": None, "on_result": lambda _: None}
        listeners = [fresh.listen(**settings) for _ in range(6)]  # type: ignore[arg-type]
        assert [worker.load for worker in fresh._listening] == [3, 3]
        listeners[0].close()
        listeners[2].close()
        fresh.listen(**settings)  # type: ignore[arg-type]
        assert [worker.load for worker in fresh._listening] == [2, 3]
    finally:
        fresh.close()


def test_nothing_runs_before_the_first_use() -> None:
    """Making engines costs no process."""
    before = len(engine_threads())
    fresh = Engines()
    assert [worker.pid for worker in (fresh._speaking, *fresh._listening)] == [None] * (1 + len(fresh._listening))
    assert len(engine_threads()) == before
    fresh.close()


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """A parent without a main module, in another directory, starts workers; they end when it is killed."""
    program = textwrap.dedent(
        """
        import sys
        sys.path[:0] = sys.argv[1:]
        from qwen_realtime.server.engines import Engines
        engines = Engines(speech="tones", listening="tones", workers=1)
        engines.warm_up(20)
        engines.translate("house", source="en", target="es")
        print(engines._speaking.pid, engines._listening[0].pid, *engines._translator.pids, flush=True)
        sys.stdin.read()
        """
    )
    # A file that would shadow the standard library in a worker that started in this directory.
    (tmp_path / "queue.py").write_text("raise RuntimeError('shadowed')", encoding="utf-8")
    command = [sys.executable, "-c", program, *(os.path.abspath(entry) for entry in sys.path)]
    parent = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""}
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) > 2
        pid_files = [os.pidfd_open(pid) for pid in pids]
        parent.kill()
        parent.wait(SECONDS)
        for pid_file in pid_files:
            wait_for_end(pid_file)
