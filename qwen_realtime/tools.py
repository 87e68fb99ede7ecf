"""Functions of yours as the model sees them: declared from their signatures, called with JSON, answering in JSON.

Calls, threads and answers are in :mod:`.toolbox`.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .errors import ConfigError
from .events import UNSET, UnsetType

__all__ = ["Tool"]

_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?|Attributes):\s*$")
_ENTRY = re.compile(r"(\s+)(\w+)(?:\s*\([^)]*\))?:\s*(.*)")
_PARAM = re.compile(r"\s*:param\s+(?:[\w\[\], |]+\s)?(\w+):\s*(.*)")


class Tool:
    """A function with its declaration, which calls it with arguments from JSON.

    Args:
        function: called with keyword arguments; what it returns is text, or anything that JSON can hold.
        name: how the model calls it; default the function's name.
        description: when to call it; default what its docstring says before ``Args:``.
        parameters: a JSON Schema, which then is not enforced; default is one made of the signature, whose annotations
            may be ``str``, ``int``, ``float``, ``bool``, ``list``, ``dict``, ``Literal``, ``Optional``, dataclasses
            and whatever else msgspec knows. Parameters with a default may be left out.
        timeout: seconds after which it is given up.

    Raises:
        ConfigError: no schema can be made of the signature, or the name or timeout cannot be.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.name = name if name is not None else str(getattr(function, "__name__", ""))
        if not callable(function) or not _NAME.fullmatch(self.name):
            raise ConfigError(f"a tool is a function with a plain name: {self.name or function!r}", hint="pass name=")
        if inspect.iscoroutinefunction(function):
            raise ConfigError(f"the tool {self.name} is asynchronous", hint="register an ordinary function")
        if not timeout > 0:
            raise ConfigError(f"the timeout of the tool {self.name} must be positive, not {timeout!r}")
        self.timeout = timeout
        self._function = function
        self._arguments: Any = dict[str, Any]  # what the JSON is decoded to
        summary, described = _docstring(function)
        if parameters is None:
            self._arguments = _arguments_of(function, self.name)
            parameters = _schema_of(function, self._arguments, described)
        self.declaration: dict[str, Any] = {"type": "function", "function": {"name": self.name}}
        if description or (description is None and summary):
            self.declaration["function"]["description"] = description or summary
        self.declaration["function"]["parameters"] = dict(parameters)

    def read(self, arguments: str) -> dict[str, Any]:
        """The keyword arguments in a call's JSON; empty text is none.

        Raises:
            ConfigError: they are not a JSON object, or do not fit.
        """
        try:
            given = msgspec.json.decode(arguments if arguments.strip() else "{}", type=self._arguments)
            if isinstance(given, msgspec.Struct):
                given = {key: getattr(given, key) for key in given.__struct_fields__}
            given = {key: value for key, value in given.items() if value is not UNSET}
            inspect.signature(self._function).bind(**given)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise ConfigError(f"the arguments do not fit: {error}") from error
        return dict(given)

    def call(self, given: Mapping[str, Any]) -> str:
        """Call the function; returns its result as the model gets it.

        Raises:
            BaseException: whatever the function raises; ``TypeError`` or ``ValueError``, its result cannot be JSON.
        """
        result = self._function(**given)
        if isinstance(result, str):
            return result
        return json.dumps(result, ensure_ascii=False, allow_nan=False, default=msgspec.to_builtins)


def _docstring(function: Callable[..., object]) -> tuple[str, dict[str, str]]:
    """What a docstring says of the function, and of each parameter (``Args:``, or ``:param``)."""
    summary: list[str] = []
    described: dict[str, str] = {}
    section, name, indent = "", "", None
    for line in (inspect.getdoc(function) or "").splitlines():
        if found := _SECTION.match(line):
            section, name, indent = found[1], "", None
        elif found := _PARAM.match(line):
            section, name = "Args", found[1]
            described[name] = found[2]
        elif section not in ("Args", "Arguments", "Parameters"):
            summary += [] if section else line.split()
        elif (found := _ENTRY.match(line)) and indent in (None, found[1]):
            indent, name = found[1], found[2]
            described[name] = found[3]
        elif name:
            described[name] = f"{described[name]} {line.strip()}".strip()
    return " ".join(summary), described


def _parameters_of(function: Callable[..., object], name: str) -> list[tuple[inspect.Parameter, Any]]:
    """The parameters with their types."""
    hint = "annotate its parameters with str, int, float, bool, list, dict, Literal or Optional, or pass parameters="
    try:
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters.values())
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"the signature of the tool {name} cannot be read: {error}", hint=hint) from error
    for each in parameters:
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise ConfigError(f"the tool {name} has the parameter {each}, which has no name of its own", hint=hint)
        if each.name not in hints:
            raise ConfigError(f"the parameter {each.name} of the tool {name} has no type", hint=hint)
    return [(each, hints[each.name]) for each in parameters]


def _arguments_of(function: Callable[..., object], name: str) -> type[msgspec.Struct]:
    """A class that the arguments are decoded to, which checks them; what was not given is ``UNSET``."""
    fields: list[Any] = []
    for each, kind in _parameters_of(function, name):
        if each.default is each.empty:
            fields.append((each.name, kind))
        else:
            fields.append((each.name, kind if kind is Any else kind | UnsetType, UNSET))
    try:
        made = msgspec.defstruct(f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
        msgspec.json.schema(made)
    except TypeError as error:
        message = f"the tool {name} has parameters that no schema can tell: {error}"
        raise ConfigError(message, hint="pass parameters=") from error
    return made


def _schema_of(function: Callable[..., object], made: type[Any], described: dict[str, str]) -> dict[str, Any]:
    """The JSON Schema of the arguments, in the few words that the service documents."""
    (reference,), components = msgspec.json.schema_components([made], ref_template="{name}")
    whole = components.pop(reference["$ref"])
    defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    properties = {name: _plain(schema, defaults[name]) for name, schema in whole["properties"].items()}
    for name, schema in properties.items():
        if described.get(name):
            schema["description"] = described[name]
    schema = {"type": "object", "properties": properties, "required": whole.get("required", [])}
    if components:
        text = json.dumps({**schema, "$defs": components})
        schema = json.loads(re.sub(r'"\$ref": "', '"$ref": "#/$defs/', text))
    return schema


def _plain(schema: dict[str, Any], default: object) -> dict[str, Any]:
    """A property that may be left out need not be null as well; its default is told, where JSON can hold it."""
    if default is not inspect.Parameter.empty:
        choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
        if len(choices) == 1:
            schema = choices[0]
    plain = dict(schema)
    if "enum" in plain and all(isinstance(choice, str) for choice in plain["enum"]):
        plain = {"type": "string", **plain}
    if isinstance(default, (str, int, float, bool, list, dict)):
        plain["default"] = default
    return plain
