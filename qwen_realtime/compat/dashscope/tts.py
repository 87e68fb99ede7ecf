"""``QwenTtsRealtime``: speech synthesis as the vendor's SDK has it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from enum import unique
from typing import Any, ClassVar

from ...protocol import Family
from .formats import PcmFormat
from .session import Message, RealtimeCallback, RealtimeSession, wall_clock_ms

__all__ = ["AudioFormat", "QwenTtsRealtime", "QwenTtsRealtimeCallback"]

log = logging.getLogger("qwen_realtime")


class QwenTtsRealtimeCallback(RealtimeCallback):
    """Derive from this and override what you want to know."""


@unique
class AudioFormat(PcmFormat):
    """Output formats."""

    PCM_24000HZ_MONO_16BIT = ("pcm", 24000, "mono", "16bit", "pcm16")


class QwenTtsRealtime(RealtimeSession):
    """One session of speech synthesis.

    Args:
        model: any name.
        headers: more headers for the handshake.
        callback: a :class:`QwenTtsRealtimeCallback`, or ``None``.
        workspace: a workspace id.
        url: the default is ``QWEN_REALTIME_URL``, then Beijing's.
        additional_params: ignored, as in the vendor's SDK.
        api_key: the default is the module's ``api_key``; see there. The vendor's SDK does not have it here.

    Attributes:
        last_first_text_time: when the first text of the session was sent, in milliseconds since 1970.
        last_first_audio_delay: from then to the first sound of the session, in milliseconds; ``None`` until that
            comes. The figures of each reply are in ``metrics``.

    Raises:
        ConfigError: there is no model.
    """

    family: ClassVar[Family] = Family.TTS

    def __init__(
        self,
        model: str,
        headers: Mapping[str, str] | None = None,
        callback: QwenTtsRealtimeCallback | None = None,
        workspace: str | None = None,
        url: str | None = None,
        additional_params: Mapping[str, Any] | None = None,
        *,
        api_key: str | None = None,
    ) -> None:
        del additional_params
        super().__init__(model, callback, headers, workspace, url, api_key)
        self.last_first_text_time: float | None = None
        self._first_text_at: float | None = None  # the same on time.monotonic()

    def update_session(
        self,
        voice: str,
        response_format: AudioFormat = AudioFormat.PCM_24000HZ_MONO_16BIT,
        mode: str = "server_commit",
        sample_rate: int | None = None,
        volume: int | None = None,
        speech_rate: float | None = None,
        audio_format: str | None = None,
        pitch_rate: float | None = None,
        bit_rate: int | None = None,
        language_type: str | None = None,
        enable_tn: bool | None = None,
        instructions: str | None = None,
        optimize_instructions: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Send the session's settings; what the server makes of them comes as an event.

        Args:
            voice: who speaks.
            response_format: format and sample rate of the sound.
            mode: ``"server_commit"``, or ``"commit"`` to decide by :meth:`commit` when to speak.
            sample_rate: Hz, over that of ``response_format``.
            volume: 0 to 100.
            speech_rate: 0.5 to 2.
            audio_format: ``"pcm"``, ``"wav"``, ``"mp3"`` or ``"opus"``, over that of ``response_format``.
            pitch_rate: 0.5 to 2.
            bit_rate: kbit/s, 6 to 510, for mp3 and opus.
            language_type: such as ``"Chinese"``; the default is to find out.
            enable_tn: whether numbers and the like are spelt out.
            instructions: how to speak.
            optimize_instructions: whether the service may rewrite them.
            kwargs: more fields of the session object, over the others.

        Raises:
            ConnectionClosed: there is no open connection.
        """
        optional = {
            "volume": volume,
            "speech_rate": speech_rate,
            "pitch_rate": pitch_rate,
            "bit_rate": bit_rate,
            "enable_tn": enable_tn,
            "language_type": language_type,
            "instructions": instructions,
            "optimize_instructions": optimize_instructions,
        }
        self._send_config(
            {
                "voice": voice,
                "mode": mode,
                "response_format": response_format.format if audio_format is None else audio_format,
                "sample_rate": response_format.sample_rate if sample_rate is None else sample_rate,
                **{name: value for name, value in optional.items() if value is not None},
                **kwargs,
            }
        )

    def append_text(self, text: str) -> None:
        """Add text to be spoken.

        Raises:
            ConnectionClosed: there is no open connection.
        """
        now = time.monotonic()  # before it is sent: a quick answer must find it
        if self._first_text_at is None:
            self._first_text_at = now
        self._send("input_text_buffer.append", text=text)
        if self.last_first_text_time is None:
            self.last_first_text_time = wall_clock_ms(now)

    def commit(self) -> None:
        """Speak the appended text now."""
        self._send("input_text_buffer.commit")

    def clear_appended_text(self) -> None:
        """Discard the appended text."""
        self._send("input_text_buffer.clear")

    def finish(self) -> None:
        """Tell the server that there is no more text, and do not wait: ``session.finished`` comes as an event."""
        self._send("session.finish")

    # What is known.

    def _reset(self) -> None:
        super()._reset()
        self.last_first_text_time = self._first_text_at = None

    def _track(self, message: Message, arrived: float) -> None:
        super()._track(message, arrived)
        is_first_audio = message["type"] == "response.audio.delta" and self.last_first_audio_delay is None
        if is_first_audio and self._first_text_at is not None:
            self.last_first_audio_delay = (arrived - self._first_text_at) * 1000

    def get_first_audio_delay(self) -> float | None:
        """Milliseconds from the first text of the session to its first sound; ``None`` until that comes."""
        return self.last_first_audio_delay

    # Public in the vendor's SDK, where its socket calls them. Nothing calls them here; a program may.

    def on_message(self, ws: object, message: str) -> None:
        """Internal: deliver a message as if it had just arrived."""
        del ws
        event = Message(json.loads(message))
        self.last_message = event
        self._track(event, time.monotonic())
        self._call("on_event", event)

    def on_error(self, ws: object, error: object) -> None:
        """Internal: log an error of the connection."""
        del ws
        log.error("the connection reports: %s", error)

    def on_close(self, ws: object, close_status_code: int, close_msg: str) -> None:
        """Internal: tell the callback that the connection has ended."""
        del ws
        self._call("on_close", close_status_code, close_msg)
