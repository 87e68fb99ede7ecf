"""The four clients: the verbs and defaults of each family, and nothing else.

Each verb sends one event. What all clients share is in :mod:`.client`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from . import codec
from .audio.bytes import OddByteCarry, pcm_bytes
from .chunking import Feed
from .client import RealtimeClient, State
from .errors import ConfigError
from .events import (
    UNSET,
    CloseInfo,
    ConversationItemCreate,
    InputAudioBufferAppend,
    InputAudioBufferClear,
    InputAudioBufferCommit,
    InputImageBufferAppend,
    InputTextBufferAppend,
    InputTextBufferClear,
    InputTextBufferCommit,
    ResponseAudioDelta,
    ResponseCancel,
    ResponseCreate,
    ResponseDone,
)
from .masking import load_numpy
from .protocol import Family
from .results import Speech
from .settings import (
    ASRSettings,
    LiveTranslateSettings,
    OmniSettings,
    Settings,
    TTSSettings,
    input_rate,
    output_rate,
)
from .settings.rules import at_path
from .sources import AudioSource, pcm_blocks
from .toolbox import ToolBox
from .tools import Tool

if TYPE_CHECKING:
    from .audio.bytes import Audio

__all__ = ["ASRClient", "LiveTranslateClient", "OmniClient", "TTSClient"]

F = TypeVar("F", bound=Callable[..., object])

# A longer append is sent in pieces: the service takes 15 MiB at most, and shorter is heard sooner.
PIECE_BYTES = 64 * 1024

# A session that has sent so many bytes, a minute of audio, is one that goes on: it loads numpy, with which sending
# costs half. That has paid for itself after a quarter of an hour.
LOAD_NUMPY_AFTER = 60 * 32000

# "fast" streaming, as a multiple of real time: the ASR service closes sessions above about 80.
FAST = 50.0


class TTSClient(RealtimeClient):
    """Speech synthesis: text in, audio out.

    In ``server_commit`` mode (the default) the server decides when to speak; in ``commit`` mode :meth:`commit` does.
    """

    family: ClassVar[Family] = Family.TTS
    settings_class: ClassVar[type[Settings]] = TTSSettings

    @property
    def output_rate(self) -> int:
        """The sample rate of the audio that comes, Hz."""
        return output_rate(self.family, self.session)

    def append_text(self, text: str) -> None:
        """Add text to be spoken; empty text is nothing.

        Raises:
            ConfigError: it is not a string, or longer than this model can take.
        """
        if not isinstance(text, str):
            raise ConfigError(f"text must be a str, not {type(text).__name__}")
        limit = self._profile.max_text_tokens
        if limit and _fewest_tokens(text) > limit:
            raise ConfigError(f"the text is over {self.model}'s limit of {limit} tokens", hint="send it in parts")
        if text:
            self._send(InputTextBufferAppend(text=text))

    def commit(self) -> None:
        """Speak the appended text now."""
        self._send(InputTextBufferCommit())

    def feed(self, chunks: Iterable[str], *, idle_flush_s: float = 0.5) -> int:
        """Speak a stream of text, such as a language model's tokens, while it comes.

        Sends the text in pieces that can be spoken, as :class:`~.chunking.Chunker` cuts it; in ``commit`` mode each is
        committed and so spoken at once, in ``server_commit`` mode the server decides. Pulls the stream on the calling
        thread and blocks for as long as it lasts; the speech of the last piece is still to come then. What waits for
        its end while the stream is silent is sent by a thread of its own, ``qwen-feed``.

        Args:
            chunks: the text, cut anywhere; an error of its iterator is raised, and what waits then is not spoken.
            idle_flush_s: seconds of silence after which what waits is sent.

        Returns:
            How many characters were sent.

        Raises:
            ConfigError: a chunk is not a string, or ``idle_flush_s`` is not positive.
            ConnectionClosed: the connection ends meanwhile; where the stream is silent, when it goes on.
        """
        self.require_open()
        commits = self.session.get("mode") == "commit"

        def send(piece: str) -> None:
            self.append_text(piece)
            if commits and any(map(str.isalnum, piece)):  # blanks and marks alone go with the next piece
                self.commit()

        return Feed(send, idle_flush_s).run(chunks)

    def clear(self) -> None:
        """Discard the appended text; commit mode only."""
        self._send(InputTextBufferClear())

    def say(self, text: str, timeout: float | None = None) -> Speech:
        """Append, commit, and wait until all of it has been synthesised.

        For one text after the other: where speech of text appended before is still to come, its end ends the wait.

        Args:
            text: what to say.
            timeout: seconds; ``None`` waits as long as events keep coming, with a patience of a minute.

        Raises:
            WaitTimeout, ServerError, ConnectionClosed, WouldDeadlock: as ``expect`` does.
        """
        before = self._session_state.response_id
        chunks: list[ResponseAudioDelta] = []
        self.on(ResponseAudioDelta, chunks.append)
        try:
            with self.expect(ResponseDone, timeout, where=lambda event: event.response.id != before) as done:
                self.append_text(text)
                self.commit()
        finally:
            self.off(ResponseAudioDelta, chunks.append)
        response = done.event.response  # type: ignore[attr-defined]  # a ResponseDone
        audio = b"".join(chunk.delta for chunk in chunks if chunk.response_id == response.id)
        return self.speech(audio, text, response.usage or None)

    def speech(self, audio: bytes, text: str = "", usage: Any = None) -> Speech:
        """Audio that this session spoke, with its format and rate."""
        audio_format = str(self.session.get("response_format") or "pcm")
        return Speech(audio, self.output_rate, format=audio_format, text=text, usage=usage)


def _fewest_tokens(text: str) -> int:
    """A lower bound of the tokens in a text: a word, or a Chinese character, is at least one."""
    wide = sum(character >= "\u2e80" for character in text)
    return wide + len("".join(" " if character >= "\u2e80" else character for character in text).split())


class _ListeningClient(RealtimeClient):
    """What the clients that hear have in common."""

    def _set_up(self) -> None:
        super()._set_up()
        self._audio_order = threading.Lock()  # guards the half sample carried over, and the order of pieces
        self._carry = OddByteCarry()
        self._light = LOAD_NUMPY_AFTER  # bytes still to be sent without numpy

    @property
    def input_rate(self) -> int:
        """The sample rate that the session reads, Hz."""
        return input_rate(self.session)

    @property
    def turn_detection(self) -> dict[str, Any] | None:
        """The voice activity detection in force; ``None`` in manual mode."""
        return self.session.get("turn_detection")

    def append_audio(self, audio: Audio) -> None:
        """Send input audio.

        Args:
            audio: int16 mono PCM at :attr:`input_rate` as ``bytes``, ``bytearray``, ``memoryview`` or a numpy array,
                or a float32 array within −1…1. Half a sample at the end is carried over to the next call.

        Raises:
            ConfigError: an array of another type or shape.
            ConnectionClosed: the client is not open, has finished, or the connection breaks.
        """
        pcm = pcm_bytes(audio)
        with self._audio_order:
            pcm = self._carry.feed(pcm)
            if self._light > 0:
                self._light -= len(pcm)
                if self._light <= 0:
                    load_numpy()
            if 0 < len(pcm) <= PIECE_BYTES:
                self._send_audio(pcm)
            else:
                for start in range(0, len(pcm), PIECE_BYTES):
                    self._send_audio(pcm[start : start + PIECE_BYTES])

    def _send_audio(self, pcm: bytes) -> None:
        self._refuse(InputAudioBufferAppend)
        self._send_kept(pcm, lambda: self._write_audio(pcm))

    def _write_audio(self, pcm: bytes) -> None:
        """Write one piece to the connection there is, without making an event object of it."""
        connection = self._sending_connection()
        payload = codec.audio_message(pcm, self._next_id())
        if not self._session_state.audio_started:
            with self._changed:
                self._session_state.input_began(audio=True)
        if self._trace is not None:
            self._trace.record("client", payload)
        self._put_on_wire(connection, payload)

    def commit(self) -> None:
        """End the utterance; manual mode (``turn_detection=None``) only."""
        self._send(InputAudioBufferCommit())

    def clear(self) -> None:
        """Discard input audio that is not committed."""
        with self._audio_order:
            self._carry.reset()
            self._send(InputAudioBufferClear())

    def stream(
        self,
        source: AudioSource,
        pace: Literal["realtime", "fast"] = "realtime",
        *,
        trailing_silence_ms: int | None = None,
    ) -> float:
        """Send a whole source; blocks until it is sent.

        Args:
            source: the path, bytes or open file of sound (WAV; with the extra ``codecs`` nearly any), a ``Speech``, an
                array at :attr:`input_rate`, or an iterable of PCM blocks.
            pace: ``"realtime"``, or ``"fast"``: fifty times that, which the service still takes.
            trailing_silence_ms: silence to send after it, without which voice activity detection does not see the
                end; ``None`` for a little more than the session's ``silence_duration_ms``, and none in manual mode.

        Returns:
            How much audio was sent, in milliseconds, without the silence.

        Raises:
            ConfigError: the source cannot be read.
            ConnectionClosed: the connection ends meanwhile.
        """
        if pace not in ("realtime", "fast"):
            raise ConfigError(f"pace is 'realtime' or 'fast', not {pace!r}")
        self._sending_connection()
        rate = self.input_rate
        speed = 1.0 if pace == "realtime" else FAST
        began, sent_ms = time.monotonic(), 0.0
        for block in pcm_blocks(source, rate):
            if self._recovery is not None:
                self._recovery.wait_for_room(lambda: self._info is not None)
            self.append_audio(block)
            sent_ms += len(block) * 500 / rate
            ahead = sent_ms / 1000 / speed - (time.monotonic() - began)
            if ahead > 0.001:
                time.sleep(ahead)
        if trailing_silence_ms is None:
            detection = self.turn_detection
            trailing_silence_ms = int(detection.get("silence_duration_ms", 800)) + 400 if detection else 0
        if trailing_silence_ms:
            self.append_audio(bytes(rate * trailing_silence_ms // 1000 * 2))
        return sent_ms


class ASRClient(_ListeningClient):
    """Speech recognition: audio in, text out as ``…transcription.text`` (so far) and ``…completed`` (final)."""

    family: ClassVar[Family] = Family.ASR
    settings_class: ClassVar[type[Settings]] = ASRSettings


class _SeeingClient(_ListeningClient):
    """What the clients that also see have in common."""

    @property
    def output_rate(self) -> int:
        """The sample rate of the audio that comes, Hz."""
        return output_rate(self.family, self.session)

    def append_image(self, jpeg: bytes) -> None:
        """Send an image; about one a second is useful, and audio must have been sent before.

        Args:
            jpeg: a JPEG file's bytes, 480p or 720p advised.

        Raises:
            ConfigError: it is not JPEG, too large for this model, or no audio was sent before.
        """
        if not isinstance(jpeg, (bytes, bytearray, memoryview)):
            raise ConfigError(f"an image must be the bytes of a JPEG file, not {type(jpeg).__name__}")
        image = bytes(jpeg)
        if image[:3] != b"\xff\xd8\xff":
            raise ConfigError("the image is not a JPEG", hint="convert it, for example with Pillow")
        limit = self._profile.max_image_bytes
        if limit and len(image) > limit:
            raise ConfigError(
                f"the image has {len(image)} bytes, over {self.model}'s limit of {limit}",
                hint="scale it to 480p or lower its JPEG quality",
            )
        self._send(InputImageBufferAppend(image=image))


class OmniClient(_SeeingClient):
    """Voice chat: audio, images and text in; text and audio out."""

    family: ClassVar[Family] = Family.OMNI
    settings_class: ClassVar[type[Settings]] = OmniSettings

    def _set_up(self) -> None:
        super()._set_up()
        self._tools = ToolBox(self)

    @overload
    def tool(self, function: F, /) -> F: ...
    @overload
    def tool(
        self,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout: float = 30.0,
    ) -> Callable[[F], F]: ...
    def tool(self, function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Let the model call a function: a decorator, with or without arguments.

        ::

            @client.tool
            def get_weather(city: str, unit: Literal["C", "F"] = "C") -> str:
                "The weather in a city, now."
                return f"18 degrees in {city}"

        It is declared when the client connects, or at once where it is open (which blocks as ``update_session`` does).
        Calls run on threads of their own, ``qwen-tool``, also several at a time. When the response that called is done
        and all its calls are answered, the outputs are sent in order, and one ``create_response`` with them; so the
        reply is a response of its own, and ``finish()`` waits for it. A function that raises, or does not end within
        its timeout, or is called with arguments that do not fit, gives the model an error; a line in the log names it.
        Calls of other names are left to your own handlers, which answer by :meth:`send_tool_output` within half a
        minute; where one response calls both, the one ``create_response`` comes after theirs too.

        Args:
            function: called with keyword arguments; returns text, or anything that JSON can hold.
            options: ``name``, ``description`` and ``parameters`` (a JSON Schema), which are made of the function's
                name, docstring and signature where they are left out; ``timeout`` in seconds.

        Raises:
            ConfigError: the signature makes no schema, the name is taken, or the model has no tools.
            ConnectionClosed, ServerError: as ``update_session`` does, where the client is open.
        """

        def register(function: F) -> F:
            self._tools.add(Tool(function, **options), self._declare)
            return function

        return register if function is None else register(function)

    def _declare(self, declaration: dict[str, Any]) -> None:
        """Add a tool to the session's, in place of one with its name."""
        name = declaration["function"]["name"]
        others = (each for each in self._wanted.get("tools", ()) if at_path(each, "function.name") != name)
        tools = [*others, declaration]
        if self._state is State.NEW:
            self._wanted = self._checked_settings(None, {**self._wanted, "tools": tools}).to_session()
        else:
            self.update_session(tools=tools)

    @property
    def owes_reply(self) -> bool:
        """Whether a response is in progress or has been asked for."""
        return self._session_state.owes_reply

    def create_response(self, **overrides: Any) -> None:
        """Ask for a reply: in manual mode, for text, and after tool results.

        Args:
            overrides: for this response only, such as ``instructions="..."`` or ``modalities=["text"]``.
        """
        self._send(ResponseCreate(response=overrides or UNSET))

    @property
    def interrupts_itself(self) -> bool:
        """Whether the server cuts its reply when the user begins to speak, so that nobody need cancel it."""
        return self._session_state.interrupts_itself

    def cancel_response(self) -> bool:
        """Stop the response in progress; ``False`` when there is none, and nothing is sent then."""
        if not self.response_active:
            return False
        self._send(ResponseCancel())
        return True

    def create_item(self, item: Mapping[str, Any]) -> None:
        """Add an item to the conversation, such as a message or a function's output."""
        self._send(ConversationItemCreate(item=dict(item)))

    def send_text(self, text: str) -> None:
        """Add a user's message to the conversation; :meth:`create_response` asks for the reply."""
        if not isinstance(text, str) or not text:
            raise ConfigError("text must be a str, and not empty")
        self.create_item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})

    def send_tool_output(self, call_id: str, output: object) -> None:
        """Answer a function call; :meth:`create_response` asks for the reply when all calls are answered.

        Args:
            call_id: of the call.
            output: text, or anything that JSON can hold.
        """
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        self.create_item({"type": "function_call_output", "call_id": call_id, "output": text})
        self._tools.answered(call_id)

    # Omni's servers disagree about session.finish, so the end is to let the reply come and close.

    def _finish_session(self) -> None:
        pass

    def _finished(self) -> bool:
        replayed = self._recovery is not None and self._recovery.owes_reply()
        return not (self._tools.busy or self._session_state.owes_reply or replayed)

    def _end(self, info: CloseInfo) -> None:
        super()._end(info)
        self._tools.end()

    def _join_threads(self, deadline: float) -> None:
        super()._join_threads(deadline)
        self._tools.join(deadline)


class LiveTranslateClient(_SeeingClient):
    """Simultaneous interpreting: audio in, translated text and audio out."""

    family: ClassVar[Family] = Family.LIVE_TRANSLATE
    settings_class: ClassVar[type[Settings]] = LiveTranslateSettings
