"""Somebody who calls a module that transcribes."""

from pathlib import Path

from asr import transcribe_audio_stream  # type: ignore[import-not-found]  # the program

partial: list[str] = []
text = transcribe_audio_stream(Path("question.pcm").read_bytes(), on_partial=partial.append)
print(f"transcript: {text}")
print(f"partial results: {len(partial)}")
