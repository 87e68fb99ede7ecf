"""Recognise a recording; the server finds the ends of utterances. Arguments: URL, file of 16 kHz PCM."""

# ruff: noqa - written as programs for the vendor's SDK are

import base64
import os
import sys
import time

import dashscope
from dashscope.audio.qwen_omni import *
from dashscope.audio.qwen_omni.omni_realtime import TranscriptionParams

os.environ["DASHSCOPE_API_KEY"] = "sk-any"
dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]


class MyCallback(OmniRealtimeCallback):
    def __init__(self):
        self.conversation = None
        self.texts = []

    def on_open(self):
        print("opened")

    def on_close(self, close_status_code, close_msg):
        print("closed")
        sys.exit(0)

    def on_event(self, response):
        try:
            handlers = {
                "session.created": lambda r: print("session", bool(r["session"]["id"])),
                "conversation.item.input_audio_transcription.completed": lambda r: self.texts.append(r["transcript"]),
            }
            print("event", response["type"])
            handler = handlers.get(response["type"])
            if handler:
                handler(response)
        except Exception as e:
            print("[Error]", e)


callback = MyCallback()
conversation = OmniRealtimeConversation(model="qwen3-asr-flash-realtime", url=sys.argv[1], callback=callback)
callback.conversation = conversation
conversation.connect()
conversation.update_session(
    output_modalities=[MultiModality.TEXT],
    enable_input_audio_transcription=True,
    enable_turn_detection=True,
    turn_detection_type="server_vad",
    turn_detection_threshold=0.0,
    turn_detection_silence_duration_ms=400,
    transcription_params=TranscriptionParams(language="en", sample_rate=16000, input_audio_format="pcm"),
)
with open(sys.argv[2], "rb") as f:
    while True:
        audio_data = f.read(3200)
        if not audio_data:
            break
        conversation.append_audio(base64.b64encode(audio_data).decode("ascii"))
        time.sleep(0.01)
for _ in range(12):
    conversation.append_audio(base64.b64encode(bytes(3200)).decode("ascii"))
conversation.end_session(timeout=20)
print("result", callback.texts)
assert conversation.get_session_id()
conversation.close()
