"""Which declared functions a message asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qwen_realtime.server.engines import Dialogue

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
        },
    },
}
CLOCK: dict[str, Any] = {
    "type": "function",
    "name": "getTime",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
LIGHT: dict[str, Any] = {
    "type": "function",
    "name": "dim_lights",
    "parameters": {"type": "object", "properties": {"percent": {"type": "integer"}}, "required": ["percent"]},
}


def calls(said: str, *tools: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return name and arguments of each call that a message leads to."""
    reply = Dialogue().reply(said, tools=tools)
    assert bool(reply.text) != bool(reply.tool_calls)
    return [(call.name, json.loads(call.arguments_json)) for call in reply.tool_calls]


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("What is the weather in Oslo?", {"location": "Oslo"}),
        ("how is the weather in new york today", {"location": "New York"}),
        ("tell me the weather for buenos aires in celsius please", {"location": "Buenos Aires", "unit": "celsius"}),
    ],
)
def test_a_question_becomes_a_call_with_its_place(said: str, arguments: dict[str, str]) -> None:
    """The place ends where it is over, and a choice is taken from its list."""
    assert calls(said, WEATHER) == [("get_current_weather", arguments)]


def test_several_functions_in_one_message_become_several_calls() -> None:
    """Each takes its arguments from its own part of the message."""
    said = "what is the weather in rome and what time is it in tokyo"
    expected = [("get_current_weather", {"location": "Rome"}), ("getTime", {"city": "Tokyo"})]
    assert calls(said, WEATHER, CLOCK) == expected


def test_a_function_may_do_without_an_optional_argument() -> None:
    """What is not required and not said is left out."""
    assert calls("what time is it", CLOCK) == [("getTime", {})]


def test_a_number_is_an_argument() -> None:
    """Words and digits are numbers alike."""
    assert calls("dim the lights to thirty five", LIGHT) == [("dim_lights", {"percent": 35})]


def test_a_missing_required_argument_is_asked_for() -> None:
    """The next message completes the question."""
    dialogue = Dialogue()
    assert dialogue.reply("what is the weather like", tools=[WEATHER]).text == "Tell me the location, please."
    (call,) = dialogue.reply("in Lisbon, please", tools=[WEATHER]).tool_calls
    assert json.loads(call.arguments_json) == {"location": "Lisbon"}


@pytest.mark.parametrize(
    "tools", [[], [{}], [{"type": "function", "function": None}], [{"name": "weather", "parameters": 7}]]
)
def test_an_odd_declaration_does_no_harm(tools: list[dict[str, Any]]) -> None:
    """Declarations come from the user's program and may be anything."""
    reply = Dialogue().reply("hello", tools=tools)
    assert reply.text.startswith("Hello")


def test_a_message_about_something_else_calls_nothing() -> None:
    """A declared function does not take over the conversation."""
    assert calls("what is six plus six", WEATHER, CLOCK, LIGHT) == []
