"""Examples of our own for every event, in the shapes that the protocol reference documents and recordings show."""

from __future__ import annotations

import base64
from typing import Any

__all__ = ["CLIENT_EXAMPLES", "PCM", "SERVER_EXAMPLES", "base64_of"]

PCM = bytes(range(256)) * 2


def base64_of(data: bytes) -> str:
    """What the wire has for bytes."""
    return base64.b64encode(data).decode()


_RESPONSE = {
    "id": "resp_1",
    "object": "realtime.response",
    "conversation_id": "",
    "status": "in_progress",
    "modalities": ["text", "audio"],
    "voice": "Tina",
    "output_audio_format": "pcm",
    "output": [],
}
_MESSAGE = {
    "id": "item_1",
    "object": "realtime.item",
    "type": "message",
    "status": "in_progress",
    "role": "assistant",
    "content": [],
}
_CALL = {
    "id": "item_2",
    "object": "realtime.item",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": ' {"city":"Graz"}',
}
_USAGE = {
    "total_tokens": 30,
    "input_tokens": 10,
    "output_tokens": 20,
    "input_tokens_details": {"text_tokens": 4, "audio_tokens": 6},
    "output_tokens_details": {"text_tokens": 5, "audio_tokens": 15},
    "plugins": {"search": {"count": 1, "strategy": "agent"}},
    "characters": 25,
}
_IN_RESPONSE = {"response_id": "resp_1", "output_index": 0}
_IN_PART = {**_IN_RESPONSE, "item_id": "item_1", "content_index": 0}
_HEARD = {"item_id": "item_0", "content_index": 0}
_SESSION = {
    "id": "sess_1",
    "object": "realtime.session",
    "model": "qwen3.5-omni-flash-realtime",
    "modalities": ["text", "audio"],
    "voice": "Tina",
    "turn_detection": None,
    "input_audio_transcription": {"model": "qwen3-asr-flash-realtime"},
}
_DETAIL = {"type": "invalid_request_error", "code": "", "message": "buffer too small", "param": "", "event_id": "e_1"}


def _events(examples: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        kind: {"event_id": f"event_{number}", "type": kind, **fields}
        for number, (kind, fields) in enumerate(examples.items())
    }


SERVER_EXAMPLES = _events(
    {
        "error": {"error": _DETAIL},
        "session.created": {"session": _SESSION},
        "session.updated": {"session": {**_SESSION, "voice": "Cherry"}},
        "session.finished": {},
        "input_text_buffer.committed": {"item_id": ""},
        "input_text_buffer.cleared": {},
        "input_audio_buffer.speech_started": {"audio_start_ms": 120, "item_id": "item_0"},
        "input_audio_buffer.speech_stopped": {"audio_end_ms": 980, "item_id": "item_0"},
        "input_audio_buffer.committed": {"previous_item_id": None, "item_id": "item_0"},
        "input_audio_buffer.cleared": {},
        "conversation.item.created": {"previous_item_id": "item_0", "item": _MESSAGE},
        "conversation.item.input_audio_transcription.text": {
            **_HEARD,
            "text": "The weather ",
            "stash": "is",
            "language": "en",
            "emotion": "neutral",
        },
        "conversation.item.input_audio_transcription.delta": {
            **_HEARD,
            "text": "The weather ",
            "stash": "is",
            "delta": "is",
            "language": None,
            "emotion": "happy",
            "obfuscation": "x1",
        },
        "conversation.item.input_audio_transcription.completed": {
            **_HEARD,
            "transcript": "The weather is nice.",
            "language": "en",
            "emotion": "neutral",
        },
        "conversation.item.input_audio_transcription.failed": {**_HEARD, "error": _DETAIL},
        "response.created": {"response": _RESPONSE},
        "response.done": {
            "response": {
                **_RESPONSE,
                "conversation_id": "conv_1",
                "status": "completed",
                "output": [
                    {**_MESSAGE, "status": "completed", "content": [{"type": "audio", "transcript": "Hello."}]},
                    _CALL,
                ],
                "usage": _USAGE,
            }
        },
        "response.output_item.added": {**_IN_RESPONSE, "item": _MESSAGE},
        "response.output_item.done": {
            **_IN_RESPONSE,
            "item": {**_MESSAGE, "status": "completed", "content": [{"type": "text", "text": "Hello."}]},
        },
        "response.content_part.added": {**_IN_PART, "part": {"type": "audio", "text": ""}},
        "response.content_part.done": {**_IN_PART, "part": {"type": "audio", "transcript": "Hello."}},
        "response.text.delta": {**_IN_PART, "delta": "Hel"},
        "response.text.text": {**_IN_PART, "text": "Hel", "stash": "lo"},
        "response.text.done": {**_IN_PART, "text": "Hello."},
        "response.audio_transcript.delta": {**_IN_PART, "delta": "你好"},
        "response.audio_transcript.text": {**_IN_PART, "text": "Hel", "stash": ""},
        "response.audio_transcript.done": {**_IN_PART, "transcript": "Hello.  "},
        "response.audio.delta": {**_IN_PART, "delta": base64_of(PCM)},
        "response.audio.done": _IN_PART,
        "response.function_call_arguments.delta": {
            **_IN_RESPONSE,
            "item_id": "item_2",
            "call_id": "call_1",
            "delta": ' {"city"',
            "obfuscation": "q",
        },
        "response.function_call_arguments.done": {
            **_IN_RESPONSE,
            "item_id": "item_2",
            "call_id": "call_1",
            "name": "get_weather",
            "arguments": ' {"city":"Graz"}',
        },
    }
)

CLIENT_EXAMPLES = _events(
    {
        "session.update": {"session": {"voice": "Cherry", "turn_detection": None}},
        "session.finish": {},
        "input_text_buffer.append": {"text": "Hello. 你好。"},
        "input_text_buffer.commit": {},
        "input_text_buffer.clear": {},
        "input_audio_buffer.append": {"audio": base64_of(PCM)},
        "input_audio_buffer.commit": {},
        "input_audio_buffer.clear": {},
        "input_image_buffer.append": {"image": base64_of(b"\xff\xd8\xff\xe0")},
        "response.create": {"response": {"instructions": "Be brief.", "modalities": ["text"]}},
        "response.cancel": {},
        "conversation.item.create": {"item": {"type": "function_call_output", "call_id": "call_1", "output": "{}"}},
    }
)
