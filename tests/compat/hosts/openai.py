"""A stand-in for the OpenAI SDK: a model that repeats what was said."""

from types import SimpleNamespace
from typing import Any


class OpenAI:
    """A client."""

    def __init__(self, **_: Any) -> None:
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))

    def _create(self, *, messages: list[dict[str, str]], **_: Any) -> Any:
        message = SimpleNamespace(content=f"You said: {messages[-1]['content']}.")
        return SimpleNamespace(choices=[SimpleNamespace(message=message)])
