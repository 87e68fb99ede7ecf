"""``chat``: talk with a voice model, by microphone or by keyboard."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import click
from rich.text import Text

from ..errors import AudioError, RealtimeError, ServerError
from ..events import (
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionDelta,
    ResponseAudioTranscriptDelta,
    ResponseDone,
    ResponseTextDelta,
)
from ..families import OmniClient
from ..protocol import Family
from .hearing import Keyboard, microphone, speakers
from .options import Target, connecting, voice_option
from .output import Screen, caption
from .terminal import unechoed

__all__ = ["chat"]

QUIT = {"/quit", "/exit", "/bye"}


@click.command(short_help="Talk with a voice model.")
@click.option(
    "--text", "-t", "by_keyboard", is_flag=True, help="Write instead of speaking. [default: without microphone]"
)
@click.option("--push-to-talk", "-p", is_flag=True, help="Enter begins and ends what you say.")
@click.option("--speakers", "on_speakers", is_flag=True, help="No headphones: do not listen while the model speaks.")
@click.option("--instructions", "-i", help="How the model shall behave.")
@click.option("--play/--no-play", default=None, help="Use the sound card for replies. [default: if there is one]")
@click.option("--device", help="Output device: its number or part of its name; see devices.")
@click.option("--microphone", "input_device", help="Input device, likewise.")
@voice_option(Family.OMNI)
@connecting(Family.OMNI)
def chat(
    target: Target,
    by_keyboard: bool,
    push_to_talk: bool,
    on_speakers: bool,
    instructions: str | None,
    play: bool | None,
    device: str | None,
    input_device: str | None,
    voice: str | None,
) -> None:
    """Talk with the model. Speak up and it falls silent; Ctrl-D or Ctrl-C ends.

    Without a microphone, or where input comes through a pipe, every line that is written is one message.
    """
    screen = target.screen
    by_voice = not by_keyboard and sys.stdin.isatty()
    engines = ("listening", "speech") if by_voice else ("speech",)
    with target.service(*engines, live=by_voice) as where, ExitStack() as stack:
        player = _player(screen, stack, device, play)
        mic = None
        if not by_keyboard and (push_to_talk or input_device or sys.stdin.isatty()):
            mic = _microphone(screen, stack, input_device, required=push_to_talk or input_device is not None)
        settings: dict[str, Any] = {"voice": voice} if voice else {}
        if instructions:
            settings["instructions"] = instructions
        if mic is None and player is None:
            settings["modalities"] = ["text"]
        if push_to_talk:
            settings["turn_detection"] = None
        client = OmniClient(**{**settings, **where})
        _Talk(screen, client, show_user=mic is not None)
        playing = player.attach(client) if player is not None else None
        if mic is None:
            with client:
                _write(screen, client, player)
        else:
            _speak(screen, client, mic, push_to_talk=push_to_talk, half_duplex=on_speakers and player is not None)
        if playing is not None:
            playing.note_underruns()
        _tell_waits(screen, client)


def _player(screen: Screen, stack: ExitStack, device: str | None, play: bool | None) -> Any:
    """A player, where there is a sound card or one is insisted on."""
    if play is False:
        return None
    try:
        return stack.enter_context(speakers(device, instead="or do without: --no-play"))
    except AudioError as error:
        if play or device:
            raise
        screen.info(f"(no sound: {error.message.partition(';')[0]})")
        return None


def _microphone(screen: Screen, stack: ExitStack, device: str | None, *, required: bool) -> Any:
    try:
        return stack.enter_context(microphone(16000, device, instead="or write: --text"))
    except AudioError as error:
        if required:
            raise
        screen.info(f"(no microphone: {error.message.partition(';')[0]})")
        return None


class _Talk:
    """Shows both sides; its handlers run on the dispatching thread."""

    def __init__(self, screen: Screen, client: OmniClient, *, show_user: bool) -> None:
        self._screen = screen
        self._reply = ""
        if show_user:
            client.on(ConversationItemInputAudioTranscriptionDelta, self._user_grows)
            client.on(ConversationItemInputAudioTranscriptionCompleted, self._user)
        client.on(ResponseTextDelta, lambda event: self._grows(event.delta))
        client.on(ResponseAudioTranscriptDelta, lambda event: self._grows(event.delta))
        client.on(ResponseDone, self._done)

    def _user_grows(self, event: ConversationItemInputAudioTranscriptionDelta) -> None:
        self._screen.draft(caption(event.text or "", event.stash or "", " you"), "user")

    def _user(self, event: ConversationItemInputAudioTranscriptionCompleted) -> None:
        self._screen.draft(None, "user")
        if event.transcript.strip():
            self._screen.said(" you", event.transcript, type="user")

    def _grows(self, delta: str) -> None:
        self._reply += delta
        self._screen.draft(caption(self._reply, speaker="qwen"), "reply")

    def _done(self, event: ResponseDone) -> None:
        self._screen.draft(None, "reply")
        text, self._reply = self._reply.strip(), ""
        if text:
            status = event.response.status or ""
            cut = "" if status in ("completed", "") else " …"
            self._screen.said("qwen", text + cut, style="cyan", bold=True, type="reply", status=status)


def _write(screen: Screen, client: OmniClient, player: Any) -> None:
    """One message a line, until the end of input."""
    is_terminal = sys.stdin.isatty() and not screen.as_json
    if is_terminal:
        screen.info("write a message and press Enter; Ctrl-D ends")
    keyboard = Keyboard()
    while True:
        if is_terminal:
            screen.err.print(Text(" you ", style="dim"), end="")
        line = keyboard.line(client)
        if line is None or line.strip() in QUIT:
            break
        if not line.strip():
            continue
        if not is_terminal:
            screen.said(" you", line, type="user")
        if player is not None and client.cancel_response():
            player.interrupt()
        try:
            with screen.live(), client.expect(ResponseDone):
                client.send_text(line)
                client.create_response()
        except ServerError as error:
            screen.info(str(error))
    if is_terminal and line is None:
        screen.err.print()
    if player is not None:
        player.drain()


def _speak(screen: Screen, client: OmniClient, mic: Any, *, push_to_talk: bool, half_duplex: bool) -> None:
    keyboard = Keyboard() if sys.stdin.isatty() else None
    with screen.live(), client:
        feed = mic.attach(client, echo="half-duplex" if half_duplex else "headphones")
        with unechoed():
            if push_to_talk:
                _press_to_talk(screen, client, feed, keyboard or Keyboard())
            else:
                advice = "" if half_duplex else ", best with headphones (or --speakers)"
                screen.info(f"speak{advice}; Ctrl-D ends")
                _until_the_end(client, keyboard)
        mic.close()
        feed.detach()
    if client.close_info is not None and not client.close_info.clean:
        raise RealtimeError(client.close_info.reason or "the connection broke")


def _until_the_end(client: OmniClient, keyboard: Keyboard | None) -> None:
    if keyboard is None:
        client.wait()
    else:
        while keyboard.line(client) is not None:
            pass


def _press_to_talk(screen: Screen, client: OmniClient, feed: Any, keyboard: Keyboard) -> None:
    """Send only between two presses of Enter."""
    feed.pause()
    while True:
        screen.draft(Text("Enter to speak, Ctrl-D to end", style="dim"), "prompt")
        if keyboard.line(client) is None:
            return
        client.cancel_response()
        sent_before = feed.sent_ms
        feed.resume()
        screen.draft(Text("● speak … Enter when you have said it", style="bold red"), "prompt")
        ended = keyboard.line(client) is None
        feed.pause()
        if feed.sent_ms > sent_before:
            client.commit()
            client.create_response()
        if ended:
            return


def _tell_waits(screen: Screen, client: OmniClient) -> None:
    summary = client.metrics.summary()
    for what, words in (("first_heard", "sound"), ("first_audio", "sound"), ("first_text", "words")):
        if what in summary:
            spread = summary[what]
            more = f" (median of {spread.count} replies, the slowest 5 % after {spread.p95:.0f} ms)"
            screen.info(f"first {words} after {spread.p50:.0f} ms" + (more if spread.count > 1 else ""))
            break
    waits = {
        what: {"p50_ms": round(spread.p50, 1), "p95_ms": round(spread.p95, 1), "turns": spread.count}
        for what, spread in summary.items()
    }
    screen.result_for_machines(type="waits", **waits)
