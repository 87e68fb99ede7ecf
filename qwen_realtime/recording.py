"""A trace that was recorded (:mod:`.trace`), read again: lines, messages as they were on the wire, and their sound."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .errors import ConfigError
from .trace import AUDIO_DELTA

__all__ = ["Line", "Recording", "read_trace"]

_encode = msgspec.json.Encoder().encode


class Line(NamedTuple):
    """One line of a trace.

    Attributes:
        t: seconds since the recording began.
        direction: ``"client"``, ``"server"``, ``"note"`` or ``"trace"``.
        event: the message, with references in the place of sound.
    """

    t: float
    direction: str
    event: dict[str, Any]

    @property
    def type(self) -> str:
        """The message's type; empty where it has none."""
        return str(self.event.get("type") or "")


class Recording:
    """A trace that was read.

    Attributes:
        path: of the JSON lines.
        lines: in the order of the wire, notes included.
    """

    def __init__(self, path: Path, lines: list[Line]) -> None:
        self.path = path
        self.lines = lines
        self._files: dict[str, bytes] = {}

    def sound(self, event: dict[str, Any]) -> bytes:
        """The sound that an event carried; empty where it carried none, or the file beside the trace is gone."""
        return self._bytes(event.get("delta" if event.get("type") == AUDIO_DELTA else "audio"))

    def payload(self, line: Line) -> bytes:
        """The message as it was on the wire, as far as JSON tells: blanks and escapes may differ.

        Raises:
            ConfigError: the WAV file that its sound is in is missing.
        """
        event = line.event
        if "undecodable_bytes" in event:
            return self._bytes(event.get("raw"))
        if line.type == "input_image_buffer.append":
            return _encode({**event, "image": ""})
        return _encode(self._whole(event))

    def _whole(self, event: Any) -> Any:
        if isinstance(event, list):
            return [self._whole(each) for each in event]
        if not isinstance(event, dict):
            return event
        if event.keys() == {"file", "offset", "bytes"}:
            sound = self._bytes(event)
            if len(sound) != event["bytes"]:
                raise ConfigError(f"the trace's sound is missing: {event['file']}", hint="it belongs beside the trace")
            return sound  # the encoder makes base64 of it
        return {key: self._whole(value) for key, value in event.items()}

    def _bytes(self, value: Any) -> bytes:
        if isinstance(value, str):
            try:
                return msgspec.convert(value, bytes)
            except msgspec.ValidationError:
                return b""
        if not isinstance(value, dict) or "file" not in value:
            return b""
        # the name only: a trace from elsewhere must not make us read other files
        name = Path(str(value["file"])).name
        if name not in self._files:
            try:
                self._files[name] = self.path.with_name(name).read_bytes()
            except OSError:
                self._files[name] = b""
        start = int(value.get("offset", 0))
        return self._files[name][start : start + int(value.get("bytes", 0))]


def read_trace(path: str | os.PathLike[str]) -> Recording:
    """Read a trace; a last line that a crash cut short is left out.

    Raises:
        ConfigError: there is no such file, or it is no trace.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    lines: list[Line] = []
    rows = text.split(b"\n")
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        try:
            entry = json.loads(row)
            line = Line(float(entry["t"]), str(entry["dir"]), entry["event"])
            if not isinstance(line.event, dict):
                line = line._replace(event={"type": "", "value": line.event})
        except (ValueError, KeyError, TypeError) as error:
            if number == len(rows) and lines:
                break
            raise ConfigError(
                f"{path} is no trace: line {number} cannot be read", hint="record one with trace='session.jsonl'"
            ) from error
        lines.append(line)
    if not lines:
        raise ConfigError(f"{path} is no trace: it is empty", hint="record one with trace='session.jsonl'")
    return Recording(path, lines)
