"""A file that says how far a run over many items has come, so that the next one goes on there.

JSON lines: a header with the fingerprint of the run, then a line for each item as it ends, written at once. What a
crash left half-written at the end is cut off. An item that failed is tried again by the next run; one that is done is
not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import IO, Any

from ..errors import ConfigError
from ..results import Speech

__all__ = ["Manifest", "identity"]

VERSION = 1


class Manifest:
    """One run's progress; only one process at a time may use a file. One thread writes.

    Args:
        path: of the file, which need not exist.
        job: what makes the run what it is, in JSON: its kind, settings and items; kept as a fingerprint.

    Attributes:
        done: what was kept of each item that is done, by index.

    Raises:
        ConfigError: the file belongs to another run, is damaged before its last line, or cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], job: Mapping[str, Any]) -> None:
        self._path = os.fspath(path)
        text = json.dumps(job, sort_keys=True, ensure_ascii=True)
        self._header = {
            "manifest": "qwen_realtime",
            "version": VERSION,
            "kind": job["kind"],
            "items": len(job["items"]),
            "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        }
        self.done: dict[int, dict[str, Any]] = {}
        self._whole = 0  # bytes of the file that are whole lines
        self._file: IO[bytes] | None = None
        self._read()

    def _read(self) -> None:
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"the manifest {self._path} cannot be read: {error}") from error
        self._whole = data.rfind(b"\n") + 1
        lines = data[: self._whole].splitlines()
        if not lines and data and not self._encoded(self._header).startswith(data):
            raise ConfigError(f"{self._path} is not a manifest", hint="give the name of a file that does not exist")
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                if number == 1:
                    self._compare(entry)
                elif entry.get("error") is None:
                    self.done[int(entry["index"])] = dict(entry["result"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(f"line {number} of the manifest {self._path} is damaged: {error}") from error

    def _compare(self, header: Mapping[str, Any]) -> None:
        if header.get("manifest") != self._header["manifest"]:
            raise ConfigError(f"{self._path} is not a manifest", hint="give the name of a file that does not exist")
        if header != self._header:
            raise ConfigError(
                f"the manifest {self._path} is that of another run, with other items or settings",
                hint="give each run a manifest of its own, or delete it to begin anew",
            )

    def record(self, index: int, source: str, result: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """Write how an item ended; the line has left this process when this returns.

        Raises:
            OSError: the file cannot be written.
        """
        entry: dict[str, Any] = {"index": index, "source": source}
        if error is None:
            entry["result"] = result
        else:
            entry["error"] = f"{type(error).__name__}: {error}"
        file = self._open()
        file.write(self._encoded(entry))
        file.flush()

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._file = open(self._path, "ab")  # noqa: SIM115 - closed by close()
            self._file.truncate(self._whole)
            if not self._whole:
                self._file.write(self._encoded(self._header))
        return self._file

    @staticmethod
    def _encoded(entry: Mapping[str, Any]) -> bytes:
        return json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def identity(source: object) -> str:
    """How an item is told from others: a path by its name, a text by itself, all else by what is in it.

    Raises:
        ConfigError: a stream, which cannot be known before it is read.
    """
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    if isinstance(source, Iterator):
        raise ConfigError("a manifest cannot tell streams apart", hint="pass paths, bytes or arrays")
    try:
        content = memoryview(source.audio if isinstance(source, Speech) else source).tobytes()  # type: ignore[arg-type]
    except TypeError:
        return f"a {type(source).__name__}"  # which nobody can transcribe
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
