"""What a value may be, as small objects that say what is wrong: the cells of the model profiles."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

__all__ = ["Between", "ListOf", "OneOf", "Rule", "at_path", "flatten"]


class Rule(Protocol):
    """Says in words what is wrong with a value, or nothing."""

    def fault(self, value: Any) -> str:
        """What is wrong with the value; empty where nothing is."""


class OneOf:
    """One of a few values; text is compared without regard to case where ``fold`` is set."""

    def __init__(self, *values: Any, fold: bool = False) -> None:
        self.values = values
        self.fold = fold

    def fault(self, value: Any) -> str:
        """What is wrong with the value; empty where nothing is."""
        if self.fold and isinstance(value, str):
            taken = value.lower() in {str(each).lower() for each in self.values}
        else:
            taken = value in self.values
        return "" if taken else f"must be one of {', '.join(map(repr, self.values))}"


class Between:
    """A number in a range; the ends belong to it unless they are said to be open. ``also`` names exceptions."""

    def __init__(
        self, low: float, high: float, *, above: bool = False, below: bool = False, also: Collection[Any] = ()
    ) -> None:
        self.low, self.high, self.above, self.below, self.also = low, high, above, below, also

    def fault(self, value: Any) -> str:
        """What is wrong with the value; empty where nothing is."""
        if value in self.also:
            return ""
        inside = self.low <= value <= self.high
        if inside and not (self.above and value == self.low) and not (self.below and value == self.high):
            return ""
        return (
            f"must be {'above' if self.above else 'at least'} {self.low:g} "
            f"and {'below' if self.below else 'at most'} {self.high:g}"
        )


class ListOf:
    """One of a few lists, in any order."""

    def __init__(self, *lists: tuple[str, ...]) -> None:
        self.lists = lists

    def fault(self, value: Any) -> str:
        """What is wrong with the value; empty where nothing is."""
        if sorted(value) in [sorted(each) for each in self.lists]:
            return ""
        return f"must be {' or '.join(str(list(each)) for each in self.lists)}"


def flatten(session: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a session object by their dotted paths; lists, ``None`` and empty objects are leaves."""
    leaves: dict[str, Any] = {}
    for key, value in session.items():
        if isinstance(value, dict) and value and key != "phrases":
            leaves.update(flatten(value, f"{prefix}{key}."))
        else:
            leaves[prefix + key] = value
    return leaves


def at_path(session: dict[str, Any], path: str) -> Any:
    """The value at a dotted path, or ``None``."""
    value: Any = session
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
