"""``transcribe``: recordings, a folder of them, or the microphone become text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from ..errors import HandshakeError, RateLimitError, RealtimeError
from ..events import (
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    ConversationItemInputAudioTranscriptionText,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
)
from ..families import ASRClient
from ..hints import server_error
from ..protocol import Family
from ..results import Utterance
from ..sources import pcm_blocks
from .hearing import describe_end, find_recordings, keyboard_if_any, microphone, place_of, until_enter
from .options import Target, connecting
from .output import Screen, caption, counted, tell_error, tell_not_recognised
from .transcripts import FORMATS, format_of, rendered

__all__ = ["transcribe"]


# A share of the recording that tells enough to guess the rest.
KNOWN = 0.03


@click.command(short_help="Speech becomes text.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE|FOLDER]...")
@click.option("--language", "-l", metavar="CODE", help="The language spoken, such as en. [default: detected]")
@click.option("--format", "-f", "kind", type=click.Choice(FORMATS), help="[default: as -o is named, else txt]")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File, or a folder for one file each.")
@click.option("--pace", type=click.Choice(["fast", "realtime"]), default="fast", show_default=True)
@click.option("--device", help="Microphone: its number or part of its name; see devices.")
@connecting(Family.ASR)
def transcribe(
    target: Target,
    paths: tuple[Path, ...],
    language: str | None,
    kind: str | None,
    output: Path | None,
    pace: Literal["fast", "realtime"],
    device: str | None,
) -> int:
    """Turn sound files, folders of them, or (without any) the microphone into text.

    Captions grow while it listens: bold is certain, dim may still change.
    """
    recordings = find_recordings(paths)
    kind = format_of(kind, output)
    targets = _targets(recordings, paths, output, kind)
    if language:
        target.options.setdefault("input_audio_transcription", {})["language"] = language
    with target.service("listening", live=not recordings) as where:
        if not recordings:
            return _from_microphone(target.screen, where, device, output, kind)
        failed = 0
        for number, (path, file) in enumerate(zip(recordings, targets, strict=True), 1):
            where_now = {**where, "trace": _numbered(where["trace"], number)} if where.get("trace") else where
            title = f"{number}/{len(recordings)} {path.name}" if len(recordings) > 1 else path.name
            client = ASRClient(**where_now)  # a setting that cannot be is one for all recordings: it ends the command
            show = kind == "txt" and output is None
            if show and len(recordings) > 1:
                target.screen.info(f"{path}:")
            try:
                heard = _from_file(target.screen, client, path, pace, title, show=show)
                failed += not _deliver(target.screen, heard, path, file, kind)
            except RealtimeError as error:
                if len(recordings) == 1 or _is_for_all(error):
                    raise
                failed += 1
                told = error.message if error.message.startswith(str(path)) else f"{path}: {error.message}"
                tell_error(told, error.hint, kind=type(error).__name__, as_json=target.screen.as_json)
        return 1 if failed else 0


def _targets(recordings: list[Path], paths: tuple[Path, ...], output: Path | None, kind: str) -> list[Path | None]:
    """Which file each transcript goes into, in folders made for them; ``None`` for stdout.

    Raises:
        UsageError: two would go into one.
    """
    if output is None:
        return [None] * len(recordings)
    if output.suffix and not output.is_dir():
        if len(recordings) > 1:
            raise click.UsageError(f"{len(recordings)} recordings need a folder after -o, not one file")
        return [output]
    taken: dict[Path, Path] = {}
    for path in recordings:
        file = output / place_of(path, paths).with_suffix(f".{kind}")
        if file in taken:
            raise click.UsageError(f"{taken[file]} and {path} would both become {file}: give each its own -o")
        taken[file] = path
    for file in taken:
        file.parent.mkdir(parents=True, exist_ok=True)
    return list(taken)


def _is_for_all(error: RealtimeError) -> bool:
    """Whether the server would refuse the next recording likewise: a wrong key, an unknown model."""
    return isinstance(error, HandshakeError) and not isinstance(error, RateLimitError) and error.status < 500


def _numbered(trace: Path, number: int) -> Path:
    """One trace per recording: each is a session of its own."""
    return trace if number == 1 else trace.with_stem(f"{trace.stem}-{number}")


class _Captions:
    """Collects utterances and shows them; its handlers run on the dispatching thread."""

    def __init__(self, screen: Screen, client: ASRClient, *, show: bool = True) -> None:
        self.heard_ms = 0.0
        self.utterances: dict[str, Utterance] = {}
        self.on_progress: Any = lambda: None
        self._spans: dict[str, tuple[int | None, int | None]] = {}
        self._screen = screen
        self._show = show
        client.on(InputAudioBufferSpeechStarted, self._started)
        client.on(InputAudioBufferSpeechStopped, self._stopped)
        client.on(ConversationItemInputAudioTranscriptionText, self._grows)
        client.on(ConversationItemInputAudioTranscriptionCompleted, self._completed)
        client.on(ConversationItemInputAudioTranscriptionFailed, self._failed)

    @property
    def result(self) -> tuple[Utterance, ...]:
        """What was said, in order."""
        return tuple(self.utterances.values())

    def _at(self, ms: int) -> None:
        self.heard_ms = max(self.heard_ms, ms)
        self.on_progress()

    def _started(self, event: InputAudioBufferSpeechStarted) -> None:
        self._spans[event.item_id or ""] = (event.audio_start_ms, None)
        if self.heard_ms:  # what is before the first utterance is soon heard, and tells nothing of the rest
            self._at(event.audio_start_ms)

    def _stopped(self, event: InputAudioBufferSpeechStopped) -> None:
        start, _ = self._spans.get(event.item_id or "", (None, None))
        self._spans[event.item_id or ""] = (start, event.audio_end_ms)
        self._at(event.audio_end_ms)

    def _grows(self, event: ConversationItemInputAudioTranscriptionText) -> None:
        self._screen.draft(caption(event.text, event.stash), "caption")

    def _completed(self, event: ConversationItemInputAudioTranscriptionCompleted) -> None:
        self._take(event.item_id or "", Utterance(event.transcript, language=event.language or ""))

    def _failed(self, event: ConversationItemInputAudioTranscriptionFailed) -> None:
        self._take(event.item_id or "", Utterance("", error=event.error.message or "not recognised"))

    def _take(self, item: str, utterance: Utterance) -> None:
        self._screen.draft(None, "caption")
        start, end = self._spans.pop(item, (None, None))
        utterance = utterance._replace(start_ms=start, end_ms=end)
        if not utterance.text and not utterance.error:
            return
        self.utterances[item] = utterance
        if utterance.error:
            self._screen.info(f"(not recognised: {utterance.error})")
        if self._screen.as_json:
            self._screen.result(type="utterance", **{key: value for key, value in utterance._asdict().items() if value})
        elif self._show and utterance.text:
            self._screen.result(utterance.text)


class _TimeLeft(TimeRemainingColumn):
    """How long it may still take; nothing before that can be guessed."""

    def render(self, task: Task) -> Text:
        return Text("") if task.time_remaining is None else super().render(task) + Text(" left", style="dim")


def _progress(screen: Screen) -> Progress:
    name = Column(ratio=2, no_wrap=True, overflow="ellipsis")
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=None, table_column=Column(ratio=3, min_width=10)),
        TaskProgressColumn(),
        _TimeLeft(compact=True),
    )
    return Progress(*columns, console=screen.err, auto_refresh=False, expand=True)


def _from_file(
    screen: Screen, client: ASRClient, path: Path, pace: Literal["fast", "realtime"], title: str, *, show: bool
) -> tuple[tuple[Utterance, ...], float]:
    captions = _Captions(screen, client, show=show)
    blocks = list(pcm_blocks(path, 16000))  # reads the file: what is wrong with it is told before connecting
    total_ms = sum(map(len, blocks)) / 32
    bar = _progress(screen)
    task = bar.add_task(title, total=None)  # it pulses until something is known
    sent_ms = 0.0

    def advance() -> None:
        # sent fast, the sound is far ahead of the server; what it says it has heard is the truth then
        done = min(total_ms, sent_ms if pace == "realtime" else captions.heard_ms)
        if done > total_ms * KNOWN:
            bar.update(task, completed=done, total=total_ms)

    def counted() -> Iterator[bytes]:
        nonlocal sent_ms
        for block in pcm_blocks(path, client.input_rate):
            screen.check()
            yield block
            sent_ms += len(block) * 500 / client.input_rate
            advance()

    captions.on_progress = advance
    with screen.live(bar), client:
        client.stream(counted(), pace)
        if client.turn_detection is None and sent_ms:
            client.commit()
    if client.errors:
        raise server_error(client.errors[0])
    return captions.result, total_ms


def _from_microphone(screen: Screen, where: dict[str, Any], device: str | None, output: Path | None, kind: str) -> int:
    client = ASRClient(**where)
    captions = _Captions(screen, client, show=(output is None and kind == "txt") or screen.is_live)
    with microphone(16000, device) as mic:
        keyboard = keyboard_if_any()
        try:
            with screen.live(), client:
                feed = mic.attach(client)
                screen.info(f"listening … {describe_end(keyboard)}")
                until_enter(client, keyboard)
                mic.close()
                feed.detach()
        finally:  # also what was heard before Ctrl-C
            file = output / f"microphone.{kind}" if output is not None and output.is_dir() else output
            whole = _deliver(screen, (captions.result, captions.heard_ms), Path("microphone"), file, kind)
    return 0 if whole else 1


def _deliver(
    screen: Screen, heard: tuple[tuple[Utterance, ...], float], source: Path, output: Path | None, kind: str
) -> bool:
    """Write the transcript to its file, or to stdout unless it was shown there as it grew; whether it is whole."""
    utterances, duration_ms = heard
    text = rendered(utterances, kind, source=str(source), duration_ms=duration_ms)
    count = sum(bool(each.text) for each in utterances)
    if output is not None:
        output.write_text(text, encoding="utf-8")
        screen.info(f"{counted(count, 'utterance')} in {duration_ms / 1000:.1f} s → {output}")
        screen.result_for_machines(type="transcript", source=str(source), file=str(output), utterances=count)
    elif screen.as_json:
        whole = " ".join(each.text for each in utterances if each.text)
        screen.result(type="transcript", source=str(source), duration_ms=round(duration_ms), text=whole)
    elif kind != "txt":
        click.echo(text, nl=False)
    elif not utterances:
        screen.info(f"(nobody speaks in {duration_ms / 1000:.1f} s)" if duration_ms else "(nobody spoke)")
    missing = len(utterances) - count
    if missing:
        what = f"{source}: {counted(missing, 'utterance')} of {len(utterances)}"
        tell_not_recognised(what, "--language", as_json=screen.as_json)
    return not missing
