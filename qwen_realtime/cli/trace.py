"""``trace``: what a recorded session can be used for."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from ..errors import ConfigError
from ..recording import read_trace
from .options import LOCAL_NEEDS, PACE, PORT, listening, writing
from .output import Screen, counted

__all__ = ["trace"]


@click.group(short_help="Look at a recorded session or serve it again.")
def trace() -> None:
    """Serve a recorded session again, or look at it.

    Every command records one with --trace session.jsonl, every client with trace="session.jsonl".
    """


@trace.command(short_help="Serve a recorded session again.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--port", "-p", type=PORT, default=8766, show_default=True, help="0 takes a free one.")
@click.option(
    "--pace",
    type=PACE,
    default=0.0,
    show_default=True,
    help="1 keeps the recorded times, 2 is twice as fast, 0 at once.",
)
@click.option("--once", is_flag=True, help="End after one session; status 1 if the client did otherwise than recorded.")
@writing
def replay(screen: Screen, file: Path, port: int, pace: float, once: bool) -> int:
    """Serve a trace: a client that sends what was sent gets what was answered."""
    try:
        from ..server.replay import ReplayServer
    except ImportError as error:
        raise ConfigError(f"replaying needs {error.name}", hint=LOCAL_NEEDS) from error
    with listening(ReplayServer(file, port=port, pace=pace), f"127.0.0.1:{port}") as server:
        screen.result(f"export QWEN_REALTIME_URL={server.url} DASHSCOPE_API_KEY=replay", type="serving", url=server.url)
        screen.info(f"model {server.model}; {counted(server.sessions, 'session')} recorded; Ctrl-C ends")
        told = 0
        while True:
            outcome = server.wait_for_outcome(told, timeout=0.2)
            if outcome is None:
                continue
            told += 1
            screen.result(f"session {told}: {outcome or 'as recorded'}", type="replayed", number=told, diverged=outcome)
            if once:
                return 1 if outcome else 0


@trace.command(short_help="Draw a recorded session as one HTML page.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The page. [default: beside FILE, as .html]")
@click.option("--no-audio", is_flag=True, help="Leave the sound out, and only draw it.")
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
@writing
def report(screen: Screen, file: Path, output: Path | None, no_audio: bool, show: bool) -> None:
    """Draw a trace as one HTML page that needs no network: sound, events, captions and waits on one time axis."""
    from ..report import write_report

    recording = read_trace(file)
    output = output or file.with_suffix(".html")
    size = write_report(recording, output, with_audio=not no_audio)
    screen.info(f"{counted(len(recording.lines), 'line')}, {_bytes(size)} → {output}")
    screen.result_for_machines(type="report", file=str(output), bytes=size)
    if show and not webbrowser.open(output.resolve().as_uri()):
        raise ConfigError("no browser was found", hint=f"open {output} in one")


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
