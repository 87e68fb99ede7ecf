"""Which declared functions a message asks for, and with what arguments: by the words of their names, nothing more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import arithmetic
from .types import ToolCall

_EMPTY = frozenset(
    "get set current currently fetch find look lookup search up query tool function call the a an of for to in on by "
    "and or with from is are what given returns return information info data about this that it user city location "
    "place name value now today".split()
)
_PLACE = re.compile(
    r"\b(?:in|at|for|near|of)\s+(?:the\s+(?:city|town)\s+of\s+)?(?P<place>[^\W\d_][\w '-]*?)"
    r"(?=$|\s*[?.!,]|\s+(?:and|or|today|tomorrow|tonight|now|right|please|what|how|is|like|this|next|at|on|in|for)\b)"
)
_NO_PLACE = frozenset(
    "me us you it today tomorrow tonight now the moment morning evening afternoon time weather".split()
)
_PLACE_PROPERTIES = ("location", "city", "place", "town", "address", "region", "country")


def words_of(name: str) -> list[str]:
    """Return the words of an identifier: ``getWeather`` and ``get_weather`` are ``get``, ``weather``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+", " ", name).lower().split()


def topic_of(name: str) -> str:
    """Return what a function is about: ``get_current_weather`` is ``weather``."""
    words = words_of(name)
    return " ".join(word for word in words if word not in _EMPTY) or " ".join(words)


def calls_for(message: str, tools: Sequence[Mapping[str, Any]]) -> tuple[list[ToolCall], str]:
    """Return the calls that a message asks for, or the name of a required argument that it does not give.

    Args:
        message: lower-case words.
        tools: declared functions, as on the wire.
    """
    clauses = [clause for clause in re.split(r"[?.!;,]\s*|\b(?:and|then)\b", message) if clause.strip()]
    calls: list[ToolCall] = []
    for tool in tools:
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or not function.get("name"):
            continue
        clause = next((clause for clause in clauses if _asks_for(clause, function)), None)
        if clause is None:
            continue
        arguments, missing = _arguments(function, clause, message)
        if missing:
            return [], missing
        calls.append(ToolCall(str(function["name"]), json.dumps(arguments, ensure_ascii=False)))
    return calls, ""


def _asks_for(clause: str, function: Mapping[str, Any]) -> bool:
    said = {_stem(word) for word in re.findall(r"\w+", clause)}
    name = {_stem(word) for word in words_of(str(function["name"])) if word not in _EMPTY}
    if name and name <= said:
        return True
    description = {_stem(word) for word in words_of(str(function.get("description", ""))) if word not in _EMPTY}
    return len((name | description) & said) >= 2


def _stem(word: str) -> str:
    return re.sub(r"(?<=\w{3})(ies|es|s|ing|ed)$", "", word)


def _arguments(function: Mapping[str, Any], clause: str, message: str) -> tuple[dict[str, Any], str]:
    """Return what the message tells of a function's arguments, and the first required one that it does not tell."""
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    if not isinstance(parameters, Mapping) or not isinstance(properties, Mapping):
        return {}, ""
    required = parameters.get("required") or ()
    arguments: dict[str, Any] = {}
    for name, schema in properties.items():
        schema = schema if isinstance(schema, Mapping) else {}
        value = _value(str(name), schema, clause)
        if value is None:
            value = _value(str(name), schema, message)
        if value is not None:
            arguments[str(name)] = value
        elif name in required:
            return {}, " ".join(words_of(str(name)))
    return arguments, ""


def _value(name: str, schema: Mapping[str, Any], text: str) -> Any:
    choices = schema.get("enum")
    if isinstance(choices, Sequence):
        said = f" {text} "
        return next((choice for choice in choices if f" {str(choice).lower()} " in said), None)
    if schema.get("type") in ("number", "integer"):
        value = arithmetic.first_number(text)
        if value is None:
            return None
        return int(value) if schema.get("type") == "integer" or value.denominator == 1 else float(value)
    if any(word in _PLACE_PROPERTIES for word in words_of(name)):
        return _place(text)
    return text.strip() if name in ("query", "text", "question", "message") else None


def _place(text: str) -> str | None:
    for match in _PLACE.finditer(text):
        place = match["place"].strip()
        if place not in _NO_PLACE and place.split()[0] not in _NO_PLACE:
            return place.title()
    return None
