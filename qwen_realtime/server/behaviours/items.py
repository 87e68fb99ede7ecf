"""Conversation items as a client creates them: what is wrong with one, and what it looks like in the conversation."""

from __future__ import annotations

from typing import Any

from ... import events as ev
from ..ids import new_id
from ..validation import Fault

__all__ = ["parse_item", "text_of"]

# Roles of messages, with the content type that stands in for a missing one.
_ROLES = {"user": "input_text", "system": "input_text", "assistant": "text"}


def parse_item(item: dict[str, Any]) -> ev.Item | Fault:
    """Return the item that a ``conversation.item.create`` asks for, with the server's id, or what is wrong with it.

    Messages with text and outputs of functions are taken; the client's own id is replaced, as the service does.
    """
    kind = item.get("type")
    if kind == "message":
        return _message(item)
    if kind == "function_call_output":
        return _output(item)
    message = f"Invalid value: {kind!r}. Supported values are: 'message', 'function_call_output'."
    return Fault(message, "item.type")


def text_of(item: ev.Item) -> str:
    """The text of a message."""
    return " ".join(str(part.text) for part in item.content or ())


def _message(item: dict[str, Any]) -> ev.Item | Fault:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        return Fault(f"Invalid value: {role!r}. Supported values are: {', '.join(map(repr, _ROLES))}.", "item.role")
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    if not texts or len(texts) < len(parts) or not all(isinstance(text, str) and text for text in texts):
        return Fault("Invalid item content: parts with text are expected.", "item.content")
    shown = tuple(ev.ContentPart(type=str(part.get("type", _ROLES[role])), text=part["text"]) for part in parts)
    return ev.Item(
        id=new_id("item"), object="realtime.item", type="message", status="completed", role=role, content=shown
    )


def _output(item: dict[str, Any]) -> ev.Item | Fault:
    call_id, output = item.get("call_id"), item.get("output")
    if not isinstance(call_id, str) or not isinstance(output, str):
        return Fault("A function call's output needs a call_id and an output, both text.", "item.call_id")
    return ev.Item(
        id=new_id("item"),
        object="realtime.item",
        type="function_call_output",
        status="completed",
        call_id=call_id,
        output=output,
    )
