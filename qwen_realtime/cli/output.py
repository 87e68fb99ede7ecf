"""What users see: results on stdout, what is going on on stderr, and JSON lines in place of both for machines."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..errors import ConfigError

__all__ = [
    "Screen",
    "Status",
    "beside",
    "caption",
    "counted",
    "known_ending",
    "logging_to_stderr",
    "tell_error",
    "tell_not_recognised",
]

# Arguments of the clients that are options here.
_ARGUMENT = re.compile(r"\b(connect_timeout|device|model|proxy|region|trace|url|voice)=")
# What only programmers can do.
_IN_PYTHON = re.compile(r"; headerless PCM goes into .*")
# What the package logs and then raises; it is told once.
_RAISED = ("the server reports", "no sound any more", "no microphone any more")


def _as_options(hint: str) -> str:
    """A hint to programmers as one to users: options in the place of arguments."""
    hint = _IN_PYTHON.sub("", hint).replace("strict=False", "--set strict=false")
    return _ARGUMENT.sub(lambda found: f"--{found[1].replace('_', '-')} ", hint).strip()


def tell_error(message: str, hint: str = "", *, kind: str = "UsageError", as_json: bool = False) -> None:
    """Tell what went wrong in one line on stderr; with ``as_json`` as an object on stdout, too."""
    text, hint = " ".join(message.split()).rstrip("."), _as_options(hint)
    line = f"qwen-realtime: {text}{f' ({hint})' if hint else ''}"
    if sys.stderr.isatty():  # a terminal would break it within words
        line = textwrap.fill(line, shutil.get_terminal_size().columns - 1, break_on_hyphens=False)
    click.echo(line, err=True)
    if as_json:
        with suppress(OSError):  # what went wrong may be that nothing can be written there
            click.echo(_json({"type": "error", "kind": kind, "message": text, "hint": hint}))


def _json(fields: dict[str, Any]) -> str:
    """One line of JSON, of characters that stdout has."""
    return json.dumps(fields, ensure_ascii=not str(getattr(sys.stdout, "encoding", "")).lower().startswith("utf"))


def known_ending(path: Path | None, *endings: str) -> None:
    """Refuse a file whose name promises what would not be in it.

    Raises:
        ConfigError: its name ends in none of these, and in something.
    """
    if path is not None and path.suffix and path.suffix.lower() not in endings:
        raise ConfigError(f"{path} has no format that is known", hint=f"end it in {', '.join(endings)}")


def tell_not_recognised(what: str, option: str, *, as_json: bool) -> None:
    """Tell that some utterances have no text, and by which option they may get it."""
    hint = f"tell the language spoken: {option} CODE"
    tell_error(f"{what} not recognised", hint, kind="NotRecognised", as_json=as_json)


def counted(number: int, thing: str) -> str:
    """A number of things, in words: ``1 utterance``, ``2 utterances``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def beside(margin: Text, text: Text) -> Table:
    """A text with a margin of its own, however many lines it takes."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(margin, text)
    return grid


def caption(text: str, stash: str = "", speaker: str = "") -> RenderableType:
    """A caption: what is certain in bold, what may still change dim."""
    line = Text(text, style="bold").append(stash, style="not bold dim")
    return beside(Text(speaker, style="cyan"), line) if speaker else line


class Status:
    """A line at the bottom that changes; any thread may set its ``text``."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich__(self) -> Text:
        return Text(self.text, style="cyan", no_wrap=True, overflow="ellipsis")


class _Console(Console):
    """Lets the command tell that its reader is gone: rich's own would end the thread that happens to write."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Screen:
    """Where a command writes. Any thread may; handlers do.

    Args:
        as_json: results are JSON lines, and stderr stays quiet but for errors.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.err = _Console(stderr=True, highlight=False, soft_wrap=False)
        self._out = _Console(highlight=False, soft_wrap=True)
        self._failure: OSError | None = None
        self._lock = threading.Lock()  # guards the draft and the order of lines; held for a write to the terminal
        self._live: Live | None = None
        self._drafts: dict[str, RenderableType] = {}

    @property
    def is_live(self) -> bool:
        """Whether there is a person to watch captions grow."""
        return self.err.is_terminal and not self.as_json

    def info(self, *columns: str) -> None:
        """Tell what is going on, in one column or two; not to machines."""
        if self.as_json:
            return
        texts = [Text(column, style="dim") for column in columns]
        self.line(beside(*texts) if len(texts) == 2 and self.err.is_terminal else Text(" ").join(texts))

    def line(self, shown: RenderableType) -> None:
        """Tell something on stderr, where no terminal is also in one line."""
        with self._lock:
            (self._live.console if self._live else self.err).print(shown, soft_wrap=not self.err.is_terminal)

    def result(self, shown: RenderableType = "", /, **fields: Any) -> None:
        """Give a result: a line for people, or its fields for machines.

        Raises:
            OSError: nobody reads it, or the disk is full; on other threads than the main one, ``check`` raises it.
        """
        try:
            with self._lock:
                self._give(shown, fields)
        except OSError as error:
            self._failure = self._failure or error
            if threading.current_thread() is threading.main_thread():
                raise

    def _give(self, shown: RenderableType, fields: dict[str, Any]) -> None:
        if self.as_json:
            if fields:
                click.echo(_json(fields))
        elif self._live is not None and self._out.is_terminal:
            self._live.console.print(shown)  # both are the same terminal: above the drafts
            self._live.refresh()  # or a draft that this line replaces stands below it for a moment
        else:
            self._out.print(shown)

    def check(self) -> None:
        """Raise what writing a result has come to."""
        if self._failure is not None:
            raise self._failure

    def said(self, speaker: str, text: str, /, *, style: str = "dim", bold: bool = False, **fields: Any) -> None:
        """Give what somebody said: the speaker in a margin of its own, however long the text.

        Args:
            speaker: a short word.
            text: one paragraph.
            style: of the speaker.
            bold: the text.
            fields: for machines, beside the text.
        """
        text = " ".join(text.split())
        line = Text(f"{speaker} ", style=style).append(text, style=f"not dim default {'bold' if bold else 'not bold'}")
        if self.as_json or not self._out.is_terminal:
            self.result(line, **fields, text=text)
            return
        self.result(beside(Text(speaker, style=style), Text(text, style="bold" if bold else "")))

    def table_row(self, margin: Text, text: Text, /, **fields: Any) -> None:
        """Give a result of two columns, or its fields for machines."""
        if self.as_json or not self._out.is_terminal:
            self.result(margin + " " + text, **fields)
        else:
            self.result(beside(margin, text))

    def result_for_machines(self, **fields: Any) -> None:
        """Give a result that people have been told already."""
        if self.as_json:
            self.result(**fields)

    def table(self, renderable: RenderableType) -> None:
        """Print something of several lines."""
        self._out.print(renderable)

    # Drafts: lines that stay at the bottom and change.

    @contextmanager
    def live(self, *fixed: RenderableType) -> Iterator[None]:
        """Show drafts meanwhile, and below them what is fixed, such as a progress bar."""
        if not self.is_live:
            yield
            return
        self._drafts = {}
        live = Live(
            get_renderable=lambda: Group(*self._drafts.values(), *fixed),
            console=self.err,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        over = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(live, over), name="qwen-screen", daemon=True)
        with live:
            self._live = live
            ticker.start()
            try:
                yield
            finally:
                over.set()
                ticker.join()
                self._live = None

    def _tick(self, live: Live, over: threading.Event) -> None:
        """Draw, ten times a second until it is over; blocks on the terminal.

        Not rich's own thread: it takes no lock between looking where the drafts are and drawing, and a line that
        another thread prints in between ends up in the wrong place.
        """
        while not over.wait(0.1):
            with self._lock:
                live.refresh()

    def draft(self, line: RenderableType | None, key: str = "") -> None:
        """Show or replace a draft, or take it away with ``None``."""
        if line is None:
            self._drafts = {name: kept for name, kept in self._drafts.items() if name != key}
        else:
            self._drafts = {**self._drafts, key: line}  # replaced as a whole: the display reads it on its own thread


class _OneLine(logging.Formatter):
    """Log records as lines like ours, without tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return f"qwen-realtime: {record.getMessage()}"


@contextmanager
def logging_to_stderr(*, debug: bool) -> Iterator[None]:
    """Show the package's log and its warnings as lines of this program, meanwhile."""
    log = logging.getLogger("qwen_realtime")
    before = (log.level, log.propagate, warnings.showwarning)
    shown = logging.StreamHandler()
    if debug:
        shown.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s: %(message)s"))
        log.setLevel(logging.DEBUG)
    else:
        shown.setFormatter(_OneLine())
        shown.addFilter(lambda record: not record.getMessage().startswith(_RAISED))
        shown.setLevel(logging.WARNING)

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        click.echo(f"qwen-realtime: {message}", err=True)

    log.addHandler(shown)
    log.propagate = False
    warnings.showwarning = show
    try:
        yield
    finally:
        log.removeHandler(shown)
        log.level, log.propagate, warnings.showwarning = before
