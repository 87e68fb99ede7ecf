"""The model calls a function of yours: python function_call.py ["a question"]."""

import json
import sys

from where import service

from qwen_realtime import OmniClient, events

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def get_weather(city: str) -> str:
    return f"18 degrees and light rain in {city}"


def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "What is the weather in Paris?"
    with service() as where, OmniClient(modalities=["text"], tools=[WEATHER], **where) as client:

        @client.on("response.function_call_arguments.done")
        def call(event: events.ResponseFunctionCallArgumentsDone) -> None:
            print(f"  {event.name}({event.arguments.strip()})")
            client.send_tool_output(event.call_id, get_weather(**json.loads(event.arguments)))

        print(f"> {question}")
        with client.expect("response.done", timeout=30) as called:
            client.send_text(question)
            client.create_response()
        print(f"  {len(called.event.response.output)} call(s)")
        with client.expect("response.text.done", timeout=30) as answer:
            client.create_response()  # once all calls are answered
        print(answer.event.text)


if __name__ == "__main__":
    main()
