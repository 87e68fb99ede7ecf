"""Where the samples connect to: the service with DASHSCOPE_API_KEY set, else a local server made for the occasion."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qwen_realtime import TTSClient


@contextmanager
def service() -> Iterator[dict[str, Any]]:
    """Give the arguments that every client takes: where to connect, and with which key."""
    if os.environ.get("DASHSCOPE_API_KEY"):
        yield {}
        return
    from qwen_realtime.server import LocalServer

    with LocalServer() as server:
        print(f"(no DASHSCOPE_API_KEY: local server; it speaks with {server.describe()['speech']})", file=sys.stderr)
        yield {"url": server.url, "api_key": "local"}


def recording(where: dict[str, Any], words: str = "he might even have been made amiable himself") -> Any:
    """Find a recording of speech: the file named on the command line, a human voice, or a synthesised one.

    The human voices are those of Debian's package pocketsphinx-testdata; ``words`` tells which one is meant.
    """
    if len(sys.argv) > 1:
        return sys.argv[1]
    for wav, transcript in human_recordings():
        if words in transcript:
            return wav
    with TTSClient(mode="commit", **where) as client:
        return client.say(words.capitalize() + ".")


def human_recordings() -> list[tuple[str, str]]:
    """Recordings of human speech with what is said in them, where the package is installed."""
    if shutil.which("dpkg") is None:
        return []
    listed = subprocess.run(["dpkg", "-L", "pocketsphinx-testdata"], capture_output=True, text=True, check=False)
    files = listed.stdout.split()
    transcripts: dict[str, str] = {}
    for path in files:
        if path.endswith("librivox/transcription"):
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    text, _, name = line.strip().rstrip(")").rpartition("(")
                    transcripts[name] = text.replace("<s>", "").replace("</s>", "").strip()
    return sorted(
        (path, transcripts[os.path.basename(path)[:-4]])
        for path in files
        if path.endswith(".wav") and os.path.basename(path)[:-4] in transcripts
    )
