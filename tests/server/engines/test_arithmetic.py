"""Sums in words."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_realtime.server.engines.arithmetic import evaluate, first_number, say


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("what is nine plus four", 13),
        ("twelve times twelve minus four", 140),
        ("two plus three times four", 14),
        ("one hundred and five plus two", 107),
        ("a thousand minus one", 999),
        ("five thousand two hundred minus two hundred", 5000),
        ("what is 7*8?", 56),
        ("nineteen minus twenty", -1),
        ("is ten plus ten equal to thirty", 20),
        ("add five and six", 11),
        ("twenty one divided by four", Fraction(21, 4)),
        ("3.5 + 1", Fraction(9, 2)),
    ],
)
def test_a_sum_in_a_sentence_is_worked_out(text: str, value: int | Fraction) -> None:
    """Words and digits, products before sums."""
    assert evaluate(text) == value


@pytest.mark.parametrize("text", ["hello", "seven", "one two three", "i have one dog and many cats", "me and you", ""])
def test_what_is_no_sum_has_no_value(text: str) -> None:
    """A number alone, or an "and" between other things, is not a sum."""
    assert evaluate(text) is None


def test_a_sum_without_a_value_says_why() -> None:
    """Division by zero and overlong numbers are answered, not raised."""
    assert evaluate("ten divided by zero") == "nothing can be divided by zero"
    assert evaluate("999999 times 999999") == "that number is too large for me"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Fraction(0), "zero"),
        (Fraction(115), "one hundred fifteen"),
        (Fraction(2021), "two thousand twenty one"),
        (Fraction(-7, 2), "minus three point five"),
        (Fraction(10, 3), "about three point three three"),
        (Fraction(1, 20), "zero point zero five"),
    ],
)
def test_a_number_is_said_in_words(value: Fraction, words: str) -> None:
    """Hundredths at most, and rounding is admitted."""
    assert say(value) == words


@given(st.integers(0, 99_999_999), st.integers(0, 99_999_999))
def test_what_is_said_is_understood_again(left: int, right: int) -> None:
    """Saying and reading are each other's inverse."""
    assert evaluate(f"{say(Fraction(left))} plus {say(Fraction(right))}") == left + right
    assert first_number(say(Fraction(left))) == left
