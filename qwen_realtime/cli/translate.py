"""``translate``: recordings or the microphone become speech and text in another language."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import click

from ..events import (
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionFailed,
    ConversationItemInputAudioTranscriptionText,
    ResponseAudioDelta,
    ResponseAudioTranscriptDone,
    ResponseAudioTranscriptText,
    ResponseTextDone,
    ResponseTextText,
)
from ..families import LiveTranslateClient
from ..hints import server_error
from ..protocol import Family
from ..sources import pcm_blocks
from ..subtitles import SubtitleWriter
from .hearing import (
    describe_end,
    find_recordings,
    keyboard_if_any,
    microphone,
    speakers,
    until_enter,
)
from .options import Target, connecting, voice_option
from .output import Screen, Status, caption, counted, known_ending, tell_not_recognised

__all__ = ["translate"]

TRANSCRIBER = "qwen3-asr-flash-realtime"
ENGINES = ("listening", "translation", "speech")


@click.command(short_help="Speech becomes speech in another language.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE|FOLDER]...")
@click.option("--to", "-t", required=True, metavar="CODE", help="The language wanted, such as es.")
@click.option("--from", "-l", "spoken", metavar="CODE", help="The language spoken, such as en. [default: detected]")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write the spoken translation to a WAV file.")
@click.option(
    "--subtitles", "-s", type=click.Path(path_type=Path), help="Write both languages to an .srt or .vtt file."
)
@click.option("--play/--no-play", default=None, help="Use the sound card. [default: for the microphone]")
@click.option("--text-only", is_flag=True, help="No speech.")
@click.option("--pace", type=click.Choice(["fast", "realtime"]), help="[default: fast, realtime where it is played]")
@click.option("--device", help="Output device: its number or part of its name; see devices.")
@click.option("--microphone", "input_device", help="Input device, likewise.")
@voice_option(Family.LIVE_TRANSLATE)
@connecting(Family.LIVE_TRANSLATE)
def translate(
    target: Target,
    paths: tuple[Path, ...],
    to: str,
    spoken: str | None,
    output: Path | None,
    subtitles: Path | None,
    play: bool | None,
    text_only: bool,
    pace: Literal["fast", "realtime"] | None,
    device: str | None,
    input_device: str | None,
    voice: str | None,
) -> int:
    """Interpret sound files, folders of them, or (without any) the microphone. Shows both languages."""
    recordings = find_recordings(paths)
    known_ending(output, ".wav")
    known_ending(subtitles, ".srt", ".vtt")
    if text_only and (play or output or voice):
        raise click.UsageError("--text-only leaves nothing to play or to write")
    to_play = not text_only and (play if play is not None else not recordings and output is None)
    options: dict[str, Any] = {"translation": {"language": to}, "input_audio_transcription": {"model": TRANSCRIBER}}
    if spoken:
        options["input_audio_transcription"]["language"] = spoken
    if text_only:
        options["modalities"] = ["text"]
    if voice:
        options["voice"] = voice
    with target.service(*ENGINES, live=not recordings) as where, ExitStack() as stack:
        client = LiveTranslateClient(**{**options, **where})
        lines = _Lines(target.screen, client, spoken or "", to)
        if subtitles is not None:
            stack.enter_context(SubtitleWriter(subtitles)).attach(client)
        player = stack.enter_context(speakers(device, instead="or do without: --no-play")) if to_play else None
        playing = player.attach(client) if player is not None else None
        if recordings:
            for path in recordings:
                next(pcm_blocks(path, 16000))  # what is wrong with a file is told before connecting
            _run_files(target.screen, client, lines, recordings, output, pace or ("realtime" if player else "fast"))
        else:
            _run_microphone(target.screen, client, lines, output, input_device, echo=player is not None)
        if client.errors:
            raise server_error(client.errors[0])
        if player is not None and playing is not None:
            player.drain()
            playing.note_underruns()
        lines.summary(output, subtitles, speech=not text_only)
    return 1 if lines.failed else 0


def _run_files(
    screen: Screen,
    client: LiveTranslateClient,
    lines: _Lines,
    recordings: list[Path],
    output: Path | None,
    pace: Literal["fast", "realtime"],
) -> None:
    status = Status("♪ connecting")

    def sound() -> Iterator[bytes]:
        for number, path in enumerate(recordings):
            if number:
                yield bytes(client.input_rate * 3)  # a pause of one and a half seconds ends the utterance
            status.text = f"♪ {path.name}"
            for block in pcm_blocks(path, client.input_rate):
                screen.check()
                yield block
        status.text = "♪ waiting for the rest"

    with screen.live(status), client:
        lines.begin(output)
        client.stream(sound(), pace)
        if client.turn_detection is None:
            client.commit()


def _run_microphone(
    screen: Screen,
    client: LiveTranslateClient,
    lines: _Lines,
    output: Path | None,
    device: str | None,
    *,
    echo: bool,
) -> None:
    with microphone(16000, device) as mic:
        keyboard = keyboard_if_any()
        with screen.live(), client:
            lines.begin(output)
            feed = mic.attach(client, echo="half-duplex" if echo else "headphones")
            screen.info(f"listening … {describe_end(keyboard)}")
            until_enter(client, keyboard)
            mic.close()
            feed.detach()


class _Lines:
    """Shows both languages and writes the speech; its handlers run on the dispatching thread."""

    def __init__(self, screen: Screen, client: LiveTranslateClient, spoken: str, to: str) -> None:
        self._screen = screen
        self._client = client
        self._spoken, self._to = f"{spoken or '·':>3}", f"{to:>3}"
        self._detects = not spoken
        self._writer: Any = None
        self._sound_bytes = 0
        self._texts = 0
        self.failed = 0  # utterances that were not recognised
        client.on(ConversationItemInputAudioTranscriptionText, self._source_grows)
        client.on(ConversationItemInputAudioTranscriptionCompleted, self._source)
        client.on(ConversationItemInputAudioTranscriptionFailed, self._not_recognised)
        client.on(ResponseTextText, self._grows)
        client.on(ResponseAudioTranscriptText, self._grows)
        client.on(ResponseTextDone, lambda event: self._translated(event.text))
        client.on(ResponseAudioTranscriptDone, lambda event: self._translated(event.transcript))
        client.on(ResponseAudioDelta, self._heard)

    def begin(self, output: Path | None) -> None:
        """Open the file, once the session has told its rate."""
        if output is not None:
            from ..audio import WavWriter

            self._writer = WavWriter(output, self._client.output_rate)

    def _source_grows(self, event: ConversationItemInputAudioTranscriptionText) -> None:
        self._screen.draft(caption(event.text, event.stash, self._spoken), "source")

    def _source(self, event: ConversationItemInputAudioTranscriptionCompleted) -> None:
        self._screen.draft(None, "source")
        if self._detects and event.language:
            self._spoken = f"{event.language:>3}"
        if event.transcript.strip():
            self._screen.said(self._spoken, event.transcript, type="source")

    def _not_recognised(self, event: ConversationItemInputAudioTranscriptionFailed) -> None:
        self._screen.draft(None, "source")
        self.failed += 1
        why = event.error.message or "no reason given"
        self._screen.info(f"(not recognised: {why})")
        self._screen.result_for_machines(type="source", text="", error=why)

    def _grows(self, event: ResponseTextText | ResponseAudioTranscriptText) -> None:
        self._screen.draft(caption(event.text, event.stash, self._to), "translation")

    def _translated(self, text: str) -> None:
        self._screen.draft(None, "translation")
        if text.strip():
            self._texts += 1
            self._screen.said(self._to, text, style="cyan", bold=True, type="translation")

    def _heard(self, event: ResponseAudioDelta) -> None:
        self._sound_bytes += len(event.delta)
        if self._writer is not None:
            self._writer.write(event.delta)

    def summary(self, output: Path | None, subtitles: Path | None, *, speech: bool) -> None:
        """Close the file, and tell what there is, and what is missing."""
        if self._writer is not None:
            self._writer.close()
        seconds = self._sound_bytes / 2 / self._client.output_rate
        files = ", ".join(str(path) for path in (output, subtitles) if path is not None)
        told = counted(self._texts, "translation") + (f", {seconds:.1f} s of speech" if speech else "")
        self._screen.info(told + (f" → {files}" if files else ""))
        self._screen.result_for_machines(
            type="done",
            translations=self._texts,
            seconds=round(seconds, 3),
            file=str(output) if output else None,
            subtitles=str(subtitles) if subtitles else None,
        )
        if self.failed:
            tell_not_recognised(counted(self.failed, "utterance"), "--from", as_json=self._screen.as_json)
