"""Transcripts as text, subtitles or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..results import Utterance
from ..subtitles import SubtitleWriter
from .output import known_ending

__all__ = ["FORMATS", "format_of", "rendered"]

FORMATS = ("txt", "srt", "vtt", "json")


def format_of(chosen: str | None, output: Path | None) -> str:
    """The format asked for, or the one that the output's name tells; text otherwise.

    Raises:
        ConfigError: the name tells another one.
    """
    if chosen is not None or output is None or output.is_dir() or not output.suffix:
        return chosen or "txt"
    known_ending(output, *(f".{each}" for each in FORMATS))
    return output.suffix[1:].lower()


def rendered(utterances: Sequence[Utterance], kind: str, *, source: str = "", duration_ms: float = 0.0) -> str:
    """A transcript as a file's text.

    Args:
        utterances: in order.
        kind: one of ``FORMATS``.
        source: the recording's name, for JSON.
        duration_ms: its length, for JSON.
    """
    if kind == "txt":
        return "".join(f"{each.text}\n" for each in utterances if each.text)
    if kind == "json":
        rows = [
            {name: value for name, value in each._asdict().items() if value not in ("", None)} for each in utterances
        ]
        whole = {"source": source, "duration_ms": round(duration_ms), "utterances": rows}
        return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
    with TemporaryDirectory() as folder:  # the writer knows files only
        path = Path(folder) / f"subtitles.{kind}"
        with SubtitleWriter(path) as writer:
            for each in utterances:
                if each.text:
                    start = each.start_ms or 0
                    end = each.end_ms if each.end_ms is not None else max(start + 1000, round(duration_ms))
                    writer.cue(start, end, each.text)
        return path.read_text(encoding="utf-8")
