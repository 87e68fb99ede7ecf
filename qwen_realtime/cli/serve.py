"""``serve``: the local server, for other programs."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from .options import PACE, PORT, listening, local_server, read_key, writing
from .output import Screen

__all__ = ["serve"]


@click.command(short_help="Run the local server for other programs.")
@click.option("--port", "-p", type=PORT, default=8765, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@click.option(
    "--api-key-file", type=click.Path(path_type=Path), help="File with the only key to accept. [default: any]"
)
@click.option(
    "--pace", type=PACE, default=1.0, show_default=True, help="How fast sound leaves: 1 real time, 0 as fast as can be."
)
@writing
def serve(screen: Screen, port: int, host: str, api_key_file: Path | None, pace: float) -> None:
    """Run the local server until Ctrl-C, and print the line that points other programs to it."""
    key = read_key(api_key_file) if api_key_file is not None else None
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with listening(local_server(port=port, host=host, api_key=key, pace=pace), f"{host}:{port}") as server:
        if screen.as_json:
            screen.result(type="serving", url=server.url, engines=server.describe())
        else:
            shown = "$(cat '" + str(api_key_file) + "')" if api_key_file is not None else "local"
            screen.result(f"export QWEN_REALTIME_URL={server.url} DASHSCOPE_API_KEY={shown}")
            for job, engine in server.describe().items():
                screen.info(f"{job:>14} ", engine)
            screen.info("Ctrl-C ends")
        _watch(screen, server, stop)


def _watch(screen: Screen, server: Any, stop: threading.Event) -> None:
    """Tell of sessions as they begin and end."""
    open_records: dict[int, Any] = {}
    seen = 0
    while not stop.wait(0.2):
        records = [record for record in list(server.records) if record.connection > seen]
        for record in records:
            seen = max(seen, record.connection)
            open_records[record.connection] = record
            _tell(screen, record, "began")
        for number, record in list(open_records.items()):
            if not record.open:
                del open_records[number]
                _tell(screen, record, "ended")


def _tell(screen: Screen, record: Any, what: str) -> None:
    if screen.as_json:
        screen.result(
            type=f"session.{what}", number=record.connection, model=record.model, close_code=record.close_code
        )
        return
    line = Text(f"session {record.connection:>4}  {what}  {record.model}", style="" if what == "began" else "dim")
    if what == "ended":
        heard = record.audio_bytes / 2 / 16000
        line.append(f"  {sum(record.client_events.values())} in, {sum(record.server_events.values())} out")
        line.append(f", {heard:.1f} s heard" if heard else "")
        line.append(f", closed with {record.close_code or 'no code'}")
    screen.line(line)
