"""Recordings through a Dask cluster of two worker processes, one of which is killed: python -m tests.batch_on_dask.

The service is the local server with its real recogniser or, with ``--stand-in``, a peer that only waits. What must hold
is checked; what is measured is printed: throughput against a plain loop, and the rate against its limit.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import logging
import os
import signal
import struct
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from qwen_realtime import RateLimit, synthesize_many, transcribe, transcribe_many
from qwen_realtime.server import LocalServer
from qwen_realtime.server.session import ServerSession

from .peer import CLOSE, TEXT, Link, Peer, created

PATIENCE_S = 20.0


class Recogniser:
    """A stand-in for the service, which takes the first sample of a recording for what is said in it.

    Args:
        before_answer: called with that number, on the thread of the session, before it is answered.
        refusal: called with the number of a connection, from 1; the seconds of a 429, or ``None`` to let it in.

    Attributes:
        begun: when each session was let in, on ``time.monotonic()``.
        refused: when each of the others came.
        completed: the numbers whose transcript was fetched.
    """

    def __init__(
        self,
        before_answer: Callable[[int], object] = lambda _: None,
        refusal: Callable[[int], float | None] = lambda _: None,
    ) -> None:
        self.before_answer = before_answer
        self.refusal = refusal
        self.begun: list[float] = []
        self.refused: list[float] = []
        self.completed: list[int] = []
        self._numbers = itertools.count(1)
        self.peer = Peer(self._serve)
        self.url = self.peer.url

    def _serve(self, link: Link) -> None:
        seconds = self.refusal(next(self._numbers))
        if seconds is not None:
            self.refused.append(time.monotonic())
            link.answer("429 Too Many Requests", b"slowly", Retry_After=f"{seconds:g}")
            return
        self.begun.append(time.monotonic())
        link.accept()
        link.send(created("qwen3-asr-flash-realtime"))
        session, number = dict(created("qwen3-asr-flash-realtime")["session"]), -1
        while (received := link.receive()).opcode != CLOSE:
            message: dict[str, Any] = received.message if received.opcode == TEXT else {"type": ""}
            if message["type"] == "session.update":
                session.update(message["session"])
                link.send("session.updated", session=session)
            elif message["type"] == "input_audio_buffer.append" and number < 0:
                number = int(struct.unpack_from("<h", base64.b64decode(message["audio"]))[0])
            elif message["type"] == "session.finish":
                self.before_answer(number)
                kind = "conversation.item.input_audio_transcription.completed"
                link.send(kind, item_id="i", content_index=0, transcript=f"number {number}")
                link.send("session.finished")
        link.close()
        self.completed.append(number)

    def __enter__(self) -> Recogniser:
        return self

    def __exit__(self, *exc: object) -> None:
        self.peer.close()


def write_recordings(folder: Path, count: int) -> list[str]:
    """Short recordings for :class:`Recogniser`."""
    paths = []
    for number in range(count):
        path = str(folder / f"{number:03d}.wav")
        with wave.open(path, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(struct.pack("<h", number) * 1600)
        paths.append(path)
    return paths


class Killer:
    """Kills a process while two sessions wait for their answers, so that it is at work on one of them.

    Args:
        pid: asked when it is time.
        after: sessions that are answered before.
    """

    def __init__(self, pid: Callable[[], int], after: int) -> None:
        self._pid = pid
        self._after = after
        self._lock = threading.Lock()  # guards the counter
        self._sessions = 0
        self.done = threading.Event()

    def __call__(self, _: int) -> None:
        """Hold the session that comes first until the second has come, too."""
        with self._lock:
            self._sessions += 1
            held = self._sessions - self._after
        if held == 1:
            assert self.done.wait(PATIENCE_S), "there is but one session at a time"
        elif held == 2:
            os.kill(self._pid(), signal.SIGKILL)
            self.done.set()


class TimedServer(LocalServer):
    """The local server, which notes when sessions begin, and tells who wants to know."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[float] = []
        self.on_session: Callable[[int], object] = lambda _: None  # on the session's thread, which it may hold

    def admitted(self, session: ServerSession) -> None:
        """A session has begun."""
        super().admitted(session)
        self.begun.append(time.monotonic())
        self.on_session(len(self.begun))

    @property
    def completed(self) -> list[int]:
        """The connections that came to their end."""
        return [each.connection for each in self.records if each.server_events["session.finished"]]


def largest_in_any(times: Sequence[float], seconds: float) -> int:
    """How many of these times lie in the window of that length that has most."""
    return max(sum(start <= each < start + seconds for each in times) for start in times)


def measure(
    service: Any, recordings: list[str], rate: float, plain: int, kill: Callable[[int], None]
) -> dict[str, Any]:
    """Run all of it; returns the figures.

    Args:
        service: what is connected to; has ``url``, ``begun``, ``completed``.
        recordings: paths.
        rate: jobs in a second.
        plain: how many of them the plain loop does.
        kill: called with the pid of the worker to be killed, before the run.
    """
    import dask
    import distributed

    dask_distributed: Any = distributed  # it is typed in part
    where = {"url": service.url, "api_key": "k", "language": "en"}
    began = time.monotonic()
    texts = {path: transcribe(path, **where).text for path in recordings[:plain]}
    figures: dict[str, Any] = {"recordings": len(recordings), "plain_loop_per_s": plain / (time.monotonic() - began)}

    dask.config.set({"distributed.scheduler.allowed-failures": 0})  # what is lost comes back to us, and waits its turn
    with ExitStack() as stack:
        how: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        cluster = stack.enter_context(dask_distributed.LocalCluster(n_workers=2, threads_per_worker=1, **how))
        client = stack.enter_context(dask_distributed.Client(cluster))
        executor = client.get_executor()

        began = time.monotonic()
        outcomes = list(transcribe_many(recordings[: len(recordings) // 2], executor=executor, **where))
        figures["two_workers_per_s"] = len(outcomes) / (time.monotonic() - began)
        assert all(outcome.error is None for outcome in outcomes), [outcome.error for outcome in outcomes]

        first, completed = len(service.begun), len(service.completed)
        pids = list(client.run(os.getpid).values())
        kill(pids[0])
        began = time.monotonic()
        outcomes = list(transcribe_many(recordings, executor=executor, rate_limit=RateLimit(rate, 1.0), **where))
        seconds = time.monotonic() - began
        assert pids[0] not in client.run(os.getpid).values(), "the worker was not killed"

    times = service.begun[first:]
    figures["sessions"] = len(times)
    figures["completed"] = len(service.completed) - completed
    figures["rate_limit_per_s"] = rate
    figures["rate_per_s"] = (len(times) - 1) / (times[-1] - times[0])
    figures["most_in_10_intervals"] = largest_in_any(times, 10 / rate)
    figures["seconds_with_limit_and_kill"] = seconds
    assert sorted(outcome.index for outcome in outcomes) == list(range(len(recordings))), "an item was lost or doubled"
    assert all(outcome.error is None for outcome in outcomes), [outcome.error for outcome in outcomes]
    heard = {outcome.source: outcome.result.text for outcome in outcomes if outcome.result is not None}
    assert all(heard[path] == text for path, text in texts.items()), "the transcripts are not those of the plain loop"
    assert figures["completed"] == len(recordings), f"{figures['completed']} recordings were transcribed"
    assert figures["sessions"] > len(recordings), "no session was lost with the worker"
    assert figures["rate_per_s"] <= 1.05 * rate, figures
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line; prints the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0.0, help="jobs in a second; default fits the service")
    parser.add_argument("--stand-in", action="store_true", help="a service that answers after 0.1 s of nothing")
    options = parser.parse_args(arguments)
    count = options.recordings
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if options.stand_in:
            recogniser = stack.enter_context(Recogniser(lambda _: time.sleep(0.1)))

            def kill_at_work(pid: int) -> None:
                recogniser.before_answer = Killer(lambda: pid, count // 2)

            figures = measure(recogniser, write_recordings(Path(folder), count), options.rate or 10.0, 10, kill_at_work)
        else:
            server = stack.enter_context(TimedServer())
            server.warm_up()
            texts = [f"The number is {number}." for number in range(count)]
            spoken = synthesize_many(texts, out_dir=folder, url=server.url, api_key="k")
            assert all(outcome.error is None for outcome in spoken)

            def kill_at_work(pid: int) -> None:
                server.on_session = Killer(lambda: pid, count // 2)

            paths = sorted(map(str, Path(folder).glob("*.wav")))
            figures = measure(server, paths, options.rate or 1.0, 40, kill_at_work)
    print(json.dumps({key: round(value, 3) for key, value in figures.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
