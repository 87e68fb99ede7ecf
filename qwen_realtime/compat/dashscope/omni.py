"""``OmniRealtimeConversation``: voice chat, recognition and interpreting as the vendor's SDK has them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...errors import ConfigError, ConnectionClosed, WaitTimeout
from ...protocol import Family
from .parameters import (
    AudioFormat,
    AudioFormatConfig,
    AudioFormatType,
    AudioSampleRate,
    MultiModality,
    TranscriptionParams,
    TranslationParams,
    audio_settings,
    modality_names,
    transcription_settings,
    translation_settings,
)
from .session import Message, RealtimeCallback, RealtimeSession, new_event_id, wall_clock_ms
from .wire import Ending, WireClient

__all__ = [
    "AudioFormat",
    "AudioFormatConfig",
    "AudioFormatType",
    "AudioSampleRate",
    "MultiModality",
    "OmniRealtimeCallback",
    "OmniRealtimeConversation",
    "TranscriptionParams",
    "TranslationParams",
]


class OmniRealtimeCallback(RealtimeCallback):
    """Derive from this and override what you want to know."""


class OmniRealtimeConversation(RealtimeSession):
    """One session of Omni, ASR or LiveTranslate.

    Args:
        model: any name; it tells the family.
        callback: an :class:`OmniRealtimeCallback`.
        headers: more headers for the handshake.
        workspace: a workspace id.
        url: the default is ``QWEN_REALTIME_URL``, then Beijing's.
        api_key: the default is the module's ``api_key``; see there.
        additional_params: ignored, as in the vendor's SDK.

    Attributes:
        last_response_create_time: when the last reply began, in milliseconds since 1970.
        last_first_text_delay: from then to its first text, in milliseconds; ``None`` until that comes.
        last_first_audio_delay: the same for its first sound.
        disconnect_event: there while :meth:`end_session` waits.

    Raises:
        ConfigError: there is no model or no callback.
    """

    family: ClassVar[Family] = Family.OMNI

    def __init__(
        self,
        model: str,
        callback: OmniRealtimeCallback,
        headers: Mapping[str, str] | None = None,
        workspace: str | None = None,
        url: str | None = None,
        api_key: str | None = None,
        additional_params: Mapping[str, Any] | None = None,
    ) -> None:
        del additional_params
        if callback is None:
            raise ConfigError("no callback is given")
        super().__init__(model, callback, headers, workspace, url, api_key)
        self.last_response_create_time: float | None = None
        self.last_first_text_delay: float | None = None
        self.disconnect_event: threading.Event | None = None
        self._ending_lock = threading.Lock()  # guards disconnect_event: one end_session() at a time

    def update_session(
        self,
        output_modalities: Sequence[MultiModality],
        voice: str | None = None,
        input_audio_format: AudioFormat = AudioFormat.PCM_16000HZ_MONO_16BIT,
        output_audio_format: AudioFormat = AudioFormat.PCM_24000HZ_MONO_16BIT,
        enable_input_audio_transcription: bool = True,
        input_audio_transcription_model: str | None = None,
        enable_turn_detection: bool = True,
        turn_detection_type: str = "server_vad",
        prefix_padding_ms: int = 300,
        turn_detection_threshold: float = 0.2,
        turn_detection_silence_duration_ms: int = 800,
        turn_detection_param: Mapping[str, Any] | None = None,
        translation_params: TranslationParams | None = None,
        transcription_params: TranscriptionParams | None = None,
        input_audio_config: AudioFormatConfig | None = None,
        output_audio_config: AudioFormatConfig | None = None,
        input_video_representation_compact: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Send the session's settings; what the server makes of them comes as an event.

        Args:
            output_modalities: text, sound or both.
            voice: of the replies.
            input_audio_format: what :meth:`append_audio` is given, in the older form.
            output_audio_format: what comes, in the older form.
            enable_input_audio_transcription: whether what is said is also written.
            input_audio_transcription_model: by which model.
            enable_turn_detection: whether the server finds the ends of utterances; otherwise :meth:`commit` does.
            turn_detection_type: how it finds them.
            prefix_padding_ms: of sound before speech that belong to the utterance.
            turn_detection_threshold: from −1, which hears everything, to 1.
            turn_detection_silence_duration_ms: of silence that end an utterance.
            turn_detection_param: more fields of ``turn_detection``, over the others.
            translation_params: LiveTranslate models only.
            transcription_params: ASR models only; they replace ``input_audio_transcription_model``.
            input_audio_config: the input's format in the newer form; neither older form is sent then.
            output_audio_config: the output's.
            input_video_representation_compact: of ``session.video.input``.
            kwargs: more fields of the session object, over the others, such as ``instructions``.

        Raises:
            ConnectionClosed: there is no open connection.
        """
        config: dict[str, Any] = {"modalities": modality_names(output_modalities), "voice": voice}
        config.update(audio_settings(input_audio_format, output_audio_format, input_audio_config, output_audio_config))
        config["input_audio_transcription"] = (
            {"model": input_audio_transcription_model} if enable_input_audio_transcription else None
        )
        config["turn_detection"] = (
            {
                "type": turn_detection_type,
                "threshold": turn_detection_threshold,
                "prefix_padding_ms": prefix_padding_ms,
                "silence_duration_ms": turn_detection_silence_duration_ms,
                **(turn_detection_param or {}),
            }
            if enable_turn_detection
            else None
        )
        if translation_params is not None:
            config["translation"] = translation_settings(translation_params)
        if transcription_params is not None:
            config.update(transcription_settings(transcription_params, formats_given="audio" in config))
        if input_video_representation_compact is not None:
            config["video"] = {"input": {"representation_compact": input_video_representation_compact}}
        self._send_config({**config, **kwargs})

    def append_audio(self, audio_b64: str | bytes | bytearray | memoryview) -> None:
        """Send input sound.

        Args:
            audio_b64: base64 text, sent as it is; or bytes of sound, which are encoded here.

        Raises:
            ConnectionClosed: there is no open connection.
        """
        self._send("input_audio_buffer.append", audio=_base64(audio_b64))

    def append_video(self, video_b64: str | bytes | bytearray | memoryview) -> None:
        """Send one image.

        Args:
            video_b64: a JPEG as base64 text, sent as it is; or its bytes, which are encoded here.

        Raises:
            ConnectionClosed: there is no open connection.
        """
        self._send("input_image_buffer.append", image=_base64(video_b64))

    def commit(self) -> None:
        """End the utterance; without turn detection only."""
        self._send("input_audio_buffer.commit")

    def clear_appended_audio(self) -> None:
        """Discard input sound that is not committed."""
        self._send("input_audio_buffer.clear")

    def create_response(
        self, instructions: str | None = None, output_modalities: Sequence[MultiModality] | None = None
    ) -> None:
        """Ask for a reply; without turn detection, and after the outputs of tools.

        Args:
            instructions: for this reply; ``null`` is sent where there are none.
            output_modalities: for this reply.
        """
        response: dict[str, Any] = {"instructions": instructions}
        if output_modalities:
            response["modalities"] = modality_names(output_modalities)
        self._send("response.create", response=response)

    def create_item(self, item: dict[str, Any]) -> None:
        """Add an item to the conversation, such as a message or a function's output."""
        self._send("conversation.item.create", item=item)

    # The end.

    def end_session_async(self) -> None:
        """Tell the server that there is no more input, and do not wait; call :meth:`close` in the end."""
        self._send("session.finish")

    def end_session(self, timeout: float = 20) -> None:
        """Tell the server that there is no more input, and wait until it has dealt with all of it.

        Returns when ``session.finished`` has been delivered; inside a callback, which stands in the way of that, when
        it has arrived. The connection stays open. Does nothing where it has come before, or somebody waits already.

        Args:
            timeout: seconds.

        Raises:
            WaitTimeout: it did not come (a ``TimeoutError``); the connection is closed then.
            RuntimeError: the server refused, or hung up after an error; the connection is closed then.
            ConnectionClosed: there is no open connection, or it ended first.
        """
        client = self._client
        if client is None:
            raise ConnectionClosed("not connected", hint="call connect() first")
        ending = Ending(new_event_id(), early=client.in_callback)
        with self._ending_lock:
            if self.disconnect_event is not None:
                return
            self.disconnect_event, client.ending = ending.over, ending
        try:
            if client.finish_delivered:  # looked at after the ending can be seen, so that one of the two notices
                return
            if not client.finished:
                self._send("session.finish", event_id=ending.finish_id)
            elif ending.early:
                return
            with client.unbounded():
                in_time = ending.over.wait(timeout)
        finally:
            self.disconnect_event = client.ending = None
        if not ending.finished:
            self._raise_unfinished(client, ending, None if in_time else timeout)

    def _raise_unfinished(self, client: WireClient, ending: Ending, timeout: float | None) -> None:
        """Close, and say why the session did not finish."""
        self.close()
        if timeout is not None:
            reported = f"; the server reported: {ending.error}" if ending.error is not None else ""
            raise WaitTimeout(f"Session end timeout after {timeout} seconds{reported}")
        if ending.error is not None:
            raise RuntimeError(f"Session ended with error: {ending.error}")
        raise client.closed_error()

    # What is known.

    def _reset(self) -> None:
        super()._reset()
        self.last_response_create_time = self.last_first_text_delay = None

    def _track(self, message: Message, arrived: float) -> None:
        super()._track(message, arrived)
        if message["type"] == "response.created":
            self.last_response_create_time = wall_clock_ms(arrived)
        self.last_first_text_delay = self._reply.get("first_text_delay")
        self.last_first_audio_delay = self._reply.get("first_audio_delay")

    def get_last_first_text_delay(self) -> float | None:
        """Milliseconds from the last reply's beginning to its first text; ``None`` until that comes."""
        return self.last_first_text_delay

    def get_last_first_audio_delay(self) -> float | None:
        """Milliseconds from the last reply's beginning to its first sound; ``None`` until that comes."""
        return self.last_first_audio_delay


def _base64(data: str | bytes | bytearray | memoryview) -> str:
    return data if isinstance(data, str) else base64.b64encode(data).decode()
