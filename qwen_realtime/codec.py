"""Text to event and event to text, in both directions; the only place that knows base64.

Decoding goes straight from the message to its class, base64 included. What a class does not declare is not lost: an
event keeps the text it came from, and :func:`to_message` lays its declared fields over that message. A message that
no class declares, or that does not fit its class, arrives as :class:`~.events.UnknownEvent`.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any, Union, cast

import msgspec

from .errors import ConfigError, ProtocolError
from .events import CLIENT_EVENTS, SERVER_EVENTS, UNSET, ClientEvent, Event, ServerEvent, UnknownEvent
from .events.base import SOURCE

__all__ = ["audio_message", "decode_client", "decode_server", "encode", "to_message"]

# A union made at run time: the registries are the only lists of classes.
_decode_server = msgspec.json.Decoder(Union[tuple(SERVER_EVENTS.values())], strict=False).decode  # noqa: UP007
_decode_client = msgspec.json.Decoder(Union[tuple(CLIENT_EVENTS.values())], strict=False).decode  # noqa: UP007
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

# Fields whose null says no more than their absence.
_BESIDE_CONTENT = frozenset(
    """
    event_id item_id response_id call_id id object status output_index content_index modalities output_audio_format
    stash language emotion obfuscation
    """.split()
)


def decode_server(data: bytes) -> ServerEvent:
    """Decode one message of the server.

    Args:
        data: the payload of a text frame, UTF-8.

    Raises:
        ProtocolError: it is not UTF-8, not a JSON object, or has no ``type``.
    """
    text = _utf8(data)
    try:
        event = _decode_server(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        unknown = _unknown(text, error)
        if unknown.type not in SERVER_EVENTS:
            return unknown
        try:
            event = _decode_server(_encode(_forgiven(unknown.message)))
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
            return unknown
    event.__dict__[SOURCE] = text
    return cast(ServerEvent, event)


def decode_client(data: bytes | str) -> ClientEvent | UnknownEvent:
    """Decode one message of a client, as a server does.

    Args:
        data: the payload of a text frame.

    Returns:
        The event; an ``UnknownEvent`` where its type is not declared or its fields do not fit, with the reason.

    Raises:
        ProtocolError: it is not UTF-8, not a JSON object, or has no ``type``.
    """
    text = data if isinstance(data, str) else _utf8(data)
    try:
        event = _decode_client(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        return _unknown(text, error)
    event.__dict__[SOURCE] = text
    return cast(ClientEvent, event)


def _utf8(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a message is not UTF-8: {error.reason} at byte {error.start} of {len(data)}") from error


def _unknown(text: str, why: Exception) -> UnknownEvent:
    """The message as an event of no class; raises where it is no event at all."""
    try:
        message = _decode_any(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"a message is not JSON: {error}; it begins {text[:60]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError(f"a message is not an event, an object with a type: it begins {text[:60]!r}")
    declared = message["type"] in SERVER_EVENTS or message["type"] in CLIENT_EVENTS
    event_id = message.get("event_id", UNSET)
    return UnknownEvent(
        event_id=event_id if isinstance(event_id, str) else UNSET,
        message=message,
        why=str(why) if declared else "not declared",
    )


def _forgiven(value: Any) -> Any:
    """A message without what need not cost its meaning: nulls beside the content, and an error told in another shape.

    An event that nobody understands may be the one that somebody waits for.
    """
    if isinstance(value, list):
        return [_forgiven(each) for each in value]
    if not isinstance(value, dict):
        return value
    forgiven = {key: _forgiven(each) for key, each in value.items() if each is not None or key not in _BESIDE_CONTENT}
    if value.get("type") == "error" and "error" in value:
        detail = value["error"]
        forgiven["error"] = _as_texts(detail) if isinstance(detail, dict) else _as_texts({"message": detail})
    return forgiven


def _as_texts(detail: dict[str, Any]) -> dict[str, Any]:
    return {key: each if isinstance(each, str | None) else _encode(each).decode() for key, each in detail.items()}


def to_message(event: Event) -> dict[str, Any]:
    """An event as the message it is on the wire: its declared fields over what it came as.

    Audio and image fields are base64 text. Fields that are ``UNSET`` are left out.
    """
    if isinstance(event, UnknownEvent):
        return event.message
    declared = cast("dict[str, Any]", msgspec.to_builtins(event))
    source = event.__dict__.get(SOURCE)
    return declared if source is None else _overlay(event.raw, declared)


def _overlay(below: Any, above: Any) -> Any:
    """``above``, with what only ``below`` has filled in, at every depth."""
    if isinstance(below, dict) and isinstance(above, dict):
        merged = {key: _overlay(value, above[key]) if key in above else value for key, value in below.items()}
        merged.update((key, value) for key, value in above.items() if key not in below)
        return merged
    if isinstance(below, list) and isinstance(above, list) and len(below) == len(above):
        return [_overlay(*pair) for pair in zip(below, above, strict=True)]
    return above


def encode(event: Event, event_id: str = "") -> bytes:
    """An event as the payload of a text frame.

    Args:
        event: any event, yours or decoded.
        event_id: the id to give it, unless it has one.

    Raises:
        ConfigError: it holds what JSON cannot hold, such as half a surrogate pair.
    """
    try:
        return _encoded(event, event_id)
    except (UnicodeEncodeError, TypeError) as error:
        raise ConfigError(f"the event {event.type} cannot be JSON: {error}") from error


def _encoded(event: Event, event_id: str) -> bytes:
    if isinstance(event, UnknownEvent) or SOURCE in event.__dict__:
        message = to_message(event)
        if event_id and not message.get("event_id"):
            message = {**message, "event_id": event_id}
        return _encode(message)
    if event_id and isinstance(event, (ClientEvent, ServerEvent)) and not event.event_id:
        event = msgspec.structs.replace(event, event_id=event_id)
    return _encode(event)


def audio_message(pcm: bytes | bytearray | memoryview, event_id: str) -> bytes:
    """An ``input_audio_buffer.append`` message, made without a JSON encoder: base64 needs no escaping.

    Args:
        pcm: int16 mono, little-endian.
        event_id: made of letters, digits, ``_`` and ``-`` only.
    """
    return b'{"event_id":"%b","type":"input_audio_buffer.append","audio":"%b"}' % (
        event_id.encode(),
        b2a_base64(pcm, newline=False),
    )
