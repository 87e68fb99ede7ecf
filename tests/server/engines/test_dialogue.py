"""The local stand-in's answers."""

from __future__ import annotations

from datetime import datetime

import pytest

from qwen_realtime.server.engines import Dialogue, Reply

NOON = datetime(2026, 2, 28, 12, 4)


@pytest.fixture
def dialogue() -> Dialogue:
    """A conversation at a known time."""
    return Dialogue(lambda: NOON)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("what is nine plus four", "That is thirteen."),
        ("What's 100 divided by 8?", "That is twelve point five."),
        ("divide that: ten divided by zero", "Nothing can be divided by zero."),
        ("what time is it right now", "It is twelve oh four in the afternoon."),
        ("What's the date today?", "Today is Saturday, February 28, 2026."),
        ("what day is tomorrow", "Tomorrow is Sunday, March 1, 2026."),
        ("what day was yesterday", "Yesterday was Friday, February 27, 2026."),
        ("count to four", "one, two, three, four."),
        ("count to two thousand", "I can count to one hundred."),
        ("thanks a lot", "You are welcome."),
        ("goodbye then", "Goodbye."),
        ("what is the weather", "I cannot look up the weather: no function for it was declared."),
    ],
)
def test_a_question_has_one_answer(dialogue: Dialogue, said: str, answer: str) -> None:
    """The same words get the same answer, at the injected time."""
    assert dialogue.reply(said) == Reply(answer)
    assert dialogue.reply(said) == Reply(answer)


@pytest.mark.parametrize("said", ["who are you", "are you a language model?", "What is your name?", "are you human"])
def test_it_says_that_it_is_a_stand_in(dialogue: Dialogue, said: str) -> None:
    """Nobody should take the rules for the service's model."""
    answer = dialogue.reply(said).text
    assert "local stand-in" in answer
    assert "not a language model" in answer


def test_it_remembers_a_name_for_one_conversation(dialogue: Dialogue) -> None:
    """Names are kept in the conversation and nowhere else."""
    assert dialogue.reply("what is my name").text == "You have not told me your name yet."
    assert dialogue.reply("my name is helen").text == "Nice to meet you, Helen."
    assert dialogue.reply("do you know my name?").text == "Your name is Helen."
    assert dialogue.reply("hello again").text == "Hello, Helen. What can I do for you?"
    assert Dialogue().reply("what is my name").text == "You have not told me your name yet."


def test_what_was_heard_is_never_spoken_back(dialogue: Dialogue) -> None:
    """A misheard word may be an insult; only typed text is repeated."""
    for said in ("zzyx blorp", "my name is zzyx", "repeat after me zzyx", "what did i say"):
        assert "zzyx" not in dialogue.reply(said).text.lower()
    assert "not sure I understood" in dialogue.reply("zzyx blorp").text


def test_what_was_typed_may_be_repeated(dialogue: Dialogue) -> None:
    """Typed text cannot be misheard."""
    assert dialogue.reply("Repeat after me: Rain on tin roofs.", typed=True).text == "Rain on tin roofs."
    assert dialogue.reply("what did I say?", typed=True).text == "You wrote: Repeat after me: Rain on tin roofs."
    assert dialogue.reply("My name is Zzyx", typed=True).text == "Nice to meet you, Zzyx."


def test_silence_is_answered(dialogue: Dialogue) -> None:
    """An empty transcript gets an answer that tells what it can do."""
    assert dialogue.reply("  ").text.startswith("I did not hear anything.")


def test_results_of_functions_are_told_once(dialogue: Dialogue) -> None:
    """An empty message goes on from the results."""
    dialogue.tool_result(
        "call_1", "get_current_weather", '{"temperature": 21, "sky": {"state": "clear"}, "wet": false}'
    )
    dialogue.tool_result("call_2", "getStockPrice", "12 dollars.")
    assert dialogue.reply("").text == (
        "The weather function says: temperature 21, sky state clear, wet no. The stock price function says: 12 dollars."
    )
    assert dialogue.reply("").text.startswith("I did not hear anything.")


def test_instructions_change_nothing(dialogue: Dialogue) -> None:
    """Rules cannot follow a prompt, so they do not pretend to."""
    assert dialogue.reply("one plus one", instructions="You are a pirate.") == dialogue.reply("one plus one")
