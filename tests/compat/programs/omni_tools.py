"""Let the model call a function. Arguments: URL."""

# ruff: noqa - written as programs for the vendor's SDK are

import json
import sys
import threading
import uuid

import dashscope
from dashscope.audio.qwen_omni import *

dashscope.api_key = "sk-any"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_current_weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"location": {"type": "string", "description": "A city."}},
                "required": ["location"],
            },
        },
    }
]


class OmniCallback(OmniRealtimeCallback):
    def __init__(self):
        self.tool_calls = {}
        self.conversation = None
        self.done = threading.Event()
        self.text = ""

    def on_open(self):
        print("opened")

    def on_close(self, close_status_code: int, close_msg: str):
        print("closed")

    def on_event(self, response):
        event_type = response.get("type", "")
        print("event", event_type)
        if event_type in ("response.audio_transcript.delta", "response.text.delta"):
            self.text += response.get("delta", "")
        elif event_type == "response.function_call_arguments.done":
            call = response.copy()
            call["processed"] = False
            self.tool_calls[call["call_id"]] = call
        elif event_type == "response.done":
            self.done.set()

    def wait(self):
        assert self.done.wait(20)
        self.done = threading.Event()


callback = OmniCallback()
conversation = OmniRealtimeConversation(
    api_key=dashscope.api_key, url=sys.argv[1], model="qwen3.5-omni-plus-realtime", callback=callback
)
callback.conversation = conversation
conversation.connect()
modalities = [MultiModality.TEXT]
conversation.update_session(output_modalities=modalities, voice="Tina", enable_turn_detection=False, tools=TOOLS)
question = {"type": "input_text", "text": "What is the weather in Paris?"}
conversation.create_item({"type": "message", "role": "user", "content": [question]})
conversation.create_response(output_modalities=modalities)
callback.wait()
for call in callback.tool_calls.values():
    print("result", call["name"], json.loads(call["arguments"]))
    output = {"id": "item_" + uuid.uuid4().hex, "type": "function_call_output", "call_id": call["call_id"]}
    conversation.create_item({**output, "output": "sunny and 21 degrees"})
conversation.create_response(instructions=None, output_modalities=modalities)
callback.wait()
print("result", callback.text)
conversation.close()
