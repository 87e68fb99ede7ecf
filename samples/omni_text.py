"""A written conversation with a voice model: python omni_text.py ["a question" ...]."""

import sys

from where import service

from qwen_realtime import OmniClient, events


def main() -> None:
    questions = sys.argv[1:] or ["What is seven plus five?", "Thank you. What can you do?"]
    with service() as where, OmniClient(modalities=["text"], **where) as client:

        @client.on("response.text.delta")
        def more(event: events.ResponseTextDelta) -> None:
            print(event.delta, end="", flush=True)

        for question in questions:
            print(f"> {question}")
            with client.expect("response.done", timeout=30):
                client.send_text(question)
                client.create_response()
            print()


if __name__ == "__main__":
    main()
