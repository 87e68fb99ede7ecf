"""Where sound and events meet: playing replies, falling silent when the user speaks, feeding from a microphone.

``player.attach(client)`` and ``microphone.attach(client)`` come here; this is the only module that knows both sides.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from .audio.player import AudioPlayer
from .errors import AudioError, ConfigError, ConnectionClosed
from .events import (
    Disconnected,
    Event,
    InputAudioBufferSpeechStarted,
    ResponseAudioDelta,
    ResponseAudioDone,
    ResponseDone,
)
from .families import OmniClient, _ListeningClient
from .protocol import Family
from .settings.rules import at_path

if TYPE_CHECKING:
    from .audio.compressed import StreamDecoder
    from .audio.microphone import Microphone
    from .audio.schedule import Playout
    from .client import RealtimeClient
    from .echo import EchoCanceller

__all__ = ["MicrophoneAttachment", "PlayerAttachment", "attach_microphone", "attach_player"]

log = logging.getLogger("qwen_realtime")

Echo = Literal["headphones", "half-duplex", "cancel"]

# Responses whose deltas may still be on their way from the receiving thread to the handlers.
RESPONSES_REMEMBERED = 64

# Half-duplex: the room goes on sounding for this long after the player has fallen silent.
HANG_OVER_S = 0.3


class PlayerAttachment:
    """Plays a client's replies; made by ``player.attach(client)``.

    Deltas are written on the dispatching thread, which a player never keeps waiting. The interruption is made on the
    receiving thread, the moment the event is there: it never waits behind the audio that it is to stop, nor behind a
    slow handler. What was already on its way to the handlers then is dropped by its response id.

    Attributes:
        playout: what had been heard when the last interruption came; ``None`` before one.
    """

    def __init__(self, player: AudioPlayer, client: RealtimeClient, *, barge_in: bool) -> None:
        self.playout: Playout | None = None
        self._player = player
        self._client = client
        self._barge_in = barge_in
        self._lock = threading.Lock()  # guards the two collections below, for a few assignments
        self._arriving: OrderedDict[str, None] = OrderedDict()  # responses heard of, oldest first
        self._stopped: OrderedDict[str, None] = OrderedDict()  # of these, the interrupted ones
        self._decoder: StreamDecoder | None = None  # of the response that is being written, if it needs one
        self._playing = ""  # that response
        self._underruns_before = player.underruns  # of other clients' replies
        self._underruns_noted: int | None = None  # in the client's trace
        client.tap(self._on_arrival)
        client.on(ResponseAudioDelta, self._on_delta)
        client.on(ResponseAudioDone, self._on_audio_done)
        client.on(ResponseDone, self._on_response_done)
        client.on(InputAudioBufferSpeechStarted, self._on_speech_started)
        client.metrics.listen_to(player.first_heard)

    def detach(self) -> None:
        """Play nothing more of this client; what waits is played out."""
        self._client.untap(self._on_arrival)
        for handler in (self._on_delta, self._on_audio_done, self._on_response_done, self._on_speech_started):
            self._client.off(None, handler)

    def note_underruns(self) -> None:
        """Put how many underruns there have been into the client's trace, where there is one; from any thread.

        Comes by itself while replies come. Call it after ``player.drain()`` for what came after the last of them.
        """
        underruns = self._player.underruns - self._underruns_before
        if underruns != self._underruns_noted:
            self._underruns_noted = underruns
            self._client.note("player", underruns=underruns)

    def interrupt(self) -> Playout:
        """Fall silent within a block, and play nothing more of the replies that have begun; from any thread.

        Returns:
            What was heard of them.
        """
        with self._lock:
            for response_id in self._arriving:
                self._stopped[response_id] = None
            while len(self._stopped) > RESPONSES_REMEMBERED:
                self._stopped.popitem(last=False)
            self.playout = self._player.interrupt()
            return self.playout

    # On the receiving thread.

    def _on_arrival(self, event: Event) -> None:
        if isinstance(event, ResponseAudioDelta):
            if event.response_id not in self._arriving:
                with self._lock:
                    self._arriving[event.response_id] = None
                    if len(self._arriving) > RESPONSES_REMEMBERED:
                        self._arriving.popitem(last=False)
        elif self._barge_in and isinstance(event, InputAudioBufferSpeechStarted):
            self.interrupt()

    # On the dispatching thread.

    def _on_delta(self, event: ResponseAudioDelta) -> None:
        if event.response_id in self._stopped:
            return
        self._player.write(self._fitted(event), event.response_id)
        self.note_underruns()

    def _fitted(self, event: ResponseAudioDelta) -> bytes:
        """The audio as PCM at the player's rate; each response is decoded and resampled as one piece."""
        rate = self._client.output_rate  # type: ignore[attr-defined]  # clients that speak have it
        session = self._client.session
        spoken = str(at_path(session, "audio.output.format.type") or session.get("response_format") or "pcm")
        if rate == self._player.sample_rate and spoken.startswith("pcm"):
            return event.delta
        if self._decoder is None or event.response_id != self._playing:
            from .audio.compressed import StreamDecoder

            self._decoder, self._playing = StreamDecoder(spoken, self._player.sample_rate, rate), event.response_id
        return self._decoder.feed(event.delta)

    def _on_audio_done(self, event: ResponseAudioDone) -> None:
        if self._decoder is not None and event.response_id == self._playing:
            decoder, self._decoder = self._decoder, None
            if event.response_id not in self._stopped:
                self._player.write(_rest(decoder, event.response_id), event.response_id)
        self._player.mark_end(event.response_id)

    def _on_response_done(self, event: ResponseDone) -> None:
        self._player.mark_end(event.response_id)
        self.note_underruns()

    def _on_speech_started(self, event: InputAudioBufferSpeechStarted) -> None:  # noqa: ARG002 - a handler
        # a server that cuts its reply by itself would answer a cancel with an error
        if self._barge_in and isinstance(self._client, OmniClient) and not self._client.interrupts_itself:
            self._client.cancel_response()


def _rest(decoder: StreamDecoder, response_id: str) -> bytes:
    """What a decoder still holds of a response; says what of it could not be played."""
    try:
        pcm = decoder.flush()
    except AudioError as error:
        log.warning("nothing of response %s can be played: %s", response_id, error)
        return b""
    if decoder.errors:
        log.warning("%d damaged pieces of response %s were not played", decoder.errors, response_id)
    return pcm


def attach_player(player: AudioPlayer, client: RealtimeClient, *, barge_in: bool | None = None) -> PlayerAttachment:
    """Play a client's replies on a player.

    Args:
        player: of any sample rate.
        client: one that speaks, connected or not.
        barge_in: fall silent when the user starts to speak; by default for Omni only, since an interpreter speaks
            while others do.

    Raises:
        ConfigError: the client does not speak.
        AudioUnavailable: it was told to speak mp3 or opus, and the extra ``codecs`` is missing.
    """
    if not hasattr(client, "output_rate"):
        raise ConfigError(f"{type(client).__name__} does not speak: there is nothing to play")
    if client._wanted.get("response_format") in ("mp3", "opus"):
        from .audio.compressed import load_av

        load_av()  # its absence is the caller's to hear, not a handler's
    attachment = PlayerAttachment(
        player, client, barge_in=client.family is Family.OMNI if barge_in is None else barge_in
    )
    client.player = player
    return attachment


class MicrophoneAttachment:
    """Feeds a client from a microphone; made by ``microphone.attach(client)``.

    One thread, ``qwen-microphone-feed``, takes blocks from the microphone and sends them. It may block on the next
    block and on one send; it ends when the microphone or the connection does, or on :meth:`detach`.

    Attributes:
        sent_ms: how much was sent, in milliseconds.
    """

    def __init__(
        self,
        microphone: Microphone,
        client: _ListeningClient,
        *,
        echo: Echo,
        player: AudioPlayer | None,
        canceller: EchoCanceller | None,
    ) -> None:
        self.sent_ms = 0.0
        self._microphone = microphone
        self._client = client
        self._echo = echo
        self._player = player
        self._canceller = canceller
        self._paused = False
        self._detached = False
        self._sounded_at = float("-inf")  # when the player was last heard to play
        client.on(Disconnected, self._on_disconnected)
        self._thread = threading.Thread(target=self._run, name="qwen-microphone-feed", daemon=True)
        self._thread.start()

    @property
    def paused(self) -> bool:
        """Whether nothing is sent: for push-to-talk. Muting the microphone sends silence instead."""
        return self._paused

    def pause(self) -> None:
        """Send nothing from the next block on."""
        self._paused = True

    def resume(self) -> None:
        """Send again."""
        self._paused = False

    def detach(self, timeout: float = 5.0) -> None:
        """Send nothing more; blocks until the block on its way is sent. The microphone stays open."""
        self._detached = True
        self._client.off(Disconnected, self._on_disconnected)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _on_disconnected(self, event: Disconnected) -> None:  # noqa: ARG002 - a handler
        self._detached = True

    def _run(self) -> None:
        while not self._detached:
            try:
                block = self._microphone.read(timeout=0.2)
            except AudioError:  # the microphone has told it
                return
            if block is None:
                return
            if not block or self._paused:
                continue
            try:
                self._client.append_audio(self._prepared(block))
            except ConnectionClosed:
                return
            self.sent_ms += len(block) * 500 / self._microphone.sample_rate

    def _prepared(self, block: bytes) -> bytes:
        """The block as the server shall hear it."""
        if self._canceller is not None:
            return self._canceller.process(block)
        if self._echo == "half-duplex" and self._sounding():
            return bytes(len(block))
        return block

    def _sounding(self) -> bool:
        """Whether the player is heard, or was a moment ago."""
        now = time.monotonic()
        if self._player is not None and self._player.playing:
            self._sounded_at = now
        return now - self._sounded_at < HANG_OVER_S


def attach_microphone(
    microphone: Microphone, client: RealtimeClient, *, echo: Echo = "headphones", player: AudioPlayer | None = None
) -> MicrophoneAttachment:
    """Stream a microphone into a client.

    Args:
        microphone: at the client's input rate.
        client: connected, one that hears.
        echo: what keeps the model from hearing itself: ``"headphones"`` (nothing here), ``"half-duplex"`` (silence is
            sent while the player plays, so there is no barge-in), or ``"cancel"`` (the extra ``aec``).
        player: whose sound is the echo; by default the one attached to the client.

    Raises:
        ConfigError: the client does not hear, another sample rate, an unknown ``echo``, or no player for it.
        AudioUnavailable: ``echo="cancel"`` without the extra ``aec``.
        ConnectionClosed: the client is not connected.
        DeviceError: the microphone cannot be opened.
    """
    if not isinstance(client, _ListeningClient):
        raise ConfigError(f"{type(client).__name__} does not hear: it takes no audio")
    if echo not in ("headphones", "half-duplex", "cancel"):
        raise ConfigError(f"echo is 'headphones', 'half-duplex' or 'cancel', not {echo!r}")
    client.require_open()
    if microphone.sample_rate != client.input_rate:
        raise ConfigError(
            f"the microphone has {microphone.sample_rate} Hz and the session reads {client.input_rate} Hz",
            hint=f"Microphone({client.input_rate})",
        )
    player = player or client.player
    if echo != "headphones" and player is None:
        raise ConfigError(f"echo={echo!r} needs the player", hint="player.attach(client) first, or pass player=")
    canceller = None
    if echo == "cancel" and player is not None:
        from .echo import EchoCanceller

        canceller = EchoCanceller(player, microphone.sample_rate)
    microphone.start()
    return MicrophoneAttachment(microphone, client, echo=echo, player=player, canceller=canceller)
