"""Interpret a recording into Spanish. Arguments: URL, file of 16 kHz PCM."""

# ruff: noqa - written as programs for the vendor's SDK are

import base64
import sys
import threading
import time

import dashscope
from dashscope.audio.qwen_omni import MultiModality, OmniRealtimeCallback, OmniRealtimeConversation
from dashscope.audio.qwen_omni.omni_realtime import TranslationParams

done = threading.Event()


class MyCallback(OmniRealtimeCallback):
    def on_open(self):
        print("opened")

    def on_close(self, close_status_code, close_msg):
        print("closed")

    def on_event(self, response):
        print("event", response["type"])
        if response["type"] == "response.audio_transcript.done":
            print("result", response["transcript"])
        elif response["type"] == "response.done":
            done.set()


conversation = OmniRealtimeConversation(
    model="qwen3-livetranslate-flash-realtime", callback=MyCallback(), url=sys.argv[1], api_key="sk-any"
)
conversation.connect()
conversation.update_session(
    output_modalities=[MultiModality.TEXT, MultiModality.AUDIO],
    voice="Cherry",
    translation_params=TranslationParams(language="es", corpus=TranslationParams.Corpus(phrases={"plus": "más"})),
)
with open(sys.argv[2], "rb") as f:
    for chunk in iter(lambda: f.read(3200), b""):
        conversation.append_audio(base64.b64encode(chunk).decode())
        time.sleep(0.01)
for _ in range(15):
    conversation.append_audio(base64.b64encode(bytes(3200)).decode())
assert done.wait(20)
conversation.close()
