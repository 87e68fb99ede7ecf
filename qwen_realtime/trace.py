"""Record what goes over the wire: JSON lines without keys, and the sound beside them as WAV files.

``session.jsonl`` holds one line per message, ``session.client.wav`` and ``session.server.wav`` the sound, to the byte::

    {"t": 0.0, "dir": "trace", "event": {"type": "trace.began", "format": 1, "at": "2026-05-01T10:00:00Z", …}}
    {"t": 0.1, "dir": "server", "event": {"type": "session.created", …}}
    {"t": 0.2, "dir": "client", "event": {"type": "input_audio_buffer.append", "audio": {"file": …, "offset": 44,
                                          "bytes": 3200}}}

The writing thread, ``qwen-trace``, takes the messages apart and writes; the wire's threads only hand them over.
:mod:`.recording` reads a trace again.
"""

import logging
import os
import queue
import re
import struct
import threading
import time
import wave
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from .settings import input_rate, output_rate, profile_of

__all__ = ["AUDIO_DELTA", "Trace"]

log = logging.getLogger("qwen_realtime")

FORMAT = 1
AUDIO_DELTA = "response.audio.delta"

# Shorter base64 stays where it is: a reference to a file would be as long.
INLINE = 200
# Messages that may wait for a disk that hangs, before new ones are dropped: about ten minutes of speech both ways.
BACKLOG = 10_000
# Of a message that is no JSON, so much is kept.
RAW_BYTES = 16 * 1024
CLOSE_S = 5.0

_KEYS = re.compile(rb"\bsk-[A-Za-z0-9_.\-]{6,}|(?<=Bearer )[A-Za-z0-9_.\-]+")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Trace:
    """A recording in progress. Any thread may record; it costs the caller about a microsecond and never waits.

    Args:
        path: created or emptied; the WAV files beside it are made when the first sound comes.

    Attributes:
        dropped: messages that are not in the file, because the disk was too slow or full.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.dropped = 0
        self._path = Path(path).absolute()  # the program may change its folder before the last note
        self._writer = _Writer(self._path)
        self._began = time.monotonic()
        self._queue: queue.SimpleQueue[tuple[float, str, bytes | dict[str, Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards what follows, for an assignment
        self._thread: threading.Thread | None = None
        self._closed = False  # nothing more is taken
        self._written = False  # nothing more is written
        self._then: Callable[[], object] = lambda: None

    def record(self, direction: str, payload: bytes) -> None:
        """Record one message.

        Args:
            direction: ``"client"`` for what the client sent, ``"server"`` for what it received.
            payload: of the text frame.
        """
        self._put(direction, payload)

    def note(self, kind: str, **facts: Any) -> None:
        """Record something that did not go over the wire, such as the underruns of a player.

        Also after :meth:`close`, when a player still plays what has come: then it blocks on the disk.

        Args:
            kind: becomes the line's type.
            facts: anything that JSON can hold.
        """
        event = {"type": kind, **facts}
        if not self._closed:
            self._put("note", event)
            return
        self.close()  # what waits is written before
        line = _line(time.monotonic() - self._began, "note", event)
        try:
            with open(self._path, "ab") as file:
                file.write(line)
        except OSError as error:
            log.error("a note is missing in the trace: %s", error)

    def end(self, then: Callable[[], object] = lambda: None) -> None:
        """Write what waits, close the files and call ``then``, on the writing thread; does not wait for the disk.

        ``then`` is called at once where nothing is left to write.
        """
        with self._lock:
            self._closed = True
            left = self._thread is not None and not self._written
            if left:
                self._then = then
                self._queue.put(None)
        if not left:
            self._close_files()
            then()

    def close(self) -> None:
        """Write what waits and close the files; idempotent. Blocks on the disk, for five seconds at most."""
        if not self._closed:
            self.end()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_S)

    def _put(self, direction: str, content: bytes | dict[str, Any]) -> None:
        if self._closed:
            return
        if self._thread is None:
            self._start()
        if self._queue.qsize() > BACKLOG:
            self.dropped += 1
            return
        self._queue.put((time.monotonic() - self._began, direction, content))

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="qwen-trace", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        """Write until the end is put; blocks on the queue, which a message or the end wakes, and on the disk."""
        try:
            while (entry := self._queue.get()) is not None:
                self._write(*entry)
                if self._queue.empty():
                    self._writer.flush()
        except OSError as error:
            log.error("the trace ends here: %s", error)
            self._closed = True
        finally:
            if self.dropped:
                log.warning("%d messages are missing in the trace: the disk was too slow", self.dropped)
            self._close_files()
            with self._lock:
                self._written = True
            self._then()

    def _write(self, t: float, direction: str, content: bytes | dict[str, Any]) -> None:
        try:
            self._writer.write(t, direction, content)
        except OSError:
            raise
        except Exception:  # a note that is no JSON, a message nested too deep
            log.exception("a line is missing in the trace")

    def _close_files(self) -> None:
        try:
            self._writer.close()
        except (OSError, struct.error) as error:  # a full disk; 4 GiB of sound, whose length no WAV file can tell
            log.error("the end of the trace could not be written: %s", error)


def _line(t: float, direction: str, event: Any) -> bytes:
    """One line of a trace, without keys."""
    line = _encode({"t": round(t, 6), "dir": direction, "event": event})
    return _KEYS.sub(b"sk-***", line) + b"\n"


class _Writer:
    """The files of a trace; one thread's only."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._stem = path.with_suffix("") if path.suffix == ".jsonl" else path
        self._sound: dict[str, _SoundFile] = {}
        self._rates = {"client": 16000, "server": 24000}
        self._container = "wav"  # of what the server says
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._line(0.0, "trace", {"type": "trace.began", "format": FORMAT, "at": at})

    def write(self, t: float, direction: str, content: bytes | dict[str, Any]) -> None:
        if isinstance(content, dict):
            self._line(t, direction, content)
            return
        try:
            event = _decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            kept = _KEYS.sub(b"sk-***", content[:RAW_BYTES])
            self._line(t, direction, {"type": "", "undecodable_bytes": len(content), "raw": kept})
            return
        kind = event.get("type") if isinstance(event, dict) else None
        if kind in ("session.created", "session.updated"):
            self._learn(event.get("session"))
        self._line(t, direction, self._without_bulk(event, direction, kind == AUDIO_DELTA))

    def _line(self, t: float, direction: str, event: Any) -> None:
        self._file.write(_line(t, direction, event))

    def _learn(self, session: Any) -> None:
        """Take the rates of the sound from what the server confirms."""
        if not isinstance(session, dict):
            return
        try:
            family = profile_of(str(session.get("model") or "")).family
            self._rates = {"client": input_rate(session), "server": output_rate(family, session)}
        except (TypeError, ValueError):  # nothing that is known: the usual rates stand
            return
        spoken = str(session.get("response_format") or "pcm")
        self._container = "wav" if spoken.startswith("pcm") else f"stream.{spoken}"

    def _without_bulk(self, event: Any, direction: str, is_delta: bool = False) -> Any:
        """The event with references in the place of sound, and byte counts in the place of images."""
        if isinstance(event, list):
            return [self._without_bulk(each, direction) for each in event]
        if not isinstance(event, dict):
            return event
        light = {}
        for key, value in event.items():
            if isinstance(value, str):
                if len(value) > INLINE and (key == "audio" or (is_delta and key == "delta")):
                    value = self._stored(value, direction)
                elif key == "image":
                    value = {"bytes": len(value) * 3 // 4}
            elif isinstance(value, (dict, list)):
                value = self._without_bulk(value, direction)
            light[key] = value
        return light

    def _stored(self, text: str, direction: str) -> Any:
        """Where the sound was put; the text itself, where it is no ordinary base64 and could not be made again."""
        try:
            sound = msgspec.convert(text, bytes)
        except msgspec.ValidationError:
            return text
        if len(text) != (len(sound) + 2) // 3 * 4:
            return text
        file = self._sound.get(direction)
        if file is None:
            container = self._container if direction == "server" else "wav"
            path = self._stem.with_name(f"{self._stem.name}.{direction}.{container}")
            rate = self._rates[direction] if container == "wav" else None
            file = self._sound[direction] = _SoundFile(path, rate)
        return {"file": file.name, "offset": file.append(sound), "bytes": len(sound)}

    def flush(self) -> None:
        self._file.flush()
        for file in self._sound.values():
            file.flush()

    def close(self) -> None:
        with ExitStack() as all_of_them:
            all_of_them.callback(self._file.close)
            for sound in self._sound.values():
                all_of_them.callback(sound.close)


class _SoundFile:
    """Sound as it came: in a WAV file of that rate, or bare (``None``) if it has a container of its own."""

    def __init__(self, path: Path, sample_rate: int | None) -> None:
        self.name = path.name
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._wave: wave.Wave_write | None = None
        self._end = 0
        if sample_rate is None:
            return
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115 - closed by close()
        self._wave.setnchannels(1)
        self._wave.setsampwidth(2)
        self._wave.setframerate(sample_rate)
        self._wave.writeframesraw(b"")
        self._end = self._file.tell()

    def append(self, sound: bytes) -> int:
        """Append, and return the offset in the file."""
        at = self._end
        if self._wave is not None:
            self._wave.writeframesraw(sound)
        else:
            self._file.write(sound)
        self._end += len(sound)
        return at

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        try:
            if self._wave is not None:
                self._wave.close()  # fills in the header's lengths
        finally:
            self._file.close()
