"""A worker process seen from the server: started at its first use, started again after a crash, ended by ``close``."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec

from qwen_realtime.errors import RealtimeError

from .messages import Answer, Request, Stop, pack, read_answer

_log = logging.getLogger("qwen_realtime.server.engines")
_Argument = TypeVar("_Argument")
_END_SECONDS = 3.0
_numbers = itertools.count(1)


def new_job() -> int:
    """Return a number that no other job of this process has."""
    return next(_numbers)


@dataclass(frozen=True)
class Subscriber:
    """Who hears about a job. Both run on the thread ``qwen-engine-...`` and must not block.

    Args:
        on_answer: takes each answer.
        on_loss: takes the reason, once per process that ends with the job in it.
    """

    on_answer: Callable[[Answer], None]
    on_loss: Callable[[str], None]


class WorkerProcess:
    """One worker process and the thread ``qwen-engine-<name>`` that reads its answers.

    Nothing runs until the first ``send``. When the process dies, every job in it is told by ``on_loss`` and the next
    ``send`` starts another.

    Args:
        name: for the thread.
        arguments: for ``worker.main``.
    """

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        self._arguments = arguments
        # Guards the four fields below; held briefly, never while writing or calling anybody.
        self._state = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._subscribers: dict[int, Subscriber] = {}
        self._closed = False
        # Keeps frames whole. Writing blocks while the worker is 32 MB behind; the end of the process wakes it.
        self._pipe = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id, or ``None`` while none runs."""
        with self._state:
            return self._process.pid if self._process else None

    @property
    def load(self) -> int:
        """How many jobs it has."""
        with self._state:
            return len(self._subscribers)

    def subscribe(self, job: int, subscriber: Subscriber) -> None:
        """Name who hears about a job; before its first ``send``."""
        with self._state:
            self._subscribers[job] = subscriber

    def forget(self, job: int) -> bool:
        """Stop answers of a job from being passed on; return whether it was known."""
        with self._state:
            return self._subscribers.pop(job, None) is not None

    def stop(self, job: int) -> None:
        """Forget a job and have the worker drop it."""
        if self.forget(job) and self.pid is not None:
            with contextlib.suppress(RealtimeError):
                self.send(Stop(job))

    def send(self, request: Request) -> None:
        """Write a request, starting the process if none runs.

        Blocks while the worker is 32 MB of sound behind. A process that dies meanwhile is reported by ``on_loss``, not
        here; raises ``RealtimeError`` when closed or when no process can be started.
        """
        frame = pack(request)
        with self._pipe:
            stream = self._stream()
            try:
                stream.write(frame)
                stream.flush()
            except (OSError, ValueError):
                return

    def _stream(self) -> BinaryIO:
        with self._state:
            if self._closed:
                raise RealtimeError(f"the engine {self.name!r} is closed")
            if self._process is None:
                self._process = self._start()
                self._reader = threading.Thread(
                    target=self._read, args=(self._process,), name=f"qwen-engine-{self.name}", daemon=True
                )
                self._reader.start()
            return cast("BinaryIO", self._process.stdin)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "qwen_realtime.server.engines.worker", *self._arguments]
        try:
            return subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
                # ``-m`` puts the working directory first on the path: not the user's, whose files could shadow modules.
                cwd=os.path.abspath(os.sep),
                # Ctrl-C in the terminal is for the server, which then ends its workers.
                start_new_session=True,
            )
        except OSError as error:
            raise RealtimeError(f"the engine {self.name!r} cannot be started: {error}") from error

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Pass answers on until the pipe ends; blocks on the pipe, woken by an answer or the end of the process."""
        stdout = cast("BinaryIO", process.stdout)
        why = ""
        try:
            while (answer := read_answer(stdout)) is not None:
                with self._state:
                    subscriber = self._subscribers.get(answer.job)
                if subscriber is not None:
                    _call(subscriber.on_answer, answer)
        except (ValueError, msgspec.MsgspecError) as error:
            why = f"the engine {self.name!r} sent what cannot be read: {error}"
            process.kill()
        status = process.wait()
        stdout.close()
        with self._pipe, contextlib.suppress(OSError):
            cast("BinaryIO", process.stdin).close()
        with self._state:
            self._process = None
            subscribers = list(self._subscribers.values())
            if self._closed:
                why = f"the engine {self.name!r} was closed"
            elif not why:
                why = f"the engine {self.name!r} died with status {status}"
        for subscriber in subscribers:
            _call(subscriber.on_loss, why)

    def close(self) -> None:
        """End the process and the thread; takes 3 s at the very most. Idempotent, from any thread."""
        with self._state:
            self._closed = True
            process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        if self._pipe.acquire(timeout=_END_SECONDS / 3):
            try:
                cast("BinaryIO", process.stdin).close()
            except OSError:
                process.kill()
            finally:
                self._pipe.release()
        else:
            process.kill()
        if reader is not threading.current_thread():
            reader.join(_END_SECONDS / 3)
            if reader.is_alive():
                process.kill()
                reader.join(_END_SECONDS / 3)


def _call(callback: Callable[[_Argument], None], argument: _Argument) -> None:
    """Call back; what it raises must not end the thread that serves the other jobs."""
    try:
        callback(argument)
    except Exception:  # noqa: BLE001 - logged, with traceback
        _log.exception("a callback of an engine raised")


def _environment() -> dict[str, str]:
    """Return an environment in which a child finds what this process finds, checkout or not."""
    path = [os.path.abspath(entry) for entry in sys.path]
    package_parent = str(Path(__file__).resolve().parents[3])
    if package_parent not in path:
        path.append(package_parent)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONSAFEPATH": "1",
        # A worker's matrices are tiny; threads for them would only take the sessions' cores.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
