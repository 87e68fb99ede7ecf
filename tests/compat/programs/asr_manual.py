"""Recognise a recording as one utterance. Arguments: URL, file of 16 kHz PCM."""

# ruff: noqa - written as programs for the vendor's SDK are

import base64
import sys
import threading

import dashscope
from dashscope.audio.qwen_omni.omni_realtime import (
    MultiModality,
    OmniRealtimeCallback,
    OmniRealtimeConversation,
    TranscriptionParams,
)

dashscope.api_key = "sk-any"


class Callback(OmniRealtimeCallback):
    def __init__(self):
        self.text = None
        self.finished = threading.Event()

    def on_open(self):
        print("opened")

    def on_close(self, code, msg):
        print("closed")

    def on_event(self, message):
        print("event", message.get("type"))
        if message.get("type") == "conversation.item.input_audio_transcription.completed":
            self.text = message["transcript"]
        elif message.get("type") == "session.finished":
            self.finished.set()


callback = Callback()
asr = OmniRealtimeConversation("qwen3-asr-flash-realtime", callback, url=sys.argv[1])
asr.connect()
params = TranscriptionParams(language="en", corpus_text="arithmetic")
asr.update_session([MultiModality.TEXT], enable_turn_detection=False, transcription_params=params)
with open(sys.argv[2], "rb") as f:
    for chunk in iter(lambda: f.read(3200), b""):
        asr.append_audio(base64.b64encode(chunk).decode())
asr.commit()
asr.end_session_async()
assert callback.finished.wait(20)
print("result", callback.text)
asr.close()
