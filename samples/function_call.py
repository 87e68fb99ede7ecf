"""The model calls functions of yours: python function_call.py ["a question"]."""

import sys
from typing import Literal

from where import service

from qwen_realtime import OmniClient


def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "What is the weather in Paris?"
    with service() as where, OmniClient(modalities=["text"], **where) as client:

        @client.tool  # declared from its signature; runs on a thread of its own, and its result is sent for you
        def get_weather(city: str, unit: Literal["C", "F"] = "C") -> str:
            """The weather in a city, now."""
            print(f"  get_weather({city!r}, {unit!r})")
            return f"{18 if unit == 'C' else 64} degrees and light rain in {city}"

        @client.tool(timeout=5)  # a function that raises, or takes longer, gives the model an error
        def get_population(city: str) -> dict[str, int]:
            """How many people live in a city."""
            print(f"  get_population({city!r})")
            return {"people": {"Paris": 2_100_000, "Graz": 300_000}[city]}

        print(f"> {question}")
        with client.expect("response.text.done", timeout=30) as answer:
            client.send_text(question)
            client.create_response()
        print(answer.event.text)


if __name__ == "__main__":
    main()
